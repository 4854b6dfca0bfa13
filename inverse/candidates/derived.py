"""Verified values of properties that follow from others, by the formula of the record."""

import math
from collections.abc import Iterable, Mapping

import torch
from pymatgen.core import Structure

from inverse.candidates.types import VerifiedValue
from surrogates.crystals.batch import CrystalBatch
from surrogates.derived import propagated, unknown_rows
from surrogates.errors import UnknownNameError
from surrogates.physics.properties import (
    Basis,
    Judged,
    OfCell,
    OfComposition,
    OfProperties,
    Property,
    judged_from,
    of_basis,
)
from surrogates.protocol import Z90


def geometric_value(structure: Structure, prop: Property) -> float:
    """Return a property that follows from the structure alone, in its unit.

    NaN where the composition decides it and an element has no value.

    Raises:
        UnknownNameError: no formula for the property.
    """
    return _geometric_value(_crystals(structure), prop)


def _crystals(structure: Structure) -> CrystalBatch:
    return CrystalBatch.from_structures([structure], dtype=torch.float64)


def _geometric_value(crystals: CrystalBatch, prop: Property) -> float:
    if not isinstance(prop.formula, OfCell | OfComposition):
        known = [p.name for p in of_basis(Basis.OF_CELL, Basis.OF_COMPOSITION)]
        raise UnknownNameError.among("formula of the structure", prop.name, known)
    if isinstance(prop.formula, OfCell):
        return float(prop.formula.function(crystals)[0])
    if bool(unknown_rows(prop.formula, crystals.composition)):
        return math.nan
    value = float(prop.formula.function(crystals.composition)[0])
    return float(f"{value:.10g}")  # a pure element has its tabulated value, whatever the order of the sums


def with_followed(values: Mapping[str, float]) -> dict[str, float]:
    """Return values by property name with all that follows from them; no errors, no structure."""
    result = dict(values)
    for prop in of_basis(Basis.OF_PROPERTIES):
        if isinstance(prop.formula, OfProperties) and all(p.name in result for p in prop.formula.inputs):
            result[prop.name] = float(prop.formula.function(*(result[p.name] for p in prop.formula.inputs)))
    return result


def with_derived(
    values: Mapping[str, VerifiedValue], structure: Structure | None, wanted: Iterable[Property] = ()
) -> dict[str, VerifiedValue]:
    """Return verified values with those that follow from them; errors by linear propagation.

    Args:
        values: of the judges.
        structure: relaxed; None where there is none, and nothing follows from it.
        wanted: those of them that the composition decides alone are worked out, too.
    """
    result = _followed(values)
    if structure is not None:
        geometric = (*of_basis(Basis.OF_CELL), *(prop for prop in wanted if prop.is_exact))
        missing = [prop for prop in geometric if prop.name not in result]
        result |= _geometric(structure, missing, _cell_source(values)) if missing else {}
    return _followed(result)


def _followed(values: Mapping[str, VerifiedValue]) -> dict[str, VerifiedValue]:
    """Return the values with all that follows from them and is not among them."""
    result = dict(values)
    for prop in of_basis(Basis.OF_PROPERTIES):
        if prop.name in result or not isinstance(prop.formula, OfProperties):
            continue
        parts = [result[p.name] for p in prop.formula.inputs if _is_usable(p, result.get(p.name))]
        if len(parts) == len(prop.formula.inputs):
            result[prop.name] = _propagated(prop, prop.formula, parts)
    return result


def _is_usable(prop: Property, value: VerifiedValue | None) -> bool:
    return value is not None and math.isfinite(value.mean) and (value.mean > 0 or not prop.is_positive)


def _geometric(
    structure: Structure, properties: Iterable[Property], cell_source: str
) -> dict[str, VerifiedValue]:
    found, crystals = {}, _crystals(structure)
    for prop in properties:
        value = _geometric_value(crystals, prop)
        if math.isfinite(value):
            std = prop.formula.relaxed_error * abs(value) if isinstance(prop.formula, OfCell) else 0.0
            source = "" if prop.is_exact else cell_source
            lower, upper = value - Z90 * std, value + Z90 * std
            found[prop.name] = VerifiedValue(value, std, lower, upper, value, source, prop.unit)
    return found


def _cell_source(values: Mapping[str, VerifiedValue]) -> str:
    """Return whose cell it is: that of the judge of energies, where there is one."""
    of_energy = [values[p.name] for p in judged_from(Judged.ENERGY) if p.name in values]
    return next((value.potential for value in (*of_energy, *values.values())), "")


def _propagated(prop: Property, formula: OfProperties, parts: list[VerifiedValue]) -> VerifiedValue:
    mean, std = propagated(formula.function, *((part.mean, part.std) for part in parts))
    can = [math.isfinite(v.raw) and (v.raw > 0 or not p.is_positive) for p, v in _paired(formula, parts)]
    raw = float(formula.function(*(part.raw for part in parts))) if all(can) else math.nan
    names = dict.fromkeys(name for part in parts for name in part.potential.split("+") if name)
    mean, lower, upper = (
        min(max(value, prop.minimum), prop.maximum) for value in (mean, mean - Z90 * std, mean + Z90 * std)
    )
    return VerifiedValue(mean, std, lower, upper, raw, "+".join(names), prop.unit)


def _paired(formula: OfProperties, parts: list[VerifiedValue]) -> Iterable[tuple[Property, VerifiedValue]]:
    return zip(formula.inputs, parts, strict=True)
