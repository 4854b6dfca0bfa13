"""What is made of the user's crystals: which cells, in which batches, and what of it is descended."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Breach, Candidate, Origin, Rule
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers import seeds
from inverse.proposers.building.compositions import RankedComposition
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.news import listening
from inverse.proposers.protocol import Proposal, generator
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.seeds import (
    DESCENTS,
    MOST_RANKED,
    GivenSeeds,
    SeedSearch,
    SeedSettings,
    starts,
    substitutions,
    swapped,
)
from surrogates.crystals.batch import element_index
from surrogates.physics.properties import VOLUME
from tests.fakes import CONFIG, AnalyticCompositions, AnalyticSurrogate, search_space

Batches = list[tuple[int, list[str]]]
ALL = 10**6


def crystal(*symbols: str) -> Structure:
    """A cube with an atom at the corner, another in the middle."""
    coords = [[0, 0, 0], [0.5, 0.5, 0.5]][: len(symbols)]
    return Structure(Lattice.cubic(2.714), symbols, coords)


def space(only: str, n_atoms: int = 2, n_elements: Sequence[int] = (1, 5), **changes: Any) -> SearchSpace:
    """All that keeps to these elements is sound; no surrogate of compositions."""
    constraints = {
        "elements": {"only": only.split()},
        "n_atoms": {"max": n_atoms},
        "n_elements": list(n_elements),
    }
    own = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    return replace(own, compositions=None, screening=lambda structure: None, **changes)


def promised(*compositions: dict[str, int]) -> Any:
    """A ranking of compositions that always is this list, with all it was asked for."""
    asked: list[tuple[Any, ...]] = []

    def ranked(own: SearchSpace, surrogate: Any, *args: Any) -> list[RankedComposition]:
        asked.append(args)
        return [RankedComposition(amounts, 0.5, 10.0, False) for amounts in compositions]

    ranked.asked = asked  # type: ignore[attr-defined]
    return ranked


def of_batch(number: int) -> int:
    """What the generator of a batch's descents draws first: tells the number."""
    return int(generator(5, 0, DESCENTS + number).integers(2**40))


def batches(
    patch: pytest.MonkeyPatch, own: SearchSpace, given: Sequence[tuple[str, Structure]], **changes: Any
) -> Batches:
    """Return of every batch what tells its number, and the keys that its descents begin with."""
    found: Batches = []

    def noted(*args: Any) -> list[Proposal]:
        _, begin, n, _, rng, name, listed = args
        assert (n, name, listed) == (len(begin), "seeds", begin)
        found.append((int(rng.integers(2**40)), [p.key for p in begin]))
        return []

    patch.setattr(seeds, "descended", noted)
    settings = replace(SeedSettings(n_descended=ALL, fewest=ALL), **changes)
    SeedSearch(own, given, settings).ask(1, 0, 5)
    return found


def test_each_element_is_exchanged_for_each_other_allowed_one() -> None:
    found = swapped(space("Ti C W N"), crystal("Ti", "C"))
    assert [" ".join(site.specie.symbol for site in s) for s in found] == ["Ti N", "Ti W", "N C", "W C"]


def test_an_exchange_keeps_the_volume_where_none_is_expected_of_it() -> None:
    """10 Å³, 5 more for tungsten and 3 for titanium: 11.5 of TiC, 14 of TiW, 12.5 of WC."""

    class Some(AnalyticCompositions):
        elements = frozenset({"Ti", "C", "W"})

        def predict(self, compositions: Any, properties: Any) -> Any:
            found = super().predict(compositions, properties)
            shares = compositions.fractions[:, [element_index("W"), element_index("Ti")]]
            mean = found[VOLUME].mean + shares @ torch.tensor([5.0, 3.0])
            return {**found, VOLUME: replace(found[VOLUME], mean=mean)}

    found = swapped(replace(space("Ti C W N"), compositions=Some()), crystal("Ti", "C"))
    wanted = {"Ti N": 1.0, "Ti W": 14 / 11.5, "N C": 1.0, "W C": 12.5 / 11.5}
    ratios = {" ".join(site.specie.symbol for site in s): s.volume / 2.714**3 for s in found}
    assert ratios == pytest.approx(wanted)


def test_a_crystal_of_elements_that_are_not_allowed_keeps_its_volume_under_every_exchange() -> None:
    own = replace(space("Ti C"), compositions=AnalyticCompositions())
    found = swapped(own, crystal("Al", "N"))
    assert [s.volume for s in found] == pytest.approx([2.714**3] * 4)
    assert [s.volume for s in swapped(own, crystal("Ti"))] == pytest.approx([2.714**3]), "10 Å³ of both"


