"""The hull of known phases under mixtures of many elements: its chemical potentials, by linear programme."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from inverse.reference.phases import NO_ENERGY, PhaseTable
from surrogates.crystals.batch import ELEMENT_SYMBOLS, element_index
from surrogates.errors import DataError

TRACE = 0.01
"""Atomic fraction below which an element counts as a trace: it enters alone, as if the other traces were
absent.

A soft crystal holds 0.3 % of each of dozens of elements. That these would react with each other says nothing
of a crystal that holds one of them, and a programme of 86 elements takes 0.2 s where one of three takes 0.01
s.
"""

UNSEEN = 1e-6
"""Atomic fraction below which an element without a reference phase does no harm."""

_TOLERANCE = 1e-7
"""eV/atom by which a phase may lie below a plane that counts as part of the hull."""

_NEAR = 0.1
"""eV/atom; phases within it of the plane under the even mixture open the programme of other mixtures."""

_PER_ELEMENT = 4
"""Phases most below the plane that join the programme in one round, for each element that they hold."""

_PART = re.compile(r"([A-Z][a-z]?)([0-9.]*)|\(([^()]*)\)([0-9.]*)")


def packaged_potentials(fractions: np.ndarray) -> np.ndarray:
    """Return the chemical potentials (C, Z) under mixtures (C, Z), read when first asked for.

    See `ChemicalPotentials.under`.
    """
    return ChemicalPotentials.packaged().under(fractions)


@dataclass(frozen=True)
class _Within:
    """Phases that a set of elements spans: (P, E) atomic fractions, (P,) energies, rows to start with."""

    fractions: sparse.csr_matrix
    energies: np.ndarray
    start: np.ndarray


@dataclass
class ChemicalPotentials:
    """Slopes of the hull of known phases; any number of elements at once.

    `ReferenceHull` answers the same energies for few elements, fast. Here a crystal whose species are soft
    holds traces of dozens, and what counts is how the hull changes when their amounts do.

    Attributes:
        fractions: (P, Z) atomic fractions of the known phases, sparse.
        energies: (P,) eV/atom.
    """

    fractions: sparse.csr_matrix
    energies: np.ndarray
    _within: dict[tuple[int, ...], _Within] = field(default_factory=dict, repr=False)

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "ChemicalPotentials":
        """Return those of the phases that ship with the package, read once per process (about 2 s)."""
        return cls.of_table(PhaseTable.packaged())

    @classmethod
    def of_table(cls, phases: PhaseTable) -> "ChemicalPotentials":
        """Return those of a table: compounds with a negative energy, and every phase of one element."""
        formulas = phases.formulas.to_pylist()  # type: ignore[attr-defined]
        rows: list[int] = []
        columns: list[int] = []
        amounts: list[float] = []
        energies: list[float] = []
        for formula, energy in zip(formulas, phases.energies.tolist(), strict=True):
            parts = _amounts(formula) if energy != NO_ENERGY else []
            if not parts or (energy >= 0 and len(parts) > 1):
                continue
            total = sum(amount for _, amount in parts)
            rows += [len(energies)] * len(parts)
            columns += [element_index(symbol) for symbol, _ in parts]
            amounts += [amount / total for _, amount in parts]
            energies.append(energy / 1000.0)
        shape = (len(energies), len(ELEMENT_SYMBOLS))
        return cls(sparse.csr_matrix((amounts, (rows, columns)), shape=shape), np.array(energies))

    def under(self, fractions: np.ndarray) -> np.ndarray:
        """Return the chemical potentials (C, Z) of the hull under C mixtures, eV/atom.

        `(fractions * potentials).sum(1)` is the hull's energy there, and its derivatives with respect to the
        fractions are the potentials. Where planes meet (at a known stable phase's own composition) any one of
        them is right. An element that is absent or a trace has the potential at which it would just enter: of
        the lowest plane through its phases with the elements present, hence the one-sided derivative. One
        that has no reference phase is NaN everywhere where it is present, and 0 where it is not: nothing can
        be said of it, and nothing is moved there.

        Args:
            fractions: (C, Z) atomic fractions; rows sum to 1. Deterministic, row by row.
        """
        return np.array([self._under(np.asarray(row, dtype=float)) for row in fractions]).reshape(
            fractions.shape
        )

    def _under(self, mixture: np.ndarray) -> np.ndarray:
        present = np.flatnonzero(mixture > TRACE)
        if not set(np.flatnonzero(mixture > UNSEEN).tolist()) <= self._referenced:
            return np.full(len(mixture), np.nan)
        within = self._phases(tuple(present.tolist()))
        own, _ = _lowest_plane(within, mixture[present] / mixture[present].sum(), within.start)
        potentials = np.zeros(len(mixture))
        potentials[present] = own
        absent = self._entering(present, potentials)
        potentials[np.isfinite(absent)] = absent[np.isfinite(absent)]
        return potentials

    @cached_property
    def _holds(self) -> sparse.csr_matrix:
        """(P, Z) one where a phase holds an element."""
        return (self.fractions > 0).astype(float)

    @cached_property
    def _referenced(self) -> set[int]:
        single = np.diff(self.fractions.indptr) == 1
        return set(self.fractions.indices[self.fractions.indptr[:-1][single]].tolist())

    def _phases(self, present: tuple[int, ...]) -> _Within:
        """Return the phases of these elements; those near the plane under their even mixture come first."""
        if present not in self._within:
            chosen = np.zeros(self.fractions.shape[1])
            chosen[list(present)] = 1.0
            rows = np.flatnonzero(self.fractions @ chosen > 1.0 - 1e-9)
            fractions, energies = self.fractions[rows][:, list(present)], self.energies[rows]
            elemental = np.flatnonzero(np.diff(fractions.indptr) == 1)
            whole = _Within(fractions, energies, elemental)
            even = np.full(len(present), 1.0 / len(present))
            plane, _ = _lowest_plane(whole, even, elemental)
            near = np.flatnonzero(energies - fractions @ plane < _NEAR)
            self._within[present] = _Within(fractions, energies, np.union1d(elemental, near))
        return self._within[present]

    def _entering(self, present: np.ndarray, potentials: np.ndarray) -> np.ndarray:
        """Return (Z,) at which potential each absent element enters; infinite without a reference phase."""
        is_absent = np.ones(len(potentials))
        is_absent[present] = 0.0
        rows = np.flatnonzero(self._holds @ is_absent == 1.0)
        newcomer = (self._holds[rows] @ (is_absent * np.arange(len(potentials)))).astype(int)
        rest = self.energies[rows] - self.fractions[rows] @ potentials
        entering = np.full(len(potentials), np.inf)
        np.minimum.at(entering, newcomer, rest / (self.fractions[rows] @ is_absent))
        return entering


def _lowest_plane(within: _Within, mixture: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the plane (E,) below every phase that is highest at the mixture, and its energy there.

    The dual of the lowest mixture of phases. Phases below the plane join the programme until there is none.
    """
    active = start
    while True:
        solved = linprog(
            -mixture,
            A_ub=within.fractions[active],
            b_ub=within.energies[active],
            bounds=(None, None),
            method="highs",
        )
        if solved.status != 0:
            raise DataError(f"the hull of {len(mixture)} elements cannot be computed: {solved.message}")
        below = within.fractions @ solved.x - within.energies
        below[active] = 0.0
        broken = np.flatnonzero(below > _TOLERANCE)
        if not len(broken):
            return np.asarray(solved.x), -float(solved.fun)
        worst = broken[np.argsort(-below[broken], kind="stable")]
        active = np.concatenate([active, worst[_first_of_each(within.fractions[worst])]])


def _first_of_each(fractions: sparse.csr_matrix) -> np.ndarray:
    """Return the rows that are among the first few to hold some element."""
    columns = fractions.tocsc()
    columns.sort_indices()
    firsts = [
        columns.indices[low:high][:_PER_ELEMENT]
        for low, high in zip(columns.indptr[:-1], columns.indptr[1:], strict=True)
    ]
    return np.unique(np.concatenate(firsts))


def _amounts(formula: str) -> list[tuple[str, float]]:
    """Return symbols and amounts of a formula as pymatgen writes it: an element may come twice.

    >>> _amounts("Ca(HO)2")
    [('Ca', 1.0), ('H', 2.0), ('O', 2.0)]
    """
    return list(_parts(formula, 1.0))


def _parts(formula: str, times: float) -> Iterator[tuple[str, float]]:
    for symbol, amount, group, repeats in _PART.findall(formula):
        if group:
            yield from _parts(group, times * float(repeats or 1.0))
        else:
            yield symbol, times * float(amount or 1.0)
