"""`inverse bench verify-elasticity`: the formula against ions relaxed in every strained cell."""

import math
import time
from typing import Any

import numpy as np
import torch

from inverse.benchmarks.dft_rows import crystal_rows, is_usable, structure_of
from inverse.benchmarks.verification.known_materials import verified
from inverse.benchmarks.verification.strained_cells import StrainedCells, stored_strained_cells
from inverse.candidates.statistics import wilson_interval
from inverse.inputs.records import plain
from inverse.report.progress_bar import progress
from inverse.verification.judge import Judge, TensorVerdict
from inverse.verification.mechanics.weak_ground import WeakGround
from inverse.verification.store import VerificationStore
from surrogates.physics import elasticity

POTENTIAL = "7net-0"
BULK_LIMIT, SHEAR_LIMIT, SHARE = 0.02, 0.05, 0.80
"""Largest relative difference of K and of G, and the share of crystals that must keep to both."""

SECONDS = 300.0
"""What the store lacks is computed for this long; the rest is counted as missing."""

SYSTEMS = {
    "cubic": 230,
    "hexagonal": 194,
    "trigonal": 167,
    "tetragonal": 142,
    "orthorhombic": 74,
    "monoclinic": 15,
    "triclinic": 2,
}
"""Crystal system -> its last space group's number."""


N_CRYSTALS = 116
"""Crystals of record: a hundred of them have moduli."""


def run_elasticity(n: int = N_CRYSTALS, seed: int = 0) -> dict[str, Any]:
    """Return how often the relaxed-ion tensor agrees with brute force, and what was flagged beforehand.

    Both start from the cell that the judge relaxed at the settings of record. Whatever is not within both
    limits (a crystal that would not relax, an unstable tensor, a reference that is not positive definite)
    is an exception; flags come from our own answer alone. Where neither way gives moduli (not positive
    definite by both) there is nothing to compare: counted apart. The fill: `python -m
    experiments.package_data.queue elasticity`.

    Args:
        n: crystals.
        seed: of the draw.
    """
    store = VerificationStore()
    rows, done, missing = crystals(n, seed), [], 0
    stop = time.monotonic() + SECONDS
    with progress("crystals, by formula and by brute force", len(rows)) as bar:
        for row in rows:
            found = measure(row, store, compute=time.monotonic() < stop)
            missing += found is None
            done += [] if found is None else [found]
            bar.advance(row["formula"])
    known = verified()
    passed = _passes(done, missing) and bool(known["passed"])
    return {**summary(done), "missing": missing, "passed": passed, "known": known, "crystals": plain(done)}


