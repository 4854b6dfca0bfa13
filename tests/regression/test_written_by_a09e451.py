"""What commit a09e451 wrote and promised still holds: run folders, weights, configs, calls, columns.

`write_fixtures.py` made the files beside this one with the code of that commit.
"""

import csv
import inspect
import json
import re
import tarfile
import time
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymatgen.core import Structure
from typer.main import get_command

import inverse
from inverse.campaign.manifest import config_hash
from inverse.campaign.run import Run, read_run
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import Status
from inverse.commands import api
from inverse.commands.cli import app, main
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.inputs.training_config import read_stage
from surrogates.checkpoints.checkpoint import load_surrogate
from tests import fakes
from tests.own_judge import packing

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parent / "a09e451"
INTERFACE = json.loads((STORED / "interface.json").read_text(encoding="utf-8"))
MODELS = ("table", "table_of_structures", "structure", "composition")
OF_ALL = ("finished", "killed")


def unpacked(name: str, folder: Path) -> Path:
    """Return a run folder as that version left it."""
    with tarfile.open(STORED / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


@pytest.fixture
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return unpacked(request.param, tmp_path)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return unpacked("finished", tmp_path)


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    return unpacked("killed", tmp_path)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "candidates.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def table_of(run: Run) -> dict[str, tuple[str, ...]]:
    """Return what a run says of each candidate: formula, status, class, K as the judge gave it."""
    return {
        c.id: (
            c.structure.composition.reduced_formula,
            c.status.value,
            "" if c.hit_class is None else c.hit_class.value,
            ""
            if c.verification is None or "bulk_modulus_vrh" not in c.verification.values
            else f"{c.verification.values['bulk_modulus_vrh'].mean:.6g}",
        )
        for c in run.candidates
    }


def rows_of(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the same from the table that the old version wrote."""
    keys = ("formula", "status", "hit_class", "verified_bulk_modulus_vrh")
    return {row["id"]: tuple(row[key] for key in keys) for row in table(folder)}


# -- run folders ---------------------------------------------------------------------------------------------


def test_a_finished_run_reads_as_it_was_written(finished: Path) -> None:
    run = read_run(finished)
    assert table_of(run) == rows_of(finished)
    ranked = [row["id"] for row in table(finished) if row["rank"]]
    assert [c.id for c in run.candidates][: len(ranked)] == ranked
    assert sum(c.status is Status.HIT for c in run.candidates) > 0
    assert run.manifest["judges"]
    assert config_hash(run.config) == RunFolder.read(finished).meta("config_hash")


def test_a_killed_run_shows_the_verdict_of_the_step_that_did_not_end(killed: Path) -> None:
    before, run = rows_of(killed), read_run(killed)
    assert {k: v for k, v in table_of(run).items() if k in before} == before
    (fresh,) = [c for c in run.candidates if c.id not in before and c.verification is not None]
    assert fresh.status in (Status.FAILED, Status.VERIFIED)
    assert len(run.candidates) > len(before)


@pytest.mark.parametrize("stored", OF_ALL, indirect=True)
def test_report_compare_and_export(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(stored)]) == 0
    page = (stored / "report.html").read_text(encoding="utf-8")
    run = read_run(stored)
    judged = [c for c in run.candidates if c.verification is not None]
    assert all(c.id in page for c in judged)
    assert main(["compare", str(stored), str(stored)]) == 0
    assert len([row for row in api.compare(stored, stored) if row[0] == "hits"]) == 1
    for form in ("cif", "vasp", "qe"):
        (stored / "list").write_text("\n".join(c.id for c in judged))
        written = api.export(stored, form, stored / "list")
        assert len(written) >= len(judged)
        assert all(path.stat().st_size > 0 for path in written)
    capsys.readouterr()


def test_what_the_referee_said_is_the_last_stage(finished: Path) -> None:
    refereed = [json.loads(line)["id"] for line in (finished / "referee.jsonl").read_text().splitlines()]
    run = read_run(finished)
    with_stage = {c.id for c in run.candidates if c.verification is not None and _referee_stage(c)}
    assert set(refereed) == with_stage != set()


def _referee_stage(candidate: Any) -> bool:
    return candidate.verification.ladder[-1:] and candidate.verification.ladder[-1].name == "referee"


@pytest.mark.slow
def test_a_killed_run_goes_on(killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict on disk is kept, the others of its step are asked for, and a step more."""
    before, old = {c.id: c for c in read_run(killed).candidates if c.verification}, table(killed)
    keys = json.loads((killed / "manifest.json").read_text())
    monkeypatch.chdir(tmp_path)
    command = ["run", str(killed / "config.yaml"), "--output", str(killed), "--resume", "--budget", "6"]
    assert main(command) == 0
    run = read_run(killed)
    after = {c.id: c for c in run.candidates if c.verification}
    assert len(after) == 6
    assert run.manifest["status"] == "finished"
    kept = [after[k].verification.values.items() >= c.verification.values.items() for k, c in before.items()]
    assert all(kept), "a verdict may gain what follows from it, such as the density, and loses nothing"
    assert {row["id"] for row in old} < {row["id"] for row in table(killed)}
    assert_columns_stay(list(old[0]), list(table(killed)[0]))
    assert not keys.keys() - run.manifest.keys()


@pytest.mark.slow
def test_a_finished_run_has_nothing_to_do(finished: Path) -> None:
    """Its tables are written anew, by what stands in the journal."""
    before, old, ranks = rows_of(finished), table(finished), [r["id"] for r in table(finished) if r["rank"]]
    run = inverse.run(finished / "config.yaml", finished, resume=True)
    assert run.manifest["status"] == "finished"
    assert rows_of(finished) == before
    assert [row["id"] for row in table(finished) if row["rank"]] == ranks
    assert_columns_stay(list(old[0]), list(table(finished)[0]))


def assert_columns_stay(old: list[str], new: list[str]) -> None:
    """Each old column is there; new ones do not disturb the order of the old."""
    assert [name for name in new if name in old] == old


# -- weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_weights_predict_what_they_predicted(model: str) -> None:
    """What was learned is the same to 0.1 %; what follows from it (E, hardness) is still told.

    Volumes and densities have intervals now where they were told without an error.
    """
    stored = INTERFACE["predictions"][model]
    is_structure = stored[0]["level"] == "structure"
    crystal = Structure.from_dict(INTERFACE["crystal"])
    given = {"structures": [crystal]} if is_structure else {"formulas": [r["id"] for r in stored]}
    learned = {p.name for p in load_surrogate(STORED / "models" / model).properties}
    assert learned
    for old, new in zip(stored, inverse.predict(**given, model=STORED / "models" / model), strict=True):
        assert not old.keys() - new.keys()
        assert not old["predictions"].keys() - new["predictions"].keys()
        for name, expected in old["predictions"].items():
            found = new["predictions"][name]
            assert expected.keys() <= found.keys()
            assert found["unit"] == expected["unit"]
            if name in learned:
                for key in ("mean", "lower", "upper") if expected["std"] else ("mean",):
                    assert found[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-6), (name, key)


@pytest.mark.parametrize("model", ["table", "table_of_structures"])
def test_weights_of_a_users_table_are_a_target(model: str) -> None:
    (own,) = load_surrogate(STORED / "models" / model).properties
    config = CampaignConfig.from_mapping(
        {"targets": {own.name: {"min": 1}}, "surrogates": [str(STORED / "models" / model)]}
    )
    assert config.properties[own.name].unit == own.unit


# -- configs, commands, calls --------------------------------------------------------------------------------


@pytest.mark.parametrize("config", sorted((STORED / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_are_read_as_before(config: Path) -> None:
    """Every key of that version, those of example.yaml; nothing that was written out is lost.

    An empty list of `surrogates` is left out of what is written, and was then, too.
    """
    raw = yaml.safe_load(config.read_text(encoding="utf-8"))
    read = load_config(config).to_mapping()
    assert raw.keys() - read.keys() <= {"surrogates"}
    assert {key: read["search"][key] for key in raw["search"]} == raw["search"]
    assert set(read["targets"]) == set(raw["targets"])
    assert raw["constraints"].keys() <= read["constraints"].keys()


@pytest.mark.parametrize("config", sorted((STORED / "training").glob("*.yaml")), ids=lambda path: path.stem)
def test_training_configs_are_read_as_before(config: Path) -> None:
    stage, _ = read_stage(config)
    assert stage.kind == yaml.safe_load(config.read_text(encoding="utf-8"))["kind"]


@pytest.mark.parametrize("name", INTERFACE["functions"])
def test_functions_take_the_same_arguments(name: str) -> None:
    """Same names, same order, same defaults; what is new is optional and comes after."""
    new = list(inspect.signature(getattr(inverse, name)).parameters.values())
    old = INTERFACE["functions"][name]
    positional = [p for p, kind, _ in old if kind == "POSITIONAL_OR_KEYWORD"]
    assert [p.name for p in new if p.kind is p.POSITIONAL_OR_KEYWORD][: len(positional)] == positional
    found = {p.name: [p.name, p.kind.name, repr(p.default)] for p in new}
    assert [found.get(p[0]) for p in old] == old
    added = [p for p in new if p.name not in {o[0] for o in old}]
    assert all(p.default is not p.empty for p in added)


@pytest.mark.parametrize("name", INTERFACE["commands"])
def test_commands_take_the_same_options(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    assert set(INTERFACE["commands"][name]) <= options


def test_properties_and_the_parts_of_a_judge_are_where_they_were() -> None:
    from inverse.verification.protocol import PropertyJudge, VerifiedValue

    assert {found["name"] for found in inverse.properties()} >= set(INTERFACE["properties"])
    value = VerifiedValue(1.0, 0.1, 0.8, 1.2, 1.0, "mine", "GPa")
    assert (value.mean, value.potential, value.unit) == (1.0, "mine", "GPa")
    assert isinstance(packing(), PropertyJudge)


def test_answers_have_the_same_keys(tmp_path: Path) -> None:
    """Each function once, called as a script of that version would; keys of its records are still there."""
    crystal = Structure.from_dict(INTERFACE["crystal"])
    of_crystal, of_formula = inverse.predict([crystal], ["WC"], None)
    keys = INTERFACE["keys"]
    assert [set(a) - set(b) for a, b in zip(keys["predict"], (of_crystal, of_formula), strict=True)] == [
        set()
    ] * 2
    (judged,) = inverse.verify(
        crystal,
        "tests.stand_in_potential:pairwise",
        reuse=False,
        workers=0,
        also=["tests.own_judge:packing"],
        second_opinion=False,
        referee=False,
    )
    assert set(keys["verify"][0]) <= judged.keys()
    assert "packing_fraction" in judged["values"]
    assert set(keys["diagnose"][0]) <= inverse.diagnose().keys()
    assert set(keys["properties"][0]) <= inverse.properties()[0].keys()
    drawn = inverse.sample(
        2,
        targets={"bulk_modulus_vrh": 350.0},
        elements=["W", "B", "C"],
        seed=1,
        output=tmp_path / "drawn",
        n_atoms=(1, 12),
    )
    assert len(drawn) == 2
    assert (tmp_path / "drawn" / "samples.csv").is_file()
    steels = tmp_path / "steels.csv"
    lines = [f"Fe{100 - k}C{k},{300 + 10 * k}" for k in range(1, 31)]
    steels.write_text("\n".join(["formula,strength", *lines]))
    report = inverse.train(steels, tmp_path / "model")
    assert inverse.predict((), ["Fe90C10"], report["weights"])[0]["predictions"]["strength"]["mean"] > 300


def test_a_run_is_begun_resumed_and_read_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    monkeypatch.chdir(tmp_path)
    told: list[Any] = []
    run = inverse.run(
        fakes.CONFIG, tmp_path / "run", resume=False, budget=2, time_limit="5m", seed=4, device="cpu",
        started_at=time.time(), on_progress=told.append,
    )  # fmt: skip
    assert run.folder == tmp_path / "run"
    assert {told_of.stage for told_of in told} >= {"propose", "verify", "finish"}
    assert sum(c.verification is not None for c in run.candidates) == 2
    assert {"funnel", "steps", "judges", "baselines"} <= run.manifest.keys()
    again = inverse.run(fakes.CONFIG, tmp_path / "run", resume=True, budget=3, seed=4)
    assert sum(c.verification is not None for c in again.candidates) == 3
    assert inverse.build_report(tmp_path / "run") == tmp_path / "run" / "report.html"
    assert {a: (b, c) for a, b, c in inverse.compare(run.folder, run.folder)}["seed"] == ("4", "4")
    assert inverse.export_run(run.folder, "cif", None) or not again.manifest["funnel"]["started"]


MOVED = re.compile(r"`([a-z_.]+)` in `([a-z_.]+)`")


def test_modules_that_moved_are_where_the_changelog_says() -> None:
    """A name of each that scripts used is there, and the version is the changelog's first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    moved = dict(MOVED.findall(text))
    used = {
        "inverse.api": "verify",
        "inverse.types": "VerifiedValue",
        "inverse.config": "CampaignConfig",
        "inverse.report.run": "read_run",
        "inverse.storage": "read_candidates",
        "inverse.screening": "Screen",
        "surrogates.checkpoint": "load_surrogate",
        "surrogates.crystal": "CrystalBatch",
        "surrogates.properties": "BULK_MODULUS",
        "surrogates.elasticity": "hill_bulk_modulus",
    }
    assert moved.keys() == used.keys()
    assert all(hasattr(import_module(moved[old]), name) for old, name in used.items())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    first = next(line for line in text.splitlines() if line.startswith("## "))
    assert first.split()[1] == project["version"] == citation["version"]
