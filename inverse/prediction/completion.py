"""The structure-level surrogate, plus what only the composition level or the user's own tables know."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inverse.prediction.evaluation import Predictions
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import FORMATION_ENERGY, Property
from surrogates.protocol import (
    Z90,
    CompositionBatch,
    CompositionSurrogate,
    Level,
    Prediction,
    Surrogate,
    common_elements,
    widening_of,
)

OF_ONE_PROPERTY: tuple[str, ...] = ("band_gap",)
"""Packaged weights of surrogates of crystals that predict what the others do not, one property each."""

STRUCTURE_ERROR = 0.08
"""eV/atom added (in squares) to a composition's formation energy: this structure need not be its best."""


class CompletedSurrogate:
    """Asks the user's own surrogates first, then the structure level, then the composition level.

    The structure level's samples lead; the others' are drawn anew, so that all properties have as many.
    Differentiable where all are.
    """

    level = Level.STRUCTURE

    def __init__(
        self,
        structure: Surrogate,
        composition: CompositionSurrogate | None = None,
        own: Sequence[Surrogate | CompositionSurrogate] = (),
        wanted: Sequence[Property] = (),
        beside: Sequence[Surrogate] = (),
    ) -> None:
        """Decide who answers what.

        Args:
            structure: the shipped surrogate.
            composition: answers the formation energy and what is wanted, as far as `structure` lacks them.
            own: of the user, of either level; they come before the shipped ones.
            wanted: properties of the targets.
            beside: shipped surrogates of crystals for what `structure` lacks; asked for what is wanted.
        """
        self._structure, self._composition = structure, composition
        lacking = {*wanted} - {*structure.properties}
        asked = [surrogate for surrogate in beside if lacking & {*surrogate.properties}]
        self._own: dict[Property, Surrogate | CompositionSurrogate] = {
            p: surrogate for surrogate in asked for p in surrogate.properties if p in lacking
        }
        self._own |= {p: surrogate for surrogate in own for p in surrogate.properties}
        own = [surrogate for surrogate in (*asked, *own) if surrogate in self._own.values()]
        has = () if composition is None else composition.properties
        follows = {*structure.properties, *self._own}
        missing = dict.fromkeys([FORMATION_ENERGY, *wanted])
        self._extra = tuple(p for p in missing if p in has and p not in follows and p.formula is None)
        names = [structure.name, *([composition.name] if self._extra and composition is not None else [])]
        self.name = "+".join([*names, *[surrogate.name for surrogate in own]])
        self.elements = common_elements(
            [structure, *own, *([composition] if self._extra and composition is not None else [])]
        )
        shipped = tuple(p for p in structure.properties if p not in self._own)
        self.properties: tuple[Property, ...] = (*shipped, *self._extra, *self._own)
        self.widening = {p: w for p, w in widening_of(structure).items() if p in shipped}

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return predictions of all levels; errors as theirs."""
        extra = [p for p in properties if p in self._extra]
        shipped = [p for p in properties if p not in self._extra and p not in self._own]
        known = dict(self._structure.predict(crystals, shipped)) if shipped else {}
        own: dict[Property, Prediction] = {}
        for surrogate in {id(self._own[p]): self._own[p] for p in properties if p in self._own}.values():
            its = [p for p in properties if self._own.get(p) is surrogate]
            own |= of_crystals(surrogate, crystals, its)
        members = max((p.samples.shape[0] for p in (known or own).values()), default=1)
        if extra and self._composition is not None:
            batch = CompositionBatch.from_crystals(crystals)
            for prop, found in self._composition.predict(batch, extra).items():
                known[prop] = (
                    _widened(found, members) if prop == FORMATION_ENERGY else _redrawn(found, members)
                )
        for prop, found in own.items():
            surrogate = self._own[prop]
            is_joint = len(surrogate.properties) > 1
            known[prop] = _resampled(found, members, surrogate.name) if is_joint else _redrawn(found, members)
        return {p: known[p] for p in properties}


def of_crystals(surrogate: Any, crystals: CrystalBatch, asked: Sequence[Property]) -> Predictions:
    """Return what a surrogate of either level says of crystals."""
    is_of_formulas = surrogate.level is Level.COMPOSITION
    found: Predictions = surrogate.predict(
        CompositionBatch.from_crystals(crystals) if is_of_formulas else crystals, asked
    )
    return found


def answering_crystals(structure: Surrogate) -> CompletedSurrogate:
    """Return a shipped surrogate with all that the shipped ones of one property say of crystals.

    Raises:
        CheckpointError: weights that are missing or damaged.
    """
    beside = surrogates_of_one_property()
    return CompletedSurrogate(structure, wanted=[p for s in beside for p in s.properties], beside=beside)


def surrogates_of_one_property() -> list[Surrogate]:
    """Return the shipped surrogates of OF_ONE_PROPERTY; errors as those of `load_surrogate`."""
    return [load_surrogate(name) for name in OF_ONE_PROPERTY]


class JoinedCompositions:
    """The user's own composition-level surrogates before the shipped one; elements that all know."""

    level = Level.COMPOSITION

    def __init__(self, shipped: CompositionSurrogate, own: Sequence[CompositionSurrogate]) -> None:
        self._shipped = shipped
        self._own = {p: surrogate for surrogate in own for p in surrogate.properties}
        self.name = "+".join([shipped.name, *[surrogate.name for surrogate in own]])
        self.elements = common_elements([shipped, *own])
        rest = tuple(p for p in shipped.properties if p not in self._own)
        self.properties: tuple[Property, ...] = (*self._own, *rest)

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return predictions of all; errors as theirs."""
        shipped = [p for p in properties if p not in self._own]
        known = dict(self._shipped.predict(compositions, shipped)) if shipped else {}
        for prop in (p for p in properties if p in self._own):
            known[prop] = self._own[prop].predict(compositions, [prop])[prop]
        return {p: known[p] for p in properties}


def _widened(found: Prediction, members: int) -> Prediction:
    """Return the prediction with the structure's share of the error and independent samples."""
    std = (found.std.square() + STRUCTURE_ERROR**2).sqrt()
    samples = found.mean + std * _spread(members, found.mean)[:, None]
    lower, upper = found.mean - Z90 * std, found.mean + Z90 * std
    return Prediction(found.property, found.mean, std, lower, upper, samples, found.in_domain)


def _redrawn(found: Prediction, members: int) -> Prediction:
    """Return the prediction with as many samples, at even quantiles of its own, in an order of its own."""
    quantiles = (torch.arange(members) + 0.5) / members
    generator = torch.Generator().manual_seed(zlib.crc32(found.property.name.encode()))
    order = torch.randperm(members, generator=generator)
    samples = torch.quantile(found.samples, quantiles[order].to(found.samples), dim=0)
    return replace(found, samples=samples)


def _resampled(found: Prediction, members: int, name: str) -> Prediction:
    """Return the prediction with as many of its own samples, the same rows for all that `name` predicts."""
    n_own = found.samples.shape[0]
    rows = torch.arange(members) * n_own // members
    order = torch.randperm(members, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    return replace(found, samples=found.samples[rows[order].to(found.samples.device)])


def _spread(members: int, like: Tensor) -> Tensor:
    """Return (M,) standard normal quantiles in an order that owes nothing to other properties' members."""
    if members == 1:
        return torch.zeros(1).to(like)
    quantiles = torch.linspace(0.5 / members, 1 - 0.5 / members, members)
    order = torch.randperm(members, generator=torch.Generator().manual_seed(members))
    return torch.special.ndtri(quantiles)[order].to(like)
