"""Many candidates -> which are the same crystal: by formula, by signature, and only then by comparing atoms.

Cheap questions first. A formula that occurs once needs no symmetry; cells written in the same way need none
either. Within equal signatures two crystals whose scaled distances agree are the same; `StructureMatcher`
decides where they do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from inverse.reference.signatures import Cell, signature_text
from surrogates.errors import StructureError

SYMPREC = 0.1
"""Å, in cells of `VOLUME` an atom; tolerance of the signatures compared: proposals are not relaxed yet."""

VOLUME = 12.0
"""Å³ per atom to which cells are scaled before they are compared, since scale does not count."""

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
        n_signatures: signatures that had to be computed.
        n_matches: questions that only `StructureMatcher` could answer.
    """

    first: list[int]
    n_signatures: int = 0
    n_matches: int = 0

    @property
    def kept(self) -> list[int]:
        """Return the indices of the distinct crystals, in order."""
        return [i for i, first in enumerate(self.first) if first == i]


def distinct(structures: Sequence[Structure]) -> Distinct:
    """Return which candidates are the same crystal, up to its scale.

    A candidate without a signature (broken, partly occupied) is the same as none.
    """
    found = Distinct(list(range(len(structures))))
    cells: dict[int, Cell] = {}
    by_formula: dict[str, list[int]] = {}
    written: dict[tuple[object, ...], int] = {}
    for i, structure in enumerate(structures):
        try:
            cells[i] = cell = _scaled(Cell.from_structure(structure))
        except (StructureError, np.linalg.LinAlgError):
            continue
        first = written.setdefault(_as_written(cell), i)
        found.first[i] = first
        if first == i:
            by_formula.setdefault(cell.reduced_formula, []).append(i)
    for same_formula in by_formula.values():
        if len(same_formula) > 1:
            _separate(same_formula, cells, found)
    found.first = [found.first[first] for first in found.first]
    return found


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
    reduced: dict[int, Structure] = {}
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    for i in members:
        distances = sorted((float(np.abs(sums[i] - sums[k]).max()), k) for k in kept)
        first = distances[0][1] if distances and distances[0][0] < _SAME else None
        for _, k in distances if first is None else ():
            found.n_matches += 1
            one, other = (reduced.setdefault(j, _reduced(cells[j])) for j in (i, k))
            if matcher.fit(one, other, skip_structure_reduction=True):
                first = k
                break
        if first is None:
            kept.append(i)
        else:
            found.first[i] = first


def _reduced(cell: Cell) -> Structure:
    """Return the cell as StructureMatcher reduces it, once instead of at every question."""
    structure = Structure(Lattice(cell.lattice), list(cell.species), cell.frac_coords)
    return structure.get_reduced_structure(reduction_algo="niggli").get_primitive_structure()


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
    unit = cell.lattice / cell.volume_per_atom ** (1 / 3)
    reach = float(_SHELLS[-1]) + 2 * _WIDTH
    heights = 1.0 / np.linalg.norm(np.linalg.inv(unit), axis=0)
    spans = [np.arange(-n, n + 1) for n in np.ceil(reach / heights).astype(int) + 1]
    images = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1).reshape(-1, 3)
    coords = cell.frac_coords % 1.0
    apart = (coords[None, :, :] - coords[:, None, :]).reshape(-1, 3) @ unit
    squared = ((apart[:, None, :] + images @ unit) ** 2).sum(axis=-1)
    pairs, _ = near = np.nonzero((squared < reach**2) & (squared > 1e-10))
    r = np.sqrt(squared[near])
    weights = np.exp(-0.5 * ((r[:, None] - _SHELLS) / _WIDTH) ** 2) * np.minimum(1.0, reach - r)[:, None]
    kinds = sorted(set(cell.species))
    of = np.array([kinds.index(symbol) for symbol in cell.species])
    kind = (of[:, None] * len(kinds) + of[None, :]).ravel()[pairs]
    sums = [weights[kind == k].sum(axis=0) for k in range(len(kinds) ** 2)]
    return np.concatenate(sums) / len(coords)
