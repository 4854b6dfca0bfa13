"""The calculations of this folder: remembered in one file, made by a queue that may be killed at any time."""

import gzip
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from inverse.potentials.dft import Limits, code_named
from inverse.potentials.inquiry import Inquiry
from inverse.verification.first_principles.pool import Calculated, CalculationPool
from surrogates.errors import VerificationError

T = TypeVar("T")

KEPT = Path(__file__).with_name("calculations.jsonl.gz")
"""Every calculation: key, formula, settings, result; one JSON line each, gzip members appended."""


class Calculations:
    """A memory of calculations in one file that is only ever appended to."""

    def __init__(self, path: Path = KEPT) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line)
                    self.rows[row["key"]] = row["result"]

    def get(self, key: str) -> dict[str, Any] | None:
        return self.rows.get(key)

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        self.rows[key] = dict(result)
        row = {
            "key": key,
            "formula": formula,
            "code": potential,
            "settings": settings,
            "result": _short(result),
        }
        with gzip.open(self.path, "at", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _short(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a calculation with the digits that its convergence has."""

    def rounded(value: Any, digits: int) -> Any:
        if isinstance(value, list):
            return [rounded(one, digits) for one in value]
        return round(value, digits) + 0.0

    digits = {"energy": 7, "forces": 5, "stress": 8, "magmoms": 4}
    return {k: rounded(v, digits[k]) if k in digits else v for k, v in result.items()}


def answers(
    named: Sequence[tuple[str, Inquiry[T]]], seconds: float, n_processes: int = 2
) -> dict[str, T | VerificationError]:
    """Return what the inquiries come to, as far as the time goes; with none, what is remembered alone."""
    pool = CalculationPool(code_named("gpaw"), n_processes, Limits(seconds=3000.0))
    until, began = time.monotonic() + seconds, time.monotonic()
    found: dict[str, T | VerificationError] = {}

    def told(one: Calculated) -> None:
        if not one.was_remembered:
            cost, points = one.found["computing"], one.found["n_k_points"]
            at = time.monotonic() - began
            print(
                f"{at:7.0f} s  {named[one.position][0]:24s} {cost:7.1f} s, {points} k-points, "
                f"{one.found['steps']} steps, {one.found['gigabytes']:.2f} GB",
                flush=True,
            )

    try:
        inquiries = [inquiry for _, inquiry in named]
        for position, result in pool.answered(inquiries, told, lambda: time.monotonic() >= until):
            found[named[position][0]] = result
            if isinstance(result, VerificationError):
                print(f"{named[position][0]}: {result}", flush=True)
    finally:
        pool.close()
    return found
