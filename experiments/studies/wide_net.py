"""What a wider net of substitutions promises and costs, and what the judges say of it.

    python -m experiments.studies.wide_net promise CONFIG --structures 0 1600 10000 100000
    python -m experiments.studies.wide_net judged RUN [RUN ...]

`promise` prints for every width the mean predicted worth of the best distinct proposals, core-seconds, peak
memory and what was looked at; each width is its own process. That is the surrogate's own opinion, and the
best of more draws is the luckier one, so `judged` prints what became of runs with `search.structures` 0 and
100000: how many verifications lie near the hull, and how many are hits.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inverse.assembly import assemble
from inverse.campaign.parts import Parts
from inverse.campaign.run_folder import read_candidates
from inverse.candidates.objective import Objective
from inverse.candidates.types import Status
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.prediction.worth import worth
from surrogates.physics.properties import ENERGY_ABOVE_HULL

BEST = (50, 200, 1000)
"""Distinct proposals whose mean worth is printed."""

ABOVE = ENERGY_ABOVE_HULL.name

NEAR = 0.1
"""eV/atom above the hull."""


def main(arguments: Sequence[str]) -> int:
    """Print one line a width or a run; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["promise", "judged"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--structures", type=int, nargs="+", default=[0, 1600, 10_000, 100_000])
    options = parser.parse_args(arguments)
    if options.what == "judged":
        for folder in options.paths:
            print(json.dumps(judged(folder)), flush=True)
        return 0
    (path,) = options.paths
    if len(options.structures) > 1:  # each in its own process: peak memory is a process's
        for n in options.structures:
            own = [sys.executable, "-m", "experiments.studies.wide_net", "promise", str(path)]
            subprocess.run([*own, "--structures", str(n)], check=True)
        return 0
    torch.set_num_threads(1)
    config = load_config(path)
    search = config.search.model_copy(update={"structures": options.structures[0], "method": "substitution"})
    config = config.model_copy(update={"search": search})
    parts = assemble(config)
    try:
        print(json.dumps({"structures": options.structures[0], **promise(config, parts)}), flush=True)
    finally:
        parts.verifier.close()
    return 0


def promise(config: CampaignConfig, parts: Parts) -> dict[str, Any]:
    """Return what the best proposals promise, before verdicts, and what they cost."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    proposals = parts.proposer.ask(max(BEST), 0, config.seed)
    seconds = time.process_time() - start
    structures = [proposal.structure for proposal in proposals]
    evaluator = parts.evaluator
    predictions = evaluator.predict(structures)
    met = Objective.of(config).probability_met(predictions)
    values = worth(predictions, met, Objective.of(config).loss(predictions)).numpy()
    trusted = values * np.array([proposal.trust or 0.0 for proposal in proposals])
    compositions = [structure.composition for structure in structures]
    types = {str(proposal.history["template"]) for proposal in proposals}
    return {
        **{
            name: {n: round(float(np.sort(own)[::-1][:n].mean()), 4) for n in BEST if len(own) >= n}
            for name, own in (("worth", values), ("worth_times_trust", trusted))
        },
        "proposals": len(proposals),
        "cpu_seconds": round(seconds, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "memory_before_mb": before // 1024,
        "stoichiometries": len({tuple(sorted(c.reduced_composition.values())) for c in compositions}),
        "types": len(types),
        "elements": len({element.symbol for c in compositions for element in c.elements}),
        "chemical_systems": len({c.chemical_system for c in compositions}),
    }


def judged(folder: Path) -> dict[str, Any]:
    """Return how many of a run's verifications lie near the hull, and how far off the predictions were."""
    started = [c for c in read_candidates(folder) if c.verification is not None]
    pairs = [
        (c.predictions[ABOVE].mean, c.values[ABOVE].mean)
        for c in started
        if ABOVE in c.values and ABOVE in c.predictions
    ]
    errors = np.array([verified - predicted for predicted, verified in pairs])
    hits = [c for c in started if c.status is Status.HIT]
    return {
        "run": folder.name,
        "started": len(started),
        "near": sum(verified <= NEAR for _, verified in pairs),
        "hits": len(hits),
        "formulas": [c.structure.composition.reduced_formula for c in hits],
        "probability": round(float(np.mean([c.probability_target_met for c in started])), 4),
        "error_of_distance": round(float(np.median(np.abs(errors))), 3) if len(errors) else None,
        "bias_of_distance": round(float(np.mean(errors)), 3) if len(errors) else None,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
