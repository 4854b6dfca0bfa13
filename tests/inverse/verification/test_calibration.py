import math
from dataclasses import replace

import numpy as np
import pytest

from inverse.potentials.loading import potential_version
from inverse.verification.calibration import moduli as calibration
from inverse.verification.calibration.moduli import (
    ModulusCalibration,
    calibrated,
    load_calibrations,
    other_versions,
    write_calibrations,
)
from inverse.verification.calibration.moduli_fit import (
    Z90,
    FitPlan,
    Pair,
    fit_modulus_calibration,
    folds,
    measures,
    out_of_fold,
    shuffled,
    with_intervals,
)
from inverse.verification.calibration.moduli_fit import _spread as spread
from inverse.verification.calibration.readings import MAGNETIC_COLLAPSE
from inverse.verification.judge import JudgeSettings
from surrogates.errors import DataError, VerificationError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from tests.readings import G, K, read

BULK = FitPlan(BULK_MODULUS, "x", (BULK_MODULUS,), is_doubted=True)
SHEAR = FitPlan(SHEAR_MODULUS, "y+x", (SHEAR_MODULUS, BULK_MODULUS), ("boride",))


def planted(n=120, noise=0.05, n_wild=4, n_doubted=0):
    generator = np.random.default_rng(0)
    bulk = np.exp(generator.uniform(np.log(20), np.log(450), n))
    shear = bulk * np.exp(generator.normal(-0.7, 0.3, n))
    scatter = np.exp(generator.normal(0, noise, n))
    scatter[:n_wild] *= 3.0
    scatter[n - n_doubted :] *= 1.5
    pairs = []
    for i in range(n):
        anion = "boride" if i % 3 == 0 else "none"
        doubts = (MAGNETIC_COLLAPSE,) if i >= n - n_doubted else ()
        found = read(bulk[i], shear[i], "x", "y", anion=anion, doubts=doubts)
        pairs.append(Pair(f"A{i // 2}", found, float(np.exp(0.2) * bulk[i] ** 0.98 * scatter[i])))
    return pairs


def with_shear_truth(pairs, noise=0.05):
    generator = np.random.default_rng(1)
    return [
        replace(
            p,
            truth=p.readings[G].value ** 0.6
            * p.readings[K].value ** 0.35
            * math.exp(0.15 * (p.readings.anion == "boride") + generator.normal(0, noise)),
        )
        for p in pairs
    ]


def test_a_planted_line_is_found_in_spite_of_wild_rows():
    fit = fit_modulus_calibration(BULK, "abc", planted())
    assert fit.on_dft_scale(read(200.0)) == pytest.approx(math.exp(0.2 + 0.98 * math.log(200)), rel=0.03)
    assert 0.03 < fit.log_std < 0.5


def test_two_readings_and_an_offset_are_found():
    fit = fit_modulus_calibration(SHEAR, "abc", with_shear_truth(planted(400)))
    assert fit.slopes[G] == pytest.approx(0.6, abs=0.05)
    assert fit.slopes[K] == pytest.approx(0.35, abs=0.05)
    assert 0.1 < fit.offsets["boride"] < 0.16


def test_out_of_fold_intervals_hold_what_they_promise():
    pairs = planted(300, n_wild=0)
    mean, log_std = out_of_fold(BULK, "abc", pairs)
    found = measures(np.array([p.truth for p in pairs]), mean, log_std, 300.0)
    assert 0.85 < found["coverage_90"] < 0.95
    assert found["recall"] > 0.7
    assert found["precision"] > 0.7


def test_a_formula_is_never_in_two_folds():
    fold = folds(["TiC", "TiN", "TiC", "VC"] * 5)
    assert (
        len({f for f, name in zip(fold, ["TiC", "TiN", "TiC", "VC"] * 5, strict=True) if name == "TiC"}) == 1
    )


def test_shuffled_readings_know_nothing():
    pairs = with_shear_truth(planted(300))
    truth = np.array([p.truth for p in pairs])
    error = np.abs(out_of_fold(SHEAR, "abc", pairs)[0] - truth).mean()
    dealt = np.abs(out_of_fold(SHEAR, "abc", shuffled(pairs), free=True)[0] - truth).mean()
    assert dealt > 2 * error


def test_doubted_rows_do_not_enter_the_fit_but_set_their_own_error():
    plain, doubted = (
        fit_modulus_calibration(BULK, "abc", planted()),
        fit_modulus_calibration(BULK, "abc", planted(n_doubted=30)),
    )
    assert doubted.slopes[K] == pytest.approx(plain.slopes[K], abs=0.03)
    assert plain.doubted == 1.0
    assert doubted.doubted > 2.0
    doubtful = read(200.0, doubts=(MAGNETIC_COLLAPSE,))
    assert doubted.log_std_at(200.0, doubtful) > 2 * doubted.log_std_at(200.0, read(200.0))


def test_a_reading_that_is_missing_gives_no_value():
    fit = fit_modulus_calibration(SHEAR, "abc", with_shear_truth(planted()))
    assert math.isnan(fit.on_dft_scale(read(bulk=200.0)))


def test_a_slope_below_zero_is_refused():
    upside_down = [replace(p, truth=1e4 / p.truth) for p in planted()]
    with pytest.raises(DataError, match="one below 0"):
        fit_modulus_calibration(BULK, "abc", upside_down)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="9 usable pairs"):
        fit_modulus_calibration(BULK, "abc", planted()[:9])


