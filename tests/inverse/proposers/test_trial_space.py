"""What the numbers of a trial mean, worked out by hand for three elements and five structure types."""

from itertools import combinations, permutations
from typing import Any

import pytest

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.trial_space import (
    TrialSpace,
    bounded,
    density_at,
    middle_of,
    numbers_for,
    place_of,
    volume_at,
)
from inverse.reference.structure_types import prototypes
from tests.fakes import CONFIG, search_space

SALT, WURTZITE = "225|4 -3mm A|4 -3mm B", "186|2 .3m A|2 .3m B"
ROWS = [
    ("TiC", "225|4 -3mm C|4 -3mm Ti"),
    ("NaCl", "225|4 -3mm Cl|4 -3mm Na"),
    ("CrN", "186|2 .3m Cr|2 .3m N"),
    ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
    ("Fe3Al", "221|1 -3mm Al|3 ./4mmm Fe"),
    ("CaTiO3", "221|1 -3mm Ca|1 -3mm Ti|3 ./4mmm O"),
    ("W", "229|2 m-3m W"),
]
"""The last has no learned shape; of equal parts there are three formulas, of all others one each.

Titanium is like chromium and carbon like nitrogen: TiC in the type of CrN is nearly as familiar as its own.
"""

ELEMENTS = ["C", "Al", "Ti"]
HALF_WAY = dict.fromkeys(numbers_for(3), 0.5)


def trial_space(**constraints: Any) -> TrialSpace:
    given = {"elements": {"only": ELEMENTS}, "n_elements": [1, 3], "n_atoms": {"max": 8}, **constraints}
    config = CampaignConfig.from_mapping({**CONFIG, "constraints": given})
    return TrialSpace(search_space(config), lambda: prototypes(ROWS, 8, 4))


@pytest.mark.parametrize(("most", "places"), [(1, 4), (4, 4), (5, 5), (8, 8), (20, 8)])
def test_a_trial_has_a_number_for_each_element_four_at_least_and_eight_at_most(
    most: int, places: int
) -> None:
    elements = [f"element_{k + 1}" for k in range(places)]
    assert numbers_for(most) == ("n_elements", *elements, "stoichiometry", "type", "density")


def test_parts_of_zero_to_one_and_their_middles() -> None:
    assert [place_of(x, 5) for x in (0.0, 0.19, 0.2, 0.99, 1.0)] == [0, 0, 1, 4, 4]
    assert [middle_of(k, 5) for k in range(5)] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert [bounded(x) for x in (-0.1, 0.0, 0.4, 1.0, 1.3)] == [0.0, 0.0, 0.4, 1.0, 1.0]


def test_densities_are_volumes_15_percent_around_the_expected_one() -> None:
    assert [volume_at(x) for x in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.85, 0.925, 1.0, 1.15])
    assert [density_at(v) for v in (0.85, 0.925, 1.15)] == pytest.approx([0.0, 0.25, 1.0])
    assert [density_at(v) for v in (0.5, 2.0)] == [0.0, 1.0]


def test_elements_stand_in_the_order_of_their_chemistry_and_amounts_in_that_of_their_frequency() -> None:
    own = trial_space()
    assert own.elements == ["Ti", "Al", "C"]
    assert own.amounts_of(2) == [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1)]
    assert own.amounts_of(3) == [(1, 1, 3), (1, 3, 1), (3, 1, 1)]


@pytest.mark.parametrize(
    ("constraints", "sizes"),
    [
        ({}, (2, 3)),
        ({"n_elements": [2, 3]}, (2, 3)),
        ({"n_elements": [2, 2]}, (2,)),
        ({"n_elements": [3, 5]}, (3,)),
        ({"elements": {"only": ["Ti", "C"]}, "n_elements": [1, 3]}, (2,)),
    ],
)
def test_numbers_of_elements_are_those_allowed_that_have_types_and_elements_enough(
    constraints: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    own = trial_space(**constraints)
    assert own.sizes == sizes
    found = [own.size_of({"n_elements": middle_of(k, len(sizes))}) for k in range(len(sizes))]
    assert found == list(sizes)


def test_types_are_those_within_the_numbers_of_atoms_both_ends_included() -> None:
    amounts = trial_space(n_atoms={"min": 3, "max": 3}).amounts_of(2)
    assert amounts == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("numbers", "formula"),
    [
        ({"element_1": 0.1, "element_2": 0.9}, {"Ti": 1, "C": 2}),
        ({"element_1": 0.9, "element_2": 0.1}, {"Ti": 1, "C": 2}),
        ({"element_1": 0.5, "element_2": 0.5}, {"Ti": 1, "Al": 2}),
        ({"element_1": 0.9, "element_2": 0.9}, {"Al": 1, "C": 2}),
        ({"element_1": 0.9, "element_2": 0.9, "stoichiometry": 0.95}, {"Al": 3, "C": 1}),
        ({"n_elements": 0.9, "element_3": 0.1, "stoichiometry": 0.1}, {"Ti": 1, "Al": 1, "C": 3}),
    ],
)
def test_an_element_taken_already_gives_way_to_the_nearest_the_earlier_of_two(
    numbers: dict[str, float], formula: dict[str, int]
) -> None:
    """Amounts go on the elements in their order; 0.3 chooses the second of five, 1:2."""
    given = {**HALF_WAY, "n_elements": 0.1, "stoichiometry": 0.3, **numbers}
    assert trial_space().formula_of(given) == formula
    assert list(trial_space().formula_of(given)) == list(formula)


