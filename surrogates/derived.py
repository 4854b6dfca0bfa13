"""Properties that follow from others: from K and G sample by sample, or from the structure by a formula."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.periodic_table import ATOMIC_MASSES
from surrogates.errors import UnknownNameError
from surrogates.physics.elasticity import chen_hardness, poisson_ratio, pugh_ratio, young_modulus
from surrogates.physics.properties import (
    BULK_MODULUS,
    DENSITY,
    HARDNESS,
    POISSON_RATIO,
    PUGH_RATIO,
    SHEAR_MODULUS,
    VOLUME,
    YOUNG_MODULUS,
    Property,
)
from surrogates.physics.units import G_PER_CM3_PER_AMU_PER_A3
from surrogates.protocol import Z90, Prediction

LEAST_MODULUS = 1e-3
"""GPa; draws of K and G below it count as this much."""

GEOMETRY_ERROR = 0.03
"""Relative std of density and volume for lack of relaxation alone: `python -m
experiments.studies.as_proposed`. What is asked for is the relaxed cell's.
"""


def volume_per_atom(crystals: CrystalBatch) -> Tensor:
    """Return the (C,) volume per atom of crystals as they are, Å³; differentiable."""
    return crystals.volume / crystals.n_atoms.to(crystals.lattice.dtype)


def density(crystals: CrystalBatch) -> Tensor:
    """Return the (C,) density of crystals as they are, g/cm³; differentiable."""
    mass = crystals.composition @ crystals.lattice.new_tensor(ATOMIC_MASSES)
    return mass / volume_per_atom(crystals) * G_PER_CM3_PER_AMU_PER_A3


FROM_MODULI: Mapping[Property, Callable[[Any, Any], Any]] = {
    YOUNG_MODULUS: young_modulus,
    POISSON_RATIO: poisson_ratio,
    PUGH_RATIO: pugh_ratio,
    HARDNESS: chen_hardness,
}
"""Functions of (K, G), floats or tensors, GPa."""

GEOMETRIC: Mapping[Property, Callable[[CrystalBatch], Tensor]] = {DENSITY: density, VOLUME: volume_per_atom}
"""Functions of the structure alone, each property by a formula of its own."""

DERIVED: tuple[Property, ...] = (*FROM_MODULI, *GEOMETRIC)
"""Every property that nothing is trained for."""


def needed_for(prop: Property) -> set[Property]:
    """Return the learned properties that a property is made of; none for one read off the structure."""
    return {BULK_MODULUS, SHEAR_MODULUS} if prop in FROM_MODULI else set()


def derived_predictions(
    crystals: CrystalBatch,
    learned: Mapping[Property, Prediction],
    wanted: Sequence[Property],
    n_samples: int,
) -> dict[Property, Prediction]:
    """Return the wanted properties, none of them learned; differentiable like what they are made of.

    Raises:
        UnknownNameError: no formula for one of them.
    """
    return {
        prop: from_moduli(prop, learned[BULK_MODULUS], learned[SHEAR_MODULUS])
        if prop in FROM_MODULI
        else geometric(prop, crystals, n_samples)
        for prop in wanted
    }


def from_moduli(prop: Property, bulk: Prediction, shear: Prediction) -> Prediction:
    """Return one of FROM_MODULI from K and G, draw by draw, so that their common errors count.

    Values stay within the property's physical range: Chen's hardness is negative for soft crystals, where it
    has no meaning, and 0 is said instead. At the edge of the range the slope of the mean stays the formula's,
    so that a descent that began outside finds its way in.
    """
    function = FROM_MODULI[prop]
    mean = function(bulk.mean, shear.mean)
    samples = function(bulk.samples.clamp(min=LEAST_MODULUS), shear.samples.clamp(min=LEAST_MODULUS))
    level = torch.tensor([0.05, 0.95], dtype=samples.dtype, device=samples.device)
    low, high = torch.quantile(samples, level, dim=0)
    lower, upper = torch.minimum(low, mean), torch.maximum(high, mean)
    std = (upper - lower) / (2.0 * Z90)
    held = [_within(prop, values) for values in (mean, lower, upper, samples)]
    return Prediction(prop, held[0], std, held[1], held[2], held[3], bulk.in_domain & shear.in_domain)


def _within(prop: Property, values: Tensor) -> Tensor:
    return values + (values.clamp(prop.minimum, prop.maximum) - values).detach()


def geometric(prop: Property, crystals: CrystalBatch, n_samples: int) -> Prediction:
    """Return one of GEOMETRIC with the error of a cell that is not relaxed; the draws are even quantiles.

    Raises:
        UnknownNameError: no formula for the property.
    """
    if prop not in GEOMETRIC:
        raise UnknownNameError.among("formula of the structure", prop.name, [p.name for p in GEOMETRIC])
    mean = GEOMETRIC[prop](crystals)
    std = GEOMETRY_ERROR * mean
    levels = torch.linspace(0.5 / n_samples, 1 - 0.5 / n_samples, n_samples, dtype=mean.dtype)
    samples = mean + std * torch.special.ndtri(levels).to(mean)[:, None]
    known = torch.ones_like(mean, dtype=torch.bool)
    return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, samples, known)


def propagated(
    function: Callable[[Any, Any], Any], bulk: tuple[float, float], shear: tuple[float, float]
) -> tuple[float, float]:
    """Return mean and std of a function of K and G, (mean, std) each, by linear propagation.

    For verdicts, which have no draws: K and G of two judges, or two readings, err independently.

    >>> round(propagated(lambda k, g: k + g, (3.0, 0.3), (4.0, 0.4))[1], 6)
    0.5
    """
    mean = float(function(bulk[0], shear[0]))
    by_bulk = (float(function(bulk[0] * 1.01, shear[0])) - mean) / (0.01 * bulk[0])
    by_shear = (float(function(bulk[0], shear[0] * 1.01)) - mean) / (0.01 * shear[0])
    return mean, math.hypot(by_bulk * bulk[1], by_shear * shear[1])
