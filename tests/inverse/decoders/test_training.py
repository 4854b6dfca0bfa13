"""`inverse train` of the decoder on a handful of formulas and crystals: same seed and steps, same weights."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from inverse.decoders import training
from inverse.decoders.training_data import TABLES
from inverse.decoders.training_structures import FILES
from inverse.decoders.weights_io import load_networks
from inverse.prediction.training import train
from surrogates.errors import ConfigError, DataError

METALS, OTHERS = ("Ti", "V", "Cr", "Nb", "Mo", "Hf", "Ta", "W"), ("C", "N", "O", "B", "Si")
RECIPE: dict[str, Any] = {"kind": "decoder", "compositions": {"steps": 2}, "structures": {"steps": 2}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables and structures of binaries; LightGBM, which would fill their moduli, is not asked for."""
    folder = tmp_path / "data"
    for part in ("tables", "structures"):
        (folder / part).mkdir(parents=True)
    formulas = [f"{m}{n}{o}" for m in METALS for o in OTHERS for n in ("", "2", "3")]
    for table, columns in TABLES.items():
        values = {column: np.linspace(3.0, 5.0, len(formulas)) for column in columns}
        pq.write_table(
            pa.table({"reduced_formula": formulas, **values}), folder / "tables" / f"{table}.parquet"
        )
    rows = [
        {
            "formula": f"{m}{o}",
            "source": "made",
            "lattice": (np.eye(3) * (4.0 + 0.01 * k)).tolist(),
            "species": [m, o],
            "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
            "bulk_modulus_vrh": 200.0,
        }
        for k, (m, o) in enumerate((m, o) for m in METALS for o in OTHERS)
    ]
    for k, name in enumerate(FILES):
        with gzip.open(folder / "structures" / f"{name}.jsonl.gz", "wt") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows[k::3])
    monkeypatch.setenv("INVERSE_DATA", str(folder))
    monkeypatch.setattr(training, "_lightgbm", lambda: None)
    monkeypatch.setattr(training, "filled_moduli", lambda table, work: np.nan_to_num(table.values, nan=90.0))
    monkeypatch.setattr(training, "is_held_out", lambda names: np.arange(len(names)) % 9 == 0)
    monkeypatch.setattr(training, "COMPOSITIONS", 16)
    monkeypatch.setattr(training, "STRUCTURES", 12)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "default.safetensors"))


def test_equal_seeds_and_steps_give_equal_weights(data: Path, tmp_path: Path) -> None:
    report = train(RECIPE, tmp_path / "first")
    assert report["held_out"]["compositions"]["steps"] == 2
    assert np.isfinite(report["held_out"]["structures"]["held_out_discrete"])
    train(RECIPE, tmp_path / "second")
    first, second = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    train({**RECIPE, "compositions": {"steps": 2, "seed": 1}}, tmp_path / "third")
    third = weights(tmp_path / "third")
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], third[name])}
    assert changed == {"compositions"}
    compositions, _, order = load_networks(folder=tmp_path / "first")
    assert not any(p.requires_grad for p in compositions.parameters())
    assert sorted(order.tolist()) == list(range(len(order)))


def test_a_finished_network_is_not_trained_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    train(RECIPE, whole)
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "train_structures", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt("killed"))
        )
        with pytest.raises(KeyboardInterrupt, match="killed"):
            train(RECIPE, tmp_path / "killed")
    monkeypatch.setattr(training, "train_compositions", lambda *_: pytest.fail("it was finished"))
    train(RECIPE, tmp_path / "killed")
    first, second = weights(whole), weights(tmp_path / "killed")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_absent_data_are_named_before_any_work(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"nowhere has no tables/; set INVERSE_DATA"):
        train(RECIPE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"compositions": {"steps": 0}}, "compositions.steps"),
        ({"structures": {"step": 3}}, "did you mean 'steps'"),
        ({"data": "elsewhere"}, "set INVERSE_DATA"),
    ],
)
def test_settings_that_do_not_fit_are_named(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        train({**RECIPE, **changed}, tmp_path / "out")
