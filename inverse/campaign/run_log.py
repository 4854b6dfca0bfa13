"""What is logged while a run is at work, in its own log.txt; nothing of it outlasts the run.

Several campaigns may run in one process, one after the other or in threads: a record belongs to the run in
whose context it was made.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from surrogates.platform.process_settings import ProcessSetting

_AT_WORK: ContextVar["RunLog | None"] = ContextVar("run at work", default=None)
"""The run in whose context this code runs."""

_PACKAGE = logging.getLogger("inverse")

_LEVEL = ProcessSetting(lambda: _PACKAGE.level, _PACKAGE.setLevel)


class RunLog:
    """The log of one run."""

    def __init__(self, handler: logging.Handler) -> None:
        """Log by a handler, which `close` closes."""
        self._handler = handler
        self._handler.addFilter(lambda record: _AT_WORK.get() is self)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what is logged below `inverse` while inside; may be entered again inside."""
        if _AT_WORK.get() is self:
            yield
            return
        token = _AT_WORK.set(self)
        _PACKAGE.addHandler(self._handler)
        try:
            with _LEVEL.changed(_at_least_info):
                yield
        finally:
            _PACKAGE.removeHandler(self._handler)
            _AT_WORK.reset(token)

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._handler.close()


def _at_least_info(level: int) -> int:
    return level if _PACKAGE.getEffectiveLevel() <= logging.INFO else logging.INFO


class Logged(Protocol):
    """Whoever has a log."""

    log: RunLog


_L = TypeVar("_L", bound=Logged)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def recorded(method: Callable[Concatenate[_L, _P], _R]) -> Callable[Concatenate[_L, _P], _R]:
    """Return the method that records in its object's log whatever is logged meanwhile."""

    @wraps(method)
    def inside(self: _L, *arguments: _P.args, **named: _P.kwargs) -> _R:
        with self.log.recording():
            return method(self, *arguments, **named)

    return inside
