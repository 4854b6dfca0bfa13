"""Many candidates -> which are the same crystal: by formula, by signature, and only then by comparing atoms.

Cheap questions first. A formula that occurs once needs no symmetry; cells whose atoms coincide need none
either: they are one crystal written twice. Within equal signatures two crystals whose scaled distances agree
are the same; `StructureMatcher` decides where they do not. What depends on the arrangement alone is found
once for all the decorations of a prototype.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import gcd

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure

from inverse.reference.coincidence import Pattern, coincide, pattern, patterns, reduced_basis
from inverse.reference.signatures import Cell, signature_text
from surrogates.errors import StructureError

SYMPREC = 0.1
"""Å, in cells of `VOLUME` an atom; tolerance of the signatures compared: proposals are not relaxed yet."""

VOLUME = 12.0
"""Å³ per atom to which cells are scaled before they are compared, since scale does not count."""

COINCIDENCE = SYMPREC / 2
"""Å, likewise; atoms nearer than this are not told apart by a signature."""

_SHELLS = np.linspace(0.8, 2.6, 19)
"""Centres of the radial functions, in units of the cube root of the volume per atom."""

_WIDTH = 0.12
_SAME = 0.1
"""Difference of radial sums below which `StructureMatcher` agreed on 854 of 854 pairs of equal signatures."""


@dataclass
class Distinct:
    """What was found.

    Attributes:
        first: (N,) index of the first candidate that is the same crystal, its own where it is the first.
        n_coincident: candidates whose atoms coincide with those of an earlier one.
        n_signatures: signatures asked for; decorations of one prototype share the work.
        n_matches: questions that only `StructureMatcher` could answer; likewise.
    """

    first: list[int]
    n_coincident: int = 0
    n_signatures: int = 0
    n_matches: int = 0

    @property
    def kept(self) -> list[int]:
        """Return the indices of the distinct crystals, in order."""
        return [i for i, first in enumerate(self.first) if first == i]


def distinct(structures: Sequence[Structure]) -> Distinct:
    """Return which candidates are the same crystal, up to its scale.

    A candidate without a signature (spglib finds no symmetry) is the same as those alone whose atoms coincide
    with its own; a broken or partly occupied one is the same as none.
    """
    found = Distinct(list(range(len(structures))))
    cells: dict[int, Cell] = {}
    by_formula: dict[tuple[tuple[str, int], ...], list[int]] = {}
    written: dict[tuple[object, ...], int] = {}
    for i, structure in enumerate(structures):
        try:
            cells[i] = cell = _scaled(Cell.from_structure(structure))
        except (StructureError, np.linalg.LinAlgError):
            continue
        first = written.setdefault(_as_written(cell), i)
        found.first[i] = first
        if first == i:
            by_formula.setdefault(_formula(cell), []).append(i)
    for same_formula in by_formula.values():
        others = _without_coincident(same_formula, cells, found)
        if len(others) > 1:
            _separate(others, cells, found)
    found.first = [found.first[first] for first in found.first]
    return found


def _formula(cell: Cell) -> tuple[tuple[str, int], ...]:
    """Return the reduced formula, without the text that takes pymatgen most of the time."""
    amounts = Counter(cell.species)
    divisor = gcd(*amounts.values())
    return tuple(sorted((symbol, n // divisor) for symbol, n in amounts.items()))


def _without_coincident(indices: Sequence[int], cells: dict[int, Cell], found: Distinct) -> list[int]:
    """Return the candidates of one formula whose atoms coincide with no earlier one's."""
    kept: list[int] = []
    for i in indices:
        first = next((k for k in kept if coincide(cells[k], cells[i], COINCIDENCE)), None)
        if first is None:
            kept.append(i)
        else:
            found.first[i] = first
            found.n_coincident += 1
    return kept


def _separate(indices: Sequence[int], cells: dict[int, Cell], found: Distinct) -> None:
    groups: dict[str, list[int]] = {}
    for i in indices:
        found.n_signatures += 1
        text = signature_text(cells[i], SYMPREC)
        if text is not None:
            groups.setdefault(text, []).append(i)
    for members in groups.values():
        if len(members) > 1:
            _compare(members, cells, found)


