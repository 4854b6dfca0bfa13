"""Do the error bars that are shipped hold for crystals that no member saw?

    python -m experiments.studies.unseen_by_all fast        five members, a seventh of the formulas in none
    python -m experiments.studies.unseen_by_all accurate    the stack on them

Errors out of fold are made by one member, four others of which saw the crystal: they tell nothing of the mean
of all members, nor of how far apart members are. Here a seventh of the formulas is hidden from every fit,
calibration included, and then asked for as a user does. Fits are resumed from .work/surrogates/unseen.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from experiments.training.cross_validate import show
from inverse.benchmarks.intervals import Resampled
from surrogates.checkpoints.checkpoint import save_checkpoint
from surrogates.datasets.elasticity import formula_fold
from surrogates.protocol import Z90
from surrogates.tiers.ensemble import Group, MemberGroup
from surrogates.tiers.stack import StackGroup
from surrogates.training.configs import TrainingConfig
from surrogates.training.stack import StackConfig, fitted_stack
from surrogates.training.structure import ModuliData, assemble, fitted_members, load_moduli

WORK = Path(".work/surrogates/unseen")
HIDDEN_ONE_IN = 7


def is_hidden(data: ModuliData) -> Tensor:
    """Return (C,) bool: rows of the formulas that no member sees."""
    return torch.tensor([formula_fold(f, HIDDEN_ONE_IN) == 0 for f in data.labels.formulas])


def blinded(data: ModuliData) -> ModuliData:
    """Return the data without the values of hidden rows, which then are neither fitted to nor scored."""
    hidden = is_hidden(data)
    targets = torch.where(hidden[:, None], torch.nan, data.labels.targets)
    return replace(
        data, labels=replace(data.labels, targets=targets, is_scored=data.labels.is_scored & ~hidden)
    )


def fast_tier() -> MemberGroup:
    """Return the fast tier's recipe, fitted without the hidden rows."""
    recipe = TrainingConfig.from_yaml(Path("experiments/training/structure.yaml"))
    config = replace(recipe, work=str(WORK), output=str(WORK / "fast"), energy={})
    data = blinded(load_moduli(config))
    surrogate, _ = assemble(config, data, fitted_members(config, data, None, show, {}))
    save_checkpoint(surrogate.to_checkpoint(), config.output, half=False)
    group = surrogate.groups[0]
    assert isinstance(group, MemberGroup)
    return group


def accurate_tier() -> StackGroup:
    """Return the accurate tier's recipe on that fast tier, likewise."""
    raw = yaml.safe_load(Path("experiments/training/accurate.yaml").read_text(encoding="utf-8"))
    config = StackConfig.from_mapping({**raw, "base": str(WORK / "fast"), "work": str(WORK)})
    found = fitted_stack(config, blinded(load_moduli(config.second())), None, show)
    assert found is not None
    return found.stack


def hidden_errors(group: Group, data: ModuliData) -> dict[str, Any]:
    """Return, by property, errors on the hidden rows as a user meets them, and how often intervals hold."""
    rows = (is_hidden(data) & data.labels.is_scored).nonzero().flatten()
    store, scale = data.stores[0], data.labels.scale
    with torch.no_grad():
        parts = [group.outputs(store.batch(part, scale[part])) for part in rows.split(256)]
    values, widths = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
    formulas, found = np.array([data.labels.formulas[i] for i in rows.tolist()]), {}
    for t, (prop, calibration) in enumerate(zip(group.properties, group.calibrations, strict=True)):
        truth = data.labels.targets[rows, t]
        known = torch.isfinite(truth)
        mean, bar, spread = calibration.of_members(values[:, :, t], widths[:, :, t])
        error = (mean - truth).abs()
        stiffest = known & (mean >= torch.quantile(mean[known], 0.9))
        resampled = Resampled(formulas)
        found[prop.name] = {
            "n": int(known.sum()),
            "log10_mae": resampled.mean(error.numpy(), known.numpy()),
            "log10_mae_of_one_member": float((values[:, known, t] - truth[known]).abs().mean()),
            "coverage_90": resampled.mean((error <= Z90 * bar).numpy(), known.numpy()),
            "coverage_90_stiffest_tenth": resampled.mean((error <= Z90 * bar).numpy(), stiffest.numpy()),
            "median_spread_over_bar": float((spread / bar)[known].median()),
        }
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tier", choices=("fast", "accurate"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    group: Group = fast_tier() if given.tier == "fast" else accurate_tier()
    recipe = TrainingConfig.from_yaml(Path("experiments/training/structure.yaml"))
    data = load_moduli(replace(recipe, work=str(WORK)), disturbed=False)
    print(json.dumps(hidden_errors(group, data), indent=1))


if __name__ == "__main__":
    main()
