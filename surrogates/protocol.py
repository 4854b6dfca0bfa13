"""What every surrogate promises: `predict`, differentiable, in natural units, with joint samples."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import torch
from pymatgen.core import Composition
from torch import Tensor

from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch
from surrogates.errors import ShapeError
from surrogates.physics.properties import Property

Z90 = 1.6448536269514722
"""Half-width of a 90 % interval of a normal distribution, in standard deviations."""


OWN_SCALE = "own_table"
"""Scale of what was learned from a user's table: whatever its values stand on."""

FARTHEST = 0.5
"""eV/atom above the hull beyond which error bars grow no more: no crystal was seen there."""


def far_from_hull(widening: float, above: Tensor) -> Tensor:
    """Return factors (C,) on the error bars of crystals `above` (C,) eV/atom the hull of known phases.

    Crystals of training lie near it; how wrong a surrogate is grows with the distance, by `widening` per
    eV/atom. An unknown distance (NaN) counts as the farthest. Applied by whoever knows the hull.
    """
    return 1.0 + widening * torch.nan_to_num(above, nan=FARTHEST).clamp(0.0, FARTHEST)


def scale_of(surrogate: object, asked: str) -> str:
    """Return the scale on which a surrogate answers: the one asked for, unless it has one of its own."""
    own: str = getattr(surrogate, "scale", asked)
    return own


def widening_of(surrogate: object) -> Mapping[Property, float]:
    """Return the widenings that a surrogate states in its attribute `widening`; most state none.

    By property: those that depend on the geometry, 0 where the hull says nothing. Whoever wraps a surrogate
    hands them on.
    """
    found: Mapping[Property, float] = getattr(surrogate, "widening", {})
    return found


class Level(StrEnum):
    """What a surrogate looks at."""

    STRUCTURE = "structure"
    COMPOSITION = "composition"


def common_elements(surrogates: Iterable["Surrogate | CompositionSurrogate"]) -> frozenset[str]:
    """Return the elements that every one of several surrogates answers for; at least one surrogate."""
    return frozenset.intersection(*(surrogate.elements for surrogate in surrogates))


@dataclass(frozen=True)
class Prediction:
    """Values of one property for C crystals, natural units.

    Attributes:
        property: what was predicted.
        mean: (C,).
        std: (C,) calibrated, total (model and noise).
        lower: (C,) lower end of the 90 % interval.
        upper: (C,) upper end of the 90 % interval.
        samples: (M, C) joint draws; the member index is shared by all properties of one `predict` call.
        in_domain: (C,) bool; False says distrust.
    """

    property: Property
    mean: Tensor
    std: Tensor
    lower: Tensor
    upper: Tensor
    samples: Tensor
    in_domain: Tensor

    def __post_init__(self) -> None:
        """Raise ShapeError when the fields do not describe the same C crystals."""
        for name in ("std", "lower", "upper", "in_domain"):
            if getattr(self, name).shape != self.mean.shape:
                raise ShapeError(f"Prediction.{name} does not have the shape of the mean")
        if self.samples.ndim != 2 or self.samples.shape[1:] != self.mean.shape:
            raise ShapeError(
                f"Prediction.samples is {tuple(self.samples.shape)}, not (M, {self.mean.shape[0]})"
            )


@dataclass(frozen=True)
class CompositionBatch:
    """C compositions without structure.

    Attributes:
        fractions: (C, Z) atomic fractions, rows sum to 1.
        scale: (C,) long, index into SCALES.
    """

    fractions: Tensor
    scale: Tensor

    def __post_init__(self) -> None:
        """Raise ShapeError unless fractions is (C, Z) and scale (C,)."""
        if self.fractions.ndim != 2 or self.fractions.shape[1] != N_ELEMENTS:
            raise ShapeError(f"fractions is {tuple(self.fractions.shape)}, not (C, {N_ELEMENTS})")
        if self.scale.shape != self.fractions.shape[:1]:
            raise ShapeError(f"scale is {tuple(self.scale.shape)}, not ({self.fractions.shape[0]},)")

    @classmethod
    def from_crystals(cls, crystals: CrystalBatch) -> "CompositionBatch":
        """Return the compositions of crystals; differentiable in their occupancy."""
        return cls(crystals.composition, crystals.scale)

    @classmethod
    def from_formulas(cls, formulas: Sequence[str], scale: int = 0) -> "CompositionBatch":
        """Return the compositions of formulas as people type them.

        Raises:
            FormulaError: a formula that cannot be read, or in two ways; see `composition_of`.
            UnsupportedElementError: an element beyond Lr, or an isotope.
        """
        from surrogates.crystals.typed_formulas import composition_of

        return cls.from_compositions([composition_of(formula) for formula in formulas], scale)

    @classmethod
    def from_compositions(cls, compositions: Sequence[Composition], scale: int = 0) -> "CompositionBatch":
        """Return compositions that need no reading: of crystals, of tables that pymatgen wrote.

        Raises:
            UnsupportedElementError: an element beyond Lr.
        """
        from surrogates.physics.periodic_table import element_index

        fractions = torch.zeros(len(compositions), N_ELEMENTS)
        for row, composition in enumerate(compositions):
            for symbol, amount in composition.fractional_composition.get_el_amt_dict().items():
                fractions[row, element_index(symbol)] = amount
        return cls(fractions, torch.full((len(compositions),), scale, dtype=torch.long))


@runtime_checkable
class Surrogate(Protocol):
    """Structure -> property.

    Attributes:
        name: of the weights.
        properties: what it predicts.
        level: what it looks at; one of compositions may take crystals too.
        elements: symbols of those that it answers for; others raise UnsupportedElementError.
    """

    name: str
    properties: tuple[Property, ...]

    @property
    def level(self) -> Level:
        """See above."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """See above."""
        ...

    def predict(
        self, crystals: CrystalBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return a Prediction per property; differentiable in lattice, frac_coords and occupancy.

        Deterministic. Values stand on the scale each crystal names.

        Raises:
            UnknownNameError: a property this surrogate does not have.
            UnsupportedElementError: an element it was not trained on.
        """
        ...


@runtime_checkable
class CompositionSurrogate(Protocol):
    """Composition -> property; attributes as those of `Surrogate`."""

    name: str
    properties: tuple[Property, ...]

    @property
    def level(self) -> Level:
        """See `Surrogate`."""
        ...

    @property
    def elements(self) -> frozenset[str]:
        """See `Surrogate`."""
        ...

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> Mapping[Property, Prediction]:
        """Return a Prediction per property; differentiable in the fractions.

        Raises:
            UnknownNameError: a property this surrogate does not have.
        """
        ...
