"""Crystals as CIF text: one writer for samples, run folders and exports."""

from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter

from surrogates.crystals.formulas import display_formula, plain_formula

DIGITS = 10
"""Of cell lengths, angles and coordinates."""

WITHIN = 0.01
"""Å, within which a symmetrised file's atoms obey the operations that it lists."""


def cif_text(structure: Structure) -> str:
    """Return a CIF of all atoms (P1), its data block named after the formula in letters and digits."""
    return _text(CifWriter(structure, significant_figures=DIGITS), structure)


def symmetrised_cif(structure: Structure) -> str:
    """Return a CIF of the conventional cell with its space group and one atom of each orbit.

    What spglib finds no symmetry in, such as a disordered crystal, has all its atoms listed (P1).
    """
    try:
        writer = CifWriter(structure, symprec=WITHIN, significant_figures=DIGITS)
    except Exception:  # spglib's own errors differ between versions; the crystal is written all the same
        return cif_text(structure)
    return _text(writer, structure)


def _text(writer: CifWriter, structure: Structure) -> str:
    for block in writer.cif_file.data.values():
        block.header = plain_formula(structure.composition)
        block.data["_chemical_formula_structural"] = display_formula(structure.composition)
    return str(writer)
