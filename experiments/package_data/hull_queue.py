"""Relax the rows of `inverse bench verify-hull` into the verification store, in order, resumable.

python -m experiments.package_data.hull_queue --seconds 3600
"""

import argparse
import logging
import time

from inverse.benchmarks.verification.hull import POTENTIAL, PRERELAX_BY, ROWS_OF_RECORD, hull_rows, perturbed
from inverse.potentials.loading import limit_threads
from inverse.verification.judge import Judge
from inverse.verification.store import VerificationStore

LOGGER = logging.getLogger(__name__)


def main() -> None:
    """Work until the rows, or the seconds, are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rows", type=int, default=ROWS_OF_RECORD)
    parser.add_argument("--part", default="1/1", help="k/n, for several processes")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limit_threads()
    judge = Judge(POTENTIAL, store=VerificationStore(), prerelax_by=PRERELAX_BY)
    stop = time.monotonic() + options.seconds
    k, n = map(int, options.part.split("/"))
    for i, row in enumerate(hull_rows()[: options.rows]):
        if i % n != k - 1 or judge.remembers(start := perturbed(row)):
            continue
        if time.monotonic() > stop:
            break
        began = time.process_time()
        verdict = judge.relax(start, time.monotonic() + 600.0)
        seconds = time.process_time() - began
        LOGGER.info("%d %s %d %.1f s %s", i, row["formula"], len(start), seconds, verdict.reason)


if __name__ == "__main__":
    main()
