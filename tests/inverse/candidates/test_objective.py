"""Probabilities against closed forms and counting, gradients against finite differences, verdicts."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from inverse.candidates.decisive_targets import STABLE_WITHIN, effective_targets
from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from surrogates.errors import ConfigError, UnknownNameError
from surrogates.physics.properties import BULK_MODULUS, DENSITY, ENERGY_ABOVE_HULL, SHEAR_MODULUS, Property
from surrogates.protocol import Z90, Prediction


def prediction(prop, mean, std, samples=None):
    mean, std = torch.as_tensor(mean, dtype=torch.double), torch.as_tensor(std, dtype=torch.double)
    samples = mean[None] if samples is None else torch.as_tensor(samples, dtype=torch.double)
    return Prediction(
        prop, mean, std, mean - Z90 * std, mean + Z90 * std, samples, torch.ones_like(mean).bool()
    )


def deciding(*targets: Target) -> Objective:
    """Return an objective of which these targets alone decide: no default bound on the hull beside them."""
    return Objective(targets, deciding=[t for t in targets if t.is_hard])


def normal(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def test_one_sample_is_the_normal_distribution() -> None:
    objective = deciding(Target(BULK_MODULUS, minimum=300.0))
    met = objective.probability_met({BULK_MODULUS: prediction(BULK_MODULUS, [290.0, 320.0], [20.0, 10.0])})
    assert met.tolist() == pytest.approx([normal(-0.5), normal(2.0)], abs=1e-6)


@pytest.mark.parametrize("correlation", [0.0, 0.9, -0.9])
def test_joint_probability_counts_shared_errors_once(correlation: float) -> None:
    rng = np.random.default_rng(5)
    cov = [[1, correlation], [correlation, 1]]
    draws = rng.multivariate_normal([0, 0], cov, size=4000)
    pair = {
        BULK_MODULUS: prediction(BULK_MODULUS, [300.0], [20.0], 300 + 20 * draws[:, :1]),
        SHEAR_MODULUS: prediction(SHEAR_MODULUS, [150.0], [15.0], 150 + 15 * draws[:, 1:]),
    }
    objective = deciding(Target(BULK_MODULUS, minimum=300.0), Target(SHEAR_MODULUS, minimum=150.0))
    exact = 0.25 + math.asin(correlation) / (2 * math.pi)
    assert float(objective.probability_met(pair)) == pytest.approx(exact, abs=0.035)


def test_windows_and_near_count_both_ends() -> None:
    window = deciding(Target(BULK_MODULUS, minimum=95.0, maximum=105.0))
    near = deciding(Target(BULK_MODULUS, near=100.0, tolerance=5.0))
    values = {BULK_MODULUS: prediction(BULK_MODULUS, [100.0, 120.0], [5.0, 5.0])}
    expected = [normal(1) - normal(-1), normal(-3) - normal(-5)]
    assert window.probability_met(values).tolist() == pytest.approx(expected, abs=1e-6)
    assert near.probability_met(values).tolist() == pytest.approx(expected, abs=1e-6)


def test_soft_targets_never_decide() -> None:
    objective = deciding(Target(DENSITY, minimise=True))
    assert objective.probability_met({DENSITY: prediction(DENSITY, [3.0], [1.0])}).tolist() == [1.0]


def test_loss_falls_towards_the_target_and_has_the_right_gradient() -> None:
    objective = deciding(
        Target(BULK_MODULUS, minimum=300.0),
        Target(SHEAR_MODULUS, minimum=140.0, maximum=160.0),
        Target(DENSITY, minimise=True, weight=0.2),
    )

    def loss(means: torch.Tensor) -> torch.Tensor:
        props = (BULK_MODULUS, SHEAR_MODULUS, DENSITY)
        stds = (20.0, 10.0, 0.5)
        return objective.loss(
            {
                p: Prediction(p, m, torch.full_like(m, s), m, m, m[None], m > 0)
                for p, m, s in zip(props, means, stds, strict=True)
            }
        )

    means = torch.tensor([[250.0, 290.0], [150.0, 200.0], [9.0, 9.0]], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: loss(m).sum(), (means,))
    at = loss(torch.tensor([[250.0, 350.0], [150.0, 150.0], [9.0, 9.0]], dtype=torch.double))
    assert at[1] < at[0]


def test_more_doubt_is_no_way_out() -> None:
    objective = deciding(Target(BULK_MODULUS, minimum=300.0))
    std = torch.tensor([20.0], dtype=torch.double, requires_grad=True)
    mean = torch.tensor([250.0], dtype=torch.double, requires_grad=True)
    made = Prediction(BULK_MODULUS, mean, std, mean, mean, mean[None], mean > 0)
    objective.loss({BULK_MODULUS: made}).sum().backward()
    assert std.grad is None
    assert mean.grad is not None
    assert mean.grad.item() < 0


def test_score_prefers_probability_then_soft_targets() -> None:
    objective = Objective([Target(BULK_MODULUS, minimum=300.0), Target(DENSITY, minimise=True, weight=0.2)])
    light, heavy = {"density": 4.0}, {"density": 16.0}
    assert objective.score(0.8, light) > objective.score(0.8, heavy) > objective.score(0.5, heavy)


def hulls(*means: float) -> dict[Property, Prediction]:
    return {
        BULK_MODULUS: prediction(BULK_MODULUS, [400.0] * len(means), [1.0] * len(means)),
        ENERGY_ABOVE_HULL: prediction(ENERGY_ABOVE_HULL, means, [0.05] * len(means)),
    }


SOFT_HULL = Target(ENERGY_ABOVE_HULL, minimise=True)


@pytest.mark.parametrize(
    ("targets", "limit"),
    [
        ([], STABLE_WITHIN),
        ([SOFT_HULL], STABLE_WITHIN),
        ([Target(ENERGY_ABOVE_HULL, maximum=0.3)], 0.3),
        ([Target(ENERGY_ABOVE_HULL, minimum=-0.2, maximum=0.03)], 0.03),
    ],
)
def test_the_hull_decides_whether_or_not_a_target_bounds_it(targets: list[Target], limit: float) -> None:
    """A hull target that only ranks leaves the default bound where it is."""
    objective = Objective([Target(BULK_MODULUS, minimum=300.0), *targets])
    assert objective.hull.upper == limit
    assert objective.deciding == effective_targets(objective.targets)
    at = (0.02, limit, 0.6)
    expected = [normal((limit - mean) / 0.05) for mean in at]
    assert objective.probability_met(hulls(*at)).tolist() == pytest.approx(expected, abs=1e-4)
    near, far = objective.loss(hulls(limit - 0.1, 0.6)).tolist()
    assert far - near > 3.0, "descent is pushed below the bound"


def test_nothing_out_of_domain_is_sure() -> None:
    objective = Objective([Target(BULK_MODULUS, minimum=300.0)])
    inside, other = hulls(-1.1, -1.1, 0.6), torch.tensor([False, True, False])
    outside = dict(inside) | {
        ENERGY_ABOVE_HULL: replace(inside[ENERGY_ABOVE_HULL], in_domain=other),
    }
    assert objective.probability_met(inside).tolist() == pytest.approx([1.0, 1.0, 0.0], abs=1e-6)
    assert objective.probability_met(outside).tolist() == pytest.approx([0.84, 1.0, 0.0], abs=1e-6)


def test_a_part_of_an_objective_asks_for_nothing_else() -> None:
    objective = Objective([Target(BULK_MODULUS, minimum=300.0), Target(SHEAR_MODULUS, minimum=150.0)])
    part = objective.only([BULK_MODULUS, DENSITY])
    assert part is not None
    assert part.deciding == part.targets == objective.targets[:1]
    assert objective.only([DENSITY]) is None
    assert objective.properties == (BULK_MODULUS, SHEAR_MODULUS, ENERGY_ABOVE_HULL)


def test_named_errors() -> None:
    with pytest.raises(ConfigError, match="at least one target"):
        Objective([])
    objective = deciding(Target(BULK_MODULUS, minimum=300.0))
    with pytest.raises(UnknownNameError, match="unknown prediction 'bulk_modulus_vrh'"):
        objective.probability_met({DENSITY: prediction(DENSITY, [3.0], [1.0])})
    with pytest.raises(UnknownNameError, match="unknown prediction 'energy_above_hull'"):
        Objective(objective.targets).probability_met(
            {BULK_MODULUS: prediction(BULK_MODULUS, [400.0], [10.0])}
        )
