"""`inverse bench audit RUN...`: were there hits among what a run threw away, or never chose?

Two pools. What triage threw out; and what was predicted and never verified, or screened out by a rule that is
physics or a prediction. What a constraint of the user forbids is no loss, and is not audited. Judges begin
with the crystal as proposed, as they would have without the stage, and their answers live in the verification
store: a call that runs out of time is taken up by the next.
"""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

import numpy as np

from inverse.benchmarks.arguments import Arguments, Relaxes
from inverse.benchmarks.witnessed_energies import Judged, biases
from inverse.campaign.choice import LEAST_PROBABILITY
from inverse.campaign.parts import Judging
from inverse.campaign.run import Run, read_run
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import HitGroups, confirmed, has_met, judged
from inverse.candidates.statistics import wilson_interval
from inverse.candidates.types import Candidate, Rule, Status, Verification
from inverse.inputs.campaign_config import Budget, CampaignConfig, Search
from inverse.inputs.records import structure_to_record
from inverse.report.progress_bar import progress
from surrogates.crystals.formulas import display_formula
from surrogates.errors import ConfigError

LOGGER = logging.getLogger(__name__)

MOST_HITS = 0.05
"""Share of hits among what a stage threw away above which the stage is to be mended."""


class Pool(StrEnum):
    """What is drawn from, each by itself."""

    TRIAGE = "triage"
    CHOICE = "screen and choice"


@dataclass(frozen=True)
class Thrown:
    """A candidate that was thrown away or never chosen.

    Attributes:
        run: whose it is.
        candidate: as the run left it.
        pool: by whom.
        reason: why, of few: what is counted.
    """

    run: Run
    candidate: Candidate
    pool: Pool
    reason: str


@dataclass(frozen=True)
class Audited:
    """What the judges make of one of them.

    Attributes:
        thrown: which.
        candidate: as judged; None while it was not asked.
        is_distinct: a hit unlike every hit of its run, by system and parent prototype.
    """

    thrown: Thrown
    candidate: Candidate | None = None
    is_distinct: bool = False

    @property
    def is_hit(self) -> bool:
        """Whether it met all that decides a hit."""
        return self.candidate is not None and self.candidate.status is Status.HIT


def run_audit(n: int = 50, seed: int = 0, *, given: Arguments) -> dict[str, Any]:
    """Return how many hits there are among crystals drawn from each pool, by stage and by reason.

    Args:
        n: drawn of each pool; a larger n draws the same first.
        seed: of the draw.
        given: run folders, and seconds after which no verification is begun.

    Raises:
        ConfigError: no run is named, or the config of one names code.
        RunFolderError: no run there, or damaged.
    """
    if not given.runs:
        raise ConfigError("bench audit: name at least one run folder")
    until = time.monotonic() + given.seconds
    runs = [read_run(folder) for folder in given.runs]
    for run in runs:
        if run.config.code:
            code = run.config.code[0]
            raise ConfigError(f"bench audit: {run.folder}: asks {code}, which is no judge of record")
    pools = thrown_away(runs)
    drawn = [one for pool in Pool for one in draw(pools[pool], n, seed)]
    found = list(audited(drawn, given.judging_of, lambda: time.monotonic() > until))
    energies = {} if given.witness is None else witnessed(runs, found, n, seed, given.witness, until)
    return record(pools, found) | energies


def witnessed(
    runs: Sequence[Run], found: Sequence[Audited], n: int, seed: int, witness: Relaxes, until: float
) -> dict[str, Any]:
    """Return the bias of judge and triage on crystals that were triaged, those kept and those thrown out.

    Args:
        runs: whose kept ones are drawn, at most n.
        found: the audited ones.
        n: at most so many of each.
        seed: of the draw.
        witness: asked, and closed.
        until: `time.monotonic()` after which nobody is asked.
    """
    kept = [
        Judged(c, c.triaged.energy)
        for run in runs
        for c in run.candidates
        if c.verification is not None and c.triaged is not None and c.triaged.is_relaxed
    ]
    kept = [kept[k] for k in np.random.default_rng(seed).permutation(len(kept))[:n]]
    out = [
        Judged(one.candidate, said.energy)
        for one in found
        if one.candidate is not None
        and (said := one.thrown.candidate.triaged) is not None
        and said.is_relaxed
    ]
    try:
        parts = {
            name: biases(crystals, witness, lambda: time.monotonic() > until)
            for name, crystals in (("kept", kept), ("thrown out", out))
        }
    finally:
        witness.close()
    rows = [
        {"triaged and": name, "energy": what.replace("_", " "), **part[what]}
        for name, part in parts.items()
        for what in part
        if "_minus_" in what and part[what]["n"]
    ]
    return {"energies": {"witness": witness.potential, **parts}, "energy_table": rows}


