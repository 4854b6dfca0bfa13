"""The validation ladder: each stage a candidate passed, failed or did not come to, up to phonons."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from inverse.candidates.types import Candidate, Failure, Outcome, Stage, Status

STAGES = ("generated", "screened", "predicted", "relaxed", "hull", "tensor", "second_opinion", "phonons")
"""Stages of every complete ladder; the judges add others between them ("phase", "bulk modulus")."""

FIRST_PRINCIPLES = "first_principles"
"""Stage after all others of what was taken to density functional theory; its seconds are of computing."""

TRIAGED = "triaged"
"""Stage between prediction and judges of what a cheap potential was asked about; seconds of computing."""

_BEFORE_JUDGES = STAGES[:3]


def completed(stages: Sequence[Stage], why_not: str = "not run") -> tuple[Stage, ...]:
    """Return the stages in order, with those that were not run added as such.

    Args:
        stages: as recorded.
        why_not: reason given for the stages before the judges, where there are none.
    """
    held = {stage.name for stage in stages}
    first = [s for s in stages if s.name in (*_BEFORE_JUDGES, TRIAGED)]
    first += [Stage(name, None, why_not) for name in _BEFORE_JUDGES if name not in held]
    rest = [s for s in stages if s.name not in (*_BEFORE_JUDGES, TRIAGED)]
    rest += [Stage(name, None, "not run") for name in STAGES[3:] if name not in held]
    return (*sorted(first, key=lambda s: (*_BEFORE_JUDGES, TRIAGED).index(s.name)), *rest)


def candidate_ladder(candidate: Candidate) -> tuple[Stage, ...]:
    """Return a candidate's complete ladder; also of run folders that are older than it."""
    seconds = dict(candidate.history.get("seconds") or {})
    own = {"inverse": own_version()}
    is_out = candidate.status is Status.SCREENED_OUT
    probability = candidate.probability_target_met
    shown = "" if probability is None else f"probability that the targets are met {probability:.2f}"
    predicted = True if candidate.predictions else None
    screened = None if candidate.status is Status.PROPOSED else not is_out
    first = (
        Stage("generated", True, candidate.proposer, _of(seconds, "generated"), own),
        Stage("screened", screened, candidate.reason if is_out else "", _of(seconds, "screened"), own),
        Stage("predicted", predicted, shown or "not run", _of(seconds, "predicted"), own),
    )
    verification = candidate.verification
    judged = () if verification is None else verification.ladder
    before = (*first, *_triaged(candidate))
    stages = completed((*before, *(s for s in judged if s.name not in _BEFORE_JUDGES)))
    return (*stages, *_first_principles(candidate))


def _triaged(candidate: Candidate) -> tuple[Stage, ...]:
    """Return what a cheap potential said of the energy; nothing of what it was not asked about."""
    found = candidate.triaged
    if found is None:
        return ()
    passed = (
        None
        if found.failure in (Failure.MACHINE, Failure.UNKNOWN_ELEMENT)
        else candidate.status is not Status.TRIAGED_OUT
    )
    how = "relaxed" if found.is_relaxed else "single point"
    said = found.reason or f"{found.above_hull:.3f} ± {found.std:.3f} eV/atom above the hull, {how}"
    return (Stage(TRIAGED, passed, f"{found.potential}: {said}", found.seconds),)


def _first_principles(candidate: Candidate) -> tuple[Stage, ...]:
    """Return what density functional theory says as the last stage; nothing before it was asked."""
    found = candidate.confirmation
    if found is None:
        return ()
    passed = {Outcome.CONFIRMED: True, Outcome.REFUTED: False, Outcome.UNDECIDED: None}[found.outcome]
    decided = [
        f"{word} {', '.join(names)}"
        for word, names in (("met", found.met), ("missed", found.missed), ("within the error", found.open))
        if names
    ]
    reason = "; ".join(
        [str(found.outcome), *decided, *([found.reason] if found.reason else []), found.protocol]
    )
    name, _, number = found.code.partition(" ")
    return (Stage(FIRST_PRINCIPLES, passed, reason, found.computing, {name: number} if name else {}),)


def with_seconds(candidate: Candidate, stage: str, seconds: float) -> Candidate:
    """Return the candidate with the wall time of a stage before the judges: its share of a batch's."""
    known = {**candidate.history.get("seconds", {}), stage: round(seconds, 4)}
    return replace(candidate, history={**candidate.history, "seconds": known})


@cache
def own_version() -> str:
    """Return the version of this package."""
    try:
        return version("inverse-crystals")
    except PackageNotFoundError:
        return "unknown"


def _of(seconds: dict[str, float], name: str) -> float:
    return float(seconds.get(name, 0.0))
