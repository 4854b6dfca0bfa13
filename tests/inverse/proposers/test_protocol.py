"""A source need only have `ask`; the rest of what a proposer promises is filled in when it is made."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.all_sources import with_seeds
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.protocol import Proposal, Proposer, Seeding, completed
from surrogates.errors import ConfigError
from tests.crystals import fcc
from tests.fakes import CONFIG, search_space


class Bare:
    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        return [Proposal(fcc(symbol, 4.0)) for symbol in ("Al", "Cu", "Ag", "Au")[:n]]


class Counting(Bare):
    def __init__(self) -> None:
        self.asked = 0

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self.asked += 1
        return super().ask(n, step, seed)

    def state(self) -> Mapping[str, Any]:
        return {"asked": self.asked}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.asked = state["asked"]


def test_a_source_with_an_ask_alone_keeps_every_promise() -> None:
    source = completed(Bare(), "bare")
    assert isinstance(source, Proposer)
    assert [p.proposer for p in source.ask(2, 0, 5)] == ["bare", "bare"]
    source.tell([])
    assert source.state() == {}
    source.restore({})
    assert (source.n_first, source.is_finished, source.seeding) == (0, False, Seeding.CHILDREN)
    assert completed(source, "bare") is completed(source) is source
    own = type("Own", (Bare, Proposer), {})()
    assert completed(own, "random") is completed(own) is own


def test_states_of_several_sources_come_back_to_each() -> None:
    def both() -> tuple[Counting, Hybrid]:
        counting = Counting()
        return counting, Hybrid([completed(Bare(), "bare"), completed(counting, "counting")], {"bare": 0.5})

    told, first = both()
    first.ask(4, 0, 5)
    counting, second = both()
    second.restore(first.state())
    assert counting.asked == told.asked > 0
    assert first.state() == second.state() == {"counting": {"asked": told.asked}}


class NoState(Bare):
    def state(self) -> Mapping[str, Any]:
        return {"of": {1, 2}}

    def restore(self, state: Mapping[str, Any]) -> None: ...


class HalfState(Bare):
    def state(self) -> Mapping[str, Any]:
        return {}


class NotProposing:
    def ask(self, n: int, step: int, seed: int) -> list[Structure]:
        return [Structure(Lattice.cubic(3.0), ["Al"], [[0, 0, 0]])]


class Failing:
    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        raise ZeroDivisionError("no\nluck")


def test_what_a_source_gets_wrong_is_said_in_one_line() -> None:
    with pytest.raises(TypeError, match=r"makes a list without ask\(n, step, seed\)"):
        completed([])
    with pytest.raises(TypeError, match=r"has state\(\) without restore\(\)"):
        completed(HalfState())
    with pytest.raises(ConfigError, match=r"proposer 'x' failed: TypeError: Object of type set is not JSON"):
        completed(NoState(), "x").state()
    with pytest.raises(ConfigError, match="proposer 'x': proposes a Structure, not a Proposal"):
        completed(NotProposing(), "x").ask(1, 0, 5)
    with pytest.raises(
        ConfigError, match=r"^proposer 'x' failed: ZeroDivisionError: no \(test_proto.+ \d+\)$"
    ):
        completed(Failing(), "x").ask(1, 0, 5)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Failing, r"proposer 'x' failed: ZeroDivisionError: no \(test_protocol.py, line \d+\)$"),
        (NotProposing, "proposer 'x': proposes a Structure, not a Proposal"),
        (NoState, "proposer 'x' failed: TypeError: Object of type set is not JSON"),
    ],
)
def test_a_source_of_others_that_inherits_is_held_to_the_same(kind: type, said: str) -> None:
    heir = type("Heir", (kind, Proposer), {"__module__": __name__})
    source = completed(heir(), "x")
    with pytest.raises(ConfigError, match=said):
        (source.ask(1, 0, 5), source.state())


def test_what_an_heir_leaves_to_the_protocol_is_no_state_of_its_own() -> None:
    with pytest.raises(TypeError, match=r"has state\(\) without restore\(\)"):
        completed(type("Heir", (HalfState, Proposer), {})(), "x")
    named = completed(type("Heir", (Bare, Proposer), {})(), "x")
    assert [p.proposer for p in named.ask(1, 0, 5)] == ["x"]
    assert named.state() == {}


def test_seeds_stand_beside_a_source_as_it_wants_them() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    source = completed(Bare(), "bare")
    assert with_seeds(source, space) is source
    space = replace(space, seeds=[("al", fcc("Al", 4.04))])
    seeded = with_seeds(source, space)
    assert isinstance(seeded, Hybrid)
    assert seeded.name == "bare"
    assert seeded.source_names == ("seeds", "bare")
    source.seeding = Seeding.OWN
    assert with_seeds(source, space) is source
