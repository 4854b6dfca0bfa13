"""A cheap energy before a dear verdict: a potential that judges nothing relaxes what may be verified.

Two questions. A single point at the cell as proposed, with the energy by which a guessed Hessian says that it
would still fall; and the relaxation in what the symmetry leaves free, at the settings of the judges' own
pre-relaxation. Both give a formation energy on the reference's scale, calibrated on relaxed hypothetical
crystals (`experiments.package_data.calibrate_triage`).

Deterministic; a crystal's energy depends on those it shares passes with by no more than float32 noise.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.failures import failure_of
from inverse.candidates.hit_counts import MAGNETIC_ELEMENTS
from inverse.candidates.types import Failure, Triaged
from inverse.potentials.inquiry import Inquiry, answered_together
from inverse.potentials.loading import load_potential, one_thread
from inverse.potentials.relaxation import RelaxationSettings, relaxing
from inverse.potentials.symmetric_cell import SymmetricCell
from surrogates.errors import DataError, EngineError, MachineError

FILE = Path(__file__).resolve().parent / "triage.json"
"""What the calibration says, written by `experiments.package_data.calibrate_triage`."""

POTENTIAL = "7net-0"
"""Who is asked: it labelled the reference set that the surrogates learned from, and judges nothing."""

GROUP = 16
"""Crystals that share passes: more of them gain nothing on a CPU, and a kill loses one group at most."""

LOOK = RelaxationSettings(force=math.inf, stress=math.inf, steps=1)
"""A single point: whatever is left counts as relaxed."""

RELAXATION = RelaxationSettings(force=0.1, stress=1.0, steps=60)
"""As rough as the judges' pre-relaxation, which then has nothing left to do."""

FormationEnergy = Callable[[Structure, float], float]
"""(crystal, the potential's energy of it in eV) -> formation energy on the reference's scale, eV/atom."""


@dataclass(frozen=True)
class Computed:
    """What a potential computed of one crystal.

    Attributes:
        structure: the cell that the energy belongs to.
        energy: formation energy of that cell, eV/atom, not calibrated.
        remaining: eV/atom by which it would still fall, by the gradient that is left and the Hessian.
        steps: evaluations.
        reason: why there is no energy, "" otherwise.
        failure: the same by name; None otherwise.
    """

    structure: Structure
    energy: float = math.nan
    remaining: float = math.nan
    steps: int = 0
    reason: str = ""
    failure: Failure | None = None


@dataclass(frozen=True)
class EnergyScale:
    """From what a potential says of a hypothetical crystal to what DFT would say, eV/atom.

    Attributes:
        offset: DFT minus potential.
        share_of_remaining: of the energy by which a crystal would still fall, how much it falls.
        std: error, such that 90 % of the errors lie within 1.645 of it.
        std_of_magnetic: the same of crystals with one of `MAGNETIC_ELEMENTS`, whose moments a potential
            without spins can only guess.
        std_of_remaining: error for each eV/atom by which it would still fall, added in squares.
    """

    offset: float = 0.0
    share_of_remaining: float = 1.0
    std: float = 0.06
    std_of_magnetic: float = 0.09
    std_of_remaining: float = 0.0

    def energy(self, energy: float, remaining: float) -> float:
        """Return the formation energy once relaxed.

        >>> EnergyScale(offset=0.01, share_of_remaining=0.5).energy(-0.2, 0.04)
        -0.21
        """
        return round(energy - self.share_of_remaining * remaining + self.offset, 5)

    def error(self, remaining: float, is_magnetic: bool = False) -> float:
        """Return the standard error of that."""
        std = self.std_of_magnetic if is_magnetic else self.std
        return round(math.hypot(std, self.std_of_remaining * remaining), 5)


