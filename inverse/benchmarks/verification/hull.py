"""`inverse bench verify-hull`: formation energy and stability by the energy judge, from perturbed cells.

Rows: WBM crystals of at most 12 atoms whose formula is in no carried table (hence not in the hull) and in no
row that the energy corrections were fitted to. Each starts 4 % off in volume with every atom moved by 0.1 Å
and is relaxed at the settings of record. Compared: the judge's corrected formation energy with the WBM value
moved to the reference's scale, and both distances to the carried hull.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import calibration_rows, crystal_rows, shaken, structure_of
from inverse.benchmarks.intervals import bootstrapped
from inverse.reference import ReferenceHull
from inverse.reference.energy_scale import on_reference_scale
from inverse.report.progress_bar import progress
from inverse.verification.calibration.energy_correction import (
    fitted_formulas,
    formation_energy,
    formation_energy_error,
)
from inverse.verification.judge import Judge, RelaxationVerdict
from inverse.verification.mechanics.departures import has_same_signature
from inverse.verification.store import VerificationStore
from surrogates.errors import EngineError, UnsupportedElementError, VerificationError
from surrogates.protocol import Z90

POTENTIAL, PRERELAX_BY = "7net-l3i5", "7net-0"
MAX_ATOMS, FEW_ATOMS = 12, 8
VOLUME_CHANGE, SHIFT = 0.04, 0.1
LIMIT = 0.1
"""eV/atom above the hull up to which a phase counts as stable."""

ROWS_OF_RECORD = 500
BARS = {"mae": 0.045, "f1": 0.90, "mcc": 0.75, "above": 0.03, "query_ms": 5.0}


def run_verify_hull(n: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return errors, F1 and MCC over the first rows of record, and what the hull itself is worth.

    Without `n` only what the store holds is read and what is missing is counted; with it the first n rows are
    computed where the store lacks them (about 6 core-seconds each).

    Args:
        n: rows wanted; None reads all of record.
        seed: of choice and perturbation of the rows; the store holds those of 0.

    Raises:
        DataError: the shared structures are absent.
    """
    rows = hull_rows(seed)[: n or ROWS_OF_RECORD]
    found = judged(rows, seed, VerificationStore(), compute=n is not None)
    hull = ReferenceHull.packaged()
    record: dict[str, Any] = {"rows": len(rows), "missing": len(rows) - len(found)}
    record |= figures([outcome(row, verdict, hull) for row, verdict in found])
    record["known_phases"] = known_phases(hull)
    record["known_phases_judged"] = known_judged(hull, VerificationStore())
    record["query"] = query_times(hull, [row["formula"] for row in rows[:200]])
    record["decompositions"] = examples(hull)
    record["passed"] = bool(
        found
        and not record["missing"]
        and record["mae"]["value"] <= BARS["mae"]
        and record["f1"]["value"] >= BARS["f1"]
        and record["mcc"]["value"] >= BARS["mcc"]
        and record["known_phases"]["share"] <= BARS["above"]
        and record["query"]["quantile_95_ms"] <= BARS["query_ms"]
    )
    return record


