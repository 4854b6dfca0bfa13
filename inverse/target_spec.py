"""What a config says of one target: its form, its bounds, its weight."""

from typing import Annotated

from pydantic import Field

from inverse.config_fields import Flag, Number, Part
from inverse.types import Target
from surrogates.properties import Property


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
