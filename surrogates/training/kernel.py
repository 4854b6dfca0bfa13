"""Fit of the kernel surrogate: hyperparameters by leave-one-out, errors on rows held out by formula."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.checkpoints.architecture import Architecture, Task
from surrogates.checkpoints.checkpoint import ARCHITECTURES, Checkpoint
from surrogates.crystals.batch import CrystalBatch
from surrogates.features.kernel_features import composition_inputs, structure_inputs
from surrogates.models.kernel import KernelSettings, KernelSurrogate, kernel
from surrogates.physics.properties import Property
from surrogates.platform.progress import StepProgress
from surrogates.protocol import Z90, CompositionBatch
from surrogates.training.cross_validation import TableErrors, checked_values, errors_of, folds_of

MAX_CENTRES = 1500
"""Rows that carry the kernel; with more rows, so many are drawn and all rows are fitted through them."""

TUNING_ROWS = 500
"""Rows on which hyperparameters are chosen."""


@dataclass(frozen=True)
class NoSettings:
    """What the kernel surrogate may be told beside its table: nothing."""


@ARCHITECTURES.register("table")
class KernelArchitecture(Architecture):
    """The kernel surrogate of a user's table; hyperparameters are chosen by its rows."""

    def train(self, task: Task) -> tuple[KernelSurrogate, Mapping[str, Any]]:
        """Return the surrogate of all rows and its errors by cross-validation; errors as `fit_table`."""
        rows = task.table()
        task.settings_as(NoSettings)
        surrogate, errors = fit_table(
            rows.property,
            rows.batch,
            rows.values,
            rows.formulas,
            rows.is_log,
            rows.folds,
            rows.seed,
            task.progress,
        )
        return surrogate, asdict(errors)

    def from_checkpoint(self, checkpoint: Checkpoint) -> KernelSurrogate:
        """Return the surrogate of a checkpoint; errors as its own."""
        return KernelSurrogate.from_checkpoint(checkpoint)


def fit_table(
    prop: Property,
    batch: CompositionBatch | CrystalBatch,
    values: Sequence[float],
    groups: Sequence[str],
    is_log: bool,
    folds: int = 5,
    seed: int = 7,
    progress: StepProgress | None = None,
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
    truth = checked_values(np.asarray(values, dtype=np.float64), groups, is_log, folds, prop.name)
    level = "structure" if isinstance(batch, CrystalBatch) else "composition"
    with torch.no_grad():
        inputs = structure_inputs(batch) if isinstance(batch, CrystalBatch) else composition_inputs(batch)
        fractions = batch.composition if isinstance(batch, CrystalBatch) else batch.fractions
    elements = _elements(fractions)
    latent = torch.from_numpy(np.log(truth) if is_log else truth)
    fold = folds_of(groups, folds, seed)
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
    inside = (latent - mean).abs() <= Z90 * _cross_factor(latent, mean, std, fold) * std
    middle, median = (np.exp(t.numpy()) if is_log else t.numpy() for t in (mean, constant))
    return surrogate, errors_of(truth, middle, median, inside.numpy())


def _elements(fractions: Tensor) -> tuple[str, ...]:
    from surrogates.crystals.batch import ELEMENT_SYMBOLS

    return tuple(ELEMENT_SYMBOLS[z] for z in (fractions > 0).any(dim=0).nonzero().flatten().tolist())


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
