"""Fit of the kernel surrogate: hyperparameters by leave-one-out, errors on rows held out by formula."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError
from surrogates.features.kernel_features import composition_inputs, structure_inputs
from surrogates.models.kernel import KernelSettings, KernelSurrogate, kernel
from surrogates.physics.properties import Property
from surrogates.protocol import Z90, CompositionBatch

MAX_CENTRES = 1500
"""Rows that carry the kernel; with more rows, so many are drawn and all rows are fitted through them."""

TUNING_ROWS = 500
"""Rows on which hyperparameters are chosen."""

MIN_ROWS = 20
"""A smaller table teaches nothing that could be checked."""

Progress = Callable[[int, int], None]


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


def fit_table(
    prop: Property,
    batch: CompositionBatch | CrystalBatch,
    values: Sequence[float],
    groups: Sequence[str],
    is_log: bool,
    folds: int = 5,
    seed: int = 7,
    progress: Progress | None = None,
) -> tuple[KernelSurrogate, TableErrors]:
    """Return the surrogate of all rows and its errors by cross-validation.

    Args:
        prop: what the values are.
        batch: C crystals, or compositions.
        values: C, natural units.
        groups: C reduced formulas; a formula is never in training and held out at once.
        is_log: fit logarithms.
        folds: of the cross-validation.
        seed: of folds and centres.
        progress: called after each fold and the final fit.

    Raises:
        DataError: too few rows or formulas, values that are not finite or all the same, or not
            positive although logarithms were asked for.
    """
    truth = _checked(np.asarray(values, dtype=np.float64), groups, is_log, folds, prop.name)
    level = "structure" if isinstance(batch, CrystalBatch) else "composition"
    with torch.no_grad():
        inputs = structure_inputs(batch) if isinstance(batch, CrystalBatch) else composition_inputs(batch)
        fractions = batch.composition if isinstance(batch, CrystalBatch) else batch.fractions
    elements = _elements(fractions)
    latent = torch.from_numpy(np.log(truth) if is_log else truth)
    fold = _folds(groups, folds, seed)
    mean, std, constant = (torch.zeros(len(truth), dtype=torch.float64) for _ in range(3))
    for k in range(folds):
        held, kept = torch.from_numpy(fold == k), torch.from_numpy(fold != k)
        part = _fit(prop, level, inputs[kept], latent[kept], is_log, elements, seed)
        standard, variance = part.latent(inputs[held])
        mean[held] = standard * part.settings.spread + part.settings.centre
        std[held] = variance.sqrt() * part.settings.spread
        constant[held] = latent[kept].median()
        if progress is not None:
            progress(k + 1, folds + 1)
    factor = float(torch.quantile((latent - mean).abs() / std, 0.9)) / Z90
    surrogate = _fit(prop, level, inputs, latent, is_log, elements, seed)
    settings = replace(surrogate.settings, std_factor=factor)
    surrogate = KernelSurrogate(prop, settings, surrogate._tensors, {})
    if progress is not None:
        progress(folds + 1, folds + 1)
    errors = _errors(truth, mean, constant, is_log)
    inside = (latent - mean).abs() <= Z90 * _cross_factor(latent, mean, std, fold) * std
    return surrogate, replace(errors, coverage_90=float(inside.double().mean()))


def _checked(values: np.ndarray, groups: Sequence[str], is_log: bool, folds: int, name: str) -> np.ndarray:
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


def _elements(fractions: Tensor) -> tuple[str, ...]:
    from surrogates.crystals.batch import ELEMENT_SYMBOLS

    return tuple(ELEMENT_SYMBOLS[z] for z in (fractions > 0).any(dim=0).nonzero().flatten().tolist())


def _folds(groups: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Return (C,) fold of each row; whole formulas, evenly many."""
    names = sorted(set(groups))
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    of_name = {name: int(order[i]) % folds for i, name in enumerate(names)}
    return np.array([of_name[g] for g in groups])


