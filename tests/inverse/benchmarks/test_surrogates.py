"""The table of `inverse bench surrogates` on made-up held-out predictions whose errors are known."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inverse.benchmarks import raw_potentials, surrogates
from inverse.benchmarks.held_out import read_held_out
from inverse.benchmarks.intervals import Resampled
from inverse.benchmarks.stored_verdicts import StoredRow
from inverse.benchmarks.surrogates import beyond, probability_errors, property_errors, run_surrogates
from inverse.verification.readings import Readings
from surrogates.errors import DataError
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS

N, SPREAD = 900, 0.03


def write(folder: Path, name: str, spread: float = SPREAD, **notes: object) -> Path:
    """Predictions log-normally off by `spread`, with error bars that say so."""
    rng = np.random.default_rng(0)
    log_bulk = rng.uniform(1.5, 2.65, N)
    tensors = {}
    for prop, log_truth in ((BULK_MODULUS, log_bulk), (SHEAR_MODULUS, log_bulk - 0.2)):
        log_mean = log_truth + spread * rng.normal(size=N)
        draws = log_mean + spread * rng.normal(size=(80, N))
        values = {
            "mean": 10**log_mean,
            "std": 10**log_mean * np.log(10) * spread,
            "lower": 10 ** (log_mean - 1.645 * spread),
            "upper": 10 ** (log_mean + 1.645 * spread),
            "samples": 10**draws,
            "truth": 10**log_truth,
        }
        tensors |= {f"{prop.name}.{k}": torch.tensor(v, dtype=torch.float32) for k, v in values.items()}
    about = {
        "name": name,
        "ids": [f"r{k}" for k in range(N)],
        "formulas": [f"X{k // 3}" for k in range(N)],
        "sources": ["mp_matcalc_binary", "aflow_ael", "mp_matbench_match"] * (N // 3),
        "n_elements": [2, 2, 3] * (N // 3),
        "notes": notes,
    }
    path = folder / f"{name}.safetensors"
    save_file(tensors, str(path), metadata={"about": json.dumps(about)})
    return path


def test_errors_are_those_that_were_made(tmp_path: Path) -> None:
    held = read_held_out(write(tmp_path, "accurate"))
    assert held is not None
    found = property_errors(held, BULK_MODULUS)
    assert found["n"] == N
    assert found["log10_mae"]["value"] == pytest.approx(SPREAD * (2 / np.pi) ** 0.5, rel=0.1)
    low, high = found["log10_mae"]["interval"]
    assert low < found["log10_mae"]["value"] < high
    assert found["coverage_90"]["value"] == pytest.approx(0.9, abs=0.03)
    assert found["by_group"]["mp_binaries"]["n"] == found["by_group"]["mp_beyond"]["n"] == N // 3
    assert 0.8 < found["recall"]["value"] < 1.0


def test_probabilities_that_are_true_are_called_calibrated(tmp_path: Path) -> None:
    held = read_held_out(write(tmp_path, "accurate", 0.05))
    assert held is not None
    found = probability_errors(held, "K 150-200")
    assert found["calibration_error"] < 0.06
    assert found["brier"] < found["brier_of_the_base_rate"]
    assert found["expected"] == pytest.approx(found["n_met"], rel=0.2)


def test_weights_count_in_precision(tmp_path: Path) -> None:
    plain = read_held_out(write(tmp_path, "plain"))
    truth = plain.truth[BULK_MODULUS]
    weighted = read_held_out(write(tmp_path, "weighted", weight=np.where(truth > 300, 1.0, 5.0).tolist()))
    first, second = beyond(plain), beyond(weighted)
    assert second["recall"] == first["recall"]
    assert second["precision"]["value"] < first["precision"]["value"]


def test_what_is_missing_is_said_and_not_passed(tmp_path: Path) -> None:
    write(tmp_path, "accurate", weights=surrogates.weights_digest("accurate"))
    write(tmp_path, "fast", weights="of another fit")
    found = run_surrogates(4, folder=tmp_path)
    assert "fast" in found["missing"], "predictions of other weights are no predictions of these"
    assert "accurate" not in found["missing"]
    assert "compare" in found["how"]
    assert not found["passed"]
    assert found["passes"]["bulk_modulus_vrh.log10_mae"]
    json.dumps(found)


def test_everything_there_and_good_passes(tmp_path: Path) -> None:
    for name in surrogates.all_names():
        tier = surrogates.TIERS.get(name)
        write(tmp_path, name, 0.01, weights=surrogates.weights_digest(tier) if tier else "")
    found = run_surrogates(4, folder=tmp_path)
    assert found["missing"] == []
    failed = [name for name, good in found["passes"].items() if not good]
    assert failed == []
    assert found["passed"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fast.safetensors"
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"fast\.safetensors"):
        read_held_out(path)
    assert read_held_out(tmp_path / "absent.safetensors") is None


def test_formulas_are_resampled_with_all_their_rows() -> None:
    values, formulas = np.array([0.0] * 50 + [1.0] * 50), np.array(["a"] * 50 + ["b"] * 50)
    found = Resampled(formulas).mean(values, np.ones(100, dtype=bool))
    assert found == {"value": 0.5, "interval": [0.0, 1.0]}
    assert Resampled(formulas).mean(values, np.zeros(100, dtype=bool))["value"] is None


def test_potentials_and_tiers_are_compared_on_the_rows_of_both(tmp_path: Path, monkeypatch) -> None:
    held = read_held_out(write(tmp_path, "accurate"))
    truth = held.truth[BULK_MODULUS]
    rows = [{"id": f"r{k}", "formula": f"X{k}", BULK_MODULUS.name: truth[k]} for k in range(40)]
    rows += [{"id": "elsewhere", "formula": "Y", BULK_MODULUS.name: 100.0}]
    read = {row["id"]: Readings(row[BULK_MODULUS.name] * 1.1, math.nan) for row in rows}
    read["r3"] = None
    monkeypatch.setattr(raw_potentials, "calibration_rows", lambda: rows)
    monkeypatch.setattr(raw_potentials, "carried_row", lambda row: StoredRow(row, judges=read[row["id"]]))
    found = raw_potentials.against_potentials({"accurate": held}, surrogates.THRESHOLD)
    bulk = found[BULK_MODULUS.name]
    assert (found["n"], bulk["n"], bulk["failed"]) == (41, 39, 1)
    assert bulk["potential"]["log10_mae"]["value"] == pytest.approx(np.log10(1.1), abs=1e-4)
    assert 0.5 * SPREAD < bulk["accurate"]["log10_mae"]["value"] < SPREAD
    assert found[SHEAR_MODULUS.name] == {"n": 0, "failed": 41}
