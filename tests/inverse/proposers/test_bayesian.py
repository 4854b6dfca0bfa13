"""The outer search on a world of six crystals, where each trial, each volume and each value is known."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from math import exp, log
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pytest
from pymatgen.core import Composition, Structure

from inverse.candidates.types import Breach, Candidate, Rule
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers import bayesian
from inverse.proposers.bayesian import (
    BEST_KEPT,
    GIVEN_UP,
    LEAST_WORTH,
    RECENT_KEPT,
    ROUND,
    WORST,
    Memory,
    OuterSearch,
    PartSampler,
    Trial,
)
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.trial_space import Numbers, TrialSpace
from inverse.reference.geometries import packaged_geometries
from inverse.reference.structure_types import Prototype, label_counts
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, search_space

BORIDE = "191|1 /6mmm A|2 -26m B"
PAIRS = [("Ti", "C"), ("Al", "C"), ("Ti", "Al"), ("C", "Ti"), ("C", "Al"), ("Al", "Ti")]
"""Elements on the labels of AB2, the only type: all crystals there are, each at ten densities."""

DENSITIES = [0.45, 0.55, 0.35, 0.65, 0.25, 0.75, 0.15, 0.85, 0.05, 0.95]
"""The middles of the ten parts, the middle ones first."""

Worth = Callable[[str, str, float], float]
"""The element on A, that on B, and the density -> worth."""


def by_pair(a: str, b: str, density: float) -> float:
    """Half of the pair before, the best at a density of 0.25."""
    return float(0.5 ** PAIRS.index((a, b)) * exp(-((density - 0.25) ** 2)))


class Valued(SearchSpace):
    """A space whose crystals are worth what a test says."""

    worth: Worth

    def scored(self, structures: Sequence[Structure], corrected: bool = True) -> np.ndarray:
        return np.array([self.worth(*named(s)) for s in structures])


def named(structure: Structure) -> tuple[str, str, float]:
    """Return the elements on A and B and the density: 10 Å³ per atom are expected of every crystal."""
    amounts = structure.composition.get_el_amt_dict()
    a, b = sorted(amounts, key=amounts.__getitem__)
    return a, b, round((structure.volume / len(structure) / 10.0 - 0.85) / 0.3, 4)


def world(worth: Worth = by_pair, **changes: Any) -> SearchSpace:
    constraints = {"elements": {"only": ["Ti", "Al", "C"]}, "n_elements": [2, 2], "n_atoms": {"max": 8}}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    made = Valued(**{**vars(space), "screening": lambda structure: None, **changes})
    object.__setattr__(made, "worth", worth)
    return made


def types(text: str = BORIDE) -> list[Prototype]:
    return [Prototype(text, label_counts(text))]


def at(pair: tuple[str, str], density: float) -> dict[str, float]:
    """Return the trial that makes a crystal of the world."""
    numbers = TrialSpace(world(), types).numbers_of(BORIDE, pair)
    assert numbers is not None
    return {**numbers, "density": density}


class Scripted(OuterSearch):
    """Tries the rounds that it is given and notes what was asked of it."""

    def __init__(self, space: SearchSpace, *rounds: list[dict[str, float]]) -> None:
        super().__init__(space, types)
        self.rounds = list(rounds)
        self.asked: list[tuple[int, int, int]] = []

    def _drawn(self, seed: int, step: int, turn: int) -> list[dict[str, float]]:
        self.asked.append((seed, step, turn))
        return self.rounds.pop(0) if self.rounds else []


def tried(search: OuterSearch, first: int = 0) -> list[tuple[str, str, float]]:
    """Return what was tried: elements on A and B, and density."""
    pairs = [trial.crystal.removeprefix(f"{BORIDE} ").split() for trial in search._trials[first:]]
    return [
        (a, b, round(t.numbers["density"], 4))
        for (a, b), t in zip(pairs, search._trials[first:], strict=True)
    ]


def candidates(proposals: Sequence[Proposal], **changes: Any) -> list[Candidate]:
    return [
        replace(Candidate(f"c{p.key}", p.structure, p.proposer, p.seed, key=p.key), **changes)
        for p in proposals
    ]


def refused(structure: Structure) -> Breach:
    return Breach(Rule.VOLUME, "none is sound")


# -- an ask ----------------------------------------------------------------------------------------------


def test_whoever_asks_for_nothing_gets_nothing_and_one_who_asks_for_one_gets_the_best() -> None:
    search = Scripted(world(), [at(pair, 0.25) for pair in reversed(PAIRS)])
    assert search.ask(0, 0, 5) == []
    assert search.asked == []
    assert [named(p.structure) for p in search.ask(1, 0, 5)] == [("Ti", "C", 0.25)]


@pytest.mark.parametrize(("n", "rounds"), [(1, 1), (10, 1), (11, 2), (21, 2), (22, 3)])
def test_three_trials_are_drawn_for_each_crystal_asked_for_in_whole_rounds_of_32(n: int, rounds: int) -> None:
    search = Scripted(world(), *([at(pair, 0.45)] for pair in PAIRS))
    search.ask(n, 2, 7)
    assert search.asked == [(7, 2, turn) for turn in range(rounds)]


def test_an_empty_round_ends_an_ask() -> None:
    search = Scripted(world(), [at(PAIRS[0], 0.45)], [], [at(PAIRS[1], 0.45)])
    assert [named(p.structure)[:2] for p in search.ask(30, 0, 5)] == [PAIRS[0]]
    assert len(search.asked) == 2


def test_the_best_are_offered_first_each_once_at_its_best_volume_and_never_again() -> None:
    search = Scripted(
        world(), [at(pair, density) for density in (0.95, 0.75, 0.35) for pair in reversed(PAIRS)], []
    )
    found = search.ask(4, 0, 5)
    assert [named(p.structure)[:2] for p in found] == PAIRS[:4]
    assert [named(p.structure)[2] for p in found] == [0.23, 0.35, 0.35, 0.35], "the leader is tried nearer"
    search.tell(candidates(found))
    again = search.ask(4, 1, 5)
    assert {named(p.structure)[:2] for p in again} == set(PAIRS[4:])


def test_what_another_source_offered_is_not_offered() -> None:
    search = Scripted(world(), [at(pair, 0.25) for pair in PAIRS])
    (other,) = Scripted(world(), [at(PAIRS[1], 0.75)]).ask(1, 0, 5)
    search.tell(candidates([replace(other, key="", proposer="other")]))
    assert [named(p.structure)[:2] for p in search.ask(9, 0, 5)] == [PAIRS[0], *PAIRS[2:]]


@pytest.mark.parametrize(
    ("n", "density", "more"),
    [
        (8, 0.55, {PAIRS[0]: [0.43, 0.61]}),
        (9, 0.55, {PAIRS[0]: [0.43, 0.61], PAIRS[1]: [0.43, 0.61]}),
        (1, 0.35, {PAIRS[0]: [0.23, 0.41]}),
        (1, 0.17, {PAIRS[0]: [0.05, 0.23]}),
        (1, 0.11, {PAIRS[0]: [0.0, 0.23]}),
        (1, 0.86, {PAIRS[0]: [0.74, 0.92]}),
        (1, 0.99, {PAIRS[0]: [0.87]}),
    ],
)
def test_one_in_eight_the_best_is_tried_denser_and_less_dense(
    n: int, density: float, more: dict[tuple[str, str], list[float]]
) -> None:
    """By 0.06 and 0.12, once in each tenth: of 0.43 and 0.49 the first, none in that of 0.55 itself."""
    search = Scripted(world(), [at(pair, density) for pair in reversed(PAIRS)])
    search.ask(n, 0, 5)
    assert tried(search, len(PAIRS)) == [(*pair, other) for pair, own in more.items() for other in own]


def test_who_was_offered_before_leads_no_more_and_a_crystal_leads_once() -> None:
    """The best crystal was offered; the next takes its place, at the better of its two densities."""
    search = Scripted(
        world(), [at(PAIRS[0], 0.35)], [at(PAIRS[1], 0.95), at(PAIRS[1], 0.35), at(PAIRS[2], 0.35)]
    )
    search.tell(candidates(search.ask(1, 0, 5)))
    n_before = len(search._trials)
    search.ask(16, 1, 5)
    assert tried(search, n_before + 3)[:3] == [(*PAIRS[1], 0.23), (*PAIRS[1], 0.41), (*PAIRS[2], 0.23)]


def test_a_trial_is_valued_by_the_logarithm_of_its_worth() -> None:
    """One worth nothing is still above one that is unsound or forbidden, which is never worth a question."""
    asked: list[tuple[str, str]] = []

    def worth(a: str, b: str, density: float) -> float:
        asked.append((a, b))
        return 0.0 if b == "Al" else 0.25

    space = world(worth, screening=lambda s: refused(s) if named(s)[:2] == ("Ti", "C") else None)
    allowed = space.composition_reason

    def reason(composition: Composition) -> Breach | None:
        is_out = composition == Composition("AlC2")
        return Breach(Rule.EXCLUDED, "no AlC2") if is_out else allowed(composition)

    search = Scripted(replace_reason(space, reason), [at(pair, 0.45) for pair in PAIRS[:4]])
    assert len(search.ask(8, 3, 5)) == 2
    values = [t.value for t in search._trials[:4]]
    assert values == [WORST, WORST, log(LEAST_WORTH), log(0.25)]
    assert log(LEAST_WORTH) > WORST
    assert set(asked) == {("Ti", "Al"), ("C", "Ti")}
    assert {t.step for t in search._trials} == {3}


def test_fewer_values_than_crystals_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would fall on the crystal before."""
    monkeypatch.setattr(Valued, "scored", lambda self, structures: np.ones(len(structures) - 1))
    with pytest.raises(ValueError, match="shorter"):
        Scripted(world(), [at(pair, 0.45) for pair in PAIRS[:3]]).ask(1, 0, 5)


