"""What stand-ins seldom meet: crystals that grow unlikely, formulas offered elsewhere, types at the limit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Breach, Candidate, Rule, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.building.compositions import RankedComposition
from inverse.proposers.building.descent import DescentSettings
from inverse.proposers.building.plans import Plan
from inverse.proposers.decoder_draws import Draw, best_of, drawn
from inverse.proposers.gradient import LIKELIHOOD_DROP, descended
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.news import listening
from inverse.proposers.pool import Entry, Pool
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.seeds import SeedSearch, SeedSettings
from inverse.proposers.substitution import Substitution, SubstitutionSettings, _by_frequency, _mixed
from inverse.reference.structure_types import prototypes
from surrogates.errors import EngineError
from tests.fakes import CONFIG, search_space

ROCK_SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]


def space(decoder: Any = None, **changes: Any) -> SearchSpace:
    return search_space(CampaignConfig.from_mapping({**CONFIG, **changes}), decoder)


def proposal(metal: str, light: str, **changes: Any) -> Proposal:
    structure = Structure(Lattice.cubic(2.714), [metal, light], ROCK_SALT)
    return replace(Proposal(structure, "test", 5, key=f"{metal}{light}"), **changes)


@pytest.mark.parametrize(("drop", "first"), [(LIKELIHOOD_DROP - 0.1, "WC"), (LIKELIHOOD_DROP + 50.0, "TiC")])
def test_what_became_far_less_likely_than_its_start_ranks_lower(drop: float, first: str) -> None:
    """WC is worth a little more than TiC; to the decoder it became less likely by `drop` nats per atom."""

    def log_likelihood(crystals: Any) -> torch.Tensor:
        formulas = [s.composition.reduced_formula for s in crystals.to_structures()]
        return torch.tensor([-1.0 - drop if formula == "WC" else -1.0 for formula in formulas])

    starts = [proposal(metal, "C", log_likelihood=-1.0) for metal in ("W", "Ti")]
    still = DescentSettings(steps=0)
    low = {"bulk_modulus_vrh": {"min": 55}, "energy_above_hull": {"max": 1.0}}
    own = space(SimpleNamespace(log_likelihood=log_likelihood), targets=low)
    found = descended(own, starts, 2, still, np.random.default_rng(0), "test")
    assert found[0].structure.composition.reduced_formula == first
    assert len(found) == 2
    assert {p.structure.composition.reduced_formula: p.log_likelihood for p in found} == pytest.approx(
        {"WC": -1.0 - drop, "TiC": -1.0}
    )


@pytest.mark.parametrize("offered", ["WC", "TiC", "TiN"])
def test_a_crystal_that_another_source_offered_is_not_handed_out_whichever_it_is(offered: str) -> None:
    every = {"WC": ("W", "C"), "TiC": ("Ti", "C"), "TiN": ("Ti", "N")}

    def batches(seed: int) -> Iterator[list[Entry]]:
        yield [Entry(proposal(*pair), 1.0) for pair in every.values()]

    own = space()
    pool = Pool(own, batches, fewest=3)
    assert {e.proposal.key for e in pool.ranked(3, 5)} == set(every)
    structure = proposal(*every[offered]).structure
    own.offered.remember([Candidate("c000000", structure, "other", 5, status=Status.PREDICTED)])
    assert {e.proposal.key for e in pool.ranked(3, 5)} == set(every) - {offered}


def test_whom_a_hybrid_asks_is_told() -> None:
    class Source:
        name = "rich"

        def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
            return [proposal("W", "C")]

        def tell(self, candidates: Sequence[Candidate]) -> None:
            return None

    said: list[str] = []
    with listening(said.append):
        Hybrid([Source()], {"rich": 1.0}).ask(1, 0, 5)
    assert said == ["asking rich for 1 of the proposals"]


SALT, BORIDE = "225|4 -3mm C|4 -3mm Ti", "191|1 /6mmm Ti|2 -26m B"


def test_types_count_formulas_once_and_the_most_frequent_come_first() -> None:
    rows = [("TiB2", BORIDE), ("TiC", SALT), ("TiC", SALT), ("TiC", SALT), ("NaCl", SALT.replace("C", "Cl"))]
    found = prototypes(rows, 8, 4)
    assert [(p.n_atoms, p.counts, p.total) for p in found] == [(2, (1, 1), 2), (3, (1, 2), 1)]
    equal = prototypes([("TiC", SALT), ("TiB2", BORIDE)], 8, 4)
    assert equal == prototypes([("TiB2", BORIDE), ("TiC", SALT)], 8, 4), "ties are broken by the type"
    alike = prototypes([("TiC", SALT), ("ZrC", SALT.replace("Ti", "Zr"))], 8, 4)
    assert [list(p.kinds.values()) for p in alike] == [[2]], "titanium and zirconium are of one kind"


@pytest.mark.parametrize(("max_atoms", "found"), [(1, []), (2, [2]), (3, [2, 3])])
def test_types_as_large_as_allowed_are_known_and_no_larger(max_atoms: int, found: list[int]) -> None:
    assert sorted(p.n_atoms for p in prototypes([("TiC", SALT), ("TiB2", BORIDE)], max_atoms, 4)) == found


@pytest.mark.parametrize(("max_elements", "n"), [(1, 0), (2, 1), (3, 2)])
def test_types_of_as_many_elements_as_allowed_are_known_and_no_more(max_elements: int, n: int) -> None:
    perovskite = "221|1 -3mm Ca|1 -3mm Ti|3 ./4mmm O"
    assert len(prototypes([("TiC", SALT), ("CaTiO3", perovskite)], 8, max_elements)) == n


def test_trust_and_familiarity_grow_with_formulas_of_the_kind() -> None:
    """0.35 + 0.65 n / (n + 2), and a fiftieth of all formulas of the type for whatever is of another kind."""
    (salt,) = prototypes(
        [("TiC", SALT), ("ZrC", SALT.replace("Ti", "Zr")), ("NaCl", "225|4 -3mm Cl|4 -3mm Na")], 8, 4
    )
    assert salt.total == 3
    assert salt.trust(("C", "Ti")) == pytest.approx(0.35 + 0.65 * 2 / 4)
    assert salt.trust(("O", "W")) == pytest.approx(0.35)
    assert salt.familiarity(("C", "Hf")) == pytest.approx(2.06)
    assert salt.familiarity(("O", "W")) == pytest.approx(0.06)


def plan(formula: dict[str, int], worth: float, volume: float, is_known: bool = False) -> Plan:
    (salt,) = prototypes([("TiC", SALT)], 8, 4)
    return Plan(RankedComposition(formula, worth, volume, is_known), salt, tuple(sorted(formula)), worth)


def test_a_plan_has_the_volume_expected_of_it_and_a_rough_one_else() -> None:
    assert plan({"W": 1, "C": 1}, 0.5, 9.5).volume_per_atom == 9.5
    assert plan({"W": 1, "C": 1}, 0.5, float("nan")).volume_per_atom == 15.0


@pytest.mark.parametrize(
    ("ranks", "n", "chosen"),
    [
        ("kkkuuu", 3, "kuu"),
        ("uuukkk", 3, "uuk"),
        ("kkkuuu", 6, "kkkuuu"),
        ("kkkkku", 3, "kku"),
        ("uuuuuk", 6, "uuuuuk"),
        ("uuuuu", 3, "uuu"),
        ("kkkkk", 2, "kk"),
        ("kukuku", 1, "u"),
    ],
)
def test_two_in_three_of_a_pool_are_in_no_table_as_far_as_there_are_such(
    ranks: str, n: int, chosen: str
) -> None:
    entries = [Entry(proposal("W", "C"), 1.0, is_known=kind == "k") for kind in ranks]
    found = _mixed(entries, n)
    assert "".join("k" if e.is_known else "u" for e in found) == chosen
    places = [next(k for k, e in enumerate(entries) if e is own) for own in found]
    assert places == sorted(places), "in the order of rank"


def test_the_most_frequent_amounts_are_tried_first() -> None:
    rows = [("TiB2", BORIDE), ("TiC", SALT), ("NaCl", "225|4 -3mm Cl|4 -3mm Na")]
    assert _by_frequency(prototypes(rows, 8, 4)) == [(1, 1), (1, 2)]
    rows += [("ZrB2", BORIDE.replace("Ti", "Zr")), ("MgB2", BORIDE.replace("Ti", "Mg"))]
    assert _by_frequency(prototypes(rows, 8, 4)) == [(1, 2), (1, 1)]


@pytest.mark.parametrize("name", ["seeds", "substitution"])
def test_what_is_made_has_the_seed_of_the_run_and_not_the_number_asked_for(name: str) -> None:
    own, known = space(), prototypes([("TiC", SALT)], 8, 4)
    narrow = SeedSettings(4, 1, DescentSettings(steps=1, species_rate=0.2), fewest=4)
    small = SubstitutionSettings(n_compositions=6, n_structures=8, fewest=4)
    made = {
        "seeds": lambda: SeedSearch(own, [("tic.cif", proposal("Ti", "C").structure)], narrow),
        "substitution": lambda: Substitution(own, lambda: known, settings=small),
    }[name]()
    assert {p.seed for p in made.ask(4, 0, 7)} == {7}


def test_worth_now_is_by_what_verdicts_taught_and_worth_at_first_by_what_ships() -> None:
    """The campaign's evaluator says that nothing is ever stiff enough; the shipped one does not."""
    soft = SimpleNamespace(predict=lambda structures: {})
    own = replace(space(), corrected=soft)  # type: ignore[arg-type]
    said: list[Any] = []

    def noted(self: SearchSpace, predictions: Any) -> np.ndarray:
        said.append(predictions)
        return np.ones(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SearchSpace, "worth_of", noted)
        own.scored([proposal("W", "C").structure])
        own.scored([proposal("W", "C").structure], corrected=False)
    assert said[0] == {}
    assert len(said[1]) > 0
    assert len(own.scored([])) == 0


def test_a_decoder_that_fails_or_draws_what_no_screen_takes_gives_none_and_ends_nothing() -> None:
    def refuse(*_: Any) -> Any:
        raise EngineError("no such condition")

    broken = space(SimpleNamespace(sample=refuse))
    assert drawn(broken, None, 4, 0, 0, Draw.RANDOM, "decoder") == []
    closed = replace(space(), screening=lambda structure: Breach(Rule.VOLUME, "none is sound"))
    assert best_of(closed, [proposal("W", "C")], 3) == []
