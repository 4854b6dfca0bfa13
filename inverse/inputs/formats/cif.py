"""Crystals of CIF blocks: cell, operations, sites and what the file says beside them must agree.

Sites are expanded by the operations that the file lists; else by those of the setting that it names, where
only one fits cell, formula, multiplicities and contacts. Coordinates rounded off a special position are put
back on it. What contradicts itself is refused.
"""

from dataclasses import dataclass, field

from pymatgen.core import Structure

from inverse.inputs.formats.cif_cell import LENGTHS, read_cell
from inverse.inputs.formats.cif_formula import hold_against_formula, hold_against_weight, read_facts
from inverse.inputs.formats.cif_operations import read_crystal
from inverse.inputs.formats.cif_sites import CARTESIAN, FRACTIONAL, read_sites
from inverse.inputs.formats.cif_symmetry import statements
from inverse.inputs.formats.cif_syntax import CifBlock, is_given, parse_blocks
from inverse.inputs.remarks import Remark, RemarkKind
from surrogates.errors import StructureError

SHOWN_SHIFT = 5e-4
"""Å; a coordinate put back on its special position by more is worth a remark: three digits, not four."""

READ = ("_atom_site_", "_cell_", "_symmetry_", "_space_group_")
"""Names whose faults of syntax matter here."""

MODULATED = ("_cell_modulation_dimension", "_space_group_symop_ssg_operation_algebraic")


@dataclass
class CifCrystal:
    """A crystal and what there is to say of it."""

    structure: Structure
    remarks: list[Remark] = field(default_factory=list)


def crystal_blocks(text: str) -> list[CifBlock]:
    """Return the blocks of a CIF that describe a crystal.

    Raises:
        StructureError: there are none.
    """
    blocks = parse_blocks(text)
    found = [b for b in blocks if any(b.column(n) for n in (LENGTHS[0], FRACTIONAL[0], CARTESIAN[0]))]
    if not found:
        raise StructureError("no data block with a cell and atoms; not a CIF")
    return found


def read_block(block: CifBlock) -> CifCrystal:
    """Return the crystal of a block, its cell as written; partial occupancy becomes mixed species.

    Raises:
        StructureError: something is missing, or two statements of the file contradict each other.
        UnsupportedElementError: a site that is no atom of an element from H to Lr.
    """
    if any(is_given(value) and value.strip() != "0" for n in MODULATED for value in block.column(n) or ()):
        raise StructureError("a modulated structure: its cell does not repeat")
    for fault in block.faults:
        if fault.name.startswith(READ) and "aniso" not in fault.name:
            raise StructureError(f"broken CIF: {fault.text}")
    remarks: list[Remark] = []
    matrix = read_cell(block, remarks)
    facts = read_facts(block, remarks)
    sites = read_sites(block, matrix, facts, remarks)
    stated = statements(block)
    structure, orbits = read_crystal(matrix, sites, stated, facts, remarks)
    for orbit in orbits:
        if orbit.shift > SHOWN_SHIFT:
            names = "/".join(site.label for site in orbit.sites)
            remarks.append(
                Remark(
                    RemarkKind.SPECIAL_POSITION,
                    f"{names}: put back on the special position that its digits round off, "
                    f"by {orbit.shift:.2g} Å",
                )
            )
    hold_against_formula(structure.composition, facts, stated.listed is None, remarks)
    if facts.formula is None:
        hold_against_weight(structure.composition, block, facts, remarks)
    return CifCrystal(structure, remarks)
