"""When to stop: a signal (Ctrl-C, SIGTERM, SIGUSR1) or a deadline; acted on between verifications."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")
"""Ctrl-C, a polite kill, and a batch system's warning."""


class StopFlag:
    """Set once, by a signal or the clock.

    Attributes:
        deadline: `time.monotonic()` after which nothing new begins; None without one.
        signal_name: the signal that came, "" when none did.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.signal_name = ""

    def is_set(self) -> bool:
        """Return whether to stop."""
        return bool(self.signal_name) or (self.deadline is not None and time.monotonic() >= self.deadline)

    @property
    def reason(self) -> str:
        """Why to stop, one line; "" when there is no reason."""
        if self.signal_name:
            return f"stopped by {self.signal_name}"
        return "time limit reached" if self.is_set() else ""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn the signals into the flag while inside; a second Ctrl-C interrupts as usual.

        Outside the main thread signals cannot be caught and nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            if self.signal_name and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.signal_name = signal.Signals(number).name

        previous = {
            name: signal.signal(getattr(signal, name), note) for name in SIGNALS if hasattr(signal, name)
        }
        try:
            yield
        finally:
            for name, handler in previous.items():
                signal.signal(getattr(signal, name), handler)


@contextmanager
def writing_up() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 pass unheard, so that a second one does not cost the report; Ctrl-C still ends.

    A `StopFlag.listening` inside hears them all the same. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in SIGNALS if name != "SIGINT" and hasattr(signal, name)]
    previous = {name: signal.signal(getattr(signal, name), lambda number, frame: None) for name in names}
    try:
        yield
    finally:
        for name, handler in previous.items():
            signal.signal(getattr(signal, name), handler)
