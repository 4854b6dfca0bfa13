"""Whether two cells hold the same atoms: only a rigid motion and the choice of cell vectors differ.

An explicit map of every atom answers it, so no symmetry has to be found. Elements count only as equal or not:
two decorated prototypes ask the same question as any other two decorated alike, and share its answer.
"""

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from inverse.reference.signatures import Cell

_STEPS = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])
"""(26, 3) lattice vectors, in a reduced basis, among which another reduced basis is looked for."""

_STRAIN = 2e-3
"""Relative difference of squared lengths and scalar products of cell vectors: rounding, not another shape."""


class Pattern(NamedTuple):
    """A cell as something to look up: its elements are numbers.

    Attributes:
        lattice: bytes of (3, 3) float, Å, rows are vectors.
        frac_coords: bytes of (A, 3) float.
        numbers: A numbers, equal where the elements are.
    """

    lattice: bytes
    frac_coords: bytes
    numbers: tuple[int, ...]

    def to_arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return lattice (3, 3), coordinates (A, 3) and numbers (A,); the first two read only."""
        coords = np.frombuffer(self.frac_coords).reshape(-1, 3)
        return np.frombuffer(self.lattice).reshape(3, 3), coords, np.array(self.numbers)


def pattern(cell: Cell) -> Pattern:
    """Return the cell with elements numbered from 0 in the order in which they occur."""
    return patterns(cell, cell)[0]


def patterns(one: Cell, other: Cell) -> tuple[Pattern, Pattern]:
    """Return two cells of the same elements, numbered from 0 in the order in which the first has them."""
    number = {symbol: i for i, symbol in enumerate(dict.fromkeys(one.species))}
    first, second = (
        Pattern(c.lattice.tobytes(), c.frac_coords.tobytes(), tuple(number[s] for s in c.species))
        for c in (one, other)
    )
    return first, second


def coincide(one: Cell, other: Cell, tolerance: float) -> bool:
    """Return whether a rotation, a shift and other cell vectors bring every atom onto one of its element.

    Mirror images do not coincide, nor do cells of different size.

    Args:
        one: a cell.
        other: a cell of the same elements.
        tolerance: Å that an atom may be off.
    """
    if len(one.species) != len(other.species):
        return False
    lengths = zip(
        reduced_basis(one.lattice.tobytes())[1], reduced_basis(other.lattice.tobytes())[1], strict=True
    )
    if any(abs(a - b) > _STRAIN * a for a, b in lengths):
        return False
    return _coincide(*patterns(one, other), tolerance)


@lru_cache(maxsize=65536)
def reduced_basis(lattice: bytes) -> tuple[np.ndarray, tuple[float, ...]]:
    """Return the Niggli basis of a lattice given as bytes, and its lengths, shortest first.

    The lengths are those of the lattice, whatever cell describes it.
    """
    import spglib

    cell = np.frombuffer(lattice).reshape(3, 3)
    reduced = spglib.niggli_reduce(cell)
    basis = cell if reduced is None else reduced
    return basis, tuple(sorted(np.sqrt((basis**2).sum(axis=1)).tolist()))


@lru_cache(maxsize=16384)
def _coincide(one: Pattern, other: Pattern, tolerance: float) -> bool:
    basis, own_basis = reduced_basis(one.lattice)[0], reduced_basis(other.lattice)[0]
    if sorted(one.numbers) != sorted(other.numbers):
        return False
    lattice, coords, numbers = one.to_arrays()
    own_lattice, own_coords, own_numbers = other.to_arrays()
    settings = _settings(basis, own_basis)
    coords = coords @ lattice @ np.linalg.inv(basis)
    turned = own_coords @ own_lattice @ np.linalg.inv(own_basis) @ np.linalg.inv(settings)
    rarest = int(np.bincount(numbers).argmin())
    anchor = coords[int(np.argmax(numbers == rarest))]
    different = own_numbers[:, None] != numbers[None, :]
    for atom in np.flatnonzero(own_numbers == rarest):
        apart = (turned - turned[:, atom, None] + anchor)[:, :, None] - coords  # (settings, A, A, 3)
        apart = (apart - np.round(apart)) @ basis
        squared = (apart**2).sum(axis=-1)
        squared[:, different] = np.inf
        near = (squared.min(axis=-1) < (2 * tolerance) ** 2).all(axis=-1)  # the anchor may be off as well
        if any(
            _is_map(*pair, tolerance) for pair in zip(apart[near], squared[near].argmin(axis=-1), strict=True)
        ):
            return True
    return False


def _is_map(apart: np.ndarray, onto: np.ndarray, tolerance: float) -> bool:
    """Return whether each atom has another partner, within the tolerance after the best common shift."""
    if len(set(onto.tolist())) < len(onto):
        return False
    off = apart[np.arange(len(onto)), onto]
    return bool((((off - off.mean(axis=0)) ** 2).sum(axis=-1) < tolerance**2).all())


def _settings(basis: np.ndarray, own_basis: np.ndarray) -> np.ndarray:
    """Return (K, 3, 3) integer matrices that turn the second basis into the first, up to a rotation."""
    vectors = _STEPS @ own_basis
    own, wanted = vectors @ vectors.T, basis @ basis.T
    squared = wanted.diagonal()
    limit = _STRAIN * np.sqrt(squared[:, None] * squared)
    a, b, c = np.abs(own.diagonal() - squared[:, None]) < limit.diagonal()[:, None]
    ab, ac, bc = (np.abs(own - wanted[i, j]) < limit[i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
    i, j = np.nonzero(ab & a[:, None] & b)
    pair, k = np.nonzero(ac[i] & bc[j] & c)
    found = _STEPS[np.stack([i[pair], j[pair], k], axis=1)]
    handed = np.linalg.det(basis) * np.linalg.det(own_basis)
    return found[np.linalg.det(found) * handed > 0.0]
