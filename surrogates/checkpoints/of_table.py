"""What a surrogate of a user's table says: on the table's scale, with errors measured on held-out rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from surrogates.errors import CheckpointError
from surrogates.physics.properties import Property
from surrogates.protocol import OWN_SCALE, Prediction

KEY = "own_table"
"""Of a manifest's config: what training learned of the errors of a table; no architecture sees it."""

FACTOR = "error_factor"
"""How much wider than the architecture says its errors are, on rows that were held out."""

LEAST_WIDTH = 1e-9
"""Half-width of an interval, as a share of the value, below which it is none."""

LEAST_SHARE = 1e-6
"""Share of the mean below which no value of a positive property lies: logarithms need more than zero."""


class OfTable:
    """A surrogate whose error bars are `factor` times as wide as it says itself; all else is its own.

    Attributes:
        inner: the surrogate of somebody's architecture.
        factor: see FACTOR.
        scale: of every answer, whatever a batch asks for.
    """

    scale = OWN_SCALE

    def __init__(self, inner: Any, factor: float = 1.0) -> None:
        self.inner, self.factor = inner, factor

    def __getattr__(self, name: str) -> Any:
        """Return what the surrogate itself says of name, properties, level, elements ..."""
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def predict(self, batch: Any, properties: Sequence[Property]) -> Mapping[Property, Prediction]:
        """Return the surrogate's own predictions with calibrated errors; raises what it raises."""
        found: Mapping[Property, Prediction] = self.inner.predict(batch, properties)
        return {prop: stretched(prediction, self.factor) for prop, prediction in found.items()}

    def stated(self) -> Mapping[str, Any]:
        """Return what `of_table` reads, for the config of the surrogate's own checkpoint."""
        return {KEY: {FACTOR: self.factor}}


def of_table(surrogate: Any, stated: object) -> OfTable:
    """Return a surrogate that was read again, with what its manifest states of its errors.

    Raises:
        CheckpointError: no factor that could be one.
    """
    factor = stated.get(FACTOR) if isinstance(stated, Mapping) else None
    if type(factor) not in (int, float) or not math.isfinite(factor) or factor <= 0:  # type: ignore[arg-type,operator]
        raise CheckpointError(f"{KEY}: {FACTOR} is {factor!r}, not a positive number")
    return OfTable(surrogate, float(factor))  # type: ignore[arg-type]


def stretched(prediction: Prediction, factor: float) -> Prediction:
    """Return a prediction whose error bar is `factor` times as wide, within the physical range.

    Every value keeps its side of the mean, and its distance grows by the factor. Differentiable.
    """
    prop, mean = prediction.property, prediction.mean

    def apart(values: Tensor) -> Tensor:
        wide = mean + factor * (values - mean)
        held = wide.clamp(prop.minimum, prop.maximum)
        if prop.is_positive:
            held = torch.maximum(held, LEAST_SHARE * mean.clamp(min=0))
        return wide + (held - wide).detach()

    return replace(
        prediction,
        std=factor * prediction.std,
        lower=torch.minimum(apart(prediction.lower), mean),
        upper=torch.maximum(apart(prediction.upper), mean),
        samples=apart(prediction.samples),
    )


def needed(prediction: Prediction, truth: Tensor) -> Tensor:
    """Return (C,) the factor by which each interval would just reach the true value (C,)."""
    mean = prediction.mean
    width = torch.where(truth > mean, prediction.upper - mean, mean - prediction.lower)
    least = LEAST_WIDTH * torch.maximum(truth.abs(), mean.abs()).clamp(min=1e-30)
    return (truth - mean).abs() / torch.maximum(width, least)
