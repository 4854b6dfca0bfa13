"""Energies of triaged crystals beside those of a potential that neither proposed, triaged nor judged them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.benchmarks.arguments import Relaxes
from inverse.benchmarks.intervals import bootstrapped
from inverse.candidates.types import Candidate, Verification
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.ladder import ENERGY_PER_ATOM, phase_disagreement
from surrogates.errors import EngineError
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY


@dataclass(frozen=True)
class Judged:
    """A crystal that was triaged and then judged.

    Attributes:
        candidate: with the verdict.
        triaged: formation energy by the triage, eV/atom.
    """

    candidate: Candidate
    triaged: float

    @property
    def structure(self) -> Structure | None:
        """As the energy judge relaxed it."""
        found = self.candidate.verification
        return None if found is None else found.structure

    @property
    def energy(self) -> float:
        """Formation energy by the judge, eV/atom; NaN without one."""
        found = self.candidate.verification
        value = None if found is None else found.values.get(FORMATION_ENERGY.name)
        return float("nan") if value is None else value.mean

    @property
    def beyond_dft(self) -> float:
        """Judge minus DFT of the distance from the hull, eV/atom; NaN where DFT was not asked."""
        found, said = self.candidate.verification, self.candidate.confirmation
        own = None if found is None else found.values.get(ENERGY_ABOVE_HULL.name)
        dft = None if said is None else said.values.get(ENERGY_ABOVE_HULL.name)
        return float("nan") if own is None or dft is None else own.mean - dft.mean


def biases(crystals: Sequence[Judged], witness: Relaxes, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Return by how much judge and triage lie above the witness, and the judge above DFT; eV/atom.

    The witness begins with what the judge relaxed; where it comes to another phase, or knows no energy, the
    crystal is counted and left out. Means with 95 % intervals by bootstrap over crystals.

    Args:
        crystals: judged ones.
        witness: asked; the caller closes it.
        should_stop: asked before each.
    """
    usable = [c for c in crystals if c.structure is not None and np.isfinite(c.energy)]
    energies = np.full(len(usable), np.nan)
    n_asked = 0
    structures = [c.structure for c in usable if c.structure is not None]
    for position, verdict in witness.relax_each(structures, should_stop):
        n_asked += 1
        energies[position] = _energy(structures[position], verdict, witness.potential)
    judge, triage = np.array([c.energy for c in usable]), np.array([c.triaged for c in usable])
    return {
        "crystals": len(crystals),
        "asked": n_asked,
        "without_energy": n_asked - int(np.isfinite(energies).sum()),
        "judge_minus_witness": _bias(judge - energies),
        "triage_minus_witness": _bias(triage - energies),
        "triage_minus_judge": _bias(triage - judge),
        "judge_minus_dft": _bias(np.array([c.beyond_dft for c in crystals])),
    }


def _energy(structure: Structure, verdict: Verification, potential: str) -> float:
    """Return the witness's formation energy, eV/atom; NaN where it has none of this phase."""
    relaxed, energy = verdict.structure, verdict.values.get(ENERGY_PER_ATOM)
    if relaxed is None or energy is None or phase_disagreement(structure, relaxed):
        return float("nan")
    try:
        return formation_energy(relaxed, energy.mean * len(relaxed), potential)
    except EngineError:
        return float("nan")


def _bias(differences: np.ndarray) -> dict[str, Any]:
    known = differences[np.isfinite(differences)]
    if not len(known):
        return {"n": 0, "median": None, "mean": None, "interval": None}
    found = bootstrapped(lambda drawn: float(drawn.mean()), known)
    return {
        "n": len(known),
        "median": round(float(np.median(known)), 4),
        "mean": found["value"],
        "interval": found["interval"],
    }
