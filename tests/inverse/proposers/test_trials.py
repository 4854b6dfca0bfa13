"""Trials of the outer search: what their numbers mean, what is remembered of them, what is drawn."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice, product
from typing import Any

import numpy as np
import pytest

from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers import trial_space
from inverse.proposers.bayesian import BEST_KEPT, DENSITY_BINS, RECENT_KEPT, Memory, OuterSearch, Trial
from inverse.proposers.distinct import distinct
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.trial_space import TrialSpace, middle_of, place_of
from inverse.reference.structure_types import prototypes
from tests.fakes import CONFIG, search_space
from tests.needle import needle_space, types


def space() -> TrialSpace:
    return TrialSpace(needle_space(), types)


def drawn(n: int, names: tuple[str, ...], seed: int = 0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [dict(zip(names, rng.uniform(size=len(names)).tolist(), strict=True)) for _ in range(n)]


def test_a_trial_is_written_one_way_whatever_the_order_of_its_elements() -> None:
    """Same formula, same type, elements swapped among the numbers: the same canonical numbers."""
    own = space()
    for numbers in drawn(40, own.names):
        canonical = own.canonical(numbers)
        swapped = {**numbers, "element_1": numbers["element_2"], "element_2": numbers["element_1"]}
        assert own.chosen(canonical) == own.chosen(numbers)
        assert own.canonical(canonical) == canonical
        if own.size_of(numbers) == 2 and len(set(own.formula_of(numbers).values())) == 1:
            assert own.canonical(swapped) == canonical
        order = [own.elements.index(e) for e in own.formula_of(numbers)]
        assert order == sorted(order)


def test_every_crystal_can_be_named_and_usual_types_of_its_elements_come_first() -> None:
    own = space()
    numbers = own.numbers_of("225|4 -3mm A|4 -3mm B", ("W", "C"))
    assert numbers is not None
    assert own.chosen(numbers).elements in (("W", "C"), ("C", "W"))
    assert own.chosen(numbers).prototype.text == "225|4 -3mm A|4 -3mm B"
    assert numbers["density"] == 0.5
    first = own.chosen({**numbers, "type": 0.0})
    assert first.prototype.familiarity(first.elements) > 1
    assert own.numbers_of("225|4 -3mm A|4 -3mm B", ("W", "U")) is None
    assert own.numbers_of("1|1 1 A", ("W",)) is None


def test_amounts_of_elements_reach_every_order_of_every_stoichiometry() -> None:
    own = space()
    pairs = own.amounts_of(2)
    assert {(1, 1), (1, 2), (2, 1), (1, 3), (3, 1)} < set(pairs)
    assert len(pairs) == len(set(pairs))


def trial(k: int, value: float) -> Trial:
    return Trial({"density": 0.5}, f"crystal {k}", value, 0)


def test_what_is_remembered_does_not_grow_and_holds_the_best() -> None:
    """Fifty of 5,000 crystals are good, the first fifty, each tried at three densities."""
    memory = Memory()
    for k in range(5000):
        for shift in (0.0, 2.0, 1.0):
            memory.add(trial(k, -1.0 * k + shift))
    told = memory.told()
    assert len(told) == BEST_KEPT + RECENT_KEPT
    assert [t.crystal for t in memory.parents()[:3]] == ["crystal 0", "crystal 1", "crystal 2"]
    assert memory.parents()[0].value == 2.0
    assert max(Counter(t.crystal for t in told[:BEST_KEPT]).values()) == 1
    assert [t.crystal for t in told[-3:]] == ["crystal 4999"] * 3


@pytest.mark.parametrize("method", [OuterSearch, GeneticSearch])
def test_no_crystal_is_tried_twice_at_one_density(method: type[OuterSearch]) -> None:
    """Nor are the leaders, tried at more volumes; and each number of elements gets its half of the trials."""
    search = method(needle_space(), types) if method is GeneticSearch else OuterSearch(needle_space(), types)
    for step in range(3):
        search.ask(12, step, 5)
    places = [(t.crystal, place_of(t.numbers["density"], DENSITY_BINS)) for t in search._trials]
    assert len(places) > 150
    assert len(set(places)) == len(places)
    sizes = Counter(search._trial_space.size_of(t.numbers) for t in search._trials)
    assert min(sizes.values()) > 0.4 * len(places)


def test_the_value_of_a_hopeless_trial_still_tells_bad_from_worse() -> None:
    """Blind trials lie a dozen standard deviations off: a value flat at 0 would leave nothing to climb."""
    search = OuterSearch(needle_space(), types)
    search.ask(12, 0, 5)
    values = sorted(t.value for t in search._trials if t.value > -700)
    assert values[0] < -21
    assert len({round(v, 6) for v in values}) > 0.9 * len(values)


def test_trials_of_an_older_study_are_not_read(tmp_path) -> None:
    """Their numbers meant other crystals."""
    import optuna

    optuna.create_study(
        study_name="outer", storage=f"sqlite:///{tmp_path / 'trials.db'}", direction="maximize"
    )
    search = OuterSearch(search_space(CampaignConfig.from_mapping(CONFIG)), types)
    search.open_trials(tmp_path / "trials.db", 3)
    assert search._trials == []


FEW_TYPES = prototypes(
    [
        ("W", "229|2 m-3m W"),
        ("TiC", "225|4 -3mm C|4 -3mm Ti"),
        ("NaCl", "221|1 -3mm Cl|1 -3mm Na"),
        ("WC", "187|1 -26m C|1 -26m W"),
        ("TiB2", "191|1 /6mmm Ti|2 -26m B"),
        ("Fe3Al", "221|1 -3mm Al|3 ./4mmm Fe"),
    ],
    8,
    4,
)


def small_space(constraints: dict) -> SearchSpace:
    """Return a space of few crystals."""
    given = {"n_elements": [2, 2], "n_atoms": {"max": 4}, **constraints}
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": given}))


def sound_crystals(space: SearchSpace) -> list[Proposal]:
    """Return every crystal of a space that is sound at some density, found on a grid of all numbers."""
    search = OuterSearch(space, lambda: FEW_TYPES)
    own = search._trial_space
    n_elements, amounts = len(own.elements), len(own.amounts_of(2))
    middles = [
        [middle_of(k, n) for k in range(n)] for n in (n_elements, n_elements, amounts, 40, DENSITY_BINS)
    ]
    names = ("element_1", "element_2", "stoichiometry", "type", "density")
    grid = [dict.fromkeys(own.names, 0.5) | dict(zip(names, v, strict=True)) for v in product(*middles)]
    written = {(own.chosen(n).key, n["density"]): n for n in grid if own.is_allowed(own.formula_of(n))}
    made = search._proposals(list(written.values()), 5)
    return distinct([p for p in made if p is not None and not space.screening(p.structure)])


def told(search: OuterSearch, found: list[Proposal], first: int) -> None:
    search.tell(
        [
            Candidate(
                f"c{first + k:06d}", p.structure, p.proposer, p.seed, key=p.key, status=Status.PREDICTED
            )
            for k, p in enumerate(found)
        ]
    )


def offered_until_dry(search: OuterSearch, n: int, before: list[list[Proposal]]) -> list[list[Proposal]]:
    """Return the answers of a source from the step after those before on, until it has none twice."""
    steps = list(before)
    while found := search.ask(n, len(steps), 5):
        steps.append(found)
        told(search, found, 100 * len(steps))
    assert search.ask(n, len(steps) + 1, 5) == []
    return steps


NARROW = [
    {"elements": {"only": ["Al", "Cu", "Ni"]}},
    {"elements": {"only": ["W", "Ti", "Al", "C"], "include_all": ["C"]}},
    {"elements": {"only": ["Al", "Cu", "Ni", "Ti"]}, "chemical_systems": ["Al-Cu", "Ni-Ti"]},
]


@pytest.mark.parametrize(("name", "constraints"), [("tpe", NARROW[0]), *(("genetic", own) for own in NARROW)])
def test_every_crystal_of_a_narrow_space_is_offered_before_the_source_is_dry(
    name: str, constraints: dict
) -> None:
    """Repeats do not silence it for good, though no draw finds the last crystals."""
    space = small_space(constraints)
    expected = sound_crystals(space)
    found = [p for own in offered_until_dry(narrow(name, space), 4, []) for p in own]
    assert len(expected) >= 10
    assert len(distinct(found)) == len(found)
    assert len(distinct([*found, *expected])) == len(found) == len(expected)


@pytest.mark.parametrize("name", ["tpe", "genetic"])
def test_a_source_resumed_among_its_last_crystals_ends_like_an_undisturbed_one(name: str) -> None:
    """Whatever step it is killed in: what it tried in that step is drawn again."""
    search = narrow(name, small_space(NARROW[0]))
    steps = offered_until_dry(search, 4, [])
    whole = [(t.crystal, t.value, t.step) for t in search._trials]
    assert len(steps) > 4
    for kept in (len(steps) - 2, len(steps)):
        resumed = narrow(name, small_space(NARROW[0]))
        for trial in search._trials:
            if trial.step < kept:
                resumed._remember(trial.numbers, trial.value, trial.step)
        for k, found in enumerate(steps[:kept]):
            told(resumed, found, 100 * (k + 1))
        again = offered_until_dry(resumed, 4, steps[:kept])
        assert [[p.structure for p in own] for own in again] == [[p.structure for p in own] for own in steps]
        assert [(t.crystal, t.value, t.step) for t in resumed._trials] == whole


def narrow(name: str, space: SearchSpace) -> OuterSearch:
    return (OuterSearch if name == "tpe" else GeneticSearch)(space, lambda: FEW_TYPES)


@pytest.mark.parametrize("name", ["tpe", "genetic"])
def test_a_round_of_repeats_is_not_drawn_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It adds no trial: drawn by the number of trials alone, every later round would be the same for good."""
    refused: set[str] = set()
    new, n_calls = OuterSearch._new, 0

    def among_others(self: OuterSearch, draws: Iterable[Any], n: int) -> list[dict[str, float]]:
        nonlocal n_calls
        n_calls += 1
        seen = {str(own.canonical(d)): d for d in islice(draws, 3 * n)}
        refused.update(seen if n_calls <= len(own.sizes) else ())
        return new(self, [d for key, d in seen.items() if key not in refused], n)

    monkeypatch.setattr(OuterSearch, "_new", among_others)
    own = space()
    search = (OuterSearch if name == "tpe" else GeneticSearch)(needle_space(), types)
    assert search.ask(4, 0, 5)
    assert n_calls > len(own.sizes)


def test_formulas_kept_in_memory_are_few_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = drawn(200, space().names)
    whole = space()
    expected = [whole.chosen(n) for n in numbers]
    monkeypatch.setattr(trial_space, "OPTIONS_KEPT", 5)
    own = space()
    assert [own.chosen(n) for n in numbers] == expected
    assert own._kept_options.cache_info().currsize == 5
