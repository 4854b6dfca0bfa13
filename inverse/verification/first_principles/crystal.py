"""One crystal by first principles: magnetic state, relaxed cell, energy, and the moduli asked for."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.inquiry import Inquiry
from inverse.potentials.relaxation import Free, relaxing
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.bulk_modulus import (
    RELAXATION,
    BulkModulus,
    bulk_modulus,
    centred,
)
from inverse.verification.first_principles.setting import Setting
from inverse.verification.first_principles.spin import MagneticState, magnetic_state
from inverse.verification.mechanics.stiffness import Stiffness, StiffnessSettings, stiffness_inquiry
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property

TENSOR = StiffnessSettings(repeat_factor=0.0)
"""Strains of ±1 % and displacements of 0.015 Å, once: DFT is as smooth as its convergence."""


@dataclass(frozen=True)
class Wanted:
    """What is computed beside the relaxed cell and its energy."""

    bulk_modulus: bool = False
    stiffness: bool = False

    @classmethod
    def of(cls, properties: Collection[Property]) -> "Wanted":
        """Return what has to be computed for properties; the distance from the hull needs neither."""
        return cls(BULK_MODULUS in properties, SHEAR_MODULUS in properties)


@dataclass(frozen=True)
class Crystal:
    """What DFT says of one crystal.

    Attributes:
        cell: its shape relaxed at the judge's volume, then at the volume of lowest energy; without `bulk` it
            may keep the judge's volume, a few per cent off.
        energy: there, eV per atom; only differences at the same setting mean anything.
        state: magnetic state that it was computed in.
        bulk: by the equation of state; None where it was not asked for.
        stiffness: relaxed-ion; None where it was not asked for.
        mesh: divisions of the k-points.
    """

    cell: SymmetricCell
    energy: float
    state: MagneticState
    bulk: BulkModulus | None
    stiffness: Stiffness | None
    mesh: tuple[int, int, int]


def crystal(cell: SymmetricCell, setting: Setting, wanted: Wanted) -> Inquiry[Crystal]:
    """Return what DFT says of a crystal that a judge relaxed, or a table gave.

    Raises:
        CrystalFailureError: a calculation or a relaxation failed, or an element has no data set.
    """
    check_elements(cell, setting)
    state = yield from magnetic_state(cell, setting)
    potential = setting.potential(cell, state.magmoms)
    shaped = (yield from relaxing(cell, potential, RELAXATION, free=Free.SHAPE)).cell
    relaxed, energy = yield from centred(shaped, potential)
    bulk = None
    if wanted.bulk_modulus:
        bulk = yield from bulk_modulus(relaxed, potential)
        energy = bulk.energy
        relaxed = relaxed.moved(((bulk.volume / relaxed.volume) ** (1.0 / 3.0) - 1.0) * np.eye(3))
    tensor = (yield from stiffness_inquiry(relaxed, potential, TENSOR)) if wanted.stiffness else None
    mesh = setting.sampling(cell).mesh
    return Crystal(relaxed, energy / cell.n_atoms, state, bulk, tensor, mesh)


def check_elements(cell: SymmetricCell, setting: Setting) -> None:
    """Raise where the code has no data set of an element.

    Raises:
        CrystalFailureError: names the elements.
    """
    from surrogates.crystals.batch import ELEMENT_SYMBOLS

    symbols = {ELEMENT_SYMBOLS[int(z) - 1] for z in cell.numbers}
    if setting.code.elements and (without := sorted(symbols - setting.code.elements)):
        raise CrystalFailureError(
            f"{setting.code.name} {setting.code.version} has no data set of {', '.join(without)}",
            Failure.UNKNOWN_ELEMENT,
        )
