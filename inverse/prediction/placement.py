"""Where the surrogate computes: the device a config asks for, results always back on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import Property
from surrogates.protocol import Prediction, Surrogate, widening_of


class PlacedSurrogate:
    """A surrogate on a device that takes crystals from, and answers on, the device of its caller.

    Differentiable where the surrogate is.
    """

    def __init__(self, surrogate: Surrogate, device: torch.device) -> None:
        """Wrap a surrogate whose weights are on `device` already."""
        self._surrogate, self._device = surrogate, device
        self.name, self.properties = surrogate.name, surrogate.properties
        self.level, self.elements = surrogate.level, surrogate.elements
        self.widening = widening_of(surrogate)

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return the surrogate's predictions; errors as its own."""
        home = crystals.lattice.device
        found = self._surrogate.predict(crystals.to(self._device), properties)
        return {prop: _moved(prediction, home) for prop, prediction in found.items()}


def _moved(prediction: Prediction, device: torch.device) -> Prediction:
    moved: dict[str, Any] = {
        f.name: getattr(prediction, f.name).to(device)
        for f in fields(prediction)
        if isinstance(getattr(prediction, f.name), Tensor)
    }
    return replace(prediction, **moved)
