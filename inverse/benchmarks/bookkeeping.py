"""`inverse bench bookkeeping`: what a step costs beside proposing, predicting, verifying, as a run grows."""

import gc
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pymatgen.core import Lattice, Structure

from inverse.campaign import Campaign
from inverse.config import CampaignConfig
from inverse.correction import CorrectedSurrogate
from inverse.evaluation import Evaluator
from inverse.objective import Objective
from inverse.parts import Parts
from inverse.progress_bar import progress
from inverse.proposers.protocol import Proposal, generator
from inverse.ranking import Kinship
from inverse.types import Breach, Candidate, HitClass, Rule, Standing, Verification, VerifiedValue
from surrogates.crystal import ELEMENT_SYMBOLS, CrystalBatch
from surrogates.properties import BULK_MODULUS, FORMATION_ENERGY, Property
from surrogates.protocol import Z90, Level, Prediction

SIZES = (100, 10_000, 100_000)
"""Stored candidates at which a step is measured."""

MOST_GROWTH = 1.5
"""Times a step at the largest size may cost one at the smallest."""

RESUMED, MOST_SECONDS = 2_000, 60.0
"""Verdicts of the run that is resumed, and the seconds that this may take."""

WINDOW, WARM = 24, 2
"""Steps measured at each size, and runs before the first that are not."""

PER_STEP = 1_000
"""Stored candidates for each step that is measured there: what is done seldom counts by its share."""

_METALS = tuple(ELEMENT_SYMBOLS[z - 1] for z in (*range(21, 31), *range(39, 49), *range(72, 80)))
_LIGHT = ("B", "C", "N", "O", "Si", "P", "S")


def run_bookkeeping(n: int = SIZES[-1], seed: int = 0) -> dict[str, Any]:
    """Return the CPU seconds of a step at each size, the memory there, and the seconds of a resume.

    A real campaign (journal, tables, ASE database, duplicates, correction, choice) with a stand-in surrogate
    and a stand-in judge, which cost next to nothing and are counted as well. CPU time decides; wall time
    stands beside it.

    Args:
        n: the largest number of stored candidates.
        seed: of the run.
    """
    sizes = [size for size in SIZES[1:] if size < n] + [n]
    with TemporaryDirectory() as folder:
        steps = {SIZES[0]: _first_steps(Path(folder), seed)}
        grown, resumed = _grown(Path(folder) / "grown", sizes, seed)
    steps |= grown
    seconds = [row["cpu_seconds"] for row in steps.values()]
    memory = [row["memory_mb"] for row in steps.values()]
    growth = max(seconds) / seconds[0]
    memory_growth = max(memory) / memory[0]
    is_quick = resumed is None or resumed["wall_seconds"] <= MOST_SECONDS
    return {
        "passed": growth <= MOST_GROWTH and memory_growth <= MOST_GROWTH and is_quick,
        "asked": {"growth": MOST_GROWTH, "memory_growth": MOST_GROWTH, "resume_seconds": MOST_SECONDS},
        "growth": round(growth, 3),
        "memory_growth": round(memory_growth, 3),
        "steps": {str(size): row for size, row in steps.items()},
        "bytes_per_candidate": round(1e6 * (memory[-1] - memory[0]) / (sizes[-1] - SIZES[0])),
        "resume": resumed,
    }


class _Watch:
    """CPU and wall seconds of calls, one by one."""

    def __init__(self) -> None:
        self.cpu: list[float] = []
        self.wall: list[float] = []

    def measured(self, call: Callable[[], Any]) -> Any:
        """Return what the call returns; its seconds are kept."""
        wall, cpu = time.perf_counter(), time.process_time()
        result = call()
        self.cpu.append(time.process_time() - cpu)
        self.wall.append(time.perf_counter() - wall)
        return result

    def row(self, n: int = WINDOW) -> dict[str, float]:
        """Return the mean seconds of the last n calls, and the memory of this process now."""
        cpu, wall = self.cpu[-n:], self.wall[-n:]
        return {
            "cpu_seconds": round(sum(cpu) / len(cpu), 4),
            "wall_seconds": round(sum(wall) / len(wall), 4),
            "memory_mb": round(_memory_now(), 1),
        }


def _first_steps(folder: Path, seed: int) -> dict[str, float]:
    """Return what the first steps of small runs cost, those of the process's very first runs left out."""
    watch = _Watch()
    for k in range(WARM + WINDOW):
        config = _config(seed + k)
        with Campaign.create(config, folder / str(k), _stand_ins(config)) as run:
            watch.measured(run.step)
    return watch.row()


