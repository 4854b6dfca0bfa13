"""StructureSurrogate: members -> calibrated mean, error bar, interval and joint samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.checkpoints.strict_records import strict_record
from surrogates.crystals.batch import CrystalBatch
from surrogates.derived import derived_predictions, following, within_range
from surrogates.errors import CheckpointError
from surrogates.features.graph import CrystalGraph
from surrogates.models.invariant import InvariantConfig, InvariantNetwork
from surrogates.physics.properties import PROPERTIES, Property, refuse_others
from surrogates.protocol import Z90, Level, Prediction
from surrogates.tiers.batching import joined, shares
from surrogates.tiers.calibration import Calibration, joint_uniforms
from surrogates.tiers.domain import Domain

N_SAMPLES = 80
"""Joint draws of a prediction."""

LN10 = 2.302585092994046

LEAST_HELD = 0.1
"""Share of its error bar that a value at the end of its physical range keeps, however far beyond it lies."""


@dataclass(frozen=True)
class MemberGroup:
    """Networks of one architecture that predict the same properties; their mean is the prediction.

    Attributes:
        properties: (T,) columns of the networks.
        networks: the members.
        shifts: one (T,) per member; output x spread + shift is the value (log10 for positive properties).
        spreads: one (T,) per member.
        calibrations: (T,).
    """

    properties: tuple[Property, ...]
    networks: tuple[InvariantNetwork, ...]
    shifts: tuple[Tensor, ...]
    spreads: tuple[Tensor, ...]
    calibrations: tuple[Calibration, ...]

    def outputs(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Return values (K, C, T) of the K members and log-widths (K, C, T), before calibration."""
        n = len(self.properties)
        values, widths = [], []
        for network, shift, spread in zip(self.networks, self.shifts, self.spreads, strict=True):
            out = network(graph)
            values.append(out[:, :n] * spread.to(out) + shift.to(out))
            widths.append(out[:, n:].clamp(-6, 3) + spread.to(out).log())
        return torch.stack(values), torch.stack(widths)

    def first(self, n_members: int) -> "MemberGroup":
        """Return the group of the first members only."""
        return replace(
            self,
            networks=self.networks[:n_members],
            shifts=self.shifts[:n_members],
            spreads=self.spreads[:n_members],
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "MemberGroup":
        """Move every member in place to a device or dtype; returns self."""
        for network in self.networks:
            network.to(device=device, dtype=dtype)
        return self


class Group(Protocol):
    """What a StructureSurrogate joins: members that predict the same properties from a graph."""

    @property
    def properties(self) -> tuple[Property, ...]:
        """(T,) what is predicted."""
        ...

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """(T,) of the mean over members."""
        ...

    def outputs(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Return values and log-widths (K, C, T) of the members."""
        ...

    def first(self, n_members: int) -> "Group":
        """Return the group of the first members only."""
        ...

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Group":
        """Return the group on a device, in a dtype."""
        ...


class StructureSurrogate:
    """The packaged differentiable surrogate of crystals; see `surrogates.protocol.Surrogate`."""

    level = Level.STRUCTURE

    def __init__(
        self,
        groups: Sequence[Group],
        domain: Domain,
        correlation: Tensor,
        reach: float,
        name: str = "structure",
        record: Mapping[str, Any] | None = None,
    ) -> None:
        """Join groups; `correlation` (T, T) is that of the residuals of all their properties in turn."""
        self.name = name
        self.groups: tuple[Group, ...] = tuple(groups)
        self.domain = domain
        self.correlation = correlation
        self.reach = reach
        self.elements = domain.elements
        self.record = dict(record or {})
        self.learned = tuple(p for group in self.groups for p in group.properties)
        self.properties = self.learned + following(self.learned)
        self._levels = joint_uniforms(N_SAMPLES, correlation)

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property] | None = None
    ) -> Mapping[Property, Prediction]:
        """Return a Prediction per property (all by default); see the protocol.

        Differentiable in lattice, frac_coords and occupancy. The mean of a positive property is its median.
        Large batches go through in shares, so that memory is bounded where no gradient is asked for.

        Raises:
            UnknownNameError: a property this surrogate does not have.
            UnsupportedElementError: an element in no training row.
        """
        wanted = tuple(self.properties if properties is None else properties)
        refuse_others(wanted, self.properties, "the structure surrogate")
        self.domain.check(crystals.occupancy)
        return joined([self._predict_share(share, wanted) for share in shares(crystals, self.reach)])

    def _predict_share(
        self, crystals: CrystalBatch, wanted: Sequence[Property]
    ) -> dict[Property, Prediction]:
        """Return the predictions of crystals few enough to go through a network together."""
        needed = set(wanted).union(*(p.learned_inputs for p in wanted))
        learned: dict[Property, Prediction] = {}
        if needed & set(self.learned):
            graph = CrystalGraph.from_crystals(crystals, self.reach)
            covered = self.domain.covers(graph)
            for group in self.groups:
                if needed & set(group.properties):
                    learned |= self._predict_group(group, graph, covered)
        others = [p for p in wanted if p not in learned]
        derived = derived_predictions(crystals, learned, others, N_SAMPLES)
        return {prop: derived[prop] if prop in derived else learned[prop] for prop in wanted}

    @property
    def widening(self) -> Mapping[Property, float]:
        """How much the error bar of each modulus grows per eV/atom above the hull."""
        pairs = (
            (p, c) for group in self.groups for p, c in zip(group.properties, group.calibrations, strict=True)
        )
        return {prop: calibration.widening for prop, calibration in pairs if prop.is_positive}

    def fast(self, n_members: int = 1) -> "StructureSurrogate":
        """Return the same surrogate with the first members only: cheaper gradients for inner loops."""
        groups = [group.first(n_members) for group in self.groups]
        return StructureSurrogate(
            groups, self.domain, self.correlation, self.reach, f"{self.name}-fast", self.record
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> "StructureSurrogate":
        """Move every member in place to a device or dtype; returns self."""
        self.groups = tuple(group.to(device, dtype) for group in self.groups)
        return self

    def _predict_group(
        self, group: Group, graph: CrystalGraph, covered: Tensor
    ) -> dict[Property, Prediction]:
        values, widths = group.outputs(graph)
        found: dict[Property, Prediction] = {}
        for t, (prop, calibration) in enumerate(zip(group.properties, group.calibrations, strict=True)):
            levels = self._levels[:, self.learned.index(prop)].to(values)
            found[prop] = calibrated_prediction(
                prop, values[:, :, t], widths[:, :, t], calibration, levels, covered
            )
        return found

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "StructureSurrogate":
        """Return the surrogate of a checkpoint of kind 'structure'.

        Raises:
            CheckpointError: tensors are missing or do not fit the config.
        """
        config = checkpoint.config
        try:
            groups = [group_from_record(record, checkpoint.tensors) for record in config["groups"]]
            domain = Domain.from_json(config["domain"])
            correlation = torch.tensor(config["correlation"])
            return cls(groups, domain, correlation, config["reach"], config["name"], config.get("record"))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"structure checkpoint does not fit this program: {error}") from None

    def to_checkpoint(self) -> Checkpoint:
        """Return the checkpoint that `from_checkpoint` reads."""
        tensors: dict[str, Tensor] = {}
        records = []
        for g, group in enumerate(self.groups):
            if not isinstance(group, MemberGroup):
                raise CheckpointError(
                    f"{self.name}: a group that is no group of networks has its own checkpoint"
                )
            record, named = group_to_record(group, g)
            records.append(record)
            tensors |= named
        config = {
            "name": self.name,
            "reach": self.reach,
            "groups": records,
            "domain": asdict(self.domain),
            "correlation": self.correlation.tolist(),
            "record": self.record,
        }
        return Checkpoint("structure", config, tensors)


def group_to_record(group: MemberGroup, index: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the JSON-able record and the tensors, named `index.member.parameter`, of a group."""
    record = {
        "index": index,
        "properties": [p.name for p in group.properties],
        "network": asdict(group.networks[0].config),
        "shifts": [s.tolist() for s in group.shifts],
        "spreads": [s.tolist() for s in group.spreads],
        "calibrations": [c.to_json() for c in group.calibrations],
    }
    tensors = {
        f"{index}.{k}.{name}": p.detach()
        for k, network in enumerate(group.networks)
        for name, p in network.named_parameters()
    }
    return record, tensors


def group_from_record(record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MemberGroup:
    """Return the group that `group_to_record` wrote."""
    shape = strict_record(InvariantConfig, record["network"], "network")
    networks = []
    for k in range(len(record["shifts"])):
        prefix = f"{record['index']}.{k}."
        network = InvariantNetwork(shape)
        network.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
        networks.append(network.eval().requires_grad_(False))
    return MemberGroup(
        properties=tuple(PROPERTIES[name] for name in record["properties"]),
        networks=tuple(networks),
        shifts=tuple(torch.tensor(s) for s in record["shifts"]),
        spreads=tuple(torch.tensor(s) for s in record["spreads"]),
        calibrations=tuple(Calibration.from_json(c) for c in record["calibrations"]),
    )


def calibrated_prediction(
    prop: Property, values: Tensor, widths: Tensor, calibration: Calibration, levels: Tensor, covered: Tensor
) -> Prediction:
    """Return the prediction of one property from member values and log-widths (K, C).

    One that is not positive stays within its physical range, and its error bar is that of what lies there, at
    least LEAST_HELD of the whole.
    """
    mean, std, spread = calibration.of_members(values, widths)
    deviation = values - mean
    noise = (std.square() - spread.square()).clamp(min=0).add(1e-12).sqrt()
    member = torch.arange(len(levels), device=values.device) % values.shape[0]
    # the two mirrored halves use the same member deviations with opposite sign
    sign = torch.where(torch.arange(len(levels), device=values.device) < len(levels) // 2, 1.0, -1.0)
    member = torch.cat([member[: len(levels) // 2]] * 2)
    draws = mean + sign.unsqueeze(1) * deviation[member] + calibration.noise(levels).unsqueeze(1) * noise
    lower, upper = mean - Z90 * std, mean + Z90 * std
    usual = calibration.std(widths.mean(dim=0), mean).detach()
    apart = spread.detach() if prop.is_positive else _spread_within(prop, values.detach())
    in_domain = covered & (apart <= calibration.largest_disagreement * usual)
    if not prop.is_positive:
        middle, low, high, held = (within_range(prop, v) for v in (mean, lower, upper, draws))
        is_cut = (low != lower) | (high != upper)
        inside = torch.maximum((high - low) / (2.0 * Z90), LEAST_HELD * std)
        return Prediction(prop, middle, torch.where(is_cut, inside, std), low, high, held, in_domain)
    natural = torch.pow(10.0, mean)
    return Prediction(
        property=prop,
        mean=natural,
        std=natural * LN10 * std,
        lower=torch.pow(10.0, lower),
        upper=torch.pow(10.0, upper),
        samples=torch.pow(10.0, draws),
        in_domain=in_domain,
    )


def _spread_within(prop: Property, values: Tensor) -> Tensor:
    """Return how far members (K, C) are apart within the physical range, (C,)."""
    held = values.clamp(prop.minimum, prop.maximum)
    return (held - held.mean(dim=0)).square().mean(dim=0).sqrt()
