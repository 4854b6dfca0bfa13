"""What every proposer promises: `ask` for proposals, `tell` what became of the candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pymatgen.core import Structure

from inverse.types import Candidate, Origin


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Proposal:
    """One crystal that somebody wants tried.

    Attributes:
        structure: ordered, primitive cell.
        proposer: name of the source ("gradient", "substitution", "lookup" ...).
        seed: of the generator that made it; with `history` enough to make it again.
        history: JSON-able: template, condition, trial number, gradient steps, what hardening lost ...
        log_likelihood: the decoder's, nats per atom; None when no decoder can say.
        origin: a seed of the user's, its child, a textbook answer, or a find.
    """

    structure: Structure
    proposer: str
    seed: int
    history: Mapping[str, Any] = field(default_factory=_empty)
    log_likelihood: float | None = None
    origin: Origin = Origin.SEARCH


@runtime_checkable
class Proposer(Protocol):
    """A source of crystals; the same (n, step, seed) after the same tells gives the same proposals.

    `name` stands in every proposal of it.
    """

    name: str

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most `n` proposals, fewer when the source runs dry, never raising for one crystal.

        Deterministic: every random number comes from generators seeded by (seed, step, index). Proposals keep
        the hard constraints on elements; all other constraints are the screen's to decide.
        """
        ...

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn from candidates in proposal order, whoever proposed them and whatever became of them."""
        ...


PLACE = "place"
"""Key of a history: where the proposal stands in the ranked list that its source works through."""


def next_place(name: str, candidates: Sequence[Candidate]) -> int:
    """Return the first place of a source's list that none of its candidates comes from or lies behind."""
    return max((int(c.history[PLACE]) + 1 for c in candidates if c.proposer == name), default=0)


def generator(seed: int, step: int, index: int = 0) -> np.random.Generator:
    """Return the one generator of (run seed, step, candidate index).

    >>> bool(generator(7, 0, 1).integers(1000) == generator(7, 0, 1).integers(1000))
    True
    """
    return np.random.default_rng([seed, step, index])
