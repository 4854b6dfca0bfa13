"""The referee judges a run's hits, and rejects, again, by values that rank, flags and feedback never saw.

The elastic tensor of the judge of G is in the record: whoever averages it has that judge's own K.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inverse.campaign.referee_file import write_referee
from inverse.campaign.run import read_run
from inverse.candidates.statistics import wilson_interval
from inverse.candidates.types import Candidate, Status, Target, Verification
from inverse.inputs.records import verification_to_record
from inverse.verification.calibration.referee_quality import Quality
from inverse.verification.panel import REFEREED, panel_named
from inverse.verification.plan import VerificationPlan

MOST_ASKED = 50
"""Hits, and rejects, that it is asked about; drawn by the run's seed where there are more."""

HIT, REJECT = "hit", "reject"
"""What the judges called a candidate that the referee was asked about."""


def referee_run(folder: Path, workers: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the referee's record of hits and then of rejects, each in rank order; all are written at the end.

    A reject is what the judges finished and found to miss a hard target that the referee judges too. Changes
    neither rank nor status nor anything that a resumed run reads.

    Args:
        folder: of a run.
        workers: processes beside this one; None takes one per core, at most one per candidate.

    Raises:
        RunFolderError: no run there, damaged, or not writable.
        MissingExtraError: the referee's potentials are not installed.
    """
    from inverse.verification import open_verifier
    from inverse.verification.workers import default_workers

    run = read_run(folder)
    targets = asked_of_referee(run.config.targets)
    draw = random.Random(run.config.seed)
    hits = _drawn([c for c in run.candidates if c.status is Status.HIT], draw)
    rejects = _drawn([c for c in run.candidates if is_reject(c, targets)], draw)
    asked = [*((HIT, c) for c in hits), *((REJECT, c) for c in rejects)]
    if workers is None:
        workers = min(default_workers(), len(asked))
    plan = VerificationPlan(panel_named(referee=True), device=run.config.device)
    verifier = open_verifier(plan, workers)
    records: dict[int, dict[str, Any]] = {}
    following = 0
    try:
        for position, verdict in verifier.verify_each([c.structure for _, c in asked]):
            judged_as, candidate = asked[position]
            records[position] = referee_record(candidate, verdict, targets) | {"judged_as": judged_as}
            while following in records:
                yield records[following]
                following += 1
    finally:
        verifier.close()
    write_referee(folder, [records[position] for position in sorted(records)])


def asked_of_referee(targets: Sequence[Target]) -> list[Target]:
    """Return the hard targets of properties that the referee judges."""
    return [t for t in targets if t.is_hard and t.property.name in {p.name for p in REFEREED}]


def is_reject(candidate: Candidate, targets: Sequence[Target]) -> bool:
    """Return whether the judges finished a candidate and found that it misses one of the targets."""
    verdict = candidate.verification
    if (
        candidate.status is Status.HIT
        or verdict is None
        or not verdict.converged
        or verdict.is_stable is False
    ):
        return False
    means = [_mean(verdict, t.property.name) for t in targets]
    return all(map(math.isfinite, means)) and not all(
        t.is_met(m) for t, m in zip(targets, means, strict=True)
    )


def _drawn(candidates: Sequence[Candidate], draw: random.Random) -> list[Candidate]:
    """Return `MOST_ASKED` candidates at random, in their order."""
    chosen = sorted(draw.sample(range(len(candidates)), min(MOST_ASKED, len(candidates))))
    return [candidates[i] for i in chosen]


def referee_record(candidate: Candidate, verdict: Verification, targets: Sequence[Target]) -> dict[str, Any]:
    """Return what the referee says of one candidate and whether it agrees that it is a hit.

    It does when every target is met by its calibrated mean; never with a crystal that it cannot finish or
    calls unstable. Where the judges took a value from the referee's own potential (on appeal), its word is no
    second one and does not count.

    Args:
        candidate: hit or reject.
        verdict: the referee's.
        targets: of `asked_of_referee`.
    """
    record = verification_to_record(verdict)
    targets = [t for t in targets if not _is_by_the_same(candidate, verdict, t.property.name)]
    missed = [t.property.name for t in targets if not t.is_met(_mean(verdict, t.property.name))]
    finished = verdict.converged and verdict.is_stable is not False
    names = {p.name for p in REFEREED}
    return {
        "id": candidate.id,
        "formula": candidate.structure.composition.reduced_formula,
        "agrees": bool(finished and not missed) if targets else None,
        "missed": missed,
        "reason": verdict.reason or ("" if finished else "mechanically unstable"),
        "values": {name: value for name, value in record["values"].items() if name in names},
    }


def _is_by_the_same(candidate: Candidate, verdict: Verification, name: str) -> bool:
    judged = candidate.verification.values.get(name) if candidate.verification is not None else None
    refereed = verdict.values.get(name)
    return judged is not None and refereed is not None and judged.potential == refereed.potential


def summary(
    records: Sequence[Mapping[str, Any]], quality: Quality | None, n_hits: int, n_verified: int
) -> str:
    """Return in a few lines with what the referee agrees, and what that is worth.

    Args:
        records: of `referee_run`.
        quality: of the referee on DFT rows; None where too few of them say.
        n_hits: all hits of the run; the referee was asked about some.
        n_verified: candidates whose verification was started, failures among them.
    """
    asked = [r for r in records if r["agrees"] is not None]
    if records and not asked:
        return "no hard target asks for what the referee judges"
    hits, rejects = ([bool(r["agrees"]) for r in asked if r["judged_as"] == kind] for kind in (HIT, REJECT))
    lines = []
    if hits:
        low, high = wilson_interval(sum(hits), len(hits))
        lines.append(
            f"the referee agrees with {sum(hits)} of {len(hits)} hits "
            f"(95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
        )
    else:
        lines.append("the referee has no hit to judge")
    if rejects:
        lines.append(f"it would take {sum(rejects)} of {len(rejects)} rejects")
    if quality is None:
        return "\n".join([*lines, "too few DFT rows meet these targets to say what its word is worth"])
    lines.append(
        f"of DFT rows it takes {100 * quality.sensitivity:.0f} % of the {quality.n_meet} that meet these "
        f"targets, and {100 * (1 - quality.specificity):.0f} % of the {quality.n_miss} that do not"
    )
    (true, n), (still, others) = quality.taken, quality.refused
    lines.append(
        f"of those that the judges take, {true} of {n} that it takes meet them, {still} of {others} others"
    )
    if hits:
        share, low, high = (
            value / len(hits) for value in quality.true_hits(sum(hits), len(hits) - sum(hits))
        )
        lines.append(
            f"by that {share * n_hits:.1f} of the {n_hits} hits are true ({low * n_hits:.1f} to "
            f"{high * n_hits:.1f}), {100 * share * n_hits / n_verified:.0f} % of {n_verified} verified"
        )
    return "\n".join(lines)


def _mean(verdict: Verification, name: str) -> float:
    return verdict.values[name].mean if name in verdict.values else math.nan
