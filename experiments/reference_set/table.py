"""Rows of the reference set as compact columns: float32, bytes for elements, zstd."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from pymatgen.core import Element

from surrogates.platform.whole_files import replacing

NUMBERS = (
    "bulk_modulus",
    "shear_modulus",
    "bulk_amplitude",
    "shear_amplitude",
    "lowest_eigenvalue",
    "lowest_mode",
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "volume_change",
    "coordination_change",
    "start_energy_per_atom",
    "start_force",
)
TEXTS = ("formula", "origin", "prototype", "signature")
UPPER = np.triu_indices(6)
"""Order of the 21 elastic constants: the upper triangle, row by row, Voigt."""

Row = Mapping[str, Any]


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Return the columns of rows that hold a label, its origin and the cell it started from."""
    columns: dict[str, pa.Array] = {"id": pa.array([row["id"] for row in rows])}
    columns |= {name: pa.array([row[name] for row in rows]).dictionary_encode() for name in TEXTS}
    for name in NUMBERS:
        columns[name] = pa.array([_rounded(row.get(name)) for row in rows], pa.float32())
    columns["is_stable"] = pa.array([bool(row["is_stable"]) for row in rows])
    columns["signature_changed"] = pa.array([bool(row["signature_changed"]) for row in rows])
    columns["flags"] = pa.array([" ".join(row["flags"]) for row in rows]).dictionary_encode()
    lists: dict[str, Callable[[Row], Any]] = {
        "stiffness": lambda row: np.array(row["stiffness_relaxed"])[UPPER],
        "stiffness_clamped": lambda row: np.array(row["stiffness_clamped"])[UPPER],
        "lattice": lambda row: np.array(row["lattice"]).ravel(),
        "frac_coords": lambda row: np.array(row["frac_coords"]).ravel(),
        "start_lattice": lambda row: np.array(row["start_lattice"]).ravel(),
        "start_frac_coords": lambda row: np.array(row["start_frac_coords"]).ravel(),
        "start_stress": lambda row: np.array(row["start_stress"]),
    }
    for name, value in lists.items():
        columns[name] = pa.array([value(row).astype(np.float32) for row in rows], pa.list_(pa.float32()))
    for name in ("species", "start_species"):
        numbers = [[Element(symbol).Z for symbol in row[name]] for row in rows]
        columns[name] = pa.array(numbers, pa.list_(pa.uint8()))
    return pa.table(columns)


def write(table: pa.Table, path: Path, about: Mapping[str, str]) -> None:
    """Write a table as parquet with facts about it in its metadata, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh:
        parquet.write_table(
            table.replace_schema_metadata(dict(about)),
            fresh,
            compression="zstd",
            compression_level=22,
            use_dictionary=False,
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