def replace_reason(space: SearchSpace, reason: Callable[[Composition], Breach | None]) -> SearchSpace:
    assert isinstance(space, Valued)
    made = Valued(**{k: v for k, v in vars(space).items() if k != "worth"} | {"composition_reason": reason})
    object.__setattr__(made, "worth", space.worth)
    return made


def test_a_proposal_says_what_it_is_and_which_trial_it_was() -> None:
    search = Scripted(world(), [at(pair, 0.45) for pair in PAIRS[:2]], [at(pair, 0.75) for pair in PAIRS[2:]])
    found = {named(p.structure)[:2]: p for p in search.ask(11, 0, 7)}
    for trial, pair in enumerate(PAIRS):
        assert found[pair].key == f"{BORIDE} {pair[0]} {pair[1]}"
        assert (found[pair].proposer, found[pair].seed, found[pair].trust) == ("tpe", 7, 0.35)
        assert {k: found[pair].history[k] for k in ("template", "elements")} == {
            "template": BORIDE,
            "elements": list(pair),
        }
        if named(found[pair].structure)[2] in (0.45, 0.75):
            assert found[pair].history["trial"] == trial
    assert sum(named(p.structure)[2] in (0.45, 0.75) for p in found.values()) >= 4


@pytest.mark.parametrize(
    ("elements", "volume"),
    [
        (("Ti", "C"), (12.6224 + 2 * 5.0) / 3),
        (("Al", "Ti"), (8.984375 + 2 * 12.6224) / 3),
        (("He", "Ti"), (15.525 + 2 * 12.6224) / 3),
    ],
)
def test_volumes_go_by_the_radii_of_the_atoms_where_no_model_expects_one(
    elements: tuple[str, str], volume: float
) -> None:
    """Of 1.4 Å for Ti, 1.25 for Al, 0.7 for C, too small to count, and 1.5 for He, which has none."""
    constraints = {"elements": {"only": ["Ti", "Al", "C", "He"]}, "n_elements": [2, 2]}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    search = OuterSearch(replace(space, compositions=None), types)
    numbers = search._trial_space.numbers_of(BORIDE, elements)
    assert numbers is not None
    proposals = search._proposals([{**numbers, "density": density} for density in (0.0, 0.5, 1.0)], 5)
    found = [p.structure.volume / len(p.structure) for p in proposals if p is not None]
    assert found == pytest.approx([0.85 * volume, volume, 1.15 * volume], rel=1e-5)


