"""Readers of the shared data folder (environment variable INVERSE_DATA, else ../shared/data)."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from pymatgen.core import Lattice, Structure

from surrogates.errors import DataError

REPOSITORY = Path(__file__).resolve().parents[2]
WORK = REPOSITORY / ".work" / "reference"
"""Scratch folder of resumable shards; git-ignored."""

MP_SCALE_SOURCES = ("mp_matcalc_binary", "mp_matbench_match", "matten_n100", "megnet_100")
"""Sources of the elasticity file whose formation energies stand on the Materials Project scale."""


def data_folder() -> Path:
    """Return the shared data folder.

    Raises:
        DataError: it is not there.
    """
    folder = Path(os.environ.get("INVERSE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "tables").is_dir():
        raise DataError(f"no data folder at {folder}; set INVERSE_DATA")
    return folder


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of structures/<name>.jsonl.gz."""
    with gzip.open(data_folder() / "structures" / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def read_table(name: str) -> pd.DataFrame:
    """Return tables/<name>.parquet."""
    return pd.read_parquet(data_folder() / "tables" / f"{name}.parquet")


def to_structure(row: dict[str, Any]) -> Structure:
    """Return the crystal of a row."""
    return Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])
