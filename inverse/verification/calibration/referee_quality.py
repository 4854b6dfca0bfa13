"""What the referee's word is worth: how often it is right about crystals of which DFT is known.

`referee.parquet` beside this file holds, for the DFT rows that it was asked about, its K and G and
the judges', both calibrated on formulas left out, beside those of DFT (Materials Project and AFLOW, see
reference/DATA.md). Written by `python -m experiments.package_data.fit_calibrations --write`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inverse.candidates.statistics import wilson_interval
from inverse.candidates.types import Target
from surrogates.platform.whole_files import replacing

PATH = Path(__file__).with_name("referee.parquet")

FEWEST = 20
"""Rows that meet, that miss, and that the judges take, below which nothing is said."""

JUDGES, DFT = "judges_", "dft_"
"""Prefixes of the columns with the judges' values and DFT's own; the referee's have none."""


@dataclass(frozen=True)
class Quality:
    """How a referee does on rows of which the truth is known; what it cannot finish, it does not take.

    Attributes:
        sensitivity: share of those that meet the targets by DFT which it finds to meet them.
        specificity: share of the others which it finds to miss them.
        n_meet: rows that meet the targets.
        n_miss: the others.
        taken: of the rows that both the judges and it take: how many meet the targets, and how many rows.
        refused: the same of those that the judges take and it does not.
    """

    sensitivity: float
    specificity: float
    n_meet: int
    n_miss: int
    taken: tuple[int, int]
    refused: tuple[int, int]

    def true_hits(self, n_taken: int, n_refused: int) -> tuple[float, float, float]:
        """Return how many hits are true, and the ends of a 95 % interval, by what became of such rows.

        Judges and referee err together, so that its sensitivity and specificity on all rows, most of them
        easy, would promise more. The rows are known crystals, drawn without looking at the judges; a search
        picks what its judges overrate, so that fewer hits may be true than this says.

        Args:
            n_taken: hits that the referee takes, too.
            n_refused: those that it does not.
        """
        total = [0.0, 0.0, 0.0]
        for n_hits, (true, n_rows) in ((n_taken, self.taken), (n_refused, self.refused)):
            share = true / n_rows if n_rows else 0.5
            bounds = wilson_interval(true, n_rows) if n_rows else (0.0, 1.0)
            total = [
                sum(pair) for pair in zip(total, (n_hits * value for value in (share, *bounds)), strict=True)
            ]
        return total[0], total[1], total[2]


def quality(targets: Sequence[Target]) -> Quality | None:
    """Return the referee's quality at these targets; None where too few rows say.

    Args:
        targets: hard ones of properties that it judges.
    """
    rows = _rows()
    if not targets or any(target.property.name not in rows for target in targets):
        return None
    said, judged, true = (_meets(targets, rows, prefix) for prefix in ("", JUDGES, DFT))
    n_meet, n_miss = int(true.sum()), int((~true).sum())
    if min(n_meet, n_miss, int(judged.sum())) < FEWEST:
        return None
    return Quality(
        sensitivity=float(said[true].mean()),
        specificity=float((~said[~true]).mean()),
        n_meet=n_meet,
        n_miss=n_miss,
        taken=(int((judged & said & true).sum()), int((judged & said).sum())),
        refused=(int((judged & ~said & true).sum()), int((judged & ~said).sum())),
    )


def write_rows(columns: Mapping[str, np.ndarray], path: Path = PATH) -> None:
    """Replace the rows: (n,) by property name alone and after each prefix, GPa; NaN: not finished."""
    table = pa.table({name: pa.array(np.round(values, 1), pa.float32()) for name, values in columns.items()})
    with replacing(path) as fresh:
        pq.write_table(table, fresh, compression="zstd")
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
