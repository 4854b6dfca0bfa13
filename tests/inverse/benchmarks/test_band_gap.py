"""`inverse bench band-gap` on made-up predictions whose errors are known, and the packaged weights."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from inverse.benchmarks import band_gap
from inverse.benchmarks.band_gap import run_band_gap, textbook
from inverse.benchmarks.dft_rows import ScoredRows
from surrogates.errors import DataError
from surrogates.physics.properties import BAND_GAP

TRUTH = np.array([0.0, 0.0, 1.0, 2.0, 3.0])
ROWS = ScoredRows(
    "digest", np.arange(5), np.array(list("abcde")), np.array(["mp20"] * 5), np.full(5, 2), {BAND_GAP: TRUTH}
)


def written(path: Path, **about: object) -> Path:
    """Rows 1 to 4: one metal told to have a gap, one insulator outside its interval, boosting off by 1."""
    said = {"value": [0.4, 1.0, 1.5, 3.0], "lower": [0.2, 0.5, 1.2, 2.0], "upper": [0.9, 1.5, 1.9, 4.0]}
    columns = {name: np.round(np.array(v) / band_gap.STEP).astype(np.int32) for name, v in said.items()}
    columns["boosting"] = np.array([1000, 2000, 3000, 4000], dtype=np.int32)
    columns["row"] = np.array([1, 2, 3, 4], dtype=np.int32)
    about = {"rows": "digest", "weights": "own", "constant": 0.0, **about}
    pq.write_table(pa.table(columns).replace_schema_metadata({"about": json.dumps(about)}), path)
    return path


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_gap, "rows_of_target", lambda target: ROWS)
    monkeypatch.setattr(band_gap, "weights_digest", lambda name: "own")


def test_errors_are_those_of_the_rows_left_out(tmp_path: Path) -> None:
    result = run_band_gap(50, file=written(tmp_path / "f.parquet"))
    own, boosting, constant = result["models"]
    assert [m["model"] for m in result["models"]] == ["surrogate", "boosting", "constant"]
    assert own["mae"]["value"] == pytest.approx((0.4 + 0.0 + 0.5 + 0.0) / 4)
    assert own["mae_insulators"]["value"] == pytest.approx(0.5 / 3, abs=1e-4)
    assert (own["metals_right"]["value"], own["insulators_right"]["value"]) == (0.0, 1.0)
    assert own["coverage_90"]["value"] == 0.5
    # widths 0.7, 1, 0.7 and 2; the metal lies 0.2 outside, the gap of 2 lies 0.1 outside: 20 for each eV
    assert own["interval_score"]["value"] == pytest.approx((4.4 + 20 * 0.3) / 4, abs=1e-3)
    assert own["width_insulators"]["value"] == pytest.approx(3.7 / 3, abs=1e-3)
    assert own["interval_score_insulators"]["value"] == pytest.approx((3.7 + 2.0) / 3, abs=1e-3)
    assert own["coverage_90_insulators"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert boosting["mae"]["value"] == pytest.approx(1.0)
    assert constant["mae"]["value"] == pytest.approx(1.5)
    assert not result["passed"]
    assert result["passes"]["better"]


@pytest.mark.parametrize("other", [{"rows": "others"}, {"weights": "others"}])
def test_predictions_of_other_rows_or_weights_are_not_shown(tmp_path: Path, other: dict[str, str]) -> None:
    result = run_band_gap(50, file=written(tmp_path / "f.parquet", **other))
    assert "of other rows or weights" in result["skipped"]
    assert "models" not in result
    assert not result["passed"]


def test_without_the_shared_rows_the_weights_tell_their_own_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(target: object) -> ScoredRows:
        raise DataError("structures are missing")

    monkeypatch.setattr(band_gap, "rows_of_target", absent)
    result = run_band_gap(50)
    assert result["skipped"] == "structures are missing"
    assert result["packaged"]["band_gap"]["mae"] < band_gap.LARGEST_MAE
    assert result["packaged"]["target"]["property"] == "band_gap"


def test_textbook_crystals_are_what_they_are_called_and_lie_in_their_intervals() -> None:
    for case in textbook():
        assert case.structure.composition.reduced_formula == case.name.split(",")[0]
        assert case.structure.is_valid()
    told = {case["crystal"]: case for case in band_gap.said_of_textbook()}
    assert all(case["inside"] for case in told.values()), told
    assert told["C, diamond"]["predicted"] > 1.5
    assert told["W"]["predicted"] <= band_gap.METAL
    assert told["Cu"]["predicted"] <= band_gap.METAL
    assert min(told[name]["predicted"] for name in ("MgO", "NaCl", "Al2O3", "AlN", "BN, cubic")) > 2.5
