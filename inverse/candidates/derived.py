"""Properties that follow from others: one formula each, for predictions and verdicts alike."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pymatgen.core import Structure

from inverse.candidates.types import VerifiedValue
from surrogates.crystals.batch import CrystalBatch
from surrogates.derived import FROM_MODULI, GEOMETRIC, propagated
from surrogates.errors import UnknownNameError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property
from surrogates.protocol import Z90

RELAXED_GEOMETRY_ERROR = 0.02
"""Relative std of density and volume of a relaxed cell: a judge's cell beside that of DFT."""


@dataclass(frozen=True)
class Derivation:
    """How a property follows from two others; `formula` takes floats or tensors, GPa."""

    inputs: tuple[Property, Property]
    formula: Callable[[Any, Any], Any]


DERIVED: Mapping[Property, Derivation] = {
    prop: Derivation((BULK_MODULUS, SHEAR_MODULUS), formula) for prop, formula in FROM_MODULI.items()
}
"""What follows from K and G."""


def geometric_value(structure: Structure, prop: Property) -> float:
    """Return a property that follows from the structure alone, in its unit.

    Raises:
        UnknownNameError: no formula for the property.
    """
    if prop not in GEOMETRIC:
        raise UnknownNameError.among("formula of the structure", prop.name, [p.name for p in GEOMETRIC])
    return float(GEOMETRIC[prop](CrystalBatch.from_structures([structure], dtype=torch.float64))[0])


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
            std = RELAXED_GEOMETRY_ERROR * value
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
    mean, std = propagated(formula, (first.mean, first.std), (second.mean, second.std))
    has_raw = all(math.isfinite(v.raw) and v.raw > 0 for v in (first, second))
    raw = float(formula(first.raw, second.raw)) if has_raw else math.nan
    potential = "+".join(dict.fromkeys((first.potential, second.potential)))
    mean, lower, upper = (
        min(max(value, prop.minimum), prop.maximum) for value in (mean, mean - Z90 * std, mean + Z90 * std)
    )
    return VerifiedValue(mean, std, lower, upper, raw, potential, prop.unit)
