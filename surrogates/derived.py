"""Predictions and verdicts of properties that follow from others, by the formula of the record."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import UnknownNameError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS
from surrogates.physics.properties import (
    TRACE,
    Basis,
    OfCell,
    OfComposition,
    OfProperties,
    Property,
    of_basis,
)
from surrogates.protocol import Z90, Prediction

LEAST_SHARE = 1e-5
"""Draws of inputs that cannot be negative count as at least this share of their usual size."""


def following(learned: Sequence[Property]) -> tuple[Property, ...]:
    """Return every registered property that follows from learned ones and the cell.

    What the composition decides alone is not among them: whoever wants it asks for it by name.
    """
    return tuple(
        prop for prop in of_basis(Basis.OF_PROPERTIES, Basis.OF_CELL) if prop.learned_inputs <= set(learned)
    )


def derived_predictions(
    crystals: CrystalBatch,
    learned: Mapping[Property, Prediction],
    wanted: Sequence[Property],
    n_samples: int,
) -> dict[Property, Prediction]:
    """Return the wanted properties, none of them learned; differentiable like what they are made of.

    Raises:
        UnknownNameError: one of them has no formula.
    """
    known = dict(learned)
    for prop in wanted:
        _derive(prop, crystals, known, n_samples)
    return {prop: known[prop] for prop in wanted}


def _derive(
    prop: Property, crystals: CrystalBatch, known: dict[Property, Prediction], n_samples: int
) -> Prediction:
    if prop not in known:
        if isinstance(prop.formula, OfProperties):
            inputs = [_derive(other, crystals, known, n_samples) for other in prop.formula.inputs]
            known[prop] = from_others(prop, *inputs)
        elif isinstance(prop.formula, OfComposition):
            known[prop] = exact(prop, crystals.composition, n_samples)
        else:
            known[prop] = geometric(prop, crystals, n_samples)
    return known[prop]


def from_others(prop: Property, *inputs: Prediction) -> Prediction:
    """Return a property by its formula of others, draw by draw, so that their common errors count.

    Values stay within the property's physical range: Chen's hardness is negative for soft crystals, where it
    has no meaning, and 0 is said instead. At the edge of the range the slope of the mean stays the formula's,
    so that a descent that began outside finds its way in.

    Raises:
        UnknownNameError: no formula of others.
    """
    formula = prop.formula
    if not isinstance(formula, OfProperties):
        raise _without_formula(prop, Basis.OF_PROPERTIES)
    mean = formula.function(*(one.mean for one in inputs))
    samples = formula.function(*(_draws(one) for one in inputs))
    level = torch.tensor([0.05, 0.95], dtype=samples.dtype, device=samples.device)
    low, high = torch.quantile(samples, level, dim=0)
    lower, upper = torch.minimum(low, mean), torch.maximum(high, mean)
    std = (upper - lower) / (2.0 * Z90)
    held = [within_range(prop, values) for values in (mean, lower, upper, samples)]
    in_domain = torch.stack([one.in_domain for one in inputs]).all(dim=0)
    return Prediction(prop, held[0], std, held[1], held[2], held[3], in_domain)


def _draws(one: Prediction) -> Tensor:
    return one.samples.clamp(min=LEAST_SHARE * one.property.size) if one.property.is_positive else one.samples


def within_range(prop: Property, values: Tensor) -> Tensor:
    """Return values held in the property's physical range; their slope stays what it was."""
    return values + (values.clamp(prop.minimum, prop.maximum) - values).detach()


def geometric(prop: Property, crystals: CrystalBatch, n_samples: int) -> Prediction:
    """Return a property by its formula of the cell, with the error of one that is not relaxed.

    The draws are even quantiles.

    Raises:
        UnknownNameError: no formula of the structure.
    """
    if not isinstance(prop.formula, OfCell):
        raise _without_formula(prop, Basis.OF_CELL)
    mean = prop.formula.function(crystals)
    std = prop.formula.error * mean.abs()
    levels = torch.linspace(0.5 / n_samples, 1 - 0.5 / n_samples, n_samples, dtype=mean.dtype)
    samples = mean + std * torch.special.ndtri(levels).to(mean)[:, None]
    known = torch.ones_like(mean, dtype=torch.bool)
    return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, samples, known)


def exact(prop: Property, fractions: Tensor, n_samples: int) -> Prediction:
    """Return what the composition decides alone: no error; NaN, out of domain, where an element has no value.

    Args:
        prop: by a formula of the composition.
        fractions: (C, Z) atomic fractions; differentiable in them.
        n_samples: draws, all alike.

    Raises:
        UnknownNameError: no formula of the composition.
    """
    if not isinstance(prop.formula, OfComposition):
        raise _without_formula(prop, Basis.OF_COMPOSITION)
    unknown = unknown_rows(prop.formula, fractions)
    mean = prop.formula.function(fractions).masked_fill(unknown, math.nan)
    std = torch.zeros_like(mean)
    return Prediction(prop, mean, std, mean, mean, mean.expand(n_samples, -1), ~unknown)


def unknown_rows(formula: OfComposition, fractions: Tensor) -> Tensor:
    """Return (C,) bool: more than a trace of an element that the formula knows nothing of."""
    present = fractions.detach() > TRACE
    if formula.elements is None:
        return torch.zeros_like(present[:, 0])
    known = torch.tensor([symbol in formula.elements for symbol in ELEMENT_SYMBOLS], device=present.device)
    return (present & ~known).any(dim=1)


def _without_formula(prop: Property, basis: Basis) -> UnknownNameError:
    return UnknownNameError.among(str(basis), prop.name, [p.name for p in of_basis(basis)])


def propagated(function: Callable[..., Any], *inputs: tuple[float, float]) -> tuple[float, float]:
    """Return mean and std of a function of others, (mean, std) each, by linear propagation.

    For verdicts, which have no draws: K and G of two judges, or two readings, err independently.

    >>> round(propagated(lambda k, g: k + g, (3.0, 0.3), (4.0, 0.4))[1], 6)
    0.5
    """
    means = [mean for mean, _ in inputs]
    value = float(function(*means))
    parts = []
    for k, (mean, std) in enumerate(inputs):
        beside, step = (1.01 * mean, 0.01 * mean) if mean else (0.01 * std, 0.01 * std)
        moved = float(function(*means[:k], beside, *means[k + 1 :]))
        parts.append((moved - value) / step * std if step else 0.0)
    return value, math.hypot(*parts)
