"""Which compositions are looked at and how they are ranked, on a surrogate that knows W and C alone."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import exp

import numpy as np
import pytest
from pymatgen.core import Composition

from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building import compositions
from inverse.proposers.building.compositions import (
    N_PROMISING,
    N_PROMISING_BESIDE,
    RankedComposition,
    predicted_volumes,
    promise_of,
    ranked_compositions,
)
from inverse.proposers.search_space import SearchSpace
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.physics.properties import BULK_MODULUS, FORMATION_ENERGY, SHEAR_MODULUS, VOLUME, Property
from surrogates.protocol import CompositionBatch, Prediction
from tests.fakes import CONFIG, AnalyticCompositions, AnalyticSurrogate, search_space

METALS = ("W", "Ti", "Al", "V", "Nb", "Ta", "Mo", "Cr", "Zr", "Hf")
MANY = [
    symbol for symbol in sorted(ELEMENT_SYMBOLS[:83]) if symbol not in ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
]


def space_of(elements: list[str] | dict[str, object], low: int, high: int, **more: object) -> SearchSpace:
    only = {"only": elements} if isinstance(elements, list) else elements
    constraints = {"elements": only, "n_elements": [low, high], "n_atoms": {"max": 12}, **more}
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))


def ranked(
    space: SearchSpace, patterns: list[tuple[int, ...]], n: int, width: int = 1
) -> list[RankedComposition]:
    return ranked_compositions(space, AnalyticCompositions(), patterns, n, width)


@pytest.mark.parametrize("n", [3, 4])
def test_pairs_tell_which_elements_are_promising_where_no_pair_is_asked_for(n: int) -> None:
    """W comes late in the alphabet, far behind as many elements as such compositions are made of."""
    assert MANY.index("W") > N_PROMISING[n]
    found = ranked(space_of(MANY, n, n), [(1,) * n], 5)
    assert {len(c.amounts) for c in found} == {n}
    assert all({"W", "C"} < set(c.amounts) for c in found)


def test_amounts_go_on_the_elements_in_every_way() -> None:
    found = ranked(space_of(["W", "C"], 2, 2), [(1, 1), (1, 2)], 9)
    assert {c.formula for c in found} == {"WC", "WC2", "W2C"}
    assert found[0].formula == "WC"
    assert [c.worth for c in found] == sorted((c.worth for c in found), reverse=True)


def test_every_number_of_elements_that_is_allowed_and_no_other() -> None:
    patterns = [(1,), (1, 1), (1, 1, 1), (1, 1, 1, 1)]
    for low, high in ((1, 2), (2, 3), (3, 3)):
        found = ranked(space_of(["W", "Ti", "C", "N"], low, high), patterns, 99)
        assert {len(c.amounts) for c in found} == set(range(low, high + 1))


def test_two_thirds_are_in_no_table_as_far_as_there_are_so_many() -> None:
    """WC, TiC, TiN stand in the stand-in's table: of ten pairs of five elements."""
    space = space_of(["W", "Ti", "C", "N", "O"], 2, 2)
    for n, known in ((3, 1), (6, 2), (9, 3), (99, 3)):
        found = ranked(space, [(1, 1)], n)
        assert len(found) == min(n, 10)
        assert sum(c.is_known for c in found) == known, n
        assert found[0].formula == "WC"
        assert all(c.is_known == (c.formula in ("WC", "TiC", "TiN")) for c in found)
    known = replace(space, is_known_formula=lambda formula: formula != "TiO")
    assert sum(c.is_known for c in ranked(known, [(1, 1)], 6)) == 5, "places left over go to the known"
    unknown = replace(space, is_known_formula=lambda formula: False)
    assert len(ranked(unknown, [(1, 1)], 6)) == 6


def test_what_lies_far_above_the_hull_is_ranked_behind() -> None:
    """W2C and WC2 promise the same; where the hull is much lower, it is worth next to nothing."""
    space = space_of(["W", "C"], 2, 2)
    hull = {Composition("WC2"): -1.2, Composition("WC"): np.nan}
    evaluator = Evaluator(
        AnalyticSurrogate(), lambda formula: hull.get(Composition(formula), 0.0), (BULK_MODULUS,)
    )
    plain, found = (
        {Composition(c.amounts): c.worth for c in ranked(where, [(1, 1), (1, 2)], 3)}
        for where in (space, replace(space, base=evaluator))
    )
    wc, w2c, wc2 = (Composition(text) for text in ("WC", "W2C", "WC2"))
    assert plain[wc2] == pytest.approx(plain[w2c])
    assert found[wc2] < 0.05 * found[w2c]
    assert found[wc] < 1e-3 * plain[wc], "without a hull it is taken to lie 1 eV/atom above it"


