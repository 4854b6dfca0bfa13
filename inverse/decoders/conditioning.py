"""Wanted property values as network inputs; a value that is not wanted is masked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import torch
import yaml
from torch import Tensor

from surrogates.physics.properties import PROPERTIES, Property


@dataclass(frozen=True)
class Input:
    """How a wanted value enters the networks: clipped, stretched, then standardised as in their training.

    Attributes:
        property: of which property.
        low: values below count as this.
        high: values above count as this.
        stretch: of the clipped value.
        shift: taken off what is stretched.
        spread: what is left is divided by.
    """

    property: Property
    low: float
    high: float
    stretch: Callable[[np.ndarray], np.ndarray]
    shift: float
    spread: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the inputs of values in the property's unit; NaN stays NaN."""
        return np.asarray((self.stretch(np.clip(values, self.low, self.high)) - self.shift) / self.spread)


STRETCHES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log,
    "sqrt": np.sqrt,
    "none": np.positive,
}
"""Names of `conditions.yaml` -> what they stand for."""


def packaged_inputs() -> tuple[Input, ...]:
    """Return the inputs of `conditions.yaml`."""
    text = files("inverse.decoders").joinpath("conditions.yaml").read_text(encoding="utf-8")
    return tuple(
        Input(**{**one, "property": PROPERTIES[one["property"]], "stretch": STRETCHES[one["stretch"]]})
        for one in yaml.safe_load(text)
    )


INPUTS: tuple[Input, ...] = packaged_inputs()
"""What the packaged decoder was trained to be asked for, in the order of its inputs."""

CONDITIONED: tuple[str, ...] = tuple(one.property.name for one in INPUTS)
"""Properties the decoder can be asked for."""

N_CONDITIONS = 2 * len(INPUTS)
"""Width of a condition vector: the values, then 1 where a value is given."""


def condition_vectors(values: np.ndarray) -> Tensor:
    """Return (C, 2 P) network inputs of (C, P) values in natural units; NaN means not wanted."""
    with np.errstate(invalid="ignore"):
        scaled = np.stack([one(values[:, k]) for k, one in enumerate(INPUTS)], axis=1)
    is_given = ~np.isnan(scaled)
    return torch.as_tensor(
        np.concatenate([np.where(is_given, scaled, 0.0), is_given], axis=1), dtype=torch.float32
    )


def wanted_vector(targets: Mapping[str, float]) -> Tensor:
    """Return the (1, 2 P) network input of wanted values; properties not in CONDITIONED are ignored.

    >>> wanted_vector({"bulk_modulus_vrh": 350.0})[0, 4:].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    return condition_vectors(np.array([[targets.get(name, np.nan) for name in CONDITIONED]], dtype=float))
