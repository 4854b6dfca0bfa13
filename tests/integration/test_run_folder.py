"""Run folders that a kill, a full disk or somebody else left: named, refused or begun anew."""

from pathlib import Path

from tests.fakes import campaign


def test_a_lock_of_ase_that_a_kill_left_stops_nobody(tmp_path: Path) -> None:
    with campaign(tmp_path / "run") as run:
        (tmp_path / "run" / ".candidates.tmp.db.lock").touch()
        run.run()
    assert (tmp_path / "run" / "candidates.db").exists()
