"""Raw potentials beside the surrogate's tiers on the same DFT rows: those whose readings are carried."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from inverse.benchmarks.dft_rows import calibration_rows
from inverse.benchmarks.held_out import HeldOutPredictions
from inverse.benchmarks.intervals import Resampled
from inverse.benchmarks.verification.carried_readings import carried_row
from inverse.benchmarks.verification.stored_verdicts import StoredRow
from surrogates.errors import DataError
from surrogates.physics.properties import Judged, Property, judged_from


def against_potentials(
    tiers: Mapping[str, HeldOutPredictions], thresholds: Mapping[Property, float], seed: int = 0
) -> dict[str, Any]:
    """Return errors of raw potentials and of each tier, by property, on the DFT rows that both answer.

    Rows that the potentials gave no number for (not relaxed, unstable) are counted as `failed`.

    Args:
        tiers: predictions of formulas not seen, by name.
        thresholds: GPa, of recall and precision.
        seed: of the resampling of formulas.
    """
    try:
        carried = [row for row in map(carried_row, calibration_rows()) if row is not None]
    except DataError as error:
        return {"n": 0, "skipped": str(error)}
    return {
        prop.name: _of(prop, carried, tiers, thresholds[prop], seed) for prop in judged_from(Judged.TENSOR)
    } | {"n": len(carried)}


def _of(
    prop: Property,
    rows: list[StoredRow],
    tiers: Mapping[str, HeldOutPredictions],
    threshold: float,
    seed: int,
) -> dict[str, Any]:
    read = np.array([_reading(row, prop) for row in rows])
    places = {name: {row: i for i, row in enumerate(held.ids.tolist())} for name, held in tiers.items()}
    usable = np.isfinite(read) & (read > 0)
    both = [k for k in np.flatnonzero(usable) if all(rows[k].row["id"] in own for own in places.values())]
    if not both:
        return {"n": 0, "failed": int((~usable).sum())}
    truth = np.array([rows[k].row[prop.name] for k in both])
    resampled = Resampled(np.array([rows[k].row["formula"] for k in both]), seed)
    said = {"potential": read[both]}
    for name, held in tiers.items():
        mean = held.predictions[prop].mean.numpy().astype(float)
        said[name] = mean[[places[name][rows[k].row["id"]] for k in both]]
    return {
        "n": len(both),
        "failed": int((~usable).sum()),
        **{name: _errors(truth, mean, threshold, resampled) for name, mean in said.items()},
    }


def _errors(truth: np.ndarray, mean: np.ndarray, threshold: float, resampled: Resampled) -> dict[str, Any]:
    everywhere = np.ones(len(truth), dtype=bool)
    return {
        "log10_mae": resampled.mean(np.abs(np.log10(mean / truth)), everywhere),
        "mae": resampled.mean(np.abs(mean - truth), everywhere),
        "recall": resampled.mean(mean > threshold, truth > threshold),
        "precision": resampled.mean(truth > threshold, mean > threshold),
    }


def _reading(row: StoredRow, prop: Property) -> float:
    return float("nan") if row.judges is None else row.judges[prop.name].value
