"""What every decoder promises: latent and condition -> symmetric crystals, with its own likelihood."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import ConfigError, UnknownNameError, UnsupportedElementError
from surrogates.physics.properties import property_named

ALL_ELEMENTS: frozenset[str] = frozenset(ELEMENT_SYMBOLS)
"""Every element a crystal can hold."""


def _nothing_wanted() -> Mapping[str, float]:
    return MappingProxyType({})


@dataclass(frozen=True)
class Condition:
    """What the crystals must be (hard, never violated) and should be (`targets`, soft).

    Attributes:
        targets: property name -> wanted value, natural units; names a decoder was not trained on are ignored.
        allowed_elements: no other element occurs.
        required_any: at least one of these occurs, unless empty.
        required_all: all of these occur.
        chemical_system: exactly these elements, such as "B-C-W"; None leaves it open.
        n_elements: inclusive range of the number of distinct elements.
        n_atoms: inclusive range of the atoms of the primitive cell.
        composition: reduced formula to be met exactly; None leaves it open.
        space_group: International number; None leaves it open.
    """

    targets: Mapping[str, float] = field(default_factory=_nothing_wanted)
    allowed_elements: frozenset[str] = ALL_ELEMENTS
    required_any: frozenset[str] = frozenset()
    required_all: frozenset[str] = frozenset()
    chemical_system: str | None = None
    n_elements: tuple[int, int] = (1, 8)
    n_atoms: tuple[int, int] = (1, 24)
    composition: str | None = None
    space_group: int | None = None

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            UnknownNameError: a property that does not exist.
            UnsupportedElementError: an element that does not exist.
            ConfigError: an empty range, or requirements that exclude each other.
        """
        for name in self.targets:
            property_named(name, "condition")
        system = frozenset(self.chemical_system.split("-")) if self.chemical_system else frozenset()
        for symbol in self.allowed_elements | self.required_any | self.required_all | system:
            if symbol not in ALL_ELEMENTS:
                raise UnsupportedElementError(f"condition: element {symbol!r} is not one of H to Lr")
        for name, (low, high) in (("n_elements", self.n_elements), ("n_atoms", self.n_atoms)):
            if low > high or high < 1:
                raise ConfigError(f"condition: {name} from {low} to {high} is empty")
        if not self.required_all <= self.allowed_elements:
            missing = ", ".join(sorted(self.required_all - self.allowed_elements))
            raise ConfigError(f"condition: {missing} is required and not allowed")
        if self.required_any and not self.required_any & self.allowed_elements:
            raise ConfigError("condition: none of the elements of which one is required is allowed")
        if self.space_group is not None and not 1 <= self.space_group <= 230:
            raise UnknownNameError(f"condition: unknown space group {self.space_group}; valid: 1 to 230")

    @property
    def usable_elements(self) -> frozenset[str]:
        """Elements that may occur: allowed ones, of the chemical system when one is asked for."""
        if self.chemical_system is None:
            return self.allowed_elements
        return self.allowed_elements & frozenset(self.chemical_system.split("-"))

    @property
    def needed_elements(self) -> frozenset[str]:
        """Elements that must occur: all required ones, and the whole chemical system."""
        if self.chemical_system is None:
            return self.required_all
        return self.required_all | frozenset(self.chemical_system.split("-"))

    def is_met(self, amounts: Mapping[str, float], n_atoms: int) -> bool:
        """Return whether a composition of a primitive cell meets every hard constraint but the space group.

        Args:
            amounts: element -> atoms in the primitive cell.
            n_atoms: atoms of the primitive cell.
        """
        elements = frozenset(amounts)
        if not elements <= self.usable_elements or not self.needed_elements <= elements:
            return False
        if self.required_any and not elements & self.required_any:
            return False
        if self.composition is not None:
            from pymatgen.core import Composition

            wanted = Composition(self.composition).reduced_composition
            if Composition(dict(amounts)).reduced_composition != wanted:
                return False
        fits_elements = self.n_elements[0] <= len(elements) <= self.n_elements[1]
        return fits_elements and self.n_atoms[0] <= n_atoms <= self.n_atoms[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as plain JSON types, for a candidate's history."""
        return {
            "targets": dict(self.targets),
            "allowed_elements": []
            if self.allowed_elements == ALL_ELEMENTS
            else sorted(self.allowed_elements),
            "required_any": sorted(self.required_any),
            "required_all": sorted(self.required_all),
            "chemical_system": self.chemical_system,
            "n_elements": list(self.n_elements),
            "n_atoms": list(self.n_atoms),
            "composition": self.composition,
            "space_group": self.space_group,
        }


@runtime_checkable
class Decoder(Protocol):
    """Latent and condition -> crystals that are symmetric by construction."""

    @property
    def name(self) -> str:
        """Name of the decoder, as the registry has it."""
        ...

    @property
    def latent_size(self) -> int:
        """Width of the latent."""
        ...

    def decode(self, latent: Tensor, condition: Condition) -> SymmetricCrystals:
        """Return one crystal per row of the latent; deterministic.

        Args:
            latent: (C, latent_size) uniform numbers in (0, 1).
            condition: hard constraints hold in every crystal.

        Raises:
            DecodingError: no crystal of this decoder meets the condition.
        """
        ...

    def sample(self, n: int, condition: Condition, seed: int) -> SymmetricCrystals:
        """Return n crystals, checked (distances, space group) and without duplicates as far as possible.

        Deterministic in `seed`; crystals are independent of n only within one call.

        Raises:
            DecodingError: no crystal of this decoder meets the condition.
        """
        ...

    def complete(self, skeletons: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        """Return the skeletons (space group, Wyckoff, species) with drawn lattices and free coordinates."""
        ...

    def log_likelihood(self, crystals: SymmetricCrystals, condition: Condition | None = None) -> Tensor:
        """Return (C,) nats per atom of the primitive cell; finite for every crystal."""
        ...
