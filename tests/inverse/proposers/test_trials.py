"""Trials of the outer search: what their numbers mean, what is remembered of them, what is drawn."""

from collections import Counter

import numpy as np
import pytest

from inverse.config import CampaignConfig
from inverse.proposers.bayesian import BEST_KEPT, RECENT_KEPT, Memory, OuterSearch, Trial
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.trial_space import TrialSpace
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
    numbers = own.numbers_of("225|4 -3mm A|4 -3mm B", ("W", "C"), 0.3)
    assert numbers is not None
    assert own.chosen(numbers).elements in (("W", "C"), ("C", "W"))
    assert own.chosen(numbers).prototype.text == "225|4 -3mm A|4 -3mm B"
    assert numbers["density"] == 0.3
    first = own.chosen({**numbers, "type": 0.0})
    assert first.prototype.familiarity(first.elements) > 1
    assert own.numbers_of("225|4 -3mm A|4 -3mm B", ("W", "U"), 0.3) is None
    assert own.numbers_of("1|1 1 A", ("W",), 0.3) is None


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
    """And each number of elements gets its half of the trials."""
    search = method(needle_space(), types) if method is GeneticSearch else OuterSearch(needle_space(), types)
    for step in range(3):
        search.ask(12, step, 5)
    places = [(t.crystal, int(20 * t.numbers["density"])) for t in search._trials]
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
