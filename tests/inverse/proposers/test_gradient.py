"""Where descents begin, what is told of their ends, and which ends are handed out."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Breach, Candidate, Rule
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.building.descent import DescentSettings
from inverse.proposers.gradient import GradientSearch, descended, symmetric
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from surrogates.crystals.batch import CrystalBatch, element_index
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import EngineError
from tests.fakes import CONFIG, search_space

STILL = DescentSettings(steps=0)


class Draws:
    """A decoder of nitrides and oxides of a few metals, as many as asked for; it notes how many."""

    name, latent_size = "draws", 0
    pairs = tuple((metal, light) for light in ("N", "O", "C") for metal in ("Al", "Ti", "W"))

    def __init__(self) -> None:
        self.asked: list[int] = []

    def sample(self, n: int, condition: Any, seed: int) -> SymmetricCrystals:
        self.asked.append(n)
        return symmetric([pair(*own) for own in self.pairs[:n]])[0]

    def log_likelihood(self, crystals: SymmetricCrystals, condition: Any = None) -> torch.Tensor:
        return torch.zeros(crystals.n_crystals)


def pair(metal: str, light: str, **changes: Any) -> Proposal:
    structure = Structure(Lattice.cubic(2.714), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return replace(Proposal(structure, "test", 5, {"from": metal + light}), **changes)


def space(decoder: Any = None, **changes: Any) -> SearchSpace:
    return search_space(CampaignConfig.from_mapping({**CONFIG, **changes}), decoder)


def formulas(proposals: Sequence[Proposal]) -> list[str]:
    return [p.structure.composition.reduced_formula for p in proposals]


class Even:
    """A generator that puts the same emphasis on every element."""

    def gamma(self, shape: float, size: int) -> np.ndarray:
        return np.ones(size)


def ends(own: SearchSpace, starts: Sequence[Proposal], n: int = 9, **more: Any) -> list[Proposal]:
    return descended(own, starts, n, STILL, Even(), "test", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("n", "most_starts", "n_given", "asked"),
    [
        (3, 256, 0, [6]),
        (3, 256, 2, [4]),
        (3, 5, 2, [3]),
        (3, 3, 2, [1]),
        (3, 2, 2, []),
        (3, 2, 4, []),
        (1, 9, 4, []),
    ],
)
def test_two_starts_for_each_proposal_within_the_most_and_the_given_ones_first(
    n: int, most_starts: int, n_given: int, asked: list[int]
) -> None:
    decoder = Draws()
    given = [pair(metal, "C") for metal in ("W", "Ti", "Al", "W")][:n_given]
    search = GradientSearch(space(decoder), STILL, most_starts, lambda seed: given)
    search.ask(n, 0, 5)
    assert decoder.asked == asked


def test_what_is_given_descends_even_if_unsound_and_draws_only_if_sound() -> None:
    """Here whatever holds aluminium is put out, but not before the user's own crystal has descended."""

    def screening(structure: Structure) -> Breach | None:
        return Breach(Rule.VOLUME, "no") if "Al" in structure.symbol_set else None

    own = replace(space(Draws()), screening=screening)
    GradientSearch(own, STILL, 3).ask(9, 0, 5)
    assert own.base.n_evaluated == 3 * 2, "AlN is not descended: of two starts, three predictions each"
    before = own.base.n_evaluated
    assert GradientSearch(own, STILL, 1, lambda seed: [pair("Al", "C")]).ask(9, 0, 5) == []
    assert own.base.n_evaluated - before == 3
    before = own.base.n_evaluated
    assert GradientSearch(own, STILL, 1).ask(9, 0, 5) == []
    assert own.base.n_evaluated == before, "nothing to begin with"


def test_ends_say_how_they_were_reached_and_are_not_offered_twice() -> None:
    search = GradientSearch(space(Draws()))
    found = search.ask(1, 0, 5)
    assert len(found) == 1
    assert {(p.proposer, p.history["steps"]) for p in found} == {("gradient", 24)}
    assert {p.history["start_history"]["draw"] for p in found} <= {0, 1}
    search.tell([Candidate(f"c{k}", p.structure, p.proposer, p.seed) for k, p in enumerate(found)])
    again = search.ask(2, 0, 5)
    assert again
    assert not set(formulas(found)) & set(formulas(again))


