"""What the referee's word is worth: how often it is right about crystals of which DFT is known.

`verification/calibrations/referee.parquet` holds, for the DFT rows that it was asked about, its K and G
calibrated on formulas left out beside those of DFT (Materials Project and AFLOW, see reference/DATA.md).
Written by `python -m experiments.verification.fit_calibrations --write`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inverse.types import Target

PATH = Path(__file__).parent / "verification" / "calibrations" / "referee.parquet"

FEWEST = 20
"""Rows that meet, and rows that miss, below which nothing is said."""

DFT = "dft_"
"""Prefix of the columns with DFT's own values."""


@dataclass(frozen=True)
class Quality:
    """How a referee does on rows of which the truth is known.

    Attributes:
        sensitivity: share of those that meet the targets by DFT which it finds to meet them.
        specificity: share of the others which it finds to miss them; what it cannot finish, it misses.
        n_meet: rows that meet the targets.
        n_miss: the others.
    """

    sensitivity: float
    specificity: float
    n_meet: int
    n_miss: int

    def corrected(self, share: float) -> float:
        """Return the true share behind the share that the referee agrees with, between 0 and 1.

        References:
            Rogan, Gladen, Am. J. Epidemiol. 107, 71 (1978), doi:10.1093/oxfordjournals.aje.a112510

        >>> round(Quality(0.8, 0.9, 100, 100).corrected(0.45), 6)
        0.5
        """
        told = self.sensitivity + self.specificity - 1.0
        return float(np.clip((share + self.specificity - 1.0) / told, 0.0, 1.0))


def quality(targets: Sequence[Target]) -> Quality | None:
    """Return the referee's quality at these targets; None where too few rows say, or it knows nothing.

    Args:
        targets: hard ones of properties that it judges.
    """
    rows = _rows()
    if not targets or not rows or any(target.property.name not in rows for target in targets):
        return None
    said, true = (_meets(targets, rows, prefix) for prefix in ("", DFT))
    n_meet, n_miss = int(true.sum()), int((~true).sum())
    if min(n_meet, n_miss) < FEWEST:
        return None
    found = Quality(float(said[true].mean()), float((~said[~true]).mean()), n_meet, n_miss)
    return found if found.sensitivity + found.specificity > 1.1 else None


def write_rows(columns: Mapping[str, np.ndarray], path: Path = PATH) -> None:
    """Replace the rows: (n,) by property name, and by `DFT` + property name, GPa; NaN: not finished."""
    part = path.with_suffix(".part")
    table = pa.table({name: pa.array(np.round(values, 1), pa.float32()) for name, values in columns.items()})
    pq.write_table(table, part, compression="zstd")
    os.replace(part, path)
    _rows.cache_clear()


@cache
def _rows() -> Mapping[str, np.ndarray]:
    if not PATH.is_file():
        return {}
    table = pq.read_table(PATH)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _meets(targets: Sequence[Target], rows: Mapping[str, np.ndarray], prefix: str) -> np.ndarray:
    """Return (n,) whether every target is met."""
    met = [
        np.array(
            [bool(np.isfinite(v)) and target.is_met(float(v)) for v in rows[prefix + target.property.name]]
        )
        for target in targets
    ]
    return np.all(met, axis=0)
