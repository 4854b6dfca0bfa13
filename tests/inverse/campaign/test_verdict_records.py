"""A verdict becomes a record once, where it is made, and is read once; the journal takes that record."""

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign import journal as journal_module
from inverse.campaign.campaign import rounded
from inverse.campaign.candidate_table import write_candidates_csv
from inverse.campaign.journal import FORMAT
from inverse.campaign.run import read_run
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.candidates.types import Status
from inverse.inputs import records
from inverse.inputs.records import verification_from_record, verification_received, verification_to_record
from surrogates.errors import RunFolderError
from tests import crystals, fakes


class Piped(fakes.AnalyticVerifier):
    """Verdicts as a pool of the judges hands them over: rounded, made into a record elsewhere, read here."""

    def verify_each(self, structures: Any, should_stop: Any) -> Any:
        for position, verdict in super().verify_each(structures, should_stop):
            yield position, verification_received(verification_to_record(rounded(verdict)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often verdicts are made into records, and read from them."""
    found: Counter[str] = Counter()

    def counting(name: str) -> None:
        original = getattr(records, name)

        def count(*given: Any) -> Any:
            found[name] += 1
            return original(*given)

        monkeypatch.setattr(records, name, count)

    counting("_verification_record")
    counting("verification_from_record")
    return found


def test_a_verdict_is_serialised_once_on_its_way_into_the_journal(
    tmp_path: Path, counted: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes, "AnalyticVerifier", Piped)
    with fakes.campaign(tmp_path / "run", budget={"verifications": 8}) as run:
        assert run.step()
        n = run.n_started
        assert n > 0
        with_followed = n  # once more here, with the values that follow from the judges'
        assert counted["_verification_record"] == n + with_followed
        assert counted["verification_from_record"] == n
        stored = run.folder.verifications()
        for candidate in run.folder.candidates():
            assert candidate.verification == stored.get(candidate.id)


def test_a_verdict_lies_in_a_run_folder_once(tmp_path: Path) -> None:
    """The word for its potential stands in every verdict, and in what is stored of it."""
    with fakes.campaign(tmp_path / "run", budget={"verifications": 8}) as run:
        run.run()
    tables = {}
    for name in ("campaign.db", "candidates.db"):
        with closing(sqlite3.connect(tmp_path / "run" / name)) as database:
            tables[name] = [line for line in database.iterdump() if '"is_stable"' in line]
    assert len(tables["campaign.db"]) == 8
    assert all(line.startswith('INSERT INTO "verifications"') for line in tables["campaign.db"])
    assert tables["candidates.db"] == []


OLD = Path(__file__).parent / "run_of_format_1"
"""A finished step of four verdicts, one with phonons, and a step that a kill ended after its first."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a run folder as it was before the record of a candidate left its verdict to the other table."""
    folder = tmp_path / "old"
    (folder / "cifs").mkdir(parents=True)
    for name in ("config.yaml", "manifest.json", "candidates.csv"):
        shutil.copy(OLD / name, folder / name)
    with closing(sqlite3.connect(folder / "campaign.db")) as journal:
        journal.executescript((OLD / "campaign.sql").read_text())
    return folder


def test_a_run_of_the_first_format_is_read_as_it_was(old: Path) -> None:
    before = (old / "campaign.db").read_bytes()
    run = read_run(old)
    assert run.verified == ("c000011", "c000001", "c000000", "c000002", "c000017")
    states = {c.id: c.status for c in run.candidates if c.verification is not None}
    assert states == dict.fromkeys(run.verified, Status.VERIFIED)
    (asked,) = (c for c in run.candidates if c.id == "c000011")
    assert asked.verification is not None
    assert asked.verification.ladder[-1].name == "phonons"
    assert asked.verification.values["density"].mean == pytest.approx(13.5289, rel=1e-5)
    finished = [c for c in read_candidates(old) if c.id < "c000012"]
    write_candidates_csv(finished, run.config, old / "again.csv")
    assert (old / "again.csv").read_text() == (OLD / "candidates.csv").read_text()
    assert (old / "campaign.db").read_bytes() == before


def test_a_run_of_the_first_format_goes_on_and_ends_as_it_would_have(old: Path) -> None:
    with fakes.campaign(old, budget={"verifications": 6}) as run:
        assert "6 verifications" in run.run()
        assert run.folder.meta("format") == FORMAT
    assert (old / "candidates.csv").read_text() == (OLD / "finished.csv").read_text()
    records = [json.loads(text) for text in stored_records(old)]
    assert [r["verification"] for r in records if r["verification"] is not None] == [True] * 6
    assert len(read_run(old).verified) == 6


def stored_records(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "campaign.db")) as journal:
        return [text for (text,) in journal.execute("SELECT record FROM candidates")]


def test_a_kill_while_a_folder_is_brought_to_this_format_leaves_the_old_one(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, left = stored_records(old), [2]

    def dump(record: Any) -> str:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt("killed")
        return json.dumps(record)

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "_dump", dump)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            RunFolder.open(old)
    assert stored_records(old) == before
    RunFolder.open(old).close()
    assert stored_records(old) != before


def test_a_verdict_that_is_gone_is_named(tmp_path: Path) -> None:
    with fakes.campaign(tmp_path / "run", budget={"verifications": 4}) as run:
        run.run()
    with closing(sqlite3.connect(tmp_path / "run" / "campaign.db")) as journal, journal:
        journal.execute("DELETE FROM verifications WHERE rowid = 1")
    with pytest.raises(RunFolderError, match=r"campaign\.db is damaged \(c0000"):
        read_run(tmp_path / "run")


def test_a_record_is_kept_only_of_what_it_says() -> None:
    record = verification_to_record(fakes.AnalyticVerifier().verdict(crystals.fcc()))
    received = verification_received(record)
    assert received == verification_from_record(record)
    assert verification_to_record(received) == record
    assert verification_to_record(replace(received, seconds=7.0)) == {**record, "seconds": 7.0}