def test_amounts_go_on_the_sites_that_hold_as_many_whatever_their_order() -> None:
    """One aluminium and two tungsten on a diboride; tungsten carbide itself is no substitution of it."""
    boride = Structure(
        Lattice.hexagonal(3.03, 3.22), ["Ti", "B", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    )
    (one,) = substitutions(boride, RankedComposition({"Al": 1, "W": 2}, 0.5, 10.0, False))
    assert [site.specie.symbol for site in one] == ["Al", "W", "W"]
    (other,) = substitutions(crystal("W", "C"), RankedComposition({"W": 1, "C": 1}, 0.5, 10.0, False))
    assert [site.specie.symbol for site in other] == ["C", "W"]


SWAPS = ["tic: Ti N", "tic: Ti W", "tic: N C", "tic: W C"]


def test_the_first_batch_descends_the_seeds_and_every_exchange_the_best_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tungsten carbide is worth most; equals stay in the order in which they were made."""
    given = [("tic", crystal("Ti", "C"))]
    with monkeypatch.context() as patch:
        ((number, keys),) = batches(patch, space("Ti C W N"), given)
    assert number == of_batch(1)
    assert keys[:2] == ["tic: as given", "tic: W C"]
    assert sorted(keys) == sorted(["tic: as given", *SWAPS])
    with monkeypatch.context() as patch:
        assert batches(patch, space("Ti C W N"), given, n_descended=2) == [(of_batch(1), keys[:2])]


def test_seeds_are_listed_and_descended_where_nothing_can_be_exchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, given = space("Ti C"), [("tic", crystal("Ti", "C"))]
    assert batches(monkeypatch, own, given) == [(of_batch(1), ["tic: as given"])]
    found = SeedSearch(own, given, SeedSettings(fewest=ALL)).ask(9, 0, 5)
    assert [p.key for p in found] == ["tic: as given"]


def test_children_tell_their_seed_their_cell_and_how_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def noted(*args: Any) -> list[Proposal]:
        begin = args[1]
        history = {"start_history": dict(begin[1].history), "steps": 20}
        return [Proposal(crystal(e, "O"), "seeds", 5, history) for e in ("W", "V")]

    monkeypatch.setattr(seeds, "descended", noted)
    source = SeedSearch(space("Ti C N"), [("tic", crystal("Ti", "C"))], SeedSettings(fewest=ALL))
    said: list[str] = []
    with listening(said.append):
        found = source.ask(9, 0, 5)
    assert said == ["seeds: 1 of 1, 4 made from them"]
    histories = {p.key: (dict(p.history), p.origin) for p in found}
    assert {p.seed for p in found} == {5}
    assert histories.pop("tic: as given") == ({"kind": "seed", "seed": "tic"}, Origin.SEED)
    made = {"kind": "substitution", "seed": "tic", "cell": ""}
    for key in ("tic: Ti N", "tic: N C"):
        assert histories.pop(key) == (made, Origin.CHILD)
    descent = {"start_history": made, "steps": 20, "kind": "descent", "seed": "tic"}
    assert histories == {f"descent 1 {k}": (descent, Origin.CHILD) for k in (0, 1)}


def test_promising_compositions_follow_the_exchanges_more_of_them_when_the_search_widens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One composition of the seed's stoichiometry at first, then two; the third width has nothing new.

    The ranking is asked for pairs beside the stoichiometry, which tell which elements are promising.
    """
    ranked = promised({"W": 1, "N": 2}, {"W": 1, "N": 1}, {"V": 1, "N": 1}, {"Ti": 1, "C": 1})
    monkeypatch.setattr(seeds, "ranked_compositions", ranked)
    own = replace(space("Ti C W", n_elements=(2, 2)), compositions=AnalyticCompositions())
    found = batches(monkeypatch, own, [("tic", crystal("Ti", "C"))], n_compositions=1)
    assert [number for number, _ in found] == [of_batch(k) for k in (1, 2, 4)]
    assert sorted(found[0][1]) == ["tic: N W", "tic: Ti W", "tic: W C", "tic: W N", "tic: as given"]
    assert sorted(found[1][1]) == ["tic: N V", "tic: V N"]
    assert found[2][1] == ["tic: C Ti"]
    assert ranked.asked == [([(1, 1), (1, 1)], k * MOST_RANKED, k) for k in (1, 2, 4, 8)]


@pytest.mark.parametrize(
    ("n_elements", "is_asked"), [((1, 1), False), ((1, 2), True), ((2, 9), True), ((3, 9), False)]
)
def test_no_composition_is_looked_for_that_has_more_or_fewer_elements_than_wanted(
    monkeypatch: pytest.MonkeyPatch, n_elements: tuple[int, int], is_asked: bool
) -> None:
    monkeypatch.setattr(seeds, "ranked_compositions", ranked := promised())
    own = replace(space("Ti C W", 3, n_elements), compositions=AnalyticCompositions())
    batches(monkeypatch, own, [("tic", crystal("Ti", "C"))])
    assert bool(ranked.asked) == is_asked


def test_parents_take_turns_and_what_one_has_not_another_still_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Titanium has three exchanges, its carbide four, of which one comes again as a composition, VO eight.

    In batches of four, which say who comes when.
    """
    monkeypatch.setattr(seeds, "MOST_DIVISIONS", 0)
    monkeypatch.setattr(seeds, "ranked_compositions", ranked := promised({"W": 1, "C": 1}))
    own = replace(space("Ti C W N", n_elements=(1, 2)), compositions=AnalyticCompositions())
    given = [("ti", crystal("Ti")), ("tic", crystal("Ti", "C")), ("vo", crystal("V", "O"))]
    found = batches(monkeypatch, own, given, most_cells=4)
    assert [number for number, _ in found] == [of_batch(1 + 1000 * k) for k in range(5)]
    parts = [sorted(set(keys) - {"ti: as given", "tic: as given"}) for _, keys in found]
    assert parts == [
        ["ti: C", "ti: N", "tic: Ti N", "vo: V C"],
        ["ti: W", "tic: N C", "tic: Ti W", "vo: V N"],
        ["tic: W C", "vo: C O", "vo: V Ti", "vo: V W"],
        ["tic: C W", "vo: N O", "vo: Ti O", "vo: W O"],
        ["vo: C W", "vo: W C"],
    ]
    asked = [(patterns, width) for patterns, _, width in ranked.asked]
    one, two = [(1, 1), (1,)], [(1, 1), (1, 1)]
    assert asked == [(one, 1), (two, 1), (one, 2), (two, 2)], "once for all parents of a pattern"


def test_unsound_cells_are_left_out_and_a_batch_of_them_alone_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One cell a batch: the first and the third exchange hold nitrogen."""
    own = replace(
        space("Ti C W N"),
        screening=lambda s: Breach(Rule.VOLUME, "no") if "N" in s.symbol_set else None,
    )
    found = batches(monkeypatch, own, [("tic", crystal("Ti", "C"))], most_cells=1)
    assert found == [(of_batch(1), ["tic: as given", "tic: Ti W"]), (of_batch(1001), ["tic: W C"])]


def doubled(
    patch: pytest.MonkeyPatch, n_atoms: int, n_elements: tuple[int, int], *given: tuple[str, Structure]
) -> tuple[list[str], list[tuple[int, str]]]:
    """Return the formulas of the cells that were doubled, and (number, key) of what was made of the doubles.

    Two doubles of each; on the sites go Ti, C and W, and V where there are four.
    """
    asked: list[str] = []

    def divided(parent: Structure) -> list[Structure]:
        asked.append(parent.composition.formula)
        double = parent * [1, 1, 2]
        double.replace(0, ["Pu", "Np", "Pa"][len(parent) // 4])
        return [double, double]

    patch.setattr(seeds, "divided", divided)
    patch.setattr(
        seeds, "ranked_compositions", promised({"Ti": 1, "W": 1, "C": 2}, {"Ti": 1, "W": 1, "V": 2, "C": 4})
    )
    own = replace(space("Ti C W", n_atoms, n_elements), compositions=AnalyticCompositions())
    found = batches(patch, own, given)
    assert not any("P" in key for _, keys in found for key in keys), "a stand-in is left on a site"
    return asked, [(number, key) for number, keys in found for key in keys if "/" in key]


def test_cells_are_doubled_while_atoms_and_elements_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each doubling brings one element more: two, three, four of them."""
    tic = ("tic", crystal("Ti", "C"))
    for n_atoms, n_elements, cells in (
        (3, (1, 5), []),
        (4, (1, 2), []),
        (4, (1, 3), ["Ti1 C1"]),
        (8, (1, 3), ["Ti1 C1"]),
        (7, (1, 5), ["Ti1 C1"]),
        (8, (1, 4), ["Ti1 C1", *["Pu1 Ti1 C2"] * 2]),
    ):
        with monkeypatch.context() as patch:
            asked, made = doubled(patch, n_atoms, n_elements, tic)
        assert asked == cells
        assert {key.partition(":")[0] for _, key in made} == (
            {"tic /0", "tic /1"} if len(cells) == 1 else set()
        ) | ({f"tic {d}" for d in ("/0", "/1", "/0/0", "/0/1", "/1/0", "/1/1")} if len(cells) > 1 else set())
        numbers = {key.count("/"): number for number, key in made}
        assert numbers == {k: of_batch(1 + 100 * k) for k in range(1, len(set(cells)) + 1)}


def test_doubling_ends_after_so_many_times_and_so_many_cells_the_first_of_every_parent_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seeds, "MOST_DIVISIONS", 1)
    monkeypatch.setattr(seeds, "MOST_CELLS", 3)
    given = [("tic", crystal("Ti", "C")), ("cti", crystal("C", "Ti"))]
    asked, made = doubled(monkeypatch, 20, (1, 5), *given)
    assert asked == ["Ti1 C1"] * 2, "what came of the last doubling is not doubled for nothing"
    assert {key.partition(":")[0] for _, key in made} == {"tic /0", "cti /0", "tic /1"}


def test_what_is_made_is_valued_by_the_shipped_surrogate_and_weighed_by_the_corrected_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four exchanges: valued as a batch and as entries; the pool weighs them once more for the ask."""
    monkeypatch.setattr(seeds, "descended", lambda *args: [])
    own = space("Ti C W N")
    corrected = Evaluator(AnalyticSurrogate(), lambda formula: 0.0, own.objective.properties)
    own = replace(own, corrected=corrected)
    SeedSearch(own, [("tic", crystal("Ti", "C"))], SeedSettings(fewest=ALL)).ask(1, 0, 5)
    assert (own.base.n_evaluated, corrected.n_evaluated) == (8, 4)


def told(proposals: Sequence[Proposal]) -> list[Candidate]:
    return [Candidate(p.key, p.structure, p.proposer, p.seed, key=p.key) for p in proposals]


def test_nothing_comes_twice_and_the_source_never_says_that_it_is_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seeds, "descended", lambda *args: [])
    source = SeedSearch(space("Ti C W N"), [("tic", crystal("Ti", "C"))], SeedSettings(fewest=ALL))
    said: list[str] = []
    with listening(said.append):
        assert source.ask(0, 0, 5) == []
    assert said == ["seeds: 1 of 1, 4 made from them"]
    assert source.n_first == 1
    first = source.ask(2, 0, 5)
    assert [p.key for p in first] == ["tic: as given", "tic: W C"]
    source.tell(told(first))
    assert (source.n_first, source.is_finished) == (0, False)
    hybrid = Hybrid([source], {})
    later = hybrid.ask(9, 1, 5)
    assert sorted(p.key for p in later) == sorted(set(SWAPS) - {"tic: W C"})
    source.tell(told(later))
    assert source.ask(9, 2, 5) == []


def test_seeds_are_handed_out_one_after_the_other_and_crossed_out_by_their_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of elements that no model knows never; the next ones are handed out nonetheless."""
    monkeypatch.setattr(AnalyticSurrogate, "elements", AnalyticSurrogate.elements - {"Xe"})
    own = space("Ti C", remarks={"vn": ("squeezed",)})
    given = [("tic", crystal("Ti", "C")), ("xec", crystal("Xe", "C")), ("vn", crystal("V", "N"))]
    source = GivenSeeds(own, given)
    assert (source.n_first, source.is_finished, source.ask(0, 0, 7)) == (2, False, [])
    (first,) = source.ask(1, 0, 7)
    assert (first.key, first.seed, first.remarks, first.origin) == ("tic: as given", 7, (), Origin.SEED)
    source.tell([replace(told([first])[0], proposer="other")])
    assert source.n_first == 2
    source.tell(told([first]))
    assert own.offered.holds(first.structure)
    (second,) = source.ask(9, 1, 7)
    assert (second.key, second.remarks) == ("vn: as given", ("squeezed",))
    source.tell(told([second]))
    assert (source.n_first, source.is_finished, source.ask(9, 2, 7)) == (0, True, [])
    assert [p.key for p in source.listed(7)] == ["tic: as given", "vn: as given"]


def test_descents_begin_with_seeds_of_allowed_elements_alone() -> None:
    given = [("vn", crystal("V", "N")), ("tic", crystal("Ti", "C")), ("ti", crystal("Ti"))]
    found = starts(space("Ti C"), given, "gradient", 7)
    assert [(p.history["seed"], p.proposer, p.seed) for p in found] == [
        ("tic", "gradient", 7),
        ("ti", "gradient", 7),
    ]


def test_values_are_numbers_of_the_seeds_order_and_of_worth() -> None:
    """Seeds keep their order whatever they are worth; what was made of them follows by its worth."""
    given = [("tin", crystal("Ti", "N")), ("tic", crystal("Ti", "C"))]
    own = space("Ti C W N")
    settings = SeedSettings(n_descended=0, fewest=ALL)
    found = SeedSearch(own, given, settings).ask(99, 0, 5)
    assert [p.key for p in found[:2]] == ["tin: as given", "tic: as given"]
    values = own.scored([p.structure for p in found[2:]])
    assert np.all(np.diff(values) <= 0)
    assert found[2].structure.composition.reduced_formula == "WC"