def _compare(members: Sequence[int], cells: dict[int, Cell], found: Distinct) -> None:
    """Merge the equal ones among crystals of one formula and one signature."""
    kept: list[int] = []
    sums = {i: radial_sums(cells[i]) for i in members}
    for i in members:
        distances = sorted((float(np.abs(sums[i] - sums[k]).max()), k) for k in kept)
        first = distances[0][1] if distances and distances[0][0] < _SAME else None
        for _, k in distances if first is None else ():
            found.n_matches += 1
            if _fit(*patterns(cells[i], cells[k])):
                first = k
                break
        if first is None:
            kept.append(i)
        else:
            found.first[i] = first


@lru_cache(maxsize=16384)
def _fit(one: Pattern, other: Pattern) -> bool:
    """Return the answer of StructureMatcher, which does not depend on what the elements are."""
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    return bool(matcher.fit(_reduced(one), _reduced(other), skip_structure_reduction=True))


@lru_cache(maxsize=4096)
def _reduced(numbered: Pattern) -> Structure:
    """Return the primitive cell on its Niggli basis, with metals (calcium onwards) for the numbers."""
    lattice, coords, numbers = numbered.to_arrays()
    basis, _ = reduced_basis(numbered.lattice)
    elements = [Element.from_Z(20 + int(n)) for n in numbers]
    structure = Structure(Lattice(basis), elements, coords @ lattice @ np.linalg.inv(basis))
    if gcd(*Counter(numbered.numbers).values()) == 1:
        return structure  # no translation can repeat the cell
    return structure.get_primitive_structure()


def _scaled(cell: Cell) -> Cell:
    """Return the cell at `VOLUME` an atom, rounded so that a prototype's shape is recognised again."""
    volume = cell.volume_per_atom
    if not volume > 1e-6:
        raise StructureError(f"{cell.reduced_formula}: the cell has no volume")
    lattice = np.round(cell.lattice * (VOLUME / volume) ** (1 / 3), 5) + 0.0
    return Cell(lattice, np.round(cell.frac_coords, 6) + 0.0, cell.species)


def _as_written(cell: Cell) -> tuple[object, ...]:
    """Return what is equal only where lattice, order, species and coordinates are, to 1e-4."""
    lattice = np.round(cell.lattice, 4) + 0.0
    coords = np.round(cell.frac_coords, 4) % 1.0 + 0.0
    return lattice.tobytes(), coords.tobytes(), cell.species


def radial_sums(cell: Cell) -> np.ndarray:
    """Return (E * E * 19,) smooth sums over the distances of pairs of elements, per atom, free of scale.

    Equal for every description of a crystal: rotated, shifted, permuted, another or a larger cell.
    """
    kinds = list(dict.fromkeys(cell.species))
    order = sorted(range(len(kinds)), key=kinds.__getitem__)
    return _numbered_sums(pattern(cell))[order][:, order].ravel()


@lru_cache(maxsize=4096)
def _numbered_sums(numbered: Pattern) -> np.ndarray:
    """Return (E, E, 19) radial sums in the order of the numbers."""
    lattice, coords, of = numbered.to_arrays()
    unit = lattice / (abs(np.linalg.det(lattice)) / len(coords)) ** (1 / 3)
    reach = float(_SHELLS[-1]) + 2 * _WIDTH
    heights = 1.0 / np.linalg.norm(np.linalg.inv(unit), axis=0)
    spans = [np.arange(-n, n + 1) for n in np.ceil(reach / heights).astype(int) + 1]
    images = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = coords % 1.0
    apart = (inside[None, :, :] - inside[:, None, :]).reshape(-1, 3) @ unit
    squared = ((apart[:, None, :] + images @ unit) ** 2).sum(axis=-1)
    pairs, _ = near = np.nonzero((squared < reach**2) & (squared > 1e-10))
    r = np.sqrt(squared[near])
    weights = np.exp(-0.5 * ((r[:, None] - _SHELLS) / _WIDTH) ** 2) * np.minimum(1.0, reach - r)[:, None]
    n_kinds = int(of.max()) + 1
    kind = (of[:, None] * n_kinds + of[None, :]).ravel()[pairs]
    sums = np.stack([weights[kind == k].sum(axis=0) for k in range(n_kinds**2)])
    return sums.reshape(n_kinds, n_kinds, -1) / len(coords)
