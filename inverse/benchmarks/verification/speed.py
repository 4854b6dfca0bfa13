"""`inverse bench verify-speed`: our tensors and verifications against matcalc's, on the same core."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import calibration_rows, structure_of
from inverse.benchmarks.intervals import bootstrapped
from inverse.inputs.records import plain
from inverse.potentials.loading import load_potential, one_thread, quiet
from inverse.report.progress_bar import progress
from inverse.verification.judge import Judge, JudgeSettings
from inverse.verification.mechanics.stiffness import StiffnessSettings
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.errors import MissingExtraError

POTENTIAL = "7net-0"
TENSOR_RATIO, WHOLE_RATIO, TWO_PROCESSES = 12.0, 5.0, 1.8
FORCE = 0.02
NORMAL_STRAINS = (-0.01, -0.005, 0.005, 0.01)
SHEAR_STRAINS = (-0.02, -0.01, 0.01, 0.02)
CPU_LIMIT = 300.0
"""CPU seconds after which matcalc's tensor of one crystal is stopped and counted at that, a lower bound."""

BUSY = 0.5
"""Load average a core above which two processes are not compared with one."""


@dataclass(frozen=True)
class Seconds:
    """What a piece of work took."""

    cpu: float
    wall: float


@one_thread()
def run_speed(n: int = 40, seed: int = 0) -> dict[str, Any]:
    """Return how many times cheaper our tensor and our whole verification are than matcalc's.

    Both ways take turns in this process, one thread, the same potential, nothing from a store; each computes
    the tensor of the cell that it relaxed itself. CPU time decides; wall time stands beside it. Our tensor
    repeats every strain at twice the size for its error; `unrepeated`, beside it, does what matcalc does.

    Args:
        n: crystals, the first usable ones of the calibration rows.
        seed: of the interval's resampling.

    Raises:
        MissingExtraError: matcalc is not installed.
    """
    potential = load_potential(POTENTIAL, "cpu")
    rows = [row for row in calibration_rows() if set(row["species"]) <= potential.elements][:n]
    _both(structure_of(rows[0]))  # what a first call costs (imports, compilation) is nobody's
    done, failed = [], []
    with progress("crystals, ours and matcalc's", len(rows)) as bar:
        for row in rows:
            found = _both(structure_of(row))
            if found is None:
                failed.append(row["formula"])
            else:
                done.append({"formula": row["formula"], **found})
            bar.advance(row["formula"])
    ratios = plain(_ratios(done, seed))
    both = two_processes(rows)
    passed = bool(ratios["passed"] and both.get("passed", False))  # what was not measured has not passed
    return {**ratios, "passed": passed, "failed": failed, "two_processes": both, "crystals": plain(done)}


