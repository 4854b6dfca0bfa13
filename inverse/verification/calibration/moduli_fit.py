"""Robust fits of raw moduli to DFT ones; errors from the fitted rows, checked on formulas left out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from inverse.potentials.loading import potential_version
from inverse.verification.calibration.moduli import BLEND, ModulusCalibration
from inverse.verification.calibration.readings import OF_TENSOR, Readings
from surrogates.errors import DataError
from surrogates.physics.properties import Property
from surrogates.protocol import Z90

HUBER = 1.5
"""Residuals beyond this many standard deviations pull the fit linearly, not quadratically."""

STIFFNESS_WEIGHT = 0.5
"""Rows weigh as their own raw modulus to this power: errors are wanted small in GPa, too."""

OFFSET_PRIOR = 3.0
"""Weight of "no offset" beside the rows of an anion class."""

FEW_DOUBTED = 2.0
"""Factor on the error of doubted crystals where fewer than ten were compared."""

SPREADS = 1e-3, 3.0
"""Smallest and largest standard deviation of a logarithm that is stated."""

N_FOLDS = 10
N_BOOTSTRAP = 1000


@dataclass(frozen=True)
class Pair:
    """One crystal: what the judges read and what DFT says, GPa."""

    formula: str
    readings: Readings
    truth: float


@dataclass(frozen=True)
class FitPlan:
    """What a calibration is made of.

    Attributes:
        property: the modulus.
        judges: see `ModulusCalibration.judges`.
        terms: properties whose readings enter; the modulus itself first.
        anions: classes that get an offset.
        is_doubted: crystals with a doubt are left out of the fit and get an error of their own.
    """

    property: Property
    judges: str
    terms: tuple[Property, ...]
    anions: tuple[str, ...] = ()
    is_doubted: bool = False


def fit_modulus_calibration(
    plan: FitPlan, settings: str, pairs: Sequence[Pair], free: bool = False
) -> ModulusCalibration:
    """Return the calibration fitted to the pairs without doubt, its errors those of the same pairs.

    `out_of_fold` and `measures` say how true these errors are of formulas that the fit did not see.

    Args:
        plan: what it is made of.
        settings: digest of the settings the readings were computed at.
        pairs: doubted ones only decide the factor on their error.
        free: slopes below zero are let through: for readings shuffled on purpose.

    Raises:
        DataError: fewer than 20 pairs, values that are not positive, or a slope below zero.
    """
    is_aside = [plan.is_doubted and bool(pair.readings.doubts) for pair in pairs]
    trusted = [pair for pair, aside in zip(pairs, is_aside, strict=True) if not aside]
    design, target, weights = _matrices(plan, trusted)
    if len(trusted) < 20 or not (np.isfinite(design).all() and np.isfinite(target).all()):
        raise DataError(f"calibration of {plan.property.name} by {plan.judges}: {len(trusted)} usable pairs")
    beta = _robust(design, target, weights, _ridge(plan))
    slopes = dict(
        zip((term.name for term in plan.terms), beta[1 : 1 + len(plan.terms)].round(6).tolist(), strict=True)
    )
    if min(slopes.values()) < 0 and not free:
        raise DataError(f"calibration of {plan.property.name} by {plan.judges}: slopes {slopes}, one below 0")
    offsets = dict(zip(plan.anions, beta[1 + len(plan.terms) :].round(6).tolist(), strict=True))
    fitted = ModulusCalibration(
        property=plan.property.name,
        judges=plan.judges,
        settings=settings,
        intercept=round(float(beta[0]), 6),
        slopes=slopes,
        offsets=offsets,
        log_std=0.1,
        log_std_stiff=0.1,
        stiff_from=OF_TENSOR[plan.property.name].stiff_from,
        n=len(trusted),
        versions={name: potential_version(name) for name in plan.judges.split("+")},
    )
    return _with_errors(fitted, trusted, [p for p, aside in zip(pairs, is_aside, strict=True) if aside])


def out_of_fold(
    plan: FitPlan, settings: str, pairs: Sequence[Pair], seed: int = 0, free: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) calibrated values, GPa, and (n,) standard deviations of their logarithm.

    Each by a calibration that saw nothing of the pair's formula; NaN where a reading is missing.
    """
    fold = folds([pair.formula for pair in pairs], seed)
    means, log_stds = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    for k in range(N_FOLDS):
        seen = [pair for pair, f in zip(pairs, fold, strict=True) if f != k and _is_usable(plan, pair)]
        fitted = fit_modulus_calibration(plan, settings, seen, free)
        for i in np.flatnonzero(fold == k).tolist():
            mean = fitted.on_dft_scale(pairs[i].readings)
            if math.isfinite(mean):
                means[i], log_stds[i] = mean, fitted.log_std_at(mean, pairs[i].readings)
    return means, log_stds


def folds(formulas: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return (n,) fold numbers; equal formulas share one."""
    distinct = sorted(set(formulas))
    order = np.random.default_rng(seed).permutation(len(distinct))
    number = {formula: int(place) % N_FOLDS for formula, place in zip(distinct, order, strict=True)}
    return np.array([number[formula] for formula in formulas])


def shuffled(pairs: Sequence[Pair], seed: int = 0) -> list[Pair]:
    """Return the pairs with the readings dealt out to other crystals; anion classes and doubts stay."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [
        replace(
            pair,
            readings=replace(pairs[i].readings, anion=pair.readings.anion, doubts=pair.readings.doubts),
        )
        for pair, i in zip(pairs, order, strict=True)
    ]


