"""A bar on stderr for long work, and plain lines where stderr is not a terminal."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol


def to_stderr(text: str) -> None:
    """Write a line to stderr, unless nobody can hear it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar(Protocol):
    """A progress bar."""

    def advance(self, note: str = "") -> None:
        """Count one more."""
        ...

    def expect(self, total: int, what: str) -> None:
        """Say how many there will be, where nobody knew before."""
        ...

    def tell(self, what: str) -> None:
        """Say what is going on while nothing can be counted."""
        ...


SECONDS_BETWEEN_LINES = 10.0
"""Between two lines of progress where stderr is not a terminal."""

SECONDS_OF_SILENCE = 30.0
"""After which such a line says that the work goes on, though nothing was finished."""


class _Quiet:
    """A bar for a stderr that is not a terminal: a line now and then, and one at the end."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label, self._total, self._done = label, total, 0
        self._began = time.monotonic()
        self._said, self._said_at = 0, self._began

    def expect(self, total: int, what: str) -> None:
        """Say how many there will be."""
        self._total = total
        to_stderr(f"{self._label}: {total} {what}")

    def tell(self, what: str) -> None:
        """Say nothing yet: what is refused is refused in one line."""

    def advance(self, note: str = "") -> None:
        """Count one more."""
        self._done += 1
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self.say()

    def say(self) -> None:
        """Say how many are done, unless that was said."""
        if self._done > self._said:
            to_stderr(f"{self._label}: {self._how_many}")
        self._said, self._said_at = self._done, time.monotonic()

    def say_that_it_goes_on(self, ended: threading.Event) -> None:
        """Say every now and then how many are done and for how long the work lasts, until it has ended."""
        while not ended.wait(max(0.01, self._said_at + SECONDS_OF_SILENCE - time.monotonic())):
            now = time.monotonic()
            if now - self._said_at < SECONDS_OF_SILENCE:  # something was said meanwhile
                continue
            if self._total or self._done:
                to_stderr(f"{self._label}: {self._how_many} after {now - self._began:.0f} s")
            self._said_at = now

    @property
    def _how_many(self) -> str:
        return f"{self._done} of {self._total}" if self._total else f"{self._done} done"


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Bar]:
    """Yield a bar on stderr with the time left; plain lines where stderr is not a terminal."""
    if not sys.stderr.isatty():
        quiet, ended = _Quiet(label, total), threading.Event()
        threading.Thread(target=quiet.say_that_it_goes_on, args=(ended,), daemon=True).start()
        try:
            yield quiet
        finally:
            ended.set()
            quiet.say()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task(label, total=total, note="")

        class _Shown:
            def advance(self, note: str = "") -> None:
                shown.update(task, advance=1, note=note)

            def expect(self, total: int, what: str) -> None:
                shown.update(task, total=total, note=what)

            def tell(self, what: str) -> None:
                shown.update(task, note=what)

        yield _Shown()
