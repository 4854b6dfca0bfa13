"""Founders, parents and children of the genetic search."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers import bayesian, genetic
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.search_space import SearchSpace
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
