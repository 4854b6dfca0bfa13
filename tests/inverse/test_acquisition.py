"""The choice of verifications: worth, diversity, quota of class new, determinism."""

from collections import Counter

import pytest
import torch

from inverse.acquisition import Choice, Option, Standing, worth
from inverse.config import CampaignConfig
from surrogates.properties import BULK_MODULUS, ENERGY_ABOVE_HULL
from surrogates.protocol import Prediction
from tests.fakes import CONFIG, prediction, search_space


def choice(is_new: dict[str, bool] | None = None, prototypes: dict[str, str] | None = None) -> Choice:
    new, types = is_new or {}, prototypes or {}
    return Choice(lambda i: Standing(types.get(i, i), new.get(i, False)), set(), Counter())


def option(identity: str, value: float, system: str = "") -> Option:
    return Option(identity, value, system or identity)


def test_best_first_and_nothing_worthless() -> None:
    options = [option("a", 0.2), option("b", 0.9), option("c", 0.0)]
    assert choice().select(options, 3, 0) == ["b", "a"]


def test_same_system_and_prototype_once() -> None:
    options = [option("a", 0.9, "C-W"), option("b", 0.8, "C-W"), option("c", 0.1, "B-W")]
    chooser = choice(prototypes={"a": "t", "b": "t", "c": "t"})
    assert chooser.select(options, 3, 0) == ["a", "c"]
    assert chooser.select([option("d", 0.9, "C-W")], 1, 0) == ["d"]


def test_repeats_of_a_system_are_discounted() -> None:
    options = [option("a", 0.9, "C-W"), option("b", 0.8, "C-W"), option("c", 0.7, "B-W")]
    assert choice().select(options, 2, 0) == ["a", "c"]


def test_quota_of_new_ones() -> None:
    options = [option(f"k{k}", 0.9 - 0.01 * k) for k in range(6)] + [option(f"n{k}", 0.3) for k in range(6)]
    new = {f"n{k}": True for k in range(6)}
    chosen = choice(new).select(options, 6, 4)
    assert sum(i.startswith("n") for i in chosen) == 4


def test_places_kept_for_class_new_are_filled_when_there_is_nothing_new() -> None:
    options = [option(f"k{k:02d}", 0.9 - 0.01 * k) for k in range(40)]
    assert choice().select(options, 4, 4) == ["k00", "k01", "k02", "k03"]
    assert choice({"k30": True}).select(options, 4, 2) == ["k00", "k01", "k30", "k02"]


def test_worth_of_what_is_not_finite_or_out_of_domain() -> None:
    bulk = prediction(BULK_MODULUS, torch.tensor([300.0, float("nan")]))
    hull = prediction(ENERGY_ABOVE_HULL, torch.tensor([0.0, 0.0]))
    value = worth({BULK_MODULUS: bulk, ENERGY_ABOVE_HULL: hull}, torch.ones(2), torch.zeros(2))
    assert value[0] > 0.5
    assert value[1] == 0


@pytest.mark.parametrize("hull", [{}, {"energy_above_hull": {"minimise": True}}])
def test_worth_asks_for_stability_where_no_target_bounds_the_hull(hull: dict[str, object]) -> None:
    wanted = {"bulk_modulus_vrh": {"min": 300}} | hull
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "targets": wanted}))
    above = torch.tensor([0.60, 0.02])
    std = torch.full_like(above, 0.05)
    is_in = torch.ones(2).bool()
    predictions = {
        BULK_MODULUS: prediction(BULK_MODULUS, torch.tensor([900.0, 900.0])),
        ENERGY_ABOVE_HULL: Prediction(ENERGY_ABOVE_HULL, above, std, above, above, above[None], is_in),
    }
    far, near = space.worth_of(predictions)
    assert far < 1e-5
    assert near == pytest.approx(0.945, abs=0.01)
