"""Limits of time: no clock that somebody sets ends or extends a run."""

import time
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign.stopping import StopFlag
from inverse.commands import api
from tests import fakes
from tests.fakes import CONFIG


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_is_set_moves_no_deadline(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    flag, wall = StopFlag(time.monotonic() + 100.0), time.time()
    monkeypatch.setattr(time, "time", lambda: wall + jump)
    assert not flag.is_set()
    assert flag.seconds_left == pytest.approx(100.0, abs=5.0)
    assert StopFlag(time.monotonic() - 1.0).reason == "time limit reached"


@pytest.mark.parametrize("jump", [-1e6, 1e6])
def test_a_clock_that_is_set_while_a_run_is_at_work_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    wall = time.time()

    def hear(progress: Any) -> None:
        monkeypatch.setattr(time, "time", lambda: wall + jump)

    config = {**CONFIG, "budget": {"verifications": 4, "time": "10m"}}
    run = api.run(config, tmp_path / "run", started_at=wall - 1.0, on_progress=hear)
    assert run.manifest["stop_reason"] == "budget of 4 verifications spent"


def test_time_counts_from_when_a_run_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    config = {**CONFIG, "budget": {"verifications": 4, "time": "10m"}}
    late = api.run(config, tmp_path / "late", started_at=time.time() - 700.0)
    assert late.manifest["stop_reason"] == "time limit reached"
    early = api.run(config, tmp_path / "early", started_at=time.time() + 700.0)
    assert early.manifest["stop_reason"] == "budget of 4 verifications spent"
