"""`inverse bench replay`: what to verify, chosen again and again among crystals whose DFT is known."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from pymatgen.core import Composition
from torch import Tensor

from inverse.benchmarks.dft_rows import rows_of_surrogates
from inverse.benchmarks.held_out import FOLDER, HeldOutPredictions, read_held_out
from inverse.campaign.choice import Choice, Option, Places
from inverse.candidates.objective import Objective
from inverse.candidates.types import Standing, Target
from inverse.prediction.correction import Correction
from inverse.prediction.evaluation import Predictions
from inverse.prediction.worth import worth
from surrogates.errors import DataError
from surrogates.physics.properties import Property
from surrogates.protocol import CompositionBatch, Prediction

HITS = (5, 10, 20)
"""Verifications to so many hits are counted."""

AT_ONCE, MOST = 8, 240
"""Verifications between two corrections, and in all: who needs more counts as these."""

POOL = 512
"""Crystals of a draw that are looked at, the most probable first by the surrogate as shipped."""

Bounds = Mapping[Property, float]
"""GPa, what a hit has at least."""


@dataclass(frozen=True)
class Case:
    """What is replayed.

    Attributes:
        models: packaged predictions, none by a model that saw the crystal; draws go round them.
        least: GPa, of a hit, for each property of the rows in their order: bulk and shear modulus.
    """

    models: tuple[str, ...]
    least: tuple[float, ...]


CASES = {
    "held out": Case(("accurate",), (300.0, 150.0)),
    "element never seen": Case(("without_B", "without_C", "without_N"), (200.0, 100.0)),
}
"""Formulas left out, with the targets of the packaged searches; and crystals with an element of which the
model saw no compound, as in a search far from what is known, with bounds that enough of them meet."""


@dataclass(frozen=True)
class Rows:
    """R crystals, one a formula, with what a model that never saw them says.

    Attributes:
        systems: (R,) chemical systems.
        fractions: (R, Z).
        truth: (R,) by property, GPa.
        predictions: by property.
        least: of a hit.
    """

    systems: np.ndarray
    fractions: Tensor
    truth: Mapping[Property, np.ndarray]
    predictions: Predictions
    least: Bounds

    @property
    def is_hit(self) -> np.ndarray:
        """(R,) bool: DFT meets both targets."""
        return np.all([self.truth[prop] >= least for prop, least in self.least.items()], axis=0)

    def rows(self, index: np.ndarray) -> "Rows":
        """Return the crystals of an index, in its order."""
        return Rows(
            self.systems[index],
            self.fractions[torch.from_numpy(index)],
            {prop: own[index] for prop, own in self.truth.items()},
            {prop: picked(own, index) for prop, own in self.predictions.items()},
            self.least,
        )


@dataclass(frozen=True)
class Rule:
    """A rule of choice.

    Attributes:
        value: predictions and bounds -> (R,) what is chosen by, higher first.
        is_diverse: chemical systems chosen already count less, as in a campaign.
        has_feedback: verdicts correct the predictions.
    """

    value: Callable[[Predictions, Bounds], np.ndarray]
    is_diverse: bool = False
    has_feedback: bool = False


def by_worth(predictions: Predictions, least: Bounds) -> np.ndarray:
    """Return (R,) worth, by which campaigns choose; the hull is left out: the crystals are known phases."""
    targets = [Target(prop, minimum=bound) for prop, bound in least.items()]
    wanted = Objective(targets, targets)
    found = worth(predictions, wanted.probability_met(predictions), wanted.loss(predictions))
    return np.asarray(found.numpy())


def by_mean(predictions: Predictions, least: Bounds) -> np.ndarray:
    """Return (R,) the smallest predicted mean over its bound, whatever the error bars."""
    return np.min([predictions[prop].mean.numpy() / bound for prop, bound in least.items()], axis=0)


def by_upper(predictions: Predictions, least: Bounds) -> np.ndarray:
    """Return (R,) the smallest upper bound of the 90 % interval over its bound: optimism."""
    return np.min([predictions[prop].upper.numpy() / bound for prop, bound in least.items()], axis=0)


RULES = {
    "mean": Rule(by_mean),
    "upper bound": Rule(by_upper),
    "upper bound, feedback": Rule(by_upper, has_feedback=True),
    "worth": Rule(by_worth),
    "worth, feedback": Rule(by_worth, has_feedback=True),
    "worth, diverse": Rule(by_worth, is_diverse=True),
    "worth, diverse, feedback": Rule(by_worth, is_diverse=True, has_feedback=True),
}
"""The last is the rule of campaigns."""


def run_replay(n: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return, by rule of choice, the mean verifications to 5, 10 and 20 hits, with intervals over draws.

    A draw is half of the formulas. No campaign's verdict has the error of a judge here: DFT is asked.

    Args:
        n: draws.
        seed: of the first.

    Raises:
        DataError: a packaged file cannot be read.
    """
    try:
        scored = rows_of_surrogates()
    except DataError as error:
        return {"skipped": str(error), "passed": True}
    result: dict[str, Any] = {"draws": n, "most": MOST, "passed": True}
    for name, case in CASES.items():
        parts = [read_held_out(FOLDER / f"{model}.parquet", scored) for model in case.models]
        if any(part is None for part in parts):
            result[name] = {"skipped": "its predictions are of other rows"}
            continue
        sets = [
            rows_of(part, dict(zip(part.truth, case.least, strict=True)))
            for part in parts
            if part is not None
        ]
        result[name] = replayed(sets, n, seed)
    return result


