from dataclasses import replace

import numpy as np
import pytest

from inverse.benchmarks.verification import scale as verify_scale
from inverse.benchmarks.verification.stored_verdicts import PHASE, UNSTABLE, StoredRow
from inverse.verification.calibration.readings import MAGNETIC_COLLAPSE, Reading
from tests.readings import G, K, read


def planted(n=300, noise=0.04):
    generator = np.random.default_rng(0)
    bulk = np.exp(generator.uniform(np.log(60), np.log(420), n))
    shear = bulk * np.exp(generator.normal(-0.8, 0.25, n))
    rows = []
    for i in range(n):
        truth = np.exp(generator.normal(0, noise, 2))
        row = {
            "id": str(i),
            "formula": f"A{i // 2}",
            "space_group": 1,
            "source": "planted",
            "bulk_modulus_vrh": float(bulk[i] * truth[0]),
            "shear_modulus_vrh": float(shear[i] ** 0.7 * bulk[i] ** 0.25 * truth[1]),
        }
        judges, alone = (read(bulk[i], shear[i], by, "diep") for by in ("7net-l3i5", "diep"))
        rows.append(StoredRow(row, judges=judges, alone={"diep": alone}))
    return rows


@pytest.fixture
def bench(monkeypatch):
    def run(rows):
        monkeypatch.setattr(verify_scale, "calibration_rows", lambda: [row.row for row in rows])
        monkeypatch.setattr(verify_scale, "judged_rows", lambda store, wanted: iter(rows))
        monkeypatch.setattr(verify_scale, "VerificationStore", lambda: None)
        monkeypatch.setattr(verify_scale, "doubtful_labels", lambda: frozenset({"3"}))
        monkeypatch.setattr("inverse.verification.calibration.moduli_fit.N_BOOTSTRAP", 20)
        return verify_scale.run_verify_scale(seed=1)

    return run


def test_good_judges_pass_and_the_record_says_why(bench):
    record = bench(planted())
    for part in record["judges"].values():
        assert all(part["passes"].values()), part["passes"]
        assert part["shuffled_mae"] > 2 * part["kept"]["mae"]["value"]
        low, high = part["kept"]["mae"]["interval_95"]
        assert low <= part["kept"]["mae"]["value"] <= high
        assert part["kept_without_doubtful_labels"]["n"] == part["kept"]["n"] - 1
    assert record["passed"]


def test_rows_that_nobody_judged_yet_are_counted_and_do_not_pass(bench):
    rows = planted()
    rows[7] = StoredRow(rows[7].row, missing=True)
    record = bench(rows)
    assert record["not_in_the_store"] == 1
    assert not record["passed"]


def test_catastrophes_are_named_counted_and_set_aside(bench):
    rows = planted()
    for i in range(5):
        rows[i] = replace(rows[i], judges=replace(rows[i].judges, doubts=(MAGNETIC_COLLAPSE,)))
    lost = rows[9].judges.replaced({G: Reading(float("nan"), "diep")})
    rows[9] = replace(rows[9], catastrophe=PHASE, judges=lost)
    record = bench(rows)
    found = {name: entry["n"] for name, entry in record["catastrophes"].items()}
    assert found == {MAGNETIC_COLLAPSE: 5, PHASE: 1}
    assert record["judges"]["bulk_modulus_vrh"]["set_aside"] == pytest.approx(6 / 300, abs=1e-4)
    assert record["judges"]["shear_modulus_vrh"]["set_aside"] == pytest.approx(1 / 300, abs=1e-4)
    assert record["judges"]["shear_modulus_vrh"]["with_those_set_aside"]["n"] == 300


def test_every_judge_gets_a_calibration_of_its_own():
    fits = list(verify_scale.fitted_calibrations(planted()))
    assert [(fit.property, fit.judges) for _, _, fit in fits] == [
        ("bulk_modulus_vrh", "7net-l3i5"),
        ("shear_modulus_vrh", "diep+7net-l3i5"),
        ("bulk_modulus_vrh", "diep"),
        ("shear_modulus_vrh", "diep"),
    ]


def test_the_appeal_is_measured_where_the_judge_of_g_calls_a_row_unstable(bench):
    rows = planted()
    for i, row in enumerate(rows):
        own = read(row.judges[K].value, row.judges[G].value, "7net-l3i5", "7net-l3i5")
        rows[i] = replace(row, alone={**row.alone, "7net-l3i5": own})
    for i in range(0, 60, 2):
        gone = rows[i].judges.replaced({G: Reading(float("nan"), "diep")})
        heard = rows[i].alone if i < 40 else {"diep": rows[i].alone["diep"]}
        rows[i] = replace(rows[i], catastrophe=UNSTABLE, judges=gone, alone=heard)
    appeal = bench(rows)["appeal"]
    assert (appeal["unstable"], appeal["stable_on_appeal"]) == (30, 20)
    assert appeal["mae"] < 60.0
    assert appeal["coverage_90"] > 0.8
    assert bench(planted())["appeal"] == {"unstable": 0, "stable_on_appeal": 0}
