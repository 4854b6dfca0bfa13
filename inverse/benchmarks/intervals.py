"""Intervals of a benchmark's numbers by resampling rows; one row a formula, so formulas are resampled."""

from collections.abc import Callable
from typing import Any

import numpy as np


def bootstrapped(
    statistic: Callable[..., float], *columns: np.ndarray, n_draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Return the statistic of all rows and its 95 % interval.

    Args:
        statistic: of the columns.
        columns: (N,) each, rows belonging together.
        n_draws: resamples with replacement.
        seed: of the resampling.

    >>> bootstrapped(lambda x: float(x.mean()), np.array([1.0, 1.0]))
    {'value': 1.0, 'interval': [1.0, 1.0]}
    """
    rng = np.random.default_rng(seed)
    size = len(columns[0])
    draws = []
    for _ in range(n_draws):
        rows = rng.integers(0, size, size)
        draws.append(statistic(*(column[rows] for column in columns)))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return {
        "value": round(statistic(*columns), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
    }


class Resampled:
    """Means of rows with 95 % intervals by resampling formulas, each with all its rows."""

    def __init__(self, formulas: np.ndarray, seed: int = 0, n_draws: int = 1000) -> None:
        """Draw the formulas once, so that all means of one object belong to the same draws."""
        names, self._formula = np.unique(formulas, return_inverse=True)
        rng = np.random.default_rng(seed)
        shares = np.full(len(names), 1.0 / len(names))
        self._counts = rng.multinomial(len(names), shares, size=n_draws).astype(np.float32)

    def mean(self, values: np.ndarray, where: np.ndarray, weight: np.ndarray | None = None) -> dict[str, Any]:
        """Return the mean of (R,) values over the rows `where`, and its interval; None without any row.

        >>> Resampled(np.array(["a", "b"])).mean(np.array([1.0, 1.0]), np.array([True, True]))
        {'value': 1.0, 'interval': [1.0, 1.0]}
        """
        if not where.any():
            return {"value": None, "interval": [None, None]}
        share = np.where(where, 1.0 if weight is None else weight, 0.0)
        n = self._counts.shape[1]
        above = np.bincount(self._formula, np.where(where, values, 0.0) * share, n)
        below = np.bincount(self._formula, share, n)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = (self._counts @ above) / (self._counts @ below)
        low, high = np.nanquantile(draws, [0.025, 0.975])
        return {
            "value": round(float(above.sum() / below.sum()), 4),
            "interval": [round(float(low), 4), round(float(high), 4)],
        }
