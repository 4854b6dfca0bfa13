"""How many trials a search needs for a needle in a haystack: 60 elements, 200 structure types, one volume.

    python -m experiments.studies.needle --method tpe --seeds 8
    python -m experiments.studies.needle --method genetic --needle titanium-diboride

A trial is a crystal that the structure surrogate is asked about. Blind draws miss the needle in the same
budget (`--method blind`). The needle of the tests is `rock-salt`; the others are for whoever changes a
search.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.contracts.test_proposer_contract import BUDGET, blind, hunted
from tests.needle import NEEDLES


def main(arguments: Sequence[str]) -> int:
    """Print one line a seed; return 1 when a seed misses."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="tpe")
    parser.add_argument("--needle", default="rock-salt", choices=sorted(NEEDLES))
    parser.add_argument("--seeds", type=int, default=8, help="how many, from 5 on")
    parser.add_argument("--trials", type=int, default=BUDGET)
    options = parser.parse_args(arguments)
    missed = 0
    for seed in range(5, 5 + options.seeds):
        start = time.process_time()
        if options.method == "blind":
            found = blind(options.trials, seed, options.needle)
        else:
            found = hunted(options.method, seed, options.needle, options.trials)
        seconds = time.process_time() - start
        missed += found.trials is None
        said = "missed" if found.trials is None else f"found in {found.trials} trials"
        print(f"seed {seed}: {said}, best {found.best:.2g}, {seconds:.0f} s of CPU", flush=True)
    print(f"{options.method}, {options.needle}: {options.seeds - missed} of {options.seeds}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
