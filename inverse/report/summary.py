"""What a run amounts to: hits by class, optimism gap, funnel. Pure functions."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inverse.candidates import ranking
from inverse.candidates.hit_counts import hit_counts
from inverse.candidates.objective import Objective
from inverse.candidates.statistics import wilson_interval
from inverse.candidates.types import Candidate, Origin, Rule, Status
from inverse.report.wishes import STARTED, verified_value
from surrogates.physics.properties import PROPERTIES, Judged


@dataclass(frozen=True)
class HitRate:
    """Hits of verifications started, with the Wilson 95 % interval; None when nothing was started."""

    hits: int
    started: int
    rate: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class OptimismGap:
    """How much better the predictions looked than the verdicts.

    Attributes:
        property: name.
        relative: median of (predicted mean at selection - verified) / verified; None without any, and for
            energies per atom, whose zero is a convention: a hull distance of 0 would be infinitely wrong.
        absolute: median of (predicted mean at selection - verified), natural unit; None without any.
        n: verified candidates that have both values.
        n_undefined: of these, how many have no relative difference: an energy, or a verified value of 0.
        n_failed: verifications that ended without this value.
    """

    property: str
    relative: float | None
    absolute: float | None
    n: int
    n_undefined: int
    n_failed: int


@dataclass(frozen=True)
class FunnelStage:
    """One narrowing of the run.

    Attributes:
        name: proposed, passed the screen, verification started, converged, hit ...
        count: candidates that came this far.
        lost: reason -> how many ended between the previous stage and this one, most frequent first.
    """

    name: str
    count: int
    lost: Mapping[str, int]


def hit_rate(candidates: Iterable[Candidate], proposer: str | None = None) -> HitRate:
    """Return the hit rate of a run, or of one proposer in it; the denominator is verifications started."""
    chosen = [c for c in candidates if c.status in STARTED and proposer in (None, c.proposer)]
    hits = sum(c.status is Status.HIT for c in chosen)
    if not chosen:
        return HitRate(0, 0, None, None, None)
    lower, upper = wilson_interval(hits, len(chosen))
    return HitRate(hits, len(chosen), hits / len(chosen), lower, upper)


def hits_by_class(candidates: Iterable[Candidate]) -> dict[str, int]:
    """Return how many hits are known, derivative and new, zeros included; 'unclassified' only when some are.

    >>> hits_by_class([])
    {'known': 0, 'derivative': 0, 'new': 0}
    """
    return dict(hit_counts(candidates).by_class)


def optimism_gap(candidates: Iterable[Candidate], property_name: str) -> OptimismGap:
    """Return the optimism gap of one property over all verified candidates, hits or not."""
    differences, ratios, failed = [], [], 0
    is_energy = property_name in PROPERTIES and PROPERTIES[property_name].judged is Judged.ENERGY
    for candidate in candidates:
        if candidate.status not in STARTED:
            continue
        value = verified_value(candidate, property_name)
        predicted = candidate.predictions.get(property_name)
        if value is None:
            failed += 1
        elif predicted is not None and math.isfinite(predicted.mean):
            differences.append(predicted.mean - value)
            if value != 0 and not is_energy:
                ratios.append((predicted.mean - value) / value)
    return OptimismGap(
        property_name,
        median(ratios) if ratios else None,
        median(differences) if differences else None,
        len(differences),
        len(differences) - len(ratios),
        failed,
    )


def funnel(
    candidates: Sequence[Candidate], objective: Objective, counts: Mapping[str, Any] | None = None
) -> list[FunnelStage]:
    """Return how the run narrowed, from proposals to hits, with what was lost at each stage and why.

    Args:
        candidates: those stored one by one.
        objective: of the config; names what verified candidates missed.
        counts: the manifest's funnel; its totals count where they exceed what is stored.
    """
    counts = counts or {}
    screened = _frequent(_rule_of(c) for c in candidates if c.status is Status.SCREENED_OUT)
    for name, number in dict(counts.get("screened_out") or {}).items():
        screened[name] = max(number, screened.get(name, 0))
    started = [c for c in candidates if c.status in STARTED]
    excluded = [c for c in started if _is_excluded_seed(c)]
    failed = [c for c in started if c.status is Status.FAILED and not _is_excluded_seed(c)]
    hits = sum(c.status is Status.HIT for c in started)
    n_screened = sum(screened.values())
    n_proposed = max(int(counts.get("proposed") or 0), len(candidates))
    waiting = n_proposed - n_screened - len(started)
    missed = _frequent(
        [
            *(_why_no_hit(c, objective) for c in started if c.status is Status.VERIFIED),
            *(f"a seed that the config excludes: {c.rule}" for c in excluded),
        ]
    )
    n_alike = sum(c.status is Status.PREDICTED and c.rule is Rule.LIKE_VERIFIED for c in candidates)
    n_triaged_out = sum(c.status is Status.TRIAGED_OUT for c in candidates)
    unchosen = {
        str(Rule.LIKE_VERIFIED): n_alike,
        "thrown out by triage": n_triaged_out,
        "not selected": waiting - n_alike - n_triaged_out,
    }
    return [
        FunnelStage("proposed", n_proposed, {}),
        FunnelStage("passed the screen", n_proposed - n_screened, _sorted(screened)),
        FunnelStage("verification started", len(started), {k: n for k, n in unchosen.items() if n > 0}),
        FunnelStage("converged", len(started) - len(failed), _frequent(map(_why_failed, failed))),
        FunnelStage("hit", hits, missed),
    ]


def _is_excluded_seed(candidate: Candidate) -> bool:
    """Return whether a seed came through its verification and only a rule of the config keeps it out."""
    is_out = candidate.origin is Origin.SEED and candidate.rule is not None and candidate.rule.is_of_config
    return is_out and candidate.status is Status.FAILED


def _rule_of(candidate: Candidate) -> str:
    return "no reason given" if candidate.rule is None else str(candidate.rule)


def _why_no_hit(candidate: Candidate, objective: Objective) -> str:
    if candidate.duplicate_of:
        return "duplicate of a better one"
    missed = ranking.misses(candidate, objective)
    beyond = [m.target.property.symbol for m in missed if m.value is not None]
    doubted = [m.target.property.symbol for m in missed if m.value is None and m.probability is not None]
    unknown = [m.target.property.symbol for m in missed if m.value is None and m.probability is None]
    said = [
        f"{verb} {' and '.join(names)}"
        for verb, names in (("misses", beyond), ("too unsure of", doubted), ("no value of", unknown))
        if names
    ]
    return ", ".join(said) or ("hit class unknown" if candidate.unclassified else "not ranked yet")


def _why_failed(candidate: Candidate) -> str:
    verdict = candidate.verification
    if candidate.rule is not None:
        return f"after relaxation: {candidate.rule}"
    if verdict is not None and verdict.failure is not None:
        return str(verdict.failure)
    if verdict is not None and verdict.is_stable is False:
        return "mechanically unstable"
    return "cannot be judged"


def _frequent(names: Iterable[str]) -> dict[str, int]:
    return _sorted(Counter(names))


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
