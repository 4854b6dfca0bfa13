"""What is known of a potential before it is loaded: how its numbers are to be taken."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from inverse.candidates.registry import POTENTIALS

Made = TypeVar("Made", bound=Callable[..., Any])


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
        is_first_principles: a DFT code: it takes minutes to hours for a crystal and is asked by
            `verification.first_principles`, not as a judge.
    """

    has_kink: bool = False
    has_formation_energies: bool = True
    functional: str = "PBE"
    is_first_principles: bool = False


def examined(traits: Traits) -> Callable[[Made], Made]:
    """Return a decorator that says how the numbers of a potential of this program are to be taken."""

    def noted(factory: Made) -> Made:
        factory.traits = traits  # type: ignore[attr-defined]
        return factory

    return noted


@cache
def traits_of(name: str) -> Traits:
    """Return what is known of a potential; nothing special of one that was not examined.

    That of this program's own stands where they are made; code of others is not run.

    >>> traits_of("diep").has_kink, traits_of("module:factory").has_kink
    (True, False)
    """
    found: Traits = (
        getattr(POTENTIALS.get(name), "traits", Traits()) if POTENTIALS.is_packaged(name) else Traits()
    )
    return found
