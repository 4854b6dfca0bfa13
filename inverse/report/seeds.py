"""What became of the user's own crystals, and what the best find has over them, in words."""

import math
from collections.abc import Sequence

from inverse.campaign.candidate_table import best_structure, ranked, reason
from inverse.campaign.run import Run
from inverse.candidates import ranking
from inverse.candidates.objective import Objective
from inverse.candidates.types import Candidate, Origin, Status, Target
from inverse.report import wording
from inverse.report.wishes import verified_value
from surrogates.crystals.formulas import display_formula


def seed_lines(run: Run) -> list[str]:
    """Return a line on each seed and one on what the best other crystal has over it; [] without seeds."""
    objective = Objective.of(run.config)
    seeds = sorted((c for c in run.candidates if c.origin is Origin.SEED), key=lambda c: c.id)
    others = [c for c in ranked(run.candidates) if c.origin is not Origin.SEED]
    judged = [c for c in others if c.status in (Status.HIT, Status.VERIFIED)]
    best = next((c for c in judged if c.status is Status.HIT), judged[0] if judged else None)
    lines = []
    for seed in seeds:
        lines.append(_said_of(seed, objective))
        if best is not None and (differences := compared(best, seed, objective.deciding)):
            lines.append(f"{_formula(best)} ({best.id}) beside {_formula(seed)}: {', '.join(differences)}.")
    return lines


def compared(candidate: Candidate, seed: Candidate, targets: Sequence[Target]) -> list[str]:
    """Return by how much a crystal's verified values differ from a seed's, target by target."""
    said = []
    for target in targets:
        name = target.property.name
        own, reference = verified_value(candidate, name), verified_value(seed, name)
        if own is None or reference is None:
            continue
        change = own - reference
        sign = "+" if change > 0 else ""
        amount = f"{sign}{wording.number(change, name)} {target.property.unit}".rstrip()
        gained = _distance(target, reference) - _distance(target, own)
        verdict = "better" if gained > 0 else "worse" if gained < 0 else "both meet the target"
        said.append(f"{wording.label(name)} {amount} ({verdict})")
    return said


def _said_of(seed: Candidate, objective: Objective) -> str:
    said = _verdict_on(seed, objective)
    return f"{said} Of its file: {'; '.join(seed.remarks)}." if seed.remarks else said


def _verdict_on(seed: Candidate, objective: Objective) -> str:
    name = _formula(seed)
    verdict = seed.verification
    if verdict is None:
        return f"{name}, your crystal, was not verified{': ' + reason(seed) if reason(seed) else ''}."
    if not verdict.values or verdict.is_stable is False:
        return f"{name}, your crystal: {reason(seed) or 'mechanically unstable'}."
    missed = [_missed(miss) for miss in ranking.misses(seed, objective)]
    out = f" The search was not to hand it out ({seed.rule})." if seed.rule is not None else ""
    if not missed:
        return f"{name} itself meets every target.{out}"
    return f"{name} itself misses: {'; '.join(missed)}.{out}"


def _missed(miss: ranking.Miss) -> str:
    name, target = miss.target.property.name, miss.target
    if miss.value is None:
        return str(miss)
    value, of = wording.number(miss.value, name), f" {target.property.unit}".rstrip()
    if math.isfinite(target.lower) and math.isfinite(target.upper):
        asked = f"{wording.number(target.lower, name)} to {wording.number(target.upper, name)}{of} asked"
        return f"{wording.label(name)} {value} where {asked}"
    if math.isfinite(target.lower):
        return f"{wording.label(name)} {value} of {wording.number(target.lower, name)}{of} asked"
    return f"{wording.label(name)} {value} where at most {wording.number(target.upper, name)}{of} asked"


def _distance(target: Target, value: float) -> float:
    """Return how far outside the target's bounds a value lies; 0 inside."""
    return max(target.lower - value, value - target.upper, 0.0)


def _formula(candidate: Candidate) -> str:
    return display_formula(best_structure(candidate).composition)
