"""What every proposer promises: `ask` for proposals, `tell` what became of the candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Origin


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Proposal:
    """One crystal that somebody wants tried.

    Attributes:
        structure: ordered, primitive cell.
        proposer: name of the source ("gradient", "substitution", "lookup" ...).
        seed: of the generator that made it; with `history` enough to make it again.
        history: JSON-able: template, condition, trial number, gradient steps, what hardening lost ... For
            people: nothing is decided by it.
        log_likelihood: the decoder's, nats per atom; None when no decoder can say.
        origin: a seed of the user's, its child, a textbook answer, or a find.
        key: what identifies it among the entries of its source, which crosses out what comes back; "" where
            the source has no list.
        trust: how far predictions of such a structure are believed, in (0, 1]; None where the source has no
            opinion.
        remarks: what the reader of its file had to say of a seed.
    """

    structure: Structure
    proposer: str
    seed: int
    history: Mapping[str, Any] = field(default_factory=_empty)
    log_likelihood: float | None = None
    origin: Origin = Origin.SEARCH
    key: str = ""
    trust: float | None = None
    remarks: tuple[str, ...] = ()


@runtime_checkable
class Proposer(Protocol):
    """A source of crystals; the same (n, step, seed) after the same tells gives the same proposals.

    `name` stands in every proposal of it.
    """

    name: str

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most `n` proposals, fewer when the source runs dry, never raising for one crystal.

        Deterministic: every random number comes from generators seeded by (seed, step, index). Proposals but
        for seeds keep the hard constraints on elements; all other constraints are the screen's to decide.
        """
        ...

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn from candidates in proposal order, whoever proposed them and whatever became of them."""
        ...


@runtime_checkable
class Storing(Protocol):
    """A proposer that keeps something in the run folder beside what it is told."""

    def open_trials(self, path: Path, before_step: int) -> None:
        """Read the trials of steps before `before_step`; later ones belong to a step that is repeated."""
        ...

    def save_trials(self) -> None:
        """Write what the last ask tried."""
        ...


@runtime_checkable
class Leading(Protocol):
    """A proposer that begins with a list of the user's, which comes before every share of an ask."""

    @property
    def n_first(self) -> int:
        """Crystals of the list that were not handed out yet."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether nothing will come any more, which is no failure."""
        ...


def next_place(name: str, candidates: Sequence[Candidate]) -> int:
    """Return the first place of a source's list that none of its candidates comes from or lies behind.

    Their keys are places in the ranked list that the source works through.
    """
    return max((int(c.key) + 1 for c in candidates if c.proposer == name), default=0)


def generator(seed: int, step: int, index: int = 0) -> np.random.Generator:
    """Return the one generator of (run seed, step, candidate index).

    >>> bool(generator(7, 0, 1).integers(1000) == generator(7, 0, 1).integers(1000))
    True
    """
    return np.random.default_rng([seed, step, index])


def happens(rng: np.random.Generator, chance: float) -> bool:
    """Draw whether something of this chance happens."""
    return bool(rng.random() < chance)
