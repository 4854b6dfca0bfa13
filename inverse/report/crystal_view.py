"""What the page shows of a crystal: picture, cell, sites, bonds, powder pattern, and files to take along."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from markupsafe import Markup
from pymatgen.core import Structure

from inverse.decoders.cif_writer import symmetrised_cif
from inverse.report.crystal import Bond, Crystal, Site, crystal_of
from inverse.report.diffraction import powder_lines, powder_svg
from inverse.report.drawing import colour_of, drawing_of, svg_of
from inverse.report.espresso_input import espresso_input
from inverse.report.markup import space_group_markup
from surrogates.crystals.formulas import plain_formula
from surrogates.errors import EngineError

LARGEST_DENOMINATOR = 6
"""Of coordinates that are written as a fraction."""


@dataclass(frozen=True)
class CrystalView:
    """A crystal as the page shows it.

    Attributes:
        picture: of the conventional cell.
        elements: symbol and colour of each, as in the picture.
        lattice: its free parameters.
        volume: of the conventional cell, with its number of atoms.
        space_group: symbol and number.
        in_words: of the space group.
        sites: element, Wyckoff letter, site symmetry and coordinates of each orbit.
        bonds: pair of elements, distance and number of neighbours of each shell.
        powder: the simulated powder pattern; "" without lines.
        drawing: for the 3D viewer.
        files: by name: what goes along with the page.
    """

    picture: Markup
    elements: tuple[tuple[str, str], ...]
    lattice: str
    volume: str
    space_group: Markup
    in_words: str
    sites: tuple[tuple[str, str, str, str], ...]
    bonds: tuple[tuple[str, str, str], ...]
    powder: Markup
    drawing: Mapping[str, Any]
    files: Mapping[str, str]


def crystal_view(structure: Structure, name: str, with_inputs: bool = False) -> CrystalView:
    """Return what the page shows of a crystal.

    Args:
        structure: relaxed where it was; any cell.
        name: of its files, letters, digits and underscores.
        with_inputs: adds the inputs of a relaxation by VASP and Quantum ESPRESSO to the files.
    """
    crystal = crystal_of(structure)
    drawing = drawing_of(crystal.cell)
    formula = plain_formula(structure.composition)
    return CrystalView(
        picture=Markup(svg_of(drawing, formula)),
        elements=tuple((symbol, colour_of(symbol)) for symbol in drawing.elements),
        lattice=crystal.lattice_text,
        volume=f"{crystal.cell.volume:.2f} Å³, {len(crystal.cell)} atoms",
        space_group=space_group_markup((crystal.symbol, crystal.number) if crystal.number else None),
        in_words=crystal.in_words,
        sites=tuple(map(_site, crystal.sites)),
        bonds=tuple(map(_bond, crystal.bonds)),
        powder=_powder(crystal, formula),
        drawing=drawing.record(),
        files=files_of(structure, name, with_inputs),
    )


def files_of(structure: Structure, name: str, with_inputs: bool) -> dict[str, str]:
    """Return a crystal's CIF and, on request, inputs of a relaxation at the Materials Project's settings."""
    files = {f"{name}.cif": symmetrised_cif(structure)}
    if with_inputs:
        files |= _vasp_files(structure)
        with suppress(EngineError):  # an element without a pseudopotential in the carried table
            files[f"{name}.relax.in"] = espresso_input(structure, "vc-relax", name)
    return files


def _vasp_files(structure: Structure) -> dict[str, str]:
    from pymatgen.io.vasp.sets import BadInputSetWarning, MPRelaxSet

    with warnings.catch_warnings():
        # the reference energies of metals were made with this very smearing, which pymatgen warns of
        warnings.simplefilter("ignore", BadInputSetWarning)
        inputs = MPRelaxSet(structure.get_sorted_structure())
        return {
            "POSCAR": str(inputs.poscar),
            "INCAR": str(inputs.incar),
            "KPOINTS": str(inputs.kpoints),
        }


def _powder(crystal: Crystal, formula: str) -> Markup:
    lines = powder_lines(crystal.cell)
    return Markup(powder_svg(lines, f"simulated powder pattern of {formula}"))


def _site(site: Site) -> tuple[str, str, str, str]:
    return site.element, site.wyckoff, site.symmetry, ", ".join(map(coordinate_text, site.coordinates))


def coordinate_text(value: float) -> str:
    """Return a fractional coordinate, as a fraction where it is a simple one.

    >>> coordinate_text(0.33333), coordinate_text(0.5), coordinate_text(0.0), coordinate_text(0.18349)
    ('1/3', '1/2', '0', '0.1835')
    """
    simple = Fraction(value).limit_denominator(LARGEST_DENOMINATOR)
    return str(simple) if abs(float(simple) - value) < 2e-5 else f"{value:.4f}"


def _bond(bond: Bond) -> tuple[str, str, str]:
    one, other = bond.elements
    shortest, longest = f"{bond.shortest:.2f}", f"{bond.longest:.2f}"
    length = f"{shortest} Å" if shortest == longest else f"{shortest} to {longest} Å"
    return f"{one}–{other}", length, f"{bond.neighbours:.2g} {other} around each {one}"
