"""Where labels and surrogate disagreed: the error to expect, by type and element."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRIOR_ROWS = 4.0
"""Rows that the mean over everything counts as, in the mean of one type or element."""


@dataclass(frozen=True)
class Disagreement:
    """Mean |log10(label / prediction)| and share of useful labels; of groups, shrunk towards everything's.

    Attributes:
        error: of all labels.
        errors: of a group: a structure type, an element, a size of the predicted error of G.
        useful: share of labels that gave moduli.
        usefuls: of a group.
    """

    error: float
    errors: Mapping[str, float]
    useful: float
    usefuls: Mapping[str, float]

    @classmethod
    def of(cls, labels: Iterable[Mapping[str, Any]]) -> "Disagreement":
        """Learn from labelled rows, each with its prediction; a row without moduli counts as not useful."""
        errors: dict[str, list[float]] = defaultdict(list)
        usefuls: dict[str, list[float]] = defaultdict(list)
        for row in labels:
            found = residual(row)
            for group in ("", *groups(row)):
                usefuls[group].append(float(math.isfinite(found)))
                if math.isfinite(found):
                    errors[group].append(found)
        error, useful = _mean(errors[""], 0.08), min(max(_mean(usefuls[""], 0.8), 0.02), 0.98)
        return cls(error, _shrunk(errors, error), useful, _shrunk(usefuls, useful))

    def expected_error(self, row: Mapping[str, Any]) -> float:
        """Return the expected |log10 error| of a candidate's prediction: the mean over its groups."""
        return _mean([self.errors.get(name, self.error) for name in groups(row)], self.error)

    def chance(self, row: Mapping[str, Any]) -> float:
        """Return the chance of moduli: by the odds of type, predicted error and worst element."""
        kind, spread, *elements = (_odds(self.usefuls.get(name, self.useful)) for name in groups(row))
        centre = _odds(self.useful)
        total = kind + spread + min(elements) - 2.0 * centre
        return 1.0 / (1.0 + math.exp(-total))


def residual(row: Mapping[str, Any]) -> float:
    """Return the mean |log10(label / prediction)| of K and G; NaN without both."""
    values = []
    for name in ("bulk_modulus", "shear_modulus"):
        label, predicted = row.get(f"label_{name}"), row[name]
        if not isinstance(label, float) or not isinstance(predicted, float) or min(label, predicted) <= 0:
            return math.nan
        values.append(abs(math.log10(label / predicted)))
    return sum(values) / 2


def groups(row: Mapping[str, Any]) -> list[str]:
    """Return a row's structure type, the size of the predicted error of G, then its elements."""
    spread = min(int(10 * row["shear_modulus_std"] / row["shear_modulus"]), 9)
    return [str(row["prototype"]), f"spread {spread}", *sorted(set(row["species"]))]


def _odds(chance: float) -> float:
    return math.log(chance / (1.0 - chance))


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _shrunk(values: Mapping[str, Sequence[float]], towards: float) -> dict[str, float]:
    return {
        name: (sum(own) + PRIOR_ROWS * towards) / (len(own) + PRIOR_ROWS)
        for name, own in values.items()
        if name
    }
