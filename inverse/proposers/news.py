"""What a campaign tells of its progress beyond counts: the pace of verdicts, what sources are at."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

LOGGER = logging.getLogger(__name__)

ENOUGH = 5
"""Verdicts of this session before a pace is told; the first ones wait for workers to start."""

_LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("who hears `tell`", default=None)


@dataclass(frozen=True)
class Pace:
    """How fast verdicts come; what a session spends on loading and proposing is none of it."""

    n: int = 0
    seconds: float = 0.0

    def after(self, seconds: float) -> "Pace":
        """Return the pace with one verdict more, so many seconds after the one before."""
        return Pace(self.n + 1, self.seconds + seconds)

    @property
    def seconds_each(self) -> float | None:
        """Seconds from one verdict to the next; None before there are enough of them."""
        return self.seconds / self.n if self.n >= ENOUGH else None


def tell(message: str, *values: object) -> None:
    """Say what is being done, to the log and to whoever is listening in this context; values by `%`."""
    LOGGER.info(message, *values)
    listener = _LISTENER.get()
    if listener is not None:
        listener(message % values)


@contextmanager
def listening(hear: Callable[[str], None]) -> Iterator[None]:
    """Pass on what is told while inside, in this context only: campaigns beside it have their own."""
    token = _LISTENER.set(hear)
    try:
        yield
    finally:
        _LISTENER.reset(token)
