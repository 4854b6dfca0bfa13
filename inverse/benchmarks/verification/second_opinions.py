"""What second opinions are worth on DFT rows: of wrong verdicts, and of right ones, how many each doubts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from inverse.benchmarks.verification.stored_verdicts import StoredRow
from inverse.candidates.statistics import wilson_interval
from inverse.verification.calibration.moduli_fit import FitPlan, Pair, out_of_fold
from inverse.verification.calibration.readings import Readings
from inverse.verification.judge import JudgeSettings
from surrogates.protocol import Z90

LEAST_ROWS = 30
"""Rows that somebody was asked about below which nothing is said of the opinions."""


def doubts(
    rows: Sequence[StoredRow], plans: Sequence[FitPlan], asked: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """Return how second opinions doubt the judges of rows whose DFT values are known, by who gives them.

    A verdict is wrong where DFT lies outside the judges' 90 % interval of any property. It is doubted where
    the second opinion of any property lies beyond the errors of both, or is that the crystal gives way. All
    calibrations are fitted without the row's formula. Rows of which the judges give no whole verdict are left
    out: they are no hits, and nobody is asked. Each is measured on all rows that it was asked about, and
    `on_shared` on those that everybody was.

    Args:
        rows: DFT rows, judged.
        plans: how the judges are calibrated, one for each property.
        asked: potentials.
        seed: of the folds.
    """
    rows = [row for row in rows if row.judges is not None]
    asked = [who for who in asked if sum(who in row.alone for row in rows) >= LEAST_ROWS]
    judged = [_told(plan, rows, [row.judges for row in rows], seed) for plan in plans]
    truth = [np.array([row.row[plan.property.name] for row in rows]) for plan in plans]
    is_whole, is_wrong = np.ones(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    for (mean, error), true in zip(judged, truth, strict=True):
        is_whole &= np.isfinite(mean)
        with np.errstate(invalid="ignore"):
            is_wrong |= np.abs(np.log(true / mean)) > Z90 * error
    has = {who: is_whole & [who in row.alone for row in rows] for who in asked}
    shared = np.logical_and.reduce(list(has.values())) if asked else is_whole
    found = {}
    for who in asked:
        is_doubted = _is_doubted(rows, plans, judged, who, seed)
        found[who] = _counts(is_wrong, is_doubted, has[who])
        found[who]["on_shared"] = _counts(is_wrong, is_doubted, shared)
    return found


def _is_doubted(
    rows: Sequence[StoredRow],
    plans: Sequence[FitPlan],
    judged: Sequence[tuple[np.ndarray, np.ndarray]],
    who: str,
    seed: int,
) -> np.ndarray:
    """Return (n,) bool; False where nobody was asked."""
    index = np.array([k for k, row in enumerate(rows) if who in row.alone])
    own = [rows[k] for k in index]
    is_doubted = np.zeros(len(rows), dtype=bool)
    for plan, (mean, error) in zip(plans, judged, strict=True):
        alone = FitPlan(plan.property, who, (plan.property,))
        second, its_error = _told(alone, own, [row.alone[who] for row in own], seed)
        with np.errstate(invalid="ignore"):
            is_far = np.abs(np.log(second / mean[index])) > Z90 * np.hypot(error[index], its_error)
        is_doubted[index] |= is_far | ~np.isfinite(second)
    return is_doubted


def _told(
    plan: FitPlan, rows: Sequence[StoredRow], readings: Sequence[Readings | None], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) values on the DFT scale, GPa, and the errors of their logarithms."""
    name = plan.property.name
    pairs = [
        Pair(row.row["formula"], read or Readings(), row.row[name])
        for row, read in zip(rows, readings, strict=True)
    ]
    return out_of_fold(plan, JudgeSettings().method, pairs, seed)


def _counts(is_wrong: np.ndarray, is_doubted: np.ndarray, among: np.ndarray) -> dict[str, Any]:
    return {
        "n": int(among.sum()),
        "wrong": int((among & is_wrong).sum()),
        "doubted_of_wrong": _share(is_doubted[among & is_wrong]),
        "doubted_of_right": _share(is_doubted[among & ~is_wrong]),
        "wrong_of_doubted": _share(is_wrong[among & is_doubted]),
    }


def _share(holds: np.ndarray) -> dict[str, Any]:
    """Return how many of (n,) hold, their share and its 95 % interval."""
    if not len(holds):
        return {"n": 0, "of": 0, "share": None, "interval": None}
    low, high = wilson_interval(int(holds.sum()), len(holds))
    interval = [round(low, 3), round(high, 3)]
    return {
        "n": int(holds.sum()),
        "of": len(holds),
        "share": round(float(holds.mean()), 3),
        "interval": interval,
    }
