"""Where labels and surrogate disagreed: the error to expect, by structure type and element."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

PRIOR_ROWS = 4.0
"""Rows that the mean over everything counts as, in the mean of one type or element."""


@dataclass(frozen=True)
class Disagreement:
    """Mean |log10(label / prediction)| and share of useful labels; of groups, shrunk towards everything's.

    Attributes:
        error: of all labels.
        errors: of a structure type or an element.
        useful: share of labels that gave moduli.
        usefuls: of a structure type or an element.
    """

    error: float
    errors: Mapping[str, float]
    useful: float
    usefuls: Mapping[str, float]

    @classmethod
    def of(cls, labels: Iterable[Mapping[str, object]]) -> "Disagreement":
        """Learn from labelled rows, each with its prediction; a row without moduli counts as not useful."""
        errors: dict[str, list[float]] = defaultdict(list)
        usefuls: dict[str, list[float]] = defaultdict(list)
        for row in labels:
            found = residual(row)
            for group in ("", *groups(row)):
                usefuls[group].append(float(math.isfinite(found)))
                if math.isfinite(found):
                    errors[group].append(found)
        error, useful = _mean(errors[""], 0.08), _mean(usefuls[""], 0.8)
        return cls(error, _shrunk(errors, error), useful, _shrunk(usefuls, useful))

    def information(self, row: Mapping[str, object]) -> float:
        """Return the expected |log10 error| of a candidate's prediction times the chance of moduli."""
        names = groups(row)
        error = [self.errors.get(name, self.error) for name in names]
        useful = [self.usefuls.get(name, self.useful) for name in names]
        half = len(names) - 1  # one type, the rest elements
        mixed = 0.5 * error[0] + 0.5 * sum(error[1:]) / half
        return mixed * useful[0] * min(useful[1:]) / self.useful


def residual(row: Mapping[str, object]) -> float:
    """Return the mean |log10(label / prediction)| of K and G; NaN without both."""
    values = []
    for name in ("bulk_modulus", "shear_modulus"):
        label, predicted = row.get(f"label_{name}"), row[name]
        if not isinstance(label, float) or not isinstance(predicted, float) or min(label, predicted) <= 0:
            return math.nan
        values.append(abs(math.log10(label / predicted)))
    return sum(values) / 2


def groups(row: Mapping[str, object]) -> list[str]:
    """Return a row's structure type, then its elements."""
    species: Sequence[str] = row["species"]  # type: ignore[assignment]
    return [str(row["prototype"]), *sorted(set(species))]


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _shrunk(values: Mapping[str, Sequence[float]], towards: float) -> dict[str, float]:
    return {
        name: (sum(own) + PRIOR_ROWS * towards) / (len(own) + PRIOR_ROWS)
        for name, own in values.items()
        if name
    }
