"""Which compositions are looked at and how they are ranked, on a surrogate that knows W and C alone."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from pymatgen.core import Composition

from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building.compositions import (
    N_PROMISING,
    RankedComposition,
    predicted_volumes,
    ranked_compositions,
)
from inverse.proposers.search_space import SearchSpace
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.physics.properties import BULK_MODULUS
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
    """As far as probabilities tell nothing, the loss does: WC is stiffest of all."""
    constraints = {"elements": {"only": ["Al", "C", "W"]}, "n_elements": [2, 2], "n_atoms": {"max": 8}}
    targets = {
        "bulk_modulus_vrh": bulk,
        "shear_modulus_vrh": {"maximise": True},
        "energy_above_hull": {"max": 9},
    }
    wish = {**CONFIG, "targets": targets, "constraints": constraints}
    space = search_space(CampaignConfig.from_mapping(wish))
    assert ranked(space, [(1, 1), (1, 3)], 9)[0].formula == "WC"


def test_a_wider_look_sees_more_elements_and_stoichiometries_within_bounds() -> None:
    space = space_of(["W", "C"], 2, 2)
    patterns = [(1, k) for k in range(1, 60)]
    for width, n in ((1, 20), (2, 40), (9, 40)):
        found = ranked(space, patterns, 999, width)
        assert len({tuple(sorted(c.amounts.values())) for c in found}) == n
    space = space_of(MANY, 3, 3)
    for width, n in ((1, 24), (9, 32)):
        assert len({e for c in ranked(space, [(1, 1, 1)], 9999, width) for e in c.amounts}) == n


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