def thrown_away(runs: Sequence[Run]) -> dict[Pool, list[Thrown]]:
    """Return who may be drawn, in the order of runs and proposals; a crystal of several runs once."""
    pools: dict[Pool, list[Thrown]] = {pool: [] for pool in Pool}
    seen: set[tuple[str, str]] = set()
    for run in runs:
        asked = _asked_alike(run.config)
        for candidate in sorted(run.candidates, key=lambda c: (len(c.id), c.id)):
            pool, reason = pool_of(candidate)
            key = (asked, _digest(candidate))
            if pool is not None and key not in seen:
                seen.add(key)
                pools[pool].append(Thrown(run, candidate, pool, reason))
    return pools


def pool_of(candidate: Candidate) -> tuple[Pool | None, str]:
    """Return who threw a candidate away, and why; None for one that was verified, or broke a constraint.

    None as well where an old run folder does not name the rule.
    """
    match candidate.status:
        case Status.TRIAGED_OUT:
            return Pool.TRIAGE, _reason_of_triage(candidate)
        case Status.SCREENED_OUT if candidate.rule is not None and not candidate.rule.is_of_config:
            return Pool.CHOICE, f"screen: {candidate.rule}"
        case Status.PREDICTED:
            return Pool.CHOICE, f"choice: {_why_not_chosen(candidate)}"
    return None, ""


def _reason_of_triage(candidate: Candidate) -> str:
    said = candidate.triaged
    if said is None:
        return "unknown"
    if said.failure is not None:
        return f"not computed: {said.failure}"
    how = "relaxed" if said.is_relaxed else "at a single point"
    return f"energy, {how}" if candidate.rule is Rule.ENERGY else f"{candidate.rule}, {how}"


def _why_not_chosen(candidate: Candidate) -> str:
    if candidate.rule is Rule.LIKE_VERIFIED:
        return str(Rule.LIKE_VERIFIED)
    met = candidate.probability_target_met
    if met is None or met < LEAST_PROBABILITY:
        return f"P(targets met) < {LEAST_PROBABILITY:g}"
    return "others were better"


def draw(pool: Sequence[Thrown], n: int, seed: int) -> list[Thrown]:
    """Return at most n of a pool at random, in the order of the draw."""
    order = np.random.default_rng(seed).permutation(len(pool))
    return [pool[k] for k in order[:n]]


def audited(
    drawn: Sequence[Thrown],
    judging_of: Callable[[CampaignConfig], Judging],
    should_stop: Callable[[], bool],
) -> Iterator[Audited]:
    """Yield all that were drawn, those of one config together; judged as a campaign would have."""
    alike: dict[str, list[Thrown]] = {}
    for one in drawn:
        alike.setdefault(_asked_alike(one.run.config), []).append(one)
    with progress("audit", len(drawn)) as bar:
        for together in alike.values():
            answers: dict[int, Audited] = {}
            if not should_stop():
                judging = judging_of(together[0].run.config)
                try:
                    structures = [one.candidate.structure for one in together]
                    for position, verdict in judging.verifier.verify_each(structures, should_stop):
                        answers[position] = _judged(together[position], verdict, judging)
                        bar.advance(display_formula(structures[position].composition))
                finally:
                    judging.verifier.close()
            yield from (answers.get(k, Audited(one)) for k, one in enumerate(together))


