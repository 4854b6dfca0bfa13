"""Crystals as the judge of energies relaxes them, from which DFT starts: competing phases, users' own."""

from dataclasses import dataclass

from pymatgen.core import Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.reference import PhaseTable
from inverse.reference.known_structures import known_structures, why_no_structure
from inverse.verification.calibration.energy_correction import formation_energy, has_scale
from inverse.verification.judge import Judge, RelaxationVerdict
from inverse.verification.panel import Panel
from inverse.verification.store import VerificationStore
from surrogates.errors import UnsupportedElementError

NEAR_LOWEST, MOST_POLYMORPHS = 0.1, 3
"""eV/atom above the judge's lowest polymorph, and how many of them, within which DFT finds the lowest."""

SAME = 1e-3
"""eV/atom, and relative difference of volumes, within which two relaxed polymorphs are one."""

NOT_THE_LOWEST = 0.15
"""eV/atom by which the judge may put the lowest rebuilt polymorph above its formula's tabulated energy."""


@dataclass(frozen=True)
class Competitors:
    """Known phases as the judge of energies relaxes them.

    Attributes:
        panel: whose judge.
        device: where it computes.
    """

    panel: Panel
    device: str = "auto"

    def __call__(self, formula: str) -> tuple[Structure, ...]:
        """Return the polymorphs of a formula that may be its lowest phase, by the judge the lowest first.

        Raises:
            CrystalFailureError: none is carried that can be rebuilt, or those that can lie so high that the
                formula's tabulated energy must be another's.
        """
        known = carried(formula)
        if len(known) == 1:
            return (self.relaxed(known[0]),)
        found = [self._judge.relax(structure) for structure in known]
        done = sorted((one for one in found if one.structure is not None), key=_energy)
        if not done:
            return known[:MOST_POLYMORPHS]
        self._check(formula, done[0])
        kept: list[RelaxationVerdict] = []
        for one in done:
            if _energy(one) <= _energy(done[0]) + NEAR_LOWEST and not any(_is_same(one, k) for k in kept):
                kept.append(one)
        return tuple(one.structure for one in kept[:MOST_POLYMORPHS] if one.structure is not None)

    def relaxed(self, structure: Structure) -> Structure:
        """Return a structure as the judge relaxes it; itself where the judge cannot."""
        found = self._judge.relax(structure)
        return structure if found.structure is None else found.structure

    @property
    def _judge(self) -> Judge:
        return Judge(self.panel.energy, store=VerificationStore(), device=self.device)

    def _check(self, formula: str, lowest: RelaxationVerdict) -> None:
        """Raise where the tabulated energy of the formula is clearly none of the rebuilt polymorphs'."""
        phase = PhaseTable.packaged().phase(formula)
        tabulated = None if phase is None else phase.formation_energy_per_atom
        if tabulated is None or lowest.structure is None or not has_scale(lowest.potential):
            return
        try:
            own = formation_energy(lowest.structure, lowest.energy, lowest.potential)
        except UnsupportedElementError:
            return
        if own > tabulated + NOT_THE_LOWEST:
            raise CrystalFailureError(
                f"{formula}, which it competes with: its rebuilt structures lie {own - tabulated:.2f} "
                "eV/atom above its tabulated energy by the judge; the lowest is none of them",
                Failure.OTHER,
            )


def carried(formula: str) -> tuple[Structure, ...]:
    """Return `known_structures`, at least one.

    Raises:
        CrystalFailureError: there is none; says by name what is missing.
    """
    if known := known_structures(formula):
        return known
    why = f"{formula}, which it competes with: {why_no_structure(formula)}"
    raise CrystalFailureError(why, Failure.OTHER)


def _energy(one: RelaxationVerdict) -> float:
    """Return eV/atom, infinite where it failed."""
    return float("inf") if one.structure is None else one.energy / len(one.structure)


def _is_same(one: RelaxationVerdict, other: RelaxationVerdict) -> bool:
    if one.structure is None or other.structure is None:
        return False
    volumes = [v.structure.volume / len(v.structure) for v in (one, other) if v.structure is not None]
    return abs(_energy(one) - _energy(other)) < SAME and abs(volumes[0] / volumes[1] - 1.0) < SAME
