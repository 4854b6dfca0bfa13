"""Verdicts -> failed, verified or hit; score and rank; duplicates. Pure functions."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pymatgen.core import Structure

from inverse.derived import with_derived
from inverse.judged import is_predicted_only
from inverse.objective import PREDICTED_ENOUGH, Objective
from inverse.second_opinion import doubt_factor
from inverse.types import Candidate, HitClass, Status, Target, Verification
from surrogates.errors import EngineError
from surrogates.formulas import display_formula
from surrogates.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY


@dataclass(frozen=True)
class Kinship:
    """Where a relaxed candidate stands among known materials."""

    hit_class: HitClass
    derivative_of: str = ""
    nearest_known: str = ""
    parent_prototype: str = ""
    vacancy_of: str = ""


Screening = Callable[[Structure], str]
"""Structure -> "" or "constraint_name: detail"."""

Classify = Callable[[Structure], Kinship]
"""Relaxed structure -> its kinship; may raise EngineError."""


def judged(
    candidate: Candidate,
    verification: Verification,
    objective: Objective,
    screening: Screening,
    classify: Classify,
) -> Candidate:
    """Return the candidate with its verdict: failed, verified or (duplicates aside) hit.

    A hit converged, is Born-stable, still meets the constraints after relaxation, meets every hard target by
    the judges' calibrated means and lies at most 0.1 eV/atom above the hull unless a target says otherwise.
    What cannot be called known, derivative or new is no hit either, and its reason says so.
    """
    verification = replace(verification, values=with_derived(verification.values, verification.structure))
    candidate = replace(candidate, verification=verification)
    reason = _failure(verification)
    relaxed = verification.structure
    if relaxed is not None:
        reason = reason or _after("after relaxation: ", screening(relaxed))
        candidate = _with_kinship(candidate, relaxed, classify)
    candidate = replace(candidate, probability_after=probability_after(candidate, objective))
    candidate = replace(candidate, score=score(candidate, objective))
    if reason:
        return replace(candidate, status=Status.FAILED, reason=reason)
    missed = missed_target(candidate, objective)
    if not missed and candidate.hit_class is None:
        missed = f"hit class: {candidate.nearest_known or 'no relaxed structure to classify'}"
    return replace(candidate, status=Status.VERIFIED if missed else Status.HIT, reason=missed)


def confirmed(candidate: Candidate, confirm: Classify, derivatives: bool) -> Candidate:
    """Return a hit of class new after asking whether it derives from something known by formula only.

    Where `derivatives` are not wanted and it does, it has failed as one that was known for it at once.
    """
    relaxed = candidate.verification.structure if candidate.verification is not None else None
    if candidate.status is not Status.HIT or candidate.hit_class is not HitClass.NEW or relaxed is None:
        return candidate
    found = _with_kinship(candidate, relaxed, confirm)
    if derivatives or found.hit_class is not HitClass.DERIVATIVE:
        return found
    reason = f"after relaxation: derivatives: an ordering of {display_formula(found.derivative_of)}"
    return replace(found, status=Status.FAILED, reason=reason)


def missed_target(candidate: Candidate, objective: Objective) -> str:
    """Return the first deciding target that the verdict does not meet, "" when all are met.

    A property that no judge computes, such as the hull with a potential whose energies stand on no scale, is
    predicted only: met when the prediction says so with P >= 0.8.
    """
    values = candidate.verification.values if candidate.verification is not None else {}
    for target in objective.deciding:
        name = target.property.name
        if name in values and math.isfinite(values[name].mean):
            if not target.is_met(values[name].mean):
                return f"{name}: {values[name].mean:.4g} {target.property.unit} misses {_bounds(target)}"
        elif not _predicted_to_meet(candidate, target):
            return f"{name}: no judge gave a value and the prediction does not meet {_bounds(target)}"
    return ""


def probability_after(candidate: Candidate, objective: Objective) -> float:
    """Return P(all that decides a hit is met), prediction and verdict weighted by their errors."""
    if candidate.verification is None or not candidate.verification.converged:
        return 0.0
    probability = 1.0
    for target in objective.deciding:
        mean, std = _combined(candidate, target.property.name)
        probability *= _inside(mean, std, target.lower, target.upper)
    return probability


def score(candidate: Candidate, objective: Objective) -> float:
    """Return what decides the rank, higher is better: `probability_after` times the soft targets' worth.

    A second opinion beyond the stated errors, or of "unstable" or "another phase", lowers it.
    """
    means = {p.name: _combined(candidate, p.name)[0] for p in objective.properties}
    verdict = candidate.verification
    factor = 1.0 if verdict is None else doubt_factor(verdict.values, verdict.second_opinion, verdict.flags)
    return factor * objective.score(candidate.probability_after or 0.0, means)


def with_duplicates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, one hit per (chemical system, parent prototype): the best-ranked.

    The others become verified with `duplicate_of`. Repeating it changes nothing; what stays as it was is the
    same object.
    """
    met = [c for c in candidates if has_met(c)]
    best: dict[tuple[str, str], Candidate] = {}
    for candidate in sorted(met, key=lambda c: (-(c.score or 0.0), c.id)):
        best.setdefault(_group(candidate), candidate)
    return [
        _ranked_beside(candidate, best[_group(candidate)].id) if has_met(candidate) else candidate
        for candidate in candidates
    ]