def _judged(thrown: Thrown, verdict: Verification, judging: Judging) -> Audited:
    """Return what a campaign would have made of a verdict."""
    config = thrown.run.config
    fresh = replace(thrown.candidate, triaged=None, reason="", rule=None)
    try:
        found = judged(fresh, verdict, Objective.of(config), judging.rescreening, judging.classify)
        found = confirmed(found, judging.confirm, config.constraints.derivatives)
    except Exception as error:  # as in a campaign: one verdict that cannot be read is no hit
        LOGGER.exception("%s: cannot be judged", fresh.id)
        reason = f"cannot be judged: {type(error).__name__}: {error}"
        found = replace(fresh, status=Status.FAILED, verification=verdict, reason=reason)
    own = HitGroups()
    own.take_in(c for c in thrown.run.candidates if has_met(c))
    return Audited(thrown, found, own.n_with([found]) > len(own))


def record(pools: dict[Pool, list[Thrown]], found: Sequence[Audited]) -> dict[str, Any]:
    """Return the record of the benchmark; it has passed while no pool has too many hits."""
    table = []
    parts: dict[str, Any] = {}
    for pool in Pool:
        own = [one for one in found if one.thrown.pool is pool]
        there = Counter(one.reason for one in pools[pool])
        parts[pool] = {"in_pool": len(pools[pool]), **counts(own)}
        table.append({"pool": pool, "reason": "all", "in pool": len(pools[pool]), **_row(own)})
        for reason, n in there.most_common():
            of_reason = [one for one in own if one.thrown.reason == reason]
            table.append({"pool": pool, "reason": reason, "in pool": n, **_row(of_reason)})
    shares = [parts[pool]["share"] for pool in Pool]
    return {
        "pools": parts,
        "most_hits": MOST_HITS,
        "open": sum(part["open"] for part in parts.values()),
        "table": table,
        "crystals": [_crystal(one) for one in found],
        "passed": all(share is None or share <= MOST_HITS for share in shares),
    }


def counts(found: Sequence[Audited]) -> dict[str, Any]:
    """Return what came of those that were drawn; failed verifications are among those judged."""
    judged_ones = [one.candidate for one in found if one.candidate is not None]
    hits = sum(one.is_hit for one in found)
    interval = [round(edge, 4) for edge in wilson_interval(hits, len(judged_ones))] if judged_ones else None
    return {
        "drawn": len(found),
        "open": len(found) - len(judged_ones),
        "verified": len(judged_ones),
        "failed": sum(c.status is Status.FAILED for c in judged_ones),
        "hits": hits,
        "distinct_hits": sum(one.is_distinct for one in found),
        "share": round(hits / len(judged_ones), 4) if judged_ones else None,
        "interval": interval,
    }


def _row(found: Sequence[Audited]) -> dict[str, Any]:
    counted = counts(found)
    interval = counted["interval"]
    shown = None if interval is None else f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
    return {
        "verified": counted["verified"],
        "failed": counted["failed"],
        "hits": counted["hits"],
        "95 %": shown,
        "open": counted["open"],
    }


def _crystal(one: Audited) -> dict[str, Any]:
    candidate, thrown = one.candidate, one.thrown
    values = {} if candidate is None else candidate.values
    return {
        "run": thrown.run.folder.name,
        "id": thrown.candidate.id,
        "formula": thrown.candidate.structure.composition.reduced_formula,
        "pool": str(thrown.pool),
        "reason": thrown.reason,
        "said_then": thrown.candidate.reason,
        "status": None if candidate is None else str(candidate.status),
        "said_now": "" if candidate is None else candidate.reason,
        "is_distinct_hit": one.is_distinct,
        "values": {name: value.mean for name, value in values.items()},
    }


def _asked_alike(config: CampaignConfig) -> str:
    """Return a text that configs share whose candidates are judged alike."""
    plain = {"name": "any", "seed": 0, "budget": Budget(), "search": Search()}
    return config.model_copy(update=plain).to_yaml()


def _digest(candidate: Candidate) -> str:
    return sha256(json.dumps(structure_to_record(candidate.structure)).encode()).hexdigest()
