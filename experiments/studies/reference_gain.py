"""What the reference set gains on one fold: `python -m experiments.studies.reference_gain --fold 0`

One member is fitted as shipped but with the reference set beside the DFT rows (`beside`), and one starts from
a fit to it (`before`); the shipped member is `without`. All leave out the formulas of the fold everywhere.
Errors on the fold's scored DFT rows, and on its reference rows, on the DFT scale and on the potential's own.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.training.cross_validate import show
from surrogates.datasets.reference_set import SOURCE
from surrogates.training.configs import N_FOLDS, TrainingConfig
from surrogates.training.fitting import FitReport, predict_rows
from surrogates.training.stack import base_group, fits_of
from surrogates.training.structure import ModuliData, fit_member, load_moduli, pretrained

WAYS = ("without", "beside", "before")
CONFIG = Path("experiments/training/structure.yaml")
EARLY = {"epochs": 24, "batch_size": 64, "learning_rate": 3e-3, "perturbed": 0.2}


def gains(fold: int, ways: list[str], weight: float) -> dict[str, Any]:
    """Return errors (log10) by way."""
    config = replace(TrainingConfig.from_yaml(CONFIG), energy={}, reference_weight=weight)
    data = load_moduli(config)
    found: dict[str, Any] = {}
    for way in ways:
        report = _fit(way, config, data, fold)
        if report is not None:
            found[way] = _errors(report, data, fold)
    return found


def _fit(way: str, config: TrainingConfig, data: ModuliData, fold: int) -> FitReport | None:
    if way == "without":
        return fits_of(base_group("structure", N_FOLDS))[fold]
    if way == "beside":
        return fit_member(replace(config, name=f"beside-{config.reference_weight:g}"), data, fold, show)
    staged = replace(config, name="before", reference_weight=0.0, pretraining=EARLY)
    early = pretrained(staged, [fold], show)
    return fit_member(staged, load_moduli(staged), fold, show, start=early[fold].network)


def _errors(report: FitReport, data: ModuliData, fold: int) -> dict[str, Any]:
    mine = data.fold == fold
    is_reference = torch.tensor([row["source"] == SOURCE for row in data.rows])
    found = {}
    for name, rows, scale in (
        ("dft", mine & data.labels.is_scored, data.labels.scale),
        ("reference, DFT scale", mine & is_reference, torch.zeros_like(data.labels.scale)),
        ("reference, own scale", mine & is_reference, data.labels.scale),
    ):
        chosen = rows.nonzero().flatten()
        out = predict_rows(report.network, data.stores[0], scale, chosen)[:, :2]
        error = (out * report.spread + report.shift - data.labels.targets[chosen]).abs().numpy()
        found[name] = {
            "n": len(chosen),
            "K": round(float(np.nanmean(error[:, 0])), 4),
            "K_median": round(float(np.nanmedian(error[:, 0])), 4),
            "G": round(float(np.nanmean(error[:, 1])), 4),
        }
    return found


def main() -> None:
    """Fit what is missing and print the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--weight", type=float, default=0.5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(gains(given.fold, given.ways, given.weight), indent=1))


if __name__ == "__main__":
    main()
