"""The structure surrogate's two tiers against simpler models, on formulas that none of them saw."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import ScoredRows, rows_of_surrogates
from inverse.benchmarks.held_out import FOLDER, HeldOutPredictions, read_held_out
from inverse.benchmarks.intervals import Resampled
from inverse.benchmarks.verification.raw_potentials import against_potentials
from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from surrogates.checkpoints.checkpoint import (
    checkpoint_digest,
    load_manifest,
    load_surrogate,
    packaged_folder,
)
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError, EngineError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property

MODELS = ("accurate", "fast", "boosting", "crystal_graph", "composition", "constant")
TIERS: Mapping[str, str] = {"fast": "structure", "accurate": "accurate"}
"""Model -> name of its packaged weights."""

EXTRAPOLATION = ("beyond_300", "beyond_300_plain")
"""With the linear law beside the network, which the accurate tier has, and without; the first must pass."""
CHEMISTRIES = ("without_B", "without_C", "without_N", "without_O")

THRESHOLD: Mapping[Property, float] = {BULK_MODULUS: 300.0, SHEAR_MODULUS: 150.0}

BARS: Mapping[str, tuple[float, float]] = {
    "bulk_modulus_vrh.log10_mae": (0.0, 0.038),
    "bulk_modulus_vrh.by_group.mp_binaries": (0.0, 0.040),
    "bulk_modulus_vrh.by_group.mp_beyond": (0.0, 0.049),
    "bulk_modulus_vrh.by_group.aflow_ael": (0.0, 0.030),
    "bulk_modulus_vrh.recall": (0.80, 1.0),
    "bulk_modulus_vrh.precision": (0.85, 1.0),
    "bulk_modulus_vrh.coverage_90": (0.87, 0.93),
    "bulk_modulus_vrh.coverage_90_stiffest_tenth": (0.83, 1.0),
    "shear_modulus_vrh.log10_mae": (0.0, 0.074),
    "shear_modulus_vrh.by_group.mp_binaries": (0.0, 0.089),
    "shear_modulus_vrh.recall": (0.72, 1.0),
    "shear_modulus_vrh.precision": (0.85, 1.0),
    "shear_modulus_vrh.coverage_90": (0.87, 0.93),
    "shear_modulus_vrh.coverage_90_stiffest_tenth": (0.83, 1.0),
}
"""What the accurate tier must reach: log10 errors, recall, precision, coverage."""

FAST_SLACK = 1.12
"""Times the accurate tier's bars on errors that the fast tier may have."""

LARGEST_CALIBRATION_ERROR = 0.05
LEAST_BEYOND = 0.65
LEAST_COVERAGE = 0.83

WISHES: Mapping[str, Sequence[Target]] = {
    "K > 200, G > 100": (Target(BULK_MODULUS, minimum=200.0), Target(SHEAR_MODULUS, minimum=100.0)),
    "K > 300, G > 150": (Target(BULK_MODULUS, minimum=300.0), Target(SHEAR_MODULUS, minimum=150.0)),
    "K 150-200": (Target(BULK_MODULUS, minimum=150.0, maximum=200.0),),
    "K 80-120, G 30-60": (
        Target(BULK_MODULUS, minimum=80.0, maximum=120.0),
        Target(SHEAR_MODULUS, minimum=30.0, maximum=60.0),
    ),
}
"""Targets whose joint probability is checked."""

N_BINS = 10


def run_surrogates(n: int = 256, seed: int = 0, folder: Path = FOLDER) -> dict[str, Any]:
    """Return one table of models on the same folds, extrapolation, chemistries left out, and what is missing.

    Args:
        n: crystals on which speed is measured.
        seed: of the resampling of formulas.
        folder: of the held-out predictions; what is not there, was made of other DFT rows, or comes from
            other weights than the packaged ones, is named in `missing`. Without the shared DFT rows there is
            nothing to compare with.
    """
    try:
        rows = rows_of_surrogates()
    except DataError as error:
        return {"skipped": str(error), "packaged": packaged_errors(), "speed": speeds(n), "passed": False}
    found = current_predictions(rows, folder)
    there = {name: held for name, held in found.items() if held is not None}
    models = {name: model_errors(there[name], seed) for name in MODELS if name in there}
    result: dict[str, Any] = {
        "models": models,
        "packaged": packaged_errors(),
        "speed": speeds(n),
        "beyond_300": {name: beyond(there[name], seed) for name in EXTRAPOLATION if name in there},
        "left_out": {name: model_errors(there[name], seed) for name in CHEMISTRIES if name in there},
        "missing": [name for name in found if name not in there],
    }
    if result["missing"]:
        result["how"] = "python -m experiments.studies.compare " + " ".join(result["missing"])
    tiers: dict[str, HeldOutPredictions] = {
        name: there[name] for name in ("accurate", "fast") if name in there
    }
    result["potentials"] = against_potentials(tiers, THRESHOLD, seed)
    if "accurate" in there:
        result["probabilities"] = {w: probability_errors(there["accurate"], w) for w in WISHES}
    result["table"] = [side_by_side(name, models[name], result["speed"]) for name in models]
    result["passes"] = passes(result)
    result["passed"] = not result["missing"] and all(result["passes"].values())
    return result


