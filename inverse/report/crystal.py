"""A crystal as a person looks at it: conventional cell, space group in words, sites, bonds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from inverse.decoders.cif_writer import WITHIN
from surrogates.crystals.formulas import NON_METALS

CENTRINGS: Mapping[str, str] = {
    "P": "primitive",
    "I": "body-centred",
    "F": "face-centred",
    "A": "base-centred",
    "B": "base-centred",
    "C": "base-centred",
    "R": "rhombohedral",
}

BONDED = 1.3
"""Times the sum of the covalent radii within which a pair of elements is listed with its distances."""

SHELL = 1.12
"""Times the shortest distance of a pair of elements up to which its distances are one shell of neighbours."""

FARTHEST = 4.2
"""Å, of neighbours that are looked for."""


@dataclass(frozen=True)
class Site:
    """One orbit of atoms.

    Attributes:
        element: symbol.
        wyckoff: multiplicity and letter, "4a".
        symmetry: of the site, "m-3m".
        coordinates: fractional, of its first atom in the conventional cell.
    """

    element: str
    wyckoff: str
    symmetry: str
    coordinates: tuple[float, float, float]


@dataclass(frozen=True)
class Bond:
    """A shell of neighbours of two elements.

    Attributes:
        elements: symbols; the neighbours are of the second.
        shortest: Å.
        longest: Å, of the same shell.
        neighbours: mean number around an atom of the first.
    """

    elements: tuple[str, str]
    shortest: float
    longest: float
    neighbours: float


@dataclass(frozen=True)
class Crystal:
    """A crystal in its conventional cell.

    Attributes:
        cell: all atoms of the conventional cell, as spglib standardises it; as given where it finds none.
        symbol: of the space group, Hermann-Mauguin; "" where spglib finds none.
        number: of the space group; 0 where spglib finds none.
        in_words: centring and crystal system, with the point group.
        sites: orbits, in the order of the cell.
        bonds: shells of neighbours, shortest first.
    """

    cell: Structure
    symbol: str
    number: int
    in_words: str
    sites: tuple[Site, ...]
    bonds: tuple[Bond, ...]

    @property
    def lattice_text(self) -> str:
        """The free lattice parameters: those that the crystal system fixes are not repeated."""
        a, b, c = self.cell.lattice.abc
        alpha, beta, gamma = self.cell.lattice.angles
        n = self.number
        if n >= 195:
            return f"a = {a:.3f} Å"
        if n >= 143:
            return f"a = {a:.3f}, c = {c:.3f} Å, γ = 120°"
        if n >= 75:
            return f"a = {a:.3f}, c = {c:.3f} Å"
        lengths = f"a = {a:.3f}, b = {b:.3f}, c = {c:.3f} Å"
        if n >= 16:
            return lengths
        if n >= 3:
            return f"{lengths}, β = {beta:.2f}°"
        return f"{lengths}, α = {alpha:.2f}°, β = {beta:.2f}°, γ = {gamma:.2f}°"


def crystal_of(structure: Structure) -> Crystal:
    """Return a crystal in its conventional cell, with what symmetry says of it (symprec 0.01 Å)."""
    try:
        cell = SpacegroupAnalyzer(structure, symprec=WITHIN).get_refined_structure()
        analyzer = SpacegroupAnalyzer(cell, symprec=WITHIN)
        found = analyzer.get_symmetrized_structure()
        symmetries = analyzer.get_symmetry_dataset().site_symmetry_symbols
        group = analyzer.get_space_group_symbol(), analyzer.get_space_group_number()
        words = _in_words(group[0], analyzer.get_crystal_system(), analyzer.get_point_group_symbol())
    except Exception:  # spglib's own errors differ between versions; the crystal is shown as it is
        return Crystal(structure, "", 0, "no symmetry found", (), bonds_of(structure))
    sites = tuple(
        Site(
            str(structure_site.specie.symbol),
            wyckoff,
            symmetries[indices[0]].replace(".", "") or "1",
            _first(structure_site.frac_coords),
        )
        for (structure_site, *_), wyckoff, indices in zip(
            found.equivalent_sites, found.wyckoff_symbols, found.equivalent_indices, strict=True
        )
    )
    return Crystal(cell, *group, words, sites, bonds_of(cell))


def bonds_of(structure: Structure) -> tuple[Bond, ...]:
    """Return the nearest shell of neighbours of each pair of elements that touch, shortest first."""
    centers, neighbours, _, distances = structure.get_neighbor_list(FARTHEST)
    symbols = np.array([site.specie.symbol for site in structure])
    elements = sorted({str(symbol) for symbol in symbols})
    found = []
    for one in elements:
        for other in elements:
            if _rank(one) > _rank(other):
                continue
            own = distances[(symbols[centers] == one) & (symbols[neighbours] == other)]
            if not len(own) or own.min() > BONDED * (radius_of(one) + radius_of(other)):
                continue
            shell = own[own <= SHELL * own.min()]
            per_atom = len(shell) / int((symbols == one).sum())
            found.append(Bond((one, other), float(shell.min()), float(shell.max()), per_atom))
    return tuple(sorted(found, key=lambda bond: (bond.shortest, bond.elements)))


def radius_of(symbol: str) -> float:
    """Return the covalent radius of an element, Å (Cordero et al., doi:10.1039/b801115j)."""
    return float(covalent_radii[atomic_numbers[symbol]])


def _rank(symbol: str) -> tuple[bool, str]:
    """Return what sorts metals before non-metals."""
    return symbol in NON_METALS, symbol


def _first(coordinates: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (round(float(value) % 1.0, 5) % 1.0 for value in coordinates)
    return x, y, z


def _in_words(symbol: str, system: str, point_group: str) -> str:
    centring = CENTRINGS.get(symbol[:1], "")
    lattice = "rhombohedral" if centring == "rhombohedral" else f"{centring} {system}".strip()
    return f"{lattice}, point group {point_group}"