def rows_of(held: HeldOutPredictions, least: Bounds) -> Rows:
    """Return the rows with all that is bounded, one a formula: of Materials Project where it has one."""
    has = np.all([np.isfinite(held.truth[prop]) for prop in least], axis=0)
    first: dict[str, int] = {}
    for row in [*np.flatnonzero(has & held.is_mp), *np.flatnonzero(has & ~held.is_mp)]:
        first.setdefault(str(held.formulas[row]), int(row))
    index = np.array(sorted(first.values()), dtype=int)
    compositions = [Composition(str(formula)) for formula in held.formulas[index]]
    return Rows(
        np.array([c.chemical_system for c in compositions]),
        CompositionBatch.from_compositions(compositions).fractions.double(),
        {prop: held.truth[prop][index] for prop in least},
        {prop: picked(held.predictions[prop], index) for prop in least},
        least,
    )


def replayed(sets: Sequence[Rows], n: int, seed: int, rules: Mapping[str, Rule] = RULES) -> dict[str, Any]:
    """Return the record of one kind of predictions; draws go round the sets."""
    counts: dict[str, list[list[int]]] = {name: [] for name in rules}
    expected = []
    for draw in range(n):
        rows = sets[draw % len(sets)]
        rng = np.random.default_rng([seed, draw])
        half = rows.rows(np.sort(rng.permutation(len(rows.systems))[: len(rows.systems) // 2]))
        expected.append([at_random(half.is_hit, hits) for hits in HITS])
        pool = half.rows(np.argsort(-by_worth(half.predictions, half.least), kind="stable")[:POOL])
        for name, rule in rules.items():
            counts[name].append(verifications(pool, rule))
    usual = np.array(counts[list(rules)[-1]], dtype=float)
    return {
        "formulas": [len(rows.systems) for rows in sets],
        "hits": [int(rows.is_hit.sum()) for rows in sets],
        "blind": {
            hits: round(float(np.mean(own)), 1)
            for hits, own in zip(HITS, zip(*expected, strict=True), strict=True)
        },
        "rules": {
            name: {
                hits: {
                    "verifications": _interval(np.array(own, dtype=float)[:, k]),
                    "more_than_usual": _interval(np.array(own, dtype=float)[:, k] - usual[:, k]),
                }
                for k, hits in enumerate(HITS)
            }
            for name, own in counts.items()
        },
    }


def at_random(is_hit: np.ndarray, hits: int) -> float:
    """Return how many blind verifications so many hits take on average, MOST where that is more.

    >>> at_random(np.array([True, False, False]), 1)
    2.0
    """
    if is_hit.sum() < hits:
        return float(MOST)
    return float(min(MOST, hits * (len(is_hit) + 1) / (is_hit.sum() + 1)))


def verifications(pool: Rows, rule: Rule) -> list[int]:
    """Return the number of verifications to so many HITS, MOST where they are not reached."""
    left, correction = list(range(len(pool.systems))), Correction()
    choice = Choice(lambda identity: Standing(identity, is_new=True), set(), Counter())
    is_hit, order = pool.is_hit, list[int]()
    values = rule.value(pool.predictions, pool.least)
    while left and len(order) < MOST and is_hit[order].sum() < max(HITS):
        chosen = _chosen(choice, pool, values, left, rule)
        order += chosen
        left = [k for k in left if k not in set(chosen)]
        if rule.has_feedback:
            _tell(correction, pool, chosen)
            known = pool.predictions.items()
            now = {p: correction.corrected(p, own, pool.fractions) for p, own in known}
            values = rule.value(now, pool.least)
    found = np.cumsum(is_hit[order])
    return [int(np.argmax(found >= hits)) + 1 if len(found) and found[-1] >= hits else MOST for hits in HITS]


def _chosen(choice: Choice, pool: Rows, values: np.ndarray, left: Sequence[int], rule: Rule) -> list[int]:
    """Return the next AT_ONCE rows; a campaign's choice sees the best few of what is left."""
    best = sorted(left, key=lambda k: (-values[k], k))
    if not rule.is_diverse:
        return best[:AT_ONCE]
    options = [Option(f"{k:06d}", float(values[k]), str(pool.systems[k]), 1.0) for k in best[: 8 * AT_ONCE]]
    return [int(identity) for identity in choice.select(options, Places(AT_ONCE))]


def _tell(correction: Correction, pool: Rows, rows: Sequence[int]) -> None:
    for k in rows:
        for prop, own in pool.predictions.items():
            said = float(own.mean[k]), float(own.std[k])
            correction.take_in(prop, pool.fractions[k], said, (float(pool.truth[prop][k]), 0.0))


def picked(prediction: Prediction, index: np.ndarray) -> Prediction:
    """Return a prediction of the crystals of an index."""
    rows = torch.from_numpy(index)
    each = {
        f.name: getattr(prediction, f.name)[rows]
        for f in fields(prediction)
        if f.name not in ("property", "samples")
    }
    return replace(prediction, samples=prediction.samples[:, rows], **each)


def _interval(values: np.ndarray) -> dict[str, Any]:
    """Return the mean over draws, its standard error, and where 90 % of the draws lie."""
    low, high = np.quantile(values, [0.05, 0.95])
    return {
        "mean": round(float(values.mean()), 2),
        "standard_error": round(float(values.std() / np.sqrt(len(values))), 2),
        "interval": [float(low), float(high)],
    }
