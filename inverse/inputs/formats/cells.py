"""Which cells are a crystal's: numbers that are finite, vectors and planes of a size that atoms have."""

import numpy as np
from pymatgen.core import Lattice

from surrogates.errors import StructureError

MAX_ATOMS = 20_000
"""A file that holds more atoms in one cell is refused: no model here answers it."""

FULL = 0.001
"""A site whose occupancy is within this of 1 is full: refined values scatter so."""

LEAST_VOLUME, MOST_VOLUME = 1.0, 1e5
"""Å³ per atom; carbon in diamond has 5.7, hydrogen at a megabar 2."""

SHORTEST_VECTOR, LONGEST_VECTOR = 0.7, 500.0
"""Å; the shortest and the longest lattice vector of a cell that anything here can answer."""

LEAST_SPACING = 0.3
"""Å between the planes of two lattice vectors; flatter cells are hopelessly oblique settings."""

FARTHEST_COORDINATE = 1000.0
"""Cells from the origin, beyond which a fractional coordinate is a misprint and no unwrapped path."""


def require_lattice(matrix: np.ndarray) -> None:
    """Refuse a lattice that no crystal has.

    Args:
        matrix: (3, 3) rows are vectors, Å.

    Raises:
        StructureError: a number that is not finite, a vector or a plane spacing beyond the stated limits.
    """
    if not np.isfinite(matrix).all():
        raise StructureError("lattice or coordinates hold a number that is not finite")
    lengths = np.linalg.norm(matrix, axis=1)
    if lengths.max() > LONGEST_VECTOR:
        raise StructureError(f"a lattice vector is {lengths.max():.3g} Å long; at most {LONGEST_VECTOR:g}")
    if lengths.min() == 0 or abs(np.linalg.det(matrix)) < 1e-12:
        raise StructureError("the lattice vectors span no cell")
    spacing = float((1 / np.linalg.norm(np.linalg.inv(matrix), axis=0)).min())
    if spacing < LEAST_SPACING:
        raise StructureError(f"lattice planes are {spacing:.3g} Å apart: the cell is too flat or too oblique")
    shortest = float(min(Lattice(matrix).get_lll_reduced_lattice().abc))
    if shortest < SHORTEST_VECTOR:
        raise StructureError(f"the cell repeats every {shortest:.3g} Å; no atom is so small")


def require_places(matrix: np.ndarray, coords: np.ndarray) -> None:
    """Refuse atoms that are no crystal's in their cell.

    Args:
        matrix: (3, 3) rows are vectors, Å; a sound lattice.
        coords: (A, 3) fractional.

    Raises:
        StructureError: a coordinate that is not finite or far outside, a volume per atom beyond the limits.
    """
    if not np.isfinite(coords).all():
        raise StructureError("lattice or coordinates hold a number that is not finite")
    farthest = float(np.abs(coords).max())
    if farthest > FARTHEST_COORDINATE:
        raise StructureError(f"a fractional coordinate of {farthest:.3g}: not a place in the cell")
    volume = abs(float(np.linalg.det(matrix)))
    if not LEAST_VOLUME * len(coords) < volume < MOST_VOLUME * len(coords):
        raise StructureError(f"the cell has {volume / len(coords):.3g} Å³ per atom")