# -- where draws find nothing ----------------------------------------------------------------------------


def test_what_no_draw_finds_is_gone_through_the_middle_densities_first() -> None:
    """All crystals at one density before the next, but those offered already."""
    search = Scripted(world(screening=refused))
    told = Scripted(world(), [at(PAIRS[2], 0.45)]).ask(1, 0, 5)
    search.tell(candidates(told))
    assert search.ask(4, 0, 5) == []
    found = tried(search)
    assert [density for *_, density in found] == [d for d in DENSITIES for _ in range(5)]
    pairs = [{(a, b) for a, b, _ in found[k : k + 5]} for k in range(0, 50, 5)]
    assert pairs == [set(PAIRS) - {PAIRS[2]}] * 10


def test_no_more_is_expected_after_so_many_barren_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayesian, "BARREN", 2 * ROUND - 1)
    search = Scripted(world(screening=refused))
    assert search.ask(4, 0, 5) == []
    assert len(search._trials) == ROUND
    search.ask(4, 1, 5)
    assert len(search._trials) == 60, "goes on where it was"


def test_untried_crystals_come_a_round_at_a_time() -> None:
    search = Scripted(world())
    assert [named(p.structure)[:2] for p in search.ask(2, 0, 5)] == PAIRS[:2]
    assert len(search._trials) == ROUND


