"""Crystals that the user starts from, as they are: proposals, and what descents begin with."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Origin
from inverse.proposers.protocol import Proposal, Proposer
from inverse.proposers.search_space import SearchSpace

LOGGER = logging.getLogger(__name__)

NAME = "seeds"
"""Of the source that hands them out, whether or not it makes something of them."""


class GivenSeeds(Proposer):
    """Hands out the seeds as they are and makes nothing of them: what a baseline's list begins with."""

    name = NAME

    def __init__(self, space: SearchSpace, seeds: Sequence[tuple[str, Structure]]) -> None:
        """Remember the seeds.

        Args:
            space: models and what the campaign was offered.
            seeds: (name, ordered primitive cell).
        """
        self._space, self._seeds = space, list(seeds)
        self._tried: set[str] = set()

    @property
    def n_first(self) -> int:
        """How many seeds were not handed out yet."""
        return sum(p.key not in self._tried for p in self._known)

    @property
    def is_finished(self) -> bool:
        """Whether all seeds were handed out: the normal end of this source."""
        return not self.n_first

    def listed(self, seed: int) -> list[Proposal]:
        """Return every seed that the models know, handed out or not."""
        return [replace(p, seed=seed) for p in self._known]

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most n of the seeds that were not handed out yet."""
        return [p for p in self.listed(seed) if p.key not in self._tried][: max(n, 0)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was handed out."""
        self._space.offered.remember(candidates)
        self._tried |= {c.key for c in candidates if c.proposer == self.name}

    @cached_property
    def _known(self) -> list[Proposal]:
        """The list, worked out once: the log names a seed of unknown elements once a run."""
        return as_given(self._space, self._seeds, self.name, 0)


def as_given(
    space: SearchSpace, seeds: Sequence[tuple[str, Structure]], proposer: str, seed: int
) -> list[Proposal]:
    """Return the seeds as proposals, those of elements that the config excludes too; the log names others.

    What others are compared with is no find. Left out is what holds elements that the models do not know.
    """
    found = []
    for name, structure in seeds:
        symbols = sorted({site.specie.symbol for site in structure})
        if odd := sorted(set(symbols) - space.base.supported(symbols)):
            LOGGER.warning("seed %s: not verified, the models do not know %s", name, ", ".join(odd))
            continue
        history, key = {"kind": "seed", "seed": name}, f"{name}: as given"
        remarks = space.remarks.get(name, ())
        found.append(
            Proposal(structure, proposer, seed, history, origin=Origin.SEED, key=key, remarks=remarks)
        )
    return found


def starts(
    space: SearchSpace, seeds: Sequence[tuple[str, Structure]], proposer: str, seed: int
) -> list[Proposal]:
    """Return the seeds that hold allowed elements only, as proposals: what descents may begin with."""
    allowed = set(space.allowed_elements)
    fitting = [(name, s) for name, s in seeds if {site.specie.symbol for site in s} <= allowed]
    return as_given(space, fitting, proposer, seed)
