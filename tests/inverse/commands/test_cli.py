"""The command line: exit status, one line on stderr, results on stdout, no traceback."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from inverse.commands import api
from inverse.commands.cli import main
from inverse.potentials.loading import available_potentials
from inverse.verification import workers
from tests import crystals, fakes

WC = """data_WC
_cell_length_a 2.92
_cell_length_b 2.92
_cell_length_c 2.85
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
W1 W 0 0 0
C1 C 0.333333333 0.666666667 0.5
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file whose campaign runs on stand-ins."""
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "planted.yaml"
    path.write_text(yaml.safe_dump(fakes.CONFIG))
    return path


def test_a_calculator_that_never_returns_ends_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(workers, "GRACE", 0.0)
    monkeypatch.setattr(workers, "GUARD", 1 / 300)
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    crystals.fcc("Au", 4.0).to(str(tmp_path / "gold.cif"))
    potential = "tests.stand_in_potential:hangs_on_gold"
    assert main(["verify", str(tmp_path / "gold.cif"), "--potential", potential]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["converged"] is False
    assert record["reason"] == "time limit of 1 s by the clock"


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--potential", "builtins:dict", "builtins:dict returned a dict, not an ASE calculator"),
        ("--potential", "math:pi", "math:pi is not callable"),
        ("--also", "math:pi", "math:pi is not callable"),
    ],
)
def test_what_is_no_judge_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, name: str, message: str
) -> None:
    crystals.fcc().to(str(tmp_path / "cu.cif"))
    emt = [] if option == "--potential" else ["--potential", "ase.calculators.emt:EMT"]
    assert message in refused(capsys, "verify", tmp_path / "cu.cif", option, name, *emt)


def test_whose_code_a_config_runs_is_said_before_it_runs(planted: Path, capsys: Any, caplog: Any) -> None:
    config = {**fakes.CONFIG, "verify": {"potential": "theirs:potential", "also": ["theirs:judge"]}}
    planted.write_text(yaml.safe_dump(config))
    assert main(["run", str(planted), "--budget", "2", "--output", "run"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "this config runs code: theirs:potential, theirs:judge"
    api.run(config, "again", budget=2)
    assert "this config runs code: theirs:potential, theirs:judge" in caplog.text
    caplog.clear()
    api.run(fakes.CONFIG, "without", budget=2)
    assert "runs code" not in caplog.text


def test_a_second_opinion_that_nobody_gives_is_refused(tmp_path: Path, capsys: Any) -> None:
    crystals.fcc().to(str(tmp_path / "cu.cif"))
    arguments = ("verify", tmp_path / "cu.cif", "--second-opinion")
    line = refused(capsys, *arguments, "--potential", "ase.calculators.emt:EMT")
    assert "the potential ase.calculators.emt:EMT has no second opinion beside it" in line
    if available_potentials()["7net-l3i5"]:
        assert "the referee has no second opinion" in refused(capsys, *arguments, "--referee")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one error line of a command that must end with status 2 and no result."""
    assert main([str(a) for a in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1, shown.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prdict"], "no such command 'prdict'; did you mean 'predict'?"),
        (["run", "x", "--bugdet", "3"], "no such option --bugdet; did you mean '--budget'?"),
        (["run"], "Missing argument 'config'"),
        (["run", "superhard-quik"], "did you mean 'superhard-quick'?"),
        (["run", "gone.yaml"], "gone.yaml: no such file"),
        (["run", "superhard-quick", "--budget", "-3"], "budget.verifications: -3"),
        (["run", "superhard-quick", "--budget", "many"], "--budget: 'many' should be a valid integer"),
        (["run", "superhard-quick", "--time-limit", "soon"], "'soon' is not a time"),
        (["run", "superhard-quick", "--device", "gpu"], "device: 'gpu'"),
        (["run", "superhard-quick", "--seed", "-1"], "seed: -1"),
        (["predict"], "name at least one file"),
        (["predict", "-f", "WC", "--device", "gpu"], "device: 'gpu' is not valid; valid: auto, cpu, cuda"),
        (["predict", "gone.cif"], "gone.cif: no such file"),
        (["verify"], "name at least one file"),
        (["verify", "gone.cif"], "gone.cif: no such file"),
        (["sample", "--output", "s", "--target", "bulk_modulus_vrh"], "write name=value"),
        (["sample", "--output", "s", "--target", "bulk_modulus=3"], "did you mean 'bulk_modulus_vrh'?"),
        (["sample", "--output", "s", "--target", "bulk_modulus_vrh=x"], "'x' is not a number"),
        (["sample", "--output", "s", "--target", "bulk_modulus_vrh=1e9"], "outside the physical range"),
        (["sample", "--output", "s", "--elements", "W,Bb"], "'Bb' is not an element"),
        (["sample", "--output", "s", "-n", "0"], "0 is not more than zero"),
        (["report", "gone"], "gone"),
        (["export", "gone"], "gone"),
        (["export", "gone", "--format", "lammps"], "lammps"),
        (["compare", "gone", "gone"], "gone"),
        (["train", "gone.yaml"], "gone.yaml"),
        (["bench", "contraints"], "did you mean 'constraints'?"),
    ],
)
def test_bad_usage(arguments: list[str], words: str, capsys: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_help_and_properties(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    for command in ("run", "predict", "sample", "verify", "report", "compare", "export", "train", "doctor"):
        assert command in capsys.readouterr().out or main([command, "--help"]) == 0
    capsys.readouterr()
    assert main(["properties", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_name = {record["name"]: record for record in records}
    assert by_name["bulk_modulus_vrh"]["unit"] == "GPa"
    assert by_name["band_gap"]["predicted_only"]
    assert main(["properties"]) == 0
    shown = capsys.readouterr().out
    assert "energy_above_hull" in shown
    assert "from 0 up" in shown
    assert "e+15" not in shown
    assert by_name["vickers_hardness_chen"]["judge"].count("7net-l3i5") <= 1
    assert main(["bench"]) == 0
    assert "constraints" in capsys.readouterr().out


def test_a_run_prints_the_table_and_resumes(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(planted), "--budget", "6"]) == 0
    shown = capsys.readouterr()
    assert "report.html" in shown.out
    assert "WC" in shown.out
    assert "6/6 verified" in shown.err
    folder = planted.parent / "runs" / "planted"
    assert (folder / "report.html").exists()
    before = (folder / "candidates.csv").read_text().splitlines()[1].split(",")[1]
    assert main(["run", str(planted), "--output", str(folder), "--resume", "--budget", "10"]) == 0
    rows = list(csv.DictReader((folder / "candidates.csv").open()))
    assert sum(row["status"] in ("hit", "verified", "failed") for row in rows) == 10
    assert before in {row["id"] for row in rows}
    capsys.readouterr()
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip().endswith("report.html")
    assert main(["compare", str(folder), str(folder)]) == 0
    assert "verifications started" in capsys.readouterr().out
    assert main(["export", str(folder), "--format", "cif"]) == 0
    assert ".cif" in capsys.readouterr().out


def test_runs_are_not_overwritten(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(planted), "--budget", "2", "--output", "a"]) == 0
    capsys.readouterr()
    stamp = Path("a/candidates.csv").read_bytes()
    assert "--resume" in refused(capsys, "run", planted, "--budget", "2", "--output", "a")
    assert Path("a/candidates.csv").read_bytes() == stamp
    other = planted.with_name("other.yaml")
    other.write_text(yaml.safe_dump({**fakes.CONFIG, "seed": 4}))
    assert "another config" in refused(capsys, "run", other, "--output", "a", "--resume")
    for name in ("planted", "planted-2"):
        assert main(["run", str(planted), "--budget", "1"]) == 0
        assert Path("runs", name, "report.html").exists()


WITHOUT_MODELS = """
import sys
from inverse.commands.cli import main
status = main(sys.argv[1:])
heavy = [name for name in ("torch", "chgnet", "matgl", "optuna", "inverse.assembly") if name in sys.modules]
sys.exit(status if not heavy else f"loaded {heavy}")
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "superhard-quick", "--output", "taken"], "holds a run already"),
        (["run", "superhard-quick", "--output", "mine"], r"not empty (thesis.tex)"),
        (["run", "superhard-quick", "--output", "mine/thesis.tex"], "Not a directory"),
        (["run", "superhard-quick", "--output", "mine/thesis.tex/run"], "Not a directory"),
        (["run", "superhard-quick", "--output", "taken", "--resume"], "another config"),
        (["run", "method.yaml"], "did you mean 'genetic'?"),
        (["run", "seed.yaml"], "gone.cif"),
        (["run", "superhard"], "no such packaged config"),
    ],
)
def test_a_bad_base_is_refused_before_any_model_is_loaded(
    planted: Path, arguments: list[str], words: str
) -> None:
    from inverse.campaign.run_folder import RunFolder

    RunFolder.create(Path("taken"), "", "other").close()
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("mine")
    targets = "targets: {bulk_modulus_vrh: {min: 300}}\n"
    Path("method.yaml").write_text(f"{targets}search: {{method: genetics}}\n")
    Path("seed.yaml").write_text(f"{targets}seed_structures: [gone.cif]\n")
    before = sorted(str(p) for p in Path.cwd().rglob("*"))
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_MODELS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(str(p) for p in Path.cwd().rglob("*")) == before


def test_resume_starts_over_what_a_kill_left_of_the_creation(planted: Path, capsys: Any) -> None:
    from inverse.commands.api import run
    from inverse.inputs.campaign_config import load_config

    config_yaml = load_config(planted).with_overrides(verifications=2).to_yaml()
    for name, has_journal in (("a", False), ("b", True)):
        folder = Path(name)
        (folder / "cifs").mkdir(parents=True)
        (folder / "config.yaml").write_text(config_yaml)
        if has_journal:
            (folder / "campaign.db").write_bytes(b"")
        assert "not empty" in refused(capsys, "run", planted, "--output", name) or has_journal
        assert run(planted, folder, resume=True, budget=2).candidates
        assert (folder / "campaign.db").exists()
        assert (folder / "config.yaml").exists()


def test_a_signal_while_the_report_is_written_costs_nothing(planted: Path, monkeypatch: Any) -> None:
    from inverse.report import page

    write = page.build_report

    def interrupted(folder: Path) -> Path:
        os.kill(os.getpid(), signal.SIGTERM)
        return write(folder)

    monkeypatch.setattr(page, "build_report", interrupted)
    assert main(["run", str(planted), "--budget", "2", "--output", "a"]) == 0
    assert Path("a/report.html").exists()


def test_a_damaged_database_and_a_read_only_folder(
    planted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", str(planted), "--budget", "1", "--output", "a"]) == 0
    capsys.readouterr()
    csv_before = Path("a/candidates.csv").read_bytes()
    Path("a/campaign.db").write_bytes(b"not a database at all" * 500)
    assert "campaign.db" in refused(capsys, "run", planted, "--output", "a", "--resume")
    assert "a" in refused(capsys, "report", "a")
    assert Path("a/candidates.csv").read_bytes() == csv_before

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "locked/run")

    monkeypatch.setattr(Path, "mkdir", denied)
    assert "ermission denied" in refused(capsys, "run", planted, "--output", "locked/run")


def test_a_full_disk_is_one_line(
    planted: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a/candidates.csv")

    monkeypatch.setattr("inverse.campaign.tables.write_table", full)
    assert main(["run", str(planted), "--output", "a"]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "No space left on device" in last


def test_unexpected_errors_leave_a_log(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def broken() -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("inverse.commands.api.properties", broken)
    assert main(["properties"]) == 1
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: unexpected ZeroDivisionError: planted (details in ")
    log = Path(line.rsplit(" ", 1)[1].rstrip(")"))
    assert "Traceback" in log.read_text()
    log.unlink()


def answers(*_: object, **__: object) -> Iterator[dict[str, Any]]:
    yield {"id": "a", "formula": "WC", "value": float("nan")}
    yield {"id": "b", "error": {"type": "StructureError", "message": "no atoms"}}


def test_json_lines_to_stdout_or_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inverse.assembly.iterate_predictions", answers)
    assert main(["predict", "--formula", "WC"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["value"] is None
    assert lines[1]["error"]["type"] == "StructureError"
    output = tmp_path / "new" / "out.jsonl"
    assert main(["predict", "--formula", "WC", "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    assert [json.loads(line) for line in output.read_text().splitlines()] == lines
    assert [p.name for p in output.parent.iterdir()] == ["out.jsonl"]
    assert "is a folder" in refused(capsys, "predict", "--formula", "WC", "--output", tmp_path)


def test_status_one_when_nothing_succeeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.cif"
    bad.write_text("data_x\nnothing here\n")
    assert main(["predict", str(bad)]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["id"] == "bad.cif"
    assert record["error"]["type"] == "StructureError"


def test_what_libraries_print_does_not_reach_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def noisy(*_: object, **__: object) -> Iterator[dict[str, Any]]:
        print("CHGNet initialized")
        yield {"id": "a"}

    monkeypatch.setattr("inverse.assembly.iterate_predictions", noisy)
    assert main(["predict", "--formula", "WC"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"id": "a"}
    assert "CHGNet initialized" in shown.err


def test_help_is_quick() -> None:
    began = os.times()
    done = subprocess.run(
        [sys.executable, "-c", "from inverse.commands.cli import main; raise SystemExit(main(['--help']))"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    used = os.times()
    assert done.returncode == 0
    seconds = used.children_user + used.children_system - began.children_user - began.children_system
    assert seconds < 1.0, f"{seconds:.2f} s of processor time"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "inverse", "bench"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "constraints" in done.stdout


def test_compare_and_bench_have_a_python_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import inverse
    from surrogates.errors import RunFolderError, UnknownNameError

    monkeypatch.setattr("inverse.report.comparison.compare", lambda first, second: [("hits", first, second)])
    assert inverse.compare("a", "b") == [("hits", "a", "b")]
    with pytest.raises(UnknownNameError, match="did you mean 'constraints'"):
        inverse.bench("contraints")
    monkeypatch.undo()
    with pytest.raises(RunFolderError, match="holds no run"):
        inverse.compare(tmp_path, tmp_path)


SLOW = """
import sys, time
import inverse.assembly
def slow(*_, **__):
    yield {"id": "a"}
    sys.stderr.write("ready\\n"); sys.stderr.flush()
    time.sleep(60)
inverse.assembly.iterate_predictions = slow
from inverse.commands.cli import main
sys.exit(main(["predict", "--formula", "WC", "--output", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_keep_what_there_is(number: int, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(output)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = ""
    while "ready" not in line:
        line = process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert json.loads(output.read_text()) == {"id": "a"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "command",
    [["predict", "--formula", "WC"], ["verify", "wc.cif"], ["sample", "-o", "s"], ["train", "table.csv"]],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    crystals.tungsten_carbide().to("wc.cif")
    Path("table.csv").write_text("formula,value\nWC,1\n")
    assert main([*command, "--device", "cuda"]) == 2
    said = capsys.readouterr().err.strip()
    assert "cuda" in said
    assert "\n" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "wc.cif"]


def test_a_piped_table_is_no_narrower_for_the_terminal_it_is_piped_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["properties"]) == 0
    wide = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["properties"]) == 0
    assert capsys.readouterr().out == wide
