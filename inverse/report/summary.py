"""What a run amounts to: hits by class, optimism gap, funnel. Pure functions."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from inverse.deciding import effective_targets
from inverse.report.wishes import STARTED, verified_value
from inverse.types import Candidate, HitClass, Status, Target
from surrogates.properties import PROPERTIES

_NUMBER = re.compile(r"(?<!\S)[-−]?\d+(?:\.\d+)?(?:\s*(?:eV/atom|eV/Å|Å|GPa|s|%))?(?!\S)")


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


def wilson_interval(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Return the Wilson score interval of a rate; 95 % by default.

    Raises:
        ValueError: n < 1 or hits outside 0..n.

    References:
        Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953

    >>> low, high = wilson_interval(10, 40)
    >>> f"{low:.3f} {high:.3f}"
    '0.142 0.402'
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}: no rate")
    rate, z2 = hits / n, z * z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


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
    counts = dict.fromkeys((str(c) for c in HitClass), 0)
    for candidate in candidates:
        if candidate.status is Status.HIT:
            name = "unclassified" if candidate.hit_class is None else str(candidate.hit_class)
            counts[name] = counts.get(name, 0) + 1
    return counts


def optimism_gap(candidates: Iterable[Candidate], property_name: str) -> OptimismGap:
    """Return the optimism gap of one property over all verified candidates, hits or not."""
    differences, ratios, failed = [], [], 0
    is_energy = property_name in PROPERTIES and PROPERTIES[property_name].unit == "eV/atom"
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


def reason_name(reason: str) -> str:
    """Return the constraint or stage that a reason starts with; numbers go, so that it can be counted.

    >>> reason_name("distances: W-W 1.2 Å"), reason_name("after relaxation: novelty: in mp")
    ('distances', 'after relaxation: novelty')
    >>> reason_name("energy above hull 0.45 eV/atom: the ladder stops")
    'energy above hull'
    """
    parts = [part.strip() for part in reason.split(":")]
    name = ": ".join(parts[:2]) if parts[0] == "after relaxation" else parts[0]
    return " ".join(_NUMBER.sub(" ", name).split()) or "no reason given"


def funnel(
    candidates: Sequence[Candidate], targets: Sequence[Target], counts: Mapping[str, Any] | None = None
) -> list[FunnelStage]:
    """Return how the run narrowed, from proposals to hits, with what was lost at each stage and why.

    Args:
        candidates: those stored one by one.
        targets: of the config; names what verified candidates missed.
        counts: the manifest's funnel; its totals count where they exceed what is stored.
    """
    counts = counts or {}
    screened = _frequent(reason_name(c.reason) for c in candidates if c.status is Status.SCREENED_OUT)
    for name, number in dict(counts.get("screened_out") or {}).items():
        screened[name] = max(number, screened.get(name, 0))
    started = [c for c in candidates if c.status in STARTED]
    failed = [c for c in started if c.status is Status.FAILED]
    hits = sum(c.status is Status.HIT for c in started)
    n_screened = sum(screened.values())
    n_proposed = max(int(counts.get("proposed") or 0), len(candidates))
    waiting = n_proposed - n_screened - len(started)
    missed = _frequent(_why_no_hit(c, targets) for c in started if c.status is Status.VERIFIED)
    return [
        FunnelStage("proposed", n_proposed, {}),
        FunnelStage("passed the screen", n_proposed - n_screened, _sorted(screened)),
        FunnelStage("verification started", len(started), {"not selected": waiting} if waiting > 0 else {}),
        FunnelStage(
            "converged", len(started) - len(failed), _frequent(reason_name(_why_failed(c)) for c in failed)
        ),
        FunnelStage("hit", hits, missed),
    ]


def _why_no_hit(candidate: Candidate, targets: Sequence[Target]) -> str:
    if candidate.duplicate_of:
        return "duplicate of a better one"
    if candidate.verification is not None and candidate.verification.is_stable is False:
        return "mechanically unstable"
    missed = []
    for target in effective_targets(targets):
        value = verified_value(candidate, target.property.name)
        if value is not None and not target.is_met(value):
            missed.append(target.property.symbol)
    return "misses " + " and ".join(missed) if missed else reason_name(candidate.reason)


def _why_failed(candidate: Candidate) -> str:
    return candidate.reason or (candidate.verification.reason if candidate.verification else "")


def _frequent(names: Iterable[str]) -> dict[str, int]:
    return _sorted(Counter(names))


def _sorted(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
