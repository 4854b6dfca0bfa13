"""What a campaign tells of its progress beyond counts: the pace of verdicts, what sources are at."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ENOUGH = 5
"""Verdicts of this session before a pace is told; the first ones wait for workers to start."""


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


@contextmanager
def telling(logger: logging.Logger, say: Callable[[str], None]) -> Iterator[None]:
    """Pass on what a logger and those below it note (INFO) while inside."""

    class Teller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.INFO:
                say(record.getMessage())

    teller = Teller()
    logger.addHandler(teller)
    try:
        yield
    finally:
        logger.removeHandler(teller)