def _ratios(done: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    if not done:
        return {"n": 0, "passed": False}
    out: dict[str, Any] = {"n": len(done)}
    against = {"tensor": "tensor", "tensor_unrepeated": "tensor", "whole": "whole"}
    for work, other in against.items():
        for clock in ("cpu", "wall"):
            ours = np.array([one[f"{work}_{clock}"] for one in done])
            theirs = np.array([one[f"matcalc_{other}_{clock}"] for one in done])
            ratio = bootstrapped(lambda a, b: float(a.sum() / b.sum()), theirs, ours, seed=seed)
            out[f"{work}_ratio_{clock}"] = {**ratio, "median": round(float(np.median(theirs / ours)), 2)}
    passes = (
        out["tensor_ratio_cpu"]["value"] >= TENSOR_RATIO and out["whole_ratio_cpu"]["value"] >= WHOLE_RATIO
    )
    stopped = [one["formula"] for one in done if one["matcalc_stopped"]]
    return {**out, "passed": passes, "matcalc_stopped": stopped}


def _both(start: Structure) -> dict[str, Any] | None:
    """Return CPU and wall seconds of both ways; None where either could not finish."""
    judge = Judge(POTENTIAL, device="cpu")
    relaxed, relax_seconds = timed(lambda: judge.relax(start))
    if relaxed.structure is None:
        return None
    verdict, tensor_seconds = timed(lambda: judge.tensor(relaxed.structure))
    once = JudgeSettings(tensor=StiffnessSettings(repeat_factor=0.0))
    lean = Judge(POTENTIAL, once, device="cpu")
    _, lean_seconds = timed(lambda: lean.tensor(relaxed.structure))
    theirs = _matcalc(start)
    if verdict.reason or theirs is None:
        return None
    tensor, their_relaxation, their_tensor, was_stopped = theirs
    return {
        "n_atoms": len(relaxed.structure),
        "tensor_cpu": tensor_seconds.cpu,
        "tensor_wall": tensor_seconds.wall,
        "tensor_unrepeated_cpu": lean_seconds.cpu,
        "tensor_unrepeated_wall": lean_seconds.wall,
        "whole_cpu": relax_seconds.cpu + tensor_seconds.cpu,
        "whole_wall": relax_seconds.wall + tensor_seconds.wall,
        "matcalc_tensor_cpu": their_tensor.cpu,
        "matcalc_tensor_wall": their_tensor.wall,
        "matcalc_whole_cpu": their_relaxation.cpu + their_tensor.cpu,
        "matcalc_whole_wall": their_relaxation.wall + their_tensor.wall,
        "matcalc_stopped": was_stopped,
        "bulk": [verdict.bulk_modulus, None if tensor is None else float(tensor["bulk_modulus_vrh"])],
        "shear": [verdict.shear_modulus, None if tensor is None else float(tensor["shear_modulus_vrh"])],
    }


def _matcalc(start: Structure) -> tuple[dict[str, Any] | None, Seconds, Seconds, bool] | None:
    """Return matcalc's elasticity, its seconds of relaxation and tensor, and whether it was stopped."""
    try:
        from matcalc import ElasticityCalc, RelaxCalc
    except ImportError:
        raise MissingExtraError("verify-speed compares with matcalc: pip install matcalc") from None
    calculator = load_potential(POTENTIAL, "cpu").calculator
    elasticity = ElasticityCalc(
        calculator,
        norm_strains=NORMAL_STRAINS,
        shear_strains=SHEAR_STRAINS,
        fmax=FORCE,
        relax_structure=False,
        relax_deformed_structures=True,
        units_GPa=True,
    )
    with quiet():
        try:
            relaxed, first = timed(lambda: RelaxCalc(calculator, fmax=FORCE).calc(start)["final_structure"])
        except Exception:
            return None
        tensor, second = timed(lambda: _within_limit(calculator, lambda: elasticity.calc(relaxed)))
    return tensor, first, second, tensor is None


def _within_limit(calculator: Any, compute: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """Return what is computed; None once the calculator has used up its CPU seconds, or failed."""
    stop, calculate = time.process_time() + CPU_LIMIT, calculator.calculate

    def watched(*args: Any, **named: Any) -> None:
        if time.process_time() > stop:
            raise TimeoutError
        calculate(*args, **named)

    calculator.calculate = watched
    try:
        return compute()
    except Exception:
        return None
    finally:
        del calculator.calculate


def two_processes(rows: Sequence[dict[str, Any]], n: int = 12) -> dict[str, Any]:
    """Return how many times faster two processes verify than one; not measured on a busy machine."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    if load > BUSY or (os.cpu_count() or 1) < 2:
        return {"ratio": None, "reason": f"load {load:.1f} a core: not measured", "asked": TWO_PROCESSES}
    structures = [structure_of(row) for row in rows[:n]]
    plan, seconds = VerificationPlan(panel_named(POTENTIAL), reuse=False, store=""), {}
    for workers in (1, 2):
        with open_pool(plan, workers) as pool:
            pool.verify(structures[:workers])
            _, seconds[workers] = timed(partial(pool.verify, structures))
    ratio = round(seconds[1].wall / seconds[2].wall, 3)
    return {"ratio": ratio, "asked": TWO_PROCESSES, "n": len(structures), "passed": ratio >= TWO_PROCESSES}


def timed(compute: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return a result and what it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = compute()
    return result, Seconds(round(time.process_time() - cpu, 4), round(time.perf_counter() - wall, 4))
