"""From proposals to those worth a verification: screened, predicted, chosen, remembered."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.campaign.choice import Places
from inverse.campaign.selection import Selection
from inverse.candidates.objective import OUT_OF_DOMAIN_AT_MOST, Objective
from inverse.candidates.types import Breach, Candidate, KnownPhase, Origin, Rule, Standing, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.protocol import Proposal
from inverse.reference.familiarity import LEAST_TRUST
from inverse.reference.known_energies import KnownEnergies
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import BULK_MODULUS, Property
from surrogates.protocol import Prediction
from tests.fakes import CONFIG, AnalyticSurrogate


def carbide(metal: str, volume: float = 10.0) -> Structure:
    """Two atoms, `volume` Å³ an atom."""
    a = (2 * volume) ** (1 / 3)
    return Structure(Lattice.cubic(a), [metal, "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def proposals(*structures: Structure, origin: Origin = Origin.SEARCH) -> list[Proposal]:
    return [Proposal(s, "test", 7, {"index": k}, None, origin) for k, s in enumerate(structures)]


def standing(structure: Structure) -> Standing:
    return Standing("cubic", True)


class Odd(AnalyticSurrogate):
    """The analytic surrogate, K of titanium not finite, nickel outside its domain."""

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        found = super().predict(crystals, properties)
        formulas = [s.composition.reduced_formula for s in crystals.to_structures()]
        bulk = found[BULK_MODULUS]
        mean = torch.where(torch.tensor([f == "TiC" for f in formulas]), torch.nan, bulk.mean)
        inside = torch.tensor([f != "NiC" for f in formulas])
        return {**found, BULK_MODULUS: replace(bulk, mean=mean, in_domain=inside)}


def selection(
    screening: Callable[[Structure], Breach | None] = lambda s: None,
    preview: Callable[[Structure], Standing] = standing,
    trust: Callable[[Structure], float] = lambda s: 1.0,
    surrogate: Any = None,
    **targets: Any,
) -> Selection:
    wanted = {"targets": targets} if targets else {}
    objective = Objective.of(CampaignConfig.from_mapping({**CONFIG, **wanted}))
    evaluator = Evaluator(surrogate or AnalyticSurrogate(), lambda formula: 0.0, objective.properties)
    return Selection(objective, evaluator, screening, preview, trust)


def refuse(structure: Structure) -> Breach | None:
    if structure[0].specie.symbol == "Fe":
        raise ValueError("no\n radius")
    if structure[0].specie.symbol == "Al":
        return Breach(Rule.N_ATOMS, "2 is not within 3 to 8")
    return Breach(Rule.VOLUME, "too small") if structure.volume < 14 else None


def test_candidates_are_numbered_screened_and_predicted_in_order() -> None:
    listed = proposals(carbide("W"), carbide("Al"), carbide("Fe"), carbide("W", 6.0), carbide("Ti"))
    candidates, chosen = selection(refuse).select(listed, 41, Places(5))
    assert [c.id for c in candidates] == ["c000041", "c000042", "c000043", "c000044", "c000045"]
    assert [c.structure.composition.reduced_formula for c in candidates] == ["WC", "AlC", "FeC", "WC", "TiC"]
    assert [c.rule for c in candidates] == [None, Rule.N_ATOMS, Rule.UNREADABLE, Rule.VOLUME, None]
    assert [c.reason for c in candidates[1:4]] == [
        "n_atoms: 2 is not within 3 to 8",
        "unreadable: no radius",
        "volume: too small",
    ]
    states = [Status.PREDICTED, *[Status.SCREENED_OUT] * 3, Status.PREDICTED]
    assert [c.status for c in candidates] == states
    assert [bool(c.predictions) for c in candidates] == [s is Status.PREDICTED for s in states]
    assert chosen == ["c000041", "c000045"]
    assert [(c.proposer, c.seed, c.history["index"]) for c in candidates] == [
        ("test", 7, k) for k in range(5)
    ]


def test_a_seed_that_the_config_forbids_is_verified_and_one_that_physics_does_is_not() -> None:
    seeds = proposals(carbide("Al"), carbide("W", 6.0), origin=Origin.SEED)
    candidates, chosen = selection(refuse).select(seeds, 0, Places(2))
    assert [c.status for c in candidates] == [Status.PREDICTED, Status.SCREENED_OUT]
    assert chosen == ["c000000"]


def test_nothing_alive_is_nothing_chosen() -> None:
    candidates, chosen = selection(refuse).select(proposals(carbide("Al"), carbide("Al")), 0, Places(2))
    assert [c.status for c in candidates] == [Status.SCREENED_OUT] * 2
    assert chosen == []


def test_what_was_predicted_stands_with_the_candidate() -> None:
    (best, poor), _ = selection().select(proposals(carbide("W"), carbide("W", 20.0)), 0, Places(1))
    assert best.predictions["bulk_modulus_vrh"].mean == pytest.approx(380.0, rel=0.01)
    assert best.probability_target_met == pytest.approx(1.0, abs=0.05)
    assert poor.probability_target_met == pytest.approx(0.0, abs=0.05)


def test_trust_weighs_what_is_promised_and_unknown_trust_is_the_least() -> None:
    """Equal predictions: the one that is believed comes first; where nobody can say, it is the least."""
    shares = {10.0: 0.5, 10.001: LEAST_TRUST / 2}

    def trust(structure: Structure) -> float:
        return shares[round(structure.volume / 2, 3)]

    listed = proposals(carbide("W", 10.001), carbide("W", 10.002), carbide("W", 10.0))
    made = selection(trust=trust, preview=lambda s: Standing(str(s.volume), False))
    candidates, chosen = made.select(listed, 0, Places(3))
    assert chosen == ["c000002", "c000001", "c000000"]
    assert candidates[1].status is Status.PREDICTED
    told = [replace(p, trust=t) for p, t in zip(listed, (0.9, 0.8, 0.1), strict=True)]
    assert made.select(told, 0, Places(3))[1] == ["c000000", "c000001", "c000002"], "the source knows better"


def test_what_has_no_finite_prediction_is_out_and_says_what_of() -> None:
    listed = proposals(carbide("W"), carbide("Ti"))
    candidates, chosen = selection(surrogate=Odd()).select(listed, 0, Places(2))
    assert candidates[1].status is Status.SCREENED_OUT
    assert candidates[1].rule is Rule.NO_PREDICTION
    assert "bulk_modulus_vrh" in candidates[1].reason
    assert "shear_modulus_vrh" not in candidates[1].reason
    assert chosen == ["c000000"]
    seeds = proposals(carbide("Ti"), origin=Origin.SEED)
    assert selection(surrogate=Odd()).select(seeds, 0, Places(1))[1] == ["c000000"]


def test_a_probability_that_is_held_says_so() -> None:
    """Nickel is outside the domain: sure of itself or not, it is never believed beyond the cap."""
    easy = {"bulk_modulus_vrh": {"min": 20}, "energy_above_hull": {"max": 5}}
    listed = proposals(carbide("Ni"), carbide("W"))
    (outside, inside), _ = selection(surrogate=Odd(), **easy).select(listed, 0, Places(2))
    assert outside.probability_target_met == pytest.approx(OUT_OF_DOMAIN_AT_MOST)
    assert outside.reason == f"out of domain: P(targets met) is held at {OUT_OF_DOMAIN_AT_MOST:g}"
    assert inside.probability_target_met == pytest.approx(1.0, abs=1e-6)
    assert inside.reason == ""
    hard = {"bulk_modulus_vrh": {"min": 900}, "energy_above_hull": {"max": 5}}
    (hopeless, _), _ = selection(surrogate=Odd(), **hard).select(listed, 0, Places(2))
    assert hopeless.reason == "", "nothing was held"


def test_one_of_a_kind_is_chosen_and_the_other_says_why_not() -> None:
    """W-C in one structure type twice: once is enough, in one step and over steps that were finished."""
    made = selection()
    listed = proposals(carbide("W"), carbide("W", 10.2), carbide("Ti"))
    candidates, chosen = made.select(listed, 0, Places(3))
    assert chosen == ["c000000", "c000002"]
    assert [c.rule for c in candidates] == [None, Rule.LIKE_VERIFIED, None]
    assert made.select(listed, 0, Places(3))[1] == chosen, "a choice alone is not remembered"
    made.remember([replace(candidates[0], parent_prototype="relaxed")])
    assert made.select(listed, 0, Places(3))[1] == ["c000002"]
    become = selection(preview=lambda s: Standing("relaxed", True))
    become.remember([replace(candidates[0], parent_prototype="relaxed")])
    assert become.select(listed, 0, Places(3))[1] == ["c000002"]


def test_systems_that_were_verified_often_stand_back() -> None:
    """Each verified crystal of a system takes four tenths of the worth of the next."""
    made = selection(preview=lambda s: Standing(str(s.volume), False))
    done, _ = made.select(proposals(carbide("W"), carbide("W", 10.3)), 0, Places(2))
    made.remember(done)
    listed = proposals(carbide("W", 10.1), carbide("Ti", 10.1))
    assert made.select(listed, 0, Places(1))[1] == ["c000000"], "titanium carbide promises nothing"
    easy = selection(
        preview=lambda s: Standing(str(s.volume), False), density={"min": 1}, energy_above_hull={"max": 5}
    )
    easy.remember(done)
    assert easy.select(listed, 0, Places(1))[1] == ["c000001"]


def test_what_has_no_standing_stands_alone() -> None:
    def unknown(structure: Structure) -> Standing:
        raise ValueError("no symmetry")

    made = selection(preview=unknown)
    candidates, chosen = made.select(proposals(carbide("W"), carbide("W", 10.2)), 0, Places(2, 2))
    assert sorted(chosen) == ["c000000", "c000001"]
    assert {c.expected_prototype for c in candidates} == {"unknown c000000", "unknown c000001"}
    assert not any(c.history["expected_new"] for c in candidates)


def test_expectations_are_noted_where_they_were_asked_for_and_seconds_everywhere() -> None:
    made = selection(refuse)
    listed = proposals(carbide("W"), carbide("W", 30.0), carbide("Al"))
    (best, poor, out), chosen = made.select(listed, 0, Places(1))
    assert chosen == [best.id]
    assert best.history["expected_new"] is True
    assert (best.expected_prototype, best.parent_prototype) == ("cubic", "cubic")
    assert (poor.expected_prototype, poor.parent_prototype) == ("", "")
    assert "expected_new" not in poor.history
    assert set(best.history["seconds"]) == set(poor.history["seconds"]) == {"screened", "predicted"}
    assert set(out.history["seconds"]) == {"screened"}
    assert 0 <= best.history["seconds"]["screened"] < 1


def test_the_numbers_are_those_that_a_journal_gives_back() -> None:
    from inverse.inputs.records import candidate_from_record, candidate_to_record

    (candidate,), _ = selection().select(proposals(carbide("W", 10.123456789)), 0, Places(1))
    again: Candidate = candidate_from_record(candidate_to_record(candidate))
    assert again.structure == candidate.structure
    assert again.structure.lattice.matrix.tolist() == candidate.structure.lattice.matrix.tolist()


def test_a_candidate_carries_the_known_phase_that_it_is() -> None:
    tungsten = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    objective = Objective.of(CampaignConfig.from_mapping(CONFIG))
    evaluator = Evaluator(
        AnalyticSurrogate(), lambda formula: 0.0, objective.properties, known=KnownEnergies.packaged()
    )
    chosen = Selection(objective, evaluator, lambda s: None, standing, lambda s: 1.0)
    candidates, _ = chosen.select(proposals(carbide("W"), tungsten, tungsten), 0, Places(1))
    assert [c.known_phase for c in candidates] == [None, KnownPhase("mp-1894"), KnownPhase("mp-1894")]
    assert [c.known_phase for c in selection().select(proposals(tungsten), 0, Places(1))[0]] == [None]


def apart(structure: Structure) -> Standing:
    return Standing(f"{structure.volume:.5f}", False)


class Clock:
    """Stands still but where a stand-in takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def after(self, seconds: float, answer: Any) -> Callable[..., Any]:
        def answered(*asked: Any) -> Any:
            self.now += seconds
            return answer(*asked)

        return answered


