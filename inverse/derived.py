"""Properties that follow from others: Young's modulus, Poisson ratio, G/K, hardness, density."""

from collections.abc import Callable, Mapping
from functools import cache

import torch
from pymatgen.core import Element
from torch import Tensor

from surrogates.crystal import ELEMENT_SYMBOLS
from surrogates.elasticity import chen_hardness, poisson_ratio, pugh_ratio, young_modulus
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

_FROM_MODULI: dict[Property, Callable[[Tensor, Tensor], Tensor]] = {
    YOUNG_MODULUS: young_modulus,
    POISSON_RATIO: poisson_ratio,
    PUGH_RATIO: pugh_ratio,
    HARDNESS: chen_hardness,
}

NEEDED_FOR: dict[Property, tuple[Property, ...]] = {
    **dict.fromkeys(_FROM_MODULI, (BULK_MODULUS, SHEAR_MODULUS)),
    DENSITY: (VOLUME,),
}
"""Which predictions each derived property is computed from."""


@cache
def atomic_masses() -> Tensor:
    """Return (Z,) atomic masses, amu, in double precision."""
    return torch.tensor(
        [float(Element(symbol).atomic_mass) for symbol in ELEMENT_SYMBOLS], dtype=torch.double
    )


def with_derived(
    predictions: Mapping[Property, Prediction], fractions: Tensor | None = None
) -> dict[Property, Prediction]:
    """Return the predictions and every derived one that they allow.

    Computed sample by sample, so that shared errors cancel where they should; differentiable.

    Args:
        predictions: as a surrogate returned them.
        fractions: (C, Z) atomic fractions, rows sum to 1; needed for the density.
    """
    complete = dict(predictions)
    if BULK_MODULUS in predictions and SHEAR_MODULUS in predictions:
        bulk, shear = predictions[BULK_MODULUS], predictions[SHEAR_MODULUS]
        for derived, formula in _FROM_MODULI.items():
            if derived not in complete:
                complete[derived] = _propagated(derived, formula, bulk, shear)
    if VOLUME in predictions and DENSITY not in complete and fractions is not None:
        volume = predictions[VOLUME]
        mass = fractions @ atomic_masses().to(fractions) * G_PER_CM3_PER_AMU_PER_A3
        complete[DENSITY] = _propagated(DENSITY, lambda v, _: mass / v, volume, volume)
    return complete


def needed_properties(wanted: tuple[Property, ...]) -> tuple[Property, ...]:
    """Return which properties a surrogate must predict so that all of `wanted` are known.

    >>> [p.symbol for p in needed_properties((HARDNESS, BULK_MODULUS))]
    ['K_VRH', 'G_VRH']
    """
    needed = [basic for prop in wanted for basic in NEEDED_FOR.get(prop, (prop,))]
    return tuple(dict.fromkeys(needed))


def _propagated(
    derived: Property, formula: Callable[[Tensor, Tensor], Tensor], first: Prediction, second: Prediction
) -> Prediction:
    """Return the prediction of formula(first, second), from the joint samples.

    With a single sample the spread comes from the two stds as if they were independent (first order).
    """
    mean = formula(first.mean, second.mean)
    up = formula(first.mean + first.std, second.mean) - mean
    side = formula(first.mean, second.mean + second.std) - mean
    spread = up if first is second else torch.sqrt(up**2 + side**2)
    samples = formula(first.samples, second.samples)
    if samples.shape[0] > 1:
        spread = samples.std(dim=0)
    spread = spread.abs().clamp(min=1e-9)
    return Prediction(
        property=derived,
        mean=mean,
        std=spread,
        lower=mean - Z90 * spread,
        upper=mean + Z90 * spread,
        samples=samples,
        in_domain=first.in_domain & second.in_domain,
    )
