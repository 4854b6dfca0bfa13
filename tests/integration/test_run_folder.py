"""Run folders that a kill, a full disk or somebody else left: named, refused or begun anew."""

import errno
import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from inverse.campaign import run_folder as storage
from inverse.campaign.campaign import Campaign
from inverse.campaign.run_folder import WRITTEN, RunFolder, read_candidates
from inverse.candidates.types import Verification
from inverse.commands import api
from inverse.commands.cli import main
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.page import build_report
from surrogates.errors import RunFolderError
from surrogates.platform.whole_files import is_left_over, replacing, write_atomically
from tests import fakes
from tests.fakes import CONFIG, campaign


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    with campaign(folder, budget={"verifications": 4}) as run:
        run.run()
    build_report(folder)
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run beside its config, where the command line runs on stand-ins."""
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "planted.yaml").write_text(yaml.safe_dump({**CONFIG, "budget": {"verifications": 4}}))
    return tmp_path / "run"


RESUME = ("run", "planted.yaml", "--output", "run", "--resume")
COMMANDS = (
    ("report", "run"),
    ("status", "run"),
    ("compare", "run", "run"),
    ("export", "run"),
    ("referee", "run"),
    RESUME,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def execute(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "campaign.db")) as journal, journal:
        journal.execute(statement, values)


def line_of(capsys: Any, command: tuple[str, ...]) -> str:
    """Return the last line of a command that must end with status 2 and nothing unexpected."""
    assert main(list(command)) == 2, command
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "unexpected" not in line
    return str(line)


def test_a_lock_of_ase_that_a_kill_left_stops_nobody(tmp_path: Path) -> None:
    with campaign(tmp_path / "run") as run:
        (tmp_path / "run" / "candidates.db.lock").touch()
        run.run()
    assert (tmp_path / "run" / "candidates.db").exists()


# -- half-made -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [True, False])
def test_a_kill_before_the_first_file_blocks_no_name(copied: Path, resume: bool) -> None:
    half = copied.with_name("half")
    half.mkdir()
    for name in (".lock", ".config.yaml.tmp", ".config.yaml.0123456789abcdef.tmp"):
        (half / name).touch()
    assert main(["run", "planted.yaml", "--output", "half", *(["--resume"] if resume else [])]) == 0
    assert read_candidates(half)


def test_what_ended_the_making_of_a_folder_blocks_it_for_no_config(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "carry", full)
        assert main(["run", "planted.yaml"]) == 2
    half = copied.with_name("runs") / "planted"
    assert RunFolder.is_half_made(half)
    other = {**CONFIG, "seed": 8, "budget": {"verifications": 2}}
    assert api.run(other).folder == Path("runs") / "planted"
    assert not RunFolder.is_half_made(half)
    assert api.run(other).folder == Path("runs") / "planted-2"


def test_what_the_judges_refuse_leaves_no_folder(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fakes.parts(CampaignConfig.from_mapping(CONFIG))

    def refused() -> None:
        raise RunFolderError("verification workers do not start")

    monkeypatch.setattr(made.verifier, "check", refused)
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: made)
    assert main(["run", "planted.yaml", "--output", "new"]) == 2
    assert not copied.with_name("new").exists()


def test_a_folder_with_the_marks_of_a_half_made_one_and_somebodys_file_is_kept(copied: Path) -> None:
    theirs = copied.with_name("theirs")
    theirs.mkdir()
    (theirs / ".lock").write_bytes(storage.HALF_MADE)
    (theirs / "thesis.tex").write_text("mine")
    before = contents(theirs)
    assert main(["run", "planted.yaml", "--output", "theirs", "--resume"]) == 2
    assert contents(theirs) == before


def test_a_journal_of_no_bytes_is_named_and_nothing_is_deleted(copied: Path, capsys: Any) -> None:
    (copied / "campaign.db").write_bytes(b"")
    before = contents(copied)
    for command in (*COMMANDS, RESUME[:-1]):
        assert "campaign.db is damaged (no bytes)" in line_of(capsys, command), command
    assert contents(copied) == before


def test_left_overs_of_a_kill_are_swept_and_nothing_else(copied: Path) -> None:
    for name in (".manifest.json.0123456789abcdef.tmp", "notes.tmp", ".notes.tmp"):
        (copied / name).touch()
    assert main(list(RESUME)) == 0
    assert {p.name for p in copied.iterdir() if p.suffix == ".tmp"} == {"notes.tmp", ".notes.tmp"}


# -- from somebody else --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*WRITTEN} - {"campaign.db-wal", "campaign.db-shm"}))
def test_no_link_of_a_folder_is_followed(copied: Path, capsys: Any, name: str) -> None:
    victim = copied.with_name("victim")
    shutil.rmtree(copied / name, ignore_errors=True)
    (copied / name).unlink(missing_ok=True)
    if name in storage.FOLDERS_OF_A_RUN:
        victim.mkdir()
        (victim / "file").write_text("precious")
    else:
        victim.write_text("precious")
    (copied / name).symlink_to(victim)
    assert f"{name} is " in line_of(capsys, RESUME)
    main(["report", "run"])
    main(["export", "run"])
    kept = victim / "file" if victim.is_dir() else victim
    assert kept.read_text() == "precious"
    assert not victim.is_dir() or len(list(victim.iterdir())) == 1


def test_a_link_in_the_place_of_a_temporary_file_or_a_page_is_not_written_through(copied: Path) -> None:
    victim = copied.with_name("victim")
    victim.write_text("precious")
    for name in (".report.html.tmp", "report.html"):
        (copied / name).unlink(missing_ok=True)
        (copied / name).symlink_to(victim)
    assert main(["report", "run"]) == 0
    assert victim.read_text() == "precious"
    assert "<html" in (copied / "report.html").read_text()


@pytest.mark.parametrize("identity", ["../../outside/deep", "a\ntouch PWNED\n#", "c1/../../x", "", "c٣"])
def test_ids_are_c_and_digits_or_nothing_is_read(copied: Path, capsys: Any, identity: str) -> None:
    before = read_candidates(copied)[0]
    with RunFolder.open(copied) as folder:
        ((text,),) = folder._query("SELECT record FROM candidates WHERE id = ?", (before.id,))
    record = json.dumps({**json.loads(text), "id": identity})
    execute(copied, "UPDATE candidates SET id = ?, record = ? WHERE id = ?", identity, record, before.id)
    outside = set(copied.parent.rglob("*")) - set(copied.rglob("*"))
    for command in COMMANDS:
        assert "campaign.db is damaged" in line_of(capsys, command)
    assert set(copied.parent.rglob("*")) - set(copied.rglob("*")) == outside
    record = json.dumps({**json.loads(text), "id": "c999999"})
    execute(copied, "UPDATE candidates SET id = ?, record = ? WHERE id = ?", before.id, record, identity)
    assert "ids are c and digits" in line_of(capsys, ("report", "run"))


RECORDS = ('{"version":1,"id"', "[]", "null", "7", '{"version": 1}', '{"version": "x"}')


@pytest.mark.parametrize("text", RECORDS)
@pytest.mark.parametrize("table", ["candidates", "verifications"])
def test_a_record_that_cannot_be_read_is_one_line_of_every_command(
    copied: Path, capsys: Any, table: str, text: str
) -> None:
    execute(copied, f"UPDATE {table} SET record = ? WHERE id = (SELECT min(id) FROM {table})", text)
    for command in COMMANDS:
        line = line_of(capsys, command)
        assert "run: campaign.db is damaged (c0000" in line, command


STRANGE = (
    (("score",), "../x"),
    (("proposer",), 5),
    (("nearest_known",), None),
    (("known_phase",), {"database_id": "mp-1/../../x"}),
    (("known_phase",), "mp-1"),
    (("history",), []),
    (("structure", "lattice", 0, 0), -1e308),
    (("structure", "frac_coords", 0, 0), 1e300),
    (("verification", "reason"), ["x"]),
    (("verification", "structure", "lattice"), [[0, 0, 0]] * 3),
    (("verification", "values", "bulk_modulus_vrh", "potential"), []),
    (("verification", "flags"), [3]),
    (("structure", "species", 0), {}),
    (("verification", "values", "bulk_modulus_vrh", "std"), -1e308),
)


@pytest.mark.parametrize(("path", "value"), STRANGE)
def test_a_part_of_another_kind_is_one_line(
    copied: Path, capsys: Any, path: tuple[str | int, ...], value: object
) -> None:
    identity = next(c.id for c in read_candidates(copied) if c.verification and c.verification.structure)
    table, path = ("verifications", path[1:]) if path[0] == "verification" else ("candidates", path)
    with RunFolder.read(copied) as folder:
        ((text,),) = folder._query(f"SELECT record FROM {table} WHERE id = ?", (identity,))
    record = part = json.loads(text)
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    execute(copied, f"UPDATE {table} SET record = ? WHERE id = ?", json.dumps(record), identity)
    for command in COMMANDS[:3]:
        assert f"run: campaign.db is damaged ({identity}" in line_of(capsys, command)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", "[1]"),
        ("manifest.json", '{"steps": [1]}'),
        ("manifest.json", '{"judges": "diep"}'),
        ("manifest.json", '{"baselines": {"lookup": {"n_hits": 1, "basis": "dft", "best": [{"a": 1}]}}}'),
        ("manifest.json", "[" * 100_000),
        ("referee.jsonl", "[]\n"),
        ("referee.jsonl", '{"id": "c000001", "agrees": true, "reason": "", "values": {"k": 3}}\n'),
    ],
)
def test_a_damaged_file_is_one_line(copied: Path, capsys: Any, name: str, text: str) -> None:
    (copied / name).write_text(text)
    for command in COMMANDS[:3]:
        assert f"run/{name}" in line_of(capsys, command)


def test_notes_of_a_step_and_of_the_run_may_be_damaged(copied: Path, capsys: Any) -> None:
    execute(copied, "UPDATE steps SET notes = '[]'")
    assert "campaign.db is damaged (a step" in line_of(capsys, RESUME)
    execute(copied, "UPDATE meta SET value = '{' WHERE key = 'format'")
    assert "campaign.db is damaged (format" in line_of(capsys, ("report", "run"))


def test_random_bits_bring_no_command_to_a_traceback(copied: Path, finished: Path, capsys: Any) -> None:
    draw = random.Random(20)
    names = ("campaign.db", "campaign.db", "manifest.json", "config.yaml", "candidates.db")
    for k in range(15):
        shutil.rmtree(copied)
        shutil.copytree(finished, copied)
        path = copied / names[k % len(names)]
        data = bytearray(path.read_bytes())
        for _ in range(1 + k % 3):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(data))
        for command in (("export", "run"), ("compare", "run", "run"), RESUME):
            assert main(list(command)) in (0, 1, 2)
            said = capsys.readouterr().err
            assert "unexpected" not in said, (k, command, said)
            assert "Traceback" not in said, (k, command, said)


def test_a_run_whose_folder_vanishes_ends(tmp_path: Path) -> None:
    with campaign(tmp_path / "run") as run:
        written, seen = run.folder.write_verification, []

        def write(identity: str, verdict: Verification) -> None:
            written(identity, verdict)
            seen.append(identity)
            if len(seen) == 3:
                os.rename(tmp_path / "run", tmp_path / "moved")

        run.folder.write_verification = write  # type: ignore[method-assign]
        with pytest.raises(RunFolderError, match="the run folder is gone"):
            run.run()
    assert len(seen) == 3
    assert not (tmp_path / "run").exists()
    with campaign(tmp_path / "moved") as run:
        assert "12 verifications" in run.run()


# -- files that appear whole ---------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "before\r\n")
    with pytest.raises(TypeError, match="bytes"), replacing(path) as fresh:
        fresh.write_bytes("half")  # type: ignore[arg-type]
    assert path.read_bytes() == b"before\r\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with replacing(path) as fresh:
        assert is_left_over(fresh)
        fresh.write_text("after")
    assert path.read_text() == "after"
    os.chmod(path, 0o600)
    write_atomically(path, b"again")
    assert path.stat().st_mode & 0o044 == 0o044 & ~_umask()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_two_campaigns_of_one_folder_never_meet(tmp_path: Path) -> None:
    config = CampaignConfig.from_mapping(CONFIG)
    with campaign(tmp_path / "run"), pytest.raises(RunFolderError, match="holds a run already"):
        Campaign.create(config, tmp_path / "run", fakes.parts(config))
