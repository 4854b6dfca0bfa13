"""The calculations of this folder: remembered by the verification store, carried here in one file.

    python -m experiments.first_principles.calculations   # write what the store has gained to the file

The queue may be killed at any moment: it goes on with the calculation that it was at.
"""

import gzip
import json
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from inverse.potentials.dft import Limits, code_named
from inverse.potentials.inquiry import Inquiry
from inverse.verification.first_principles.pool import Calculated, CalculationPool
from inverse.verification.store import VerificationStore
from surrogates.errors import VerificationError

T = TypeVar("T")

KEPT = Path(__file__).with_name("calculations.jsonl.gz")
"""Every calculation: key, formula, settings, result; one JSON line each."""


class Calculations:
    """The verification store, and behind it the calculations that are carried."""

    def __init__(self) -> None:
        self.store = VerificationStore()
        self.carried = {row["key"]: row["result"] for row in _carried()}

    def get(self, key: str) -> dict[str, Any] | None:
        return self.store.get(key) or self.carried.get(key)

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        self.store.put(key, result, formula, potential, task, settings)


def _carried() -> list[dict[str, Any]]:
    if not KEPT.exists():
        return []
    with gzip.open(KEPT, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def carry() -> int:
    """Write the store's calculations to the file, beside those that are there; return how many it holds."""
    rows = {row["key"]: row for row in _carried()}
    with sqlite3.connect(VerificationStore().path) as connection:
        asked = "SELECT key, formula, potential, settings, result FROM verification WHERE task = 'dft'"
        for key, formula, code, settings, result in connection.execute(asked):
            row = {"key": key, "formula": formula, "code": code, "settings": settings}
            rows[key] = row | {"result": _short(json.loads(result))}
    lines = [json.dumps(rows[key]) + "\n" for key in sorted(rows)]
    KEPT.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
    return len(rows)


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


if __name__ == "__main__":
    print(carry(), "calculations in", KEPT.name)
    sys.exit(0)