def current_predictions(rows: ScoredRows, folder: Path = FOLDER) -> dict[str, HeldOutPredictions | None]:
    """Return what each model says of the rows; None without predictions of these rows by these weights."""
    found = {name: read_held_out(folder / f"{name}.parquet", rows) for name in all_names()}
    for tier, name in TIERS.items():
        if (held := found[tier]) is not None and held.notes.get("weights") != checkpoint_digest(name):
            found[tier] = None
    return found


def all_names() -> tuple[str, ...]:
    """Return every file that is looked for."""
    return (*MODELS, *EXTRAPOLATION, *CHEMISTRIES)


def model_errors(held: HeldOutPredictions, seed: int = 0) -> dict[str, Any]:
    """Return errors of a model by property with 95 % intervals over formulas, and the notes it came with."""
    return {**held.notes, **{p.name: property_errors(held, p, seed) for p in (BULK_MODULUS, SHEAR_MODULUS)}}


def side_by_side(name: str, errors: Mapping[str, Any], speed: Mapping[str, Any]) -> dict[str, Any]:
    """Return one model's row of the table: log10 errors, recall / precision, size and speed.

    Parameters are those of all members and trees that answer together. A tier's speed is that from crystals,
    neighbour lists and error bars in it; that of the others, noted when they were fitted, is the model's
    alone.
    """
    bulk, shear = errors[BULK_MODULUS.name], errors[SHEAR_MODULUS.name]
    own = speed.get(name, {}).get("crystals_per_second")
    rate = own or errors.get("crystals_per_second")
    return {
        "model": name,
        "log10 K": bulk["log10_mae"]["value"],
        "MP binaries": bulk["by_group"]["mp_binaries"]["value"],
        "MP beyond": bulk["by_group"]["mp_beyond"]["value"],
        "AFLOW": bulk["by_group"].get("aflow_ael", {}).get("value"),
        "log10 G": shear["log10_mae"]["value"],
        f"K > {bulk['above']:.0f}, recall / precision": _found(bulk),
        f"G > {shear['above']:.0f}, recall / precision": _found(shear),
        "parameters": errors.get("parameters"),
        "crystals/s": None if rate is None else round(rate),
        "neighbours": "" if rate is None else "included" if own else "found before",
    }


def _found(errors: Mapping[str, Any]) -> str:
    recall, precision = (errors[name]["value"] for name in ("recall", "precision"))
    return " / ".join("-" if value is None else f"{value:.2f}" for value in (recall, precision))


def property_errors(held: HeldOutPredictions, prop: Property, seed: int = 0) -> dict[str, Any]:
    """Return errors overall, by source and kind, the stiff tail and the coverage of one property."""
    truth, said = held.truth[prop], held.predictions[prop]
    mean = said.mean.numpy().astype(float)
    known = np.isfinite(truth)
    log_error = np.abs(np.log10(np.where(known, truth, 1.0)) - np.log10(mean))
    inside = (truth >= said.lower.numpy()) & (truth <= said.upper.numpy())
    stiffest = known & (mean >= np.quantile(mean[known], 0.9))
    limit = THRESHOLD[prop]
    is_stiff, is_said = known & (truth > limit), known & (mean > limit)
    resampled = Resampled(held.formulas, seed)
    kinds = {
        "mp_binaries": held.is_mp & (held.n_elements == 2),
        "mp_beyond": held.is_mp & (held.n_elements > 2),
    }
    groups = kinds | {s: held.sources == s for s in sorted(set(held.sources.tolist()))}
    return {
        "n": int(known.sum()),
        "log10_mae": resampled.mean(log_error, known),
        "mae": resampled.mean(np.abs(truth - mean), known),
        "by_group": {
            g: {"n": int((w & known).sum()), **resampled.mean(log_error, w & known)}
            for g, w in groups.items()
        },
        "above": limit,
        "n_above": int(is_stiff.sum()),
        "mae_above": resampled.mean(np.abs(truth - mean), is_stiff),
        "bias_above": resampled.mean(mean - truth, is_stiff),
        "recall": resampled.mean(is_said, is_stiff),
        "precision": resampled.mean(is_stiff, is_said),
        "coverage_90": resampled.mean(inside, known),
        "coverage_90_stiffest_tenth": resampled.mean(inside, stiffest),
    }


def beyond(held: HeldOutPredictions, seed: int = 0) -> dict[str, Any]:
    """Return recall and precision of K > 300 GPa by a model that saw no label above.

    Each fit judges all formulas above and one fold of the others; a row counts by its weight, so that
    precision is that of the whole set.
    """
    truth, mean = held.truth[BULK_MODULUS], held.predictions[BULK_MODULUS].mean.numpy()
    limit, resampled = THRESHOLD[BULK_MODULUS], Resampled(held.formulas, seed)
    is_stiff, is_said = truth > limit, mean > limit
    return {
        **held.notes,
        "n": len(truth),
        "n_above": len({f for f, stiff in zip(held.formulas, is_stiff, strict=True) if stiff}),
        "recall": resampled.mean(is_said, is_stiff, held.weight),
        "precision": resampled.mean(is_stiff, is_said, held.weight),
        "bias_above": resampled.mean(mean - truth, is_stiff, held.weight),
    }


