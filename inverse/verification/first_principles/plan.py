"""How much a crystal will cost by first principles, before anything is started."""

from dataclasses import dataclass

from inverse.potentials.relaxation import Free, strains_within
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.bulk_modulus import NEAR, VOLUMES
from inverse.verification.first_principles.crystal import Wanted
from inverse.verification.first_principles.setting import Setting
from inverse.verification.first_principles.spin import OFTEN_ANTIFERROMAGNETIC
from surrogates.crystals.batch import ELEMENT_SYMBOLS

SECONDS, OF_CUTOFF = 0.022, 500.0
"""Core-seconds of a k-point for one atom at this cutoff, eV; they grow with the square of the atoms.

Atoms of transition metals count twice. Measured: C 0.07, W 0.08, WC 0.16, TiB2 0.28, Re 0.41; Co2WB4, whose
centred cell needs a large grid, 4.4.
"""

SPIN = 4.0
"""Cost of a spin-polarised calculation, in plain ones."""

STEPS_OF_RELAXATION = 3
"""Calculations until the shape and the positions of a judge's cell are relaxed, usually."""


@dataclass(frozen=True)
class Plan:
    """What is ahead for one crystal.

    Attributes:
        n_atoms: in the primitive cell.
        mesh: divisions of the k-points.
        n_k_points: that symmetry leaves.
        n_calculations: about.
        core_minutes: about.
    """

    n_atoms: int
    mesh: tuple[int, int, int]
    n_k_points: int
    n_calculations: int
    core_minutes: float


def planned(cell: SymmetricCell, setting: Setting, wanted: Wanted) -> Plan:
    """Return what a crystal takes; within a factor of two of what it comes to."""
    sampling = setting.sampling(cell)
    n_points = sampling.n_k_points
    ions = 1 if len(cell.free_displacements) == 0 else 3
    moves = len(cell.free_strains) + len(cell.free_displacements) > 0
    plain = STEPS_OF_RELAXATION if moves else 1
    if wanted.bulk_modulus:
        plain += len(VOLUMES) * ions + 2 * ions * len(strains_within(cell, Free.SHAPE))
    else:
        plain += len(NEAR) * ions
    one = SECONDS * n_points * size(cell) ** 2 * (setting.protocol.cutoff / OF_CUTOFF) ** 1.5
    seconds = one * (plain + SPIN * spin_starts(cell))
    if wanted.stiffness:
        strained = 2 * (2 + 4 * (len(cell.free_strains) > 1) + 3 * cell.n_atoms * (cell.n_atoms > 2) // 2)
        plain += strained
        seconds += 3.0 * one * strained  # a strained cell has kept a part of its symmetry
    return Plan(cell.n_atoms, sampling.mesh, n_points, plain + spin_starts(cell), round(seconds / 60.0, 1))


def size(cell: SymmetricCell) -> int:
    """Return atoms, those of transition metals twice."""
    from pymatgen.core import Element

    return sum(2 if Element(ELEMENT_SYMBOLS[int(z) - 1]).is_transition_metal else 1 for z in cell.numbers)


def spin_starts(cell: SymmetricCell) -> int:
    """Return how many spin-polarised calculations tell the magnetic state."""
    magnetic = [z for z in cell.numbers if ELEMENT_SYMBOLS[int(z) - 1] in OFTEN_ANTIFERROMAGNETIC]
    return 2 if len(magnetic) > 1 else 1
