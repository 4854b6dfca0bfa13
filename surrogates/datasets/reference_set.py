"""The project's own reference set: crystals labelled by `7net-0`, shipped with the package.

The values are the potential's own, not DFT's: K agrees, G is about half (CARD.md beside the file gives the
biases), so they stand on a scale of their own. A formula that is held out of training must be held out
here as well.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from surrogates.datasets.elasticity import formula_fold
from surrogates.errors import DataError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY, Property

FOLDER = Path(__file__).resolve().parents[1] / "reference_set"

SOURCE = "reference_7net0"
"""`source` of every row."""

LABEL_STD: Mapping[Property, float] = {BULK_MODULUS: 0.048, FORMATION_ENERGY: 0.03}
"""Standard deviation of the labels from DFT, log10 of GPa and eV/atom: CARD.md (0.045 of the set as it is
now), and WBM rows. G has a scale of its own and is no label for DFT's.
"""

HELD_ONE_IN = 6
"""Formulas of the set that no network is fitted to: error bars for crystals that are new are."""

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "lattice": (3, 3),
    "start_lattice": (3, 3),
    "frac_coords": (-1, 3),
    "start_frac_coords": (-1, 3),
    "start_stress": (6,),
}
_NAMES = {"bulk_modulus": "bulk_modulus_vrh", "shear_modulus": "shear_modulus_vrh"}


def reference_rows(stable_only: bool = False, path: Path | None = None) -> list[dict[str, Any]]:
    """Return the rows with the field names of the shared crystal rows, in a fixed order.

    `lattice` (3, 3) Å, `species`, `frac_coords` (A, 3); `bulk_modulus_vrh`, `shear_modulus_vrh` GPa, None
    where the crystal is unstable; `formation_energy_per_atom`, `energy_above_hull` eV/atom on the scale of
    the reference hull; `stiffness`, `stiffness_clamped` (6, 6) GPa, Voigt; `energy_per_atom` eV, the
    potential's. `start_*` describe the cell as proposed, before relaxation, with `start_stress` (6,) GPa.

    Args:
        stable_only: leave out crystals without moduli.
        path: of another file of this format; the packaged one when None.

    Raises:
        DataError: the file is missing or damaged.
    """
    table = _table(path or FOLDER / "reference_set.parquet")
    rows = [_row(row) for row in table.to_pylist()]
    return [row for row in rows if row["is_stable"]] if stable_only else rows


def fitted_rows(stable_only: bool = False) -> list[dict[str, Any]]:
    """Return the rows that networks may be fitted to; see `held_rows`."""
    return [row for row in reference_rows(stable_only) if not _is_held(row)]


def held_rows() -> list[dict[str, Any]]:
    """Return the rows that are kept from every fit, for error bars and for what the set gained."""
    return [row for row in reference_rows() if _is_held(row)]


def _is_held(row: Mapping[str, Any]) -> bool:
    return formula_fold(str(row["formula"]), HELD_ONE_IN) == 0


def _row(row: dict[str, Any]) -> dict[str, Any]:
    found = {_NAMES.get(name, name): value for name, value in row.items()}
    for name, shape in _SHAPES.items():
        found[name] = np.array(row[name]).reshape(shape)
    for name in ("stiffness", "stiffness_clamped"):
        found[name] = _symmetric(row[name])
    for name in ("species", "start_species"):
        found[name] = [ELEMENT_SYMBOLS[z - 1] for z in row[name]]
    found["flags"] = tuple(row["flags"].split())
    return {**found, "source": SOURCE}


def _symmetric(upper: list[float]) -> np.ndarray:
    """Return the (6, 6) matrix of its upper triangle, row by row."""
    matrix = np.zeros((6, 6))
    matrix[np.triu_indices(6)] = upper
    return matrix + matrix.T - np.diag(np.diag(matrix))


@lru_cache(maxsize=2)
def _table(path: Path) -> Any:
    import pyarrow.parquet as parquet

    try:
        return parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise DataError(f"reference set {path.name} cannot be read: {error}") from None
