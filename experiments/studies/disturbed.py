"""Is the surrogate right on crystals that are not relaxed? `python -m experiments.studies.disturbed`

Scored DFT rows, each by the member that never saw its formula, as relaxed and disturbed: volume changed by up
to 4 %, every atom moved by 0.1 Å. The label stays that of the relaxed crystal.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import shaken, structure_of
from inverse.benchmarks.intervals import bootstrapped
from inverse.report.progress_bar import progress
from surrogates.crystals.batch import SCALE_OF_SOURCE, CrystalBatch
from surrogates.datasets.elasticity import elasticity_rows, formula_fold
from surrogates.features.graph import CrystalGraph
from surrogates.physics.properties import BULK_MODULUS
from surrogates.tiers.ensemble import MemberGroup
from surrogates.training.configs import N_FOLDS
from surrogates.training.stack import base_group

N_ROWS, MAX_ATOMS, AT_ONCE = 1500, 20, 100
VOLUME_CHANGE, SHIFT = 0.04, 0.1
LIMIT = 0.08
"""Median relative difference of K from the relaxed crystal's that may not be passed."""


def run_disturbed(n: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return how far K of disturbed crystals lies from K of the relaxed ones, by DFT and by the member.

    Args:
        n: rows, one a formula.
        seed: of choice and disturbance.

    Raises:
        DataError: the shared structures are absent.
    """
    rows = _rows(n or N_ROWS, seed)
    group = base_group("structure", N_FOLDS)
    n_folds = len(group.networks)
    relaxed, disturbed = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    with progress("crystals, relaxed and disturbed", len(rows)) as bar:
        for fold in range(n_folds):
            mine = [i for i, row in enumerate(rows) if formula_fold(row["formula"], n_folds) == fold]
            for first in range(0, len(mine), AT_ONCE):
                part = mine[first : first + AT_ONCE]
                structures = [structure_of(rows[i]) for i in part]
                moved = [disturb(s, [seed, i]) for s, i in zip(structures, part, strict=True)]
                scales = [SCALE_OF_SOURCE[rows[i]["source"]] for i in part]
                relaxed[part] = _bulk(group, fold, structures, scales)
                disturbed[part] = _bulk(group, fold, moved, scales)
                for _ in part:
                    bar.advance()
    truth = np.array([row["bulk_modulus_vrh"] for row in rows])
    return _record(rows, truth, relaxed, disturbed)


def disturb(structure: Structure, seed: Sequence[int]) -> Structure:
    """Return the crystal with its volume changed by up to 4 % and every atom moved by 0.1 Å."""
    rng = np.random.default_rng(seed)
    return shaken(structure, rng.uniform(-VOLUME_CHANGE, VOLUME_CHANGE), SHIFT, rng)


def _rows(n: int, seed: int) -> list[dict[str, Any]]:
    rows = [row for row in elasticity_rows(eos=False) if len(row["species"]) <= MAX_ATOMS]
    order = np.random.default_rng(seed).permutation(len(rows))
    return list({rows[i]["formula"]: rows[i] for i in order}.values())[:n]


def _bulk(
    group: MemberGroup, member: int, structures: Sequence[Structure], scales: Sequence[str]
) -> np.ndarray:
    """Return K (C,), GPa, by one member."""
    with torch.no_grad():
        crystals = CrystalBatch.from_structures(structures, scales)
        values, _ = group.outputs(CrystalGraph.from_crystals(crystals, group.networks[0].config.reach))
    return np.asarray(10 ** values[member, :, group.properties.index(BULK_MODULUS)])


def _record(
    rows: Sequence[Mapping[str, Any]], truth: np.ndarray, relaxed: np.ndarray, disturbed: np.ndarray
) -> dict[str, Any]:
    def median(values: np.ndarray) -> float:
        return float(np.median(values))

    own = bootstrapped(median, np.abs(disturbed / relaxed - 1))
    dft = bootstrapped(median, np.abs(disturbed / truth - 1))
    at_rest = bootstrapped(median, np.abs(relaxed / truth - 1))
    worst = np.argsort(-np.abs(np.log(disturbed / truth)))[:10]
    return {
        "n": len(rows),
        "median_change": own,
        "median_error_disturbed": dft,
        "median_error_relaxed": at_rest,
        "bias_disturbed": round(median(disturbed / truth - 1), 4),
        "quantile_90_change": round(float(np.quantile(np.abs(disturbed / relaxed - 1), 0.9)), 4),
        "worst": {rows[i]["formula"]: [round(float(v), 1) for v in (truth[i], disturbed[i])] for i in worst},
        "passed": max(own["value"], dft["value"]) <= LIMIT,
    }


def main() -> None:
    """Print the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=N_ROWS, help="rows")
    print(json.dumps(run_disturbed(parser.parse_args().n), indent=1))


if __name__ == "__main__":
    main()