@pytest.mark.parametrize("chunk", [2, 32])
def test_what_others_of_its_round_kept_from_being_offered_comes_last_at_its_best_volume(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place was tried in the first step; of equal volumes the one tried first counts."""

    def worth(a: str, b: str, density: float) -> float:
        return 0.3 if (a, b) == PAIRS[3] else by_pair(a, b, density)

    space = world(worth, screening=lambda s: refused(s) if named(s)[:2] == PAIRS[4] else None)
    every = [at(pair, density) for pair in PAIRS for density in sorted(DENSITIES)]
    search = Scripted(space, every)
    search.tell(candidates(search.ask(1, 0, 5)))
    monkeypatch.setattr(bayesian, "ROUND", chunk)
    first = search.ask(3, 1, 5)
    assert [named(p.structure) for p in first] == [(*PAIRS[1], 0.25), (*PAIRS[3], 0.05), (*PAIRS[2], 0.25)]
    assert {p.seed for p in first} == {5}
    search.tell(candidates(first))
    last = search.ask(3, 2, 5)
    assert [named(p.structure) for p in last] == [(*PAIRS[5], 0.25)]
    search.tell(candidates(last))
    assert search.ask(3, 3, 5) == []
    assert len(search._trials) == 60


# -- a round ---------------------------------------------------------------------------------------------


def many_types() -> list[Prototype]:
    """Return a few types with shapes of one, two and three elements."""
    found: dict[int, list[Prototype]] = {}
    for text in packaged_geometries():
        counts = label_counts(text)
        if len(counts) <= 3 and sum(counts) <= 6:
            found.setdefault(len(counts), []).append(Prototype(text, counts, {("kind",) * len(counts): 3}))
    return [prototype for own in found.values() for prototype in own[:4]]


def wide(low: int, high: int) -> SearchSpace:
    constraints = {**CONFIG["constraints"], "n_elements": [low, high]}
    made = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    return replace(made, screening=lambda structure: None)


class Noting(OuterSearch):
    """Notes for which numbers of elements it draws from what it tried, and draws what a test says."""

    drawn_for: list[tuple[int, int]]
    n_drawn = 0
    draws: Sequence[Numbers] = ()

    def _draws(self, size: int, rng: np.random.Generator) -> Iterator[Numbers]:
        self.drawn_for.append((len(self._trials) // ROUND, size))
        for numbers in self.draws or [n.numbers for n in self._memory(size).told()[:1]] * 10_000:
            self.n_drawn += 1
            yield numbers


@pytest.mark.parametrize(
    ("low", "high", "shares", "begun"),
    [
        (2, 2, {2: 32}, [(2, 2)]),
        (2, 3, {2: 16, 3: 16}, [(2, 2), (2, 3)]),
        (1, 3, {1: 10, 2: 11, 3: 11}, [(2, 2), (2, 3)]),
    ],
)
def test_each_number_of_elements_has_its_share_of_a_round_and_of_64_blind_trials(
    low: int, high: int, shares: dict[int, int], begun: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After two rounds 64, 32 and 32, or 20, 22 and 22 are tried, of which 22 are asked for."""
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    search = Noting(wide(low, high), many_types)
    search.drawn_for = []
    search.ask(32, 0, 5)
    trials = search._trials
    assert len(trials) == 3 * ROUND
    for turn in range(3):
        own = [search._trial_space.size_of(t.numbers) for t in trials[ROUND * turn : ROUND * (turn + 1)]]
        assert Counter(own) == shares
        assert own == sorted(own)
    assert search.drawn_for == begun


def test_repeats_are_drawn_eight_times_over_before_blind_trials_fill_the_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    search = Noting(wide(2, 2), many_types)
    search.drawn_for = []
    search.ask(32, 0, 5)
    assert search.n_drawn == GIVEN_UP * ROUND
    assert len(search._trials) == 3 * ROUND


def test_a_round_holds_what_was_drawn_first_each_place_once_and_nothing_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a crystal drawn twice within one tenth of densities the first counts; AlC2 is forbidden here."""
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    monkeypatch.setattr(bayesian, "BLIND_TRIALS", 1)
    plain = world()

    def reason(composition: Composition) -> Breach | None:
        return Breach(Rule.EXCLUDED, "no AlC2") if composition == Composition("AlC2") else None

    search = Noting(replace_reason(plain, reason), types)
    search.drawn_for = []
    search._remember(at(PAIRS[0], 0.45), 0.0, 0)
    search.draws = [
        at(PAIRS[1], 0.15),
        at(PAIRS[0], 0.41),
        {**at(PAIRS[0], 0.51), "element_3": 0.123},
        at(PAIRS[0], 0.59),
        at(PAIRS[2], 0.59),
    ]
    search.ask(1, 1, 5)
    assert tried(search, 1)[:2] == [(*PAIRS[0], 0.51), (*PAIRS[2], 0.59)]
    assert search._trials[1].numbers["element_3"] == 0.5, "remembered as every trial is written"
    assert len(search._trials) == 1 + ROUND
    assert len(set(tried(search))) == 1 + ROUND


def test_the_first_trials_are_blind_draws_of_which_the_most_promising_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixteen times as many as wanted are drawn; the promise is the product of the shares of W and C."""
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    search = OuterSearch(wide(2, 2), many_types)
    search.ask(1, 3, 7)
    own = search._trial_space
    rng = np.random.default_rng([7, 3, 0, 2, 0])
    rows = [dict(zip(own.names, row, strict=True)) for row in rng.uniform(size=(16 * ROUND, len(own.names)))]
    shares = [Composition(own.formula_of(row)) for row in rows]
    order = sorted(
        range(len(rows)),
        key=lambda k: -round(shares[k].get_atomic_fraction("W") * shares[k].get_atomic_fraction("C"), 9),
    )
    wanted = []
    for k in order:
        place = (own.chosen(rows[k]).key, int(10 * rows[k]["density"]))
        if place not in wanted:
            wanted.append(place)
    found = [(t.crystal, int(10 * t.numbers["density"])) for t in search._trials]
    n_promising = sum({"W", "C"} == set(own.formula_of(rows[k])) for k in range(len(rows)))
    assert 8 < n_promising < ROUND
    assert found[:8] == wanted[:8]
    assert found == wanted[:ROUND]


# -- draws of parts --------------------------------------------------------------------------------------


class Counting:
    """Draws 0.123 for every number, and notes which numbers are drawn together."""

    drawn: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, told: Sequence[Trial], names: Sequence[str], n_amounts: int, seed: int) -> None:
        assert (n_amounts, len(told)) == (2, 40)
        assert "element_3" not in names

    def draw(self, names: Sequence[str]) -> dict[str, float]:
        self.drawn.append(tuple(names))
        return dict.fromkeys(names, 0.123)


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> OuterSearch:
    """A search that remembers forty crystals, the k-th best with k/100 for the third element."""
    monkeypatch.setattr(bayesian, "PartSampler", Counting)
    monkeypatch.setattr(Counting, "drawn", [])
    search = OuterSearch(world(), types)
    for k in range(40):
        numbers = {**dict.fromkeys(search._trial_space.names, 0.5), "element_3": k / 100}
        search._memory(2).add(Trial(numbers, f"crystal {k}", -1.0 * k, 0))
    return search


