"""The stage between prediction and choice: a cheap potential says whose energy may be worth a verification.

Single points say which candidates are relaxed, relaxations which of them are verified. What it says is in the
run's journal as soon as it is known, so that nothing is asked twice, by a resumed run neither.
"""

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from pymatgen.core import Structure
from scipy.special import ndtr

from inverse.candidates.ranking import Screening
from inverse.candidates.types import Breach, Candidate, Failure, Origin, Rule, Status, Target, Triaged
from inverse.inputs.records import structure_to_record, triaged_from_record, triaged_to_record
from inverse.prediction.triage import GROUP

LOGGER = logging.getLogger("inverse.campaign")

LOOKED_AT, RELAXED = 20, 4
"""Candidates looked at by a single point, and of these relaxed, for every verification of a step."""

LEAST_CHANCE_AT_A_LOOK, LEAST_CHANCE = 0.01, 0.1
"""Probability that the bound on the hull is met, by a single point and by a relaxation, below which a
candidate is thrown out.
"""

_SAYS_NOTHING = (Failure.UNKNOWN_ELEMENT, Failure.MACHINE)
"""Failures that are the potential's or the machine's own: the surrogate's energy stands."""


class AsksCheaply(Protocol):
    """The potential (`inverse.prediction.triage` has it)."""

    potential: str

    def look(self, structures: Sequence[Structure]) -> list[Triaged]:
        """Return what single points say."""
        ...

    def relax(self, structures: Sequence[Structure]) -> list[Triaged]:
        """Return what relaxations say."""
        ...


class Memory(Protocol):
    """The journal."""

    def write_triaged(self, step: int, relaxed: bool, found: Mapping[str, tuple[str, Triaged]]) -> None:
        """Keep what was said."""
        ...

    def triaged(
        self, crystals: Mapping[str, str], relaxed: bool, before: int | None = None
    ) -> dict[str, Triaged]:
        """Return what was said."""
        ...


class StoppedError(Exception):
    """The run is to stop before its next candidates are triaged; what is known is kept."""


@dataclass
class Tally:
    """What one step asked: candidates looked at, relaxed, and CPU seconds."""

    looked_at: int = 0
    relaxed: int = 0
    seconds: float = 0.0

    def record(self) -> dict[str, float]:
        """Return the counts as a step's notes keep them."""
        return {
            "looked_at": self.looked_at,
            "triaged": self.relaxed,
            "triage_seconds": round(self.seconds, 2),
        }


