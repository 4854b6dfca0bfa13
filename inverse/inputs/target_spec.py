"""What a config says of one target: its form, its bounds, its weight."""

import math
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from inverse.candidates.types import Target
from inverse.inputs.fields import Flag, Number, Part
from surrogates.physics.properties import Property

MOST_SHEAR = 6.0
"""G/K at a Poisson ratio of -0.5, beyond the most auxetic crystal known (cristobalite, G/K below 3)."""


def contradiction(targets: Sequence[Target]) -> str:
    """Return which targets on moduli no crystal can meet together, "" when none contradict.

    E = 9KG / (3K + G) stays below 9K and below 3G, and grows with both.
    """
    bounds = {t.property.name: t for t in targets if t.is_hard}

    def window(name: str) -> tuple[float, float]:
        target = bounds.get(name)
        return (0.0, math.inf) if target is None else (max(0.0, target.lower), target.upper)

    (bulk_low, bulk_high), (shear_low, shear_high) = map(window, ("bulk_modulus_vrh", "shear_modulus_vrh"))
    (young_low, young_high), (ratio_low, ratio_high) = map(window, ("young_modulus_vrh", "pugh_ratio"))
    if shear_low > MOST_SHEAR * bulk_high:
        return f"K <= {bulk_high:g} and G >= {shear_low:g} GPa: no crystal has G above {MOST_SHEAR:g} K"
    if young_low > 0 and young_low >= _young(bulk_high, shear_high):
        return f"E >= {young_low:g} GPa: K and G asked for make it {_young(bulk_high, shear_high):g} at most"
    if young_high < _young(bulk_low, shear_low):
        return f"E <= {young_high:g} GPa: K and G asked for make it {_young(bulk_low, shear_low):g} at least"
    if bulk_low > 0 and ratio_low > shear_high / bulk_low:
        return f"G/K >= {ratio_low:g}: K and G asked for make it {shear_high / bulk_low:.3g} at most"
    if math.isfinite(bulk_high) and bulk_high > 0 and ratio_high < shear_low / bulk_high:
        return f"G/K <= {ratio_high:g}: K and G asked for make it {shear_low / bulk_high:.3g} at least"
    return ""


def _young(bulk: float, shear: float) -> float:
    """Return Young's modulus; an infinite modulus leaves the other one's bound."""
    if bulk <= 0 or shear <= 0:
        return 0.0
    return 9.0 / (3.0 / shear + 1.0 / bulk) if math.isfinite(min(bulk, shear)) else math.inf


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
