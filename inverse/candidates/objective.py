"""Targets -> probability that they are met, differentiable loss, verdict on values, score."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.types import PREDICTED_ENOUGH, Target
from surrogates.errors import ConfigError, UnknownNameError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, PROPERTIES, Property
from surrogates.protocol import Prediction

TABLE_RANGE = 1e3
"""A property of a user's table reaches to this many times the largest value in the table."""

OUT_OF_DOMAIN_AT_MOST = 0.84
"""Highest probability that is believed of a crystal outside the domain of the surrogates.

Of 197 crystals out of domain, set aside until then, 83.8 % lay in their 90 % interval by the judges (log of
2026-11-26), so nothing that is said of such a crystal is right more often.
"""

MARGIN = 1.0
"""The loss keeps pushing until the mean is about this many standard deviations inside a bound."""

_TYPICAL: dict[str, float] = {
    "bulk_modulus_vrh": 100.0,
    "shear_modulus_vrh": 50.0,
    "young_modulus_vrh": 130.0,
    "vickers_hardness_chen": 8.0,
    "density": 6.0,
    "volume_per_atom": 18.0,
    "pugh_ratio": 0.5,
    "band_gap": 1.0,
    "formation_energy_per_atom": 0.5,
    "energy_above_hull": 0.1,
    "poisson_ratio": 0.1,
}
"""Natural unit of each property, the scale on which soft targets are weighed."""


class _Decided(Protocol):
    """The part of a config that says how verdicts are taken."""

    @property
    def predicted_enough(self) -> float: ...


class Wanted(Protocol):
    """What an objective asks of a config."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """As the config lists them."""
        ...

    @property
    def verify(self) -> _Decided:
        """How verdicts are taken."""
        ...


class Objective:
    """What a campaign wants, and what a hit is: choice, descent, compositions, verdict and rank ask it here.

    Attributes:
        targets: as given.
        deciding: the targets that decide a hit: the hard ones, and the default hull bound where none of them
            is on the energy above hull.
        properties: of `targets` and `deciding`, in order, without repeats.
        predicted_enough: probability from which on a target that no judge computes counts as met.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        deciding: Sequence[Target] | None = None,
        predicted_enough: float = PREDICTED_ENOUGH,
    ) -> None:
        """Take the targets.

        Args:
            targets: of the config.
            deciding: for a part of an objective, which decides no hit; None takes what decides one.
            predicted_enough: of the config.

        Raises:
            ConfigError: there is no target.
        """
        self.targets, self.predicted_enough = tuple(targets), predicted_enough
        self.deciding = effective_targets(targets) if deciding is None else tuple(deciding)
        if not self.targets and not deciding:
            raise ConfigError("targets: at least one target is needed")
        asked = (*self.targets, *self.deciding)
        self.properties: tuple[Property, ...] = tuple(dict.fromkeys(t.property for t in asked))

    @classmethod
    def of(cls, config: Wanted) -> "Objective":
        """Return the objective of a config."""
        return cls(config.targets, predicted_enough=config.verify.predicted_enough)

    @property
    def soft(self) -> tuple[Target, ...]:
        """The targets that only rank."""
        return tuple(t for t in self.targets if not t.is_hard)

    @property
    def hull(self) -> Target:
        """The one target on the energy above hull that decides, the default where the config has none."""
        return next(t for t in self.deciding if t.property == ENERGY_ABOVE_HULL)

    def only(self, properties: Collection[Property]) -> "Objective | None":
        """Return the part of the objective on these properties; None when nothing is asked of them.

        It decides no hit: what it knows nothing of, the default hull bound included, is not asked.
        """
        targets = [t for t in self.targets if t.property in properties]
        deciding = [t for t in self.deciding if t.property in properties]
        return Objective(targets, deciding) if targets or deciding else None

    def probability_met(self, predictions: Mapping[Property, Prediction]) -> Tensor:
        """Return (C,) probability that all deciding targets are met together; ones when there is none.

        From the shared samples, so that errors common to several properties count once. Each sample
        carries a normal kernel, shrunk so that the total spread stays the prediction's std; one sample
        is then exactly the normal distribution. Out of the domain of a deciding property it is at most
        `OUT_OF_DOMAIN_AT_MOST`. Differentiable.

        Raises:
            UnknownNameError: no prediction for a target.
        """
        joint: Tensor | None = None
        for target in self.deciding:
            inside = _inside(_prediction_of(target, predictions), target)
            joint = inside if joint is None else joint * inside
        if joint is None:
            return _ones(predictions)
        met = joint.mean(dim=0)
        return torch.where(self.outside(predictions), met.clamp(max=OUT_OF_DOMAIN_AT_MOST), met)

    def outside(self, predictions: Mapping[Property, Prediction]) -> Tensor:
        """Return (C,) bool: the prediction of a deciding property lies outside its surrogate's domain."""
        none = torch.zeros_like(_ones(predictions)).bool()
        each = [~_prediction_of(t, predictions).in_domain for t in self.deciding]
        return torch.stack([none, *each]).any(dim=0)

    def loss(self, predictions: Mapping[Property, Prediction]) -> Tensor:
        """Return (C,) loss, lower is better, differentiable in the means.

        A bound, the default one on the hull included, costs a smooth hinge of its distance in standard
        deviations (held constant, so that doubt is no way out); minimise and maximise cost the mean in
        natural units; both times the weight.

        Raises:
            UnknownNameError: no prediction for a target.
        """
        total = torch.zeros_like(next(iter(predictions.values())).mean)
        for target in (*self.deciding, *self.soft):
            prediction = _prediction_of(target, predictions)
            cost = _hinge(prediction, target) if target.is_hard else _drift(prediction.mean, target)
            total = total + target.weight * cost
        return total

    def utility(self, values: Mapping[str, float]) -> float:
        """Return the soft targets' worth in (0, 1]: 1 without soft targets, higher is better.

        Each soft target contributes a logistic in its property's natural unit to the power of its weight.
        A missing value is worth one half.
        """
        worth = 1.0
        for target in self.soft:
            value = values.get(target.property.name, math.nan)
            z = _natural(value, target) if math.isfinite(value) else 0.0
            worth *= (1.0 / (1.0 + math.exp(min(max(z, -50.0), 50.0)))) ** target.weight
        return worth

    def score(self, probability: float, values: Mapping[str, float]) -> float:
        """Return the score that decides the rank, higher is better: probability times soft utility."""
        return probability * self.utility(values)


