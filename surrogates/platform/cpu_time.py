"""Processor time of this process and of everything that it started and that has ended."""

import os


def cpu_seconds() -> float:
    """Return CPU seconds, user and system, since this process began; of its children once they have ended.

    What a child started counts with the child, where the child waited for it.
    """
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
