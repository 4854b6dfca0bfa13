"""Phonons of a campaign's best: asked at its end, while time is left; recorded on the ladder."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from heapq import nsmallest
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Stage, Status

STAGE = "phonons"
IMAGINARY = "imaginary_phonons"
"""Flag of a crystal that is not dynamically stable; it decides no hit, the report shows it."""

N_BEST = 10
SECONDS_EACH = 600.0
"""Wall time allowed for the phonons of one crystal."""

ANNOUNCED = (
    f"phonons of the {N_BEST} best follow the last verification; verify: {{phonons: false}} leaves them out"
)
"""What a campaign says before it begins."""

AskPhonons = Callable[[Structure, float, Callable[[], bool]], Any]
"""(relaxed structure, `time.monotonic()` to give up after, should it stop?) -> a `PhononVerdict`."""


def best_candidates(candidates: Iterable[Candidate], n: int = N_BEST) -> list[Candidate]:
    """Return the n best with a relaxed structure: hits first, then what was verified, by score."""
    judged = (
        c
        for c in candidates
        if c.status in (Status.HIT, Status.VERIFIED)
        and not c.duplicate_of
        and c.verification is not None
        and c.verification.structure is not None
    )
    return nsmallest(n, judged, key=lambda c: (c.status is not Status.HIT, -(c.score or 0.0), c.id))


def confirmed_and_best(candidates: Iterable[Candidate], n: int) -> list[Candidate]:
    """Return n candidates for first principles: those that were taken to them before, then the best others.

    What they say moves candidates in the rank; whoever goes on after a kill asks about the same ones.
    """
    candidates = list(candidates)
    done = [c for c in candidates if c.confirmation is not None][:n]
    return [*done, *best_candidates([c for c in candidates if c.confirmation is None], n - len(done))]


def phonon_stage(candidate: Candidate) -> Stage:
    """Return what the ladder says about the phonons; a stage not run where it says nothing."""
    stages = candidate.verification.ladder if candidate.verification is not None else ()
    return next((stage for stage in stages if stage.name == STAGE), Stage(STAGE, None))


def is_asked(candidate: Candidate) -> bool:
    """Return whether phonons already stand on the candidate's ladder with a result."""
    return phonon_stage(candidate).passed is not None


@dataclass(frozen=True)
class PhononsAhead:
    """How many phonons a run still owes, and how long those of this session took.

    Attributes:
        ahead: crystals whose phonons are still to be computed.
        n: computed in this session.
        seconds: of these.
    """

    ahead: int = 0
    n: int = 0
    seconds: float = 0.0

    def after(self, seconds: float) -> "PhononsAhead":
        """Return what is left after one more that took so long."""
        return PhononsAhead(max(0, self.ahead - 1), self.n + 1, self.seconds + seconds)

    def seconds_left(self, like: float | None) -> float:
        """Return the seconds expected; before the first is done each is taken to last as long as `like`."""
        each = self.seconds / self.n if self.n else (like or 0.0)
        return self.ahead * each


def with_phonons(
    candidate: Candidate,
    ask: AskPhonons,
    deadline: float = float("inf"),
    should_stop: Callable[[], bool] = lambda: False,
) -> Candidate:
    """Return the candidate with the stage "phonons" on its ladder, and a flag where a mode is imaginary.

    Args:
        candidate: verified, with its relaxed structure.
        ask: who computes them.
        deadline: `time.monotonic()` after which to give up.
        should_stop: true gives up between two displacements.
    """
    verification = candidate.verification
    if verification is None or verification.structure is None:
        return candidate
    started = time.monotonic()
    verdict = ask(verification.structure, min(deadline, started + SECONDS_EACH), should_stop)
    seconds = round(time.monotonic() - started, 3)
    stage = Stage(STAGE, verdict.is_stable, verdict.remark, seconds, dict(verdict.versions))
    kept = tuple(s for s in verification.ladder if s.name != STAGE)
    flags = tuple(f for f in verification.flags if f != IMAGINARY)
    if verdict.is_stable is False:
        flags = (*flags, IMAGINARY)
    return replace(candidate, verification=replace(verification, ladder=(*kept, stage), flags=flags))
