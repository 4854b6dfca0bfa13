"""What the triage is worth: paired runs of a campaign for new hard materials, with and without it.

    python -m experiments.campaign.triage run FOLDER --seeds 0 1 --verifications 24
    python -m experiments.campaign.triage run FOLDER --shares 10 2   # looks and relaxations a verification
    python -m experiments.campaign.triage report FOLDER
    python -m experiments.campaign.triage look-back RUN [RUN ...]

`look-back` asks the triage about what finished runs without it verified: what it would have thrown out, and
what it says of the distance from the hull beside the judge (about 0.4 core-seconds a crystal).

Targets K >= 300 and G >= 150 GPa at most 0.1 eV/atom above the hull; at most 8 atoms, no Os, Re, Ir, Tc and
no noble gas; compositions in no table and no derivatives of known materials. Each run verifies in its own
process, on one thread, from an empty store. Its cost is the CPU time of that process, loading included, until
its last verdict (phonons and baselines are left out).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from inverse.benchmarks.intervals import bootstrapped
from inverse.campaign.campaign import Campaign
from inverse.campaign.run_folder import read_candidates
from inverse.candidates.types import Candidate, HitClass, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.records import plain
from inverse.potentials.loading import one_thread
from surrogates.platform.whole_files import write_atomically
from surrogates.protocol import Z90

CAMPAIGN: Mapping[str, Any] = {
    "name": "new and hard",
    "targets": {
        "bulk_modulus_vrh": {"min": 300},
        "shear_modulus_vrh": {"min": 150},
        "energy_above_hull": {"max": 0.1},
    },
    "constraints": {
        "elements": {"exclude": ["Os", "Re", "Ir", "Tc"]},
        "n_atoms": {"max": 8},
        "novelty": "new_composition",
        "derivatives": False,
    },
    "verify": {"phonons": False},
}

NEAR = 0.1
"""eV/atom above the hull within which a verification was worth its while."""

N_DRAWS = 10_000


def set_shares(looks: int, relaxations: int) -> None:
    """Have the triage of this process ask otherwise than it does: candidates for every verification."""
    from inverse.campaign import campaign, selection

    campaign.LOOKED_AT = selection.LOOKED_AT = looks
    selection.RELAXED = relaxations


def run(folder: Path, seed: int, triage: bool, verifications: int) -> dict[str, Any]:
    """Return the record of one run, from its file where it was made before."""
    path = folder / f"seed{seed}-{'with' if triage else 'without'}-{verifications}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    began = time.process_time()
    from inverse.assembly import assemble, verification_plan
    from inverse.candidates.objective import Objective
    from inverse.verification.opening import open_here

    search = {"method": "hybrid", "triage": triage}
    budget = {"verifications": verifications}
    config = CampaignConfig.from_mapping({**CAMPAIGN, "search": search, "budget": budget, "seed": seed})
    parts = assemble(config)
    parts.verifier.close()
    plan = replace(verification_plan(config, Objective.of(config)), store="")
    verifier: Any = open_here(plan)
    marks = [time.process_time() - began]
    with Campaign.create(config, path.with_suffix(""), replace(parts, verifier=verifier)) as campaign:
        while campaign.n_started < verifications and campaign.step():
            marks.append(time.process_time() - began)
    seconds = marks[-1]
    record = {
        "seed": seed,
        "triage": triage,
        "cpu_seconds": round(seconds, 1),
        "loading": round(marks[0], 1),
        **counts(read_candidates(path.with_suffix(""))),
    }
    write_atomically(path, json.dumps(record, indent=1) + "\n")
    return record


def counts(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return what became of a run's candidates."""
    started = [c for c in candidates if c.verification is not None]
    triaged = [c for c in candidates if c.triaged is not None]
    return {
        "proposed": len(candidates),
        "looked_at": len(triaged),
        "triaged": sum(c.triaged is not None and c.triaged.is_relaxed for c in triaged),
        "triaged_out": sum(c.status is Status.TRIAGED_OUT for c in candidates),
        "triage_seconds": round(sum(c.triaged.seconds for c in triaged if c.triaged is not None), 1),
        "verdicts": [verdict(c) for c in started],
    }


def verdict(candidate: Candidate) -> dict[str, Any]:
    """Return what a report needs of one verdict; distances in eV/atom, None where there is none."""
    found = candidate.verification
    values = {} if found is None else found.values
    above, predicted = values.get("energy_above_hull"), candidate.predictions.get("energy_above_hull")
    return {
        "formula": candidate.structure.composition.reduced_formula,
        "status": str(candidate.status),
        "new": candidate.hit_class is HitClass.NEW,
        "above_hull": None if above is None else above.mean,
        "predicted": None if predicted is None else predicted.mean,
        "triaged": None if candidate.triaged is None else candidate.triaged.above_hull,
        **{
            name[:1]: values[f"{name}_modulus_vrh"].mean
            for name in ("bulk", "shear")
            if f"{name}_modulus_vrh" in values
        },
        "reason": candidate.reason,
        "seconds": None if found is None else found.seconds,
    }


