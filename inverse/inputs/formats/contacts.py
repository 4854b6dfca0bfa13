"""How close atoms stand to one another, over the sum of their covalent radii; how wide a cell's gaps are."""

import numpy as np
from ase.data import covalent_radii
from pymatgen.core import Element, Structure
from scipy.spatial import cKDTree

SAME_PLACE = 0.05
"""Å; atoms of full sites that close are one, whatever the digits: less than an atom's thermal motion."""

COLLIDING, CROWDED = 0.6, 0.9
"""Contact over the sum of covalent radii: below the first no crystal has it; below the second few have."""

LONELY = 1.5
"""Contact over the sum of covalent radii beyond which an atom has no neighbour at all."""


def _nearest(structure: Structure, reach: float) -> np.ndarray:
    """Return the shortest contact of each atom over the sum of radii; infinite where none is in reach.

    Args:
        structure: ordered or not.
        reach: sums of covalent radii up to which neighbours are looked for.
    """
    first_species = [str(max(site.species.items(), key=lambda pair: pair[1])[0].symbol) for site in structure]
    radii = covalent_radii[[Element(symbol).Z for symbol in first_species]]
    first, second, _, distances = structure.get_neighbor_list(2 * reach * float(radii.max()))
    ratios = np.full(len(structure), np.inf)
    np.minimum.at(ratios, first, distances / (radii[first] + radii[second]))
    return ratios


def closest_contact(structure: Structure) -> float:
    """Return the shortest contact of all; infinite beyond 1, where nothing is close."""
    return float(_nearest(structure, 1.0).min())


def loneliest_contact(structure: Structure) -> float:
    """Return the shortest contact of the atom whose own is longest; infinite beyond 1.6: no neighbour."""
    return float(_nearest(structure, 1.6).max())


def coinciding(matrix: np.ndarray, coords: np.ndarray, within: float) -> tuple[int, int] | None:
    """Return the first two atoms that stand within a distance of each other; None where no two do.

    Args:
        matrix: (3, 3) rows are vectors, Å.
        coords: (A, 3) fractional.
        within: Å; less than the shortest lattice vector.
    """
    spacing = 1 / np.linalg.norm(np.linalg.inv(matrix), axis=0)
    wrapped = np.mod(np.mod(coords, 1.0), 1.0)
    scaled = wrapped * spacing  # a distance is at least what it is along each normal
    tree = cKDTree(scaled, boxsize=spacing)
    pairs = tree.query_pairs(within * np.sqrt(3.0), output_type="ndarray")
    if not len(pairs):
        return None
    rest = wrapped[pairs[:, 0]] - wrapped[pairs[:, 1]]
    rest -= np.rint(rest)
    close = np.linalg.norm(rest @ matrix, axis=1) < within
    if not close.any():
        return None
    first = pairs[close]
    i, j = first[np.lexsort((first[:, 1], first[:, 0]))[0]]
    return int(min(i, j)), int(max(i, j))


def widest_gaps(matrix: np.ndarray, coords: np.ndarray) -> np.ndarray:
    """Return (3,) the widest empty slabs between atoms, Å, across the planes of each two lattice vectors."""
    spacing = 1 / np.linalg.norm(np.linalg.inv(matrix), axis=0)
    ordered = np.sort(np.mod(coords, 1.0), axis=0)
    steps = np.diff(np.concatenate([ordered, ordered[:1] + 1.0]), axis=0)
    return steps.max(axis=0) * spacing
