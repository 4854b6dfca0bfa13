"""How right are known phases that are rebuilt from their signatures? Shapes learned without their formulas.

    python -m experiments.studies.rebuilt_phases [-n 400] [--least 1] [--most 12] [--decoder]

A fifth of the formulas of the shared structures is left out of the learning of shapes; of these, phases are
rebuilt from signature and volume and compared with the true structure: StructureMatcher (default tolerances),
the displacement that it finds, and what the packaged surrogate says of both cells. With `--decoder` also what
was done before: sites that symmetry fixes, else the decoder. Three to eight minutes, most of it learning.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from experiments.package_data.prototype_geometries import collected, learned, rows
from inverse.benchmarks.dft_rows import structure_of as true_structure
from inverse.decoders import load_decoder
from inverse.inputs.named_surrogate import surrogate_named
from inverse.reference import construction
from inverse.reference.geometries import Geometry, geometries_of, shapes_by_type
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Signature, signature
from inverse.reference.skeletons import anonymous, n_atoms_of
from surrogates.crystals.batch import CrystalBatch
from surrogates.datasets.elasticity import formula_fold
from surrogates.errors import EngineError
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY

FOLDS, SEED = 5, 20261130
"""One formula in so many is left out; seed of the choice among them."""

SIZES = (8, 12, 24)
"""Atoms of the primitive cell up to which carried signatures are counted."""


@dataclass(frozen=True)
class Case:
    """A phase whose formula no shape was learned from."""

    formula: str
    found: Signature
    true: Structure


def cases(held: Sequence[Mapping[str, Any]], n: int) -> Iterator[Case]:
    """Yield at most n of the rows, each formula and signature once, in random order."""
    seen: set[tuple[str, str]] = set()
    for i in np.random.default_rng(SEED).permutation(len(held)):
        if len(seen) == n:
            return
        true = true_structure(dict(held[i]))
        try:
            found = signature(true)
        except EngineError:
            continue
        if (held[i]["formula"], found.text) not in seen:
            seen.add((held[i]["formula"], found.text))
            yield Case(held[i]["formula"], found, true)


def compared(name: str, chosen: Sequence[Case], build: Callable[[Signature], Structure | None]) -> None:
    """Print how many are built, how many are right and how far off these are."""
    matcher, began = StructureMatcher(), time.process_time()
    built = [build(case.found) for case in chosen]
    seconds = (time.process_time() - began) / max(len(chosen), 1)
    pairs = [(case.true, s) for case, s in zip(chosen, built, strict=True) if s is not None]
    found = [matcher.get_rms_dist(true, s) for true, s in pairs]
    distances = [fit[0] for fit in found if fit is not None]
    middle, far = np.quantile(distances or [np.nan], (0.5, 0.9))
    print(
        f"{name}: n {len(chosen)}, built {len(pairs)}, right {len(distances)}; displacement over (V/N)^1/3 "
        f"median {middle:.4f}, 90th percentile {far:.4f}; {seconds:.3f} s each"
    )
    known = [(t, s) for (t, s), fit in zip(pairs, found, strict=True) if fit is not None]
    for what, some in (("all that are built", pairs), ("the right ones", known)):
        print(f"  surrogate, rebuilt against true, {what}: {said_of_both(some)}")


def said_of_both(pairs: Sequence[tuple[Structure, Structure]]) -> str:
    """Return how far the packaged surrogate's K and energy of rebuilt cells are from those of true ones."""
    surrogate = surrogate_named("structure")
    pairs = [(t, s) for t, s in pairs if {e.symbol for e in t.composition} <= surrogate.elements]
    with torch.no_grad():
        true, made = (
            surrogate.predict(CrystalBatch.from_structures(list(side)), [BULK_MODULUS, FORMATION_ENERGY])
            for side in zip(*pairs, strict=True)
        )
    stiffness = (made[BULK_MODULUS].mean / true[BULK_MODULUS].mean).log().abs().numpy()
    energy = (made[FORMATION_ENERGY].mean - true[FORMATION_ENERGY].mean).numpy()
    return (
        f"|ln K| median {np.median(stiffness):.4f}, 90 % {np.quantile(stiffness, 0.9):.3f}; energy median "
        f"{np.median(energy):+.4f}, median size {np.median(np.abs(energy)):.4f}, 90 % "
        f"{np.quantile(np.abs(energy), 0.9):.3f} eV/atom"
    )


def count_carried() -> None:
    """Print of how many carried signatures a shape of the type is packaged."""
    texts = [t for t in KnownMaterials.packaged().texts.to_pylist() if n_atoms_of(t) <= SIZES[-1]]  # type: ignore[attr-defined]
    has_shape = np.array([bool(geometries_of(anonymous(t)[0])) for t in texts])
    size = np.array([n_atoms_of(t) for t in texts])
    for least, most in zip((0, *SIZES[:-1]), SIZES, strict=True):
        own = (size > least) & (size <= most)
        print(f"{least + 1} to {most} atoms: {own.sum()} signatures, a shape for {has_shape[own].sum()}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--least", type=int, default=1, help="atoms of the cell")
    parser.add_argument("--most", type=int, default=12, help="atoms of the cell")
    parser.add_argument("--decoder", action="store_true", help="compare with fixed sites and the decoder")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    count_carried()
    found = list(rows(given.least, given.most))
    fold = np.array([formula_fold(row["formula"], FOLDS) for row in found])
    records = learned(collected(row for row, k in zip(found, fold, strict=True) if k != 0), 2)
    shapes: Mapping[str, tuple[Geometry, ...]] = shapes_by_type(records)
    chosen = list(cases([row for row, k in zip(found, fold, strict=True) if k == 0], given.n))
    construction.geometries_of = lambda text: shapes.get(text, ())
    compared("shapes", chosen, construction.rebuilt)
    if given.decoder:
        construction.geometries_of = lambda text: ()
        complete = load_decoder("default").complete
        compared("fixed sites, else decoder", chosen, lambda s: construction.structure_of(s, complete, SEED))


if __name__ == "__main__":
    main()
