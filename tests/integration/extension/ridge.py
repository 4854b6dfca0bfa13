"""A trained architecture of somebody else's package, in one file: a linear law of a crystal.

It learns any column of a table of crystals from what they are made of and how densely they are packed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.architecture import Architecture, Rows, Task
from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, CrystalBatch
from surrogates.models.kernel import own_property
from surrogates.physics.properties import Property
from surrogates.protocol import Level, Prediction
from surrogates.settings import Positive
from surrogates.tiers.spread import normal
from surrogates.training.cross_validation import cross_validated

NAME = "ridge"
"""Its entry point, and the kind of its weights."""


@dataclass(frozen=True)
class Settings:
    """What a config may say beside `architecture`."""

    penalty: Positive = 0.01


class LinearLaw:
    """Predicts one property; `law` holds the weights (Z + 1,), the error and the elements that it saw."""

    level = Level.STRUCTURE

    def __init__(self, prop: Property, law: Mapping[str, Tensor]) -> None:
        self.name, self.properties, self.law = f"{NAME}-{prop.name}", (prop,), dict(law)
        self.elements = frozenset(ELEMENT_SYMBOLS[z] for z in law["seen"].nonzero().flatten().tolist())

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        mean = inputs(crystals) @ self.law["weights"].to(crystals.lattice)
        std = self.law["error"].to(mean).expand(mean.shape)
        return {prop: normal(prop, mean, std) for prop in properties}

    def to_checkpoint(self) -> Checkpoint:
        return Checkpoint(NAME, {"property": self.properties[0].to_record()}, self.law)


class Ridge(Architecture):
    """Ridge regression."""

    def train(self, task: Task) -> tuple[LinearLaw, Mapping[str, Any]]:
        settings = task.settings_as(Settings)
        return cross_validated(task, lambda rows: fitted(rows, settings))

    def from_checkpoint(self, checkpoint: Checkpoint) -> LinearLaw:
        law = {name: checkpoint.tensors[name] for name in ("weights", "error", "seen")}
        return LinearLaw(own_property(checkpoint.config["property"]), law)


def fitted(rows: Rows, settings: Settings) -> LinearLaw:
    x = inputs(rows.batch)
    y = torch.tensor(rows.values).to(x)
    weights = torch.linalg.solve(x.T @ x + settings.penalty * torch.eye(x.shape[1]).to(x), x.T @ y)
    seen = (x[:, :N_ELEMENTS] > 0).any(dim=0).to(torch.int32)
    return LinearLaw(rows.property, {"weights": weights, "error": (x @ weights - y).std(), "seen": seen})


def inputs(crystals: Any) -> Tensor:
    """(C, Z + 1) fractions of the elements and the inverse of the volume per atom."""
    density = 10 * crystals.n_atoms / crystals.volume
    return torch.cat([crystals.composition, density[:, None].to(crystals.composition)], dim=1)
