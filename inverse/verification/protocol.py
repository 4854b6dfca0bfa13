"""What every verifier promises: one Verification per structure, in order, whatever the structure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from pymatgen.core import Structure

from inverse.candidates.types import Verification, VerifiedValue

FormationEnergy = Callable[[Structure, float, str], float]
"""(structure, potential's total energy of the cell in eV, potential) -> formation energy, eV/atom, MP scale.

Raises UnsupportedElementError for an element without a reference.
"""

EnergyAboveHull = Callable[[str, float], float]
"""(reduced formula, formation energy in eV/atom) -> energy above the hull of known phases, eV/atom.

Raises UnsupportedElementError for an element outside the reference.
"""


@runtime_checkable
class Verifier(Protocol):
    """Structures -> what the potentials say."""

    potential: str

    def verify(self, structures: Sequence[Structure]) -> list[Verification]:
        """Return one Verification per structure, same length and order.

        Deterministic. Never raises for one crystal: NaN coordinates, colliding atoms, unknown elements and
        crashed or overdue workers come back as `converged=False` with a reason.
        """
        ...


@runtime_checkable
class StreamingVerifier(Verifier, Protocol):
    """A verifier that hands results over as they finish; what a campaign drives."""

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Verification]]:
        """Yield (position, Verification) as they finish; begin nothing new once `should_stop()` is true.

        Raises:
            VerificationError: nobody can verify any more, such as `MachineError` for memory or a device.
        """
        ...

    def close(self) -> None:
        """Stop every worker; safe to call twice."""
        ...


@runtime_checkable
class PropertyJudge(Protocol):
    """What a user brings to verify a property of their own; found by its name or as module:factory.

    Attributes:
        name: as the ladder and the values show it.
    """

    name: str

    def judge(self, structure: Structure) -> Mapping[str, VerifiedValue]:
        """Return values by property name of a structure that the energy judge relaxed.

        May raise: the stage then says why, and the other values stand.
        """
        ...
