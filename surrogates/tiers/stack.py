"""The accurate tier: model families stacked; re-scores candidates before a verification is spent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint, load_surrogate, packaged_folder, weights_digest
from surrogates.errors import CheckpointError
from surrogates.features.descriptors import crystal_descriptors
from surrogates.features.graph import CrystalGraph
from surrogates.models.trees import Trees
from surrogates.physics.properties import PROPERTIES, Property
from surrogates.tiers.calibration import Calibration
from surrogates.tiers.ensemble import MemberGroup, StructureSurrogate, group_from_record, group_to_record


@dataclass(frozen=True)
class StackGroup:
    """Families of networks and boosted trees for the same properties; their weighted mean is the prediction.

    Member k is the weighted mean of the k-th member of each family and the trees. Differentiable through the
    networks; the trees are piecewise constant and add nothing to gradients.

    Attributes:
        properties: (T,).
        families: F groups of networks, all for these properties.
        trees: (T,) for values as the networks give them.
        weights: (T, F + 1) not negative, trees last.
        offsets: (T,) added to the weighted sum.
        calibrations: (T,).
    """

    properties: tuple[Property, ...]
    families: tuple[MemberGroup, ...]
    trees: tuple[Trees, ...]
    weights: Tensor
    offsets: Tensor
    calibrations: tuple[Calibration, ...]

    def outputs(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Return values (K, C, T) of the K members and log-widths (K, C, T), before calibration."""
        descriptors = crystal_descriptors(graph)
        grown = torch.stack([trees.predict(descriptors) for trees in self.trees], dim=1)
        found = [family.outputs(graph) for family in self.families]
        n_members = max(len(values) for values, _ in found)
        members = [[part[torch.arange(n_members) % len(part)] for part in pair] for pair in found]
        values = [values for values, _ in members] + [grown.expand_as(members[0][0])]
        widths = [widths for _, widths in members]
        return stacked(torch.stack(values), torch.stack(widths), self.weights, self.offsets)

    def first(self, n_members: int) -> "StackGroup":
        """Return the same stack with the first members of each family only."""
        return replace(self, families=tuple(family.first(n_members) for family in self.families))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "StackGroup":
        """Return the stack with its networks moved in place to a device or dtype, the trees to the device."""
        families = tuple(family.to(device, dtype) for family in self.families)
        return replace(self, families=families, trees=tuple(trees.to(device) for trees in self.trees))


def stacked(values: Tensor, widths: Tensor, weights: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted sum and its log-width, both (..., T).

    The width joins what the networks expect (weighted mean of their log-widths) with how far the families
    are apart.

    Args:
        values: (F + 1, ..., T) of the families, trees last.
        widths: (F, ..., T) log-widths of the networks.
        weights: (T, F + 1).
        offsets: (T,).
    """
    share = weights.to(values).T.reshape(len(values), *[1] * (values.ndim - 2), -1)
    total = (share * values).sum(dim=0) + offsets.to(values)
    even = share / share.sum(dim=0)
    apart = (even * (values - (even * values).sum(dim=0)).square()).sum(dim=0)
    networks = share[:-1] / share[:-1].sum(dim=0).clamp(min=1e-6)
    width = (networks * widths).sum(dim=0)
    return total, 0.5 * torch.log(torch.exp(2.0 * width) + apart)


class AccurateSurrogate(StructureSurrogate):
    """The fast tier with K and G by a stack; energies, domain and everything else are the fast tier's.

    Differentiable where the fast tier is; gradients do not see the trees.
    """

    def __init__(
        self,
        base: StructureSurrogate,
        stack: StackGroup,
        correlation: Tensor,
        record: Mapping[str, Any],
        base_name: str = "structure",
    ) -> None:
        """Put a stack in the place of a fast tier's groups for the same properties.

        Args:
            base: the fast tier.
            stack: its first family is the fast tier's.
            correlation: (T, T) of the residuals of the stack's properties.
            record: errors out of fold, for people.
            base_name: packaged name or folder of the fast tier's weights, which are not written again.
        """
        others = [group for group in base.groups if not set(group.properties) & set(stack.properties)]
        n_others = sum(len(group.properties) for group in others)
        joint = torch.block_diag(correlation, torch.eye(n_others))
        super().__init__([stack, *others], base.domain, joint, base.reach, "accurate", record)
        self.stack, self.base, self._correlation = stack, base_name, correlation

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "AccurateSurrogate":
        """Return the surrogate of a checkpoint of kind 'stack'; its fast tier is read by name.

        Raises:
            CheckpointError: tensors do not fit, or the fast tier is not the one it was fitted with.
        """
        config, tensors = checkpoint.config, checkpoint.tensors
        try:
            is_packaged = packaged_folder(str(config["base"])).parent.samefile(packaged_folder(""))
            if not is_packaged and not Path(config["base"]).is_absolute():
                raise CheckpointError(
                    f"its fast tier {config['base']!r} is none of this program, nor a whole path"
                )
            if config["base_digest"] != weights_digest(config["base"]):
                raise CheckpointError(
                    f"the accurate tier was fitted with other weights of {config['base']!r}; "
                    "fit it again: inverse train experiments/training/accurate.yaml"
                )
            base = load_surrogate(config["base"])
            properties = tuple(PROPERTIES[name] for name in config["properties"])
            first = next(group for group in base.groups if set(group.properties) == set(properties))
            others = [group_from_record(record, tensors) for record in config["families"]]
            stack = StackGroup(
                properties=properties,
                families=(first, *others),
                trees=tuple(Trees.from_tensors(tensors, f"trees.{p.name}") for p in properties),
                weights=torch.tensor(config["weights"]),
                offsets=torch.tensor(config["offsets"]),
                calibrations=tuple(Calibration.from_json(c) for c in config["calibrations"]),
            )
            correlation = torch.tensor(config["correlation"])
            return cls(base, stack, correlation, config["record"], config["base"])
        except (KeyError, TypeError, ValueError, RuntimeError, StopIteration) as error:
            raise CheckpointError(f"stack checkpoint does not fit this program: {error!r}") from None

    def to_checkpoint(self) -> Checkpoint:
        """Return the checkpoint that `from_checkpoint` reads."""
        families: list[dict[str, Any]] = []
        tensors: dict[str, Tensor] = {}
        for f, family in enumerate(self.stack.families[1:], start=1):
            entry, named = group_to_record(family, f)
            families.append(entry)
            tensors |= named
        for prop, trees in zip(self.stack.properties, self.stack.trees, strict=True):
            tensors |= trees.to_tensors(f"trees.{prop.name}")
        config = {
            "base": self.base,
            "base_digest": weights_digest(self.base),
            "properties": [p.name for p in self.stack.properties],
            "families": families,
            "weights": self.stack.weights.tolist(),
            "offsets": self.stack.offsets.tolist(),
            "calibrations": [c.to_json() for c in self.stack.calibrations],
            "correlation": self._correlation.tolist(),
            "record": self.record,
        }
        return Checkpoint("stack", config, tensors)
