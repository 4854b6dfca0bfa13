"""`inverse bench bookkeeping` on small sizes: what is measured is there, and fails where a step grows."""

import pytest

from inverse.benchmarks import BENCHMARKS, bookkeeping, run_benchmark


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bookkeeping, "WINDOW", 2)
    monkeypatch.setattr(bookkeeping, "WARM", 1)
    monkeypatch.setattr(bookkeeping, "RESUMED", 16)


@pytest.mark.usefixtures("small")
def test_a_small_run_is_measured_and_resumed() -> None:
    found = run_benchmark("bookkeeping", 300)
    assert "bookkeeping" in BENCHMARKS
    assert list(found["steps"]) == ["100", "300"]
    assert all(row["cpu_seconds"] > 0 and row["memory_mb"] > 50 for row in found["steps"].values())
    assert found["resume"]["verdicts"] == 16
    assert found["growth"] >= 1


@pytest.mark.parametrize(("slow", "passed"), [(0.1, True), (0.2, False)])
def test_a_step_that_grows_or_a_resume_that_lasts_is_not_passed(
    monkeypatch: pytest.MonkeyPatch, slow: float, passed: bool
) -> None:
    row = {"cpu_seconds": 0.1, "wall_seconds": 0.1, "memory_mb": 300.0}
    grown = {300: {**row, "cpu_seconds": slow, "memory_mb": 301.0}}
    resumed = {**row, "verdicts": 2000.0}
    monkeypatch.setattr(bookkeeping, "_first_steps", lambda *_: row)
    monkeypatch.setattr(bookkeeping, "_grown", lambda *_: (grown, resumed))
    found = bookkeeping.run_bookkeeping(300)
    assert (found["passed"], found["growth"]) == (passed, pytest.approx(10 * slow))
    assert found["bytes_per_candidate"] == 5000
    grown[300]["memory_mb"] = 3000.0
    assert not bookkeeping.run_bookkeeping(300)["passed"]
    grown[300]["memory_mb"] = 301.0
    resumed["wall_seconds"] = 61.0
    assert not bookkeeping.run_bookkeeping(300)["passed"]
