"""Founders, parents and children of the genetic search."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.config import CampaignConfig
from inverse.proposers import genetic
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.prototypes import prototypes
from inverse.proposers.search_space import SearchSpace
from tests.fakes import CONFIG, search_space

ROCK_SALT, PEROVSKITE = "225|4 -3mm A|4 -3mm B", "221|1 m-3m A|1 m-3m B|3 4/mm.m C"
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
TIN = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.31), ["Ti", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def space_of(low: int, high: int) -> SearchSpace:
    constraints = {**CONFIG["constraints"], "n_elements": [low, high]}
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))


@pytest.mark.parametrize(("low", "high"), [(2, 2), (1, 2), (2, 3), (1, 3)])
def test_a_founder_is_among_the_first_whatever_numbers_of_elements_are_allowed(low: int, high: int) -> None:
    """As it was given: elements, type and, within what a trial may be, volume."""
    search = GeneticSearch(space_of(low, high), lambda: KNOWN, [TIN])
    search.ask(4, 0, 5)
    numbers = search._trials[0]
    (made,) = search._proposals([numbers], 5)
    assert made is not None
    assert made.structure.composition.reduced_formula == "TiN"
    assert made.structure.get_space_group_info()[1] == 225
    assert made.structure.volume / len(made.structure) == pytest.approx(TIN.volume / len(TIN), rel=1e-3)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (3, 3)])
def test_a_founder_of_other_numbers_of_elements_founds_nothing(low: int, high: int) -> None:
    lone, plain = (GeneticSearch(space_of(low, high), lambda: KNOWN, own) for own in ([TIN], []))
    for search in (lone, plain):
        search.ask(4, 0, 5)
    assert lone._trials == plain._trials


def test_half_of_the_others_of_the_first_round_are_its_children() -> None:
    founded, blind = (GeneticSearch(space_of(2, 2), lambda: KNOWN, own) for own in ([TIN], []))
    for search in (founded, blind):
        search._round(0, 5)
    alike = [
        k
        for k, (one, other) in enumerate(zip(founded._trials, blind._trials, strict=True))
        if all(one[name] == other[name] for name in founded._numbers)
    ]
    assert alike == list(range(2, genetic.ROUND, 2))


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
    assert np.mean([min(own) for own in ranks]) < 10, "of three the best is taken"
    monkeypatch.setattr(genetic, "MUTATION", 1.0)
    changed = [genetic._child(population[:1], np.random.default_rng(k), names) for k in range(200)]
    values = np.array([[child[name] for name in names] for child in changed])
    assert values.min() == 0.0, "held at the edge"
    assert values.max() <= 1.0
    assert 0.1 < (values > 0.3).mean() < 0.25, (
        "one change in five is a fresh draw, seven in ten of them above 0.3"
    )
