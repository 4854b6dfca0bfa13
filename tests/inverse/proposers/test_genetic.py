"""Founders, parents and children of the genetic search."""

import logging
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers import bayesian, genetic
from inverse.proposers.bayesian import ROUND, OuterSearch, Trial
from inverse.proposers.genetic import POPULATION, GeneticSearch
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.trial_space import Numbers
from inverse.reference.structure_types import prototypes
from tests.fakes import CONFIG, search_space

KNOWN = prototypes(
    [
        ("W", "229|2 m-3m W"),
        ("TiC", "225|4 -3mm C|4 -3mm Ti"),
        ("WC", "187|1 -26m C|1 -26m W"),
        ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
        ("CaTiO3", "221|1 -3mm Ca|1 -3mm Ti|3 ./4mmm O"),
    ],
    8,
    4,
)
BEST = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.31), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
"""Worth most of all to the stand-in; no blind draw has this very volume."""


def space_of(low: int, high: int) -> SearchSpace:
    constraints = {**CONFIG["constraints"], "n_elements": [low, high]}
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))


def asked(space: SearchSpace, founders: list[Structure]) -> list[tuple[str, int, float]]:
    """Return formula, space group and volume per atom of the first proposals."""
    found = [p.structure for p in GeneticSearch(space, lambda: KNOWN, founders).ask(8, 0, 5)]
    return [
        (s.composition.reduced_formula, s.get_space_group_info()[1], round(s.volume / len(s), 4))
        for s in found
    ]


@pytest.mark.parametrize(("low", "high"), [(2, 2), (1, 2), (2, 3), (1, 3)])
def test_a_founder_is_among_the_first_whatever_numbers_of_elements_are_allowed(low: int, high: int) -> None:
    given = ("WC", 225, round(BEST.volume / len(BEST), 4))
    assert given in asked(space_of(low, high), [BEST])
    assert given not in asked(space_of(low, high), [])


@pytest.mark.parametrize(("low", "high"), [(1, 1), (3, 3)])
def test_a_founder_of_another_number_of_elements_founds_nothing(low: int, high: int) -> None:
    assert asked(space_of(low, high), [BEST]) == asked(space_of(low, high), [])


def test_founders_and_their_children_are_tried_once_each() -> None:
    """The same file given twice founds once; a child that changed nothing is not its parent again."""
    search = GeneticSearch(space_of(1, 3), lambda: KNOWN, [BEST, BEST, BEST])
    search.ask(8, 0, 5)
    places = [bayesian._place(t.crystal, t.numbers) for t in search._trials]
    assert len(places) > 32
    assert len(set(places)) == len(places)


def test_children_have_each_number_of_a_parent_and_the_better_breed_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("a", "b", "c", "d")
    population = [dict.fromkeys(names, k / 100) for k in range(40)]
    monkeypatch.setattr(genetic, "MUTATION", 0.0)
    children = [genetic._child(population, np.random.default_rng(k), names) for k in range(200)]
    ranks = [{round(100 * value) for value in child.values()} for child in children]
    assert all(len(own) <= 2 for own in ranks)
    assert sum(len(own) == 2 for own in ranks) > 100, "both parents have a say"
    assert np.mean([np.mean(list(own)) for own in ranks]) < 16, "of all alike it would be 19.5"
    monkeypatch.setattr(genetic, "MUTATION", 1.0)
    changed = [genetic._child(population[:1], np.random.default_rng(k), names) for k in range(200)]
    values = np.array([[child[name] for name in names] for child in changed])
    assert (values.min(), values.max() <= 1.0) == (0.0, True), "held within"
    assert 0.05 < (values > 0.3).mean() < 0.5, "most changes are small, some are fresh draws"


