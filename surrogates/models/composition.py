"""An ensemble of attention networks on formulas, calibrated; differentiable in the fractions."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.checkpoints.strict_records import strict_record
from surrogates.crystals.batch import ELEMENT_SYMBOLS, SCALES
from surrogates.crystals.periodic_table import ATOMIC_MASSES
from surrogates.derived import FROM_MODULI, from_moduli
from surrogates.errors import CheckpointError, UnsupportedElementError
from surrogates.models.composition_network import CompositionNetwork
from surrogates.physics.properties import (
    BULK_MODULUS,
    DENSITY,
    SHEAR_MODULUS,
    VOLUME,
    Property,
    refuse_others,
)
from surrogates.physics.units import G_PER_CM3_PER_AMU_PER_A3
from surrogates.protocol import Z90, CompositionBatch, Level, Prediction

N_SAMPLES = 64
"""Joint draws of each prediction."""

TRACE = 1e-3
"""Atomic fraction below which an element is not held against a composition."""

GAP_SOFTNESS = 0.02
"""Width, in the property's unit, over which a property that cannot be negative bends to zero."""

SOURCE_OF_SCALE: Mapping[str, str] = {
    "mp_pbe": "mp",
    "aflow_pbe": "aflow",
    "jarvis_optb88": "jarvis",
    "alex_eos": "alex_eos",
    "potential_7net0": "mp",
}
"""Table that a scale is learned from, where the property is known there; else the first table."""


@dataclass(frozen=True)
class CompositionCalibration:
    """What turns network outputs into honest natural values; one entry per property (P) and table (S).

    Attributes:
        centre: of the latent value (log where positive).
        spread: of the latent value.
        is_log: whether the latent value is a logarithm.
        std_factor: (S, P) calibrates the latent std: 90 % of held-out values inside the 90 % interval.
        std_limit: (S, P) latent std beyond which a prediction is out of domain.
        correlation: (P, P) of held-out residuals, row by row.
    """

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    is_log: tuple[bool, ...]
    std_factor: tuple[tuple[float, ...], ...]
    std_limit: tuple[tuple[float, ...], ...]
    correlation: tuple[tuple[float, ...], ...]


