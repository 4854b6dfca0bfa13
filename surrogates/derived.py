"""Properties that follow from others: from K and G sample by sample, or exactly from the structure."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from surrogates.crystal import CrystalBatch
from surrogates.elasticity import chen_hardness, poisson_ratio, pugh_ratio, young_modulus
from surrogates.periodic_table import ATOMIC_MASSES
from surrogates.properties import (
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
from surrogates.protocol import Z90, Prediction
from surrogates.units import G_PER_CM3_PER_AMU_PER_A3

FROM_MODULI: dict[Property, Callable[[Tensor, Tensor], Tensor]] = {
    YOUNG_MODULUS: young_modulus,
    POISSON_RATIO: poisson_ratio,
    PUGH_RATIO: pugh_ratio,
    HARDNESS: chen_hardness,
}
"""Functions of (K, G)."""

DERIVED: tuple[Property, ...] = (*FROM_MODULI, DENSITY, VOLUME)
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
    """Return the derived ones among the wanted properties; differentiable like what they are made of."""
    found = {}
    for prop in wanted:
        if prop in FROM_MODULI:
            found[prop] = from_moduli(prop, learned[BULK_MODULUS], learned[SHEAR_MODULUS])
        elif prop in (DENSITY, VOLUME):
            found[prop] = _exact(prop, crystals, n_samples)
    return found


def from_moduli(prop: Property, bulk: Prediction, shear: Prediction) -> Prediction:
    """Return one of FROM_MODULI from K and G, draw by draw."""
    function = FROM_MODULI[prop]
    mean = function(bulk.mean, shear.mean)
    samples = function(bulk.samples, shear.samples)
    level = torch.tensor([0.05, 0.95], dtype=samples.dtype, device=samples.device)
    low, high = torch.quantile(samples, level, dim=0)
    lower, upper = torch.minimum(low, mean), torch.maximum(high, mean)
    std = (upper - lower) / (2.0 * Z90)
    return Prediction(prop, mean, std, lower, upper, samples, bulk.in_domain & shear.in_domain)


def _exact(prop: Property, crystals: CrystalBatch, n_samples: int) -> Prediction:
    """Volume or density of the structure as it is; error 0."""
    value = crystals.volume / crystals.n_atoms.to(crystals.lattice.dtype)
    if prop == DENSITY:
        value = crystals.composition @ value.new_tensor(ATOMIC_MASSES) / value * G_PER_CM3_PER_AMU_PER_A3
    zero = torch.zeros_like(value)
    known = torch.ones_like(value, dtype=torch.bool)
    return Prediction(prop, value, zero, value, value, value.unsqueeze(0).repeat(n_samples, 1), known)
