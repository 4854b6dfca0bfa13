"""`inverse train`: tables that users bring, and configs that are wrong."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from inverse.inputs.user_table import structures_by_name
from inverse.prediction.training import train
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError, DataError, EngineError, RunFolderError
from surrogates.protocol import CompositionBatch, CompositionSurrogate, Surrogate


def steels(path: Path, n: int = 60, bad: int = 0) -> Path:
    """Write a steel-like table: strength grows with carbon and nickel, with some noise."""
    draw = np.random.default_rng(3)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["formula", "strength (MPa)", "note"])
        for _ in range(n):
            c, ni, cr = draw.uniform(0.001, 0.02), draw.uniform(0, 0.2), draw.uniform(0, 0.15)
            strength = 300 + 40_000 * c + 2_000 * ni + 500 * cr + draw.normal(0, 20)
            writer.writerow([f"Fe{1 - c - ni - cr:.5f}C{c:.5f}Ni{ni:.5f}Cr{cr:.5f}", f"{strength:.1f}", ""])
        for k in range(bad):
            writer.writerow([["Xx2O", "FeC", ""][k % 3], ["100", "soft", "3"][k % 3], ""])
    return path


def config(path: Path, **changes: object) -> dict:
    return {"kind": "table", "data": str(path), "value": "strength (MPa)", "unit": "MPa", **changes}


def test_a_users_table_becomes_a_surrogate(tmp_path: Path) -> None:
    data = steels(tmp_path / "steels.csv", bad=3)
    report = train(config(data, property="strength"), tmp_path / "out")
    errors = report["held_out"]
    assert errors["n"] == 60
    assert errors["mae"] < 0.35 * errors["mae_constant"]
    assert 0.8 <= errors["coverage_90"] <= 1
    assert [s.split(":")[0] for s in report["skipped"]] == ["line 62", "line 63", "line 64"]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report
    surrogate = load_surrogate(report["weights"])
    assert isinstance(surrogate, CompositionSurrogate)
    (prop,) = surrogate.properties
    assert (prop.name, prop.unit) == ("strength", "MPa")
    batch = CompositionBatch.from_formulas(["Fe0.9C0.02Ni0.08", "Fe0.997C0.003"])
    strong, weak = surrogate.predict(batch, [prop])[prop].mean.tolist()
    assert strong > weak + 300


def rock_salt(a: float, first: str, second: str) -> Structure:
    lattice = Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])
    return Structure(lattice, [first, second], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_a_folder_of_structures_becomes_a_structure_surrogate(tmp_path: Path) -> None:
    """The value is 1000 / volume per atom: no composition model could know it from the formula."""
    folder = tmp_path / "cifs"
    folder.mkdir()
    draw = np.random.default_rng(1)
    lines = ["file;value"]
    for k, (a, b) in enumerate(
        (x, y) for x in ("Ti", "V", "Cr", "W", "Al", "Mo", "Nb") for y in ("C", "N", "O")
    ):
        for twin in range(2):
            structure = rock_salt(draw.uniform(3.8, 5.2), a, b)
            (folder / f"s{k}_{twin}.cif").write_text(str(CifWriter(structure)))
            lines.append(f"s{k}_{twin};{1000 * len(structure) / structure.volume:.3f}")
    lines.append("s99;5")
    (tmp_path / "values.csv").write_text("\n".join(lines))
    report = train(
        {"kind": "table", "data": str(tmp_path / "values.csv"), "structures": str(folder), "value": "value"},
        tmp_path / "out",
    )
    assert report["level"] == "structure"
    assert report["held_out"]["mae"] < 0.3 * report["held_out"]["mae_constant"]
    assert report["skipped"] == ["line 44: no structure called 's99'; did you mean 's9_1'?"]
    surrogate = load_surrogate(report["weights"])
    assert isinstance(surrogate, Surrogate)
    structures = [rock_salt(a, "Ti", "C") for a in (4.0, 4.3, 5.0)]
    crystals = CrystalBatch.from_structures([*structures, structures[0] * (2, 1, 1)])
    mean = surrogate.predict(crystals, surrogate.properties)[surrogate.properties[0]].mean
    truth = [8000 / 4.0**3, 8000 / 4.3**3, 8000 / 5.0**3]
    assert mean[:3].tolist() == pytest.approx(truth, rel=0.15)
    assert float(mean[3]) == pytest.approx(float(mean[0]), rel=1e-3)


def test_a_name_that_two_files_answer_to_is_no_structure(tmp_path: Path) -> None:
    structure = rock_salt(4.3, "Ti", "C")
    CifWriter(structure).write_file(tmp_path / "a.cif")
    structure.to(str(tmp_path / "a.vasp"), fmt="poscar")
    found = structures_by_name(tmp_path)
    assert isinstance(found["a.cif"], Structure)
    assert isinstance(found["a.vasp"], Structure)
    assert isinstance(found["a"], DataError)


def test_logarithms_are_chosen_by_the_span_of_the_values(tmp_path: Path) -> None:
    lines = ["formula,rate"]
    lines += [f"Fe{100 - k}C{k},{math.exp(k / 8):.6g}" for k in range(1, 40)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    base = {"kind": "table", "data": str(tmp_path / "t.csv"), "value": "rate"}
    assert train(base, tmp_path / "a")["log"] is True
    assert train({**base, "log": False}, tmp_path / "b")["log"] is False


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kind": "tabel"}, ConfigError, "did you mean 'table'"),
        ({"valu": 1}, ConfigError, "did you mean 'value'"),
        ({"folds": 1}, ConfigError, "folds"),
        ({"value": "strength"}, ConfigError, r"did you mean 'strength \(MPa\)'"),
        ({"data": "nowhere.csv"}, DataError, "nowhere.csv: no such file"),
        ({"property": "bulk_modulus_vrh"}, ConfigError, "GPa"),
        ({"structures": "nowhere"}, DataError, "nowhere: no such file or folder"),
        ({"log": True, "value": "signed"}, DataError, "logarithms"),
        ({"value": "same"}, DataError, "nothing to learn"),
        ({"value": "signed", "property": "bulk_modulus_vrh", "unit": ""}, ConfigError, "-8 is outside 0"),
        ({"value": "%"}, ConfigError, "'%' is no name for a property; set property: to one"),
    ],
)
def test_wrong_configs_are_one_clear_line(
    tmp_path: Path, changes: dict, error: type[EngineError], message: str
) -> None:
    data = steels(tmp_path / "steels.csv", 30)
    rows = data.read_text().splitlines()
    extra = [f"{r},{'signed,same,file,%' if k == 0 else f'{k - 9},1,x,1'}" for k, r in enumerate(rows)]
    data.write_text("\n".join(extra))
    with pytest.raises(error, match=message) as caught:
        train(config(data) | changes, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_existing_weights_are_left_alone(tmp_path: Path) -> None:
    data = steels(tmp_path / "steels.csv", 30)
    train(config(data), tmp_path / "out")
    before = (tmp_path / "out" / "weights.safetensors").read_bytes()
    with pytest.raises(RunFolderError, match="holds weights already"):
        train(config(data), tmp_path / "out")
    assert (tmp_path / "out" / "weights.safetensors").read_bytes() == before


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 20 rows"):
        train(config(steels(tmp_path / "s.csv", 12)), tmp_path / "out")
    with pytest.raises(DataError, match="rows cannot be used, the first in line"):
        train(config(steels(tmp_path / "s.csv", 5, bad=9)), tmp_path / "out")


def test_composition_kind_needs_the_tables(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("kind: composition\nmembers: 1\nsteps: 2\ndata: nothing\n")
    with pytest.raises(DataError, match="no tables/"):
        train(tmp_path / "c.yaml", tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"), [({"n_fold": 2}, "did you mean 'n_folds'"), ({"fit": {"epoch": 1}}, "epoch")]
)
def test_structure_kind_checks_its_settings(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train({"kind": "structure", **settings}, tmp_path / "out")
