"""A source's pool: entries made batch after batch, the best handed out, refilled before it runs dry."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from inverse.candidates.types import Candidate
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.reference.deduplication import CrystalsMet

LOGGER = logging.getLogger(__name__)

FEWEST = 512
"""Entries left below which the next batch is made: as many as the largest step asks for."""

WEIGHED = 4
"""Entries weighed anew with the campaign's verdicts for every one asked for, the best before them first."""

WIDTHS = (1, 2, 4, 8, 16)
"""How many times as many compositions, and structure types for each, are looked at when a pool runs dry."""

BARREN = 3
"""Batches without a single entry, one after the other, after which nothing more is expected."""

LEAST_WEIGHED = 256
"""Entries weighed anew at least."""


@dataclass(frozen=True)
class Entry:
    """One crystal of a pool.

    Attributes:
        proposal: its `key` is its own in the pool.
        value: worth by the shipped surrogate.
        is_known: its formula stands in a carried table.
        is_first: handed out before all others, whatever it is worth.
    """

    proposal: Proposal
    value: float
    is_known: bool = False
    is_first: bool = False


Batches = Callable[[int], Iterator[list[Entry]]]
"""Run seed -> batches of entries."""


class Pool:
    """Entries of which none is handed out twice, nor a crystal that another source offered.

    What it holds follows from the batches and from what was told alone, never from what was asked, so a
    resumed run agrees. The cost of a question does not grow with the pool: entries are weighed anew only when
    they stand near the top.
    """

    def __init__(self, space: SearchSpace, batches: Batches, fewest: int = FEWEST) -> None:
        """Remember where entries come from; none is made before the first question.

        Args:
            space: models and what the campaign was offered.
            batches: run seed -> the entries, batch after batch; they rest on (config, seed) alone.
            fewest: entries left below which the next batch is made.
        """
        self._space, self._make, self._fewest = space, batches, fewest
        self._batches: Iterator[list[Entry]] | None = None
        self._is_exhausted, self._n_barren = False, 0
        self._crystals = CrystalsMet()
        self._free: dict[str, Entry] = {}
        self._formulas: dict[str, list[str]] = {}
        self._tried: set[str] = set()
        self._compared: dict[str, int] = {}

    def cross_out(self, name: str, candidates: Sequence[Candidate]) -> None:
        """Take out what candidates of the source `name` came from, whatever became of them."""
        self._tried |= {c.key for c in candidates if c.proposer == name}
        for key in self._tried & self._free.keys():
            del self._free[key]

    def ranked(self, n: int, seed: int) -> list[Entry]:
        """Return at least n free entries, as far as there are, most worth now first."""
        if self._batches is None:
            self._batches = self._make(seed)
        self._without_offered()
        while len(self._free) < self._fewest and not self._is_exhausted:
            self._refill(next(self._batches, None))
        entries = sorted(self._free.values(), key=lambda e: (not e.is_first, -e.value))
        n_weighed = max(WEIGHED * n, LEAST_WEIGHED)
        first = [e for e in entries if e.is_first]
        others = entries[len(first) : len(first) + n_weighed]
        values = self._space.scored([e.proposal.structure for e in others])
        return [*first, *[others[k] for k in np.argsort(-values, kind="stable")]]

    def _refill(self, batch: Sequence[Entry] | None) -> None:
        self._n_barren = 0 if batch else self._n_barren + 1
        if batch is None or self._n_barren == BARREN:
            self._is_exhausted = True
            return
        n_before = len(self._free)
        for entry in batch:
            key, structure = entry.proposal.key, entry.proposal.structure
            number = len(self._crystals)
            if self._crystals.add(structure) == number and key not in self._tried:
                self._free[key] = entry
                self._formulas.setdefault(structure.composition.reduced_formula, []).append(key)
        self._compared.clear()
        self._without_offered()
        LOGGER.info("%d of %d made are new crystals", len(self._free) - n_before, len(batch))

    def _without_offered(self) -> None:
        """Take out what another source offered, as far as formulas were offered since the last time."""
        offered = self._space.offered
        for formula, keys in self._formulas.items():
            count = offered.count(formula)
            if count == self._compared.get(formula, 0):
                continue
            self._compared[formula] = count
            for key in keys:
                if key in self._free and offered.holds(self._free[key].proposal.structure):
                    del self._free[key]
