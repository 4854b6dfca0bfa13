"""What a model says of formulas it never saw, kept as a small file that benchmarks read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from surrogates.datasets.elasticity import TARGETS, ids_digest
from surrogates.platform.whole_files import replacing
from surrogates.tiers.calibration import Calibration, joint_uniforms
from surrogates.tiers.ensemble import N_SAMPLES
from surrogates.training.structure import ModuliData, calibrated, residual_correlation, residuals

STEP = 1e-4
"""log10 units; what a file rounds to."""


@dataclass(frozen=True)
class HeldOut:
    """Predictions of R scored rows whose formulas the model that made them never saw, by F fits.

    Sample m of row r is values[r] + noise[fit[r], m] x stds[r].

    Attributes:
        name: of the model.
        rows: (R,) long, rows of the data.
        values: (R, T) log10.
        stds: (R, T) error bars of them.
        fit: (R,) long, which of the fits said it.
        noise: (F, M, T) standardised residuals.
        weight: (R,) rows of the whole set that each stands for.
        notes: JSON-able: parameters, folds, seconds, what was left out.
    """

    name: str
    rows: Tensor
    values: Tensor
    stds: Tensor
    fit: Tensor
    noise: Tensor
    weight: Tensor
    notes: Mapping[str, Any]


def held_out_predictions(
    name: str, data: ModuliData, values: Tensor, widths: Tensor, notes: Mapping[str, Any]
) -> HeldOut:
    """Return the predictions made of values and log-widths (C, T) out of fold; NaN rows are left out.

    Error bars of a fold are calibrated on the residuals of the other folds.
    """
    there = data.labels.is_scored & torch.isfinite(values).all(dim=1)
    parts = []
    for k in data.fold[there].unique().tolist():
        others, own = there & (data.fold != k), (there & (data.fold == k)).nonzero().flatten()
        residual = residuals(data.labels, values, others if bool(others.any()) else there)
        calibrations = calibrated(residual, values, widths)
        correlation = residual_correlation(residual)
        parts.append(one_fit(name, own, values[own], widths[own], calibrations, correlation, notes))
    return _together(parts)


def one_fit(
    name: str,
    rows: Tensor,
    values: Tensor,
    widths: Tensor,
    calibrations: Sequence[Calibration],
    correlation: Tensor,
    notes: Mapping[str, Any],
    weight: Tensor | None = None,
) -> HeldOut:
    """Return what one member says of some rows (R,) by its values and log-widths (R, T)."""
    levels = joint_uniforms(N_SAMPLES, correlation)
    said = [c.of_members(values[None, :, t], widths[None, :, t]) for t, c in enumerate(calibrations)]
    noise = torch.stack([c.noise(levels[:, t]) for t, c in enumerate(calibrations)], dim=1)
    return HeldOut(
        name,
        rows,
        torch.stack([mean for mean, _, _ in said], dim=1),
        torch.stack([std for _, std, _ in said], dim=1),
        torch.zeros(len(rows), dtype=torch.long),
        noise.unsqueeze(0),
        torch.ones(len(rows)) if weight is None else weight,
        notes,
    )


def _together(parts: Sequence[HeldOut]) -> HeldOut:
    """Return the predictions of several fits in the order of their rows."""
    order = torch.argsort(torch.cat([part.rows for part in parts]))

    def joined(field: str) -> Tensor:
        return torch.cat([getattr(part, field) for part in parts])[order]

    fit = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(p.rows) for p in parts]))
    return HeldOut(
        parts[0].name,
        joined("rows"),
        joined("values"),
        joined("stds"),
        fit[order],
        torch.cat([part.noise for part in parts]),
        joined("weight"),
        parts[0].notes,
    )


def write_held_out(found: HeldOut, data: ModuliData, folder: Path) -> Path:
    """Write the predictions, without anything of the DFT rows but their places; returns the file.

    Columns: `row` among the scored rows, `fit`, `weight`, and by property `<property>.value` and `.std` as
    whole steps. The note `about` is JSON: name, digest of the scored rows' ids, step, noise by fit, notes.
    """
    place = data.labels.is_scored.long().cumsum(0) - 1
    columns: dict[str, Any] = {
        "row": pa.array(place[found.rows].numpy(), pa.int32()),
        "fit": pa.array(found.fit.numpy(), pa.int8()),
        "weight": pa.array(found.weight.numpy(), pa.float32()),
    }
    for t, prop in enumerate(TARGETS):
        for field in ("value", "std"):
            steps = (getattr(found, f"{field}s")[:, t].double() / STEP).round().long()
            columns[f"{prop.name}.{field}"] = pa.array(steps.numpy(), pa.int32())
    scored = [
        i for i, is_scored in zip(data.labels.ids, data.labels.is_scored.tolist(), strict=True) if is_scored
    ]
    about = {
        "name": found.name,
        "rows": ids_digest(scored),
        "step": STEP,
        "noise": [[[round(v, 4) for v in row] for row in fit] for fit in found.noise.tolist()],
        "notes": dict(found.notes),
    }
    table = pa.table(columns).replace_schema_metadata({"about": json.dumps(about)})
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{found.name}.parquet"
    with replacing(path) as fresh:
        # bytes of one place lie together: a quarter less to carry
        settings: dict[str, Any] = {"use_dictionary": False, "use_byte_stream_split": True}
        pq.write_table(table, fresh, compression="zstd", compression_level=19, **settings)
    return path
