"""Properties that follow from others: one formula each, for predictions and verdicts alike."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pymatgen.core import Structure

from inverse.types import VerifiedValue
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
from surrogates.protocol import Z90


@dataclass(frozen=True)
class Derivation:
    """How a property follows from two others; `formula` takes floats or tensors, GPa."""

    inputs: tuple[Property, Property]
    formula: Callable[[Any, Any], Any]


_MODULI = (BULK_MODULUS, SHEAR_MODULUS)

DERIVED: Mapping[Property, Derivation] = {
    YOUNG_MODULUS: Derivation(_MODULI, young_modulus),
    POISSON_RATIO: Derivation(_MODULI, poisson_ratio),
    PUGH_RATIO: Derivation(_MODULI, pugh_ratio),
    HARDNESS: Derivation(_MODULI, chen_hardness),
}
"""What follows from K and G."""

GEOMETRIC: tuple[Property, ...] = (DENSITY, VOLUME)
"""What follows from the structure alone."""


def geometric_value(structure: Structure, prop: Property) -> float:
    """Return the density (g/cm³) or volume per atom (Å³) of a structure."""
    return float(structure.density) if prop == DENSITY else float(structure.volume / len(structure))


def with_derived(
    values: Mapping[str, VerifiedValue], structure: Structure | None
) -> dict[str, VerifiedValue]:
    """Return verified values with those that follow from them; errors by linear propagation."""
    result = dict(values)
    for prop, derivation in DERIVED.items():
        parts = [values.get(p.name) for p in derivation.inputs]
        if prop.name in result or any(p is None or not math.isfinite(p.mean) or p.mean <= 0 for p in parts):
            continue
        first, second = (p for p in parts if p is not None)
        result[prop.name] = _propagated(prop, derivation.formula, first, second)
    if structure is not None:
        for prop in GEOMETRIC:
            value = geometric_value(structure, prop)
            std = 0.02 * value
            result.setdefault(
                prop.name,
                VerifiedValue(
                    value, std, value - Z90 * std, value + Z90 * std, value, _cell_source(values), prop.unit
                ),
            )
    return result


def _cell_source(values: Mapping[str, VerifiedValue]) -> str:
    energy = values.get("formation_energy_per_atom") or values.get("energy_above_hull")
    return energy.potential if energy is not None else next((v.potential for v in values.values()), "")


def _propagated(
    prop: Property, formula: Callable[[Any, Any], Any], first: VerifiedValue, second: VerifiedValue
) -> VerifiedValue:
    mean = float(formula(first.mean, second.mean))
    by_first = float(formula(first.mean * 1.01, second.mean)) - mean
    by_second = float(formula(first.mean, second.mean * 1.01)) - mean
    std = math.hypot(
        by_first * first.std / (0.01 * first.mean), by_second * second.std / (0.01 * second.mean)
    )
    has_raw = all(math.isfinite(v.raw) and v.raw > 0 for v in (first, second))
    raw = float(formula(first.raw, second.raw)) if has_raw else math.nan
    potential = "+".join(dict.fromkeys((first.potential, second.potential)))
    return VerifiedValue(mean, std, mean - Z90 * std, mean + Z90 * std, raw, potential, prop.unit)
