"""Where a run stands: counted from the folder, while somebody else writes it, and after a kill."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import inverse
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import Status
from inverse.commands import cli
from inverse.commands.cli import main
from tests.inverse.report.fake_run import candidates, manifest, write_fake_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "run", candidates(12, 2, 3))


@pytest.fixture
def writer(folder: Path) -> Iterator[RunFolder]:
    with RunFolder.open(folder) as held:
        yield held


def test_what_is_counted_is_what_the_folder_holds(folder: Path) -> None:
    run, found = inverse.load(folder), inverse.status(folder)
    started = [c for c in run.candidates if c.verification is not None]
    assert (found.started, found.hits) == (len(started), len(run.hits))
    assert sum(found.failed.values()) == sum(c.status is Status.FAILED for c in started)
    assert not found.is_running
    assert f"{found.started} of {found.budget} verified" in found.line()
    assert f"{found.hits} hits" in found.line()


def test_a_run_that_is_being_written_runs_and_is_not_disturbed(folder: Path, writer: RunFolder) -> None:
    found = inverse.status(folder)
    assert found.is_running
    assert found.state == "running"
    writer.write_manifest(manifest(candidates(12, 2, 3)))


def test_a_writer_may_begin_while_the_status_looks(folder: Path) -> None:
    """Looking holds the lock for a moment; whoever wants to write asks again."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            inverse.status(folder)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(20):
            RunFolder.open(folder).close()
    finally:
        stop.set()
        watcher.join()


def test_time_goes_on_while_it_runs(folder: Path, writer: RunFolder) -> None:
    told = dict(writer.manifest())
    long_ago = datetime.now(UTC) - timedelta(seconds=100)
    writer.write_manifest({**told, "seconds": 50.0, "updated": long_ago.isoformat()})
    assert inverse.status(folder).seconds == pytest.approx(150.0, abs=10.0)


def test_a_killed_run_says_how_to_go_on(folder: Path) -> None:
    """The lock of a dead process is nobody's."""
    hold = (
        "import os, signal, sys; from pathlib import Path; from inverse.campaign.run_folder import RunFolder;"
        "held = RunFolder.open(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with RunFolder.open(folder) as stored:
        stored.write_manifest({**stored.manifest(), "stop_reason": ""})
    subprocess.run([sys.executable, "-c", hold, str(folder)], check=False)
    found = inverse.status(folder)
    assert not found.is_running
    assert "--resume" in found.line()


def test_one_line_or_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(folder)]) == 0
    assert capsys.readouterr().out == f"{inverse.status(folder).line()}\n"
    assert main(["status", str(folder), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["hits"] == inverse.status(folder).hits
    assert record["state"]


def test_following_ends_with_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = [RunFolder.open(folder)]
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            held.pop().close()

    monkeypatch.setattr(cli.time, "sleep", sleep)
    assert main(["status", str(folder), "--follow"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert looks == 3
    assert len(lines) == 2, "a line for each change alone"
    assert "running" in lines[0]
    assert "running" not in lines[1]