def _ranked_beside(candidate: Candidate, best: str) -> Candidate:
    """Return what met every target as hit or as duplicate of `best`; itself when it is that already."""
    if candidate.id == best:
        status, duplicate_of, reason = Status.HIT, "", ""
    else:
        status, duplicate_of = Status.VERIFIED, best
        reason = f"duplicate of {best}: same chemical system and parent prototype"
    if (candidate.status, candidate.duplicate_of) == (status, duplicate_of):
        return candidate
    return replace(candidate, status=status, duplicate_of=duplicate_of, reason=reason)


def has_met(candidate: Candidate) -> bool:
    """Return whether a candidate met all that decides a hit: it is one, or the duplicate of a better one."""
    is_duplicate = candidate.status is Status.VERIFIED and bool(candidate.duplicate_of)
    return candidate.status is Status.HIT or is_duplicate


def as_judged(candidate: Candidate) -> Candidate:
    """Return the candidate as it stood before others of its kind were looked at.

    What a run learns from a step must not depend on later steps, or a resumed run would learn something else.
    """
    if has_met(candidate) and candidate.duplicate_of:
        return replace(candidate, status=Status.HIT, duplicate_of="", reason="")
    return candidate


def _failure(verification: Verification) -> str:
    if not verification.converged:
        return verification.reason or "not converged"
    if verification.is_stable is False:
        return verification.reason or "mechanically unstable"
    return ""


def _after(prefix: str, reason: str) -> str:
    return prefix + reason if reason else ""


def _with_kinship(candidate: Candidate, relaxed: Structure, classify: Classify) -> Candidate:
    try:
        kin = classify(relaxed)
    except EngineError as error:
        return replace(candidate, nearest_known=f"unknown ({error})")
    return replace(
        candidate,
        hit_class=kin.hit_class,
        derivative_of=kin.derivative_of,
        nearest_known=kin.nearest_known,
        vacancy_of=kin.vacancy_of,
        parent_prototype=kin.parent_prototype,
    )


def _group(candidate: Candidate) -> tuple[str, str]:
    return candidate.structure.composition.chemical_system, candidate.parent_prototype


def _predicted_to_meet(candidate: Candidate, target: Target) -> bool:
    name = target.property.name
    if not _nobody_judges(candidate, name) or name not in candidate.predictions:
        return False
    predicted = candidate.predictions[name]
    return _inside(predicted.mean, predicted.std, target.lower, target.upper) >= PREDICTED_ENOUGH


def _nobody_judges(candidate: Candidate, name: str) -> bool:
    """Return whether a property is predicted only: for ever, or because this potential gives no energy."""
    if is_predicted_only(name):
        return True
    flags = candidate.verification.flags if candidate.verification is not None else ()
    return name in (ENERGY_ABOVE_HULL.name, FORMATION_ENERGY.name) and "no_energy" in flags


def _combined(candidate: Candidate, name: str) -> tuple[float, float]:
    pairs = []
    verified = candidate.verification.values.get(name) if candidate.verification is not None else None
    for value in (candidate.predictions.get(name), verified):
        if value is not None and math.isfinite(value.mean) and math.isfinite(value.std):
            is_sure = value.std <= 0.0  # says no error of its own, so it has no say beside a verdict
            if not is_sure or value is verified or verified is None:
                pairs.append((value.mean, max(value.std, 1e-6)))
    if verified is None and not _nobody_judges(candidate, name):
        return math.nan, math.nan
    if not pairs:
        return math.nan, math.nan
    weights = [1.0 / std**2 for _, std in pairs]
    mean = sum(w * m for w, (m, _) in zip(weights, pairs, strict=True)) / sum(weights)
    return mean, math.sqrt(1.0 / sum(weights))


def _inside(mean: float, std: float, lower: float, upper: float) -> float:
    if not (math.isfinite(mean) and math.isfinite(std)):
        return 0.0
    std = max(std, 1e-9)
    return _cumulative((upper - mean) / std) - _cumulative((lower - mean) / std)


def _cumulative(z: float) -> float:
    return 0.5 * (1.0 + math.erf(max(-40.0, min(40.0, z)) / math.sqrt(2.0)))


def _bounds(target: Target) -> str:
    return f"[{target.lower:g}, {target.upper:g}]"
