"""Of how many competing phases is a structure rebuilt, from which their energy can be computed?

    python -m experiments.studies.competing_structures [-n 300] [--seed 15]

Two samples: known compounds that the hull calls stable, and borides, carbides and nitrides of two metals
whose formula no table knows. For each the phases that the hull names are looked up: of a stable compound
that is itself, against which another structure of its formula is measured. `before` is one structure
of lowest tabulated energy, `after` adds the polymorphs of which no energy says which is lowest. A reaction
counts where every one of its phases has a structure. Nothing is relaxed.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np

from inverse.reference import KnownMaterials, ReferenceHull
from inverse.reference.known_structures import known_structures, lowest_tabulated, why_no_structure
from surrogates.errors import EngineError

METALS = (
    "Ti",
    "Zr",
    "Hf",
    "V",
    "Nb",
    "Ta",
    "Cr",
    "Mo",
    "W",
    "Mn",
    "Re",
    "Fe",
    "Ru",
    "Os",
    "Co",
    "Rh",
    "Ir",
    "Ni",
)
ANIONS = ("B", "C", "N")
MOST = 4
"""Largest subscript of a formula that no table knows."""


def stable(n: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield n known compounds on the hull, at random."""
    hull = ReferenceHull.packaged()
    table = hull.phases
    for i in rng.permutation(len(table)):
        formula = str(table.formulas[int(i)])  # type: ignore[index]
        if n and _is_stable(hull, formula):
            n -= 1
            yield formula


def _is_stable(hull: ReferenceHull, formula: str) -> bool:
    phase = hull.phases.phase(formula)
    energy = None if phase is None else phase.formation_energy_per_atom
    try:
        return energy is not None and hull.energy_above_hull(formula, energy).energy_above_hull < 1e-6
    except EngineError:
        return False


def unknown(n: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield n formulas of two metals and B, C or N that no table knows, at random."""
    known = KnownMaterials.packaged()
    while n:
        first, second = rng.choice(METALS, 2, replace=False)
        a, b, c = rng.integers(1, MOST + 1, 3)
        formula = f"{first}{a}{second}{b}{rng.choice(ANIONS)}{c}"
        if not known.is_known_formula(formula):
            n -= 1
            yield formula


def counted(formulas: Iterator[str]) -> dict[str, object]:
    """Return how many phases, and reactions, have structures before and after."""
    hull = ReferenceHull.packaged()
    phases: Counter[str] = Counter()
    reactions = {"before": 0, "after": 0}
    n = 0
    for formula in formulas:
        n += 1
        found = hull.energy_above_hull(formula, 0.0).decomposition
        phases.update(found)
        reactions["before"] += all(lowest_tabulated(name) is not None for name in found)
        reactions["after"] += all(known_structures(name) for name in found)
    before = {name for name in phases if lowest_tabulated(name) is not None}
    after = {name for name in phases if known_structures(name)}
    missing = Counter(why_no_structure(name).partition(" (")[0] for name in phases if name not in after)
    several = [len(known_structures(name)) for name in after]
    return {
        "formulas": n,
        "reactions": reactions,
        "phases": len(phases),
        "phases_before": len(before),
        "phases_after": len(after),
        "lost": sorted(before - after),
        "with_several": sum(k > 1 for k in several),
        "most_polymorphs": max(several, default=0),
        "missing": dict(missing),
    }


def main() -> None:
    """Print one JSON line for each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=15)
    options = parser.parse_args()
    samples = {"known stable compounds": stable, "borides, carbides, nitrides that no table knows": unknown}
    for name, sample in samples.items():
        found = counted(sample(options.n, np.random.default_rng(options.seed)))
        sys.stdout.write(json.dumps({"sample": name, **found}) + "\n")


if __name__ == "__main__":
    main()
