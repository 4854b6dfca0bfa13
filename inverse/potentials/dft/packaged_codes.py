"""DFT codes that stand among the potentials by name; other interpreters have them."""

from dataclasses import dataclass

from inverse.candidates.registry import POTENTIALS
from inverse.potentials.dft.calculator import DftCalculator
from inverse.potentials.dft.code import code_named
from inverse.potentials.loading import Potential, with_needs
from inverse.potentials.traits import Traits, examined


@dataclass(frozen=True)
class NeedsCode:
    """A DFT code, in whichever interpreter has it.

    Attributes:
        code: as of `code_named`.
    """

    code: str

    def check(self, potential: str) -> None:
        """Raise MissingExtraError where no interpreter has it; says how to get it."""
        code_named(self.code)

    @property
    def version(self) -> str:
        """The code with its version.

        Raises:
            MissingExtraError: no interpreter has it.
        """
        found = code_named(self.code)
        return f"{found.name} {found.version}".strip()


@POTENTIALS.register("gpaw")
@with_needs(NeedsCode("gpaw"))
@examined(Traits(is_first_principles=True))
def gpaw(device: str) -> Potential:
    """Return GPAW by the protocol of record, on the mesh of the first cell of each set of atoms.

    References:
        Mortensen et al., J. Chem. Phys. 160, 092503 (2024), doi:10.1063/5.0182685
    """
    code = code_named("gpaw")
    return Potential("gpaw", DftCalculator(code), code.elements)