def measures(truth: np.ndarray, mean: np.ndarray, log_std: np.ndarray, threshold: float) -> dict[str, float]:
    """Return MAE (overall, above the threshold), recall, precision and coverage of the 90 % interval.

    A value that is missing counts as not above the threshold; the errors are those of the others.
    """
    there = np.isfinite(mean)
    error = np.abs(mean - truth)
    true, said = truth > threshold, there & (mean > threshold)
    inside = np.abs(np.log(truth[there] / mean[there])) <= Z90 * log_std[there]
    right = float((true & said).sum())
    return {
        "mae": float(error[there].mean()) if there.any() else math.nan,
        "mae_above_threshold": float(error[there & true].mean()) if (there & true).any() else math.nan,
        "recall": right / true.sum() if true.any() else math.nan,
        "precision": right / said.sum() if said.any() else math.nan,
        "coverage_90": float(inside.mean()) if there.any() else math.nan,
    }


def with_intervals(
    formulas: Sequence[str], compute: Callable[[np.ndarray], Mapping[str, float]], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return each measure with its 95 % interval from resampling formulas.

    Args:
        formulas: (n,) groups.
        compute: indices (m,) -> measures.
        seed: of the resampling.
    """
    groups: dict[str, list[int]] = {}
    for i, formula in enumerate(formulas):
        groups.setdefault(formula, []).append(i)
    members = [np.array(group) for group in groups.values()]
    generator = np.random.default_rng(seed)
    drawn = [
        compute(np.concatenate([members[j] for j in generator.integers(0, len(members), len(members))]))
        for _ in range(N_BOOTSTRAP)
    ]
    value = compute(np.arange(len(formulas)))
    return {
        name: {"value": _rounded(value[name]), "interval_95": _interval([row[name] for row in drawn])}
        for name in value
    }


def _interval(values: Sequence[float]) -> list[float | None]:
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return [None, None]
    return [_rounded(float(v)) for v in np.quantile(finite, [0.025, 0.975])]


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _is_usable(plan: FitPlan, pair: Pair) -> bool:
    values = [pair.readings[term.name].value for term in plan.terms]
    return all(math.isfinite(v) and v > 0 for v in values)


def _matrices(plan: FitPlan, pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raw = np.array([[p.readings[term.name].value for term in plan.terms] for p in pairs], dtype=float)
    raw = raw.reshape(len(pairs), len(plan.terms))
    classes = np.array([[p.readings.anion == name for name in plan.anions] for p in pairs], dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log(raw)
        design = np.hstack([np.ones((len(pairs), 1)), logs, classes.reshape(len(pairs), len(plan.anions))])
        target = np.log([p.truth for p in pairs])
    return design, target, (raw[:, 0] / 100.0) ** STIFFNESS_WEIGHT if len(pairs) else raw[:, 0]


def _ridge(plan: FitPlan) -> np.ndarray:
    return np.array([0.0] * (1 + len(plan.terms)) + [OFFSET_PRIOR] * len(plan.anions))


def _robust(design: np.ndarray, target: np.ndarray, base: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Return the coefficients by iteratively re-weighted least squares (Huber)."""
    weights = base
    beta = np.zeros(design.shape[1])
    for _ in range(30):
        weighted = design * weights[:, None]
        beta = np.linalg.solve(weighted.T @ design + np.diag(ridge), weighted.T @ target)
        residual = np.abs(target - design @ beta)
        spread = max(1.4826 * float(np.median(residual)), 1e-6)
        weights = base * np.minimum(1.0, HUBER * spread / np.maximum(residual, 1e-12))
    return beta


def _with_errors(
    fitted: ModulusCalibration, trusted: Sequence[Pair], doubted: Sequence[Pair]
) -> ModulusCalibration:
    """Return the calibration with the errors that its residuals on the fitted pairs show."""
    means = np.array([fitted.on_dft_scale(p.readings) for p in trusted])
    residual = np.abs(np.log([p.truth for p in trusted]) - np.log(means))
    change = np.array(
        [math.hypot(*(p.readings[n].relative_change * s for n, s in fitted.slopes.items())) for p in trusted]
    )
    soft, stiff = means < fitted.stiff_from / math.sqrt(BLEND), means >= fitted.stiff_from * math.sqrt(BLEND)
    fitted = replace(
        fitted,
        log_std=_spread(residual, change, soft),
        log_std_stiff=_spread(residual, change, stiff),
    )
    sizes = []
    for pair in doubted:
        mean = fitted.on_dft_scale(pair.readings)
        if math.isfinite(mean):
            sizes.append(abs(math.log(pair.truth / mean)) / fitted.log_std_at(mean, pair.readings))
    factor = float(np.quantile(sizes, 0.9)) / Z90 if len(sizes) >= 10 else FEW_DOUBTED if doubted else 1.0
    return replace(fitted, doubted=round(max(factor, 1.0), 3))


def _spread(residual: np.ndarray, change: np.ndarray, where: np.ndarray) -> float:
    """Return the standard deviation that, beside the strain's own change, holds 90 % of the residuals.

    Not the root mean square: one magnetic compound that a potential does not know would rule it. Of all rows
    where there are few of the kind.
    """
    if where.sum() >= 12:
        residual, change = residual[where], change[where]
    needed = np.sqrt(np.maximum((residual / Z90) ** 2 - change**2, 0.0))
    return round(float(np.clip(np.quantile(needed, 0.9, method="inverted_cdf"), *SPREADS)), 6)
