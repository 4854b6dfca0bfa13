"""A structure-level surrogate plus what only the composition-level one knows, on the same samples."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from surrogates.crystal import CrystalBatch
from surrogates.properties import FORMATION_ENERGY, Property
from surrogates.protocol import (
    Z90,
    CompositionBatch,
    CompositionSurrogate,
    Prediction,
    Surrogate,
)

STRUCTURE_ERROR = 0.08
"""eV/atom added (in squares) to a composition's formation energy: this structure need not be its best."""


class CompletedSurrogate:
    """Asks the structure level first and the composition level for what is missing there.

    Differentiable where both are.
    """

    def __init__(self, structure: Surrogate, composition: CompositionSurrogate) -> None:
        self._structure, self._composition = structure, composition
        self._extra = tuple(p for p in (FORMATION_ENERGY,) if p in composition.properties)
        self._extra = tuple(p for p in self._extra if p not in structure.properties)
        self.name = structure.name if not self._extra else f"{structure.name}+{composition.name}"
        self.properties: tuple[Property, ...] = (*structure.properties, *self._extra)

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return predictions of both levels; errors as theirs."""
        extra = [p for p in properties if p in self._extra]
        own = [p for p in properties if p not in self._extra]
        known = dict(self._structure.predict(crystals, own)) if own else {}
        if extra:
            members = next(iter(known.values())).samples.shape[0] if known else 1
            batch = CompositionBatch.from_crystals(crystals)
            for prop, found in self._composition.predict(batch, extra).items():
                known[prop] = _widened(found, members)
        return {p: known[p] for p in properties}


def _widened(found: Prediction, members: int) -> Prediction:
    """Return the prediction with the structure's share of the error and independent samples."""
    std = (found.std.square() + STRUCTURE_ERROR**2).sqrt()
    samples = found.mean + std * _spread(members, found.mean)[:, None]
    lower, upper = found.mean - Z90 * std, found.mean + Z90 * std
    return Prediction(found.property, found.mean, std, lower, upper, samples, found.in_domain)


def _spread(members: int, like: Tensor) -> Tensor:
    """Return (M,) standard normal quantiles in an order that owes nothing to other properties' members."""
    if members == 1:
        return torch.zeros(1).to(like)
    quantiles = torch.linspace(0.5 / members, 1 - 0.5 / members, members)
    order = torch.randperm(members, generator=torch.Generator().manual_seed(members))
    return torch.distributions.Normal(0.0, 1.0).icdf(quantiles)[order].to(like)
