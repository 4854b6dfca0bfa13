"""Pools are refilled as they empty, hand out nothing twice, and depend on what was told alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers import pool as module
from inverse.proposers.distinct import Offered
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


def keys_of(pool: Pool, n: int = 4) -> list[str]:
    return [e.proposal.key for e in pool.ranked(n, 5)]


def test_barren_batches_are_counted_from_the_last_that_was_not() -> None:
    """Two are borne, at the start and later; a third in a row ends it."""
    fertile = {2: "W", 5: "Ti"}
    made: list[int] = []

    def sparse(seed: int) -> Iterator[list[Entry]]:
        for k in range(100):
            made.append(k)
            yield [entry(fertile[k], "C", 1.0, fertile[k])] if k in fertile else []

    pool = Pool(space(), sparse)
    assert sorted(keys_of(pool)) == ["Ti", "W"]
    assert made == list(range(9))
    keys_of(pool)
    assert made == list(range(9)), "what is exhausted is not asked again"


@pytest.mark.parametrize(("fewest", "n_batches"), [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_batches_are_made_until_there_are_enough_entries(fewest: int, n_batches: int) -> None:
    made: list[int] = []

    def noted(seed: int) -> Iterator[list[Entry]]:
        for number, batch in enumerate(batches(seed)):
            made.append(number)
            yield batch

    pool = Pool(space(), noted, fewest=fewest)
    for _ in range(2):
        assert len(keys_of(pool)) == 10 * n_batches
        assert len(made) == n_batches


def test_what_comes_first_comes_before_all_others_and_those_in_the_order_of_their_worth_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the verdicts the atoms that weigh least are worth most, whatever entries were worth when made."""
    monkeypatch.setattr(module, "LEAST_WEIGHED", 4)
    asked: list[list[str]] = []

    def lightest(self: SearchSpace, structures: list[Structure], corrected: bool = True) -> np.ndarray:
        assert corrected
        asked.append([s[0].specie.symbol for s in structures])
        return np.array([-s[0].specie.Z for s in structures], dtype=float)

    monkeypatch.setattr(SearchSpace, "scored", lightest)
    value = {"W": 9.0, "Ti": 8.0, "Al": 7.0, "Zr": 6.0, "Hf": 5.0, "Nb": 4.0, "Ta": 3.0, "Mo": 2.0, "V": 1.0}
    entries = [entry(metal, "C", v, metal) for metal, v in reversed(value.items())]
    seeds = [replace(entry(m, "N", 0.1 * k, m + "N"), is_first=True) for k, m in enumerate(("Ti", "Al"))]
    pool = Pool(space(), lambda seed: iter([[*entries, *seeds]]))
    assert keys_of(pool, 1) == ["AlN", "TiN", "Al", "Ti", "Zr", "W"]
    assert asked == [["W", "Ti", "Al", "Zr"]]
    assert keys_of(pool, 2) == ["AlN", "TiN", "Al", "Ti", "Zr", "Nb", "Mo", "Hf", "Ta", "W"]


def test_what_was_offered_before_a_batch_was_made_is_not_in_it() -> None:
    """Tungsten carbide in two shapes, of which another source offered the one of the second batch."""
    own = space()
    lying, standing = entry("W", "C", 1.0, "lying"), entry("W", "C", 1.0, "standing", shape=1.6)
    own.offered.remember([told(0, standing.proposal, proposer="other", key="")])
    assert keys_of(Pool(own, lambda seed: iter([[lying], [standing]]), fewest=2)) == ["lying"]
    assert keys_of(Pool(own, lambda seed: iter([[standing, lying]]))) == ["lying"]


def test_an_entry_is_compared_with_what_was_offered_only_when_its_formula_was_offered_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, compared = space(), list[str]()
    holds = Offered.holds

    def noted(self: Offered, structure: Structure) -> bool:
        compared.append(structure.composition.reduced_formula)
        return holds(self, structure)

    monkeypatch.setattr(Offered, "holds", noted)
    pool = Pool(own, lambda seed: iter([[entry("W", "C", 1.0, "WC"), entry("Ti", "C", 2.0, "TiC")]]))
    shapes = [entry("W", "C", 1.0, "", shape=k).proposal for k in (1.5, 1.9)]
    asked = []
    for number in range(4):
        assert len(keys_of(pool)) == 2
        asked.append(len(compared))
        if number in (0, 2):
            own.offered.remember([told(number, shapes[number // 2], proposer="other", key="")])
    assert asked == [0, 1, 1, 2]
    assert set(compared) == {"WC"}


def test_only_what_this_source_proposed_is_crossed_out() -> None:
    pool = Pool(space(), lambda seed: iter([[entry("W", "C", 1.0, "one"), entry("Ti", "C", 2.0, "two")]]))
    one = pool.ranked(2, 5)[0].proposal
    pool.cross_out("pool", [told(0, one, proposer="other")])
    assert len(keys_of(pool)) == 2
    pool.cross_out("pool", [told(0, one, status=Status.SCREENED_OUT), told(1, one, key="unheard of")])
    assert keys_of(pool) == [key for key in ("one", "two") if key != one.key]
