"""Ask the judges about the calibration rows, resumable: `python -m experiments.verification.run_shards`.

Everything goes through the verification store (INVERSE_STORE); a row that is there costs nothing, so a killed
run goes on where it stopped.
"""

import argparse
import logging
import time

from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import calibration_rows, structure_of
from inverse.verification.judge import Judge
from inverse.verification.potentials import limit_threads
from inverse.verification.store import VerificationStore

LOGGER = logging.getLogger(__name__)


def ask(row: dict, store: VerificationStore, passes: list[str]) -> None:
    """Put the judges' verdicts on one row into the store, as the ladder of `auto` would ask for them."""
    structure = structure_of(row)
    energy_judge = Judge("7net-l3i5", store=store, prerelax_by="7net-0")
    relaxed = energy_judge.relax(structure)
    if relaxed.structure is None:
        return
    if "auto" in passes:
        energy_judge.tensor(relaxed.structure, only_bulk=True)
        _own_cell_and_tensor("diep", relaxed.structure, store, relaxed.structure)
    if "repeated" in passes:
        _again("diep", relaxed.structure, store)
    if "referee" in passes:
        energy_judge.tensor(relaxed.structure)
    for name in ("chgnet", "7net-0"):
        if name in passes:
            _own_cell_and_tensor(name, structure, store)


def _again(name: str, relaxed: Structure, store: VerificationStore) -> None:
    """Compute the tensor of a stored cell afresh: for what an older version did not keep."""
    own = Judge(name, store=store).relax(relaxed)
    if own.structure is not None and not Judge(name, store=store).tensor(own.structure).repeated:
        Judge(name, store=store, reuse=False).tensor(own.structure)


def _own_cell_and_tensor(
    name: str, structure: Structure, store: VerificationStore, otherwise: Structure | None = None
) -> None:
    judge = Judge(name, store=store)
    cell = judge.relax(structure).structure or otherwise
    if cell is not None:
        judge.tensor(cell)


def main() -> None:
    """Work through rows until they, or the seconds, are used up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--passes", nargs="+", default=["auto"])
    parser.add_argument(
        "--part", default="1/1", help="k/n: every n-th row from the k-th, for several processes"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    limit_threads()
    store = VerificationStore()
    stop = time.monotonic() + options.seconds
    part, parts = map(int, options.part.split("/"))
    for k, row in enumerate(calibration_rows()[: options.rows]):
        if k % parts != part - 1:
            continue
        if time.monotonic() > stop:
            break
        started = time.monotonic()
        ask(row, store, options.passes)
        LOGGER.info("%d %s %.1f s", k, row["formula"], time.monotonic() - started)


if __name__ == "__main__":
    main()
