"""Draws of a decoder that stands in: how many are asked for, which are kept, what is said of each."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.building.descent import DescentSettings
from inverse.proposers.decoder_draws import DecoderDraws, Draw, drawn
from inverse.proposers.gradient import HINTS, GradientSearch
from inverse.proposers.protocol import Proposal, Proposer
from inverse.proposers.random_search import RandomSearch
from inverse.proposers.search_space import SearchSpace
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import EngineError, MissingExtraError
from tests.fakes import CONFIG, search_space

PAIRS = (("Ti", "N"), ("W", "C"), ("W", "N"), ("Ti", "C"), ("W", "O"), ("Al", "C"), ("Al", "N"), ("Ti", "O"))


class Scripted:
    """Draws rock salts from a list, the first one squeezed; notes what it was asked."""

    name, latent_size = "scripted", 0

    def __init__(self) -> None:
        self.asked: list[tuple[int, Any, int]] = []

    def sample(self, n: int, condition: Any, seed: int) -> SymmetricCrystals:
        self.asked.append((n, condition, seed))
        return rock_salts(PAIRS[:n])

    def log_likelihood(self, crystals: SymmetricCrystals, condition: Any = None) -> Tensor:
        return -torch.arange(1.0, crystals.n_crystals + 1)


def rock_salts(pairs: Sequence[tuple[str, str]]) -> SymmetricCrystals:
    volumes = [1.0, *[10.0] * len(pairs)]
    made = [
        SymmetricCrystals.from_skeleton(225, ["a", "b"], pair, v)
        for pair, v in zip(pairs, volumes, strict=False)
    ]
    return SymmetricCrystals.concatenate(made)


def space(decoder: Any) -> SearchSpace:
    return search_space(CampaignConfig.from_mapping(CONFIG), decoder)


def formulas(proposals: Sequence[Proposal]) -> list[str]:
    return [p.structure.composition.reduced_formula for p in proposals]


def told(proposals: Sequence[Proposal]) -> list[Candidate]:
    return [Candidate(f"c{k:06d}", p.structure, p.proposer, p.seed) for k, p in enumerate(proposals)]


def test_of_four_draws_for_each_proposal_the_best_are_kept_that_are_sound_and_new() -> None:
    """Worth falls with whatever is not W or C; the draw that is squeezed to 1 Å³ per atom is put out."""
    decoder = Scripted()
    draws = DecoderDraws(space(decoder))
    first = draws.ask(2, 0, 5)
    assert [n for n, _, _ in decoder.asked] == [8]
    assert formulas(first)[0] == "WC"
    assert len(first) == 2
    draws.tell(told(first))
    again = draws.ask(8, 0, 5)
    assert sorted([*formulas(first), *formulas(again)]) == sorted(
        ["WC", "WN", "TiC", "WO", "AlC", "AlN", "TiO"]
    )


def test_a_draw_tells_its_number_its_group_its_likelihood_and_the_seed_of_its_decoder() -> None:
    decoder = Scripted()
    found = drawn(space(decoder), "any", 3, 7, 2, Draw.CONDITIONED, "mine")
    ((n, condition, seed),) = decoder.asked
    assert (n, condition) == (3, "any")
    assert [dict(p.history) for p in found] == [{"draw": k, "space_group": 225} for k in range(3)]
    assert [p.log_likelihood for p in found] == [-1.0, -2.0, -3.0]
    assert {(p.proposer, p.seed) for p in found} == {("mine", seed)}
    assert formulas(found) == ["TiN", "WC", "WN"]


def test_random_draws_want_nothing_and_are_taken_as_they_come() -> None:
    decoder = Scripted()
    search = RandomSearch(space(decoder))
    first = search.ask(3, 0, 5)
    assert formulas(first) == ["TiN", "WC", "WN"]
    search.tell(told(first))
    assert formulas(search.ask(5, 1, 5)) == ["TiC", "WO"]
    assert [n for n, _, _ in decoder.asked] == [3, 5]
    assert [dict(condition.targets) for _, condition, _ in decoder.asked] == [{}, {}]


def test_no_two_methods_draw_the_same_nor_one_method_in_two_steps() -> None:
    """Each of a step has a generator of its own; the same step asks the same again."""
    decoder = Scripted()
    own, still = space(decoder), DescentSettings(steps=0)
    methods: list[Proposer] = [RandomSearch(own), DecoderDraws(own), GradientSearch(own, still)]

    def seeds(step: int) -> list[int]:
        decoder.asked.clear()
        for method in methods:
            method.ask(1, step, 5)
        return [seed for _, _, seed in decoder.asked]

    assert len({*seeds(0), *seeds(1)}) == 6
    assert seeds(0) == seeds(0)
    assert HINTS not in list(Draw)
    conditions = [condition for _, condition, _ in decoder.asked]
    assert dict(conditions[1].targets) == dict(conditions[2].targets) != {}


def test_who_needs_a_decoder_says_so_where_there_is_none() -> None:
    with pytest.raises(MissingExtraError, match="search method 'random' needs a decoder"):
        RandomSearch(space(None)).ask(1, 0, 5)


def test_a_decoder_without_an_opinion_gives_nothing() -> None:
    class Mute(Scripted):
        def log_likelihood(self, crystals: SymmetricCrystals, condition: Any = None) -> Tensor:
            raise EngineError("no opinion")

    assert DecoderDraws(space(Mute())).ask(2, 0, 5) == []
