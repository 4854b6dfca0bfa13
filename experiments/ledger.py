"""A ledger of fixed small measures, one row a measure and commit: `experiments/ledger.csv`.

    python -m experiments.ledger append [--run RUN]    # measure this commit, and the hits of a run folder
    python -m experiments.ledger plot OUT.png
    python -m experiments.ledger check                 # measure, say what fell beyond its noise; never fails

Speeds are counted in a fixed piece of arithmetic of the same core, so that machines compare.
"""

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from inverse.assembly import assemble
from inverse.benchmarks.dft_rows import rows_of_surrogates
from inverse.benchmarks.held_out import FOLDER, read_held_out
from inverse.campaign.run import read_run
from inverse.candidates.hit_counts import hit_rates
from inverse.candidates.objective import Objective
from inverse.inputs.campaign_config import CampaignConfig
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS

LEDGER = Path(__file__).with_name("ledger.csv")
COLUMNS = ("date", "commit", "measure", "value")

CONFIG = {
    "name": "ledger",
    "targets": {
        "bulk_modulus_vrh": {"min": 300},
        "shear_modulus_vrh": {"min": 150},
        "energy_above_hull": {"max": 0.1},
    },
    "constraints": {"n_atoms": {"max": 8}, "novelty": "new_composition", "derivatives": False},
    "search": {"method": "substitution", "structures": 2000},
}
"""A small class-new search."""

N_ASKED = 64


@dataclass(frozen=True)
class Measure:
    """What a number is.

    Attributes:
        text: in words, with the unit.
        is_better_high: higher is better.
        noise: relative; a change for the worse beyond it is said.
    """

    text: str
    is_better_high: bool
    noise: float


MEASURES: Mapping[str, Measure] = {
    "hits_per_core_hour": Measure("hits per core-hour of verdicts, of the run given", True, 0.5),
    "ask_speed": Measure("structures surveyed and proposed per reference operation", True, 0.3),
    "ask_worth": Measure("mean predicted worth of the 64 proposals", True, 0.02),
    "bulk_modulus_error": Measure("mean |log10 K| error on formulas left out", False, 0.02),
}


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["append", "plot", "check"])
    parser.add_argument("output", type=Path, nargs="?", default=Path("ledger.png"))
    parser.add_argument("--run", type=Path)
    options = parser.parse_args(arguments)
    rows = read(LEDGER)
    if options.what == "plot":
        plot(rows, options.output)
        return 0
    found = measured(options.run)
    for line in fallen(rows, found) or ["ledger: nothing fell beyond its noise"]:
        print(line)
    if options.what == "append":
        append(LEDGER, found, commit(), datetime.now(UTC).date().isoformat())
    return 0


def measured(run: Path | None) -> dict[str, float]:
    """Return the measures of the working tree; those whose data are absent are left out."""
    torch.set_num_threads(1)
    parts = assemble(CampaignConfig.from_mapping(CONFIG))
    try:
        source = parts.proposer
        reference = reference_seconds()
        start = time.process_time()
        proposals = source.ask(N_ASKED, 0, 0)
        seconds = time.process_time() - start
        predictions = parts.evaluator.predict([p.structure for p in proposals])
    finally:
        parts.verifier.close()
    met = Objective.of(CampaignConfig.from_mapping(CONFIG)).probability_met(predictions)
    found = {"ask_speed": 2000 * reference / seconds, "ask_worth": float(met.mean())}
    try:
        held = read_held_out(FOLDER / "accurate.parquet", rows_of_surrogates())
    except DataError:
        held = None
    if held is not None:
        ratio = held.predictions[BULK_MODULUS].mean.numpy() / held.truth[BULK_MODULUS]
        found["bulk_modulus_error"] = float(np.nanmean(np.abs(np.log10(ratio))))
    if run is not None:
        own = read_run(run)
        if (rate := hit_rates(own.candidates, own.manifest).per_core_hour) is not None:
            found["hits_per_core_hour"] = rate
    return found


def reference_seconds() -> float:
    """Return the CPU seconds of one reference operation: a hundred products of 256 x 256 matrices."""
    matrix = torch.linspace(-1, 1, 256 * 256).reshape(256, 256)
    best = np.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(100):
            matrix @ matrix
        best = min(best, time.process_time() - start)
    return float(best)


def fallen(rows: Sequence[Mapping[str, str]], found: Mapping[str, float]) -> list[str]:
    """Return a line for every measure worse than the last row of it by more than its noise."""
    lines = []
    for name, value in found.items():
        earlier = [float(row["value"]) for row in rows if row["measure"] == name]
        measure = MEASURES[name]
        if not earlier or not earlier[-1]:
            continue
        change = value / earlier[-1] - 1.0
        if (-change if measure.is_better_high else change) > measure.noise:
            lines.append(f"ledger: {measure.text}: {earlier[-1]:.4g} before, {value:.4g} now ({change:+.0%})")
    return lines


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ledger, oldest first; none without a file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, found: Mapping[str, float], commit_id: str, date: str) -> None:
    """Write one row a measure at the end of a ledger."""
    is_fresh = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_fresh:
            writer.writerow(COLUMNS)
        writer.writerows((date, commit_id, name, f"{value:.6g}") for name, value in found.items())


def plot(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Draw every measure over the commits, one panel each."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in MEASURES if any(row["measure"] == name for row in rows)]
    figure, axes = pyplot.subplots(len(names), 1, figsize=(7, 2 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        own = [row for row in rows if row["measure"] == name]
        axis.plot([row["commit"] for row in own], [float(row["value"]) for row in own], "o-")
        axis.set_title(MEASURES[name].text, fontsize=9)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def commit() -> str:
    """Return the short name of the commit checked out, with a plus where files of it were changed."""
    asked = ("rev-parse", "--short", "HEAD"), ("diff", "HEAD", "--name-only")
    name, changed = (
        subprocess.run(["git", *one], capture_output=True, text=True, check=True).stdout.strip()
        for one in asked
    )
    return f"{name}+" if changed else name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