def summary(done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures over measured crystals."""
    if not done:
        return {"n": 0}
    within = [one for one in done if one["within"]]
    exceptions = [one for one in done if not one["within"]]
    flagged = [one for one in done if one["flags"]]
    errors = {key: _errors(done, key) for key in ("bulk_error", "shear_error", "clamped_shear_error")}
    unflagged = [one for one in done if not one["flags"]]
    comparable = [one for one in done if any(map(math.isfinite, one["bulk"]))]
    return {
        "n": len(done),
        "within": len(within),
        "share": round(len(within) / len(done), 4),
        "share_interval": _interval(len(within), len(done)),
        "without_moduli_by_either": len(done) - len(comparable),
        "within_of_comparable": [len(within), len(comparable)],
        "share_of_comparable_interval": _interval(len(within), len(comparable)),
        "bulk_within": sum(abs(one["bulk_error"]) <= BULK_LIMIT for one in done),
        "shear_within": sum(abs(one["shear_error"]) <= SHEAR_LIMIT for one in done),
        "flagged": len(flagged),
        "within_of_unflagged": [sum(one["within"] for one in unflagged), len(unflagged)],
        "exceptions": [f"{one['formula']}: {', '.join(one['flags']) or 'no flag'}" for one in exceptions],
        "exceptions_without_flag": [one["formula"] for one in exceptions if not one["flags"]],
        "median_errors": {key: float(np.median(values)) for key, values in errors.items() if len(values)},
    }


def measure(row: dict[str, Any], store: VerificationStore, compute: bool = True) -> dict[str, Any] | None:
    """Return what both ways say about one crystal; None where the store lacks an answer."""
    judge, start = Judge(POTENTIAL, store=store), structure_of(row)
    if not compute and not judge.remembers(start):
        return None
    relaxed = judge.relax(start)
    about = {"id": row["id"], "formula": row["formula"], "space_group": row["space_group"]}
    if relaxed.structure is None:
        return {**about, **_compared(None, None), "flags": ["not_relaxed"]}
    if not compute and stored_strained_cells(relaxed.structure, POTENTIAL, store, compute) is None:
        return None
    verdict = judge.tensor(relaxed.structure)
    flags = [*verdict.flags, *_warnings(verdict)]
    reference = stored_strained_cells(relaxed.structure, POTENTIAL, store)
    return {**about, "n_atoms": len(relaxed.structure), **_compared(verdict, reference), "flags": flags}


def _warnings(verdict: TensorVerdict) -> list[str]:
    if verdict.reason or not verdict.clamped:
        return ["no_tensor"]
    return [WeakGround.NEAR_UNSTABLE] if verdict.is_near_unstable else []


def _compared(verdict: TensorVerdict | None, reference: StrainedCells | None) -> dict[str, Any]:
    """Return moduli by both, their relative differences, and whether they keep to the limits."""
    ours = (math.nan, math.nan) if verdict is None else (verdict.bulk_modulus, verdict.shear_modulus)
    theirs = (math.nan, math.nan) if reference is None else moduli(reference.tensor)
    clamped = (math.nan, math.nan) if verdict is None or not verdict.clamped else moduli(verdict.clamped)
    bulk, shear = (a / b - 1.0 for a, b in zip(ours, theirs, strict=True))
    return {
        "within": abs(bulk) <= BULK_LIMIT and abs(shear) <= SHEAR_LIMIT,
        "bulk": [round(ours[0], 3), round(theirs[0], 3)],
        "shear": [round(ours[1], 3), round(theirs[1], 3)],
        "bulk_error": round(bulk, 5),
        "shear_error": round(shear, 5),
        "clamped_shear_error": round(clamped[1] / theirs[1] - 1.0, 5),
        "lowest_mode": None if verdict is None else verdict.lowest_mode,
        "lowest_eigenvalue": None if verdict is None else verdict.lowest_eigenvalue,
        "unconverged_reference_cells": 0 if reference is None else reference.n_unconverged,
    }


def moduli(tensor: Any) -> tuple[float, float]:
    """Return Hill K and G, GPa; NaN when the tensor is not positive definite."""
    stacked = torch.as_tensor(np.array(tensor, dtype=float))[None]
    if not bool(elasticity.is_born_stable(stacked)):
        return math.nan, math.nan
    return float(elasticity.hill_bulk_modulus(stacked)), float(elasticity.hill_shear_modulus(stacked))


def crystals(n: int = N_CRYSTALS, seed: int = 0) -> list[dict[str, Any]]:
    """Return n DFT rows, the seven crystal systems in turn, one row a formula, in a fixed order.

    Raises:
        DataError: the shared structures are absent.
    """
    rows = [row for row in crystal_rows("elasticity") if is_usable(row) and row["space_group"]]
    order = np.random.default_rng(seed).permutation(len(rows))
    waiting: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
    for i in order[::-1]:
        waiting[crystal_system(int(rows[i]["space_group"]))].append(rows[i])
    chosen: list[dict[str, Any]] = []
    taken: set[str] = set()
    while len(chosen) < n and any(waiting.values()):
        for system in SYSTEMS:
            while waiting[system] and waiting[system][-1]["formula"] in taken:
                waiting[system].pop()
            if waiting[system] and len(chosen) < n:
                chosen.append(waiting[system].pop())
                taken.add(chosen[-1]["formula"])
    return chosen


def crystal_system(space_group: int) -> str:
    """Return the crystal system of a space group's number."""
    return min((last, name) for name, last in SYSTEMS.items() if space_group <= last)[1]


def _passes(done: list[dict[str, Any]], missing: int) -> bool:
    """Return whether enough crystals that have moduli agree, and every exception was flagged."""
    unflagged = any(not one["within"] and not one["flags"] for one in done)
    within, n = summary(done)["within_of_comparable"] if done else (0, 0)
    return n > 0 and missing == 0 and within >= SHARE * n and not unflagged


def _errors(done: list[dict[str, Any]], key: str) -> np.ndarray:
    values = np.abs([one[key] for one in done])
    return np.round(values[np.isfinite(values)], 5)


def _interval(hits: int, n: int) -> list[float] | None:
    return [round(value, 4) for value in wilson_interval(hits, n)] if n else None