def hull_rows(seed: int = 0) -> list[dict[str, Any]]:
    """Return the WBM rows, one a formula, shuffled; three of at most 8 atoms, then one larger, in turn.

    Raises:
        DataError: the shared structures are absent.
    """
    known = set(ReferenceHull.packaged().phases.formulas.to_pylist())  # type: ignore[attr-defined]
    known |= fitted_formulas(POTENTIAL)
    pool = [r for r in crystal_rows("wbm") if r["formula"] not in known and len(r["species"]) <= MAX_ATOMS]
    order = np.random.default_rng(seed).permutation(len(pool))
    unique = list({pool[i]["formula"]: pool[i] for i in order}.values())
    small = [r for r in unique if len(r["species"]) <= FEW_ATOMS]
    large = [r for r in unique if len(r["species"]) > FEW_ATOMS]
    places = [i + i // 3 for i in range(len(small))] + [4 * i + 3 for i in range(len(large))]
    return [(small + large)[i] for i in np.argsort(places, kind="stable")]


def perturbed(row: Mapping[str, Any], seed: int = 0) -> Structure:
    """Return the row's crystal 4 % larger or smaller, every atom moved by 0.1 Å in a random direction."""
    rng = np.random.default_rng([seed, *row["id"].encode()])
    return shaken(structure_of(dict(row)), VOLUME_CHANGE * rng.choice([-1, 1]), SHIFT, rng)


def judged(
    rows: Sequence[Mapping[str, Any]], seed: int, store: VerificationStore, compute: bool
) -> list[tuple[Mapping[str, Any], RelaxationVerdict]]:
    """Return rows with the energy judge's relaxation; those that the store lacks are computed or left out."""
    judge = Judge(POTENTIAL, store=store, prerelax_by=PRERELAX_BY)
    found = []
    with progress("relaxations", len(rows)) as bar:
        for row in rows:
            start = perturbed(row, seed)
            if compute or judge.remembers(start):
                found.append((row, judge.relax(start, time.monotonic() + 300.0)))
            bar.advance(row["formula"])
    return found


def outcome(row: Mapping[str, Any], verdict: RelaxationVerdict, hull: ReferenceHull) -> dict[str, Any]:
    """Return what DFT and the judge say about one row, eV/atom; `reason` where the judge has no answer."""
    composition = structure_of(dict(row)).composition
    amounts = composition.get_el_amt_dict()
    true = on_reference_scale(amounts, row["formation_energy_per_atom"])
    result: dict[str, Any] = {"formula": row["formula"], "n_atoms": len(row["species"]), "true": true}
    try:
        result["true_above"] = true - hull.below(composition)
        if verdict.structure is None:
            return {**result, "reason": verdict.reason}
        energy = formation_energy(verdict.structure, verdict.energy, POTENTIAL)
    except EngineError as error:
        return {**result, "reason": str(error)}
    above = result["true_above"] + energy - true
    kept = has_same_signature(structure_of(dict(row)), verdict.structure)
    return {**result, "error": energy - true, "above": above, "reason": "", "kept_phase": kept}


def figures(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return MAE over the rows with an energy and decisions over all: a failure counts as "not stable".

    Beside them the same for the rows whose elements have a reference, and for those of them that end in the
    phase DFT kept: a cell whose symmetry was broken may relax to a lower phase than DFT's symmetric one.
    """
    answered = [o for o in outcomes if "error" in o]
    parts = {
        "kept_phase": [o for o in answered if o["kept_phase"]],
        "another_phase": [o for o in answered if not o["kept_phase"]],
    }
    beside = {name: _figures(part) for name, part in {"answered": answered, **parts}.items()}
    return {**_figures(outcomes), "beside": beside}


def _figures(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not outcomes:
        return {"n": 0}
    errors = np.array([o.get("error", np.nan) for o in outcomes])
    usable = [o for o in outcomes if "true_above" in o]
    stable = np.array([o["true_above"] <= LIMIT for o in usable])
    said = np.array([o.get("above", np.inf) <= LIMIT for o in usable])
    is_failed = np.isnan(errors)
    small = np.array([o["n_atoms"] <= FEW_ATOMS for o in outcomes])
    worst = sorted((o for o in outcomes if "error" in o), key=lambda o: -abs(o["error"]))[:10]
    return {
        "n": len(outcomes),
        "failed": int(is_failed.sum()),
        "failures": {o["formula"]: o["reason"] for o in outcomes if o["reason"]},
        "mae": bootstrapped(_mean_absolute, errors),
        "median_absolute_error": round(float(np.nanmedian(np.abs(errors))), 4),
        "bias": round(float(np.nanmedian(errors)), 4),
        "coverage_90": bootstrapped(_coverage, errors[~is_failed]),
        "mae_up_to_8_atoms": round(float(np.nanmean(np.abs(errors[small]))), 4) if small.any() else None,
        "mae_9_to_12_atoms": round(float(np.nanmean(np.abs(errors[~small]))), 4) if (~small).any() else None,
        "stable_share": round(float(stable.mean()), 3),
        "f1": bootstrapped(f1, stable, said),
        "mcc": bootstrapped(matthews, stable, said),
        "worst": {o["formula"]: round(o["error"], 3) for o in worst},
    }


def _mean_absolute(errors: np.ndarray) -> float:
    """Return the mean of what is known; NaN where a draw holds nothing that is."""
    known = errors[~np.isnan(errors)]
    return float(np.abs(known).mean()) if len(known) else float("nan")


def _coverage(errors: np.ndarray) -> float:
    """Return the share of (N,) errors that the stated 90 % interval of a formation energy holds."""
    return float((np.abs(errors) <= Z90 * formation_energy_error(POTENTIAL)).mean())


def f1(true: np.ndarray, said: np.ndarray) -> float:
    """Return the F1 score of (N,) bools; 0 where nothing is or was called true."""
    both = int((true & said).sum())
    return 2 * both / max(1, int(true.sum()) + int(said.sum()))


def matthews(true: np.ndarray, said: np.ndarray) -> float:
    """Return Matthews' correlation of (N,) bools; 0 where one side is constant."""
    if len(set(true.tolist())) < 2 or len(set(said.tolist())) < 2:
        return 0.0
    return float(np.corrcoef(true, said)[0, 1])


def known_phases(hull: ReferenceHull, n: int = 3000) -> dict[str, Any]:
    """Return the share of phases stable by Materials Project structures that end above the limit."""
    distances = ((r["formula"], r["energy_above_hull"]) for r in crystal_rows("mp_structures"))
    stable = {formula for formula, above in distances if above is not None and above <= 1e-6}
    formulas = [f for f in sorted(stable) if _energy_of(hull, f) is not None]
    chosen = np.random.default_rng(0).permutation(len(formulas))[:n]
    names = [formulas[i] for i in chosen]
    above = {f: _energy_of(hull, f) - hull.below(f, exclude_itself=True) for f in names}
    over = {f: round(float(d), 3) for f, d in above.items() if d > LIMIT}
    return {"stable": len(formulas), "n": len(above), "above": over, "share": len(over) / max(1, len(above))}


def _energy_of(hull: ReferenceHull, formula: str) -> Any:
    phase = hull.phases.phase(formula)
    return None if phase is None else phase.formation_energy_per_atom


def known_judged(hull: ReferenceHull, store: VerificationStore) -> dict[str, Any]:
    """Return the same by the judge's own energies, for the stable calibration rows that the store holds."""
    judge = Judge(POTENTIAL, store=store, prerelax_by=PRERELAX_BY)
    above: dict[str, float] = {}
    failed: dict[str, str] = {}
    for row in calibration_rows():
        start = structure_of(row)
        if row.get("energy_above_hull") != 0 or not judge.remembers(start):
            continue
        verdict = judge.relax(start)
        try:
            if verdict.structure is None:
                raise VerificationError(verdict.reason)
            energy = formation_energy(verdict.structure, verdict.energy, POTENTIAL)
            above[row["formula"]] = hull(row["formula"], energy)
        except (UnsupportedElementError, VerificationError) as error:
            failed[row["formula"]] = str(error)
    over = {f: round(d, 3) for f, d in above.items() if d > LIMIT}
    n = len(above) + len(failed)
    return {"n": n, "above": over, "failed": failed, "share": (len(over) + len(failed)) / max(1, n)}


def query_times(hull: ReferenceHull, formulas: Sequence[str]) -> dict[str, float]:
    """Return milliseconds of processor time for a query whose chemical system is known."""
    times = []
    for formula in formulas:
        try:
            hull.energy_above_hull(formula, -0.1)
        except UnsupportedElementError:
            continue
        started = time.process_time()
        hull.energy_above_hull(formula, -0.1)
        times.append(1000 * (time.process_time() - started))
    return {
        "n": len(times),
        "median_ms": round(float(np.median(times)), 2),
        "quantile_95_ms": round(float(np.quantile(times, 0.95)), 2),
        "largest_ms": round(max(times), 2),
    }


def examples(hull: ReferenceHull) -> dict[str, Any]:
    """Return decomposition products of a few formulas, and how an element without reference is refused."""
    shown: dict[str, Any] = {}
    for formula in ("W3NbC4", "Ti3AlC", "MgAl2O4", "EsC"):
        try:
            answer = hull.energy_above_hull(formula, 0.0)
            shown[formula] = {k: round(v, 3) for k, v in answer.decomposition.items()}
        except UnsupportedElementError as error:
            shown[formula] = str(error)
    return shown
