"""What people meet first: version, completion, options that do not exist, names that are nearly right."""

import json
import time
from importlib.metadata import version
from pathlib import Path

import pytest

import inverse
from inverse.commands.cli import main
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.progress_bar import progress
from surrogates.errors import ConfigError, DataError
from surrogates.physics.properties import PROPERTIES, also_called, nearest_property
from tests import crystals


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert inverse.__version__ == version("inverse-crystals")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"inverse {inverse.__version__}\n"
    assert "__version__" in dir(inverse)


def test_completion_is_offered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main(["--help"])
    assert "--install-completion" in capsys.readouterr().out
    for name, value in (
        ("_INVERSE_COMPLETE", "complete_bash"),
        ("COMP_WORDS", "inverse pre"),
        ("COMP_CWORD", "1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out.split() == ["predict"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("inverse run bulk", ["bulk-modulus-window"]),
        ("inverse run m", ["mine.yaml", "more/"]),
        ("inverse run more/", ["more/its.yml"]),
        ("inverse verify --potential 7net-l", ["7net-l3i5"]),
        ("inverse export run --format q", ["qe"]),
        ("inverse bench verify-h", ["verify-hull"]),
    ],
)
def test_names_and_files_are_completed(
    typed: str,
    offered: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    for name in ("mine.yaml", "mine.txt", "more/its.yml"):
        (tmp_path / name).touch()
    monkeypatch.setenv("_INVERSE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out.split() == offered


@pytest.mark.parametrize("command", [["--nope"], ["report", "--nope"], ["run", "--zzz"]])
def test_an_unknown_option_names_valid_ones(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    line = capsys.readouterr().err
    assert "no such option" in line
    assert "did you mean '--" in line or "valid: --" in line


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("minimum", "min"),
        ("Maximum", "max"),
        ("at_least", "min"),
        ("minimize", "minimise"),
        ("value", "near"),
    ],
)
def test_other_words_for_keys_of_a_target(key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key '{key}'; did you mean '{meant}'\?"):
        CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {key: 300}}})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("K", "bulk_modulus_vrh"),
        ("G_VRH", "shear_modulus_vrh"),
        ("Ehull", "energy_above_hull"),
        ("Gap", "band_gap"),
    ],
)
def test_other_names_of_properties(name: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=rf"unknown property '{name}'; did you mean '{meant}'\?"):
        CampaignConfig.from_mapping({"targets": {name: {"min": 1}}})
    assert main(["sample", "--target", f"{name}=1", "--output", "nowhere"]) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err


def test_every_symbol_is_among_the_other_names() -> None:
    assert set(also_called().values()) <= set(PROPERTIES)
    for prop in PROPERTIES.values():
        assert nearest_property(prop.symbol) == f"did you mean {prop.name!r}?"


def test_a_formula_where_a_file_was_expected_is_told_where_it_goes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["predict", "WC"]) == 2
    said = capsys.readouterr().err
    assert "WC: no such file or folder" in said
    assert said.endswith("; as a formula it goes to `inverse predict --formula WC`\n")
    with pytest.raises(DataError, match=r"gone\.cif: no such file or folder[^;]*$"):
        inverse.predict("gone.cif")
    with pytest.raises(DataError, match=r"^Xx2: no such file or folder.*; nor is it a formula$"):
        inverse.predict("Xx2")
    with pytest.raises(DataError, match=r"number 1 is of type int; give a file, a folder, a pymatgen Struct"):
        inverse.predict(["WC", "TiN", crystals.fcc(), 7])


def test_progress_counts_every_record_and_says_what_went_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def records(*_: object, **__: object):
        for k in range(14):
            yield {"id": str(k), "formula": "BW", "formula_display": "WB"}
        yield {"id": "x", "error": {"type": "StructureError", "message": "no atoms"}}

    monkeypatch.setattr("inverse.assembly.iterate_predictions", records)
    assert main(["predict", "--formula", "WB", "--output", str(tmp_path / "out.jsonl")]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == ["predict: 15 done", "predict: 1 of 15 without a result"]
    assert len([json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]) == 15


def test_verify_says_how_many_there_are_before_the_first_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr("inverse.verification.workers.default_workers", lambda: 1)
    crystals.fcc().to(str(tmp_path / "cu.cif"))
    (tmp_path / "broken.cif").write_text("data_x\n")
    files = [str(tmp_path / name) for name in ("cu.cif", "broken.cif")]
    assert main(["verify", *files, "--potential", "ase.calculators.emt:EMT"]) == 0
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if not line.endswith(" s")]  # of a slow machine
    assert said[0] == "verify: 2 structures, the judges are loading"
    assert said[-2:] == ["verify: 2 of 2", "verify: 1 of 2 without a result"]


def test_long_silence_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.report.progress_bar.SECONDS_OF_SILENCE", 0.05)
    with progress("verify", 2) as bar:
        bar.advance()
        time.sleep(0.4)
    said = capsys.readouterr().err.splitlines()
    assert "verify: 1 of 2 after 0 s" in said
    assert said[-1] == "verify: 1 of 2"
    with progress("verify", None) as bar:  # what is refused before anything is counted is one line
        bar.tell("reading the structures")
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_bar_without_a_terminal_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("sample", 3) as bar:
        bar.advance()
        bar.advance()
    assert capsys.readouterr().err == "sample: 2 of 3\n"


def test_a_taken_folder_is_told_in_both_languages(tmp_path: Path) -> None:
    from inverse.campaign.run_folder import RunFolder
    from surrogates.errors import RunFolderError

    RunFolder.create(tmp_path / "run", "name: x\n", "hash").close()
    with pytest.raises(
        RunFolderError, match=r"resume it \(--resume, in Python resume=True\) or name another"
    ):
        RunFolder.check(tmp_path / "run", "hash", "name: x\n")
