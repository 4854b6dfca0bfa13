"""With what crystals are computed: a code, a protocol, and where calculations are kept."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from inverse.potentials.dft import (
    PROTOCOL,
    DftCalculator,
    DftCode,
    DftProtocol,
    Memory,
    Sampling,
    sampling_of,
)
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import SymmetricCell

HARD, CUTOFF_BESIDE_HARD = frozenset({"N", "O", "F"}), 700.0
"""Elements whose orbitals need more plane waves, and the cutoff (eV) of crystals that hold one of them.

TiN at 500, 600 and 800 eV: 281, 274 and 276 GPa by energies; C, WC, TiB2, W, Al change by 0.4 % at most.
"""


@dataclass(frozen=True)
class Setting:
    """What every calculation of a campaign shares.

    Attributes:
        code: what computes.
        protocol: how.
        memory: of calculations made before; None keeps none.
        element_spacing: of k-points in crystals of one element where that is closer than the protocol's, 1/Å:
            K of W and Al is 2 and 6 % off at the compounds' spacing, that of C, WC, TiN and TiB2 0.4 %.
    """

    code: DftCode
    protocol: DftProtocol = PROTOCOL
    memory: Memory | None = field(default=None, compare=False)
    element_spacing: float = 0.2

    def beside(self, symbols: Collection[str]) -> "Setting":
        """Return the setting of a reaction between phases of these elements: one cutoff on both its sides."""
        if not HARD & set(symbols) or self.protocol.cutoff >= CUTOFF_BESIDE_HARD:
            return self
        return replace(self, protocol=replace(self.protocol, cutoff=CUTOFF_BESIDE_HARD))

    def sampling(self, cell: SymmetricCell) -> Sampling:
        """Return vectors and mesh of a crystal."""
        return sampling_of(cell, self.protocol_of(cell).spacing)

    def protocol_of(self, cell: SymmetricCell) -> DftProtocol:
        """Return the protocol of a crystal: elements have a finer mesh."""
        if len(set(cell.numbers.tolist())) > 1 or self.protocol.spacing <= self.element_spacing:
            return self.protocol
        return replace(self.protocol, spacing=self.element_spacing)

    def potential(self, cell: SymmetricCell, magmoms: tuple[float, ...] | None = None) -> Potential:
        """Return the code as the potential of one crystal and magnetic state, on the mesh of this cell."""
        calculator = DftCalculator(
            self.code, self.sampling(cell), magmoms, self.protocol_of(cell), self.memory
        )
        return Potential(self.code.name, calculator, self.code.elements)
