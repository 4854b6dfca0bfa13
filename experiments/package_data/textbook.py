"""Textbook phases: elements in their ground state, and compounds whose row of the tables is known by name.

The tables of formation energies name no polymorph, and the shared structures lack the ground state of every
third element. What both leave open is said here, by structures that are common knowledge: ASE's table of the
elements, pymatgen's prototypes (AFLOW), and what stands below with its source.

References:
    Donohue, The Structures of the Elements, Wiley (1974).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

GRAPHITE_CELL = (2.461, 6.708)
"""a and c, Å, at room temperature: Trucano and Chen, Nature 258, 136 (1975), doi:10.1038/258136a0"""

NO_SIMPLE_LATTICE = frozenset(("C", "Se", "Te", "La", "Pr", "Nd"))
"""Elements that ASE's table calls diamond or hcp, and whose ground state is another structure: graphite,
chains (only their lattice is hexagonal), and double hcp."""

DOUBLE_HCP = {"La": (3.774, 12.171), "Pr": (3.672, 11.833), "Nd": (3.658, 11.797), "Pm": (3.65, 11.65)}
"""a and c, Å, of the light lanthanides: Beaudry and Gschneidner, Handbook on the Physics and Chemistry of
Rare Earths 1, 173 (1978)."""

PROTOTYPES = {
    "B": "A_hR12_166_2h", "N": "A_cP8_205_c", "O": "A_mC4_12_i", "P": "A_oC8_64_f", "S": "A_oF128_70_4h",
    "Mn": "A_cI58_217_ac2g", "Ga": "A_oC8_64_f", "As": "A_hR2_166_c", "Se": "A_hP3_152_a", "I": "A_oC8_64_f",
    "Hg": "A_hR1_166_a", "Pa": "A_tI2_139_a", "U": "A_oC4_63_c", "Np": "A_oP8_62_2c", "Pu": "A_mP16_11_8e",
}  # fmt: skip
"""Elements -> prototype of their ground state; its cell is the element's own, measured. Tin's is diamond:
the white one is stable above 13 °C."""

MEASURED = {
    "Te": ((4.456, 4.456, 5.927, 90, 90, 120), "P3121", [(0.2636, 0, 1 / 3)]),
    "Cl": ((6.24, 4.48, 8.26, 90, 90, 90), "Cmce", [(0, 0.130, 0.100)]),
    "Br": ((6.67, 4.48, 8.72, 90, 90, 90), "Cmce", [(0, 0.135, 0.110)]),
    "Sn": ((6.489, 6.489, 6.489, 90, 90, 90), "Fd-3m", [(0, 0, 0)]),
    "Ce": ((4.85, 4.85, 4.85, 90, 90, 90), "Fm-3m", [(0, 0, 0)]),
}
"""Cells, Å and degrees, space group and sites of elements that no table has so: Te, Adenis et al., Acta
Cryst. C 45, 941 (1989); Cl, Collin, Acta Cryst. 5, 431 (1952); Br, Vonnegut and Warren, J. Am. Chem. Soc. 58,
2459 (1936); Sn, Thewlis and Davey, Nature 174, 1011 (1954); Ce below 100 K, a sixth denser than ASE's, which
is that of room temperature: Koskenmaki and Gschneidner, Handbook on the Physics and Chemistry of Rare Earths
1, 337 (1978).
"""

RHOMBOHEDRAL = ("Sb", "Bi", "Sm", "In")
"""Elements that ASE's table gives with their basis, or without the need of one."""


VOLUME_WITHIN = 0.1
"""Relative difference in volume between a named phase and a cell of it, by experiment or any functional."""


@dataclass(frozen=True)
class NamedPhase:
    """A compound's phase whose energy above the lowest of its formula is known by name.

    Attributes:
        formula: reduced.
        signature: text.
        volume_per_atom: Å³; cells within VOLUME_WITHIN of it are meant: layers may have wurtzite's signature.
        above_lowest: eV/atom above the lowest phase of the formula, in the table of all polymorphs.
        database_id: number of its Materials Project entry.
    """

    formula: str
    signature: str
    volume_per_atom: float
    above_lowest: float
    database_id: int