def test_the_error_goes_over_from_soft_to_stiff():
    fit = ModulusCalibration("bulk_modulus_vrh", "x", "abc", 0.0, {K: 1.0}, 0.3, 0.1, 200.0, 50)
    assert [fit.log_std_at(m) for m in (20.0, 200.0, 400.0)] == pytest.approx([0.3, 0.2, 0.1])


def test_intervals_come_from_resampling_formulas():
    values = np.array([1.0, 1.0, 3.0, 3.0])
    found = with_intervals(["A", "A", "B", "B"], lambda i: {"mean": float(values[i].mean())})
    assert found["mean"] == {"value": 2.0, "interval_95": [1.0, 3.0]}


def test_the_file_reads_back(tmp_path):
    fit = fit_modulus_calibration(BULK, "abc", planted())
    path = tmp_path / "moduli.json"
    write_calibrations([fit], path)
    assert load_calibrations(path) == {("bulk_modulus_vrh", "x"): fit}
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"calibrations broken\.json cannot be read"):
        load_calibrations(tmp_path / "broken.json")


@pytest.fixture
def known(monkeypatch):
    def place(*fits):
        found = {(fit.property, fit.judges): fit for fit in fits}
        monkeypatch.setattr(calibration, "load_calibrations", lambda: found)

    return place


def test_other_settings_are_refused(known):
    known(ModulusCalibration("bulk_modulus_vrh", "x", "abc", 0.0, {K: 1.0}, 0.1, 0.1, 200.0, 50))
    with pytest.raises(VerificationError, match="calibrated at the settings abc, not at abd"):
        calibrated(BULK_MODULUS, read(100.0, bulk_by="x"), "abd")
    value, was_known = calibrated(BULK_MODULUS, read(100.0, bulk_by="x"), "abc")
    assert was_known
    assert (value.mean, value.std, value.raw, value.potential) == (100.0, 10.0, 100.0, "x")
    assert value.lower < 100 < value.upper


def test_both_judges_together_come_before_one_alone(known):
    alone = ModulusCalibration("shear_modulus_vrh", "y", "abc", 0.0, {G: 1.0}, 0.2, 0.2, 80.0, 50)
    together = ModulusCalibration(
        "shear_modulus_vrh", "y+x", "abc", 0.0, {G: 0.5, K: 0.5}, 0.1, 0.1, 80.0, 50
    )
    known(alone, together)
    both = read(400.0, 100.0, "x", "y")
    assert calibrated(SHEAR_MODULUS, both, "abc")[0].mean == pytest.approx(200.0)
    without_bulk = read(shear=100.0, bulk_by="x", shear_by="y")
    assert calibrated(SHEAR_MODULUS, without_bulk, "abc")[0].mean == pytest.approx(100.0)


def test_the_difference_between_amplitudes_adds_to_the_error(known):
    known(ModulusCalibration("bulk_modulus_vrh", "x", "abc", 0.0, {K: 1.0}, 0.03, 0.03, 200.0, 50))
    found = read(100.0, bulk_by="x", bulk_change=4.0)
    assert calibrated(BULK_MODULUS, found, "abc")[0].std == pytest.approx(5.0)


def test_a_potential_nobody_compared_keeps_its_value_with_a_wide_error():
    value, was_known = calibrated(BULK_MODULUS, read(100.0, bulk_by="somebody:else"), "abc")
    assert not was_known
    assert (value.mean, value.std, value.potential) == (100.0, 25.0, "somebody:else")


def test_the_packaged_calibrations_are_of_the_settings_of_record_and_monotone():
    assert ("bulk_modulus_vrh", "7net-l3i5") in load_calibrations()
    for fit in load_calibrations().values():
        assert fit.settings == JudgeSettings().method
        assert min(fit.slopes.values()) >= 0
        assert 0.6 <= sum(fit.slopes.values()) <= 1.4


def test_a_potential_in_another_version_than_its_calibration_is_named():
    (fit,) = [f for key, f in load_calibrations().items() if key == ("bulk_modulus_vrh", "diep")]
    now = replace(fit, versions={"diep": potential_version("diep")})
    assert other_versions(now) == {}
    before = replace(fit, versions={"diep": "diep 0.0.1"})
    assert other_versions(before) == {"diep": potential_version("diep")}


def test_the_spread_is_the_smallest_that_holds_ninety_percent() -> None:
    """Nine of ten residuals, beside what each crystal's own change of strain explains; all rows where few."""
    residual, change = np.arange(1, 11) / 100, np.zeros(10)
    everywhere, few = np.ones(10, dtype=bool), np.arange(10) < 5
    assert spread(residual, change, everywhere) == pytest.approx(0.09 / Z90, abs=1e-6)
    assert spread(residual, change, few) == spread(residual, change, everywhere)
    found = spread(residual, np.full(10, 0.03), everywhere)
    assert math.hypot(found, 0.03) == pytest.approx(0.09 / Z90, abs=1e-6)
    assert spread(residual * 1e-6, change, everywhere) == 1e-3
    assert spread(residual * 1e6, change, everywhere) == 3.0
    many = np.tile(residual, 3)
    assert spread(many, np.zeros(30), np.tile(residual, 3) <= 0.05) == pytest.approx(0.05 / Z90, abs=1e-6)
