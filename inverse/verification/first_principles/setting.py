"""With what crystals are computed: a code, a protocol, and where calculations are kept."""

from dataclasses import dataclass, field

from inverse.potentials.dft import PROTOCOL, DftCalculator, DftCode, DftProtocol, Memory, sampling_of
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import SymmetricCell


@dataclass(frozen=True)
class Setting:
    """What every calculation of a campaign shares.

    Attributes:
        code: what computes.
        protocol: how.
        memory: of calculations made before; None keeps none.
    """

    code: DftCode
    protocol: DftProtocol = PROTOCOL
    memory: Memory | None = field(default=None, compare=False)

    def potential(self, cell: SymmetricCell, magmoms: tuple[float, ...] | None = None) -> Potential:
        """Return the code as the potential of one crystal and magnetic state, on the mesh of this cell."""
        sampling = sampling_of(cell, self.protocol.spacing)
        calculator = DftCalculator(self.code, sampling, magmoms, self.protocol, self.memory)
        return Potential(self.code.name, calculator, self.code.elements)
