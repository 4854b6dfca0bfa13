import pytest
import torch

from surrogates.protocol import far_from_hull
from surrogates.tiers.calibration import (
    FEWEST_HELD,
    Calibration,
    coverage,
    fit_calibration,
    hull_widening,
    interpolated,
    joint_uniforms,
    rank_correlation,
)


def residuals(n=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    width = torch.randn(n, generator=generator)
    value = torch.randn(n, generator=generator)
    return torch.exp(0.8 * width - 3 + 0.3 * value) * torch.randn(n, generator=generator), width, value


def test_error_bars_hold_ninety_percent_on_other_residuals():
    calibration = fit_calibration(*residuals(seed=0))
    residual, width, value = residuals(seed=1)
    assert abs(coverage(residual, calibration.std(width, value)) - 0.9) < 0.02
    assert abs(calibration.slope - 0.8) < 0.1
    assert abs(calibration.bend[0] - 0.3) < 0.1
    wide = width > 1
    assert abs(coverage(residual[wide], calibration.std(width, value)[wide]) - 0.9) < 0.05


def test_noise_has_the_quantiles_of_the_residuals():
    calibration = fit_calibration(*residuals())
    levels = (torch.arange(2000) + 0.5) / 2000
    noise = calibration.noise(levels)
    assert (noise.diff() >= -1e-6).all()
    assert abs(float((noise.abs() <= 1.645).float().mean()) - 0.9) < 0.01
    torch.testing.assert_close(noise, -noise.flip(0), rtol=0, atol=1e-4)


def test_joint_levels_are_antithetic_correlated_and_fixed():
    correlation = torch.tensor([[1.0, 0.7], [0.7, 1.0]])
    levels = joint_uniforms(80, correlation)
    assert torch.equal(levels, joint_uniforms(80, correlation))
    torch.testing.assert_close(levels[:40], 1 - levels[40:], rtol=0, atol=1e-5)
    assert abs(rank_correlation(levels[:, 0], levels[:, 1]) - 0.7) < 0.1
    assert ((levels > 0) & (levels < 1)).all()


def test_json_round_trip():
    calibration = fit_calibration(*residuals())
    assert Calibration.from_json(calibration.to_json()) == calibration


def in_groups(n=6000, seed=0):
    """Residuals three times as wide as the law says below a value of 0.3, and with a heavy tail."""
    residual, width, value = residuals(n, seed)
    generator = torch.Generator().manual_seed(seed + 100)
    tail = 1.0 + 9.0 * (torch.rand(n, generator=generator) < 0.15)
    return torch.where(value < 0.3, residual * tail, residual), width, value


def test_error_bars_hold_ninety_percent_in_each_group_where_groups_are_parted():
    plain, parted = (fit_calibration(*in_groups(), groups=groups) for groups in ((), (0.3,)))
    residual, width, value = in_groups(seed=1)
    for own in (value < 0.2, value > 0.4):
        held = coverage(residual[own], parted.std(width, value)[own])
        assert abs(held - 0.9) < 0.02
        assert abs(coverage(residual[own], plain.std(width, value)[own]) - 0.9) > 0.025
    assert abs(coverage(residual, parted.std(width, value)) - 0.9) < 0.02
    assert parted.factors[0] > parted.factors[1]
    assert parted.knots == pytest.approx((0.2, 0.4))
    assert Calibration.from_json(parted.to_json()) == parted
    older = {k: v for k, v in plain.to_json().items() if k not in ("knots", "factors")}
    assert Calibration.from_json(older) == plain


def test_between_two_groups_the_bar_goes_over_and_a_group_of_few_has_that_of_all():
    at = torch.tensor([-5.0, 1.0, 1.5, 2.0, 2.25, 2.5, 9.0], requires_grad=True)
    found = interpolated(at, (1.0, 2.0, 2.5), (3.0, 1.0, 2.0))
    assert found.tolist() == pytest.approx([3.0, 3.0, 2.0, 1.0, 1.5, 2.0, 2.0])
    (slope,) = torch.autograd.grad(found.sum(), at)
    assert slope[[0, 2, 4, 6]].tolist() == pytest.approx([0.0, -2.0, 2.0, 0.0])
    residual, width, value = in_groups(1000)
    few = fit_calibration(residual, width, value, groups=(float(value.sort().values[FEWEST_HELD - 2]),))
    assert few.factors[0] == 1.0


def test_an_odd_width_is_no_wider_than_the_widest_that_was_calibrated():
    residual, width, value = residuals()
    calibration = fit_calibration(residual, width, value)
    odd = calibration.std(torch.tensor([width.max() + 50.0]), torch.tensor([0.0]))
    assert torch.isfinite(odd).all()
    assert odd <= calibration.std(width.max()[None], torch.tensor([0.0])) * 1.0001
    assert (
        Calibration.from_json({**calibration.to_json(), "width_range": (-99.0, 99.0)}).std(
            width.max()[None] + 5.0, torch.tensor([0.0])
        )
        > odd
    )


def test_bars_widened_by_the_distance_from_the_hull_hold_near_it_and_far() -> None:
    """Errors grow by 4 per eV/atom beside the label's own; without labels enough, nothing is fitted."""
    generator = torch.Generator().manual_seed(3)
    n, label = 20_000, 0.05
    above = 0.5 * torch.rand(n, generator=generator)
    std = 0.02 + 0.1 * torch.rand(n, generator=generator)
    error = std * (1 + 4 * above) * torch.randn(n, generator=generator)
    error = error + label * torch.randn(n, generator=generator)
    found = hull_widening(error, std, label, above)
    assert 3.6 < found < 4.4
    bar = torch.hypot(std * far_from_hull(found, above), torch.tensor(label))
    for near in (above < 0.1, above > 0.4):
        assert abs(coverage(error[near], bar[near]) - 0.9) < 0.015
    assert hull_widening(error[:9], std[:9], label, above[:9]) == 0.0
    assert hull_widening(0.1 * error, std, label, above) == 0.0, "bars that hold already stay"


def test_bars_grow_no_further_than_crystals_were_seen_and_fully_where_the_hull_is_unknown() -> None:
    factors = far_from_hull(2.0, torch.tensor([-0.3, 0.0, 0.25, 0.5, 3.0, torch.nan]))
    torch.testing.assert_close(factors, torch.tensor([1.0, 1.0, 1.5, 2.0, 2.0, 2.0]))


def test_the_mean_of_members_is_surer_than_one_and_less_sure_where_they_disagree() -> None:
    calibration = fit_calibration(*residuals())
    at, width = torch.full((5, 1), 0.3), torch.zeros(5, 1)
    std = calibration.std(width[0], at[0])
    (mean, alone, _), (_, five, spread) = (calibration.of_members(at[:n], width[:n]) for n in (1, 5))
    torch.testing.assert_close(mean, at[0])
    torch.testing.assert_close(alone, std)
    assert 0.85 * std < five < 0.95 * std
    assert spread < 1e-5
    apart = at + 10.0 * std * torch.tensor([[-1.0], [1.0], [-1.0], [1.0], [0.0]])
    _, far, spread = calibration.of_members(apart, width)
    torch.testing.assert_close(far, 1.5 * spread, rtol=1e-2, atol=0.0)
