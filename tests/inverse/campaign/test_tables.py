"""Files beside the journal: a step writes what it brought, a kill loses nothing, the table is right."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from ase.db import connect

from inverse.campaign import tables
from inverse.campaign.candidate_table import write_candidates_csv
from inverse.campaign.journal import PROPOSER_STATE
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.campaign.tables import Tables
from inverse.candidates.types import Status
from inverse.inputs.campaign_config import CampaignConfig
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, campaign

TWO_STEPS = {"verifications": 24}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables") / "run"
    with campaign(folder, budget=TWO_STEPS) as run:
        run.run()
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "candidates.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ase_rows(folder: Path) -> dict[str, tuple[str, float]]:
    return {row.candidate: (row.status, row.mtime) for row in connect(folder / "candidates.db").select()}


def test_the_streamed_table_is_the_table_of_all_candidates(finished: Path, tmp_path: Path) -> None:
    whole = write_candidates_csv(
        read_candidates(finished), CampaignConfig.from_mapping(CONFIG), tmp_path / "whole.csv"
    )
    assert (finished / "candidates.csv").read_bytes() == whole.read_bytes()
    assert len(rows(finished)) > 150


def test_a_step_writes_what_it_brought_and_leaves_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with campaign(folder, budget=TWO_STEPS) as run:
        run.step()
        before = {path: path.stat().st_mtime_ns for path in (folder / "cifs").iterdir()}
        judged = ase_rows(folder)
        run.step()
    assert len(before) > 50
    assert {path: path.stat().st_mtime_ns for path in before} == before
    after = ase_rows(folder)
    assert len(judged) == 16
    assert len(after) == 24
    same = {k for k, (status, _) in judged.items() if after[k][0] == status}
    assert len(same) > 8
    assert {k: after[k] for k in same} == {k: judged[k] for k in same}


def test_the_database_says_what_the_journal_says(finished: Path) -> None:
    kept = (Status.HIT, Status.VERIFIED, Status.FAILED)
    wanted = {c.id: str(c.status) for c in read_candidates(finished) if c.status in kept}
    assert {k: status for k, (status, _) in ase_rows(finished).items()} == wanted
    assert "verified" in wanted.values()


@pytest.mark.parametrize("at", ["write_cifs", "write_rows"])
def test_a_kill_between_journal_and_files_is_caught_up_with(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt("killed")

    folder = tmp_path / "run"
    with campaign(folder, budget=TWO_STEPS) as run:
        run.step()
        target = tables if at == "write_cifs" else run.folder
        monkeypatch.setattr(target, at, killed)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            run.step()
    monkeypatch.undo()
    with campaign(folder, budget=TWO_STEPS) as run:
        run.run()
    assert (folder / "candidates.csv").read_bytes() == (finished / "candidates.csv").read_bytes()
    names = {path.name for path in (finished / "cifs").iterdir()}
    assert {path.name for path in (folder / "cifs").iterdir()} == names
    for name in sorted(names)[:5]:
        assert (folder / "cifs" / name).read_bytes() == (finished / "cifs" / name).read_bytes()
    assert {k: s for k, (s, _) in ase_rows(folder).items()} == {
        k: s for k, (s, _) in ase_rows(finished).items()
    }


def test_files_that_were_removed_or_damaged_are_made_again(finished: Path, copied: Path) -> None:
    (copied / "candidates.db").write_bytes(b"not a database" * 100)
    gone = sorted((copied / "cifs").iterdir())[3]
    gone.unlink()
    (copied / "candidates.csv").unlink()
    with campaign(copied, budget=TWO_STEPS) as run:
        run.run()
    assert gone.read_bytes() == (finished / "cifs" / gone.name).read_bytes()
    assert ase_rows(copied).keys() == ase_rows(finished).keys()
    assert (copied / "candidates.csv").read_bytes() == (finished / "candidates.csv").read_bytes()


def test_a_journal_from_before_there_were_rows_is_tabled(finished: Path, copied: Path) -> None:
    with RunFolder.open(copied) as folder, folder._transaction() as journal:
        journal.execute("DROP TRIGGER rows_go_stale")
        journal.execute("DROP TABLE rows")
        journal.execute("DELETE FROM meta WHERE key = 'valued_properties'")
    with campaign(copied, budget=TWO_STEPS) as run:
        run.run()
    assert (copied / "candidates.csv").read_bytes() == (finished / "candidates.csv").read_bytes()


def test_writing_the_table_takes_a_twentieth_of_the_time_at_most(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that takes 5 s waits for 100 s; a cheap one for nothing."""
    clock, cost, written = [1000.0], [5.0], []

    def write(*_: Any) -> None:
        clock[0] += cost[0]
        written.append(clock[0])

    monkeypatch.setattr(tables.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(tables, "write_table", write)
    with RunFolder.open(copied) as folder:
        made = Tables(folder, CampaignConfig.from_mapping(CONFIG))
        first = next(folder.named(["c000001"]))
        made.write_if_due()
        assert written == [1005.0]
        for later in (1010.0, 1066.0, 1104.0, 1105.0):
            clock[0] = later
            made.take([first])
            made.write_if_due()
        assert written == [1005.0, 1110.0]
        cost[0] = 0.01
        made.write()
        made.write_if_due()
        assert len(written) == 3, "nothing changed since"
        made.take([first])
        made.write_if_due()
        assert len(written) == 4


def test_a_database_that_cannot_be_written_is_named(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from inverse.campaign.ase_database import AseDatabase

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    with RunFolder.open(copied) as folder:
        made = Tables(folder, CampaignConfig.from_mapping(CONFIG))
        monkeypatch.setattr(AseDatabase, "write", full)
        with pytest.raises(RunFolderError, match=r"candidates\.db: cannot be written: No space left"):
            made.take(list(folder.named(["c000001"])))


@pytest.mark.parametrize("stored", [["a list"], {"step": 0}, {"step": 0, "state": "a word"}])
def test_a_state_of_the_proposer_that_is_none_is_damage_in_one_line(copied: Path, stored: object) -> None:
    with RunFolder.open(copied) as folder:
        folder.set_meta(PROPOSER_STATE, stored)
        with pytest.raises(RunFolderError, match=r"campaign\.db is damaged \(proposer state"):
            folder.proposer_state(0)
