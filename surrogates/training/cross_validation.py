"""Errors of surrogates of a user's table on rows that they did not see, split by formula."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from surrogates.checkpoints.architecture import Rows, Task
from surrogates.checkpoints.of_table import FACTOR, needed
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch
from surrogates.errors import DataError

MIN_ROWS = 20
"""A smaller table teaches nothing that could be checked."""

LEAST_FACTOR = 1e-3
"""Of what an architecture says of its errors; a law that the rows obey exactly keeps so much."""


@dataclass(frozen=True)
class TableErrors:
    """Held-out errors by cross-validation over formulas, natural units.

    Attributes:
        n: rows, each held out once.
        mae: mean absolute error.
        mae_constant: of the training median.
        rmse: root mean square error.
        r2: share of the variance explained.
        coverage_90: share of rows inside the 90 % interval.
    """

    n: int
    mae: float
    mae_constant: float
    rmse: float
    r2: float
    coverage_90: float


def cross_validated(task: Task, fit: Callable[[Rows], Any]) -> tuple[Any, dict[str, Any]]:
    """Return the surrogate of all rows of a task's table, and the errors of as many of some rows each.

    Every fold of formulas is predicted by a surrogate that saw none of them. A row with an element that this
    one does not know has no prediction: such rows are counted as `unanswered`, and have no error.

    The errors have `error_factor`, by which the surrogate's 90 % intervals become so wide that they hold 90 %
    of what was held out; whoever keeps the surrogate of a table widens it so. The coverage among the errors
    is that of intervals that the other folds calibrated.

    Args:
        task: with a table.
        fit: returns the surrogate of some rows; of their property, in natural units.

    Raises:
        ConfigError: the task has no table.
        DataError: as `checked_values`, or no row that was held out could be predicted.
    """
    rows = task.table()
    name = rows.property.name
    truth = checked_values(np.asarray(rows.values, dtype=float), rows.formulas, rows.is_log, rows.folds, name)
    fold = folds_of(rows.formulas, rows.folds, rows.seed)
    mean, constant = np.full(len(truth), np.nan), np.zeros(len(truth))
    factors = np.zeros(len(truth))
    for k in range(rows.folds):
        part = fit(rows.only(torch.from_numpy(np.flatnonzero(fold != k))))
        constant[fold == k] = np.median(truth[fold != k])
        held = np.flatnonzero((fold == k) & _answered(rows, part.elements))
        if len(held):
            chosen = rows.only(torch.from_numpy(held))
            with torch.no_grad():
                found = part.predict(chosen.batch, [rows.property])[rows.property]
            mean[held] = found.mean.double().numpy()
            factors[held] = needed(found, torch.from_numpy(truth[held]).to(found.mean)).double().numpy()
        task.progress(k + 1, rows.folds + 1)
    known = np.isfinite(mean)
    if not known.any():
        raise DataError(f"{name}: {task.architecture} predicts none of {len(truth)} rows that it did not see")
    surrogate = fit(rows)
    task.progress(rows.folds + 1, rows.folds + 1)
    factors, fold = factors[known], fold[known]
    of_others = {k: _calibrating(factors[fold != k] if (fold != k).any() else factors) for k in set(fold)}
    inside = factors <= np.array([of_others[k] for k in fold])
    errors = errors_of(truth[known], mean[known], constant[known], inside)
    more = {FACTOR: _calibrating(factors), "unanswered": int((~known).sum())}
    return surrogate, asdict(errors) | more


def _calibrating(factors: np.ndarray) -> float:
    """Return the factor that is enough for 90 % of rows; (C,) are those that each row needs."""
    return max(float(np.quantile(factors, 0.9, method="higher")), LEAST_FACTOR)


def _answered(rows: Rows, elements: frozenset[str]) -> np.ndarray:
    """Return (C,) which rows hold none but these elements."""
    batch = rows.batch
    fractions = batch.composition if isinstance(batch, CrystalBatch) else batch.fractions
    unknown = torch.tensor([symbol not in elements for symbol in ELEMENT_SYMBOLS])
    return ~(fractions[:, unknown] > 0).any(dim=1).numpy()


def checked_values(
    values: np.ndarray, groups: Sequence[str], is_log: bool, folds: int, name: str
) -> np.ndarray:
    """Return the values (C,) of a table if something can be learned from them, and measured.

    Raises:
        DataError: too few rows or formulas, values that are not finite or all the same, or not positive
            although logarithms were asked for.
    """
    if len(values) < MIN_ROWS or len(set(groups)) < max(folds, 10):
        raise DataError(
            f"{name}: {len(values)} rows of {len(set(groups))} formulas; at least {MIN_ROWS} rows "
            f"of {max(folds, 10)} formulas are needed"
        )
    if not np.isfinite(values).all():
        raise DataError(f"{name}: row {int(np.flatnonzero(~np.isfinite(values))[0])} is not a finite number")
    if is_log and values.min() <= 0:
        raise DataError(
            f"{name}: logarithms were asked for, but row {int(values.argmin())} is {values.min():g}"
        )
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        raise DataError(f"{name}: all {len(values)} values are {values[0]:g}; there is nothing to learn")
    return values


def folds_of(groups: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Return (C,) fold of each row; whole formulas, evenly many."""
    names = sorted(set(groups))
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    of_name = {name: int(order[i]) % folds for i, name in enumerate(names)}
    return np.array([of_name[g] for g in groups])


def errors_of(truth: np.ndarray, mean: np.ndarray, constant: np.ndarray, inside: np.ndarray) -> TableErrors:
    """Return the errors of predictions of rows that were held out.

    Args:
        truth: (C,) natural units, as are the next two.
        mean: (C,) predicted.
        constant: (C,) median of the rows that were learned from.
        inside: (C,) bool, whether the 90 % interval holds the truth.
    """
    residual = truth - mean
    return TableErrors(
        n=len(truth),
        mae=float(np.abs(residual).mean()),
        mae_constant=float(np.abs(truth - constant).mean()),
        rmse=float(np.sqrt((residual**2).mean())),
        r2=float(1 - (residual**2).mean() / truth.var()),
        coverage_90=float(inside.mean()),
    )
