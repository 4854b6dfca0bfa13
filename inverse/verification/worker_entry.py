"""Where a worker process begins: run as a file, so that nothing of the user's script is imported again.

Signals that end a run politely (Ctrl-C, `timeout`, a batch system's warning) reach every process of a job.
They are the parent's business: a worker lets them pass from its first line on, and ends with its parent.
"""

import os
import signal
import sys

LET_PASS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
"""Signals that mean the run, not the crystal that a worker computes."""


def main() -> None:
    """Answer the parent whose connection and process id stand on the command line."""
    _let_signals_pass()
    os.dup2(2, 1)  # what potentials print is no result
    from multiprocessing.connection import Connection

    connection = Connection(int(sys.argv[1]))
    try:
        sys.path[:] = connection.recv()
    except (EOFError, OSError):
        return
    from inverse.verification.service import serve

    serve(connection, int(sys.argv[2]))


def _let_signals_pass() -> None:
    """Ignore `LET_PASS` here and in programs started from here; not in forks, which pools of users end so."""
    numbers = [getattr(signal, name) for name in LET_PASS if hasattr(signal, name)]
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)

    def restore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    os.register_at_fork(after_in_child=restore)


if __name__ == "__main__":
    main()
