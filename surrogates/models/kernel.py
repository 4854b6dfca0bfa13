"""A Gaussian process for tables that users bring: differentiable, knows what it does not know."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.checkpoints.strict_records import strict_record
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch
from surrogates.errors import CheckpointError, ShapeError, UnsupportedElementError
from surrogates.features.kernel_features import composition_inputs, structure_inputs
from surrogates.models.composition import N_SAMPLES, TRACE, joint_normals
from surrogates.physics.properties import PROPERTY_NAME, Property, refuse_others
from surrogates.protocol import OWN_SCALE, Z90, CompositionBatch, Level, Prediction

LEVELS = ("composition", "structure")


@dataclass(frozen=True)
class KernelSettings:
    """Hyperparameters and scales of a fit.

    Attributes:
        level: "composition" or "structure": what the inputs are made of.
        length: of the Matérn part, in units of the root mean square distance per input.
        linear: weight of the linear part.
        noise: variance of the labels, in units of their variance.
        centre: of the latent value (log where `is_log`).
        spread: of the latent value.
        is_log: whether the latent value is a logarithm.
        std_factor: calibrates the std on rows held out.
        elements: symbols that stand in at least one row.
    """

    level: str
    length: float
    linear: float
    noise: float
    centre: float
    spread: float
    is_log: bool
    std_factor: float
    elements: tuple[str, ...]


class KernelSurrogate:
    """One property of a user's table; answers compositions, and crystals at either level. Read-only.

    Attributes:
        name: with the property.
        properties: the one property.
        level: "composition" or "structure".
        scale: of every answer, whatever a batch asks for.
    """

    scale = OWN_SCALE

    def __init__(
        self,
        prop: Property,
        settings: KernelSettings,
        tensors: Mapping[str, Tensor],
        record: Mapping[str, Any],
    ) -> None:
        """Take a fit.

        Args:
            prop: what is predicted.
            settings: of the fit.
            tensors: shift (F,), stretch (F,), centres (M, F), weights (M,), factor (M, M): its
                square is the precision.
            record: of the training, JSON-able.
        """
        self.name = f"table-{prop.name}"
        self.properties = (prop,)
        self.level, self.elements = Level(settings.level), frozenset(settings.elements)
        self.settings = settings
        self.record = dict(record)
        self._tensors = {k: v.to(torch.float64) for k, v in tensors.items()}
        self._draws = joint_normals(torch.eye(1, dtype=torch.float64), N_SAMPLES)[:, 0]

    def predict(
        self, batch: CompositionBatch | CrystalBatch, properties: Sequence[Property]
    ) -> dict[Property, Prediction]:
        """Return the Prediction of the one property; differentiable in all that the batch holds.

        A scale has no meaning here: the values stand on the scale of the table.

        Raises:
            UnknownNameError: another property.
            UnsupportedElementError: an element that no row holds.
            ShapeError: compositions where structures are needed.
        """
        refuse_others(properties, self.properties, self.name)
        compositions = CompositionBatch.from_crystals(batch) if isinstance(batch, CrystalBatch) else batch
        self._refuse_unknown_elements(compositions.fractions)
        if self.level == "composition":
            inputs = composition_inputs(compositions)
        elif isinstance(batch, CrystalBatch):
            inputs = structure_inputs(batch)
        else:
            raise ShapeError(f"{self.name} needs crystals, not compositions")
        mean, variance = self.latent(inputs)
        return {prop: self._prediction(prop, mean, variance, inputs.dtype) for prop in properties}

    def latent(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised ((C,) mean, (C,) variance) of (C, F) raw inputs, float64."""
        t = {k: v.to(inputs.device) for k, v in self._tensors.items()}
        standard = (inputs.double() - t["shift"]) / t["stretch"]
        cross = kernel(standard, t["centres"], self.settings.length, self.settings.linear)
        prior = 1.0 + self.settings.linear * (standard**2).mean(dim=1)
        explained = ((cross @ t["factor"]) ** 2).sum(dim=1)
        variance = (prior - explained).clamp(min=1e-6) + self.settings.noise
        return cross @ t["weights"], variance

    def _prediction(self, prop: Property, mean: Tensor, variance: Tensor, dtype: torch.dtype) -> Prediction:
        s = self.settings
        std = variance.sqrt() * s.spread * s.std_factor
        mean = mean * s.spread + s.centre

        def natural(latent: Tensor) -> Tensor:
            return (torch.exp(latent) if s.is_log else latent).to(dtype)

        value = natural(mean)
        # more than half of the prior variance left: the table says little about this one
        in_domain = (variance - s.noise) <= 0.5
        return Prediction(
            property=prop,
            mean=value,
            std=(natural(mean) * std.to(dtype)) if s.is_log else std.to(dtype),
            lower=natural(mean - Z90 * std),
            upper=natural(mean + Z90 * std),
            samples=natural(mean + std * self._draws.to(mean)[:, None]),
            in_domain=in_domain.detach(),
        )

    def _refuse_unknown_elements(self, fractions: Tensor) -> None:
        present = (fractions.detach() > TRACE).any(dim=0).nonzero().flatten().tolist()
        unknown = [ELEMENT_SYMBOLS[z] for z in present if ELEMENT_SYMBOLS[z] not in self.settings.elements]
        if unknown:
            raise UnsupportedElementError(f"{self.name} was trained without {', '.join(unknown)}")

    def to_checkpoint(self) -> Checkpoint:
        """Return the weights with all that `from_checkpoint` needs; save them with `half=False`."""
        config = {
            "property": asdict(self.properties[0]),
            "settings": asdict(self.settings),
            "training": self.record,
        }
        return Checkpoint("table", config, {k: v.float() for k, v in self._tensors.items()})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "KernelSurrogate":
        """Return the surrogate of a checkpoint.

        Raises:
            CheckpointError: config or tensors that do not fit each other.
        """
        try:
            settings = strict_record(KernelSettings, checkpoint.config["settings"], "settings")
            tensors = {k: checkpoint.tensors[k] for k in ("shift", "stretch", "centres", "weights", "factor")}
            prop = own_property(checkpoint.config["property"])
            record = checkpoint.config.get("training", {})
            if settings.level not in LEVELS or not isinstance(record, Mapping):
                raise CheckpointError("settings.level is none, or training no mapping")
            if odd := set(settings.elements) - set(ELEMENT_SYMBOLS):
                raise CheckpointError(f"settings.elements: {sorted(odd)[0]!r} is no element")
            if min(settings.length, settings.spread, settings.std_factor) <= 0 or settings.noise < 0:
                raise CheckpointError("settings: a length, spread or factor that is not more than zero")
            return cls(prop, settings, tensors, record)
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"table checkpoint does not fit together: {error}") from None


def own_property(raw: object) -> Property:
    """Return the property that a table's manifest states.

    Raises:
        CheckpointError: not a property, or one whose name or range cannot be used.
    """
    prop = strict_record(Property, raw, "property")
    words = (prop.symbol, prop.unit, prop.level_of_theory)
    if not re.fullmatch(PROPERTY_NAME, prop.name) or not all(w.isprintable() and len(w) < 100 for w in words):
        raise CheckpointError(f"property: {prop.name!r} is no name, or a text beside it is odd")
    if not prop.minimum < prop.maximum:
        raise CheckpointError(f"property: a range of {prop.minimum:g} to {prop.maximum:g}")
    return prop


def kernel(a: Tensor, b: Tensor, length: float, linear: float) -> Tensor:
    """Return the (A, B) Matérn-5/2 plus linear kernel of standardised inputs."""
    squared = ((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T).clamp(min=1e-12) / a.shape[1]
    scaled = math.sqrt(5.0) * squared.sqrt() / length
    return (1 + scaled + scaled**2 / 3) * torch.exp(-scaled) + linear * (a @ b.T) / a.shape[1]
