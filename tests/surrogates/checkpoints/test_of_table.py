"""Surrogates of users' tables: intervals that do not collapse, calibrated on what was held out."""

from types import SimpleNamespace

import pytest
import torch

from surrogates.checkpoints.of_table import needed, of_table, stretched
from surrogates.errors import CheckpointError
from surrogates.physics.properties import Property
from surrogates.tiers.spread import lognormal, normal

TOUGHNESS = Property("toughness", "t", "", 0.0, 1000.0, "table")


def test_a_mean_below_the_physical_range_keeps_its_error() -> None:
    found = normal(TOUGHNESS, torch.tensor([-40.0, 30.0, 1e5]), torch.tensor([15.0, 15.0, 15.0]))
    assert found.mean.tolist() == [0.0, 30.0, 1000.0]
    assert found.lower.tolist() == pytest.approx([0.0, 5.33, 975.33], abs=0.01)
    assert found.upper.tolist() == pytest.approx([24.67, 54.67, 1000.0], abs=0.01)
    assert found.in_domain.tolist() == [False, True, False]
    assert float(found.samples[:, 0].max()) > 24
    given = normal(TOUGHNESS, torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([False]))
    assert given.in_domain.tolist() == [False]


def test_a_normal_logarithm_stays_positive_and_has_slope() -> None:
    log_mean = torch.tensor([2.0], requires_grad=True)
    found = lognormal(TOUGHNESS, log_mean, torch.tensor([3.0]))
    assert 0 < found.lower.item() < found.mean.item() < found.upper.item()
    (slope,) = torch.autograd.grad(found.mean.sum(), log_mean)
    assert float(slope) == pytest.approx(found.mean.item())


def test_a_stretched_interval_just_reaches_what_it_needed() -> None:
    found = normal(TOUGHNESS, torch.tensor([100.0]), torch.tensor([5.0]))
    for truth, end in ((130.0, "upper"), (60.0, "lower")):
        factor = float(needed(found, torch.tensor([truth])))
        wide = stretched(found, factor)
        assert float(getattr(wide, end)) == pytest.approx(truth)
        assert float(wide.std) == pytest.approx(5 * factor)
    assert float(stretched(found, 40.0).lower) == 0.0


@pytest.mark.parametrize("factor", [0, -1.0, float("nan"), "2", None, True])
def test_a_damaged_factor_is_refused(factor: object) -> None:
    with pytest.raises(CheckpointError, match=r"own_table: error_factor is .*, not a positive number"):
        of_table(SimpleNamespace(), {"error_factor": factor})