def probability_errors(held: HeldOutPredictions, wish: str) -> dict[str, Any]:
    """Return expected calibration error and Brier score of the probability that targets are met together.

    Ten bins of equal numbers among the rows with probability above 1 %; the error is the mean over these
    bins, weighted by rows, of |mean probability - share met|. Without such rows, that of all rows.
    """
    targets = WISHES[wish]
    probability = Objective(targets, deciding=targets).probability_met(held.predictions).numpy()
    values = [held.truth[target.property] for target in targets]
    known = np.all(np.isfinite(values), axis=0)
    met = np.all([(v >= t.lower) & (v <= t.upper) for v, t in zip(values, targets, strict=True)], axis=0)
    probability, met = probability[known], met[known]
    open_rows = np.flatnonzero(probability > 0.01)
    bins = np.array_split(open_rows[np.argsort(probability[open_rows], kind="stable")], N_BINS)
    bins = [b for b in bins if len(b)]
    gaps = [abs(float(probability[b].mean() - met[b].mean())) for b in bins]
    sizes = [len(b) for b in bins]
    overall = abs(float(probability.mean() - met.mean()))
    return {
        "n": len(met),
        "n_met": int(met.sum()),
        "n_open": len(open_rows),
        "expected": round(float(probability.sum()), 1),
        "calibration_error": round(float(np.average(gaps, weights=sizes)) if bins else overall, 4),
        "brier": round(float(np.mean((probability - met) ** 2)), 5),
        "brier_of_the_base_rate": round(float(met.mean() * (1 - met.mean())), 5),
        "table": [
            {
                "n": len(b),
                "probability": round(float(probability[b].mean()), 3),
                "met": round(float(met[b].mean()), 3),
            }
            for b in bins
        ],
    }


def packaged_errors() -> dict[str, Any]:
    """Return the errors out of fold that the packaged weights carry."""
    found = {}
    for tier, name in TIERS.items():
        try:
            found[tier] = load_manifest(packaged_folder(name))["config"]["record"]
        except (EngineError, KeyError) as error:
            found[tier] = {"error": str(error)}
    return found


def speeds(n: int) -> dict[str, Any]:
    """Return crystals a second on one core of each tier, n crystals of two to nine atoms."""
    structures = _crystals(n)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    try:
        for tier, name in TIERS.items():
            try:
                surrogate = load_surrogate(name)
            except EngineError as error:
                found[tier] = {"error": str(error)}
                continue
            batches = [
                CrystalBatch.from_structures(structures[i : i + 128]) for i in range(0, len(structures), 128)
            ]
            began = time.process_time()
            with torch.no_grad():
                for batch in batches:
                    surrogate.predict(batch, [BULK_MODULUS, SHEAR_MODULUS])
            found[tier] = {
                "n": n,
                "crystals_per_second": round(n / max(time.process_time() - began, 1e-6), 1),
            }
    finally:
        torch.set_num_threads(threads)
    return found


def _crystals(n: int) -> list[Structure]:
    from inverse.benchmarks.named_crystals import named_crystals

    named = [case.structure for case in named_crystals()]
    return [named[i % len(named)] for i in range(n)]


def passes(result: Mapping[str, Any]) -> dict[str, bool]:
    """Return which bars are met, as far as there is something to judge."""
    found: dict[str, bool] = {}
    accurate = result["models"].get("accurate")
    if accurate is not None:
        found |= {bar: low <= _measured(accurate, bar) <= high for bar, (low, high) in BARS.items()}
        found["probabilities"] = all(
            p["calibration_error"] <= LARGEST_CALIBRATION_ERROR for p in result["probabilities"].values()
        )
    fast = result["models"].get("fast")
    if fast is not None:
        errors = {bar: high for bar, (low, high) in BARS.items() if low == 0.0}
        found |= {f"fast.{bar}": _measured(fast, bar) <= FAST_SLACK * high for bar, high in errors.items()}
    best = result["beyond_300"].get(EXTRAPOLATION[0])
    if best is not None:
        found["beyond_300"] = min(best["recall"]["value"], best["precision"]["value"]) >= LEAST_BEYOND
    for name, errors in result["left_out"].items():
        held = [errors[p.name]["coverage_90"]["value"] for p in (BULK_MODULUS, SHEAR_MODULUS)]
        found[name] = min(held) >= LEAST_COVERAGE
    return found


def _measured(errors: Mapping[str, Any], bar: str) -> float:
    """Return the value at `property.measure` or `property.by_group.group`; infinite without one."""
    found: Any = errors
    for key in bar.split("."):
        found = found.get(key, {})
    return float(found.get("value") or np.inf)