@dataclass(frozen=True)
class TriageScales:
    """How the energies of single points and of relaxations are taken."""

    looked_at: EnergyScale
    relaxed: EnergyScale

    @classmethod
    @cache
    def packaged(cls) -> "TriageScales":
        """Return the calibration that ships with the package.

        Raises:
            DataError: it cannot be read.
        """
        try:
            record = json.loads(FILE.read_text(encoding="utf-8"))
            return cls(EnergyScale(**record["looked_at"]), EnergyScale(**record["relaxed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"calibration of the triage {FILE.name} cannot be read: {error}") from None


class Triage:
    """Asks the potential about crystals, group by group; a crystal that fails is a result with a reason.

    Attributes:
        potential: its name.
    """

    def __init__(
        self,
        formation_energy: FormationEnergy,
        potential: str = POTENTIAL,
        scales: TriageScales | None = None,
        device: str = "auto",
    ) -> None:
        """Name the potential; its weights are loaded at the first question.

        Args:
            formation_energy: of a crystal and the potential's energy of it.
            potential: by name, see `load_potential`.
            scales: how its energies are taken; None takes the packaged ones.
            device: where it computes.
        """
        self.potential, self._device = potential, device
        self._formation_energy = formation_energy
        self._scales = scales or TriageScales.packaged()

    def look(self, structures: Sequence[Structure]) -> list[Triaged]:
        """Return what single points say; the crystals share passes, so they are best `GROUP` at a time.

        Raises:
            EngineError: the potential cannot be loaded.
        """
        found = self._asked(structures, LOOK, self._scales.looked_at)
        return [replace(one, structure=None) for one in found]

    def relax(self, structures: Sequence[Structure]) -> list[Triaged]:
        """Return what relaxations say; the crystals share passes, so they are best `GROUP` at a time.

        Raises:
            EngineError: the potential cannot be loaded.
        """
        return self._asked(structures, RELAXATION, self._scales.relaxed)

    def compute(
        self, structures: Sequence[Structure], settings: RelaxationSettings = RELAXATION
    ) -> list[Computed]:
        """Return what the potential computes of crystals side by side, nothing calibrated.

        Raises:
            EngineError: the potential cannot be loaded.
        """
        load_potential(self.potential, self._device)  # what it refuses is no crystal's failure
        with one_thread():
            inquiries = [self._computing(structure, settings) for structure in structures]
            found = dict(answered_together(inquiries, max(1, len(structures))))
        return [one for k in range(len(structures)) if isinstance(one := found[k], Computed)]

    def _asked(
        self, structures: Sequence[Structure], settings: RelaxationSettings, scale: EnergyScale
    ) -> list[Triaged]:
        began = time.process_time()
        computed = self.compute(structures, settings)
        each = (time.process_time() - began) / max(1, len(structures))
        return [self._triaged(one, scale, each) for one in computed]

    def _computing(self, structure: Structure, settings: RelaxationSettings) -> Inquiry[Computed]:
        try:
            return (yield from self._relaxing(structure, settings))
        except MachineError as error:
            return Computed(structure, reason=str(error), failure=Failure.MACHINE)
        except (EngineError, ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            return Computed(structure, reason=" ".join(str(error).split()), failure=failure_of(error))

    def _relaxing(self, structure: Structure, settings: RelaxationSettings) -> Inquiry[Computed]:
        potential = load_potential(self.potential, self._device)
        cell = SymmetricCell.from_structure(structure)
        potential.check_elements({site.specie.symbol for site in structure})
        done = yield from relaxing(cell, potential, settings)
        relaxed = done.cell.to_structure()
        energy = self._formation_energy(relaxed, done.energy)
        return Computed(relaxed, energy, done.remaining / done.cell.n_atoms, done.steps)

    def _triaged(self, computed: Computed, scale: EnergyScale, seconds: float) -> Triaged:
        known: dict[str, Any] = {"potential": self.potential, "steps": computed.steps}
        known["seconds"] = round(seconds, 4)
        if computed.failure is not None:
            return Triaged(**known, reason=computed.reason, failure=computed.failure)
        energy = scale.energy(computed.energy, computed.remaining)
        elements = {element.symbol for element in computed.structure.composition.elements}
        error = scale.error(computed.remaining, not elements.isdisjoint(MAGNETIC_ELEMENTS))
        return Triaged(**known, energy=energy, std=error, structure=computed.structure)
