"""Compositions in structure types: how many are built at once, in which order, and which shape is kept."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from inverse.candidates.types import Breach, Candidate, Rule, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.building.cells import shapes_of
from inverse.proposers.news import listening
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.substitution import (
    MOST_SHAPES,
    Substitution,
    SubstitutionSettings,
    _by_frequency,
)
from inverse.reference.divided_types import divided_types
from inverse.reference.structure_types import Prototype, prototypes
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import MissingExtraError
from tests.fakes import CONFIG, search_space

CARBIDE, BARE, NOWHERE = "187|1 -26m A|1 -26m B", "47|1 mmm A|1 mmm B", "221|1 m-3m A|1 m-3m B"
ALL = 10**6
TYPE = Prototype(CARBIDE, (1, 1))
SHAPELESS = Prototype(BARE, (1, 1))


class Completing:
    """A decoder that leaves skeletons as they are, at the volumes they have."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def complete(self, skeletons: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        self.asked.append((len(skeletons.space_group), seed))
        return skeletons


def space_of(elements: list[str], decoder: Any = None, **changes: Any) -> SearchSpace:
    constraints = {"elements": {"only": elements}, "n_elements": [2, 2], "n_atoms": {"max": 8}}
    config = CampaignConfig.from_mapping({**CONFIG, "constraints": constraints})
    free = {"screening": lambda structure: None, "is_known_formula": lambda formula: False}
    return replace(search_space(config, decoder), **{**free, **changes})


def source(space: SearchSpace, types: list[Prototype], **settings: int) -> Substitution:
    asked = {"n_compositions": 9, "per_composition": 9, "n_structures": 99, "shapes": 1}
    asked |= {"n_decoded": 9, "fewest": ALL}
    return Substitution(space, lambda: types, settings=SubstitutionSettings(**{**asked, **settings}))


def heard(own: Substitution, n: int = 99, seed: int = 5) -> tuple[list[Proposal], list[str]]:
    """Return what is proposed, and what is said meanwhile, without the name of the source."""
    said: list[str] = []
    with listening(said.append):
        found = own.ask(n, 0, seed)
    assert all(line.startswith("substitution: ") for line in said)
    return found, [line.removeprefix("substitution: ") for line in said]


def built(said: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in said if "structures built; screening them" in line]


def test_a_search_widens_until_nothing_is_left_and_ends_with_the_other_shapes() -> None:
    """Two compositions in one way each, then three in both ways; titanium with tungsten never is sound.

    Six plans of eight shapes: two at first, six in the end, two plans at once.
    """

    def screening(structure: Structure) -> Breach | None:
        return Breach(Rule.VOLUME, "too small") if {"Ti", "W"} == set(structure.symbol_set) else None

    own = space_of(["W", "Ti", "C"], screening=screening)
    types = [TYPE, Prototype(NOWHERE, (1, 1))]
    narrow = source(own, types, n_compositions=2, per_composition=1, n_structures=2, shapes=2)
    found, said = heard(narrow)
    ranking = "ranking compositions of 1 stoichiometries"

    def batch(n_built: int, n_sound: int) -> list[str]:
        return [f"{n_built} structures built; screening them", f"predicting {n_sound} structures"]

    assert said == [
        ranking, "2 compositions in 1 structure types", *batch(4, 4),
        ranking, "3 compositions in 1 structure types", *batch(4, 4), *batch(4, 0),
        ranking, "3 compositions in 1 structure types",
        *batch(12, 12), *batch(12, 12), *batch(12, 0),
    ]  # fmt: skip
    assert {p.structure.composition.reduced_formula for p in found} == {"WC", "TiC"}
    assert len({p.key for p in found}) == len(found)


def test_the_most_promising_plans_are_built_first_and_no_more_than_needed() -> None:
    own = source(space_of(["W", "Ti", "C"]), [TYPE], n_structures=1, fewest=1)
    (first,), said = heard(own, 1)
    assert built(said) == [1]
    assert first.structure.composition.reduced_formula == "WC"
    own.tell([Candidate("c000000", first.structure, "substitution", 5, key=first.key)])
    (second,), said = heard(own, 1)
    assert second.structure.composition.reduced_formula == "TiC"
    assert all("predicting" in line or "built" in line for line in said), "plans are made once"


