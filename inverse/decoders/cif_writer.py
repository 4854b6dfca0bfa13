"""Crystals as CIF text: one writer for samples, run folders and exports."""

from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter

from surrogates.crystals.formulas import display_formula, plain_formula

DIGITS = 10
"""Of cell lengths, angles and coordinates."""


def cif_text(structure: Structure) -> str:
    """Return a CIF of all atoms (P1), its data block named after the formula in letters and digits."""
    writer = CifWriter(structure, significant_figures=DIGITS)
    for block in writer.cif_file.data.values():
        block.header = plain_formula(structure.composition)
        block.data["_chemical_formula_structural"] = display_formula(structure.composition)
    return str(writer)