class CompositionEnsemble:
    """CompositionSurrogate made of a few networks; read-only.

    Attributes:
        name: with the number of members.
        properties: what it answers: the learned ones, and what follows from them.
        learned: the outputs of the networks.
    """

    level = Level.COMPOSITION

    def __init__(
        self,
        networks: Sequence[CompositionNetwork],
        properties: Sequence[Property],
        sources: Sequence[str],
        calibration: CompositionCalibration,
        counts: Tensor,
        config: Mapping[str, Any],
    ) -> None:
        """Take trained networks.

        Args:
            networks: members.
            properties: P, in the order of the outputs.
            sources: S tables, in the order of the source embedding.
            calibration: of the ensemble.
            counts: (S, P, Z) training rows with each element; unknown combinations are zero.
            config: the rest of the checkpoint: architecture and training record.
        """
        self.name = f"composition-attention-x{len(networks)}"
        self.learned = tuple(properties)
        self.properties = (*self.learned, *_derived_from(self.learned))
        self.sources = tuple(sources)
        self.calibration = calibration
        self.config = dict(config)
        self._counts = counts
        seen = (counts.sum(dim=(0, 1)) > 0).tolist()
        self.elements = frozenset(s for s, is_seen in zip(ELEMENT_SYMBOLS, seen, strict=True) if is_seen)
        self._networks = {
            (torch.device("cpu"), torch.float32): [n.eval().requires_grad_(False) for n in networks]
        }
        correlation = torch.tensor(calibration.correlation, dtype=torch.float64)
        self._draws = joint_normals(correlation, N_SAMPLES)

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> dict[Property, Prediction]:
        """Return a Prediction per property; differentiable in the fractions, also of absent elements.

        Deterministic. A scale on which a property was never seen is answered on the Materials Project scale.

        Raises:
            UnknownNameError: a property this surrogate does not have.
            UnsupportedElementError: an element that stands in no training row.
        """
        refuse_others(properties, self.properties, self.name)
        self._refuse_unknown_elements(compositions.fractions)
        latent: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        result: dict[Property, Prediction] = {}
        for prop in self._needed(properties):
            column = self.learned.index(prop)
            table = tuple(self._source_of_scale(column))
            source = torch.tensor(table, device=compositions.scale.device)[compositions.scale]
            key = tuple(source.tolist())
            if key not in latent:
                latent[key] = self._latent(compositions.fractions, source)
            mean, std = latent[key]
            limit = std.new_tensor(self.calibration.std_limit)[source, column]
            in_domain = self._is_known(compositions.fractions, source, column) & (std[:, column] <= limit)
            result[prop] = self._prediction(prop, mean[:, column], std[:, column], in_domain)
        for prop in properties:
            if prop in FROM_MODULI:
                result[prop] = from_moduli(prop, result[BULK_MODULUS], result[SHEAR_MODULUS])
            elif prop == DENSITY:
                result[prop] = _density(result[VOLUME], compositions.fractions)
        return {prop: result[prop] for prop in properties}

    def _needed(self, properties: Sequence[Property]) -> list[Property]:
        """Return the learned properties behind the wanted ones."""
        wanted = set(properties)
        if wanted & set(FROM_MODULI):
            wanted |= {BULK_MODULUS, SHEAR_MODULUS}
        if DENSITY in wanted:
            wanted.add(VOLUME)
        return [p for p in self.learned if p in wanted]

    def _source_of_scale(self, column: int) -> list[int]:
        """Return the source index of each scale for one property."""
        indices = []
        for scale in SCALES:
            source = self.sources.index(SOURCE_OF_SCALE.get(scale, "mp")) if len(self.sources) > 1 else 0
            indices.append(source if self._counts[source, column].sum() > 0 else 0)
        return indices

    def _members(self, like: Tensor) -> list[CompositionNetwork]:
        key = (like.device, like.dtype)
        if key not in self._networks:
            first = next(iter(self._networks.values()))
            self._networks[key] = [copy.deepcopy(n).to(device=like.device, dtype=like.dtype) for n in first]
        return self._networks[key]

    def _latent(self, fractions: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return (C, P) mean and calibrated std in latent space."""
        outputs = [network(fractions, source) for network in self._members(fractions)]
        means = torch.stack([mean for mean, _ in outputs])
        # a Laplace distribution of scale b has the variance 2 b²
        variance = torch.stack([2 * torch.exp(2 * scale) for _, scale in outputs]).mean(dim=0)
        variance = variance + means.var(dim=0, unbiased=False)
        spread = fractions.new_tensor(self.calibration.spread)
        mean = means.mean(dim=0) * spread + fractions.new_tensor(self.calibration.centre)
        return mean, variance.sqrt() * spread * fractions.new_tensor(self.calibration.std_factor)[source]

    def _prediction(self, prop: Property, mean: Tensor, std: Tensor, in_domain: Tensor) -> Prediction:
        column = self.learned.index(prop)
        draws = self._draws[:, column].to(mean)

        def natural(latent: Tensor) -> Tensor:
            if self.calibration.is_log[column]:
                return torch.exp(latent)
            if prop.minimum == 0:
                return GAP_SOFTNESS * torch.nn.functional.softplus(latent / GAP_SOFTNESS)
            return latent

        value = natural(mean)
        return Prediction(
            property=prop,
            mean=value,
            std=value * std if self.calibration.is_log[column] else std,
            lower=natural(mean - Z90 * std),
            upper=natural(mean + Z90 * std),
            samples=natural(mean + std * draws[:, None]),
            in_domain=in_domain.detach(),
        )

    def _is_known(self, fractions: Tensor, source: Tensor, column: int) -> Tensor:
        """Return (C,) bool: every element was seen with this property on this scale."""
        seen = (self._counts[:, column] >= 5).to(fractions.device)[source]
        return ~((fractions.detach() > TRACE) & ~seen).any(dim=1)

    def _refuse_unknown_elements(self, fractions: Tensor) -> None:
        never = (self._counts.sum(dim=(0, 1)) == 0).to(fractions.device)
        asked = (fractions.detach() > TRACE).any(dim=0) & never
        if bool(asked.any()):
            names = ", ".join(ELEMENT_SYMBOLS[z] for z in asked.nonzero().flatten().tolist())
            raise UnsupportedElementError(f"{self.name} was trained without {names}")

    def to_checkpoint(self) -> Checkpoint:
        """Return the weights with all that `from_checkpoint` needs."""
        networks = self._networks[(torch.device("cpu"), torch.float32)]
        tensors = {f"{i}.{k}": v for i, n in enumerate(networks) for k, v in n.state_dict().items()}
        tensors["counts"] = self._counts.to(torch.int32)
        config = {
            **self.config,
            "members": len(networks),
            "properties": [asdict(p) for p in self.learned],
            "sources": list(self.sources),
            "calibration": asdict(self.calibration),
        }
        return Checkpoint("composition", config, tensors)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "CompositionEnsemble":
        """Return the surrogate of a checkpoint.

        Raises:
            CheckpointError: config or tensors that do not fit each other.
        """
        config, tensors = dict(checkpoint.config), checkpoint.tensors
        try:
            properties = [strict_record(Property, p, "property") for p in config.pop("properties")]
            sources = config.pop("sources")
            calibration = strict_record(CompositionCalibration, config.pop("calibration"), "calibration")
            networks = []
            for i in range(config.pop("members")):
                state = {k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{i}.")}
                network = CompositionNetwork(
                    state["table"], len(properties), len(sources), **config["architecture"]
                )
                network.load_state_dict(state)
                networks.append(network)
            return cls(networks, properties, sources, calibration, tensors["counts"], config)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"composition checkpoint does not fit together: {str(error).splitlines()[0]}"
            ) from None


def _derived_from(learned: Sequence[Property]) -> tuple[Property, ...]:
    """Return the properties that follow from the learned ones."""
    moduli = tuple(FROM_MODULI) if {BULK_MODULUS, SHEAR_MODULUS} <= set(learned) else ()
    return (*moduli, DENSITY) if VOLUME in learned else moduli


def _density(volume: Prediction, fractions: Tensor) -> Prediction:
    """Return the density from the volume per atom; differentiable in the fractions."""
    mass = fractions @ fractions.new_tensor(ATOMIC_MASSES) * G_PER_CM3_PER_AMU_PER_A3
    mean = mass / volume.mean
    return Prediction(
        property=DENSITY,
        mean=mean,
        std=mean * volume.std / volume.mean,
        lower=mass / volume.upper,
        upper=mass / volume.lower,
        samples=mass / volume.samples,
        in_domain=volume.in_domain,
    )


def joint_normals(correlation: Tensor, n: int) -> Tensor:
    """Return (n, P) standard normals with exactly this correlation, mean 0 and variance 1.

    The same numbers every time: all crystals and properties share the draw index.
    """
    generator = torch.Generator().manual_seed(20_211)
    draws = torch.randn(n // 2, correlation.shape[0], generator=generator, dtype=torch.float64)
    draws = torch.cat([draws, -draws])
    whitening = torch.linalg.inv(torch.linalg.cholesky(draws.T @ draws / n))
    factor = torch.linalg.cholesky(correlation + 1e-6 * torch.eye(correlation.shape[0], dtype=torch.float64))
    return draws @ whitening.T @ factor.T / math.sqrt(1 + 1e-6)
