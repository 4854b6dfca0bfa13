"""The DFT rows calibrations are fitted on: one row a formula, half of them stiff, at most eight atoms."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

SOURCES = ("mp_matcalc_binary", "mp_matbench_match", "aflow_ael")
SEED = 20261123
MAX_ATOMS = 8


def data_folder() -> Path:
    """Return the folder of the shared data: INVERSE_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("INVERSE_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


def is_usable(row: dict[str, Any]) -> bool:
    """Return whether a row may be compared: full VRH moduli on the PBE scale, no failed calculation."""
    bulk, shear = row.get("bulk_modulus_vrh"), row.get("shear_modulus_vrh")
    if row["source"] not in SOURCES or bulk is None or shear is None:
        return False
    sure = row["source"] != "mp_matbench_match" or str(row.get("label", "")).startswith(("A", "B"))
    return sure and bulk >= 5 and shear >= 1 and shear / bulk < 1.3 and len(row["species"]) <= MAX_ATOMS


def calibration_rows(n_each: int = 100) -> list[dict[str, Any]]:
    """Return rows in a fixed order, stiff (K >= 250 and G >= 80) and other rows in turn, one a formula."""
    path = data_folder() / "structures" / "elasticity.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        rows = [row for row in map(json.loads, lines) if is_usable(row)]
    order = np.random.default_rng(SEED).permutation(len(rows))
    stiff: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    seen: set[str] = set()
    for i in order:
        row = rows[i]
        if row["formula"] in seen:
            continue
        seen.add(row["formula"])
        is_stiff = row["bulk_modulus_vrh"] >= 250 and row["shear_modulus_vrh"] >= 80
        (stiff if is_stiff else rest).append(row)
    return [row for pair in zip(stiff[:n_each], rest[:n_each]) for row in pair]


def structure_of(row: dict[str, Any]) -> Structure:
    """Return the DFT structure of a row."""
    return Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])
