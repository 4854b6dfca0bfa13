"""What every proposer promises: `ask` for proposals, `tell` what became of the candidates."""

import json
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.registry import PROPOSERS
from inverse.candidates.types import Candidate, Origin
from surrogates.errors import ConfigError, EngineError
from surrogates.platform.blame import said_of

LOGGER = logging.getLogger(__name__)


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Proposal:
    """One crystal that somebody wants tried.

    Attributes:
        structure: ordered, primitive cell.
        proposer: name of the source ("gradient", "substitution", "lookup" ...); "" is the one that was asked.
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
    proposer: str = ""
    seed: int = 0
    history: Mapping[str, Any] = field(default_factory=_empty)
    log_likelihood: float | None = None
    origin: Origin = Origin.SEARCH
    key: str = ""
    trust: float | None = None
    remarks: tuple[str, ...] = ()


class Seeding(StrEnum):
    """What becomes of the crystals that a user starts from, beside a source that was chosen."""

    CHILDREN = "children"
    """They come first, then half of all is made from them."""
    LIST = "list"
    """They come first, and nothing is made of them."""
    OWN = "own"
    """The source sees to them itself."""


@runtime_checkable
class Proposer(Protocol):
    """A source of crystals; the same (n, step, seed) after the same tells gives the same proposals.

    Only `ask` must be written; a class that inherits from this one has the rest. What an extension makes is
    completed and checked when it is made (`completed`), whatever it inherits from. A run that was killed
    tells a new proposer every finished step again, in order. What follows from that alone needs no state;
    what does not, `state` and `restore` carry.

    Attributes:
        name: stands in every proposal of it.
        seeding: what becomes of the user's own crystals beside it.
    """

    name: str = ""
    seeding: Seeding = Seeding.CHILDREN

    @abstractmethod
    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return at most `n` proposals, fewer when the source runs dry, never raising for one crystal.

        Deterministic: every random number comes from generators seeded by (seed, step, index). Proposals but
        for seeds keep the hard constraints on elements; all other constraints are the screen's to decide.
        """
        ...

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn from candidates in proposal order, whoever proposed them and whatever became of them.

        A proposal's `key` comes back in its candidate, which crosses out entries of a list.
        """
        return

    def state(self) -> Mapping[str, Any]:
        """Return what cannot be learned from tells, as JSON; asked after each ask, stored with its step."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned after an ask, before that step's candidates are told."""
        return

    def open_trials(self, path: Path, before_step: int) -> None:
        """Read own trials of steps before `before_step`; later ones belong to a step that is repeated.

        Args:
            path: of a file in the run folder, for what is too large for `state`.
            before_step: the first step that was not written.
        """
        return

    def save_trials(self) -> None:
        """Write what the last ask tried, before its step is written."""
        return

    @property
    def n_first(self) -> int:
        """How many crystals of a list of the user's, which comes before every share of an ask, are left."""
        return 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing will come any more, which is no failure."""
        return False


class _Completed(Proposer):
    """A source that others wrote, with what it lacks; what it says is checked."""

    def __init__(self, source: Any, name: str) -> None:
        self.name = getattr(source, "name", "") or name
        self.seeding = Seeding(getattr(source, "seeding", Seeding.CHILDREN))
        self._source = source
        has_state = [_is_written(source, part) for part in ("state", "restore")]
        if has_state[0] != has_state[1]:
            given, lacking = ("state", "restore") if has_state[0] else ("restore", "state")
            raise TypeError(f"has {given}() without {lacking}()")
        self._has_state = all(has_state)

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        with self._named_errors():
            found = list(self._source.ask(n, step, seed))
        if odd := [one for one in found if not isinstance(one, Proposal)]:
            raise ConfigError(f"proposer {self.name!r}: proposes a {type(odd[0]).__name__}, not a Proposal")
        return [p if p.proposer else replace(p, proposer=self.name) for p in found]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        if hasattr(self._source, "tell"):
            with self._named_errors():
                self._source.tell(candidates)

    def state(self) -> Mapping[str, Any]:
        if not self._has_state:
            return {}
        with self._named_errors():
            kept: dict[str, Any] = json.loads(json.dumps(dict(self._source.state()), allow_nan=False))
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        if self._has_state:
            with self._named_errors():
                self._source.restore(state)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Let one line say whose code failed; the log has the traceback."""
        try:
            yield
        except EngineError:
            raise
        except Exception as error:
            LOGGER.exception("proposer %s failed", self.name)
            raise ConfigError(f"proposer {self.name!r} failed: {said_of(error, self._source)}") from error

    def open_trials(self, path: Path, before_step: int) -> None:
        if hasattr(self._source, "open_trials"):
            with self._named_errors():
                self._source.open_trials(path, before_step)

    def save_trials(self) -> None:
        if hasattr(self._source, "save_trials"):
            with self._named_errors():
                self._source.save_trials()

    @property
    def n_first(self) -> int:
        with self._named_errors():
            return int(getattr(self._source, "n_first", 0))

    @property
    def is_finished(self) -> bool:
        with self._named_errors():
            return bool(getattr(self._source, "is_finished", False))


def _is_written(source: Any, part: str) -> bool:
    """Return whether a source has a method of its own, not the default of `Proposer`."""
    inherited = getattr(type(source), part, None) is getattr(Proposer, part)
    return callable(getattr(source, part, None)) and not inherited


def completed(source: Any, name: str = "") -> Proposer:
    """Return a source with all that a `Proposer` promises, and what it says checked.

    The source itself where it was completed before, or is this program's own: it inherits from `Proposer`,
    and no extension brings its name.

    Args:
        source: anything with `ask(n, step, seed)`.
        name: by which a config named it, also for a source that has none; "" for a source that was not named.

    Raises:
        TypeError: no `ask`, or one of `state` and `restore` without the other.
    """
    is_own = isinstance(source, Proposer) and (not name or PROPOSERS.is_packaged(name))
    if is_own or isinstance(source, _Completed):
        return source
    if not callable(getattr(source, "ask", None)):
        raise TypeError(f"makes a {type(source).__name__} without ask(n, step, seed)")
    return _Completed(source, name)


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
