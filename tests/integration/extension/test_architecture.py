"""A trained architecture in one file of somebody's package: trained, kept, read, asked and searched with."""

import csv
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from pymatgen.core import Lattice, Structure

import inverse
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.inputs.carried_files import fingerprint
from inverse.prediction.training import train
from surrogates.checkpoints.architecture import Architecture
from surrogates.checkpoints.checkpoint import ARCHITECTURES, load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import CheckpointError, ConfigError, EngineError
from surrogates.platform import registry
from tests.integration.extension import ridge
from tests.integration.extension.test_extension import installed

METALS = {"Al": 4.05, "Cu": 3.61, "Ag": 4.09, "Au": 4.08, "Ni": 3.52, "Pd": 3.89, "Pt": 3.92}
"""Lattice constants of the face-centred cubic metals, Å."""

TRAINING: dict[str, Any] = {
    "kind": "table",
    "data": "values.csv",
    "structures": "cells",
    "value": "stiffness",
    "model": {"architecture": "ridge", "penalty": 0.001},
}

SEARCH: dict[str, Any] = {
    "name": "with-a-ridge",
    "targets": {"stiffness": {"min": 1.0}, "energy_above_hull": {"max": 0.5}},
    "constraints": {"elements": {"only": sorted(METALS)}, "n_atoms": {"max": 4}},
    "search": {"method": "random", "surrogate": "weights"},
    "verify": {"potential": "effective-medium", "phonons": False},
    "budget": {"verifications": 2},
    "seed": 5,
}


def alloy(first: str, second: str, strain: float = 1.0) -> Structure:
    a = strain * (METALS[first] + 3 * METALS[second]) / 4
    positions = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    return Structure(Lattice.cubic(a), [first, *[second] * 3], positions)


def stiffness(structure: Structure) -> float:
    """What is planted: a law of the density, and of the share of platinum."""
    return 40 * len(structure) / structure.volume + 3 * structure.composition.get_atomic_fraction("Pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a working folder with a table of crystals; the package beside it is installed here, too."""
    place = tmp_path_factory.mktemp("ridge")
    points = "[inverse.architectures]\nridge = ridge:Ridge\n"
    points += "[inverse.potentials]\neffective-medium = crystal_kit:effective_medium\n"
    installed(place, points, ridge.__file__)
    (place / "cells").mkdir()
    lines = ["file,stiffness"]
    for first in METALS:
        for second in METALS:
            for strain in (1.0, 1.05):
                structure = alloy(first, second, strain)
                name = f"{first}{second}{strain}"
                structure.to(str(place / "cells" / f"{name}.vasp"), fmt="poscar")
                lines.append(f"{name},{stiffness(structure):.4f}")
    (place / "values.csv").write_text("\n".join(lines) + "\n")
    (place / "train.yaml").write_text(yaml.safe_dump(TRAINING))
    (place / "wish.yaml").write_text(yaml.safe_dump(SEARCH))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place / "site"))
        registry._extensions.cache_clear()
        train(place / "train.yaml", place / "weights")
        yield place
    registry._extensions.cache_clear()
    for name in ("ridge", "crystal_kit"):
        sys.modules.pop(name, None)


def test_it_is_trained_from_a_config_and_its_errors_are_measured(folder: Path) -> None:
    report = json.loads((folder / "weights" / "report.json").read_text())
    assert (report["property"], report["level"]) == ("stiffness", "structure")
    errors = report["held_out"]
    assert errors["n"] == 98
    assert errors["unanswered"] == 0
    assert errors["mae"] < 0.2 * errors["mae_constant"]
    manifest = json.loads((folder / "weights" / "manifest.json").read_text())
    assert manifest["kind"] == "ridge"


def test_its_errors_are_those_of_rows_it_did_not_see(folder: Path) -> None:
    errors = json.loads((folder / "weights" / "report.json").read_text())["held_out"]
    assert 0.85 <= errors["coverage_90"] <= 0.95
    read = load_surrogate(folder / "weights")
    assert read.factor == pytest.approx(errors["error_factor"], rel=1e-3)
    batch = CrystalBatch.from_structures([alloy("Cu", "Pt", 1.02)])
    own, told = (each.predict(batch, read.properties)[read.properties[0]] for each in (read.inner, read))
    assert float(told.std) == pytest.approx(read.factor * float(own.std))
    assert float(told.mean) == float(own.mean)