def draws(search: OuterSearch, n: int) -> list[tuple[int, set[str]]]:
    """Return the rank of the parent of each draw and which of its numbers are new."""
    found = list(islice(search._draws(2, np.random.default_rng(0)), n))
    return [
        (round(100 * one["element_3"]), {name for name, value in one.items() if value == 0.123})
        for one in found
    ]


PARTS = [("element_1",), ("element_2",), ("stoichiometry", "type"), ("type",), ("density",)]


def test_one_part_of_a_good_trial_is_drawn_anew_and_sometimes_two(
    drawing: OuterSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part as often as any other."""
    for chance, n_parts in ((0.0, 1), (1.0, 2)):
        monkeypatch.setattr(bayesian, "WHOLE_SHARE", 0.0)
        monkeypatch.setattr(bayesian, "TWO_PARTS", chance)
        monkeypatch.setattr(Counting, "drawn", [])
        found = draws(drawing, 400)
        parts = [Counting.drawn[k : k + n_parts] for k in range(0, len(Counting.drawn), n_parts)]
        assert len(parts) == len(found)
        assert all(len(set(own)) == n_parts for own in parts)
        assert [new for _, new in found] == [{name for part in own for name in part} for own in parts]
        shares = Counter(part for own in parts for part in own)
        assert set(shares) == set(PARTS)
        assert all(n == pytest.approx(80 * n_parts, rel=0.4) for n in shares.values())


def test_parents_are_the_best_sixteen_the_better_of_two(
    drawing: OuterSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean of the smaller of two ranks below 16 is 155/32, 4.8; of three it were 3.5, of one 7.5."""
    monkeypatch.setattr(bayesian, "WHOLE_SHARE", 0.0)
    ranks = [rank for rank, _ in draws(drawing, 1500)]
    assert set(ranks) == set(range(16))
    assert np.mean(ranks) == pytest.approx(155 / 32, abs=0.4)


def test_whole_trials_are_drawn_in_one_and_keep_what_does_not_matter_of_the_best(
    drawing: OuterSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bayesian, "WHOLE_SHARE", 1.0)
    whole = ("element_1", "element_2", "stoichiometry", "type", "density")
    assert draws(drawing, 5) == [(0, set(whole))] * 5
    assert Counting.drawn == [whole] * 5


def test_a_tenth_of_the_draws_is_whole_and_three_in_ten_of_the_others_have_two_parts(
    drawing: OuterSearch,
) -> None:
    found = draws(drawing, 1000)
    assert sum(len(new) == 5 for _, new in found) == pytest.approx(100, abs=35)
    assert len(Counting.drawn) == pytest.approx(1000 + 0.3 * 900, abs=60)


def good(value: float, k: int, **numbers: float) -> Trial:
    return Trial(numbers, f"crystal {k}", value, 0)


def test_few_trials_told_suffice_for_a_draw_of_any_of_their_numbers() -> None:
    sampler = PartSampler([good(0.0, 0, a=0.3, b=0.4)], ("a", "b"), 3, 5)
    for names in (("a",), ("b",), ("a", "b")):
        drawn = sampler.draw(names)
        assert tuple(drawn) == names
        assert all(0.0 <= value <= 1.0 for value in drawn.values())


def test_draws_lie_about_a_fifth_of_the_trials_the_best_and_never_beyond_0_and_1() -> None:
    """Of 60, six are good at 1 and six a little less so at 0.2: both places are drawn and seldom others."""
    told = [good(-100.0, k, a=0.6) for k in range(48)]
    told += [good(0.0, 48 + k, a=1.0) for k in range(6)] + [good(-1.0, 54 + k, a=0.2) for k in range(6)]
    sampler = PartSampler(told, ("a",), 3, 5)
    values = np.array([sampler.draw(("a",))["a"] for _ in range(60)])
    assert values.max() <= 1.0
    assert (values > 0.75).sum() > 40
    assert (values < 0.45).sum() > 4
    assert len(set(values.tolist())) == 60


def test_amounts_have_no_order_and_are_drawn_as_the_middles_of_their_choices() -> None:
    """The second and the last of five are good, what lies between is not."""
    middles = [0.1, 0.3, 0.5, 0.7, 0.9]
    told = [good(0.0 if k % 5 in (1, 4) else -100.0, k, stoichiometry=middles[k % 5]) for k in range(60)]
    sampler = PartSampler(told, ("stoichiometry",), 5, 5)
    found = Counter(round(sampler.draw(("stoichiometry",))["stoichiometry"], 6) for _ in range(60))
    assert set(found) == {0.3, 0.9}


def test_optuna_is_kept_from_telling_of_every_study_but_no_one_elses_verbosity_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    create = optuna.create_study

    def noted(**arguments: Any) -> Any:
        seen.append(optuna.logging.get_verbosity())
        return create(**arguments)

    monkeypatch.setattr(optuna, "create_study", noted)
    before = optuna.logging.get_verbosity()
    try:
        for level in (logging.INFO, logging.ERROR):
            optuna.logging.set_verbosity(level)
            PartSampler([good(0.0, 0, a=0.3)], ("a",), 3, 5)
            assert optuna.logging.get_verbosity() == level
    finally:
        optuna.logging.set_verbosity(before)
    assert seen == [logging.WARNING, logging.ERROR]


# -- what is remembered ----------------------------------------------------------------------------------


def filled(memory: Memory, n: int, value: float = -1000.0) -> None:
    for k in range(n):
        memory.add(Trial({}, f"other {k}", value - k, 9))


def test_the_latest_are_all_remembered_and_of_the_earlier_the_best_of_each_crystal() -> None:
    memory = Memory()
    for step, value in enumerate((1.0, 3.0, 3.0, 2.0)):
        memory.add(Trial({}, "crystal", value, step))
    filled(memory, RECENT_KEPT - 4)
    assert [t.step for t in memory.told()[:4]] == [0, 1, 2, 3], "none is earlier than the latest so far"
    assert len(memory.told()) == RECENT_KEPT == memory.n_seen
    filled(memory, 4, -2000.0)
    assert [t.step for t in memory.told() if t.crystal == "crystal"] == [1], "of equals the first"
    assert memory.told()[0].step == 1
    assert len(memory.told()) == RECENT_KEPT + 1


def test_as_many_crystals_are_remembered_as_there_is_room_for_and_the_worst_goes() -> None:
    memory = Memory()
    for k in range(BEST_KEPT + 1):
        memory.add(Trial({}, f"crystal {k}", float(-abs(k - 20)), 0))
    filled(memory, RECENT_KEPT - 1)
    assert len(memory.told()) == BEST_KEPT + RECENT_KEPT
    assert memory.told()[0].crystal == "crystal 0"
    filled(memory, 1, -2000.0)
    kept = [t.crystal for t in memory.told()[:BEST_KEPT]]
    assert kept == [f"crystal {k}" for k in range(BEST_KEPT)]


def test_parents_are_distinct_crystals_best_first_each_at_its_first_best_trial() -> None:
    memory = Memory()
    for step, (crystal, value) in enumerate([("a", 1.0), ("b", 2.0), ("a", 3.0), ("b", 2.0), ("a", 0.0)]):
        memory.add(Trial({}, crystal, value, step))
    assert [(t.crystal, t.step) for t in memory.parents()] == [("a", 2), ("b", 1)]


# -- trials on disk --------------------------------------------------------------------------------------


def stored(path: Path) -> list[tuple[int, str, float]]:
    """Return step, source and density of the trials in a file."""
    study = optuna.load_study(study_name="parts", storage=f"sqlite:///{path}")
    rows = study.get_trials(deepcopy=False)
    return [(t.user_attrs["step"], t.user_attrs["source"], round(t.params["density"], 4)) for t in rows]


def test_trials_come_back_from_the_run_folder_but_those_of_a_repeated_step_and_of_other_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bayesian, "VOLUME_SHIFTS", ())
    path = tmp_path / "trials.db"
    search = Scripted(world(), *([at(pair, 0.45), at(pair, 0.75)] for pair in PAIRS[:3]))
    search.open_trials(path, 0)
    assert not path.exists()
    for step in range(2):
        search.ask(1, step, 5)
        search.save_trials()
    wanted = [(step, "tpe", density) for step in (0, 1) for density in (0.45, 0.75)]
    assert stored(path) == wanted
    whole = path.stat().st_ino
    again = Scripted(world(), [at(PAIRS[2], 0.45)])
    again.open_trials(path, 2)
    assert again._trials == search._trials
    assert path.stat().st_ino == whole, "nothing is to be rewritten"
    again.ask(1, 2, 5)
    again.save_trials()
    assert stored(path) == [*wanted, (2, "tpe", 0.45)]
    repeated = Scripted(world())
    repeated.open_trials(path, 1)
    assert repeated._trials == search._trials[:2]
    assert stored(path) == wanted[:2]
    other = OuterSearch(world(), types, "other")
    other.open_trials(path, 9)
    assert other._trials == []


def test_without_a_run_folder_nothing_is_saved() -> None:
    search = Scripted(world(), [at(PAIRS[0], 0.45)])
    search.ask(1, 0, 5)
    search.save_trials()
    assert len(search._trials) >= 1


def test_damaged_trials_are_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "trials.db"
    path.write_text("no database")
    with pytest.raises(RunFolderError, match=r"trials\.db: cannot be read \(\w+\); delete it to go on"):
        OuterSearch(world(), types).open_trials(path, 1)
