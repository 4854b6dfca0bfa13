import numpy as np
import pytest

from inverse.verification import calibration
from inverse.verification.calibration import (
    Calibration,
    calibrated,
    fit_calibration,
    load_calibrations,
    wilson_interval,
    write_calibrations,
)
from inverse.verification.judge import JudgeSettings
from surrogates.errors import DataError, VerificationError
from surrogates.properties import BULK_MODULUS, SHEAR_MODULUS


def planted(n=80, noise=0.05, n_wild=4):
    generator = np.random.default_rng(0)
    truth = np.exp(generator.uniform(np.log(20), np.log(450), n))
    raw = np.exp((np.log(truth) - 0.2) / 0.98) * np.exp(generator.normal(0, noise, n))
    raw[:n_wild] *= 0.3
    return raw, truth


def test_a_planted_line_is_found_in_spite_of_wild_rows():
    raw, truth = planted()
    fit = fit_calibration(BULK_MODULUS, "x", "abc", raw, truth, 300.0)
    assert fit.on_dft_scale(200.0) == pytest.approx(np.exp(0.2 + 0.98 * np.log(200.0)), rel=0.03)
    assert 0.03 < fit.log_std < 0.5
    assert fit.metrics["mae"] < fit.metrics["mae_raw"]
    assert fit.metrics["recall"]["of"] == int((truth > 300).sum())


def test_intervals_hold_what_they_promise():
    raw, truth = planted(n=300, n_wild=0)
    fit = fit_calibration(BULK_MODULUS, "x", "abc", raw[:150], truth[:150], 300.0)
    means = [fit.on_dft_scale(r) for r in raw[150:]]
    size = np.abs(np.log(truth[150:]) - np.log(means))
    assert 0.82 < (size < [1.645 * fit.log_std_at(m) for m in means]).mean() < 0.97


def test_the_error_goes_over_from_soft_to_stiff():
    fit = Calibration("bulk_modulus_vrh", "x", "abc", 0.0, 1.0, 0.3, 0.1, 200.0, 50, {})
    assert [fit.log_std_at(m) for m in (20.0, 200.0, 400.0)] == pytest.approx([0.3, 0.2, 0.1])


def test_the_file_reads_back(tmp_path):
    raw, truth = planted()
    fit = fit_calibration(SHEAR_MODULUS, "x", "abc", raw, truth, 150.0)
    path = tmp_path / "moduli.json"
    write_calibrations([fit], path)
    assert load_calibrations(path) == {("shear_modulus_vrh", "x"): fit}
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"calibrations broken\.json cannot be read"):
        load_calibrations(tmp_path / "broken.json")


def test_other_settings_are_refused(monkeypatch):
    fit = Calibration("bulk_modulus_vrh", "x", "abc", 0.0, 1.0, 0.1, 0.1, 200.0, 50, {})
    monkeypatch.setattr(calibration, "load_calibrations", lambda: {("bulk_modulus_vrh", "x"): fit})
    with pytest.raises(VerificationError, match="calibrated at the settings abc, not at abd"):
        calibrated(BULK_MODULUS, "x", "abd", 100.0)
    value, known = calibrated(BULK_MODULUS, "x", "abc", 100.0)
    assert known
    assert (value.mean, value.std, value.raw) == (100.0, 10.0, 100.0)
    assert value.lower < 100 < value.upper


def test_the_difference_between_amplitudes_adds_to_the_error(monkeypatch):
    fit = Calibration("bulk_modulus_vrh", "x", "abc", 0.0, 1.0, 0.03, 0.03, 200.0, 50, {})
    monkeypatch.setattr(calibration, "load_calibrations", lambda: {("bulk_modulus_vrh", "x"): fit})
    assert calibrated(BULK_MODULUS, "x", "abc", 100.0, amplitude=4.0)[0].std == pytest.approx(5.0)


def test_a_potential_nobody_compared_keeps_its_value_with_a_wide_error():
    value, known = calibrated(BULK_MODULUS, "somebody:else", "abc", 100.0)
    assert not known
    assert (value.mean, value.std, value.potential) == (100.0, 25.0, "somebody:else")


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="9 usable pairs"):
        fit_calibration(BULK_MODULUS, "x", "abc", [100.0] * 9, [100.0] * 9, 300.0)


def test_the_packaged_calibrations_are_of_the_settings_of_record():
    for fit in load_calibrations().values():
        assert fit.settings == JudgeSettings().digest


def test_wilson_interval():
    low, high = wilson_interval(8, 10)
    assert (low, high) == pytest.approx((0.490, 0.943), abs=0.002)
