"""Band gaps of formulas left out, by the packaged members and by boosted trees, for `inverse bench band-gap`.

    python -m experiments.studies.held_out_gaps [--work DIR] [--trees-of-before]

Each row is judged by the packaged member that left its formula out, with error bars fitted to the residuals
of the other members' rows, and by trees grown on the same rows as that member (a few minutes, needs LightGBM;
the trees of the file that is there may be kept). DIR keeps the features of the rows for the next time.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from inverse.benchmarks.band_gap import FILE, STEP, WEIGHTS
from surrogates.checkpoints.checkpoint import load_surrogate, weights_digest
from surrogates.datasets.elasticity import ids_digest
from surrogates.platform.whole_files import replacing
from surrogates.protocol import Z90
from surrogates.training.boosting import BoostingConfig, grow
from surrogates.training.configs import TrainingConfig
from surrogates.training.fitting import FitReport
from surrogates.training.stack import descriptors_of
from surrogates.training.structure import (
    TrainingData,
    calibrated,
    load_values,
    out_of_fold,
    residuals,
)

CONFIG = "experiments/training/band_gap.yaml"
BOOSTING = BoostingConfig(rounds=600, learning_rate=0.08, leaves=63)


def judged(data: TrainingData, members: list[int]) -> Tensor:
    """Return (R,) scored rows whose formulas some member left out."""
    left_out = torch.isin(data.fold, torch.tensor(members))
    return (data.labels.is_scored & left_out).nonzero().flatten()


def intervals(
    data: TrainingData, values: Tensor, widths: Tensor, rows: Tensor, groups: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Return the ends (R,) of the 90 % intervals, each fold's fitted to the other folds' residuals."""
    bar = torch.full((len(rows),), torch.nan)
    for k in data.fold[rows].unique().tolist():
        others = torch.zeros_like(data.labels.is_scored)
        others[rows[data.fold[rows] != k]] = True
        (calibration,) = calibrated(residuals(data.labels, values, others), values, widths, groups)
        own = data.fold[rows] == k
        bar[own] = Z90 * calibration.std(widths[rows[own], 0], values[rows[own], 0])
    return values[rows, 0] - bar, values[rows, 0] + bar


def boosted(data: TrainingData, rows: Tensor) -> Tensor:
    """Return (R,) values by trees grown on the rows of other folds, as the members were."""
    descriptors, found = descriptors_of(data), torch.full((len(rows),), torch.nan)
    for k in data.fold[rows].unique().tolist():
        fitted = data.fold != k
        trees = grow(
            descriptors[fitted], data.labels.targets[fitted, 0], data.labels.weight[fitted], BOOSTING
        )
        own = data.fold[rows] == k
        found[own] = trees.predict(descriptors[rows[own]])
    return found


def write(columns: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write the file that the benchmark reads: places of rows and whole steps, nothing of the rows."""
    steps = {name: pa.array((v.double() / STEP).round().int().numpy()) for name, v in columns.items()}
    steps["row"] = pa.array(columns["row"].int().numpy())
    table = pa.table(steps).replace_schema_metadata({"about": json.dumps(about)})
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with replacing(FILE) as fresh:
        settings: dict[str, Any] = {"use_dictionary": False, "use_byte_stream_split": True}
        pq.write_table(table, fresh, compression="zstd", compression_level=19, **settings)


def packaged_members() -> dict[int, FitReport]:
    """Return the packaged networks by the fold of formulas that each left out."""
    surrogate = load_surrogate(WEIGHTS)
    (group,) = surrogate.groups
    parts = zip(surrogate.record["members"], group.networks, group.shifts, group.spreads, strict=True)
    return {k: FitReport(network, shift, spread, (), True) for k, network, shift, spread in parts}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default=".work/band_gap")
    parser.add_argument("--trees-of-before", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = replace(TrainingConfig.from_yaml(CONFIG), work=given.work, n_disturbed=0)
    data, fits = load_values(config), packaged_members()
    values, widths = out_of_fold(data, fits)
    rows = judged(data, sorted(fits))
    least, most = data.labels.properties[0].minimum, data.labels.properties[0].maximum
    lower, upper = intervals(data, values, widths, rows, config.groups)
    fitted = data.labels.targets[data.labels.is_scored & ~torch.isin(data.fold, torch.tensor(sorted(fits)))]
    about = {
        "rows": ids_digest(data.labels.ids),
        "weights": weights_digest(WEIGHTS),
        "constant": float(fitted.median()),
    }
    if given.trees_of_before:
        trees, about["boosting"] = trees_of_before(rows, about["rows"])
    else:
        began = time.process_time()
        trees = boosted(data, rows)
        about["boosting"] = {**asdict(BOOSTING), "seconds": round(time.process_time() - began, 1)}
    columns = {"value": values[rows, 0], "lower": lower, "upper": upper, "boosting": trees}
    write({"row": rows, **{name: v.clamp(least, most) for name, v in columns.items()}}, about)
    print(len(rows), "rows,", FILE.stat().st_size, "bytes")


def trees_of_before(rows: Tensor, digest: str) -> tuple[Tensor, dict[str, Any]]:
    """Return what the trees in the file say of the same rows, and their settings."""
    table = pq.read_table(FILE)
    about = json.loads(table.schema.metadata[b"about"])
    if about["rows"] != digest or table["row"].to_pylist() != rows.tolist():
        raise SystemExit(f"{FILE}: trees of other rows; leave --trees-of-before out")
    return torch.tensor(table["boosting"].to_numpy() * STEP), about["boosting"]


if __name__ == "__main__":
    main()
