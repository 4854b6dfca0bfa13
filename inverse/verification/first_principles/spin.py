"""Which magnetic state a crystal is in, as far as one ferromagnetic and one antiferromagnetic start tell."""

from dataclasses import dataclass

import numpy as np

from inverse.potentials.inquiry import Inquiry, Question
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.setting import Setting
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import VerificationError

NON_MAGNETIC = 0.05
"""Bohr magnetons per atom, absolute moments summed, below which a crystal is computed without spin."""

OFTEN_ANTIFERROMAGNETIC = frozenset({"Fe", "Co", "Mn", "Cr", "Ni"})
"""Elements whose crystals are also started antiferromagnetic."""

START_MOMENT = {"Fe": 3.0, "Co": 2.0, "Mn": 4.0, "Cr": 3.0, "Ni": 1.0, "V": 1.0}
OTHER_METAL, OTHER = 0.6, 0.3
"""Bohr magnetons that an atom starts with: more than most keep, so that a magnetic state is not missed."""


@dataclass(frozen=True)
class MagneticState:
    """How a crystal is computed from here on.

    Attributes:
        magmoms: (A,) to start from; None computes without spin.
        moment: absolute moments per atom that were found, Bohr magnetons.
        order: "none", "ferromagnetic" or "antiferromagnetic".
        untried: why an antiferromagnetic start was not made where one was due; "" else.
    """

    magmoms: tuple[float, ...] | None
    moment: float
    order: str
    untried: str = ""


def magnetic_state(cell: SymmetricCell, setting: Setting) -> Inquiry[MagneticState]:
    """Return the state of lowest energy of a cell, by one or two spin-polarised calculations of it.

    Raises:
        VerificationError: neither start came to an end.
    """
    start = starting_moments(cell.numbers)
    found = [(yield from _from_start(cell, setting, start, "ferromagnetic"))]
    untried = ""
    if magnetic := [k for k, z in enumerate(cell.numbers) if _symbol(z) in OFTEN_ANTIFERROMAGNETIC]:
        if len(magnetic) < 2:
            untried = "one magnetic atom in the cell: an antiferromagnetic order needs a larger one"
        else:
            signs = np.ones(len(start))
            signs[magnetic[1::2]] = -1.0
            try:
                found.append((yield from _from_start(cell, setting, start * signs, "antiferromagnetic")))
            except VerificationError as error:
                untried = f"the antiferromagnetic start failed: {error}"
    _, lowest = min(found, key=lambda one: one[0])
    if lowest.moment < NON_MAGNETIC:
        return MagneticState(None, lowest.moment, "none", untried)
    return MagneticState(lowest.magmoms, lowest.moment, lowest.order, untried)


def starting_moments(numbers: np.ndarray) -> np.ndarray:
    """Return (A,) moments of a ferromagnetic start, Bohr magnetons."""
    return np.array([_start_of(_symbol(z)) for z in numbers])


def _start_of(symbol: str) -> float:
    from pymatgen.core import Element

    if symbol in START_MOMENT:
        return START_MOMENT[symbol]
    return OTHER_METAL if Element(symbol).is_metal else OTHER


def _symbol(number: int) -> str:
    return ELEMENT_SYMBOLS[int(number) - 1]


def _from_start(
    cell: SymmetricCell, setting: Setting, start: np.ndarray, order: str
) -> Inquiry[tuple[float, MagneticState]]:
    potential = setting.potential(cell, tuple(float(m) for m in start))
    (point,) = yield Question(potential, (cell,))
    moments = np.array(point.magmoms)
    moment = float(np.abs(moments).sum()) / cell.n_atoms if moments.size else 0.0
    return point.energy, MagneticState(tuple(float(m) for m in start), moment, order)
