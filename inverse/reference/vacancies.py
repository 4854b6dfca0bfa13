"""Ordered vacancies: is a crystal a known phase with up to a quarter of its non-metal atoms missing?"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
from pymatgen.core import Composition

from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import SYMPRECS, Cell, signature_text

NON_METALS = frozenset(["B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "Te", "I", "H"])

LARGEST_SHARE = 0.25
"""Of the non-metals of the known phase, the most that may be missing."""

VOLUME_TOLERANCE = 0.25
"""Largest relative difference of the volumes per atom of a crystal and of the known phase it derives from, by
exchange of alike elements or by vacancies (missing atoms counted)."""

SMALLEST_VOID = 1.3
"""Å from the middle of a void to the nearest atoms."""

SAME_VOID = 1.0
"""Å; Voronoi vertices closer than this are one void."""

MAX_VOIDS = 12
MAX_TRIALS = 200


def vacancy_of(cell: Cell, known: KnownMaterials) -> str:
    """Return the known formula that the crystal becomes when missing non-metals are put back, "" when none.

    Voids are Voronoi vertices, largest first; at most `MAX_TRIALS` fillings are tried.
    """
    voids: list[np.ndarray] | None = None
    trials = 0
    for element, added, formula, texts in _fillings(cell, known):
        if voids is None:
            voids = _voids(cell)
        for chosen in combinations(voids, added):
            trials += 1
            if trials > MAX_TRIALS:
                return ""
            filled = Cell(
                cell.lattice, np.vstack([cell.frac_coords, *chosen]), (*cell.species, *([element] * added))
            )
            if any(signature_text(filled, symprec) in texts for symprec in SYMPRECS):
                return formula
    return ""


def _fillings(cell: Cell, known: KnownMaterials) -> Iterator[tuple[str, int, str, frozenset[str]]]:
    """Yield (element, atoms to add, known formula, its signatures of fitting volume)."""
    amounts = Counter(cell.species)
    present = sum(n for e, n in amounts.items() if e in NON_METALS)
    most = int(LARGEST_SHARE * present / (1 - LARGEST_SHARE) + 1e-9)
    own = cell.reduced_formula
    for element in sorted(NON_METALS & set(amounts)):
        for added in range(1, most + 1):
            formula = Composition(amounts + Counter({element: added})).reduced_formula
            volume = cell.volume_per_atom * len(cell.species) / (len(cell.species) + added)
            texts = frozenset(
                s.text
                for s in known.signatures_of_reduced(formula)
                if abs(volume - s.volume_per_atom) <= VOLUME_TOLERANCE * s.volume_per_atom
            )
            if texts and formula != own:
                yield element, added, formula, texts


def _voids(cell: Cell) -> list[np.ndarray]:
    """Return the fractional coordinates of the largest voids, largest first, at most `MAX_VOIDS`."""
    from scipy.spatial import Voronoi, cKDTree

    shifts = np.array(list(product((-1, 0, 1), repeat=3)))
    images = (cell.frac_coords % 1.0)[None, :, :] + shifts[:, None, :]
    points = images.reshape(-1, 3) @ cell.lattice
    vertices = Voronoi(points, qhull_options="Qbb Qc Qz QJ").vertices
    inverse = np.linalg.inv(cell.lattice)
    inside = vertices @ inverse
    inside = inside[((inside > -0.01) & (inside < 0.99)).all(axis=1)]
    radii = cKDTree(points).query(inside @ cell.lattice)[0]
    found: list[np.ndarray] = []
    for i in np.argsort(-np.round(radii, 3), kind="stable"):
        if radii[i] < SMALLEST_VOID or len(found) == MAX_VOIDS:
            break
        if all(np.linalg.norm(_apart(cell, inside[i], other)) > SAME_VOID for other in found):
            found.append(_middle(points, inside[i] @ cell.lattice, float(radii[i])) @ inverse % 1.0)
    return found


def _middle(points: np.ndarray, start: np.ndarray, radius: float) -> np.ndarray:
    """Return the point with the most equal distances to the atoms around a void, Å."""
    near = points[np.linalg.norm(points - start, axis=1) < 1.3 * radius]
    matrix = 2.0 * (near[1:] - near[0])
    squares = (near[1:] ** 2).sum(axis=1) - (near[0] ** 2).sum()
    middle: np.ndarray = np.linalg.lstsq(matrix, squares, rcond=None)[0]
    return middle if np.linalg.norm(middle - start) < SAME_VOID else start


def _apart(cell: Cell, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Cartesian vectors from `other` to the nearest images of `one`, Å."""
    difference = one - other
    return np.asarray((difference - np.round(difference)) @ cell.lattice)
