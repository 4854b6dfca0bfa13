"""What proposers search with: the campaign's wishes, its models and the shape of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from pymatgen.core import Composition, Structure
from torch import Tensor

from inverse.candidates.objective import Objective
from inverse.candidates.types import Breach
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.constraints import Constraints
from inverse.prediction.evaluation import Evaluator, Predictions
from inverse.prediction.worth import worth
from inverse.proposers.distinct import Offered
from inverse.reference.construction import Complete
from inverse.reference.familiarity import searched_prototypes
from inverse.reference.structure_types import Prototype
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.physics.properties import PROPERTIES
from surrogates.protocol import CompositionSurrogate


class Decodes(Protocol):
    """The part of a decoder that proposers use (`inverse.decoders.protocol.Decoder`)."""

    name: str
    latent_size: int

    def decode(self, latent: Tensor, condition: Any) -> SymmetricCrystals:
        """Return one crystal per row of the latent."""
        ...

    def sample(self, n: int, condition: Any, seed: int) -> SymmetricCrystals:
        """Return n checked crystals."""
        ...

    def complete(self, skeletons: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        """Return skeletons with lattices and free coordinates."""
        ...

    def log_likelihood(self, crystals: SymmetricCrystals, condition: Any = None) -> Tensor:
        """Return (C,) nats per atom."""
        ...


@dataclass(frozen=True)
class SearchSpace:
    """Everything a proposer may ask.

    Attributes:
        config: of the campaign.
        objective: what is wanted.
        constraints: the config's.
        base: the surrogate as shipped; what is computed once rests on it alone, so a resumed run agrees.
        corrected: with this campaign's verdicts.
        compositions: composition-level surrogate; None when there is none.
        decoder: None when there is none.
        condition: keyword arguments of a decoder's condition -> the condition.
        composition_reason: composition -> the rule of the config that it breaks, None without.
        screening: structure -> the rule that puts it out, None without.
        is_known_formula: reduced formula -> stands in a carried table.
        is_new: structure -> class new, as far as it can be told before relaxation.
        seeds: (name, ordered primitive cell) of the crystals that the user starts from.
        remarks: name of a seed -> what the reader of its file had to say of it.
        offered: the crystals that the campaign was offered, which sources tell it and none offers again.
    """

    config: CampaignConfig
    objective: Objective
    constraints: Constraints
    base: Evaluator
    corrected: Evaluator
    compositions: CompositionSurrogate | None
    decoder: Decodes | None
    condition: Callable[..., Any]
    composition_reason: Callable[[Composition], Breach | None]
    screening: Callable[[Structure], Breach | None]
    is_known_formula: Callable[[str], bool]
    is_new: Callable[[Structure], bool] = lambda structure: False
    seeds: Sequence[tuple[str, Structure]] = ()
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offered: Offered = field(default_factory=Offered)

    @cached_property
    def allowed_elements(self) -> tuple[str, ...]:
        """Allowed elements that the surrogate and the hull know, in alphabetical order."""
        return tuple(sorted(self.base.supported(sorted(self.constraints.allowed_elements()))))

    @property
    def complete(self) -> Complete | None:
        """The decoder's way to give a skeleton a lattice and coordinates; None without a decoder."""
        return None if self.decoder is None else self.decoder.complete

    def structure_types(self) -> list[Prototype]:
        """Return the structure types that a search of this config tries: known and divided ones."""
        return searched_prototypes(self.constraints.n_atoms[1], self.constraints.n_elements)

    def wanted_condition(self, **changes: Any) -> Any:
        """Return the decoder's condition for this config: wanted values a little inside the hard bounds."""
        elements = self.constraints.elements
        arguments: dict[str, Any] = {
            "targets": wanted_values(self.objective),
            "allowed_elements": frozenset(self.allowed_elements),
            "required_any": frozenset(elements.include_any) & frozenset(self.allowed_elements),
            "required_all": frozenset(elements.include_all),
            "n_elements": self.constraints.n_elements,
            "n_atoms": self.constraints.n_atoms,
        }
        return self.condition(**(arguments | changes))

    def worth_of(self, predictions: Predictions) -> np.ndarray:
        """Return (C,) the expected share of a hit."""
        met = self.objective.probability_met(predictions)
        with torch.no_grad():
            value = worth(predictions, met, self.objective.loss(predictions))
        return np.asarray(value.detach().cpu().numpy())

    def scored(self, structures: Sequence[Structure], corrected: bool = True) -> np.ndarray:
        """Return (C,) the expected share of a hit of structures."""
        if not structures:
            return np.zeros(0)
        return self.worth_of((self.corrected if corrected else self.base).predict(structures))


def wanted_values(objective: Objective) -> Mapping[str, float]:
    """Return a value to ask the decoder for, by property.

    A tenth above a lower bound, half below an upper one, the middle of a window.

    Properties of the user's own tables are left out: no decoder was trained on them.
    """
    wanted: dict[str, float] = {}
    for target in objective.deciding:
        if target.property.name not in PROPERTIES:
            continue
        low, high = target.lower, target.upper
        if np.isfinite(low) and np.isfinite(high):
            wanted[target.property.name] = 0.5 * (low + high)
        elif np.isfinite(low):
            wanted[target.property.name] = min(low + 0.1 * abs(low), target.property.maximum)
        elif np.isfinite(high):
            wanted[target.property.name] = max(high - 0.5 * abs(high), target.property.minimum)
    return wanted