def _fit(
    prop: Property,
    level: str,
    inputs: Tensor,
    latent: Tensor,
    is_log: bool,
    elements: tuple[str, ...],
    seed: int,
) -> KernelSurrogate:
    """Return the surrogate of these rows, std not calibrated."""
    inputs = inputs.double()
    shift, stretch = inputs.mean(dim=0), inputs.std(dim=0).clamp(min=0.02)
    standard = (inputs - shift) / stretch
    centre, spread = float(latent.mean()), float(latent.std().clamp(min=1e-30))
    target = (latent - centre) / spread
    order = torch.from_numpy(np.random.default_rng([seed, 2]).permutation(len(standard)))
    tuning = order[:TUNING_ROWS]
    length, linear, noise = _tuned(standard[tuning], target[tuning])
    centres = standard if len(standard) <= MAX_CENTRES else standard[order[:MAX_CENTRES]]
    weights, factor = _solve(standard, target, centres, length, linear, noise)
    settings = KernelSettings(level, length, linear, noise, centre, spread, is_log, 1.0, elements)
    tensors = {
        "shift": shift,
        "stretch": stretch,
        "centres": centres,
        "weights": weights,
        "factor": factor,
    }
    return KernelSurrogate(prop, settings, tensors, {})


def _tuned(standard: Tensor, target: Tensor) -> tuple[float, float, float]:
    """Return length, linear weight and noise with the best leave-one-out log-likelihood."""
    best = (math.inf, 1.0, 0.1, 0.1)
    for length in (0.3, 0.7, 1.5, 3.0, 6.0):
        for linear in (0.0, 0.3):
            values, vectors = torch.linalg.eigh(kernel(standard, standard, length, linear))
            rotated = vectors.T @ target
            for noise in (1e-3, 1e-2, 0.05, 0.15, 0.4):
                inverse = 1 / (values.clamp(min=0) + noise)
                diagonal = (vectors**2 @ inverse).clamp(min=1e-12)
                residual = (vectors @ (inverse * rotated)) / diagonal
                loss = float((residual**2 * diagonal - torch.log(diagonal)).mean())
                if loss < best[0]:
                    best = (loss, length, linear, noise)
    return best[1:]


def _solve(
    standard: Tensor, target: Tensor, centres: Tensor, length: float, linear: float, noise: float
) -> tuple[Tensor, Tensor]:
    """Return (M,) weights and the (M, M) factor of the precision; exact when every row is a centre."""
    own = kernel(centres, centres, length, linear)
    identity = torch.eye(len(centres), dtype=own.dtype)
    if len(centres) == len(standard):
        precision = torch.linalg.inv(kernel(standard, standard, length, linear) + noise * identity)
        return precision @ target, _factor(precision)
    cross = kernel(standard, centres, length, linear)
    own = own + 1e-6 * identity
    normal = torch.linalg.inv(noise * own + cross.T @ cross)
    return normal @ (cross.T @ target), _factor(torch.linalg.inv(own) - noise * normal)


def _factor(precision: Tensor) -> Tensor:
    """Return F with F Fᵀ = precision; a sum of squares keeps its digits when stored in float32."""
    precision = (precision + precision.T) / 2
    factor, failed = torch.linalg.cholesky_ex(precision)
    if int(failed):
        values, vectors = torch.linalg.eigh(precision)
        factor = vectors * values.clamp(min=0).sqrt()
    return factor


def _cross_factor(latent: Tensor, mean: Tensor, std: Tensor, fold: np.ndarray) -> Tensor:
    """Return (C,) calibration factor of each row, from the other folds only."""
    factors = torch.zeros_like(latent)
    ratio = (latent - mean).abs() / std
    for k in np.unique(fold):
        held = torch.from_numpy(fold == k)
        factors[held] = torch.quantile(ratio[~held], 0.9) / Z90
    return factors


def _errors(truth: np.ndarray, mean: Tensor, constant: Tensor, is_log: bool) -> TableErrors:
    natural = [np.exp(t.numpy()) if is_log else t.numpy() for t in (mean, constant)]
    residual = truth - natural[0]
    return TableErrors(
        n=len(truth),
        mae=float(np.abs(residual).mean()),
        mae_constant=float(np.abs(truth - natural[1]).mean()),
        rmse=float(np.sqrt((residual**2).mean())),
        r2=float(1 - (residual**2).mean() / truth.var()),
        coverage_90=float("nan"),
    )
