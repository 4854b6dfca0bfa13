"""Errors of moduli on rows out of fold, as the tables of experiments/LOG.md give them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surrogates.datasets.elasticity import TARGETS, Labels
from surrogates.tiers.calibration import Calibration, coverage


def moduli_metrics(
    labels: Labels, values: Tensor, widths: Tensor, calibrations: Sequence[Calibration]
) -> dict[str, Any]:
    """Return errors, coverage of the 90 % interval and stiff-tail recall on rows out of fold."""
    out: dict[str, Any] = {}
    for t, (prop, limit) in enumerate(zip(TARGETS, (300.0, 150.0), strict=True)):
        known = labels.is_scored & torch.isfinite(values[:, t]) & torch.isfinite(labels.targets[:, t])
        y, p = labels.targets[known, t], values[known, t]
        std = calibrations[t].std(widths[known, t], p)
        sources = [s for s, k in zip(labels.sources, known.tolist(), strict=True) if k]
        stiff = p >= torch.quantile(p, 0.9)
        truly, said = y > torch.log10(torch.tensor(limit)), p > torch.log10(torch.tensor(limit))
        n_both = int((truly & said).sum())
        record: dict[str, Any] = {
            "n": len(y),
            "log10_mae": _rounded((y - p).abs().mean()),
            "mae_gpa": _rounded((10**y - 10**p).abs().mean()),
            "coverage_90": _rounded(coverage(y - p, std)),
            "coverage_90_stiffest_tenth": _rounded(coverage((y - p)[stiff], std[stiff])),
            "stiff_limit": limit,
            "stiff_n": int(truly.sum()),
            "stiff_recall": _rounded(n_both / max(int(truly.sum()), 1)),
            "stiff_precision": _rounded(n_both / max(int(said.sum()), 1)),
        }
        record["by_source"] = {
            source: {
                "n": sources.count(source),
                "log10_mae": _rounded((y - p).abs()[torch.tensor([s == source for s in sources])].mean()),
            }
            for source in sorted(set(sources))
        }
        out[prop.name] = record
    return out


def _rounded(value: Tensor | float) -> float:
    return round(float(value), 4)
