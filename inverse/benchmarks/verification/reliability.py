"""`inverse bench verify-reliability`: broken crystals and misbehaving potentials, through the worker pool."""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pymatgen.core import Lattice, Structure

from inverse.benchmarks.verification.broken_crystals import broken_crystals
from inverse.candidates.types import Failure, Verification
from inverse.report.progress_bar import progress
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from inverse.verification.workers import GRACE

POTENTIAL = "7net-0"
SECONDS_LIMIT = 30.0
"""Of computing allowed for one broken crystal; four times as many by the clock."""

STOP_ABOVE_HULL = 1.0
FAULTS = {
    "nan_forces": "not finite",
    "exploding": "volume changed",
    "out_of_memory": "MemoryError",
    "hanging": "time limit",
    "killed": "memory",
}
"""Misbehaving calculator -> what the recorded reason must name."""

_UNNAMED = re.compile(r"^(\w+(Error|Exception|Warning|Interrupt)\b|the worker ended)")


def run_verify_reliability(n: int = 300, seed: int = 0) -> dict[str, Any]:
    """Return what became of n broken crystals, five misbehaving potentials and cells of 1 and 60 atoms.

    Nothing is read from the verification store.

    Args:
        n: broken crystals.
        seed: of the damage.
    """
    crystals = broken_crystals(n, seed)
    started = time.monotonic()
    verdicts = _verified(
        [structure for _, structure in crystals], POTENTIAL, SECONDS_LIMIT, "broken crystals"
    )
    seconds = time.monotonic() - started
    broken = summary([kind for kind, _ in crystals], verdicts)
    sizes = _sizes()
    faults = {name: _fault(name, wanted) for name, wanted in FAULTS.items()}
    return {
        "passed": bool(
            broken["answered"] == n
            and not broken["tracebacks"]
            and not broken["hangs"]
            and all(fault["is_named"] for fault in faults.values())
            and all(size["converged"] for size in sizes.values())
        ),
        "seconds": round(seconds, 1),
        "broken": broken,
        "sizes": sizes,
        "misbehaving_potentials": faults,
    }


def summary(kinds: Sequence[str], verdicts: Sequence[Verification]) -> dict[str, Any]:
    """Return counts by kind of damage; a reason that only quotes an exception counts as a traceback."""
    by_kind: dict[str, Counter[str]] = {}
    for kind, verdict in zip(kinds, verdicts, strict=True):
        by_kind.setdefault(kind, Counter())[_without_numbers(verdict.reason) or "verified"] += 1
    unnamed = [v.reason for v in verdicts if _UNNAMED.match(v.reason)]
    silent = sum(not v.converged and not v.reason for v in verdicts)
    return {
        "n": len(kinds),
        "answered": len(verdicts),
        "converged": sum(v.converged for v in verdicts),
        "tracebacks": len(unnamed) + silent,
        "unnamed_reasons": unnamed[:10],
        "hangs": sum(v.seconds > SECONDS_LIMIT + GRACE + 10 for v in verdicts),
        "stopped_by_time_limit": sum(v.failure is Failure.TIME_LIMIT for v in verdicts),
        "slowest_seconds": max((v.seconds for v in verdicts), default=0.0),
        "reasons": {kind: dict(counts.most_common()) for kind, counts in by_kind.items()},
    }


def _without_numbers(reason: str) -> str:
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", reason)


def _verified(
    structures: Sequence[Structure], potential: str, limit: float, label: str, workers: int = 2
) -> list[Verification]:
    plan = VerificationPlan(
        panel_named(potential),
        reuse=False,
        store="",
        seconds_limit=limit,
        stop_above_hull=STOP_ABOVE_HULL,
        device="cpu",
    )
    pool = open_pool(plan, workers)
    found: dict[int, Verification] = {}
    try:
        with progress(label, len(structures)) as bar:
            for position, verdict in pool.verify_each(structures):
                found[position] = verdict
                bar.advance(verdict.reason or "verified")
    finally:
        pool.close()
    return [found[i] for i in range(len(structures)) if i in found]


def _fault(name: str, wanted: str) -> Mapping[str, Any]:
    """Return the reason recorded for a misbehaving potential, and whether the next crystal is answered."""
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    )
    potential = f"inverse.benchmarks.verification.broken_crystals:{name}"
    limit = 3.0 if name == "hanging" else SECONDS_LIMIT
    verdicts = _verified([salt.get_primitive_structure()] * 2, potential, limit, name, workers=1)
    reasons = [verdict.reason for verdict in verdicts]
    return {
        "reason": reasons[0] if reasons else "",
        "is_named": len(reasons) == 2 and all(wanted in reason for reason in reasons),
        "seconds": [verdict.seconds for verdict in verdicts],
    }


def _sizes() -> dict[str, Any]:
    """Return what becomes of sound cells of 1 and of 60 atoms."""
    tungsten = Structure(
        Lattice.cubic(2.9), ["W", "W"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()
    large = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.9), *_perovskite()) * (3, 2, 2)
    large.perturb(0.02, min_distance=None, seed=1)
    verdicts = _verified([tungsten, large], POTENTIAL, 10 * SECONDS_LIMIT, "1 and 60 atoms")
    return {
        f"{len(structure)} atoms": {
            "converged": verdict.converged,
            "reason": verdict.reason,
            "seconds": verdict.seconds,
        }
        for structure, verdict in zip((tungsten, large), verdicts, strict=True)
    }


def _perovskite() -> tuple[list[str], list[list[float]]]:
    return ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
