"""One record for all benchmarks of the verification."""

from typing import Any

import pytest

from inverse import benchmarks
from inverse.benchmarks.verification.every import run_verify
from surrogates.errors import DataError


def test_a_benchmark_that_cannot_run_is_named_and_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(name: str, n: int | None, seed: int) -> dict[str, Any]:
        asked.append(name)
        if name == "verify-scale":
            raise DataError("the structures are missing")
        return {"passed": True}

    monkeypatch.setattr(benchmarks, "run_benchmark", run)
    found = run_verify()
    assert asked == [name for name in benchmarks.BENCHMARKS if name.startswith("verify-")]
    assert not found["passed"]
    assert found["parts"]["verify-scale"]["error"] == "the structures are missing"
    assert found["parts"]["verify-hull"]["passed"]
