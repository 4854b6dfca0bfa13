"""What a pool and its workers say to each other: the plan, questions and answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from surrogates.errors import ConfigError, DataError, EngineError, MissingExtraError, UnknownNameError

REFUSALS: Mapping[str, type[EngineError]] = {
    kind.__name__: kind for kind in (ConfigError, DataError, MissingExtraError, UnknownNameError)
}
"""Errors of a worker's start that another start would only repeat, by the name that travels."""


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker builds its verifier from; arguments of `load_verifier`."""

    potential: str
    reuse: bool = True
    store: str | None = None
    seconds_limit: float = 300.0
    stop_above_hull: float | None = None
    referee: bool = False
    device: str = "auto"
    shortlist: Mapping[str, tuple[float, float]] | None = None
    also: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


class Task(StrEnum):
    """What a worker is asked: (task, record of a structure, seconds it may take)."""

    VERIFY = "verify"
    PHONONS = "phonons"


class Answer(StrEnum):
    """What a worker says: of its start (READY, REFUSED, FAILED), of a question (DONE, MACHINE), aside (NOTE).

    With it go: nothing; (name in `REFUSALS`, message); message; a record; message; (level, logger, message).
    """

    READY = "ready"
    REFUSED = "refused"
    FAILED = "failed"
    DONE = "done"
    MACHINE = "machine"
    NOTE = "note"