def salt(metal: str, light: str, volume: float = 10.0) -> Structure:
    """Return a primitive cell of rock salt, at a volume per atom."""
    half = volume ** (1 / 3)
    lattice = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(lattice, [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def first_round(search: GeneticSearch, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Return the formulas and densities of the first round."""
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    search.ask(1, 0, 5)
    own = search._trial_space
    trials = [trial.numbers for trial in search._trials]
    return [("".join(sorted(own.formula_of(n))), round(n["density"], 4)) for n in trials]


@pytest.mark.parametrize(
    ("volume", "density"), [(10.0, 0.5), (9.1, 0.2), (11.5, 1.0), (8.5, 0.0), (15.0, 1.0), (5.0, 0.0)]
)
def test_a_founder_is_tried_at_its_own_volume_as_far_as_that_is_searched(
    volume: float, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten cubic angstrom per atom are expected; densities of 0 and 1 are 8.5 and 11.5."""
    search = GeneticSearch(space_of(2, 2), lambda: KNOWN, [salt("Ti", "C", volume)])
    assert first_round(search, monkeypatch)[0] == ("CTi", pytest.approx(density, abs=1e-3))


def test_the_first_round_holds_the_founders_then_children_and_blind_trials_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A child is its founder at another density here; it is drawn of each founder in turn."""
    births: list[float] = []

    def child(population: Sequence[Numbers], rng: Any, names: Sequence[str]) -> dict[str, float]:
        (parent,) = population
        assert set(names) == set(parent)
        births.append(parent["density"])
        return {**parent, "density": (len(births) % 20) / 20}

    founders = [salt("Ti", "C", 9.1), salt("Al", "N", 9.4), salt("W", "O", 9.7)]
    blind = first_round(GeneticSearch(space_of(2, 2), lambda: KNOWN), monkeypatch)
    monkeypatch.setattr(genetic, "_child", child)
    found = first_round(GeneticSearch(space_of(2, 2), lambda: KNOWN, founders), monkeypatch)
    assert len(found) == len(blind) == ROUND
    parents = ["CTi", "AlN", "OW"]
    assert found[:3] == [("CTi", 0.2), ("AlN", 0.3), ("OW", 0.4)]
    assert found[4::2] == blind[4::2][: len(found[4::2])]
    children = found[3::2]
    assert {formula for formula, _ in children} == set(parents)
    assert not set(children) & set(blind)
    assert births[:6] == pytest.approx([0.2, 0.3, 0.4] * 2, abs=1e-3)


def test_more_founders_than_a_round_holds_are_not_all_tried_and_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elements = ["W", "Ti", "Al", "C", "N", "O"]
    founders = [
        salt(one, other, 8.6 + 0.3 * k)
        for one in elements
        for other in elements
        if one < other
        for k in range(9)
    ]
    found = first_round(GeneticSearch(space_of(2, 2), lambda: KNOWN, founders), monkeypatch)
    assert len(founders) == 135
    assert len(found) == len(set(found)) == ROUND
    assert [formula for formula, _ in found[:9]] == ["TiW"] * 9


@pytest.mark.parametrize(
    "founder",
    [
        Structure(Lattice.cubic(3.0), ["W", "C"], [[0, 0, 0], [0, 0, 1e-4]]),
        Structure(Lattice.orthorhombic(3, 4, 5), ["W", "C"], [[0, 0, 0], [0.5, 0.4, 0.3]]),
        salt("W", "Xe"),
    ],
)
def test_a_founder_without_symmetry_of_no_known_type_or_of_other_elements_is_named(
    founder: Structure, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.INFO):
        found = first_round(GeneticSearch(space_of(2, 2), lambda: KNOWN, [founder]), monkeypatch)
    assert found == first_round(GeneticSearch(space_of(2, 2), lambda: KNOWN), monkeypatch)
    said = f"founder {founder.formula}: its structure type is not among the known ones"
    assert said in [record.getMessage() for record in caplog.records]


def test_founders_found_the_first_round_of_a_campaign_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = GeneticSearch(space_of(2, 2), lambda: KNOWN, [salt("Ti", "C", 9.1)])
    first_round(search, monkeypatch)
    search.ask(1, 1, 5)
    trials = [trial.numbers for trial in search._trials]
    places = [(t.crystal, int(10 * t.numbers["density"])) for t in search._trials]
    assert len(trials) == len(set(places)) == 2 * ROUND
    later = GeneticSearch(space_of(2, 2), lambda: KNOWN)
    first_round(later, monkeypatch)
    assert "genetic" == search.name == later.name


def test_without_founders_the_first_rounds_are_those_of_the_outer_search() -> None:
    space = space_of(2, 3)
    rounds = []
    for search in (GeneticSearch(space, lambda: KNOWN), OuterSearch(space, lambda: KNOWN)):
        search.ask(1, 2, 5)
        rounds.append([trial.numbers for trial in search._trials[:ROUND]])
    assert rounds[0] == rounds[1]


def test_the_best_of_each_number_of_elements_breed_among_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty crystals of two elements and one of three are remembered; no number beyond a size is bred."""
    search = GeneticSearch(space_of(2, 3), lambda: KNOWN)
    names = search._trial_space.names
    for k in range(40):
        search._memory(2).add(Trial(dict.fromkeys(names, k / 100), f"crystal {k}", -1.0 * k, 0))
    search._memory(3).add(Trial(dict.fromkeys(names, 0.9), "another", 9.0, 0))
    monkeypatch.setattr(genetic, "MUTATION", 0.0)
    children = list(islice(search._draws(2, np.random.default_rng(0)), 400))
    bred = ("element_1", "element_2", "stoichiometry", "type", "density")
    ranks = {round(100 * child[name]) for child in children for name in bred}
    assert ranks <= set(range(POPULATION))
    assert max(ranks) > 24
    kept = [{child[name] for name in names if name not in bred} for child in children]
    assert all(len(own) == 1 for own in kept), "what does not matter comes from the mother"


def test_numbers_change_a_little_or_are_drawn_anew_and_amounts_always_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A third of the changes are fresh draws, two thirds are steps of 0.08 from 0.5."""
    monkeypatch.setattr(genetic, "MUTATION", 1.0)
    rng = np.random.default_rng(0)
    parent = {"a": 0.5, "stoichiometry": 0.5}
    children = [genetic._child([parent], rng, tuple(parent)) for _ in range(3000)]
    a, amounts = (np.array([child[name] for child in children]) for name in parent)
    beyond = 1.0 - 2 * 0.25
    assert np.mean(abs(amounts - 0.5) > 0.25) == pytest.approx(beyond, abs=0.04)
    assert np.mean(abs(a - 0.5) > 0.25) == pytest.approx(beyond / 3, abs=0.03)
    steps = a[abs(a - 0.5) < 0.25]
    assert np.mean(abs(steps - 0.5) < 0.054) == pytest.approx(
        (0.5 * 2 / 3 + 0.108 / 3) / (1 - beyond / 3), abs=0.04
    )


def test_a_quarter_of_the_numbers_changes() -> None:
    rng = np.random.default_rng(0)
    parent = dict.fromkeys(("a", "b", "c", "d"), 0.5)
    children = [genetic._child([parent], rng, tuple(parent)) for _ in range(1000)]
    changed = sum(value != 0.5 for child in children for value in child.values())
    assert changed == pytest.approx(1000, abs=100)


def test_a_parent_is_the_better_of_two_of_the_population() -> None:
    """The mean of the smaller of two ranks below 8 is 35/16; of three it were 49/32, of one 3.5."""
    rng = np.random.default_rng(0)
    population = [{"rank": float(k)} for k in range(8)]
    ranks = [genetic._winner(population, rng)["rank"] for _ in range(2000)]
    assert np.mean(ranks) == pytest.approx(35 / 16, abs=0.15)
