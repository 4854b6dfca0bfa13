from dataclasses import replace

import torch

from surrogates.calibration import (
    USUAL_DISAGREEMENT,
    Calibration,
    coverage,
    fit_calibration,
    joint_uniforms,
    rank_correlation,
    with_disagreement,
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


def test_the_factor_on_disagreement_makes_intervals_hold_on_crystals_nobody_saw():
    """Errors are four times the members' spread plus the label's; known crystals promised far less."""
    generator = torch.Generator().manual_seed(3)
    n, label = 4000, 0.05
    spread = 0.02 + 0.1 * torch.rand(n, generator=generator)
    truth = torch.randn(n, generator=generator)
    mean = truth + 4 * spread * torch.randn(n, generator=generator)
    values = torch.stack([mean - spread, mean + spread]).unsqueeze(2)
    targets = (truth + label * torch.randn(n, generator=generator)).unsqueeze(1)
    small = replace(fit_calibration(*residuals()), offset=-5.0, slope=0.0, bend=(0.0, 0.0))
    widths = torch.zeros_like(values)
    (fitted,) = with_disagreement((small,), values, widths, targets, torch.tensor([label]))
    assert 3.5 < fitted.disagreement < 4.5
    bar = fitted.joined(fitted.std(widths[0, :, 0], mean), spread)
    assert abs(coverage(targets[:, 0] - mean, torch.hypot(bar, torch.tensor(label))) - 0.9) < 0.01
    two = with_disagreement(
        (small, small),
        values.expand(-1, -1, 2),
        widths.expand(-1, -1, 2),
        torch.cat([targets, torch.full_like(targets, torch.nan)], dim=1),
        torch.tensor([label, 0.0]),
    )
    assert two[1].disagreement == two[0].disagreement, "without labels of its own it takes the others'"
    few = with_disagreement((small,), values[:, :9], widths[:, :9], targets[:9], torch.tensor([label]))
    assert few[0].disagreement == USUAL_DISAGREEMENT