def _grown(
    folder: Path, sizes: Sequence[int], seed: int
) -> tuple[dict[int, dict[str, float]], dict[str, float] | None]:
    """Return what steps cost as a run reaches each size, and what a resume at `RESUMED` verdicts does."""
    config, steps, resumed = _config(seed), {}, None
    run = Campaign.create(config, folder, _stand_ins(config))
    with progress("bookkeeping: steps", None) as bar:
        for size in sizes:
            watch = _Watch()
            while run.n_candidates < size:
                watch.measured(run.step)
                bar.advance(f"{run.n_candidates} candidates")
                if resumed is None and run.n_started >= RESUMED:
                    run.close()
                    again = _Watch()
                    run = again.measured(lambda: Campaign.resume(folder, _stand_ins(config), config))
                    resumed = {"verdicts": float(run.n_started), **again.row()}
            steps[size] = watch.row(max(WINDOW, size // PER_STEP))
    run.close()
    return steps, resumed


def _memory_now() -> float:
    """Return the resident memory of this process, MB; its peak where the system does not tell the present."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


# -- stand-ins -----------------------------------------------------------------------------------------------


def _config(seed: int) -> CampaignConfig:
    targets = {"bulk_modulus_vrh": {"min": 300}}
    return CampaignConfig.from_mapping({"targets": targets, "budget": {"time": "30d"}, "seed": seed})


def _stand_ins(config: CampaignConfig) -> Parts:
    surrogate = CorrectedSurrogate(_Surrogate())
    return Parts(
        surrogate=surrogate,
        evaluator=Evaluator(surrogate, lambda formula: 0.0, Objective.of(config).properties),
        proposer=_Proposer(),
        verifier=_Judge(),
        screening=lambda structure: Breach(Rule.VOLUME, "too small") if structure.volume < 40 else None,
        rescreening=lambda structure: None,
        classify=_kinship,
        confirm=_kinship,
        preview=lambda structure: Standing(_kinship(structure).parent_prototype, True),
        trust=lambda structure: 0.7,
        baselines=dict,
        description={},
    )


class _Surrogate:
    """K and formation energy that follow from composition and volume in one line each."""

    name = "stand-in"
    level = Level.STRUCTURE
    elements = frozenset(ELEMENT_SYMBOLS)
    properties: tuple[Property, ...] = (BULK_MODULUS, FORMATION_ENERGY)

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        """Return the mean of a line and a std of a tenth."""
        volume = crystals.volume / crystals.n_atoms
        means = {BULK_MODULUS: 4000.0 / volume, FORMATION_ENERGY: 0.02 * (volume - 12.0)}
        return {p: _prediction(p, means[p]) for p in properties}


def _prediction(prop: Property, mean: torch.Tensor) -> Prediction:
    std = 0.1 * mean.abs() + 0.01
    z = torch.linspace(-1.3, 1.3, 5)[:, None].to(mean)
    is_inside = torch.ones_like(mean, dtype=torch.bool)
    return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, mean + z * std, is_inside)


class _Proposer:
    """Random ternary cells of four atoms, each of its own volume."""

    name = "stand-in"

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return n proposals."""
        return [self._one(seed, step, k) for k in range(n)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Learn nothing."""

    def _one(self, seed: int, step: int, k: int) -> Proposal:
        rng = generator(seed, step, k)
        metals, light = rng.choice(_METALS, 2, replace=False).tolist(), str(rng.choice(_LIGHT))
        a = float(rng.uniform(3.2, 4.2))
        lattice = Lattice.tetragonal(a, a * float(rng.uniform(0.9, 1.2)))
        coords: Any = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
        species: list[Any] = [*metals, light, light]
        structure = Structure(lattice, species, coords)
        return Proposal(structure, self.name, seed, {"index": k})


class _Judge:
    """Agrees with the surrogate within a few percent; relaxes nothing."""

    potential = "stand-in"

    def check(self) -> None:
        """Nothing can be missing."""

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        """Yield a verdict for each structure."""
        for position, structure in enumerate(structures):
            volume = structure.volume / len(structure)
            means = {
                "bulk_modulus_vrh": (4100.0 / volume, "GPa"),
                "formation_energy_per_atom": (0.02 * (volume - 12.0), "eV/atom"),
                "energy_above_hull": (0.05, "eV/atom"),
            }
            values = {
                name: VerifiedValue(m, 0.02, m - 0.03, m + 0.03, m, self.potential, unit)
                for name, (m, unit) in means.items()
            }
            yield (
                position,
                Verification(self.potential, True, values=values, is_stable=True, structure=structure),
            )

    def close(self) -> None:
        """Nothing to give up."""


def _kinship(structure: Structure) -> Kinship:
    """Return a structure type of its own for every few percent of the axes' ratio."""
    ratio = structure.lattice.c / structure.lattice.a
    return Kinship(HitClass.NEW, "", "WC", f"stand-in {round(30 * ratio)}")
