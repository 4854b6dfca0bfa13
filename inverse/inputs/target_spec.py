"""What a config says of one target: its form, its bounds, its weight."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from inverse.candidates.types import Target
from inverse.inputs.fields import Flag, Number, Part
from surrogates.physics.properties import Basis, Formula, OfProperties, Property, of_basis

FAR = 1e12
"""Stands for an open bound, in any unit."""


def contradiction(targets: Sequence[Target]) -> str:
    """Return which targets no crystal can meet together, "" when none contradict.

    By the formulas of other properties that rise or fall with each input: what bounds on the inputs leave of
    the value is at their corners. It has to overlap with what is asked of the value, and with what is known.
    """
    bounds = {target.property: (target.lower, target.upper) for target in targets if target.is_hard}
    reasons = (_overlap(prop, prop.formula, bounds) for prop in of_basis(Basis.OF_PROPERTIES))
    return next((reason for reason in reasons if reason), "")


def _overlap(prop: Property, formula: Formula | None, bounds: Mapping[Property, tuple[float, float]]) -> str:
    """Return why bounds on a property and on what it is made of cannot all be met, "" where they can."""
    if not isinstance(formula, OfProperties) or not formula.rises or bounds.keys().isdisjoint(formula.inputs):
        return ""
    least, most = _corners(formula, bounds)
    bounded = [p for p in formula.inputs if p in bounds]
    said = f"{' and '.join(_asked(p, *bounds[p]) for p in bounded)} {bounded[0].unit}".rstrip()
    if least > formula.seen[1]:
        return f"{said}: no crystal has {prop.short} above {formula.seen[1]:g}"
    if most < formula.seen[0]:
        return f"{said}: no crystal has {prop.short} below {formula.seen[0]:g}"
    low, high = bounds.get(prop, (-math.inf, math.inf))
    names, unit = " and ".join(p.short for p in formula.inputs), f" {prop.unit}".rstrip()
    if low > most:
        return f"{prop.short} >= {low:g}{unit}: {names} asked for make it {most:.3g} at most"
    if high < least:
        return f"{prop.short} <= {high:g}{unit}: {names} asked for make it {least:.3g} at least"
    return ""


def _corners(formula: OfProperties, bounds: Mapping[Property, tuple[float, float]]) -> tuple[float, float]:
    """Return the smallest and the largest value that bounds on the inputs allow."""
    at_least, at_most = [], []
    for prop, rises in zip(formula.inputs, formula.rises, strict=True):
        low, high = bounds.get(prop, (prop.minimum, math.inf))
        ends = max(low, 1.0 / FAR if prop.is_positive else -FAR), min(high, FAR)
        at_least.append(ends[0 if rises else 1])
        at_most.append(ends[1 if rises else 0])
    return float(formula.function(*at_least)), float(formula.function(*at_most))


def _asked(prop: Property, low: float, high: float) -> str:
    ends = ((">=", low), ("<=", high))
    return " and ".join(f"{prop.short} {sign} {bound:g}" for sign, bound in ends if math.isfinite(bound))


class TargetSpec(Part):
    """What is wanted of one property: min and/or max, near with tolerance, minimise or maximise."""

    min: Number | None = None
    max: Number | None = None
    near: Number | None = None
    tolerance: Annotated[Number, Field(gt=0)] | None = None
    minimise: Flag = False
    maximise: Flag = False
    weight: Annotated[Number, Field(gt=0, le=1000)] = 1.0

    def to_target(self, prop: Property) -> Target:
        """Return the Target for a property.

        Raises:
            ValueError: no or several forms, an empty window, or a bound outside the physical range.
        """
        for key in ("min", "max", "near"):
            value = getattr(self, key)
            if value is not None and not prop.minimum <= value <= prop.maximum:
                unit = f" {prop.unit}" if prop.unit else ""
                limits = f"{prop.minimum:g} to {prop.maximum:g}{unit}"
                raise ValueError(f"{key} {value:g}{unit} is outside the physical range {limits}")
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}; no value lies between")
        forms = [
            self.min is not None or self.max is not None,
            self.near is not None,
            self.minimise,
            self.maximise,
        ]
        if sum(forms) != 1:
            raise ValueError(
                "give exactly one of min/max, near with tolerance, minimise: true, maximise: true"
            )
        if (self.near is None) != (self.tolerance is None):
            raise ValueError("near and tolerance go together")
        return Target(
            prop, self.min, self.max, self.near, self.tolerance, self.minimise, self.maximise, self.weight
        )
