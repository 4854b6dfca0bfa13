"""What a model says of formulas it never saw, kept as a file that benchmarks read."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogates.calibration import Calibration, joint_uniforms
from surrogates.datasets.elasticity import TARGETS
from surrogates.ensemble import N_SAMPLES, calibrated_prediction
from surrogates.protocol import Prediction
from surrogates.training import ModuliData, calibrated, residual_correlation, residuals


@dataclass(frozen=True)
class HeldOut:
    """Predictions of scored rows whose formulas the model that made them never saw.

    Attributes:
        name: of the model.
        rows: (R,) long, rows of the data.
        predictions: (T,) as the surrogate would give them, natural units.
        notes: JSON-able: parameters, folds, seconds, what was left out.
    """

    name: str
    rows: Tensor
    predictions: tuple[Prediction, ...]
    notes: Mapping[str, Any]


def held_out_predictions(
    name: str, data: ModuliData, values: Tensor, widths: Tensor, notes: Mapping[str, Any]
) -> HeldOut:
    """Return the predictions made of values and log-widths (C, T) out of fold; NaN rows are left out.

    Error bars of a fold are calibrated on the residuals of the other folds.
    """
    there = data.labels.is_scored & torch.isfinite(values).all(dim=1)
    parts: list[tuple[Prediction, ...]] = []
    rows = []
    for k in data.fold[there].unique().tolist():
        others, own = there & (data.fold != k), (there & (data.fold == k)).nonzero().flatten()
        residual = residuals(data.labels, values, others if bool(others.any()) else there)
        calibrations, correlation = calibrated(residual, values, widths), residual_correlation(residual)
        parts.append(as_predictions(values[own], widths[own], calibrations, correlation))
        rows.append(own)
    order = torch.argsort(torch.cat(rows))
    joined = tuple(_joined([part[t] for part in parts], order) for t in range(len(TARGETS)))
    return HeldOut(name, torch.cat(rows)[order], joined, notes)


def as_predictions(
    values: Tensor, widths: Tensor, calibrations: tuple[Calibration, ...], correlation: Tensor
) -> tuple[Prediction, ...]:
    """Return the predictions (T,) of one member's values and log-widths (C, T)."""
    levels = joint_uniforms(N_SAMPLES, correlation)
    covered = torch.ones(len(values), dtype=torch.bool)
    return tuple(
        calibrated_prediction(
            prop, values[None, :, t], widths[None, :, t], calibrations[t], levels[:, t], covered
        )
        for t, prop in enumerate(TARGETS)
    )


def write_held_out(found: HeldOut, data: ModuliData, folder: Path) -> Path:
    """Write the predictions beside labels, formulas and sources of their rows; returns the file.

    Tensors: `<property>.mean`, `.lower`, `.upper`, `.std`, `.truth` (R,) and `.samples` (M, R). The note
    `about` is JSON: name, ids, formulas, sources, n_elements, and the notes.
    """
    from safetensors.torch import save_file

    tensors = {}
    for t, prediction in enumerate(found.predictions):
        for field in ("mean", "std", "lower", "upper", "samples"):
            tensors[f"{prediction.property.name}.{field}"] = getattr(prediction, field).float().contiguous()
        tensors[f"{prediction.property.name}.truth"] = torch.pow(10.0, data.labels.targets[found.rows, t])
    chosen = [data.rows[i] for i in found.rows.tolist()]
    about = {
        "name": found.name,
        "ids": [row["id"] for row in chosen],
        "formulas": [row["formula"] for row in chosen],
        "sources": [row["source"] for row in chosen],
        "n_elements": [len(set(row["species"])) for row in chosen],
        "notes": dict(found.notes),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.name}.safetensors"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(tensors, str(temporary), metadata={"about": json.dumps(about)})
    os.replace(temporary, path)
    return path


def _joined(parts: list[Prediction], order: Tensor) -> Prediction:
    fields = {
        name: torch.cat([getattr(p, name) for p in parts])[order]
        for name in ("mean", "std", "lower", "upper", "in_domain")
    }
    samples = torch.cat([p.samples for p in parts], dim=1)[:, order]
    return Prediction(parts[0].property, samples=samples, **fields)
