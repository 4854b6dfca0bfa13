"""Proposals that are one crystal: within an ask, and with what the campaign was offered before."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Status
from inverse.proposers.protocol import Proposal
from inverse.reference.deduplication import CrystalsMet


def distinct(proposals: Iterable[Proposal]) -> list[Proposal]:
    """Return the proposals without repeats of the same crystal, the first of each kept.

    Origin, setting, supercell and scale do not count: a squeezed copy of a cell is the same crystal.
    """
    met = CrystalsMet()
    return [proposal for number, proposal in enumerate(proposals) if met.add(proposal.structure) == number]


class Offered:
    """The crystals that a campaign was offered so far; all of its sources share one.

    It follows from the candidates told, so a resumed run agrees. Candidates that were screened out do not
    count: another volume of the same crystal may be sound.
    """

    def __init__(self) -> None:
        self._crystals = CrystalsMet()
        self._ids: set[str] = set()
        self._formulas: Counter[str] = Counter()

    def remember(self, candidates: Sequence[Candidate]) -> None:
        """Take candidates in, each once, whichever sources tell of them."""
        for candidate in candidates:
            if candidate.status is not Status.SCREENED_OUT and candidate.id not in self._ids:
                self._ids.add(candidate.id)
                self._crystals.add(candidate.structure)
                self._formulas[candidate.structure.composition.reduced_formula] += 1

    def count(self, formula: str) -> int:
        """Return how many crystals of a reduced formula were offered."""
        return self._formulas[formula]

    def holds(self, structure: Structure) -> bool:
        """Return whether this crystal was offered."""
        return self._crystals.find(structure) is not None

    def fresh(self, proposals: Iterable[Proposal], most: int) -> list[Proposal]:
        """Return the first `most` proposals that are new crystals, to the campaign and among themselves."""
        here, kept = CrystalsMet(), []
        if most <= 0:
            return []
        for number, proposal in enumerate(proposals):
            is_first = here.add(proposal.structure) == number
            if is_first and not self.holds(proposal.structure):
                kept.append(proposal)
            if len(kept) == most:
                break
        return kept
