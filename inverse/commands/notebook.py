"""Progress in a notebook: one line that changes in place. Elsewhere nothing is shown."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inverse.campaign.parts import Progress


def _new_line() -> "Callable[[str], None] | None":
    """Return what writes HTML into a place of the cell that is being run; None outside a notebook.

    IPython is never imported here: where a notebook runs, it is there already.
    """
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import HTML, display

    place = display(HTML(""), display_id=True)
    return lambda html: place.update(HTML(html))


def _bar(done: int, total: int | None, text: str) -> str:
    of = f' max="{total}"' if total else ""
    value = f' value="{min(done, total)}"' if total else ""
    return f"<progress{value}{of}></progress> {escape(text)}"


@contextmanager
def campaign_line() -> "Iterator[Callable[[Progress], None] | None]":
    """Yield what a campaign tells its progress to, in a notebook; None elsewhere."""
    line = _new_line()
    if line is None:
        yield None
        return
    from inverse.commands.terminal import time_left

    write, notices = line, []

    def update(progress: "Progress") -> None:
        if progress.stage == "notice":
            notices.append(f"{escape(progress.message)}<br>")
        of = f" of {progress.budget}" if progress.budget else ""
        parts = [f"{progress.n_started}{of} verified, {progress.n_hits} hits", time_left(progress)]
        parts += [progress.message] if progress.stage != "notice" else []
        text = "; ".join(part for part in parts if part)
        write("".join(notices) + _bar(progress.n_started, progress.budget, text))

    try:
        yield update
    finally:
        write("".join(notices))


class _Counted:
    """A bar in a notebook."""

    def __init__(self, write: Callable[[str], None], label: str) -> None:
        self._write, self._label, self._done, self._total = write, label, 0, 0
        self._say("")

    def expect(self, total: int, what: str) -> None:
        """Say how many there will be."""
        self._total = total
        self._say(what)

    def advance(self, note: str = "") -> None:
        """Count one more."""
        self._done += 1
        self._say(note)

    def _say(self, note: str) -> None:
        of = f" of {self._total}" if self._total else ""
        self._write(_bar(self._done, self._total or None, f"{self._label}: {self._done}{of} {note}".rstrip()))


class _Silent:
    """A bar that nobody sees."""

    def expect(self, total: int, what: str) -> None:
        """Say nothing."""

    def advance(self, note: str = "") -> None:
        """Say nothing."""


@contextmanager
def counted_line(label: str) -> Iterator[_Counted | _Silent]:
    """Yield a bar in a notebook, gone when the work is done; one that says nothing elsewhere."""
    line = _new_line()
    if line is None:
        yield _Silent()
        return
    try:
        yield _Counted(line, label)
    finally:
        line("")