class TriageStage:
    """Asks about candidates of one run, and says who is thrown out.

    Attributes:
        potential: who is asked.
        step: that is being proposed.
        tally: of that step.
    """

    def __init__(
        self,
        asked: AsksCheaply,
        memory: Memory,
        hull_energy: Callable[[str], float],
        bound: Target,
        screening: Screening,
        should_stop: Callable[[], bool] = lambda: False,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        """Join the potential with the run's journal.

        Args:
            asked: the potential.
            memory: the journal.
            hull_energy: formula -> formation energy of the hull there, eV/atom; NaN where unknown.
            bound: on the energy above the hull.
            screening: relaxed structure -> the rule that puts it out.
            should_stop: asked between groups.
            told: called once a group's answers are in the journal.
        """
        self._asked, self._memory, self._hull_energy = asked, memory, hull_energy
        self._bound, self._screening = bound, screening
        self._should_stop, self._told = should_stop, told
        self.potential = asked.potential
        self.step, self.tally = 0, Tally()

    def begin(self, step: int) -> None:
        """Begin a step."""
        self.step, self.tally = step, Tally()

    def recalled(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return candidates of earlier steps with what those steps asked."""
        crystals = {c.id: _digest(c.structure) for c in candidates}
        looked_at = self._memory.triaged(crystals, False, self.step)
        known = looked_at | self._memory.triaged(crystals, True, self.step)
        return [replace(c, triaged=known.get(c.id)) for c in candidates]

    def look(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with what single points say; some of them thrown out.

        Raises:
            StoppedError: the run is to stop.
        """
        found = self._with_answers(candidates, False)
        self.tally.looked_at += len(found)
        return [self._kept(c, LEAST_CHANCE_AT_A_LOOK) for c in found]

    def relax(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates with what relaxations say; some of them thrown out.

        Raises:
            StoppedError: the run is to stop.
        """
        found = self._with_answers(candidates, True)
        self.tally.relaxed += len(found)
        return [self._kept(c, LEAST_CHANCE) for c in found]

    def _with_answers(self, candidates: Sequence[Candidate], relaxed: bool) -> list[Candidate]:
        found: list[Candidate] = []
        for start in range(0, len(candidates), GROUP):
            if self._should_stop():
                raise StoppedError
            group = candidates[start : start + GROUP]
            crystals = {c.id: _digest(c.structure) for c in group}
            known = self._memory.triaged(crystals, relaxed)
            if len(known) < len(group):  # whole groups alone: batches of a resumed run are the same
                known = self._answers(group, relaxed)
                kept = {i: (crystals[i], said) for i, said in known.items() if _is_lasting(said)}
                self._memory.write_triaged(self.step, relaxed, kept)
                self._told()
            self.tally.seconds += sum(said.seconds for said in known.values())
            found += [replace(c, triaged=known[c.id]) for c in group]
        return found

    def _answers(self, group: Sequence[Candidate], relaxed: bool) -> dict[str, Triaged]:
        ask = self._asked.relax if relaxed else self._asked.look
        answers = ask([c.structure for c in group])
        said = {c.id: self._above_hull(c, answer) for c, answer in zip(group, answers, strict=True)}
        # through the record, so that a resumed run goes on from the very same numbers
        return {i: triaged_from_record(triaged_to_record(answer)) for i, answer in said.items()}

    def _above_hull(self, candidate: Candidate, said: Triaged) -> Triaged:
        hull = self._hull_energy(candidate.structure.composition.reduced_formula)
        return replace(said, above_hull=round(said.energy - hull, 5))

    def _kept(self, candidate: Candidate, least: float) -> Candidate:
        """Return the candidate, thrown out where its energy or what it relaxed to rules it out."""
        said = candidate.triaged
        if said is None or said.failure in _SAYS_NOTHING:
            return candidate
        if said.failure is not None:
            return _out(candidate, Breach(Rule.ENERGY, said.reason))
        if self.chance(said) < least:
            how = "relaxed" if said.is_relaxed else "at a single point"
            told = f"{said.above_hull:.3f} ± {said.std:.3f} eV/atom above the hull {how}, by {said.potential}"
            return _out(candidate, Breach(Rule.ENERGY, told))
        if said.structure is None:
            return candidate
        try:
            breach = self._screening(said.structure)
        except Exception as error:  # an odd crystal must not end the run; the judges see it
            LOGGER.warning("%s: cannot be screened as relaxed (%s)", candidate.id, error)
            return candidate
        return candidate if breach is None else _out(candidate, breach)

    def chance(self, said: Triaged) -> float:
        """Return the probability that the bound on the hull is met; 1 where the hull is unknown."""
        if not (math.isfinite(said.above_hull) and math.isfinite(said.std)):
            return 1.0
        std = max(said.std, 1e-6)
        low, high = ((edge - said.above_hull) / std for edge in (self._bound.lower, self._bound.upper))
        return float(ndtr(high) - ndtr(low))


def needs_none(candidate: Candidate) -> bool:
    """Return whether a candidate is verified without triage: seeds, textbook answers, known phases.

    And those of which the potential can say nothing.
    """
    said = candidate.triaged
    is_mute = said is not None and said.failure in _SAYS_NOTHING
    return is_mute or candidate.known_phase is not None or candidate.origin in _WITHOUT


_WITHOUT = (Origin.SEED, Origin.TEXTBOOK)


def _is_lasting(said: Triaged) -> bool:
    """Return whether the answer would be the same another time."""
    return said.failure is not Failure.MACHINE


def _out(candidate: Candidate, breach: Breach) -> Candidate:
    return replace(candidate, status=Status.TRIAGED_OUT, reason=str(breach), rule=breach.rule)


def _digest(structure: Structure) -> str:
    return sha256(json.dumps(structure_to_record(structure)).encode()).hexdigest()[:16]
