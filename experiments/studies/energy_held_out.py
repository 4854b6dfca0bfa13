"""Formation energy of crystals on formulas not seen: `python -m experiments.studies.energy_held_out`

Member k of the packaged energy networks left out the k-th tenth of all formulas, in every file. Rows of
`mp_structures` and `wbm`, WBM moved to the scale of `mp_structures` by the offsets of the reference hull,
which no potential and no WBM row entered.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Composition

from inverse.benchmarks.intervals import Resampled
from inverse.reference.energy_scale import on_reference_scale
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.datasets.elasticity import MAX_ATOMS, formula_fold
from surrogates.datasets.energies import ANIONS
from surrogates.datasets.orbits import GRAPH_REACH, cached_graphs
from surrogates.datasets.pairs import pair_store
from surrogates.datasets.shared import crystal_rows
from surrogates.physics.properties import FORMATION_ENERGY
from surrogates.tiers.ensemble import MemberGroup
from surrogates.training.configs import N_ENERGY_FOLDS
from surrogates.training.fitting import predict_rows

WORK = Path(".work/surrogates")


def run() -> dict[str, Any]:
    """Return errors by file and kind, each row by the member that left its formula out."""
    (group,) = (
        g
        for g in load_surrogate("structure").groups
        if isinstance(g, MemberGroup) and g.properties == (FORMATION_ENERGY,)
    )
    rows = [row for row in _rows() if formula_fold(row["formula"], N_ENERGY_FOLDS) < len(group.networks)]
    graphs = cached_graphs(rows, GRAPH_REACH, WORK / "graphs")
    store = pair_store(graphs, group.networks[0].config.reach, half=True)
    fold = torch.tensor([formula_fold(row["formula"], N_ENERGY_FOLDS) for row in rows])
    found = np.full(len(rows), np.nan)
    for k, network in enumerate(group.networks):
        mine = (fold == k).nonzero().flatten()
        out = predict_rows(network, store, torch.zeros(len(rows), dtype=torch.long), mine)
        found[mine] = (out[:, 0] * group.spreads[k][0] + group.shifts[k][0]).numpy()
    error = found - np.array([row["energy"] for row in rows])
    is_wbm = np.array([row["file"] == "wbm" for row in rows])
    has_anion = np.array([bool(set(row["species"]) & ANIONS) for row in rows])
    parts = {
        "mp_structures and wbm": np.ones_like(is_wbm),
        "mp_structures": ~is_wbm,
        "wbm": is_wbm,
        "wbm without anions": is_wbm & ~has_anion,
        "wbm with anions (never trained on)": is_wbm & has_anion,
    }
    resampled = Resampled(np.array([row["formula"] for row in rows]))
    return {name: _errors(error, where, resampled) for name, where in parts.items()} | {
        "worst": [f"{rows[i]['formula']} ({rows[i]['file']}) {error[i]:+.2f}" for i in _worst(error)]
    }


def _worst(error: np.ndarray) -> list[int]:
    return [int(i) for i in np.argsort(-np.abs(error))[:12]]


def _errors(error: np.ndarray, where: np.ndarray, resampled: Resampled) -> dict[str, Any]:
    return {
        "n": int(where.sum()),
        "mae": resampled.mean(np.abs(error), where),
        "median": round(float(np.median(np.abs(error[where]))), 4),
        "bias": round(float(error[where].mean()), 4),
    }


def _rows() -> list[dict[str, Any]]:
    """Return rows with an energy on one scale, at most MAX_ATOMS atoms."""
    rows = []
    for name in ("mp_structures", "wbm"):
        for row in crystal_rows(name):
            energy = row["formation_energy_per_atom"]
            if energy is None or abs(energy) > 5 or len(row["species"]) > MAX_ATOMS:
                continue
            if name == "wbm":
                fractions = Composition(row["formula"]).fractional_composition.get_el_amt_dict()
                energy = on_reference_scale(fractions, energy)
            rows.append({**row, "file": name, "energy": energy})
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(run(), indent=1, ensure_ascii=False))
