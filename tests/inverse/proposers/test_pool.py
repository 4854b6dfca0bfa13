"""Pools are refilled as they empty, hand out nothing twice, and depend on what was told alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.pool import Entry, Pool
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from tests.fakes import CONFIG, search_space

METALS = ("W", "Ti", "Al", "Zr", "Hf", "Nb", "Ta", "Mo", "V", "Cr")
SITES = [[0, 0, 0], [0.5, 0.5, 0.5]]


def entry(metal: str, light: str, value: float, key: str, shape: float = 1.0) -> Entry:
    structure = Structure(Lattice.tetragonal(2.8, 2.8 * shape), [metal, light], SITES)
    return Entry(Proposal(structure, "pool", 5, key=key), value)


def batches(seed: int, n_batches: int = 4) -> Iterator[list[Entry]]:
    """Batches of ten crystals; the value falls from batch to batch, half of the light atoms are C."""
    for number in range(n_batches):
        light = ("C", "N", "O", "B")[number]
        values = np.random.default_rng([seed, number]).uniform(3 - number, 4 - number, size=len(METALS))
        yield [entry(m, light, float(v), f"{m} {light}") for m, v in zip(METALS, values, strict=True)]


def space() -> SearchSpace:
    return search_space(CampaignConfig.from_mapping(CONFIG))


def told(k: int, proposal: Proposal, **changes: object) -> Candidate:
    known = Candidate(f"c{k:06d}", proposal.structure, proposal.proposer, 5, key=proposal.key)
    return replace(known, **{"status": Status.PREDICTED, **changes})  # type: ignore[arg-type]


def test_a_pool_hands_out_everything_that_its_batches_hold_and_nothing_twice() -> None:
    own = space()
    pool = Pool(own, batches, fewest=6)
    seen: list[str] = []
    while entries := pool.ranked(4, 5)[:4]:
        pool.cross_out("pool", [told(len(seen) + k, e.proposal) for k, e in enumerate(entries)])
        seen += [e.proposal.key for e in entries]
    assert len(seen) == len(set(seen)) == 40


def test_a_resumed_pool_hands_out_the_same_whatever_was_asked_before() -> None:
    """One pool is asked at every step, for changing numbers; the other hears of all candidates at once."""
    own = space()
    pool = Pool(own, batches, fewest=6)
    history: list[Candidate] = []
    for n in (1, 7, 3, 9, 2, 5):
        step = [told(len(history) + k, e.proposal) for k, e in enumerate(pool.ranked(n, 5)[:n])]
        own.offered.remember(step)
        pool.cross_out("pool", step)
        history += step
    fresh = space()
    resumed = Pool(fresh, batches, fewest=6)
    fresh.offered.remember(history)
    resumed.cross_out("pool", history)
    keys = [e.proposal.key for e in pool.ranked(8, 5)]
    assert [e.proposal.key for e in resumed.ranked(8, 5)] == keys
    assert len(keys) >= 8


def test_what_another_source_offered_is_not_handed_out_in_another_cell() -> None:
    own = space()
    pool = Pool(own, batches, fewest=6)
    first = pool.ranked(1, 5)[0].proposal
    cell = first.structure.copy()
    cell.make_supercell([2, 1, 1])
    cell.scale_lattice(cell.volume * 0.9)
    own.offered.remember([told(0, first, structure=cell, proposer="other", key="")])
    assert first.key not in [e.proposal.key for e in pool.ranked(9, 5)]


def test_copies_within_a_pool_are_made_once() -> None:
    strained = [[entry("W", "C", 1.0 - k / 100, f"copy {k}", 1.2 + k / 100) for k in range(6)]]
    assert [e.proposal.key for e in Pool(space(), lambda seed: iter(strained)).ranked(9, 5)] == ["copy 0"]


def test_only_the_head_of_a_large_pool_is_weighed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    own = space()
    asked: list[int] = []
    real = SearchSpace.scored

    def scored(self: SearchSpace, structures: list[Structure], corrected: bool = True) -> np.ndarray:
        asked.append(len(structures))
        return real(self, structures, corrected)

    monkeypatch.setattr(SearchSpace, "scored", scored)
    metals = ("Li", "Na", "K", "Rb", "Be", "Mg", "Ca", "Sr", "Sc", "Y", *METALS)
    light = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "I")
    pairs = [(m, x) for m in metals for x in light]
    many = [entry(m, x, float(k), f"{m} {x}") for k, (m, x) in enumerate(pairs)]
    assert len(many) > 256
    found = Pool(own, lambda seed: iter([many])).ranked(10, 5)
    assert asked == [256] == [len(found)]
    assert {e.value for e in found} == {e.value for e in sorted(many, key=lambda e: -e.value)[:256]}


def test_a_pool_gives_up_after_barren_batches() -> None:
    made: list[int] = []

    def barren(seed: int) -> Iterator[list[Entry]]:
        for k in range(100):
            made.append(k)
            yield [entry("W", "C", 1.0, "only")] if k == 1 else []

    assert len(Pool(space(), barren).ranked(4, 5)) == 1
    assert made == [0, 1, 2, 3, 4]