NAMED = (
    NamedPhase("BN", "216|4 -34m B|4 -34m N", 5.9, 0.0761, 1639),
    NamedPhase("BN", "186|2 .3m B|2 .3m N", 6.0, 0.0935, 2653),
    NamedPhase("BN", "194|2 -26m B|2 -26m N", 9.8, 0.0, 984),
    NamedPhase("TiO2", "136|2 .mmm Ti|4 .2mm O", 10.5, 0.0367, 2657),
    NamedPhase("SiO2", "152|3 ..2 Si|6 1 O", 13.0, 0.0116, 7000),
    NamedPhase("GaN", "186|2 .3m Ga|2 .3m N", 11.7, 0.0, 804),
)
"""Cubic, wurtzite and hexagonal BN, rutile, quartz, wurtzite GaN.

Rows of `mp_formation_energy` are told apart by the atoms of their cell: B1N1 at -1.396 is no layered one
(those lie at -1.47) and no rock salt (-0.66); B2N2 at -1.379; O4Ti2 at -3.482 is the one beside anatase and
TiO2-B; four of O6Si3 lie between -3.2741 and -3.2721, quartz of both hands among them: the mean is taken.
"""

ZINCBLENDE = {"BN": 3.616}
"""a, Å, of a phase that no shared file holds: Wentorf, J. Chem. Phys. 26, 956 (1957)."""


def ground_states() -> Iterator[dict[str, Any]]:
    """Yield the elements in their ground state as rows of lattice, species and frac_coords."""
    from ase import Atoms
    from ase.build import bulk
    from ase.data import chemical_symbols, reference_states
    from pymatgen.core import Lattice, Structure

    for symbol, state in zip(chemical_symbols, reference_states, strict=False):
        is_simple = state is not None and state["symmetry"] in ("fcc", "bcc", "hcp", "diamond")
        if is_simple and symbol not in NO_SIMPLE_LATTICE and "basis" not in state:
            yield _row(bulk(symbol, state["symmetry"], a=state["a"], covera=state.get("c/a")))
    for symbol in RHOMBOHEDRAL:
        yield _row(bulk(symbol))
    layers = [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25], [0, 0, 0.75], [2 / 3, 1 / 3, 0.75]]
    a, c = GRAPHITE_CELL
    yield _row(Atoms("C4", cell=[a, a, c, 90, 90, 120], scaled_positions=layers, pbc=True))
    stacked = [[0, 0, 0], [1 / 3, 2 / 3, 0.25], [0, 0, 0.5], [2 / 3, 1 / 3, 0.75]]
    for symbol, (a, c) in DOUBLE_HCP.items():
        yield _row(Atoms([symbol] * 4, cell=[a, a, c, 90, 90, 120], scaled_positions=stacked, pbc=True))
    for symbol, (cell, group, sites) in MEASURED.items():
        found = Structure.from_spacegroup(group, Lattice.from_parameters(*cell), [symbol] * len(sites), sites)
        yield _of_structure(found)
    yield from _prototypes()


def named_phases() -> Iterator[dict[str, Any]]:
    """Yield the named phases that no shared file and no prototype holds, as rows."""
    from pymatgen.core import Composition, Lattice, Structure

    for formula, a in ZINCBLENDE.items():
        species = sorted(element.symbol for element in Composition(formula))
        yield _of_structure(
            Structure.from_spacegroup("F-43m", Lattice.cubic(a), species, [(0, 0, 0), (0.25, 0.25, 0.25)])
        )


def _prototypes() -> Iterator[dict[str, Any]]:
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    for entry in AFLOW_PROTOTYPE_LIBRARY:
        structure = entry["snl"].structure
        elements = [element.symbol for element in structure.composition]
        if len(elements) == 1 and PROTOTYPES.get(elements[0]) == entry["tags"]["aflow"]:
            yield _of_structure(structure)


def _of_structure(structure: Any) -> dict[str, Any]:
    return {
        "lattice": structure.lattice.matrix,
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords,
    }


def _row(atoms: Any) -> dict[str, Any]:
    return {
        "lattice": np.array(atoms.cell.array),
        "species": list(atoms.symbols),
        "frac_coords": atoms.get_scaled_positions(),
    }
