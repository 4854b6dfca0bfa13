"""The table of `inverse bench surrogates` on made-up held-out predictions whose errors are known."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from inverse.benchmarks import surrogates
from inverse.benchmarks.dft_rows import ScoredRows
from inverse.benchmarks.held_out import HeldOutPredictions, read_held_out
from inverse.benchmarks.intervals import Resampled
from inverse.benchmarks.surrogates import beyond, probability_errors, property_errors, run_surrogates
from inverse.benchmarks.verification import raw_potentials
from inverse.benchmarks.verification.stored_verdicts import StoredRow
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from surrogates.training import held_out
from tests import readings

N, SPREAD = 3000, 0.03


def made_up(spread: float) -> tuple[list[dict[str, object]], Tensor]:
    """Rows as in the shared file, and log10 predictions (N, 2) that are off by `spread`."""
    rng = np.random.default_rng(0)
    log_bulk = rng.uniform(1.5, 2.65, N)
    log_truth = np.stack([log_bulk, log_bulk - 0.2], axis=1)
    species = [["W", "C"], ["W", "C"], ["W", "C", "N"]]
    sources = ["mp_matcalc_binary", "aflow_ael", "mp_matbench_match"]
    rows = [
        {
            "id": f"r{k}",
            "formula": f"X{k // 3}",
            "source": sources[k % 3],
            "species": species[k % 3],
            BULK_MODULUS.name: 10 ** log_truth[k, 0],
            SHEAR_MODULUS.name: 10 ** log_truth[k, 1],
        }
        for k in range(N)
    ]
    return rows, torch.tensor(log_truth + spread * rng.normal(size=(N, 2)), dtype=torch.float32)


ROWS = ScoredRows.from_rows(made_up(SPREAD)[0])


def write(
    folder: Path, name: str, spread: float = SPREAD, weight: Tensor | None = None, **notes: object
) -> Path:
    """Predictions log-normally off by `spread`, with error bars that say so, in the file that is carried."""
    rows, values = made_up(spread)
    normal = torch.special.ndtri((torch.randperm(80, generator=torch.Generator().manual_seed(0)) + 0.5) / 80)
    found = held_out.HeldOut(
        name,
        torch.arange(N),
        values,
        torch.full_like(values, spread),
        torch.zeros(N, dtype=torch.long),
        torch.stack([normal, normal.flip(0)], dim=1).float().unsqueeze(0),
        torch.ones(N) if weight is None else weight,
        notes,
    )
    labels = SimpleNamespace(ids=[row["id"] for row in rows], is_scored=torch.ones(N, dtype=torch.bool))
    return held_out.write_held_out(found, SimpleNamespace(labels=labels), folder)


def read(path: Path) -> HeldOutPredictions:
    held = read_held_out(path, ROWS)
    assert held is not None
    return held


@pytest.fixture(autouse=True)
def dft_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the shared file are those made up."""
    monkeypatch.setattr(surrogates, "rows_of_surrogates", lambda: ROWS)


def test_errors_are_those_that_were_made(tmp_path: Path) -> None:
    held = read(write(tmp_path, "accurate"))
    found = property_errors(held, BULK_MODULUS)
    assert found["n"] == N
    assert found["log10_mae"]["value"] == pytest.approx(SPREAD * (2 / np.pi) ** 0.5, rel=0.1)
    low, high = found["log10_mae"]["interval"]
    assert low < found["log10_mae"]["value"] < high
    assert found["coverage_90"]["value"] == pytest.approx(0.9, abs=0.03)
    assert found["by_group"]["mp_binaries"]["n"] == found["by_group"]["mp_beyond"]["n"] == N // 3
    assert 0.8 < found["recall"]["value"] < 1.0


def test_probabilities_that_are_true_are_called_calibrated(tmp_path: Path) -> None:
    held = read(write(tmp_path, "accurate", 0.05))
    found = probability_errors(held, "K 150-200")
    assert found["calibration_error"] < 0.06
    assert found["brier"] < found["brier_of_the_base_rate"]
    assert found["expected"] == pytest.approx(found["n_met"], rel=0.2)


def test_weights_count_in_precision(tmp_path: Path) -> None:
    plain = read(write(tmp_path, "plain"))
    truth = plain.truth[BULK_MODULUS]
    weight = torch.tensor(np.where(truth > 300, 1.0, 5.0))
    weighted = read(write(tmp_path, "weighted", weight=weight))
    first, second = beyond(plain), beyond(weighted)
    assert second["recall"] == first["recall"]
    assert second["precision"]["value"] < first["precision"]["value"]


