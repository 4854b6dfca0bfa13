"""What `inverse bench NAME` runs: one function per benchmark, `(n, seed) -> record`."""

from importlib import import_module
from typing import Any

from inverse.benchmarks.arguments import Arguments
from surrogates.errors import ConfigError, UnknownNameError

BENCHMARKS: dict[str, tuple[str, str]] = {
    "audit": (
        "inverse.benchmarks.audit:run_audit",
        "hits among what the triage, the screen and the choice of finished runs threw away",
    ),
    "band-gap": (
        "inverse.benchmarks.band_gap:run_band_gap",
        "PBE gaps of formulas left out, beside boosted trees and a constant; textbook crystals",
    ),
    "bookkeeping": (
        "inverse.benchmarks.bookkeeping:run_bookkeeping",
        "seconds and memory of a step beside its physics, at 10^2 to 10^5 stored candidates; a long resume",
    ),
    "constraints": (
        "inverse.benchmarks.constraints:run_constraints",
        "screened candidates under random constraint sets, judged again by a second implementation",
    ),
    "proposals": (
        "inverse.benchmarks.proposals:run_proposals",
        "predicted distances from the hull of what each source proposes, against the judge of energies",
    ),
    "replay": (
        "inverse.benchmarks.replay:run_replay",
        "verifications to 5, 10, 20 hits by rule of choice, with and without feedback, on DFT rows",
    ),
    "speed": (
        "inverse.benchmarks.speed:run_speed",
        "structures a second of the surrogate, with and without gradients, against CHGNet's energy",
    ),
    "surrogates": (
        "inverse.benchmarks.surrogates:run_surrogates",
        "both tiers of the structure surrogate against simpler models on formulas that none of them saw",
    ),
    "verify": (
        "inverse.benchmarks.verification.every:run_verify",
        "every benchmark of the verification below, in one record",
    ),
    "verify-elasticity": (
        "inverse.benchmarks.verification.elasticity:run_elasticity",
        "the relaxed-ion tensor against ions relaxed in every strained cell, 100 crystals of all symmetries",
    ),
    "verify-speed": (
        "inverse.benchmarks.verification.speed:run_speed",
        "seconds of a tensor and of a whole verification against matcalc's, same core, same potential",
    ),
    "verify-scale": (
        "inverse.benchmarks.verification.scale:run_verify_scale",
        "the calibrated judges against DFT on formulas left out, from the verification store",
    ),
    "verify-hull": (
        "inverse.benchmarks.verification.hull:run_verify_hull",
        "formation energy and stability by the energy judge from perturbed WBM cells; queries; known phases",
    ),
    "verify-novelty": (
        "inverse.benchmarks.verification.novelty:run_verify_novelty",
        "hit classes before and after relaxation, signatures against StructureMatcher, de-duplication",
    ),
    "verify-reliability": (
        "inverse.benchmarks.verification.reliability:run_verify_reliability",
        "300 broken crystals and misbehaving potentials through the worker pool",
    ),
}
"""Name -> (module:function, what it measures). Modules are loaded when asked for."""


TAKES_ARGUMENTS = ("audit", "proposals")
"""Benchmarks that are given `Arguments` beside size and seed."""

TAKES_RUNS = ("audit",)
"""Of these, those that look at runs."""


def run_benchmark(
    name: str, n: int | None = None, seed: int = 0, given: Arguments | None = None
) -> dict[str, Any]:
    """Return the record of a benchmark; `passed` in it decides the exit status.

    Args:
        name: of `BENCHMARKS`.
        n: size; None takes its own.
        seed: of what is drawn.
        given: to those of `TAKES_ARGUMENTS`.

    Raises:
        UnknownNameError: no such benchmark.
        ConfigError: a size below one.
    """
    check_name(name)
    if n is not None and n < 1:
        raise ConfigError(f"bench: size {n} is not more than zero")
    module, _, function = BENCHMARKS[name][0].partition(":")
    measure = getattr(import_module(module), function)
    asked: dict[str, Any] = {"seed": seed} if n is None else {"n": n, "seed": seed}
    if name in TAKES_ARGUMENTS:
        asked["given"] = given
    return {"benchmark": name, "seed": seed, **measure(**asked)}


def check_name(name: str) -> None:
    """Raise UnknownNameError where there is no such benchmark."""
    if name not in BENCHMARKS:
        raise UnknownNameError.among("benchmark", name, BENCHMARKS)
