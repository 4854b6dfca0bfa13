"""What a pool and its workers say to each other after the plan: questions and answers."""

from collections.abc import Mapping
from enum import StrEnum

from surrogates.errors import ConfigError, DataError, EngineError, MissingExtraError, UnknownNameError

REFUSALS: Mapping[str, type[EngineError]] = {
    kind.__name__: kind for kind in (ConfigError, DataError, MissingExtraError, UnknownNameError)
}
"""Errors of a worker's start that another start would only repeat, by the name that travels."""


class Task(StrEnum):
    """What a worker is asked: (task, record of a structure, seconds it may take)."""

    VERIFY = "verify"
    RELAX = "relax"
    PHONONS = "phonons"


class Answer(StrEnum):
    """What a worker says: of its start (READY, REFUSED, FAILED), of a question (DONE, MACHINE), or aside.

    With it go: nothing; (name in `REFUSALS`, message); message; a record; message; with a NOTE (level,
    logger, message); with COST the CPU seconds of the worker and its ended children since it began.
    """

    READY = "ready"
    REFUSED = "refused"
    FAILED = "failed"
    DONE = "done"
    MACHINE = "machine"
    NOTE = "note"
    COST = "cost"