@pytest.mark.parametrize("bulk", [{"min": 1000}, {"min": 0}])
def test_where_all_or_none_meet_the_targets_the_nearest_comes_first(bulk: dict[str, float]) -> None:
    """As far as probabilities tell nothing, the loss does, however far the targets: WC is stiffest of all."""
    constraints = {"elements": {"only": ["Al", "C", "W"]}, "n_elements": [2, 2], "n_atoms": {"max": 8}}
    targets = {
        "bulk_modulus_vrh": bulk,
        "shear_modulus_vrh": {"maximise": True},
        "energy_above_hull": {"max": 9},
    }
    wish = {**CONFIG, "targets": targets, "constraints": constraints}
    space = search_space(CampaignConfig.from_mapping(wish))
    assert ranked(space, [(1, 1), (1, 3)], 9)[0].formula == "WC"
    assert [c.formula for c in ranked(space, [(1, 3)], 9)][:2] == ["W3C", "WC3"], "58 errors from 1000 GPa"


def test_a_wider_look_sees_more_elements_and_stoichiometries_within_bounds() -> None:
    space = space_of(["W", "C"], 2, 2)
    patterns = [(1, k) for k in range(1, 60)]
    for width, n in ((1, 20), (2, 40), (9, 40)):
        found = ranked(space, patterns, 999, width)
        assert len({tuple(sorted(c.amounts.values())) for c in found}) == n
    space = space_of(MANY[:20], 4, 4)
    for width, n in ((1, 12), (2, 16), (9, 16)):
        assert len({e for c in ranked(space, [(1,) * 4], 9999, width) for e in c.amounts}) == n


def test_given_elements_and_systems_are_kept_to() -> None:
    every, any_of = [*METALS, "C"], {"Zr", "Hf"}
    given = space_of({"only": every, "include_all": ["Ti"], "include_any": sorted(any_of)}, 2, 3)
    sets = {tuple(sorted(c.amounts)) for c in ranked(given, [(1, 1), (1, 1, 1)], 999)}
    allowed = [set(chosen) for n in (2, 3) for chosen in combinations(every, n)]
    assert sets == {tuple(sorted(own)) for own in allowed if "Ti" in own and own & any_of}
    for subsystems, sizes in ((True, {2, 3}), (False, {3})):
        space = space_of({}, 2, 3, chemical_systems=["W-C-N"], subsystems=subsystems)
        found = ranked(space, [(1, 1), (1, 1, 1)], 99)
        assert {len(c.amounts) for c in found} == sizes
        assert {e for c in found for e in c.amounts} == {"W", "C", "N"}


def test_volumes_are_those_of_the_surrogate_and_unknown_where_it_does_not_know_an_element() -> None:
    class Narrow(AnalyticCompositions):
        elements = frozenset({"W", "C"})

    space = replace(space_of(["W", "C", "Ti"], 2, 2), compositions=Narrow())
    assert predicted_volumes(space, [{"W": 1, "C": 1}, {"Ti": 1, "C": 1}, {"W": 2, "C": 1}]) == pytest.approx(
        [10.0, np.nan, 10.0], nan_ok=True
    )
    nobody = replace(space, compositions=None)
    assert np.isnan(predicted_volumes(nobody, [{"W": 1, "C": 1}])).tolist() == [True]


