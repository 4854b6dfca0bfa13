"""Errors of moduli, or of any property, on rows out of fold, as the tables of experiments/log give them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from surrogates.datasets.elasticity import TARGETS, Labels
from surrogates.physics.properties import Property
from surrogates.protocol import Z90
from surrogates.tiers.calibration import Calibration, coverage

AT_ZERO = 0.05
"""Of a property whose range ends at zero, in its unit: smaller values count as zero."""


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


def value_metrics(
    labels: Labels, values: Tensor, widths: Tensor, calibrations: Sequence[Calibration]
) -> dict[str, Any]:
    """Return errors in natural units and coverage of the 90 % interval on rows out of fold, by property.

    Beside them the error of the median of these rows; of a property whose range ends at zero also how many of
    the rows at zero (a gap's metals) and of the others are told right, and the errors of the others alone. A
    row is told to be at zero up to AT_ZERO.
    """
    out: dict[str, Any] = {}
    for t, (prop, calibration) in enumerate(zip(labels.properties, calibrations, strict=True)):
        known = labels.is_scored & torch.isfinite(values[:, t]) & torch.isfinite(labels.targets[:, t])
        y, latent = labels.targets[known, t], values[known, t]
        bar = Z90 * calibration.std(widths[known, t], latent)
        natural = [_natural(prop, x) for x in (y, latent, latent - bar, latent + bar)]
        truth, said, lower, upper = natural
        error, inside = (truth - said).abs(), (truth >= lower - 1e-6) & (truth <= upper + 1e-6)
        record = {
            "n": len(y),
            "mae": _rounded(error.mean()),
            "mae_of_the_median": _rounded((truth - truth.median()).abs().mean()),
            "coverage_90": _rounded(inside.float().mean()),
        }
        if prop.minimum == 0.0 and not prop.is_positive:
            is_zero, said_zero = truth <= AT_ZERO, said <= AT_ZERO
            record |= {
                "n_at_zero": int(is_zero.sum()),
                "zeros_right": _rounded(said_zero[is_zero].float().mean()),
                "others_right": _rounded((~said_zero)[~is_zero].float().mean()),
                "mae_of_others": _rounded(error[~is_zero].mean()),
                "coverage_90_of_others": _rounded(inside[~is_zero].float().mean()),
            }
        out[prop.name] = record
    return out


def _natural(prop: Property, value: Tensor) -> Tensor:
    found = torch.pow(10.0, value) if prop.is_positive else value
    return found.clamp(prop.minimum, prop.maximum)


def _rounded(value: Tensor | float) -> float:
    return round(float(value), 4)
