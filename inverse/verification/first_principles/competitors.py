"""Crystals as the judge of energies relaxes them, from which DFT starts: competing phases, users' own."""

from dataclasses import dataclass

from pymatgen.core import Structure

from inverse.reference.known_structures import known_structure
from inverse.verification.judge import Judge
from inverse.verification.panel import Panel
from inverse.verification.store import VerificationStore


@dataclass(frozen=True)
class Competitors:
    """Known phases as the judge of energies relaxes them.

    Attributes:
        panel: whose judge.
        device: where it computes.
    """

    panel: Panel
    device: str = "auto"

    def __call__(self, formula: str) -> Structure | None:
        """Return the lowest known phase of a formula; None where its structure is not carried."""
        known = known_structure(formula)
        return None if known is None else self.relaxed(known)

    def relaxed(self, structure: Structure) -> Structure:
        """Return a structure as the judge relaxes it; itself where the judge cannot."""
        judge = Judge(self.panel.energy, store=VerificationStore(), device=self.device)
        found = judge.relax(structure)
        return structure if found.structure is None else found.structure
