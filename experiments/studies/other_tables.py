"""The other tables by `inverse train`: `python -m experiments.studies.other_tables [NAME ...]`

Each table becomes a CSV of a `formula` column and one of values, as a user would bring it, and is fitted by
the one command. Errors by cross-validation over formulas beside those of a constant. Debye temperatures also
as they follow from the surrogate's K, G and density, on AFLOW structures whose formulas a member never saw.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import torch

from inverse.benchmarks.intervals import bootstrapped
from inverse.prediction.training import train
from surrogates.datasets.elasticity import formula_fold
from surrogates.physics.isotropic import debye_temperature
from surrogates.physics.periodic_table import ATOMIC_MASSES, ELEMENT_SYMBOLS
from surrogates.physics.units import G_PER_CM3_PER_AMU_PER_A3
from surrogates.platform.data_folder import data_folder
from surrogates.training.configs import N_FOLDS, TrainingConfig
from surrogates.training.stack import base_group, fits_of
from surrogates.training.structure import load_moduli, member_outputs

WORK = Path(".work/surrogates/tables")

TABLES = {
    "mp_refractive_index": "refractive_index",
    "aflow_thermal_conductivity": "thermal_conductivity_300k",
    "glass_forming_ability": "glass_forming",
    "mp_magnetization": "total_magnetization",
    "vickers_hardness": "vickers_hardness",
    "aflow_debye_temperature": "debye_temperature",
    "experimental_band_gap": "experimental_band_gap",
    "steel_yield_strength": "yield_strength",
}
"""Table -> its column."""

MOST_ROWS = 6000
"""Rows drawn of a larger table."""


def fitted(table: str) -> dict[str, Any]:
    """Return the report of `inverse train` on one table."""
    columns = parquet.read_table(data_folder() / "tables" / f"{table}.parquet").to_pandas()
    value = TABLES[table]
    rows = columns[["formula", value]].dropna()
    if len(rows) > MOST_ROWS:
        rows = rows.sample(MOST_ROWS, random_state=0)
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{table}.csv"
    rows.to_csv(path, index=False)
    config = {"kind": "table", "name": table, "data": str(path.resolve()), "value": value}
    folder = WORK / table
    for old in folder.glob("*.*"):
        old.unlink()
    report = train(config, folder)
    return {k: report[k] for k in ("held_out", "log", "seconds")} | {"skipped": len(report["skipped"])}


def debye() -> dict[str, Any]:
    """Return the error of the Debye temperature of AFLOW structures, out of fold, against AFLOW's own."""
    config = TrainingConfig.from_yaml("experiments/training/structure.yaml")
    data = load_moduli(config)
    table = parquet.read_table(data_folder() / "tables" / "aflow_debye_temperature.parquet").to_pandas()
    truth: dict[str, list[float]] = {}
    for formula, value in zip(table["reduced_formula"], table["debye_temperature"], strict=True):
        truth.setdefault(formula, []).append(float(value))
    fits = fits_of(base_group("structure", N_FOLDS))
    rows = [i for i, row in enumerate(data.rows) if row["source"] == "aflow_ael" and row["formula"] in truth]
    rows = [i for i in rows if len(truth[data.rows[i]["formula"]]) == 1]
    moduli = np.full((len(rows), 2), np.nan)
    for k, fit in fits.items():
        mine = [j for j, i in enumerate(rows) if formula_fold(data.rows[i]["formula"], len(fits)) == k]
        values, _ = member_outputs(fit, data, torch.tensor([rows[j] for j in mine]))
        moduli[mine] = 10 ** values.numpy()
    volume = torch.stack([data.stores[0].volume_per_atom[i] for i in rows])
    mass = torch.tensor([_mean_mass(data.rows[i]["species"]) for i in rows])
    density = mass * G_PER_CM3_PER_AMU_PER_A3 / volume
    bulk, shear = torch.tensor(moduli, dtype=torch.float32).unbind(dim=1)
    said = debye_temperature(bulk, shear, density, volume).numpy()
    own = np.array([truth[data.rows[i]["formula"]][0] for i in rows])

    def mae(error: np.ndarray) -> float:
        return float(np.abs(error).mean())

    return {
        "n": len(own),
        "mae": bootstrapped(mae, said - own),
        "median_ratio": round(float(np.median(said / own)), 3),
        "mae_constant": bootstrapped(mae, own - np.median(own)),
    }


def _mean_mass(species: list[str]) -> float:
    return float(np.mean([ATOMIC_MASSES[ELEMENT_SYMBOLS.index(s)] for s in species]))


def main() -> None:
    """Print one record a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*TABLES, "debye"])
    torch.set_num_threads(1)
    for name in parser.parse_args().names:
        print(name, json.dumps(debye() if name == "debye" else fitted(name)), flush=True)


if __name__ == "__main__":
    main()
