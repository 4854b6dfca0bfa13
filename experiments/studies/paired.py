"""A run before and after a change, paired by crystal: one judge says the same of one cell, no hit is lost.

    python -m experiments.studies.paired BEFORE AFTER           # candidates verified in both runs
    python -m experiments.studies.paired BEFORE --afresh        # this code's judges on BEFORE's crystals

Pairs are cells as proposed, equal to 1e-4. Prints every pair of values of one judge that differ by more than
1e-3 of the unit, what became of each hit of BEFORE, and exits with 1 when a value differs.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from inverse.campaign.run_folder import read_candidates
from inverse.candidates.types import Candidate, Status, Verification
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan

TOLERANCE = 1e-3 + 1e-9
"""Of the unit: how far two values of one judge may differ for one cell; the last digit that is told back."""

JUDGED = ("formation_energy_per_atom", "energy_above_hull", "bulk_modulus_vrh", "shear_modulus_vrh")
"""What judges say themselves; everything else follows from it."""

Pair = tuple[Candidate, Verification]


def main(arguments: Sequence[str]) -> int:
    """Print the comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?")
    parser.add_argument("--afresh", action="store_true")
    options = parser.parse_args(arguments)
    before = [c for c in read_candidates(options.before) if c.verification is not None]
    if options.afresh:
        pairs = list(_afresh(before))
    elif options.after is not None:
        after = [c for c in read_candidates(options.after) if c.verification is not None]
        pairs = list(_paired(before, after))
        _print_hits(before, after)
    else:
        parser.error("name a second run or give --afresh")
    differences = [line for candidate, verdict in pairs for line in _differences(candidate, verdict)]
    print(f"{len(pairs)} of {len(before)} crystals verified before are paired; {len(differences)} differ")
    print(*differences, sep="\n")
    return 1 if differences else 0


def _afresh(before: Sequence[Candidate]) -> Iterator[Pair]:
    """Yield what this code's judges say of the same cells; nothing is taken from the store."""
    verifier = open_pool(VerificationPlan(panel_named(), reuse=False), 2)
    try:
        structures = [c.structure for c in before]
        for position, verdict in verifier.verify_each(structures, lambda: False):
            yield before[position], verdict
    finally:
        verifier.close()


def _paired(before: Sequence[Candidate], after: Sequence[Candidate]) -> Iterator[Pair]:
    for candidate in before:
        twin = next((c for c in after if _same_cell(candidate.structure, c.structure)), None)
        if twin is not None and twin.verification is not None:
            yield candidate, twin.verification


def _same_cell(one: Structure, other: Structure) -> bool:
    if [s.specie.symbol for s in one] != [s.specie.symbol for s in other]:
        return False
    apart = np.abs(np.asarray(one.frac_coords) - np.asarray(other.frac_coords))
    is_near = np.minimum(apart, 1.0 - apart).max() < 1e-4
    return bool(is_near and np.allclose(one.lattice.matrix, other.lattice.matrix, atol=1e-4))


def _differences(candidate: Candidate, now: Verification) -> Iterator[str]:
    then = candidate.verification
    assert then is not None
    name = f"{candidate.id} {candidate.structure.composition.reduced_formula}"
    if then.converged != now.converged or then.is_stable != now.is_stable:
        states = [f"converged {v.converged}, stable {v.is_stable} ({v.reason})" for v in (then, now)]
        yield f"{name}: {states[0]} -> {states[1]}"
    for key in JUDGED:
        first, second = then.values.get(key), now.values.get(key)
        if first is None and second is None:
            continue
        if first is None or second is None:
            yield f"{name} {key}: {'no value' if first is None else f'{first.mean:.4f}'} -> " + (
                "no value" if second is None else f"{second.mean:.4f}"
            )
        elif first.potential == second.potential and not _is_close(first.raw, second.raw):
            yield f"{name} {key} by {first.potential}: raw {first.raw:.4f} -> {second.raw:.4f}"
        elif not _is_close(first.mean, second.mean) or not _is_close(first.std, second.std):
            scales = [f"{v.mean:.4f} +- {v.std:.4f}" for v in (first, second)]
            yield f"{name} {key} by {first.potential}, {second.potential}: {scales[0]} -> {scales[1]}"


def _is_close(one: float, other: float) -> bool:
    both_missing = math.isnan(one) and math.isnan(other)
    return both_missing or abs(one - other) <= TOLERANCE


def _print_hits(before: Sequence[Candidate], after: Sequence[Candidate]) -> None:
    hits = [[c for c in run if c.status is Status.HIT] for run in (before, after)]
    names = [{c.structure.composition.reduced_formula for c in run} for run in hits]
    print(f"hits: {len(hits[0])} of {len(before)} before, {len(hits[1])} of {len(after)} after")
    print("in both:", ", ".join(sorted(names[0] & names[1])))
    for label, lost, others in (
        ("lost", names[0] - names[1], after),
        ("gained", names[1] - names[0], before),
    ):
        for formula in sorted(lost):
            seen = [c for c in others if c.structure.composition.reduced_formula == formula]
            what = "; ".join(f"{c.status.value}: {c.reason}" for c in seen) or "not verified in the other run"
            print(f"{label}: {formula} ({what})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
