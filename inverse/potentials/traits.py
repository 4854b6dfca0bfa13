"""What is known of a potential before it is loaded: how its numbers are to be taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Traits:
    """How a potential's numbers are to be taken; the defaults are those of one that nobody examined.

    Attributes:
        has_kink: its energy has a term linear in |strain| at ideal crystals: stiffness goes as a + b /
            strain, force constants and forces per strain likewise. Twice the value at twice the size minus
            that at the size itself is free of b, for each of them alone (`stiffness`).
        has_formation_energies: its energies may be put on the reference's scale; where not, they stand too
            far off for that.
        functional: of the DFT that it learned from; two with different ones may put a crystal with open
            shells into different magnetic states.
    """

    has_kink: bool = False
    has_formation_energies: bool = True
    functional: str = "PBE"


TRAITS: Mapping[str, Traits] = MappingProxyType(
    {"diep": Traits(has_kink=True, has_formation_energies=False, functional="r2SCAN")}
)
"""By name, of those that were examined: kink and energies (0.13 eV/atom off) in experiments/log."""


def traits_of(name: str) -> Traits:
    """Return what is known of a potential; nothing special of one that was not examined.

    >>> traits_of("diep").has_kink, traits_of("module:factory").has_kink
    (True, False)
    """
    return TRAITS.get(name, Traits())
