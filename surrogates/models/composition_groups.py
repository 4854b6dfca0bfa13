"""Composition surrogates joined property by property: the last that knows one answers for it."""

from collections.abc import Sequence

from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.errors import CheckpointError
from surrogates.models.composition import CompositionEnsemble
from surrogates.physics.properties import Property, refuse_others
from surrogates.protocol import CompositionBatch, Level, Prediction, common_elements


class CompositionGroups:
    """CompositionSurrogate of one or more ensembles; read-only.

    Attributes:
        name: of the first, with what the others answer for.
        groups: G ensembles; a later one takes over the properties that it was trained for.
        properties: what the first answers, in its order.
    """

    level = Level.COMPOSITION

    def __init__(self, groups: Sequence[CompositionEnsemble]) -> None:
        self.groups = tuple(groups)
        self.elements = common_elements(self.groups)
        self.properties = self.groups[0].properties
        taken = [p.name for group in self.groups[1:] for p in group.learned]
        self.name = self.groups[0].name + "".join(f"+{name}" for name in taken)

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> dict[Property, Prediction]:
        """Return a Prediction per property; differentiable in the fractions, also of absent elements.

        Samples of one ensemble are joint; those of two are independent.

        Raises:
            UnknownNameError: a property this surrogate does not have.
            UnsupportedElementError: an element that stands in no training row.
        """
        refuse_others(properties, self.properties, self.name)
        found: dict[Property, Prediction] = {}
        left = list(properties)
        for group in reversed(self.groups):
            own = [p for p in left if group is self.groups[0] or p in group.learned]
            if own:
                found |= group.predict(compositions, own)
            left = [p for p in left if p not in own]
        return {prop: found[prop] for prop in properties}

    def to_checkpoint(self) -> Checkpoint:
        """Return the weights with all that `from_checkpoint` needs."""
        parts = [group.to_checkpoint() for group in self.groups]
        tensors = {f"{i}/{name}": t for i, part in enumerate(parts) for name, t in part.tensors.items()}
        return Checkpoint("composition_groups", {"groups": [dict(part.config) for part in parts]}, tensors)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "CompositionGroups":
        """Return the surrogate of a checkpoint.

        Raises:
            CheckpointError: config or tensors that do not fit each other.
        """
        configs = checkpoint.config.get("groups")
        if not configs:
            raise CheckpointError("composition checkpoint does not fit together: it has no groups")
        groups = []
        for i, config in enumerate(configs):
            own = {k.split("/", 1)[1]: t for k, t in checkpoint.tensors.items() if k.startswith(f"{i}/")}
            groups.append(CompositionEnsemble.from_checkpoint(Checkpoint("composition", config, own)))
        return cls(groups)
