"""Queues that several short, resumable processes drain: `python -m experiments.verification.queue NAME`.

Every answer goes into the verification store (INVERSE_STORE) as it is known; what is there costs nothing, so
a shard that was killed, or ran out of its seconds, goes on where it stopped.
"""

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from inverse.verification.potentials import limit_threads
from inverse.verification.store import VerificationStore

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One piece of work of at most a few minutes: its name, and what puts its answers into a store."""

    name: str
    work: Callable[[VerificationStore], object]


def drain(jobs: Sequence[Job], store: VerificationStore, seconds: float, part: str = "1/1") -> int:
    """Work through every n-th job from the k-th until they, or the seconds, are used up; return how many.

    A job that fails is logged and passed over.

    Args:
        jobs: all of the queue, the same list in every process.
        store: where the answers go.
        seconds: no job is begun after them.
        part: k/n.
    """
    stop = time.monotonic() + seconds
    n_done = 0
    for job in mine(jobs, part):
        if time.monotonic() > stop:
            break
        started = time.monotonic()
        try:
            job.work(store)
        except Exception:  # one crystal never ends a queue
            LOGGER.exception("%s failed", job.name)
        n_done += 1
        LOGGER.info("%d %s %.1f s", n_done, job.name, time.monotonic() - started)
    return n_done


def mine(jobs: Sequence[Job], part: str) -> Iterator[Job]:
    """Yield the jobs of part k/n."""
    k, n = map(int, part.split("/"))
    yield from jobs[k - 1 :: n]


def elasticity_jobs() -> list[Job]:
    """Return the crystals of `inverse bench verify-elasticity`, with some of another seed first."""
    from inverse.benchmarks.verify_elasticity import crystals, measure

    return [
        Job(f"{row['id']} {row['formula']}", lambda store, row=row: measure(row, store))  # type: ignore[misc]
        for row in crystals()
    ]


QUEUES: dict[str, Callable[[], list[Job]]] = {"elasticity": elasticity_jobs}


def main() -> None:
    """Drain one queue."""
    parser = argparse.ArgumentParser()
    parser.add_argument("queue", choices=QUEUES)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--part", default="1/1", help="k/n, for several processes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limit_threads()
    drain(QUEUES[options.queue](), VerificationStore(), options.seconds, options.part)


if __name__ == "__main__":
    main()