def test_the_worth_before_and_after_hardening_is_told_and_what_was_lost() -> None:
    """A start without a step keeps 0.7 on its own element and shares 0.3 among the three allowed."""
    easy = {"bulk_modulus_vrh": {"min": 325}, "energy_above_hull": {"max": 1.0}}
    own = space(targets=easy, constraints={"elements": {"only": ["W", "Ti", "C"]}, "n_atoms": {"max": 8}})
    (found,) = ends(own, [pair("W", "C", seed=11)])
    crystals = CrystalBatch.from_structures([pair("W", "C").structure])
    soft = torch.zeros_like(crystals.occupancy)
    for atom, symbol in enumerate(("W", "C")):
        soft[atom, [element_index(e) for e in ("W", "Ti", "C")]] = 0.1
        soft[atom, element_index(symbol)] = 0.8
    hull = own.base.hull_of_formulas(["WC"])
    before = float(own.worth_of(own.base.predict_crystals(crystals.replace(occupancy=soft), hull))[0])
    after = float(own.scored([pair("W", "C").structure])[0])
    assert 0.1 < before < after - 0.1
    assert found.history["worth_soft"] == pytest.approx(before, rel=1e-3)
    assert found.history["worth_hard"] == pytest.approx(after, rel=1e-3)
    assert found.history["lost_by_hardening"] == pytest.approx(before - after, rel=1e-3)
    assert (found.history["start"], found.history["start_history"]) == ("WC", {"from": "WC"})
    assert (found.history["steps"], found.seed, found.log_likelihood) == (0, 11, None)


def test_the_best_ends_come_first_as_many_as_asked_for() -> None:
    """Tungsten carbide, then one of its elements, then none."""
    low = {"bulk_modulus_vrh": {"min": 100}, "energy_above_hull": {"max": 1.0}}
    starts = [pair("Ti", "N"), pair("W", "C"), pair("W", "N")]
    own = space(targets=low)
    found = ends(own, starts)
    assert formulas(found)[0] == "WC"
    assert sorted(formulas(found)) == ["TiN", "WC", "WN"]
    assert formulas(ends(own, starts, 1)) == ["WC"]


def test_starts_that_cannot_be_read_are_left_out_alone() -> None:
    mixed = Structure(Lattice.cubic(3.0), [{"W": 0.5, "Ti": 0.5}], [[0, 0, 0]])
    odd = Proposal(mixed, "test", 5)
    crystals, kept = symmetric([pair("W", "C"), odd, pair("Ti", "C")])
    assert formulas(kept) == ["WC", "TiC"]
    assert crystals.formulas() == ["WC", "TiC"]
    assert sorted(formulas(ends(space(), [odd, pair("W", "C")]))) == ["WC"]
    assert ends(space(), [odd]) == []


def test_a_listed_start_that_keeps_its_elements_is_left_out_and_an_unlisted_one_is_not() -> None:
    listed, other = pair("W", "C"), pair("Ti", "C")
    assert formulas(ends(space(), [listed, other], listed=[listed])) == ["TiC"]
    fast = DescentSettings(steps=12, species_rate=0.5)
    changed = descended(space(), [pair("Ti", "C")], 9, fast, Even(), "test")  # type: ignore[arg-type]
    start = pair("Ti", "C")
    again = descended(space(), [start], 9, fast, Even(), "test", [start])  # type: ignore[arg-type]
    assert formulas(changed) == formulas(again) == ["WC"]


@pytest.mark.parametrize("likely", ["WC", "TiC"])
def test_a_start_without_a_likelihood_ranks_by_its_worth_beside_one_that_lost_none(likely: str) -> None:
    """WC is worth a little more than TiC, whichever of them a decoder drew; none became unlikelier."""
    low = {"bulk_modulus_vrh": {"min": 55}, "energy_above_hull": {"max": 1.0}}
    decoder = SimpleNamespace(log_likelihood=lambda crystals: torch.full((crystals.n_crystals,), -1.0))
    starts = [pair(m, "C", log_likelihood=-2.0 if f"{m}C" == likely else None) for m in ("Ti", "W")]
    found = ends(space(decoder, targets=low), starts)
    assert formulas(found) == ["WC", "TiC"]
    assert [p.log_likelihood for p in found] == [-1.0, -1.0]


def test_a_decoder_that_cannot_say_how_likely_ends_are_holds_nothing_against_them() -> None:
    def refuse(crystals: SymmetricCrystals) -> torch.Tensor:
        raise EngineError("not of these")

    decoder = SimpleNamespace(log_likelihood=refuse)
    (found,) = ends(space(decoder), [pair("W", "C", log_likelihood=9.0)])
    assert found.log_likelihood is None
