"""The choice of verifications: worth, diversity, quota of class new, determinism."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from inverse.campaign.choice import LEAST_PROBABILITY, Choice, Option, Places
from inverse.candidates.types import Origin, Standing
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.worth import worth
from surrogates.physics.properties import BULK_MODULUS, ENERGY_ABOVE_HULL
from surrogates.protocol import Prediction
from tests.fakes import CONFIG, prediction, search_space


def choice(is_new: dict[str, bool] | None = None, prototypes: dict[str, str] | None = None) -> Choice:
    new, types = is_new or {}, prototypes or {}
    return Choice(lambda i: Standing(types.get(i, i), new.get(i, False)), set(), Counter())


def option(
    identity: str,
    value: float,
    system: str = "",
    origin: Origin = Origin.SEARCH,
    probability: float | None = None,
) -> Option:
    return Option(identity, value, system or identity, value if probability is None else probability, origin)


def test_best_first_and_nothing_worthless() -> None:
    options = [option("a", 0.2), option("b", 0.9), option("c", 0.0)]
    assert choice().select(options, Places(3, 0)) == ["b", "a"]


def test_same_system_and_prototype_once() -> None:
    options = [option("a", 0.9, "C-W"), option("b", 0.8, "C-W"), option("c", 0.1, "B-W")]
    chooser = choice(prototypes={"a": "t", "b": "t", "c": "t"})
    assert chooser.select(options, Places(3, 0)) == ["a", "c"]
    assert chooser.select([option("d", 0.9, "C-W")], Places(1, 0)) == ["d"]


def test_repeats_of_a_system_are_discounted() -> None:
    options = [option("a", 0.9, "C-W"), option("b", 0.8, "C-W"), option("c", 0.7, "B-W")]
    assert choice().select(options, Places(2, 0)) == ["a", "c"]


def test_quota_of_new_ones() -> None:
    options = [option(f"k{k}", 0.9 - 0.01 * k) for k in range(6)] + [option(f"n{k}", 0.3) for k in range(6)]
    new = {f"n{k}": True for k in range(6)}
    chosen = choice(new).select(options, Places(6, 4))
    assert sum(i.startswith("n") for i in chosen) == 4


def test_places_are_kept_for_nobody_who_was_not_named() -> None:
    """Neither for class new nor for children or textbook answers: the two worth most are taken."""
    options = [
        option("k0", 0.9),
        option("k1", 0.8),
        option("n", 0.3),
        option("c", 0.3, origin=Origin.CHILD),
        option("t", 0.3, origin=Origin.TEXTBOOK),
    ]
    assert choice({"n": True}).select(options, Places(2)) == ["k0", "k1"]


def test_places_kept_for_class_new_are_filled_when_there_is_nothing_new() -> None:
    options = [option(f"k{k:02d}", 0.9 - 0.01 * k) for k in range(40)]
    assert choice().select(options, Places(4, 4)) == ["k00", "k01", "k02", "k03"]
    assert choice({"k30": True}).select(options, Places(4, 2)) == ["k00", "k01", "k30", "k02"]


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


def test_equals_are_chosen_by_their_ids() -> None:
    options = [option("c", 0.5), option("a", 0.5), option("b", 0.5)]
    assert choice().select(options, Places(2)) == ["a", "b"]


def test_seeds_come_first_whatever_they_promise() -> None:
    seeds = [option("s2", 0.0, "N-Ti", Origin.SEED), option("s1", 1e-9, "N-Ti", Origin.SEED)]
    chooser = choice(prototypes={"s1": "t", "s2": "t", "again": "t"})
    chosen = chooser.select([option("a", 0.9), *seeds, option("again", 0.8, "N-Ti")], Places(4, 4))
    assert chosen == ["s1", "s2", "a"]
    assert chooser.passed_over == {"again"}


def test_half_of_the_places_are_for_the_children_of_seeds() -> None:
    children = [option(f"child{k}", 0.02 - 1e-3 * k, "N-Ti", Origin.CHILD) for k in range(8)]
    others = [option(f"new{k}", 0.9) for k in range(8)]
    chosen = choice({f"new{k}": True for k in range(8)}).select(
        [*others, *children], Places(8, 4, children=4)
    )
    assert sum(identity.startswith("child") for identity in chosen) == 4
    assert choice().select([*others, *children[:1]], Places(4, children=2)) == [
        "child0",
        "new0",
        "new1",
        "new2",
    ]


def test_nothing_below_one_percent_is_explored_while_better_ones_wait() -> None:
    """Neither the share of class new, nor diversity, nor a child of a seed is a reason to."""
    known = [option(f"k{k}", 0.5, "B-W") for k in range(4)]
    hopeless = [option("n", 0.009), option("child", 0.009, origin=Origin.CHILD)]
    chooser = choice({"n": True})
    assert chooser.select([*known, *hopeless], Places(4, 4, children=2)) == ["k0", "k1", "k2", "k3"]
    assert set(choice({"n": True}).select([*known, *hopeless], Places(6, 3))) == {
        *(o.id for o in known),
        *(o.id for o in hopeless),
    }


def test_a_place_is_kept_for_a_textbook_answer() -> None:
    books = [option("mgo", 1e-4, origin=Origin.TEXTBOOK), option("sio2", 2e-4, origin=Origin.TEXTBOOK)]
    finds = [option(f"f{k}", 0.9) for k in range(8)]
    assert choice().select([*finds, *books], Places(4, 2, textbook=1)) == ["sio2", "f0", "f1", "f2"]
    assert choice().select([*finds, *books], Places(2, 1)) == ["f0", "f1"]


def test_worth_is_the_probability_and_a_little_for_the_loss() -> None:
    """0.5 for everybody, and by the loss 0, half or all of 0.001; half of that outside the domain."""
    n = 6
    inside = torch.tensor([True] * 5 + [False])
    bulk = replace(prediction(BULK_MODULUS, torch.full((n,), 300.0)), in_domain=inside)
    loss = torch.tensor([0.0, torch.inf, -torch.inf, torch.nan, 1.0, 0.0])
    value = worth({BULK_MODULUS: bulk}, torch.full((n,), 0.5), loss)
    little = [0.5, 0.0, 1.0, 0.0, 1 / (1 + math.e)]
    assert value[:5].tolist() == pytest.approx([0.5 + 1e-3 * share for share in little], abs=1e-12)
    assert value[5].item() == pytest.approx(0.25025, abs=1e-12)


def test_repeats_of_a_system_are_worth_six_tenths_each() -> None:
    """0.8 beside one of its system is worth 0.48, beside two 0.288."""
    same = [option("a", 0.9, "C-W"), option("b", 0.8, "C-W")]
    assert choice().select([*same, option("c", 0.47, "B-W")], Places(2)) == ["a", "b"]
    assert choice().select([*same, option("c", 0.49, "B-W")], Places(2)) == ["a", "c"]
    thrice = [*same, option("d", 0.8, "C-W")]
    assert choice().select([*thrice, option("c", 0.28, "B-W")], Places(3)) == ["a", "b", "d"]
    assert choice().select([*thrice, option("c", 0.30, "B-W")], Places(3)) == ["a", "b", "c"]


@pytest.mark.parametrize("origin", [Origin.SEED, Origin.CHILD, Origin.TEXTBOOK])
def test_a_new_one_that_has_its_own_place_counts_among_those_of_class_new(origin: Origin) -> None:
    """Two of four places are for class new: it is one, so that the best two known ones are chosen."""
    own = option("own", 0.02, origin=origin)
    known = [option("k0", 0.9), option("k1", 0.8), option("k2", 0.7)]
    fresh = [option("n0", 0.3), option("n1", 0.2)]
    places = Places(4, 2, children=1, textbook=1)
    for is_new, others in ((True, ["k0", "k1", "n0"]), (False, ["k0", "n0", "n1"])):
        chooser = choice({"own": is_new, "n0": True, "n1": True})
        assert chooser.select([own, *known, *fresh], places) == ["own", *others]


def test_places_of_children_are_what_seeds_leave_of_them() -> None:
    seed = option("s", 0.0, origin=Origin.SEED)
    children = [option("c0", 0.5, origin=Origin.CHILD), option("c1", 0.4, origin=Origin.CHILD)]
    assert choice().select([seed, *children], Places(2, children=2)) == ["s", "c0"]
    seeds = [option(f"s{k}", 0.0, origin=Origin.SEED) for k in range(3)]
    assert choice().select([*seeds, *children], Places(2, children=2)) == ["s0", "s1"]


def test_among_children_and_textbook_answers_the_worth_decides_and_no_class() -> None:
    for origin, places in (
        (Origin.CHILD, Places(3, children=1)),
        (Origin.TEXTBOOK, Places(3, textbook=1)),
    ):
        own = [option("a", 0.5, origin=origin), option("b", 0.4, origin=origin)]
        others = [option("k0", 0.9), option("k1", 0.8)]
        assert choice({"b": True}).select([*own, *others], places) == ["a", "k0", "k1"]


def test_one_percent_is_enough_and_below_it_whoever_is_worth_most_fills_up() -> None:
    enough = option("enough", 0.1, probability=LEAST_PROBABILITY)
    hopeless = option("hopeless", 0.9, probability=0.99 * LEAST_PROBABILITY)
    assert choice().select([hopeless, enough], Places(1)) == ["enough"]
    unlikely = [option("known", 0.009), option("new", 0.005)]
    assert choice({"new": True}).select(unlikely, Places(1)) == ["known"]


def test_places_kept_in_vain_go_to_the_likely_each_kind_once() -> None:
    """Nothing is new: they are filled in the order of worth, before anything unlikely."""
    likely = [
        option("a", 0.9, "C-W"),
        option("b", 0.8, "C-W"),
        option("c", 0.7),
        option("d", 0.004, probability=0.02),
    ]
    unlikely = option("u", 0.009)
    chooser = choice(prototypes={"a": "t", "b": "t"})
    assert chooser.select([unlikely, *likely], Places(3, 3)) == ["a", "c", "d"]
    assert chooser.taken_systems == Counter({"C-W": 1, "c": 1, "d": 1})
    assert choice(prototypes={"a": "t", "b": "t"}).select(likely[:2], Places(2, 2)) == ["a"]
