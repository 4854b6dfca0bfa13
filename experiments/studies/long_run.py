"""A long campaign with the packaged models and a judge that costs nothing: does every source last?

    python -m experiments.studies.long_run -n 2000                     # every source; a resume goes on
    python -m experiments.studies.long_run -n 2000 --novelty new_composition --folder .work/overnight

The config is `superhard-overnight`, with two seeds; where `--novelty any` asks for known answers too, the
look-up is a source as well. Loop, journal, choice, correction, screens, proposers and surrogates are the real
ones. A verdict is what the fast tier says of the crystal as proposed, with an error drawn from a hash of it.

Prints what every source proposed in the first, the middle and the last step and in all, what was chosen of
it, and in how many steps it was silent. Exits with 1 when a source is silent in the last step, but for one
that is a finite list and used up, whose places the others fill.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.assembly import assemble, hull_below, load_structure_surrogate
from inverse.campaign import campaign as loop
from inverse.campaign import waiting
from inverse.campaign.campaign import Campaign
from inverse.campaign.parts import Parts
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.objective import Objective
from inverse.candidates.types import Failure, Verification, VerifiedValue
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.baselines.known_phases import Lookup
from inverse.proposers.hybrid import Hybrid
from inverse.reference import ReferenceHull
from surrogates.physics.properties import (
    BULK_MODULUS,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    SHEAR_MODULUS,
    Property,
)

PACKAGED = "superhard-overnight"

FAILED = 0.08
"""Share of verdicts that say nothing, about that of the packaged judges."""

RELATIVE, ENERGY = 0.06, 0.03
"""Std of a verdict's error: of moduli relative, of energies in eV/atom."""

FINITE = frozenset({Lookup.name})
"""Sources that are lists by nature: used up, their places go to others."""


JUDGED = (BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY, ENERGY_ABOVE_HULL)
"""What a verdict of the packaged judges says."""


class Judge:
    """Says what a surrogate says, within an error that follows from the crystal alone."""

    potential = "stand-in"

    def __init__(self, evaluator: Evaluator, properties: Sequence[Property] = JUDGED) -> None:
        self._evaluator, self._properties = evaluator, properties

    def check(self) -> None:
        """Nothing can be missing."""

    def close(self) -> None:
        """Nothing to give up."""

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        """Yield a verdict for each structure, in their order."""
        if not structures or should_stop():
            return
        predictions = self._evaluator.predict(structures)
        for place, structure in enumerate(structures):
            if should_stop():
                return
            means = {p.name: (float(predictions[p].mean[place]), p.unit) for p in self._properties}
            yield place, verdict(structure, means)


