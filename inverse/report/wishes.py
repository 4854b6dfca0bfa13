"""Which target binds, and the nearest wish that a run could have fulfilled. Pure functions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inverse.candidates.decisive_targets import STABLE_WITHIN, effective_targets
from inverse.candidates.types import Candidate, Status, Target

STARTED = (Status.FAILED, Status.VERIFIED, Status.HIT)
"""Statuses of candidates whose verification was started: the denominator of every rate."""


def verified_value(candidate: Candidate, property_name: str) -> float | None:
    """Return the verified mean on the DFT scale; None without a finite one."""
    if candidate.verification is None:
        return None
    value = candidate.verification.values.get(property_name)
    return value.mean if value is not None and math.isfinite(value.mean) else None


@dataclass(frozen=True)
class TargetMiss:
    """How often a hard target was missed by candidates that the judges gave values for.

    Attributes:
        target: which.
        missed: candidates whose verified value is beyond it, stopped ones included.
        missed_alone: of these, how many met all others.
        unknown: candidates with other verified values but not this one.
    """

    target: Target
    missed: int
    missed_alone: int
    unknown: int


@dataclass(frozen=True)
class Wish:
    """The smallest loosening of the targets that the verified candidates would have fulfilled.

    Attributes:
        candidate: who fulfils it.
        bounds: property name -> (asked lower, asked upper, value found); only targets that must give way.
        distance: largest relative violation.
        basis: "verified" or "predicted".
    """

    candidate: Candidate
    bounds: Mapping[str, tuple[float, float, float]]
    distance: float
    basis: str


def target_misses(candidates: Iterable[Candidate], targets: Sequence[Target]) -> list[TargetMiss]:
    """Return for each hard target how many judged candidates missed it; the binding one first.

    A target binds when it is the only one missed most often; ties are broken by all misses.
    """
    hard = effective_targets(targets)
    tallies = {target: [0, 0, 0] for target in hard}
    for candidate in candidates:
        values = {t: verified_value(candidate, t.property.name) for t in hard}
        if candidate.status not in STARTED or not any(value is not None for value in values.values()):
            continue
        missed = [t for t, value in values.items() if value is not None and not t.is_met(value)]
        for target in hard:
            tallies[target][0] += target in missed
            tallies[target][2] += values[target] is None
        if len(missed) == 1 and candidate.status is not Status.FAILED:
            tallies[missed[0]][1] += 1
    misses = [TargetMiss(target, *tally) for target, tally in tallies.items()]
    return sorted(misses, key=lambda miss: (-miss.missed_alone, -miss.missed))


def binding_target(candidates: Iterable[Candidate], targets: Sequence[Target]) -> TargetMiss | None:
    """Return the target that kept most candidates from being hits; None when none was missed."""
    misses = target_misses(candidates, targets)
    return misses[0] if misses and misses[0].missed > 0 else None


def nearest_wish(candidates: Sequence[Candidate], targets: Sequence[Target]) -> Wish | None:
    """Return the smallest loosening of the targets that a candidate of this run fulfils.

    Verified, Born-stable candidates count first; without any, the predictions of those that were screened.
    The distance is the largest violation relative to the bound (0.1 eV/atom for energies). None when no
    candidate has values, or when one meets everything.
    """
    hard = effective_targets(targets)
    verified = [
        c
        for c in candidates
        if c.status is Status.VERIFIED and c.verification and c.verification.is_stable is not False
    ]
    wishes = [_wish(c, hard, "verified") for c in verified]
    found = [wish for wish in wishes if wish is not None]
    if not found:
        waiting = [c for c in candidates if c.status in (Status.PREDICTED, Status.FAILED)]
        wishes = [_wish(c, hard, "predicted") for c in waiting]
        found = [wish for wish in wishes if wish is not None]
    return min(found, key=lambda wish: (wish.distance, wish.candidate.id), default=None)


def violation(target: Target, value: float) -> float:
    """Return by how much a value misses a target, relative to the bound; 0 when met.

    Energies are measured in units of 0.1 eV/atom, so that a bound near 0 has a scale.
    """
    beyond = max(target.lower - value, value - target.upper, 0.0)
    if beyond == 0.0:
        return 0.0
    bound = target.lower if value < target.lower else target.upper
    scale = STABLE_WITHIN if target.property.unit.startswith("eV") else max(abs(bound), 1e-6)
    return beyond / scale


def _wish(candidate: Candidate, hard: Sequence[Target], basis: str) -> Wish | None:
    bounds: dict[str, tuple[float, float, float]] = {}
    distance = 0.0
    for target in hard:
        name = target.property.name
        value = verified_value(candidate, name) if basis == "verified" else None
        if value is None:
            predicted = candidate.predictions.get(name)
            value = predicted.mean if predicted is not None and math.isfinite(predicted.mean) else None
        if value is None:
            continue
        if (miss := violation(target, value)) > 0:
            bounds[name] = (target.lower, target.upper, value)
            distance = max(distance, miss)
    return Wish(candidate, bounds, distance, basis) if bounds else None