def test_a_surrogate_that_is_no_better_than_a_constant_is_said_to_be(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = (folder / "values.csv").read_text().splitlines()
    noise = [f"{line.split(',')[0]},{(k * k * 37) % 101}" for k, line in enumerate(lines[1:])]
    (tmp_path / "noise.csv").write_text("\n".join([lines[0], *noise]) + "\n")
    wish = {**TRAINING, "data": str(tmp_path / "noise.csv"), "structures": str(folder / "cells")}
    report = train(wish, tmp_path / "out")
    assert report["held_out"]["mae"] >= report["held_out"]["mae_constant"]
    (said,) = report["warnings"]
    assert re.match(r"stiffness: the surrogate is no better than a constant \(mean error \d", said)
    assert said in caplog.text


def test_its_weights_are_read_again_and_predict(folder: Path) -> None:
    seen = alloy("Cu", "Pt", 1.02)
    of_crystal, of_formula = inverse.predict([seen], formulas=["CuPt"], model=folder / "weights")
    found = of_crystal["predictions"]["stiffness"]
    assert found["mean"] == pytest.approx(stiffness(seen), rel=0.05)
    assert found["lower"] < found["mean"] < found["upper"]
    assert of_crystal["scale"] == "own_table"
    assert "needs crystals, not compositions" in of_formula["error"]["message"]


@pytest.mark.slow
def test_a_search_asks_it_and_keeps_a_copy_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder / "run"
    monkeypatch.setenv("INVERSE_STORE", str(folder / "store.db"))
    inverse.run(folder / "wish.yaml", run)
    with (run / "candidates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    asked = [float(row["predicted_stiffness"]) for row in rows if row["predicted_stiffness"]]
    assert len(asked) >= 2
    assert all(0 < value < 20 for value in asked)
    for name in ("manifest.json", "weights.safetensors"):
        kept = run / "searched_with" / "01-weights" / name
        assert kept.read_bytes() == (folder / "weights" / name).read_bytes()
    manifest = json.loads((run / "manifest.json").read_text())
    assert "ridge-stiffness" in manifest["weights"]["structure"]
    assert manifest["weights"]["surrogate " + str(folder / "weights")] == fingerprint(folder / "weights")
    assert load_config(run / "config.yaml", is_stored=True).properties["stiffness"]


def test_it_stands_among_the_surrogates_of_own_tables(folder: Path) -> None:
    wish = {**SEARCH, "search": {"method": "random"}, "surrogates": [str(folder / "weights")]}
    (trained,) = CampaignConfig.from_mapping(wish).trained
    assert trained.property.name == "stiffness"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"architecture": "rigde"}}, "'rigde' is not valid; did you mean 'ridge'?"),
        (
            {"model": {"architecture": "ridge", "penalt": 1}},
            "unknown setting 'penalt'; did you mean 'penalty'?",
        ),
        ({"model": {"architecture": "ridge", "penalty": -1}}, "ridge.penalty: -1 should be greater than 0"),
        ({"model": {"architecture": "structure"}}, "structure does not learn from a table"),
        ({"model": {"penalty": 1}}, "table: unknown setting 'penalty'"),
        ({"kind": "rigde"}, "kind: 'rigde' is not valid; did you mean 'ridge'?"),
        ({"kind": "ridge", "model": {}}, "ridge: unknown setting 'model'; valid: penalty"),
        ({"value": "file"}, "rows cannot be used"),
    ],
)
def test_a_wrong_config_is_one_line(folder: Path, changes: dict[str, Any], said: str) -> None:
    (folder / "wrong.yaml").write_text(yaml.safe_dump({**TRAINING, **changes}))
    with pytest.raises(EngineError, match=re.escape(said)) as caught:
        train(folder / "wrong.yaml", folder / "wrong")
    assert "\n" not in str(caught.value)
    assert not (folder / "wrong").exists()


def test_an_architecture_that_learns_from_tables_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^ridge learns from a table; write kind: table with model"):
        train({"kind": "ridge", "penalty": 1}, tmp_path / "out")


@pytest.mark.parametrize(
    ("replaced", "by", "said"),
    [
        ("class Ridge(Architecture)", "class Ridge", "is a Ridge, not an Architecture"),
        ("Checkpoint(NAME, ", 'Checkpoint("rdige", ', "whose checkpoint is of kind 'rdige'"),
        ("    def to_checkpoint", "    def checkpoint", "whose to_checkpoint() gives no Checkpoint"),
        ("rows.values)", "rows.vales)", "cannot be trained: AttributeError"),
        ("(rows.property, ", "(FOREIGN, ", "cannot be trained: NameError: name 'FOREIGN'"),
    ],
)
def test_an_architecture_that_breaks_its_promise_is_named_with_its_package(
    folder: Path, tmp_path: Path, replaced: str, by: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (folder / "site" / "ridge.py").read_text()
    assert replaced in source
    broken = ModuleType("ridge")
    exec(compile(source.replace(replaced, by), "ridge.py", "exec"), broken.__dict__)
    monkeypatch.setitem(sys.modules, "ridge", broken)
    (tmp_path / "train.yaml").write_text((folder / "train.yaml").read_text())
    for name in ("values.csv", "cells"):
        (tmp_path / name).symlink_to(folder / name)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        train(tmp_path / "train.yaml", tmp_path / "out")
    assert str(caught.value).startswith("architecture 'ridge' of package crystal-kit 1.2 ")
    assert "\n" not in str(caught.value)


def test_weights_whose_architecture_is_not_installed_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "weights", tmp_path / "weights")
    manifest = tmp_path / "weights" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"ridge"', '"lasso"'))
    with pytest.raises(CheckpointError, match="unknown kind 'lasso'"):
        load_surrogate(tmp_path / "weights")


def test_the_program_trains_its_own_by_the_same_door() -> None:
    assert ARCHITECTURES.names(with_extensions=False) == ("composition", "stack", "structure", "table")
    for name in ARCHITECTURES.names(with_extensions=False):
        assert isinstance(ARCHITECTURES.make(name), Architecture)