def verdict(structure: Structure, means: dict[str, tuple[float, str]]) -> Verification:
    """Return the verdict on a crystal of which a surrogate says this (mean and unit by name)."""
    text = f"{structure.composition.formula} {structure.volume:.4f} {structure.distance_matrix.sum():.3f}"
    rng = np.random.default_rng(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big"))
    if rng.random() < FAILED:
        return Verification("stand-in", False, "did not converge", failure=Failure.NOT_CONVERGED)
    factor, shift = float(np.exp(RELATIVE * rng.standard_normal())), ENERGY * float(rng.standard_normal())
    values = {}
    for name, (mean, unit) in means.items():
        told, std = (mean * factor, RELATIVE * mean) if unit == "GPa" else (mean + shift, ENERGY)
        values[name] = VerifiedValue(
            told, std, told - 1.645 * std, told + 1.645 * std, told, "stand-in", unit
        )
    return Verification("stand-in", True, values=values, is_stable=True, structure=structure)


def config_of(n: int, novelty: str, seed: int, seeds: Sequence[Path]) -> CampaignConfig:
    """Return the packaged overnight config with this budget, without a time limit, and with seeds."""
    mapping = load_config(PACKAGED).to_mapping()
    mapping["budget"] = {"verifications": n}
    mapping["constraints"]["novelty"] = novelty
    mapping["seed_structures"] = [str(path) for path in seeds]
    mapping["verify"]["phonons"] = False
    return CampaignConfig.from_mapping({**mapping, "seed": seed, "device": "cpu"})


def written_seeds(folder: Path) -> list[Path]:
    """Write two seeds, TiN in rock salt and WC, and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    cells = {
        "TiN": Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.24), ["Ti", "N"], [[0] * 3, [0.5] * 3]),
        "WC": Structure(Lattice.hexagonal(2.906, 2.837), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
    }
    for name, cell in cells.items():
        cell.to(str(folder / f"{name}.cif"))
    return [folder / f"{name}.cif" for name in cells]


def stood_in(config: CampaignConfig) -> Parts:
    """Return the parts of a campaign with the stand-in judge; nobody asks about hits again."""
    parts = assemble(config)
    parts.verifier.close()
    surrogate, below = load_structure_surrogate(config.device), hull_below(ReferenceHull.packaged())
    judge = Judge(Evaluator(surrogate, below, Objective.of(config).properties))
    return replace(parts, verifier=judge, confirm=parts.classify, phonons=None)


@dataclass(frozen=True)
class Shares:
    """What each source did in one step: candidates proposed, and chosen for a verdict, by its name."""

    proposed: Counter[str]
    chosen: Counter[str]

    def __str__(self) -> str:
        """Return one line: proposed/chosen of each source."""
        return ", ".join(f"{k} {n}/{self.chosen[k]}" for k, n in sorted(self.proposed.items()))


def shares(folder: RunFolder, step: int) -> Shares:
    """Return what the sources did in a step."""
    candidates, chosen = folder.step_candidates(step)
    return Shares(Counter(c.proposer for c in candidates), Counter(c.proposer for c in folder.named(chosen)))


def table(names: Sequence[str], steps: Sequence[Shares]) -> Iterator[str]:
    """Yield the lines that are printed at the end, one a source."""
    yield f"{'source':14s} {'first':>6s} {'middle':>6s} {'last':>6s} {'all':>7s} {'chosen':>6s}  silent steps"
    for name in names:
        counts = [step.proposed[name] for step in steps]
        silent = [k for k, count in enumerate(counts) if not count]
        shown = (counts[0], counts[len(counts) // 2], counts[-1])
        yield (
            f"{name:14s} {' '.join(f'{c:6d}' for c in shown)} {sum(counts):7d} "
            f"{sum(step.chosen[name] for step in steps):6d}  {len(silent)}"
            + (f" ({silent[0]} to {silent[-1]})" if silent else "")
        )


def complaints(names: Sequence[str], last: Shares, n_started: int, n: int) -> list[str]:
    """Return what speaks against a run: a source silent in its last step, an end too early."""
    found = [f"{k}: silent in the last step" for k in names if not last.proposed[k] and k not in FINITE]
    return found if n_started >= n else [*found, f"ended after {n_started} of {n} verifications"]


def opened(config: CampaignConfig, folder: Path) -> tuple[Campaign, tuple[str, ...]]:
    """Return the campaign, a resumed one where the folder holds one, and the names of its sources."""
    parts = stood_in(config)
    assert isinstance(parts.proposer, Hybrid)
    names = parts.proposer.source_names
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, parts, config), names
    return Campaign.create(config, folder, parts), names


def main(arguments: Sequence[str]) -> int:
    """Run to the end, or on from where it stood, and print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-n", type=int, default=2000, help="verifications")
    parser.add_argument("--novelty", default="any", choices=("any", "new_composition", "new_structure"))
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--step", type=int, default=0, help="verdicts of a step; 0 leaves it to the campaign")
    parser.add_argument("--no-waiting", action="store_true", help="what finds no place in its step is lost")
    parser.add_argument("--folder", type=Path, default=Path(".work/long_run"))
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stdout)
    logging.getLogger().handlers[0].setLevel(logging.WARNING)  # the run's log.txt has the rest
    if options.step:
        loop.STEP = options.step
    if options.no_waiting:
        waiting.MOST = 0
    seeds = written_seeds(options.folder.with_name(f"{options.folder.name}-seeds"))
    began = time.monotonic()
    run, names = opened(config_of(options.n, options.novelty, options.seed, seeds), options.folder)
    print(f"{run.n_started} verified, ready after {time.monotonic() - began:.0f} s", flush=True)
    with run:
        while run.n_started < options.n:
            began, cpu, step = time.monotonic(), time.process_time(), len(run.folder.steps())
            if not run.step():
                break
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            did = f"step {step}, {seconds:.0f} s, {cpu:.0f} s of CPU, {run.n_started} verified"
            print(f"{did}: {shares(run.folder, step)}", flush=True)
        run.finish("finished", f"{run.n_started} verifications")
        steps = [shares(run.folder, step) for step, _, _ in run.folder.steps()]
        print(f"{len(run.hits)} hits of {run.n_started}", *table(names, steps), sep="\n")
        against = complaints(names, steps[-1], run.n_started, options.n)
    print(*against, sep="\n")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
