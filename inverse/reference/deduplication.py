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
from hashlib import blake2b
from math import gcd

import numpy as np
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Element, Lattice, Structure

from inverse.reference.coincidence import Pattern, coincide, pattern, patterns, reduced_basis
from inverse.reference.signatures import Cell, signature_text
from surrogates.crystals.formulas import display_formula
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
    crystals = CrystalsMet()
    found = Distinct([crystals.add(structure) for structure in structures])
    found.n_coincident = crystals.n_coincident
    found.n_signatures, found.n_matches = crystals.n_signatures, crystals.n_matches
    return found


@dataclass(eq=False)
class _Member:
    """A crystal of the collection, at `VOLUME` an atom.

    Attributes:
        number: place at which it was added.
        first: number of the first member that is the same crystal.
        cell: scaled.
        signature: None where spglib finds none, and as long as nobody asked.
        is_asked: whether somebody asked for the signature.
    """

    number: int
    first: int
    cell: Cell
    signature: str | None = None
    is_asked: bool = False


class CrystalsMet:
    """Crystals met one after the other, and which of them are the same; scale does not count.

    The time of a question depends on the crystals of the same formula alone. Deterministic: the answers
    follow from what was added, and in which order.

    Attributes:
        n_coincident, n_signatures, n_matches: as in `Distinct`.
    """

    def __init__(self) -> None:
        self.n_coincident = self.n_signatures = self.n_matches = 0
        self._n_added = 0
        self._written: dict[bytes, int] = {}
        self._by_formula: dict[tuple[tuple[str, int], ...], list[_Member]] = {}

    def __len__(self) -> int:
        return self._n_added

    def add(self, structure: Structure) -> int:
        """Return the number of the first crystal added that is the same; the new one's own if there is none.

        Numbers count what was added, from 0.
        """
        number = self._n_added
        self._n_added += 1
        cell = _readable(structure)
        if cell is None:
            return number
        text = _as_written(cell)
        if text in self._written:
            return self._written[text]
        member = _Member(number, number, cell)
        like = self._by_formula.setdefault(_formula(cell), [])
        twin = self._coincident(cell, like)
        if twin is None:
            same = self._same(member, like)
            member.first = number if same is None else same
            like.append(member)
        else:
            member.first = twin
        self._written[text] = member.first
        return member.first

    def find(self, structure: Structure) -> int | None:
        """Return the number of the first crystal added that is the same; None where none is."""
        cell = _readable(structure)
        if cell is None:
            return None
        text = _as_written(cell)
        if text in self._written:
            return self._written[text]
        like = self._by_formula.get(_formula(cell), [])
        twin = self._coincident(cell, like)
        return self._same(_Member(-1, -1, cell), like) if twin is None else twin

    def _coincident(self, cell: Cell, like: Sequence[_Member]) -> int | None:
        """Return the first member of the same formula whose atoms coincide."""
        for member in like:
            if coincide(member.cell, cell, COINCIDENCE):
                self.n_coincident += 1
                return member.first
        return None

    def _same(self, member: _Member, like: Sequence[_Member]) -> int | None:
        """Return the first crystal of the same formula and signature that is the same."""
        if not like or self._signature(member) is None:
            return None
        alike = [m for m in like if m.first == m.number and self._signature(m) == member.signature]
        sums = radial_sums(member.cell) if alike else np.zeros(0)
        distances = sorted((float(np.abs(radial_sums(m.cell) - sums).max()), m.number, m) for m in alike)
        if distances and distances[0][0] < _SAME:
            return distances[0][1]
        for _, number, other in distances:
            self.n_matches += 1
            if _fit(*patterns(member.cell, other.cell)):
                return number
        return None

    def _signature(self, member: _Member) -> str | None:
        if not member.is_asked:
            self.n_signatures += 1
            member.signature, member.is_asked = signature_text(member.cell, SYMPREC), True
        return member.signature


def _readable(structure: Structure) -> Cell | None:
    """Return the scaled cell; None for a crystal that is broken or partly occupied."""
    try:
        return _scaled(Cell.from_structure(structure))
    except (StructureError, np.linalg.LinAlgError):
        return None


def _formula(cell: Cell) -> tuple[tuple[str, int], ...]:
    """Return the reduced formula, without the text that takes pymatgen most of the time."""
    amounts = Counter(cell.species)
    divisor = gcd(*amounts.values())
    return tuple(sorted((symbol, n // divisor) for symbol, n in amounts.items()))


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
        raise StructureError(f"{display_formula(cell.reduced_formula)}: the cell has no volume")
    lattice = np.round(cell.lattice * (VOLUME / volume) ** (1 / 3), 5) + 0.0
    return Cell(lattice, np.round(cell.frac_coords, 6) + 0.0, cell.species)


def _as_written(cell: Cell) -> bytes:
    """Return what is equal only where lattice, order, species and coordinates are, to 1e-4."""
    lattice = np.round(cell.lattice, 4) + 0.0
    coords = np.round(cell.frac_coords, 4) % 1.0 + 0.0
    text = b"".join([lattice.tobytes(), coords.tobytes(), " ".join(cell.species).encode()])
    return blake2b(text, digest_size=16).digest()


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