class Partial(AnalyticCompositions):
    """Predicts some properties of some elements alone, and keeps the element -> share of all it was asked."""

    def __init__(
        self,
        properties: Sequence[Property] = AnalyticCompositions.properties,
        elements: Sequence[str] = ELEMENT_SYMBOLS,
        energy_std: float = 0.04,
    ) -> None:
        self.properties, self.elements, self._energy_std = tuple(properties), frozenset(elements), energy_std
        self.asked: list[list[dict[str, float]]] = []

    def predict(self, batch: CompositionBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        assert set(properties) <= set(self.properties)
        rows = [
            {ELEMENT_SYMBOLS[k]: round(float(row[k]), 3) for k in row.nonzero().ravel()}
            for row in batch.fractions
        ]
        if list(properties) != [FORMATION_ENERGY]:
            self.asked.append(rows)
        found = super().predict(batch, properties)
        for prop, value in found.items():
            if prop == FORMATION_ENERGY:
                found[prop] = replace(value, std=value.std * 0 + self._energy_std)
        return found

    @property
    def sets(self) -> list[str]:
        """Elements of all that was asked, in order."""
        return ["-".join(sorted(row)) for rows in self.asked for row in rows]


def told_by(
    space: SearchSpace, surrogate: Partial, patterns: list[tuple[int, ...]], n: int = 99
) -> list[RankedComposition]:
    return ranked_compositions(space, surrogate, patterns, n)


@pytest.mark.parametrize(("std", "spread"), [(0.04, 0.075), (0.5, 0.5)])
def test_the_worth_of_what_meets_all_targets_is_its_probability_of_lying_near_the_hull(
    std: float, spread: float
) -> None:
    """1 / (1 + exp(-1.7 z)) of the room left below 0.1 eV/atom, in an error of half of 0.15 at the least."""
    wish = {"bulk_modulus_vrh": {"min": 0}, "energy_above_hull": {"max": 0.1}}
    within = {"elements": {"only": ["W", "C", "Ti"]}, "n_elements": [2, 2], "n_atoms": {"max": 12}}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "targets": wish, "constraints": within}))
    hull = {"WC": 0.0, "TiC": 0.05, "TiW": np.nan}
    base = Evaluator(AnalyticSurrogate(), lambda formula: hull.get(formula, 0.0), (BULK_MODULUS,))
    found = told_by(replace(space, base=base), Partial(energy_std=std), [(1, 1)])
    above = {"WC": -0.2, "TiC": 0.25, "TiW": 1.0}
    wanted = {formula: 1 / (1 + exp(-1.7 * (0.1 - above[formula]) / spread)) for formula in above}
    assert {c.formula: c.worth for c in found} == pytest.approx(wanted, rel=2e-4)


def test_what_a_surrogate_cannot_say_is_not_held_against_a_composition() -> None:
    """One of volumes alone finds all equal; one without them leaves the volume open."""
    space = space_of(["W", "C", "Ti"], 2, 2)
    found = told_by(space, Partial([VOLUME]), [(1, 1)])
    assert [(c.formula, c.worth, c.volume_per_atom) for c in found] == [
        ("TiC", 1.0, 10.0),
        ("TiW", 1.0, 10.0),
        ("WC", 1.0, 10.0),
    ]
    blind = Partial([BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY])
    found = told_by(space, blind, [(1, 1)])
    assert found[0].formula == "WC"
    assert all(np.isnan(c.volume_per_atom) for c in found)
    assert np.isnan(predicted_volumes(replace(space, compositions=blind), [{"W": 1, "C": 1}])).all()


def test_promise_is_that_of_the_targets_and_none_where_an_element_is_not_known() -> None:
    space = space_of(["W", "C", "Ti"], 2, 2)
    asked = [{"W": 1, "C": 1}, {"Ti": 1, "C": 1}, {"W": 2}]
    narrow = Partial([VOLUME], ["W", "C"])
    assert promise_of(replace(space, compositions=narrow), asked).tolist() == [1.0, 0.0, 1.0]
    assert promise_of(replace(space, compositions=narrow), asked[1:2]).tolist() == [0.0]
    assert promise_of(replace(space, compositions=None), asked).tolist() == [0.0, 0.0, 0.0]
    best, other, metal = promise_of(space, asked)
    assert best > 0.9 > 0.1 > other == metal > 0.0


def test_it_does_not_matter_in_which_portions_compositions_are_predicted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space, patterns = space_of(["W", "C", "Ti", "N"], 2, 2), [(1, 1), (1, 2)]
    whole = told_by(space, Partial(), patterns)
    assert len(whole) == 18
    monkeypatch.setattr(compositions, "CHUNK", 4)
    portions = Partial()
    assert told_by(space, portions, patterns) == whole
    assert [len(rows) for rows in portions.asked] == [4, 4, 4, 4, 2]


def test_which_pairs_tell_of_larger_compositions() -> None:
    """Each once: of all elements, or those with one of `include_any`, or those within a listed system."""
    every = ["W", "C", "N", "O"]
    for pattern, shares in (((1, 1, 1), {0.5}), ((1, 2), {0.333, 0.667})):
        surrogate = Partial()
        told_by(space_of(every, 3, 3), surrogate, [pattern])
        pairs = surrogate.asked[0]
        assert {frozenset(row) for row in pairs} == {frozenset(pair) for pair in combinations(every, 2)}
        assert {share for row in pairs for share in row.values()} == shares
        assert len(pairs) == 6 * len(set(pattern))
    surrogate = Partial()
    told_by(space_of({"only": every, "include_any": ["N"]}, 3, 3), surrogate, [(1, 1, 1)])
    assert surrogate.sets == ["C-N", "N-O", "N-W", "C-N-O", "C-N-W", "N-O-W"]
    surrogate = Partial()
    systems = space_of({}, 3, 3, chemical_systems=["W-C-N", "Ti-C-O"])
    told_by(systems, surrogate, [(1, 1, 1)])
    assert surrogate.sets == ["C-N", "C-O", "C-Ti", "C-W", "N-W", "O-Ti", "C-N-W", "C-O-Ti"]
    surrogate = Partial()
    told_by(space_of(every, 2, 3), surrogate, [(1, 1), (1, 1, 1)])
    assert len(surrogate.sets) == 6 + 4, "pairs that are asked for are predicted once"