@pytest.mark.parametrize("n", [1, 4])
def test_each_has_its_share_of_the_seconds_of_its_batch(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 s of screening each; 8 s of prediction in all, shared by those that were predicted."""
    clock = Clock()
    monkeypatch.setattr("inverse.campaign.selection.time", clock)
    made = selection(clock.after(3.0, refuse), apart)
    made._evaluator.evaluate = clock.after(8.0, made._evaluator.evaluate)  # type: ignore[method-assign]
    listed = proposals(*[carbide("W", 10.0 + 0.1 * k) for k in range(n)], carbide("Al"))
    for candidates, _ in (made.select(listed, 0, Places(1)), made.select(listed[:n], 0, Places(1))):
        assert [c.history["seconds"] for c in candidates[:n]] == [{"screened": 3.0, "predicted": 8.0 / n}] * n
        assert [c.history["seconds"] for c in candidates[n:]] == [{"screened": 3.0}] * (len(candidates) - n)


def test_one_that_waited_comes_back_when_it_is_chosen_as_it_was_first_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its seconds are those of its own step; those that wait on are not among the candidates."""
    clock = Clock()
    monkeypatch.setattr("inverse.campaign.selection.time", clock)
    made = selection(clock.after(3.0, refuse), apart)
    listed = proposals(carbide("W"), carbide("W", 10.5), carbide("W", 10.8))
    first, chosen = made.select(listed, 0, Places(1))
    assert (chosen, made.left) == (["c000000"], ["c000001", "c000002"])
    clock.now += 100.0
    poor = proposals(carbide("W", 30.0))
    found, chosen = made.select(poor, 3, Places(1), [first[1], first[2]])
    assert chosen == ["c000001"]
    assert made.left == ["c000002"]
    assert [c.id for c in found] == ["c000001", "c000003"]
    assert found[0].history["seconds"] == first[1].history["seconds"] == {"screened": 3.0, "predicted": 0.0}
    assert found[1].history["seconds"] == {"screened": 3.0, "predicted": 0.0}
    assert found[0].status is Status.PREDICTED


def test_a_verified_system_counts_once_for_each_that_was_verified() -> None:
    """Equal predictions: after one of W-C the next is worth 0.6 of its trust, after two 0.36."""
    easy = {"density": {"min": 1}, "energy_above_hull": {"max": 5}}
    for trust, chosen in ((0.5, "c000000"), (0.7, "c000001")):
        listed = [replace(p, trust=t) for p, t in zip(pair(), (1.0, trust), strict=True)]
        made = selection(preview=apart, **easy)
        done, _ = made.select(proposals(carbide("W")), 0, Places(1))
        made.remember(done)
        assert made.select(listed, 0, Places(1))[1] == [chosen]
        made.remember(done)
        assert made.select(listed, 0, Places(1))[1] == ["c000001"]


def pair() -> list[Proposal]:
    return proposals(carbide("W", 10.1), carbide("Ti", 10.1))


def test_what_is_not_trusted_at_all_is_not_verified() -> None:
    listed = [replace(p, trust=t) for p, t in zip(pair(), (0.0, 0.1), strict=True)]
    easy = {"density": {"min": 1}, "energy_above_hull": {"max": 5}}
    assert selection(**easy).select(listed, 0, Places(2))[1] == ["c000001"]


def test_a_seed_without_a_prediction_waits_behind_those_that_have_one() -> None:
    made = selection(surrogate=Odd(), preview=apart)
    seeds = proposals(carbide("W"), carbide("Ti"), carbide("W", 11.0), origin=Origin.SEED)
    _, chosen = made.select(seeds, 0, Places(1))
    assert (chosen, made.left) == (["c000000"], ["c000002", "c000001"])


class Unsure(AnalyticSurrogate):
    """The analytic surrogate; K of titanium carbide lacks what is asked for."""

    def __init__(self, field: str) -> None:
        self.field = field

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        found = super().predict(crystals, properties)
        is_out = [s.composition.reduced_formula == "TiC" for s in crystals.to_structures()]
        value = getattr(found[BULK_MODULUS], self.field).clone()
        value[..., torch.tensor(is_out)] = torch.nan
        return {**found, BULK_MODULUS: replace(found[BULK_MODULUS], **{self.field: value})}


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("std", "bulk_modulus_vrh"),
        ("samples", "the probability that the targets are met"),
    ],
)
def test_an_error_or_a_probability_that_is_no_number_is_no_prediction(field: str, why: str) -> None:
    (titanium, tungsten), chosen = selection(surrogate=Unsure(field)).select(pair()[::-1], 0, Places(2))
    assert chosen == ["c000001"]
    assert (titanium.status, titanium.rule) == (Status.SCREENED_OUT, Rule.NO_PREDICTION)
    assert titanium.reason == f"no finite prediction: {why}"
    assert (tungsten.status, tungsten.reason) == (Status.PREDICTED, "")


def test_outside_the_domain_only_what_is_held_says_so() -> None:
    """K of 60 +- 2.4 GPa against 60: one half by that alone, which the cap leaves as it is."""
    even = {"bulk_modulus_vrh": {"min": 60}, "energy_above_hull": {"max": 5}}
    (nickel,), _ = selection(surrogate=Odd(), **even).select(proposals(carbide("Ni")), 0, Places(1))
    assert nickel.probability_target_met == pytest.approx(0.5, abs=0.01)
    assert nickel.reason == ""