def _prediction_of(target: Target, predictions: Mapping[Property, Prediction]) -> Prediction:
    try:
        return predictions[target.property]
    except KeyError:
        names = [p.name for p in predictions]
        raise UnknownNameError.among("prediction", target.property.name, names, "objective") from None


def _ones(predictions: Mapping[Property, Prediction]) -> Tensor:
    for prediction in predictions.values():
        return torch.ones_like(prediction.mean)
    raise ConfigError("objective: no predictions to judge")


def _inside(prediction: Prediction, target: Target) -> Tensor:
    """Return (M, C) probability that each smoothed sample lies within the target's bounds."""
    n = prediction.samples.shape[0]
    width = min(1.0, 1.06 * n**-0.2)
    std = prediction.std.clamp(min=1e-30)
    centre = prediction.mean + (prediction.samples - prediction.mean) * math.sqrt(1.0 - width**2)
    kernel = std * width

    def below(bound: float) -> Tensor:
        return torch.special.ndtr((bound - centre) / kernel)

    upper = below(target.upper) if math.isfinite(target.upper) else torch.ones_like(centre)
    return upper - below(target.lower) if math.isfinite(target.lower) else upper


def _hinge(prediction: Prediction, target: Target) -> Tensor:
    """Return (C,) smooth hinge of the distance to the accepted window, in standard deviations."""
    std = prediction.std.detach().clamp(min=1e-6)
    margin = MARGIN
    if math.isfinite(target.lower) and math.isfinite(target.upper):
        half = (target.upper - target.lower) / 2
        margin_of = torch.minimum(torch.full_like(std, MARGIN), half / std)
    else:
        margin_of = torch.full_like(std, margin)
    cost = torch.zeros_like(prediction.mean)
    if math.isfinite(target.lower):
        cost = cost + torch.nn.functional.softplus((target.lower - prediction.mean) / std + margin_of)
    if math.isfinite(target.upper):
        cost = cost + torch.nn.functional.softplus((prediction.mean - target.upper) / std + margin_of)
    return cost


def _natural(value: float, target: Target) -> float:
    """Return a soft target's value in its property's natural unit, lower is better."""
    unit = _unit_of(target.property)
    z = math.log(max(value, 1e-6) / unit) if target.property.is_positive else value / unit
    return z if target.minimise else -z


def _drift(mean: Tensor, target: Target) -> Tensor:
    """Return (C,) cost of a soft target: the mean in natural units (log for positive properties)."""
    unit = _unit_of(target.property)
    z = (mean.clamp(min=1e-6) / unit).log() if target.property.is_positive else mean / unit
    return z if target.minimise else -z


def _unit_of(prop: Property) -> float:
    """Return the natural unit of a property; of one that a user's table brought, its largest value."""
    if prop.name in _TYPICAL:
        return _TYPICAL[prop.name]
    return 1.0 if prop.name in PROPERTIES else prop.maximum / TABLE_RANGE