def test_of_the_shapes_of_a_plan_the_one_worth_most_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worth is c / a here; at first by the shipped surrogate, then by what verdicts taught."""
    asked: list[bool] = []

    def scored(self: SearchSpace, structures: list[Structure], corrected: bool = True) -> np.ndarray:
        asked.append(corrected)
        return np.array([s.lattice.c / s.lattice.a for s in structures])

    monkeypatch.setattr(SearchSpace, "scored", scored)
    boride = Prototype("191|1 /6mmm A|2 -26m B", (1, 2))
    found, _ = heard(source(space_of(["W", "C"]), [boride], shapes=2))
    tall = {p.key: p.structure.lattice.c / p.structure.lattice.a for p in found}
    wanted = {}
    for elements in (("W", "C"), ("C", "W")):
        shapes = shapes_of(boride, elements, MOST_SHAPES)
        ratios = [float(np.exp(shape.lattice[2] - shape.lattice[0])) for shape in shapes]
        key = f"{boride.text} {' '.join(elements)}"
        wanted |= {key: max(ratios[:2]), f"{key} other shape": max(ratios[2:])}
    repeated = wanted.pop(f"{boride.text} C W other shape")
    assert repeated == pytest.approx(1.13, abs=0.01), (
        "taken for the same crystal as a cell with c / a of 0.93"
    )
    assert tall == pytest.approx(wanted, rel=1e-3)
    assert asked == [False, False, True]


def test_a_proposal_tells_how_it_was_made() -> None:
    types = prototypes([("TiC", "187|1 -26m C|1 -26m Ti"), ("ZrC", "187|1 -26m C|1 -26m Zr")], 8, 4)
    own = space_of(["Ti", "C"], is_known_formula=lambda formula: formula == "TiC")
    (proposal,), _ = heard(source(own, types, per_composition=1), 1, 11)
    worth = proposal.history["worth_of_composition"]
    assert 0.0 < worth < 1e-3
    assert proposal.history == {
        "template": CARBIDE,
        "elements": ["C", "Ti"],
        "template_count": 2,
        "is_known": True,
        "worth_of_composition": worth,
    }
    assert (proposal.proposer, proposal.seed) == ("substitution", 11)
    assert proposal.trust == pytest.approx(0.35 + 0.65 * 2 / 4)
    assert proposal.key in (f"{CARBIDE} C Ti", f"{CARBIDE} C Ti other shape")
    assert proposal.structure.volume == pytest.approx(20.0, rel=1e-4)


def test_types_without_a_shape_are_the_decoders_and_have_a_share_of_every_batch() -> None:
    """Twelve plans, six with shapes of which one is built at first and seven in the end, six without."""
    decoder = Completing()
    both = [TYPE, SHAPELESS]
    small = {"n_structures": 3, "n_decoded": 1}
    found, said = heard(source(space_of(["W", "Ti", "C"], decoder), both, **small))
    assert built(said) == [3, 3, 3, 1, 1, 1, 21, 21]
    assert [n for n, _ in decoder.asked] == [1] * 6
    assert {p.history["template"] for p in found} == {CARBIDE, BARE}
    for proposal in found:
        assert set(proposal.history["elements"]) == set(proposal.structure.symbol_set)
        assert proposal.structure.volume == pytest.approx(20.0, rel=1e-3)
        if proposal.history["template"] == BARE:
            assert max(proposal.structure.lattice.abc) < 1.01 * min(proposal.structure.lattice.abc)
    for decoding, settings in ((None, small), (Completing(), {**small, "n_decoded": 0})):
        found, said = heard(source(space_of(["W", "Ti", "C"], decoding), both, **settings))
        assert built(said) == [3, 3, 21, 21]
        assert {p.history["template"] for p in found} == {CARBIDE}
    idle = Completing()
    only_shape = Prototype("65|2 mmm A|2 mmm B", (1, 1))
    _, said = heard(source(space_of(["W", "C"], idle), [only_shape]))
    assert built(said) == [2], "what is built in all its shapes has no other"
    assert idle.asked == []


def test_what_the_decoder_makes_follows_from_the_seed_of_the_run() -> None:
    def seeds(seed: int) -> set[int]:
        decoder = Completing()
        heard(source(space_of(["W", "C", "Ti"], decoder), [SHAPELESS], n_structures=3, n_decoded=3), 1, seed)
        return {own for _, own in decoder.asked}

    assert seeds(5) == seeds(5)
    assert len(seeds(5) | seeds(6)) == 2


def test_what_became_of_a_proposal_is_remembered_for_all_sources() -> None:
    own = space_of(["W", "C"])
    pool = source(own, [TYPE])
    (first, *_), _ = heard(pool)
    pool.tell([Candidate("c000000", first.structure, "other", 5, status=Status.PREDICTED)])
    assert own.offered.count("WC") == 1
    assert first.key not in {p.key for p in heard(pool)[0]}


def test_what_was_screened_out_is_not_proposed_again_although_nobody_was_offered_it() -> None:
    own = space_of(["W", "C"])
    pool = source(own, [TYPE])
    (first, *_), _ = heard(pool)
    out = Candidate("c000000", first.structure, "substitution", 5, key=first.key, status=Status.SCREENED_OUT)
    pool.tell([out])
    assert own.offered.count("WC") == 0
    assert first.key not in {p.key for p in heard(pool)[0]}


def test_without_a_composition_surrogate_there_is_nothing_to_substitute() -> None:
    with pytest.raises(MissingExtraError, match="'substitution' needs the composition surrogate"):
        heard(source(space_of(["W", "C"], compositions=None), [TYPE]))


def test_of_many_elements_stoichiometries_that_can_be_built_come_first() -> None:
    """Of up to four elements, where a decoder has seen many, the most frequent."""
    shaped = divided_types(5, 12)[0]
    bare = Prototype("1|bare", (1, 1, 1, 1, 1), {("a", "b", "c", "d", "e"): 99})
    four = Prototype("1|four", (1, 1, 1, 1), {("a", "b", "c", "d"): 50})
    assert _by_frequency([bare, shaped, four]) == [(1, 1, 1, 1), shaped.stoichiometry, (1, 1, 1, 1, 1)]
    assert _by_frequency([bare, four]) == [(1, 1, 1, 1), (1, 1, 1, 1, 1)]