def test_what_is_missing_is_said_and_not_passed(tmp_path: Path) -> None:
    write(tmp_path, "accurate", weights=surrogates.checkpoint_digest("accurate"))
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
        write(tmp_path, name, 0.01, weights=surrogates.checkpoint_digest(tier) if tier else "")
    found = run_surrogates(4, folder=tmp_path)
    assert found["missing"] == []
    models = [row["model"] for row in found["table"]]
    assert models == list(surrogates.MODELS), "one table of all models"
    assert (
        found["table"][0]["log10 K"] == found["models"]["accurate"][BULK_MODULUS.name]["log10_mae"]["value"]
    )
    assert [row["neighbours"] for row in found["table"]] == ["included", "included", "", "", "", ""]
    failed = [name for name, good in found["passes"].items() if not good]
    assert failed == []
    assert found["passed"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fast.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(DataError, match=r"fast\.parquet: cannot be read"):
        read_held_out(path, ROWS)
    assert read_held_out(tmp_path / "absent.parquet", ROWS) is None


def test_predictions_of_other_rows_are_none_of_these(tmp_path: Path) -> None:
    path = write(tmp_path, "fast")
    assert read_held_out(path, ScoredRows.from_rows(made_up(SPREAD)[0][1:])) is None


def test_a_file_says_what_was_predicted(tmp_path: Path) -> None:
    _, values = made_up(SPREAD)
    held = read(write(tmp_path, "accurate"))
    for t, prop in enumerate((BULK_MODULUS, SHEAR_MODULUS)):
        said = held.predictions[prop]
        assert torch.allclose(said.mean.log10(), values[:, t], atol=1e-4)
        assert torch.allclose((said.upper / said.lower).log10() / 2, torch.tensor(1.645 * SPREAD), atol=2e-4)
        assert torch.allclose(said.samples.log10().std(dim=0), torch.tensor(SPREAD), rtol=0.05)


def test_without_the_shared_rows_nothing_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise DataError("elasticity.jsonl.gz is missing")

    monkeypatch.setattr(surrogates, "rows_of_surrogates", absent)
    found = run_surrogates(4, folder=tmp_path)
    assert "is missing" in found["skipped"]
    assert found["passed"] is False, "nothing was measured"
    assert found["packaged"]["fast"]


def test_formulas_are_resampled_with_all_their_rows() -> None:
    values, formulas = np.array([0.0] * 50 + [1.0] * 50), np.array(["a"] * 50 + ["b"] * 50)
    found = Resampled(formulas).mean(values, np.ones(100, dtype=bool))
    assert found == {"value": 0.5, "interval": [0.0, 1.0]}
    assert Resampled(formulas).mean(values, np.zeros(100, dtype=bool))["value"] is None


def test_potentials_and_tiers_are_compared_on_the_rows_of_both(tmp_path: Path, monkeypatch) -> None:
    held = read(write(tmp_path, "accurate"))
    truth = held.truth[BULK_MODULUS]
    rows = [{"id": f"r{k}", "formula": f"X{k}", BULK_MODULUS.name: truth[k]} for k in range(40)]
    rows += [{"id": "elsewhere", "formula": "Y", BULK_MODULUS.name: 100.0}]
    said = {row["id"]: readings.read(row[BULK_MODULUS.name] * 1.1, math.nan) for row in rows}
    said["r3"] = None
    monkeypatch.setattr(raw_potentials, "calibration_rows", lambda: rows)
    monkeypatch.setattr(raw_potentials, "carried_row", lambda row: StoredRow(row, judges=said[row["id"]]))
    found = raw_potentials.against_potentials({"accurate": held}, surrogates.THRESHOLD)
    bulk = found[BULK_MODULUS.name]
    assert (found["n"], bulk["n"], bulk["failed"]) == (41, 39, 1)
    assert bulk["potential"]["log10_mae"]["value"] == pytest.approx(np.log10(1.1), abs=1e-4)
    assert 0.5 * SPREAD < bulk["accurate"]["log10_mae"]["value"] < SPREAD
    assert found[SHEAR_MODULUS.name] == {"n": 0, "failed": 41}
