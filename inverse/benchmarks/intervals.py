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