def figures(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return shares and costs of runs of one kind, 95 % intervals by bootstrap over verifications."""
    verdicts = [v for record in records for v in record["verdicts"]]
    near = np.array([v["above_hull"] is not None and v["above_hull"] <= NEAR for v in verdicts], dtype=float)
    hits = np.array([v["status"] == "hit" for v in verdicts], dtype=float)
    new = hits * np.array([v["new"] for v in verdicts], dtype=float)
    seconds = sum(record["cpu_seconds"] for record in records)
    triaged = sum(record["triaged"] for record in records)
    errors = [
        v["above_hull"] - v["predicted"]
        for v in verdicts
        if v["above_hull"] is not None and v["predicted"] is not None
    ]
    return {
        "runs": len(records),
        "started": len(verdicts),
        "near": shown(near),
        "hits": int(hits.sum()),
        "new_hits": int(new.sum()),
        "hits_per_verification": shown(hits),
        "new_hits_per_verification": shown(new),
        "triaged": triaged,
        "hits_per_crystal_triaged": round(float(hits.sum()) / triaged, 4) if triaged else None,
        "core_seconds": round(seconds, 1),
        "core_seconds_in_triage": round(sum(record["triage_seconds"] for record in records), 1),
        "core_seconds_a_new_hit": round(seconds / float(new.sum()), 1) if new.any() else None,
        "hits_per_core_hour": round(3600 * float(hits.sum()) / seconds, 2),
        "median_error_of_the_distance": round(float(np.median(np.abs(errors))), 4) if errors else None,
        "median_bias_of_the_distance": round(float(np.median(errors)), 4) if errors else None,
    }


def shown(values: np.ndarray) -> list[float]:
    """Return the mean of (N,) values and its 95 % interval."""
    found = bootstrapped(lambda drawn: float(drawn.mean()), values)
    return [round(found["value"], 3), *(round(edge, 3) for edge in found["interval"])]


def ratio(records: Mapping[bool, Sequence[Mapping[str, Any]]]) -> list[float | None]:
    """Return core-seconds a new hit with triage over those without, with a 95 % interval.

    By bootstrap over verifications, each with its share of its run's cost; a draw without a hit counts as one
    half of a hit.
    """
    rng = np.random.default_rng(1)
    cost: Callable[[np.ndarray, float], np.ndarray] = lambda hits, seconds: seconds / np.maximum(hits, 0.5)  # noqa: E731
    drawn, means = {}, {}
    for kind, own in records.items():
        verdicts = [v for record in own for v in record["verdicts"]]
        new = np.array([v["status"] == "hit" and v["new"] for v in verdicts], dtype=float)
        seconds = sum(record["cpu_seconds"] for record in own)
        drawn[kind] = cost(rng.choice(new, (N_DRAWS, len(new))).sum(axis=1), seconds)
        means[kind] = float(cost(np.array([new.sum()]), seconds)[0])
    quantiles = np.quantile(drawn[True] / drawn[False], (0.025, 0.975))
    return [round(means[True] / means[False], 3), *(round(float(edge), 3) for edge in quantiles)]


def report(folder: Path) -> dict[str, Any]:
    """Return the figures of the seeds that were run both ways."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("seed*.json"))]
    seeds = {kind: {r["seed"] for r in found if r["triage"] is kind} for kind in (True, False)}
    paired = seeds[True] & seeds[False]
    records = {
        kind: [r for r in found if r["triage"] is kind and r["seed"] in paired] for kind in (True, False)
    }
    if not paired:
        return {"seeds": []}
    return {
        "seeds": sorted(paired),
        "with": figures(records[True]),
        "without": figures(records[False]),
        "core_seconds_a_new_hit_with_over_without": ratio(records),
    }


def look_back(runs: Sequence[Path]) -> dict[str, Any]:
    """Return what the triage says of what finished runs without it verified, beside what the judges said."""
    from inverse.campaign.triage import LEAST_CHANCE, TriageStage
    from inverse.candidates.objective import Objective
    from inverse.prediction.triage import GROUP, POTENTIAL, Triage
    from inverse.reference import ReferenceHull
    from inverse.verification.calibration.energy_correction import formation_energy

    started = [c for run in runs for c in read_candidates(run) if c.verification is not None]
    began = time.process_time()
    triage = Triage(partial(formation_energy, potential=POTENTIAL))
    bound = Objective.of(CampaignConfig.from_mapping(CAMPAIGN)).hull
    stage = TriageStage(triage, Forgetful(), ReferenceHull.packaged().below, bound, lambda structure: None)
    rows = []
    for first in range(0, len(started), GROUP):
        group = started[first : first + GROUP]
        for candidate, looked_at, relaxed in zip(group, stage.look(group), stage.relax(group), strict=True):
            found = candidate.verification
            judged = None if found is None else found.values.get("energy_above_hull")
            predicted = candidate.predictions.get("energy_above_hull")
            rows.append(
                {
                    "formula": candidate.structure.composition.reduced_formula,
                    "is_hit": candidate.status is Status.HIT,
                    "judged": np.nan if judged is None else judged.mean,
                    "predicted": np.nan if predicted is None else predicted.mean,
                    "looked_at": np.nan if looked_at.triaged is None else looked_at.triaged.above_hull,
                    "relaxed": np.nan if relaxed.triaged is None else relaxed.triaged.above_hull,
                    "std": np.nan if relaxed.triaged is None else relaxed.triaged.std,
                    "is_out": relaxed.status is Status.TRIAGED_OUT,
                    "is_out_at_a_look": looked_at.status is Status.TRIAGED_OUT,
                }
            )
    return {
        "seconds_a_crystal": round((time.process_time() - began) / max(1, len(rows)), 3),
        "thrown_out_below_a_chance_of": LEAST_CHANCE,
        **looked_back(rows),
        "rows": rows,
    }


class Forgetful:
    """Keeps nothing."""

    def write_triaged(self, step: int, relaxed: bool, found: Mapping[str, Any]) -> None:
        """Forget."""

    def triaged(
        self, crystals: Mapping[str, str], relaxed: bool, before: int | None = None
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}


def looked_back(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return errors of the distance beside the judges, and what throwing out would have done."""
    column = {
        name: np.array([row[name] for row in rows], dtype=float) for name in rows[0] if name != "formula"
    }
    judged, hits, out = column["judged"], column["is_hit"] > 0, column["is_out"] > 0
    near, error = judged <= NEAR, column["relaxed"] - judged
    errors = {}
    for name in ("predicted", "looked_at", "relaxed"):
        off = (column[name] - judged)[np.isfinite(column[name]) & np.isfinite(judged)]
        errors[name] = {
            "n": len(off),
            "median_absolute": round(float(np.median(np.abs(off))), 4),
            "median_bias": round(float(np.median(off)), 4),
            "area_under_roc": area_under_roc(column[name][np.isfinite(judged)], near[np.isfinite(judged)]),
        }
    return {
        "verified": len(rows),
        "near": shown(near.astype(float)),
        "errors": errors,
        "within_90": round(float(np.mean((np.abs(error) <= Z90 * column["std"])[np.isfinite(error)])), 3),
        "n_within_90": int(np.isfinite(error).sum()),
        "thrown_out": int(out.sum()),
        "near_of_kept": shown(near[~out].astype(float)) if (~out).any() else None,
        "hits": int(hits.sum()),
        "hits_thrown_out": int((hits & out).sum()),
        "near_thrown_out": int((near & out).sum()),
        "thrown_out_at_a_look": int(column["is_out_at_a_look"].sum()),
        "hits_thrown_out_at_a_look": int((hits & (column["is_out_at_a_look"] > 0)).sum()),
    }


def area_under_roc(distance: np.ndarray, near: np.ndarray) -> float | None:
    """Return how likely one near the hull has the smaller (N,) distance; None without both kinds."""
    known = np.isfinite(distance)
    inside, outside = distance[known & near], distance[known & ~near]
    if not (len(inside) and len(outside)):
        return None
    smaller = inside[:, None] < outside
    return round(float((smaller + 0.5 * (inside[:, None] == outside)).mean()), 3)


def main() -> None:
    """Run seeds, or report on them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "one", "report", "look-back"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("more", type=Path, nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--verifications", type=int, default=24)
    parser.add_argument("--triage", action="store_true", help="of `one`")
    parser.add_argument("--shares", type=int, nargs=2, metavar=("LOOKS", "RELAXATIONS"))
    given = parser.parse_args()
    if given.what == "look-back":
        sys.stdout.write(json.dumps(plain(look_back([given.folder, *given.more])), indent=1) + "\n")
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.what == "run":
        for seed in given.seeds:
            for triage in (True, False):  # each in a process of its own: nothing is loaded for two
                each = ["one", str(given.folder), "--seeds", str(seed), *(["--triage"] if triage else [])]
                n = ["--verifications", str(given.verifications)]
                n += ["--shares", *map(str, given.shares)] if given.shares else []
                subprocess.run([sys.executable, "-m", "experiments.campaign.triage", *each, *n], check=True)
    if given.what == "one":
        if given.shares:
            set_shares(*given.shares)
        with one_thread():
            run(given.folder, given.seeds[0], given.triage, given.verifications)
        return
    sys.stdout.write(json.dumps(report(given.folder), indent=1) + "\n")


if __name__ == "__main__":
    main()
