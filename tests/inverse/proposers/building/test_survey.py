"""What a survey looks at, what it keeps, and how far it goes for a budget."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building.composition_survey import surveyed_compositions
from inverse.proposers.building.survey import Survey, survey
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.substitution import (
    MOST_SURVEYED,
    SURVEY_SHARE,
    SURVEYED_PER_SECOND,
    SURVEYED_PER_VERIFICATION,
    Substitution,
    SubstitutionSettings,
    n_surveyed,
)
from inverse.reference.structure_types import Prototype
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch, element_index
from surrogates.errors import UnsupportedElementError
from surrogates.physics.properties import BULK_MODULUS, Property
from surrogates.protocol import Prediction
from tests.fakes import CONFIG, AnalyticCompositions, AnalyticSurrogate, search_space

MANY = [s for s in ELEMENT_SYMBOLS[:83] if s not in ("He", "Ne", "Ar", "Kr", "Xe", "Rn")]
CARBIDE, ROCK_SALT = "187|1 -26m A|1 -26m B", "225|4 m-3m A|4 m-3m B"
TYPES = [Prototype(CARBIDE, (1, 1)), Prototype(ROCK_SALT, (1, 1))]


def space_of(elements: dict[str, object], low: int, high: int, **more: object) -> SearchSpace:
    constraints = {"elements": elements, "n_elements": [low, high], "n_atoms": {"max": 12}, **more}
    config = CampaignConfig.from_mapping({**CONFIG, "constraints": constraints})
    free = {"screening": lambda structure: None, "is_known_formula": lambda formula: False}
    return replace(search_space(config), **free)


def sets(space: SearchSpace, size: int, n: int = 500, most: int = 400) -> list[frozenset[str]]:
    found = surveyed_compositions(space, AnalyticCompositions(), [(1,) * size], n, most)
    return [frozenset(c.amounts) for c in found]


def test_every_pair_and_every_stoichiometry_is_looked_at() -> None:
    space = space_of({"only": MANY[:20]}, 2, 2)
    found = surveyed_compositions(space, AnalyticCompositions(), [(1, 1), (1, 2)], 9999, 9999)
    assert {frozenset(c.amounts) for c in found} == {frozenset(p) for p in combinations(MANY[:20], 2)}
    assert {tuple(sorted(c.amounts.values())) for c in found} == {(1, 1), (1, 2)}
    assert len({c.formula for c in found}) == len(found) == 3 * 190


def test_elements_are_chosen_by_what_they_do_to_the_targets() -> None:
    """W is among the last in the alphabet; as many elements are taken as 400 sets can be made of."""
    found = sets(space_of({"only": MANY}, 3, 3), 3)
    assert found[0] > {"W", "C"}
    assert len({e for own in found for e in own}) == 14
    assert len(found) == len(set(found)) <= 400


@pytest.mark.parametrize("size", [5, 6])
def test_of_many_elements_the_promising_ones_are_put_together(size: int) -> None:
    found = sets(space_of({"only": MANY}, size, size), size)
    assert {len(own) for own in found} == {size}
    assert found[0] > {"W", "C"}


def test_what_must_occur_occurs_and_one_of_those_asked_for() -> None:
    needed = sets(space_of({"only": MANY, "include_all": ["Zr"]}, 3, 3), 3)
    assert needed
    assert all("Zr" in own for own in needed)
    some = sets(space_of({"only": MANY, "include_any": ["Pb", "Bi"]}, 3, 3), 3)
    assert some
    assert all(own & {"Pb", "Bi"} for own in some)
    listed = sets(space_of({"only": MANY}, 3, 3, chemical_systems=["Zr-W-N", "Ti-C"]), 3)
    assert listed == [{"Zr", "W", "N"}]


def test_known_formulas_are_left_out_where_only_new_ones_are_wanted() -> None:
    wanted = {"any": {"WC", "TiC", "TiW"}, "new_composition": {"TiC", "TiW"}}
    for novelty, formulas in wanted.items():
        space = space_of({"only": ["W", "Ti", "C"]}, 2, 2, novelty=novelty)
        space = replace(space, is_known_formula=lambda formula: formula == "WC")
        found = surveyed_compositions(space, AnalyticCompositions(), [(1, 1)], 9, 9)
        assert {c.formula for c in found} == formulas


def test_every_number_of_elements_keeps_a_share() -> None:
    space = space_of({"only": MANY[:30]}, 2, 4)
    found = surveyed_compositions(space, AnalyticCompositions(), [(1, 1), (1, 1, 1), (1, 1, 1, 1)], 100, 400)
    counts = [sum(len(c.amounts) == n for c in found) for n in (2, 3, 4)]
    assert sum(counts) == 100
    assert min(counts) >= 2


def surveyed(n: int, kept: int = 99) -> Survey:
    space = space_of({"only": ["W", "Ti", "Al", "C", "N"]}, 2, 2)
    return survey(space, TYPES, lambda formula: frozenset(), n, kept)


def test_a_survey_keeps_the_best_and_builds_no_more_than_it_may() -> None:
    whole, few = surveyed(10_000), surveyed(10_000, 3)
    assert whole.n_built >= whole.n_scored > len(whole.kept) > 3
    assert [one.plan.key for one in few.kept] == [one.plan.key for one in whole.kept[:3]]
    assert whole.kept[0].plan.composition.formula == "WC"
    values = [one.value for one in whole.kept]
    assert values == sorted(values, reverse=True)
    assert len({one.plan.key for one in whole.kept}) == len(whole.kept)
    assert surveyed(5).n_built == 5
    assert [(a.plan.key, a.value) for a in surveyed(10_000).kept] == [
        (b.plan.key, b.value) for b in whole.kept
    ]


def test_the_best_of_a_survey_come_before_all_others_and_none_comes_twice() -> None:
    space = space_of({"only": ["W", "Ti", "Al", "C", "N"]}, 2, 2)
    settings = SubstitutionSettings(n_compositions=9, n_structures=9, fewest=3, n_surveyed=50)
    own = Substitution(space, lambda: TYPES, settings=settings)
    first = own.ask(1, 0, 3)[0]
    assert first.structure.composition.reduced_formula == "WC"
    everything = own.ask(999, 0, 3)
    assert len({p.key for p in everything}) == len(everything)
    narrow = Substitution(space, lambda: TYPES, settings=replace(settings, n_surveyed=0, fewest=999))
    assert {p.key for p in narrow.ask(999, 0, 3)} >= {p.key for p in everything}


@pytest.mark.parametrize(
    ("budget", "structures", "n"),
    [
        ({"verifications": 10}, None, 10 * SURVEYED_PER_VERIFICATION),
        ({"verifications": 10**6}, None, MOST_SURVEYED),
        ({"verifications": 10**6, "time": "10m"}, None, round(SURVEY_SHARE * SURVEYED_PER_SECOND * 600)),
        ({"time": "10h"}, None, MOST_SURVEYED),
        ({"time": "10h"}, 0, 0),
        ({"verifications": 1}, 77, 77),
    ],
)
def test_a_survey_is_as_wide_as_the_budget_is_worth(
    budget: dict[str, object], structures: int | None, n: int
) -> None:
    search = {} if structures is None else {"structures": structures}
    config = CampaignConfig.from_mapping({**CONFIG, "budget": budget, "search": search})
    assert n_surveyed(config) == n


class Refusing(AnalyticSurrogate):
    """Refuses every batch with aluminium in it."""

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        if bool((crystals.occupancy[:, element_index("Al")] > 0.5).any()):
            raise UnsupportedElementError("no Al")
        return super().predict(crystals, properties)


def test_what_the_surrogate_refuses_is_worth_nothing_and_costs_no_other_its_worth() -> None:
    space = space_of({"only": ["W", "Al", "C", "N"]}, 2, 2)
    picky = replace(space, base=Evaluator(Refusing(), lambda formula: 0.0, (BULK_MODULUS,)))
    plain, found = (survey(own, TYPES, lambda formula: frozenset(), 99) for own in (space, picky))
    assert {one.value for one in found.kept if "Al" in one.plan.elements} == {0.0}
    worth = {one.plan.key: one.value for one in plain.kept}
    others = [one for one in found.kept if "Al" not in one.plan.elements]
    assert others
    assert [one.value for one in others] == pytest.approx([worth[one.plan.key] for one in others])