EQUAL = {**HALF_WAY, "n_elements": 0.25, "element_1": 1 / 6, "element_2": 2.5 / 3, "stoichiometry": 0.1}
"""Titanium and carbon in equal parts: the first of two numbers of elements, the first of five amounts."""


@pytest.mark.parametrize(
    ("number", "crystal"),
    [
        (0.0, (SALT, ("C", "Ti"))),
        (0.49, (SALT, ("C", "Ti"))),
        (0.51, (WURTZITE, ("Ti", "C"))),
        (0.72, (SALT, ("Ti", "C"))),
        (0.87, (WURTZITE, ("C", "Ti"))),
        (1.0, (WURTZITE, ("C", "Ti"))),
    ],
)
def test_the_number_of_a_type_favours_the_most_familiar(
    number: float, crystal: tuple[str, tuple[str, ...]]
) -> None:
    """Four crystals of TiC: its known one, that like CrN, and those types the other way round.

    The square of the number chooses, so the borders lie at the roots of 1/4, 1/2 and 3/4.
    """
    found = trial_space().chosen({**EQUAL, "type": number})
    assert (found.prototype.text, found.elements) == crystal
    assert found.key == f"{crystal[0]} {crystal[1][0]} {crystal[1][1]}"


def test_a_crystal_is_written_in_the_middle_of_each_choice() -> None:
    own = trial_space()
    wanted = pytest.approx({**EQUAL, "type": 0.125**0.5})
    assert own.numbers_of(SALT, ("C", "Ti")) == wanted
    given = {**EQUAL, "element_1": 0.9, "element_2": 0.05, "element_3": 0.7, "stoichiometry": 0.01}
    assert own.canonical({**given, "type": 0.4, "density": 0.7}) == pytest.approx(
        {**EQUAL, "type": 0.4, "density": 0.7}
    )


@pytest.mark.parametrize(
    ("label", "elements"),
    [
        ("225|4 -3mm A|4 -3mm C", ("C", "Ti")),
        (SALT, ("C", "W")),
        ("221|1 -3mm A|1 -3mm B|3 ./4mmm C", ("Al", "Ti", "C")),
        ("229|2 m-3m A", ("Ti",)),
    ],
)
def test_a_crystal_of_another_type_element_or_number_of_elements_is_no_trial(
    label: str, elements: tuple[str, ...]
) -> None:
    assert trial_space(n_elements=[1, 2]).numbers_of(label, elements) is None


def every_crystal(own: TrialSpace) -> set[str]:
    """Return the crystals of all types on all elements, by counting the atoms of each label."""
    found = set()
    for size in own.sizes:
        for elements in combinations(own.elements, size):
            if own.is_allowed(dict.fromkeys(elements, 1)):
                types = [p for p in prototypes(ROWS, 8, 4) if len(p.counts) == size]
                found |= {f"{p.text} {' '.join(e)}" for p in types for e in permutations(elements)}
    return found


def test_every_crystal_is_gone_through_once_at_one_density_after_the_other() -> None:
    own = trial_space()
    found = list(own.every([0.7, 0.2]))
    keys = [own.chosen(numbers).key for numbers in found]
    n = len(keys) // 2
    assert n == 4 * 6 + 6
    assert [numbers["density"] for numbers in found] == [0.7] * n + [0.2] * n
    assert len(set(keys[:n])) == n
    assert set(keys[:n]) == every_crystal(own)
    assert keys[n:] == keys[:n]
    for numbers in found[:n]:
        crystal = own.chosen(numbers)
        assert own.canonical(numbers) == pytest.approx(numbers)
        assert own.numbers_of(crystal.prototype.text, crystal.elements) == pytest.approx(
            {**numbers, "density": 0.5}
        )


@pytest.mark.parametrize(
    ("constraints", "sets"),
    [
        ({}, ["Ti-Al", "Ti-C", "Al-C", "Ti-Al-C"]),
        ({"elements": {"only": ELEMENTS, "include_all": ["C"]}}, ["Ti-C", "Al-C", "Ti-Al-C"]),
        ({"elements": {"only": ELEMENTS, "include_all": ["C", "Al"]}}, ["Al-C", "Ti-Al-C"]),
        ({"elements": {"only": ELEMENTS, "include_all": ELEMENTS}}, ["Ti-Al-C"]),
        ({"elements": {"only": ELEMENTS, "include_any": ["Ti"]}}, ["Ti-Al", "Ti-C", "Ti-Al-C"]),
        ({"chemical_systems": ["Al-C-Ti", "Al-C"]}, ["Al-C", "Ti-Al-C"]),
        ({"chemical_systems": ["Al-C", "Al-Ti"], "subsystems": True}, ["Al-C", "Ti-Al"]),
        (
            {"chemical_systems": ["C-Ti", "Al-C"], "subsystems": True, "elements": {"include_all": ["Al"]}},
            ["Al-C"],
        ),
        (
            {"chemical_systems": ["Al-C-Ti"], "subsystems": True, "elements": {"include_all": ["Al"]}},
            ["Ti-Al", "Al-C", "Ti-Al-C"],
        ),
    ],
)
def test_sets_of_elements_hold_what_must_occur_and_keep_to_the_listed_systems(
    constraints: dict[str, Any], sets: list[str]
) -> None:
    own = trial_space(**constraints)
    found = dict.fromkeys("-".join(own.formula_of(numbers)) for numbers in own.every([0.5]))
    assert list(found) == sets


def test_what_may_change_on_its_own_is_each_element_the_amounts_with_the_type_the_type_and_the_density() -> (
    None
):
    elements = (("element_1",), ("element_2",))
    assert trial_space().parts_of(2) == (*elements, ("stoichiometry", "type"), ("type",), ("density",))