def test_overlapping_systems_give_each_composition_once_and_those_that_cannot_are_passed_over() -> None:
    shared = space_of({}, 2, 2, chemical_systems=["W-C-N", "W-C-O"], subsystems=True)
    found = [c.formula for c in ranked(shared, [(1, 1)], 99)]
    assert sorted(found) == sorted(set(found))
    assert {frozenset(c.amounts) for c in ranked(shared, [(1, 1)], 99)} == {
        frozenset(pair) for pair in ("WC", "WN", "CN", "WO", "CO")
    }
    of_two = space_of({}, 2, 2, chemical_systems=["W-Ti-C", "W-C"])
    assert [c.formula for c in ranked(of_two, [(1, 1)], 99)] == ["WC"]
    with_titanium = space_of({"include_all": ["Ti"]}, 2, 2, chemical_systems=["W-C", "Ti-C"])
    assert [c.formula for c in ranked(with_titanium, [(1, 1)], 99)] == ["TiC"]


@pytest.mark.parametrize(("width", "n"), [(1, 10), (2, 11), (3, 12), (4, 12), (8, 13)])
def test_a_wider_look_at_many_elements_takes_one_more_for_each_doubling(width: int, n: int) -> None:
    found = ranked(space_of(MANY[:20], 5, 5), [(1,) * 5], 9999, width)
    assert len({e for c in found for e in c.amounts}) == n


@pytest.mark.parametrize("width", [1, 2])
def test_beside_a_given_element_more_others_are_looked_at(width: int) -> None:
    """Forty others of a ternary, where 24 make ternaries without a given element, and 32 in a wider look."""
    given = space_of({"only": MANY, "include_all": ["Zr"]}, 3, 3)
    found = ranked(given, [(1, 1, 1)], 9999, width)
    assert {len({e for c in found for e in c.amounts} - {"Zr"})} == {N_PROMISING_BESIDE[2]} == {40}


@pytest.mark.parametrize(("any_of", "beyond"), [(["V", "Zr"], ["V"]), (["Ag", "Zr"], [])])
def test_the_most_promising_of_those_asked_for_is_looked_at_where_none_would_be(
    any_of: list[str], beyond: list[str]
) -> None:
    """As no pair with these promises anything, elements come in the order of the alphabet."""
    found = ranked(space_of({"only": MANY, "include_any": any_of}, 4, 4), [(1,) * 4], 9999)
    assert {e for c in found for e in c.amounts} == {*MANY[: N_PROMISING[4]], *beyond}


def test_the_hull_is_asked_for_the_most_promising_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of six pairs; those that promise the same come in the order of the alphabet."""
    space = space_of(["Al", "C", "Ti", "W"], 2, 2)
    for candidates, width, wanted in (
        (1, 1, {"WC"}),
        (3, 1, {"WC", "AlC", "AlTi"}),
        (1, 3, {"WC", "AlC", "AlTi"}),
    ):
        monkeypatch.setattr(compositions, "HULL_CANDIDATES", candidates)
        found = [Composition(c.amounts) for c in ranked(space, [(1, 1)], 99, width)]
        assert set(found) == {Composition(formula) for formula in wanted}


def test_what_is_kept_is_worth_most_after_the_hull_is_known() -> None:
    """WC promises most and lies far above its hull: of three compositions it is the last that is kept."""
    space = replace(space_of(["W", "C"], 2, 2), is_known_formula=lambda formula: False)
    deep = Evaluator(AnalyticSurrogate(), lambda formula: -5.0 * (formula == "WC"), (BULK_MODULUS,))
    space = replace(space, base=deep)
    kept = [[c.formula for c in ranked(space, [(1, 1), (1, 2)], n)] for n in (1, 2, 3)]
    assert kept == [["W2C"], ["W2C", "WC2"], ["W2C", "WC2", "WC"]]


def test_nothing_is_ranked_without_a_stoichiometry_and_a_usual_look_is_the_narrow_one() -> None:
    space = space_of(["W", "C"], 2, 2)
    assert ranked_compositions(space, AnalyticCompositions(), [], 9) == []
    many = [(1, k) for k in range(1, 60)]
    assert ranked_compositions(space, AnalyticCompositions(), many, 999) == ranked(space, many, 999, 1)
