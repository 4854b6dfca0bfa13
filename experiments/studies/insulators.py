"""Does a search for insulators find MgO, Al2O3, BN and AlN? By the default method, as a campaign asks it.

    python -m experiments.studies.insulators [--gap 3] [--verifications 50] [--seed 0]

The config is what a user would write: a gap and a distance from the hull, all else by default. Loop, choice,
screens, proposers and surrogates are the real ones; a verdict is what the fast tier says, within an error
(`experiments.studies.long_run`): no judge computes a gap. Printed are the places of each formula, in whatever
structure and in its ground state, among the proposals of the first step, in their order, and among those
verified in the order of choice. The ground states are the textbook crystals of
`inverse bench band-gap`; cubic BN stands for BN, whose layers are lower by PBE. Exits with 1 when one of the
four is not among the first fifty proposals in its ground state. About five minutes of CPU.
"""

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from experiments.studies.long_run import Judge
from inverse.assembly import assemble, hull_below, load_structure_surrogate
from inverse.benchmarks.band_gap import textbook
from inverse.campaign.campaign import Campaign
from inverse.campaign.parts import Parts
from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.reference import ReferenceHull
from surrogates.crystals.formulas import display_formula
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY

FIRST = 50
"""Proposals among which the four are wanted."""


def ground_states() -> Mapping[str, Structure]:
    """Return the crystals that are looked for, by formula."""
    names = {"MgO": "MgO", "Al2O3": "Al2O3", "BN, cubic": "BN", "AlN": "AlN"}
    return {names[case.name]: case.structure for case in textbook() if case.name in names}


def config_of(gap: float, n: int, seed: int) -> CampaignConfig:
    """Return the config: a gap of at least so many eV, near the hull, so many verifications."""
    return CampaignConfig.from_mapping(
        {
            "name": "insulators",
            "targets": {"band_gap": {"min": gap}, "energy_above_hull": {"max": 0.1}},
            "budget": {"verifications": n},
            "verify": {"phonons": False},
            "seed": seed,
            "device": "cpu",
        }
    )


def stood_in(config: CampaignConfig) -> Parts:
    """Return the parts of a campaign whose judge is a stand-in; nobody asks about hits again."""
    parts = assemble(config)
    parts.verifier.close()
    judged = (FORMATION_ENERGY, ENERGY_ABOVE_HULL)
    fast = Evaluator(load_structure_surrogate("cpu"), hull_below(ReferenceHull.packaged()), judged)
    return replace(parts, verifier=Judge(fast, judged), confirm=parts.classify, phonons=None)


@dataclass(frozen=True)
class Places:
    """Where a formula stands in a list, from one: in any structure, in its ground state; 0 nowhere."""

    formula: int
    ground_state: int


def places(wanted: Structure, candidates: Sequence[Candidate]) -> Places:
    """Return the first places of a crystal and of its formula."""
    name, matcher = wanted.composition.reduced_formula, StructureMatcher()
    own = [(k, c) for k, c in enumerate(candidates, 1) if c.structure.composition.reduced_formula == name]
    same = [k for k, c in own if matcher.fit(wanted, c.structure)]
    return Places(own[0][0] if own else 0, same[0] if same else 0)


def lines(title: str, candidates: Sequence[Candidate]) -> Iterator[str]:
    """Yield what is printed of one list."""
    yield f"{title}: {len(candidates)}"
    for name, wanted in ground_states().items():
        found = places(wanted, candidates)
        place = found.ground_state or found.formula
        told = (
            f"  {name:6s} place {found.formula or '-':>3}, in its ground state {found.ground_state or '-':>3}"
        )
        if place:
            own = candidates[place - 1]
            gap = own.predictions.get("band_gap")
            chance = own.probability_target_met
            told += f"; {own.proposer}"
            told += f", gap {gap.mean:.2f} +- {gap.std:.2f} eV" if gap is not None else ""
            told += f", P(targets met) {chance:.2f}" if chance is not None else ""
        yield told


def listed(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Yield a line of each candidate: place, source, formula, what it was built from."""
    for k, c in enumerate(candidates, 1):
        made_from = c.history.get("signature") or c.history.get("assigned_type") or ""
        yield f"{k:4d} {c.proposer:12s} {display_formula(c.structure.composition):12s} {made_from}"


def main(arguments: Sequence[str]) -> int:
    """Run the steps, print the places and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gap", type=float, default=3.0, help="eV, at least")
    parser.add_argument("--verifications", type=int, default=FIRST, help="budget of the campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="name every proposal of the first step")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    config, began = config_of(given.gap, given.verifications, given.seed), time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        Campaign.create(config, Path(folder) / "run", stood_in(config)) as run,
    ):
        chosen: list[str] = []
        found: list[int] = []
        while run.n_started < given.verifications and run.step():
            step = len(run.folder.steps()) - 1
            proposed, ids = run.folder.step_candidates(step)
            chosen += ids
            if step == 0:
                found = [places(wanted, proposed).ground_state for wanted in ground_states().values()]
                print(*(listed(proposed) if given.list else ()), sep="\n")
                print(*lines("proposed in the first step", proposed), sep="\n")
            print(f"{run.n_started} verified, {time.process_time() - began:.0f} s of CPU", flush=True)
        verified = list(run.folder.named(chosen))
    print(*lines("verified, in the order of choice", verified), sep="\n")
    return 0 if found and all(0 < place <= FIRST for place in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
