"""K of cells as proposed against K of the relaxed crystal: what the way there adds to the error.

    python -m experiments.studies.as_proposed

Held formulas of the reference set without elastic DFT rows, those included whose coordination collapsed in
relaxation: the cell as proposed descends the predicted energy, as it does in a campaign, and the accurate
tier says K; the label is K of the cell that `7net-0` relaxed. What is `needed` for 90 % intervals to hold is
MODULUS_ERROR of `inverse.prediction.evaluation`.
"""

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from experiments.reference_set.files import labelled, pools, read_lines
from inverse.benchmarks.intervals import Resampled
from inverse.inputs.records import structure_from_record
from inverse.prediction.evaluation import MODULUS_ERROR, Evaluator, Predictions
from inverse.proposers.building.descent import DescentSettings, relaxed
from inverse.reference import ReferenceHull
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.datasets.elasticity import elasticity_rows, formula_fold
from surrogates.datasets.reference_set import HELD_ONE_IN, LABEL_STD
from surrogates.physics.properties import BULK_MODULUS, ENERGY_ABOVE_HULL
from surrogates.protocol import Z90

STEPS, AT_ONCE = 50, 64
EDGES = (-math.inf, 0.05, 0.1, 0.2, 0.35, math.inf)
"""eV/atom above the hull, predicted."""


def pairs() -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Return (cell as proposed, label) of the held formulas that have K."""
    known = {row["formula"] for row in elasticity_rows()}
    starts = {row["id"]: row for path in pools() for row in read_lines(path)}
    labels = [row for row in labelled().values() if row["id"] in starts and row.get("is_stable")]
    held = [r for r in labels if formula_fold(r["formula"], HELD_ONE_IN) == 0 and r["formula"] not in known]
    return [(starts[row["id"]], row) for row in held]


def predicted(evaluator: Evaluator, cells: list[Mapping[str, Any]]) -> Predictions:
    """Return what is said of cells after their descent on the surrogate, elements and symmetry kept."""
    ends = []
    for first in range(0, len(cells), AT_ONCE):
        batch = [structure_from_record(cell) for cell in cells[first : first + AT_ONCE]]
        crystals = SymmetricCrystals.from_structures(batch)
        ends += relaxed(evaluator, crystals, DescentSettings(steps=STEPS)).to_structures()
    return evaluator.predict(ends)


def report() -> dict[str, Any]:
    """Return errors (log10) and how often intervals hold, by the predicted distance from the hull."""
    accurate, hull = load_surrogate("accurate"), ReferenceHull.packaged().below
    both = pairs()
    said = predicted(Evaluator(accurate, hull, [BULK_MODULUS]), [cell for cell, _ in both])
    bulk, above = said[BULK_MODULUS], said[ENERGY_ABOVE_HULL].mean
    label = torch.tensor([float(row["bulk_modulus"]) for _, row in both])
    error, bar = (bulk.mean / label).log10(), bulk.std / bulk.mean / math.log(10)
    own, geometry = LABEL_STD[BULK_MODULUS], MODULUS_ERROR / math.log(10)
    others = bar.square() - geometry**2 + own**2
    needed = torch.quantile((error / Z90).square() - others, 0.9).clamp(min=0.0).sqrt() * math.log(10)
    held = (error.abs() <= Z90 * torch.hypot(bar, torch.tensor(own))).numpy()
    resampled = Resampled(np.array([row["formula"] for _, row in both]))
    bins = {
        f"{low:g} to {high:g}": {"n": int(inside.sum()), **resampled.mean(held, inside.numpy())}
        for low, high in pairwise(EDGES)
        if (inside := (above >= low) & (above < high)).any()
    }
    return {
        "n": len(both),
        "collapsed": sum(row["coordination_change"] > 0.3 for _, row in both),
        "mae": resampled.mean(error.abs().numpy(), np.ones(len(both), dtype=bool)),
        "holds": resampled.mean(held, np.ones(len(both), dtype=bool)),
        "holds_by_distance": bins,
        "needed": round(float(needed), 3),
    }


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    print(json.dumps(report(), indent=1))


if __name__ == "__main__":
    main()
