"""How long a verification may take: what it computes counts, not what a busy machine makes it wait."""

import time
from dataclasses import dataclass

GUARD = 4.0
"""Wall time, in limits of computing, after which a verification ends however little it computed."""


@dataclass(frozen=True)
class Limit:
    """A limit on the CPU time of this process, guarded by a generous one on wall time.

    Attributes:
        seconds: of computing.
        computing_until: `time.process_time()`.
        clock_until: `time.monotonic()`.
    """

    seconds: float
    computing_until: float
    clock_until: float

    @classmethod
    def of(cls, seconds: float) -> "Limit":
        """Return the limit that begins now."""
        return cls(seconds, time.process_time() + seconds, time.monotonic() + GUARD * seconds)


Deadline = Limit | float
"""A limit, or a plain `time.monotonic()` after which to give up."""


def exceeded(deadline: Deadline) -> str:
    """Return which limit is exceeded, "" when none is."""
    if not isinstance(deadline, Limit):
        return "by the clock" if time.monotonic() > deadline else ""
    if time.process_time() > deadline.computing_until:
        return f"{deadline.seconds:.0f} s of computing"
    if time.monotonic() > deadline.clock_until:
        return f"{GUARD * deadline.seconds:.0f} s by the clock"
    return ""
