"""Verdicts -> status, score, duplicates."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.ranking import (
    HitGroups,
    Kinship,
    as_duplicate,
    as_judged,
    confirmed,
    failure,
    has_met,
    is_promising,
    judged,
    misses,
    probability_after,
    with_duplicates,
)
from inverse.candidates.second_opinion import SECOND_DIFFERS
from inverse.candidates.types import (
    Breach,
    Candidate,
    HitClass,
    KnownPhase,
    PredictedValue,
    Rule,
    Status,
    StructureType,
    Target,
    TypeNovelty,
    Verification,
    VerifiedValue,
)
from inverse.report.summary import funnel
from surrogates.errors import StructureError
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    SHEAR_MODULUS,
)

WC = Structure(Lattice.hexagonal(2.92, 2.84), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
TIC = Structure(Lattice.cubic(3.06), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
KIN = Kinship(HitClass.KNOWN, "", "WC", "187")
WANTED = Objective([Target(BULK_MODULUS, minimum=300), Target(SHEAR_MODULUS, minimum=150)])


def verdict(bulk: float = 380, shear: float = 270, hull: float = 0.0, **changes: Any) -> Verification:
    means = {BULK_MODULUS: bulk, SHEAR_MODULUS: shear, ENERGY_ABOVE_HULL: hull}
    values = {
        p.name: VerifiedValue(m, s, m - s, m + s, m, "judge", p.unit)
        for (p, m), s in zip(means.items(), (10.0, 15.0, 0.05), strict=True)
    }
    return replace(Verification("judge", True, values=values, is_stable=True, structure=WC), **changes)


def decide(
    verification: Verification, objective: Objective = WANTED, screening: Breach | None = None
) -> Candidate:
    start = Candidate(
        "c000001", WC, "test", 0, predictions={BULK_MODULUS.name: PredictedValue(360, 20, 330, 390)}
    )
    kin = Kinship(HitClass.KNOWN, "", "WC", "187")
    return judged(start, verification, objective, lambda s: screening, lambda s: kin)


def test_a_hit() -> None:
    found = decide(verdict())
    assert found.status is Status.HIT
    assert found.reason == ""
    assert found.hit_class is HitClass.KNOWN
    assert found.probability_after is not None
    assert found.probability_after > 0.9
    assert found.verification is not None
    assert found.verification.values["vickers_hardness_chen"].mean == pytest.approx(32.5, abs=2)


def test_the_structure_type_is_asked_of_every_state_of_a_crystal() -> None:
    """As proposed, as the other judge relaxed it, as the energy judge did."""
    other, asked = TIC.copy(), []
    start = Candidate("c000001", TIC, "test", 0)

    def type_of(structures: Sequence[Structure]) -> StructureType:
        asked.append(list(structures))
        return StructureType(TypeNovelty.NEW, "")

    said = verdict(other_cells={"diep": other})
    found = judged(start, said, WANTED, lambda s: None, lambda s: KIN, type_of)
    assert [[id(s) for s in one] for one in asked] == [[id(TIC), id(other), id(WC)]]
    assert found.structure_type == StructureType(TypeNovelty.NEW, "")
    assert decide(said).structure_type is None

    def refuse(structures: Sequence[Structure]) -> StructureType:
        raise StructureError("no symmetry")

    assert judged(start, said, WANTED, lambda s: None, lambda s: KIN, refuse).structure_type is None


@pytest.mark.parametrize(("wanted", "status"), [(True, Status.HIT), (False, Status.FAILED)])
def test_a_hit_that_turns_out_derivative_is_none_where_derivatives_are_not_wanted(
    wanted: bool, status: Status
) -> None:
    new = replace(decide(verdict()), hit_class=HitClass.NEW)
    found = confirmed(new, lambda s: Kinship(HitClass.DERIVATIVE, "WC", "WC", "187"), wanted)
    assert (found.status, found.hit_class) == (status, HitClass.DERIVATIVE)
    assert found.reason == ("" if wanted else "after relaxation: derivatives: an ordering of WC")


def test_what_cannot_be_classified_is_no_hit_and_says_why() -> None:
    """A hit without a class would be in the total and in none of known, derivative, new."""
    start = Candidate("c000001", WC, "test", 0)

    def refuse(structure: Structure) -> Kinship:
        raise StructureError("spglib finds no symmetry")

    found = judged(start, verdict(), WANTED, lambda s: None, refuse)
    assert (found.status, found.hit_class) == (Status.VERIFIED, None)
    assert found.reason == "hit class: unknown (spglib finds no symmetry)"
    assert (found.unclassified, found.nearest_known) == ("spglib finds no symmetry", "")
    assert funnel([found], WANTED)[-1].lost == {"hit class unknown": 1}
    assert decide(verdict(structure=None)).status is Status.VERIFIED


@pytest.mark.parametrize(
    ("verification", "status", "word"),
    [
        (verdict(bulk=299.9), Status.VERIFIED, "bulk_modulus_vrh"),
        (verdict(hull=0.11), Status.VERIFIED, "energy_above_hull"),
        (verdict(is_stable=False), Status.FAILED, "unstable"),
        (verdict(converged=False, reason="judges disagree on the phase"), Status.FAILED, "disagree"),
        (verdict(values={}), Status.VERIFIED, "no judge gave a value"),
        (verdict(bulk=float("nan")), Status.VERIFIED, "no judge gave a value"),
    ],
)
def test_not_a_hit(verification: Verification, status: Status, word: str) -> None:
    found = decide(verification)
    assert found.status is status
    assert word in found.reason


def test_constraints_are_asked_again_after_relaxation() -> None:
    found = decide(verdict(), screening=Breach(Rule.N_ATOMS, "9 in the primitive cell"))
    assert found.status is Status.FAILED
    assert found.reason == "after relaxation: n_atoms: 9 in the primitive cell"
    assert found.rule is Rule.N_ATOMS
    assert funnel([found], WANTED)[3].lost == {"after relaxation: n_atoms": 1}


def test_predicted_only_properties_need_eight_in_ten() -> None:
    objective = Objective([Target(BAND_GAP, minimum=1.0)])
    sure = replace(decide(verdict()), predictions={BAND_GAP.name: PredictedValue(2.0, 0.5, 1, 3)})
    for mean, status in ((2.0, Status.HIT), (1.1, Status.VERIFIED)):
        start = replace(sure, predictions={BAND_GAP.name: PredictedValue(mean, 0.5, 0, 3)})
        found = judged(start, verdict(), objective, lambda s: None, lambda s: Kinship(HitClass.NEW))
        assert found.status is status


def verified_gap(mean: float) -> VerifiedValue:
    return VerifiedValue(mean, 0.1, mean, mean, mean, "own", "eV")


def gap(mean: float, enough: float = 0.8, in_domain: bool = True) -> Candidate:
    objective = Objective([Target(BAND_GAP, minimum=0.2, maximum=1.0)], predicted_enough=enough)
    value = PredictedValue(mean, 0.33, 0.0, 1.1, in_domain)
    start = replace(decide(verdict()), predictions={BAND_GAP.name: value})
    return judged(start, verdict(), objective, lambda s: None, lambda s: Kinship(HitClass.NEW))


def test_the_reason_of_a_target_that_nobody_judges_is_its_probability() -> None:
    """The predicted mean lies in the window; what is missing is certainty."""
    unsure = gap(0.535)
    assert unsure.status is Status.VERIFIED
    assert unsure.reason == ("band_gap: no judge computes it and P(band_gap in [0.2, 1]) = 0.77 is under 0.8")
    assert funnel([unsure], Objective([Target(BAND_GAP, minimum=0.2, maximum=1.0)]))[-1].lost == {
        "too unsure of E_g": 1
    }
    assert gap(0.535, enough=0.7).status is Status.HIT
    wanted = Objective([Target(BAND_GAP, minimum=0.2, maximum=1.0)])
    assert is_promising(unsure, wanted)
    assert not is_promising(gap(2.0), wanted)
    assert not is_promising(gap(0.535, enough=0.7), wanted)
    soft = replace(verdict(), values={**verdict().values, BAND_GAP.name: verified_gap(1.1)})
    assert not is_promising(replace(unsure, verification=soft), wanted), (
        "a judge of the user's own refused it"
    )


def test_a_prediction_outside_the_domain_is_never_sure_enough_by_itself() -> None:
    assert gap(0.6, enough=0.77).status is Status.HIT
    wide = Objective([Target(BAND_GAP, minimum=0.0)], predicted_enough=0.9)
    for in_domain, status in ((True, Status.HIT), (False, Status.VERIFIED)):
        value = PredictedValue(3.0, 0.33, 2.4, 3.6, in_domain)
        start = replace(decide(verdict()), predictions={BAND_GAP.name: value})
        found = judged(start, verdict(), wide, lambda s: None, lambda s: Kinship(HitClass.NEW))
        assert found.status is status
    assert "0.84, the most that is believed outside the surrogate's domain, is under 0.9" in found.reason
    assert (found.probability_after or 1.0) <= 0.84


def test_a_second_opinion_beyond_the_errors_lowers_the_rank_and_nothing_else() -> None:
    agreed, alone = verdict(), decide(verdict())
    near, far = (
        decide(
            replace(
                agreed, second_opinion={BULK_MODULUS.name: VerifiedValue(bulk, 20, 0, 0, bulk, "x", "GPa")}
            )
        )
        for bulk in (370.0, 200.0)
    )
    assert near.score == alone.score
    assert (far.score or 0) < (alone.score or 0)
    assert far.status is alone.status is Status.HIT
    assert far.probability_after == alone.probability_after


def test_a_second_opinion_of_unstable_lowers_the_rank() -> None:
    refused, alone = decide(replace(verdict(), flags=(SECOND_DIFFERS,))), decide(verdict())
    assert (refused.score or 0) < (alone.score or 0)
    assert refused.status is Status.HIT


def test_soft_targets_decide_among_equals() -> None:
    light = Objective([*WANTED.targets, Target(DENSITY, minimise=True)])
    heavy = Objective([*WANTED.targets, Target(DENSITY, maximise=True)])
    assert (decide(verdict(), light).score or 0) < (decide(verdict(), heavy).score or 0)


def test_a_prediction_without_error_of_its_own_does_not_overrule_the_verdict() -> None:
    plain = decide(verdict(), Objective([Target(DENSITY, maximum=16.0)]))
    assert plain.verification is not None
    value = plain.verification.values["density"]
    wanted = Objective([Target(DENSITY, maximum=value.mean - value.std)])
    low = value.mean - 3 * value.std
    sure = replace(plain, predictions={"density": PredictedValue(low, 0.0, low, low)})
    stable = 0.977  # P(at most 0.1 eV/atom above the hull)
    assert probability_after(sure, wanted) == pytest.approx(0.159 * stable, abs=0.005)


def test_without_an_energy_judge_the_hull_is_predicted_only() -> None:
    values = {k: v for k, v in verdict().values.items() if k != ENERGY_ABOVE_HULL.name}
    said = replace(verdict(), values=values)
    near = Candidate(
        "c1", WC, "test", 0, predictions={ENERGY_ABOVE_HULL.name: PredictedValue(0.02, 0.03, -0.03, 0.07)}
    )
    kin = Kinship(HitClass.KNOWN, "", "WC", "187")

    def decided(flags: tuple[str, ...]) -> Candidate:
        return judged(near, replace(said, flags=flags), WANTED, lambda s: None, lambda s: kin)

    assert decided(("no_energy",)).status is Status.HIT
    assert (decided(("no_energy",)).probability_after or 0.0) > 0.9
    assert decided(("no_hull",)).status is Status.VERIFIED  # the judge could, but not for these elements


def test_one_hit_per_system_and_prototype() -> None:
    best = replace(decide(verdict()), id="c000002", score=0.9)
    worse = replace(decide(verdict()), id="c000001", score=0.8)
    other = replace(decide(verdict()), id="c000003", score=0.1, parent_prototype="225")
    found = {c.id: c for c in with_duplicates([worse, best, other])}
    assert found["c000001"].status is Status.VERIFIED
    assert found["c000001"].duplicate_of == "c000002"
    assert found["c000002"].status is found["c000003"].status is Status.HIT
    assert with_duplicates(list(found.values())) == list(found.values())
    # a better one found later takes over
    later = replace(worse, id="c000009", score=0.99)
    again = {c.id: c for c in with_duplicates([*found.values(), later])}
    assert again["c000009"].status is Status.HIT
    assert again["c000002"].duplicate_of == "c000009"


def test_groups_that_grow_hold_what_groups_of_all_hold() -> None:
    """One hit a (chemical system, parent prototype), whatever the order in which candidates come."""
    rng = np.random.default_rng(5)
    candidates = [
        replace(
            decide(verdict()),
            id=f"c{k:06d}",
            structure=WC if rng.random() < 0.5 else TIC,
            parent_prototype=str(rng.integers(3)),
            score=float(rng.integers(6)),
            status=Status.HIT if rng.random() < 0.8 else Status.FAILED,
        )
        for k in range(40)
    ]
    groups = HitGroups()
    stored = {}
    for part in (candidates[:7], candidates[7:8], candidates[8:30], candidates[30:]):
        groups.take_in(part)
        stored |= {c.id: c for c in part}
        stored |= {k: as_duplicate(stored[k], first) for k, first in groups.changes().items()}
        assert groups.changes() == {}
    assert list(stored.values()) == with_duplicates(candidates)
    hits = [c for c in stored.values() if c.status is Status.HIT]
    assert len(groups) == len(hits) == 6
    for hit in hits:
        kin = [
            c
            for c in candidates
            if c.status is Status.HIT
            and c.parent_prototype == hit.parent_prototype
            and c.structure == hit.structure
        ]
        assert hit.id == min(kin, key=lambda c: (-c.score, c.id)).id
        assert {stored[c.id].duplicate_of for c in kin if c.id != hit.id} <= {hit.id}
    assert sum(c.status is Status.FAILED for c in stored.values()) > 2


def test_a_verdict_without_a_wanted_value_has_no_chance() -> None:
    """The judge gave K alone: nobody may take the prediction of G for it."""
    full = verdict()
    partial = replace(full, values={k: v for k, v in full.values.items() if k != "shear_modulus_vrh"})
    found = decide(partial)
    assert found.probability_after == 0.0
    assert found.status is Status.VERIFIED
    assert "shear_modulus_vrh" in found.reason


def test_a_value_that_is_no_number_is_no_value() -> None:
    """The prediction does not take its place, and one outside the domain is not believed more for it."""
    found = decide(verdict(bulk=float("nan")))
    assert found.predictions["bulk_modulus_vrh"].mean == 360
    assert found.probability_after == 0.0
    assert "no judge gave a value" in found.reason
    wide = Objective([Target(BAND_GAP, minimum=0.0)])
    value = PredictedValue(3.0, 0.33, 2.4, 3.6, in_domain=False)
    values = {**verdict().values, BAND_GAP.name: verified_gap(float("nan"))}
    unsure = replace(decide(verdict()), predictions={BAND_GAP.name: value})
    judge = replace(verdict(), values=values)
    assert probability_after(replace(unsure, verification=judge), wide) == pytest.approx(
        0.84 * 0.977, abs=5e-3
    )


@pytest.mark.parametrize(("mean", "std"), [(None, None), (math.nan, 0.1), (2.0, math.nan)])
def test_what_nobody_computes_and_nobody_predicts_has_no_chance(mean: float | None, std: float) -> None:
    """Nor has a prediction that is no number, or one without an error to it."""
    objective = Objective([Target(BAND_GAP, minimum=1.0)])
    value = {} if mean is None else {BAND_GAP.name: PredictedValue(mean, std, 1, 3)}
    kin = Kinship(HitClass.KNOWN, "", "WC", "187")
    found = judged(
        Candidate("c1", WC, "test", 0, predictions=value), verdict(), objective, lambda s: None, lambda s: kin
    )
    assert (found.status, found.probability_after, found.score) == (Status.VERIFIED, 0.0, 0.0)


def test_who_has_no_verdict_or_did_not_converge_has_no_chance() -> None:
    candidate = replace(decide(verdict()), verification=None)
    assert probability_after(candidate, WANTED) == 0.0
    assert decide(verdict(converged=False)).probability_after == 0.0
    assert decide(verdict()).probability_after != 0.0


def test_a_second_judgement_forgets_what_the_first_made_of_it() -> None:
    """A step that a stop cut short is judged again when it is resumed; the best may be another by then."""
    found = decide(verdict())
    assert found.verification is not None
    kin = Kinship(HitClass.KNOWN, "", "WC", "187")
    for before in (as_duplicate(found, "c000007"), replace(found, status=Status.FAILED, rule=Rule.NOVELTY)):
        assert judged(before, found.verification, WANTED, lambda s: None, lambda s: kin) == found


def test_prediction_and_verdict_are_weighed_by_their_errors() -> None:
    """K of 290 +- 20 and of 310 +- 10 together: 306 +- 8.94 by inverse variances, far from sure of 300.

    Of the energy the verdict alone: a prediction that the crystal was chosen by does not outvote it.
    """
    bulk = Objective([Target(BULK_MODULUS, minimum=300)])
    judge = verdict(bulk=310)
    predicted = PredictedValue(290.0, 20.0, 257.0, 323.0)
    hull = PredictedValue(0.0, 0.05, -0.1, 0.1)
    predictions = {"bulk_modulus_vrh": predicted, "energy_above_hull": hull}
    candidate = replace(decide(judge, bulk), predictions=predictions)
    both = 0.5 * math.erfc(-(306.0 - 300.0) / 8.9443 / math.sqrt(2.0))
    stable = 0.5 * math.erfc(-0.1 / 0.05 / math.sqrt(2.0))
    assert probability_after(candidate, bulk) == pytest.approx(both * stable, abs=1e-3)
    alone = replace(candidate, predictions={})
    assert probability_after(alone, bulk) == pytest.approx(0.841 * 0.977, abs=2e-3)


def asked_again(candidate: Candidate, derivatives: bool = True) -> tuple[Candidate, int]:
    """The candidate after `confirmed`, and how often the question was put."""
    asked: list[Structure] = []

    def derives(structure: Structure) -> Kinship:
        asked.append(structure)
        return Kinship(HitClass.DERIVATIVE, "WC", "WC", "187")

    return confirmed(candidate, derives, derivatives), len(asked)


def test_only_hits_that_look_new_are_asked_about_again() -> None:
    new = replace(decide(verdict()), hit_class=HitClass.NEW)
    others = (
        decide(verdict()),
        replace(new, status=Status.VERIFIED),
        replace(new, verification=None),
        replace(new, verification=verdict(structure=None)),
    )
    for candidate in others:
        assert asked_again(candidate) == (candidate, 0)
    assert asked_again(new)[1] == 1
    stays = confirmed(new, lambda s: Kinship(HitClass.NEW, nearest_known="TiC"), False)
    assert (stays.status, stays.hit_class, stays.nearest_known) == (Status.HIT, HitClass.NEW, "TiC")
    assert asked_again(new, False)[0].rule is Rule.DERIVATIVES


def test_every_target_that_is_missed_is_listed_and_the_first_is_told() -> None:
    """K is met, G was given by nobody, the hull by 0.1 eV/atom too much."""
    values = {k: v for k, v in verdict(hull=0.2).values.items() if k != SHEAR_MODULUS.name}
    found = decide(replace(verdict(), values=values))
    missed = misses(found, WANTED)
    assert [(m.target.property, m.value, m.probability, m.needed, m.is_capped) for m in missed] == [
        (SHEAR_MODULUS, None, None, 0.0, False),
        (ENERGY_ABOVE_HULL, 0.2, None, 0.0, False),
    ]
    assert [str(m) for m in missed] == [
        "shear_modulus_vrh: no judge gave a value and nobody predicts it",
        "energy_above_hull: 0.2 eV/atom misses [-inf, 0.1]",
    ]
    assert found.reason == str(missed[0])
    assert misses(decide(verdict()), WANTED) == []
    low = decide(verdict(bulk=299.96, shear=1.0))
    assert low.reason == "bulk_modulus_vrh: 300 GPa misses [300, inf]"
    assert [m.value for m in misses(low, WANTED)] == [299.96, 1.0]


def predicted_gap(mean: float, std: float, in_domain: bool = True) -> Candidate:
    value = PredictedValue(mean, std, mean - std, mean + std, in_domain)
    return replace(decide(verdict()), predictions={BAND_GAP.name: value})


def test_what_is_predicted_only_is_missed_by_less_than_enough() -> None:
    """A mean at the bound meets it with one half exactly; outside the domain 0.84 is the most."""

    def of(candidate: Candidate, enough: float) -> list[tuple[Any, ...]]:
        wanted = Objective([Target(BAND_GAP, minimum=1.0)], predicted_enough=enough)
        return [(m.value, m.probability, m.needed, m.is_capped) for m in misses(candidate, wanted)]

    assert of(predicted_gap(1.0, 0.3), 0.5) == []
    assert of(predicted_gap(1.0, 0.3), 0.6) == [(None, 0.5, 0.6, False)]
    assert of(predicted_gap(1.0, 0.3, in_domain=False), 0.6) == [(None, 0.5, 0.6, False)]
    assert of(predicted_gap(3.0, 0.3, in_domain=False), 0.84) == []
    assert of(predicted_gap(3.0, 0.3, in_domain=False), 0.9) == [(None, 0.84, 0.9, True)]
    assert of(predicted_gap(3.0, 0.3), 0.9) == []


def test_promising_is_what_only_certainty_keeps_from_being_a_hit() -> None:
    wanted = Objective([Target(BAND_GAP, minimum=1.0)])
    even = replace(predicted_gap(1.0, 0.3), status=Status.VERIFIED)
    assert is_promising(even, wanted)
    assert not is_promising(replace(predicted_gap(0.99, 0.3), status=Status.VERIFIED), wanted)
    for change in ({"status": Status.FAILED}, {"hit_class": None}, {"duplicate_of": "c000000"}):
        assert is_promising(replace(even, **change), wanted) is False
    assert even.verification is not None
    unstable = replace(even, verification=verdict(hull=0.2))
    assert not is_promising(unstable, wanted), "a judge refused another target"


def test_a_value_without_error_is_certain_whoever_gives_it_alone() -> None:
    """Of a prediction that nobody judges, or of a verdict beside a prediction with an error."""
    wanted = Objective([Target(BAND_GAP, minimum=1.0)])
    stable = 0.5 * math.erfc(-2.0 / math.sqrt(2.0))
    assert probability_after(predicted_gap(1.001, 0.0), wanted) == pytest.approx(stable)
    assert probability_after(predicted_gap(0.999, 0.0), wanted) == pytest.approx(0.0)
    judge = {**verdict().values, BAND_GAP.name: replace(verified_gap(1.001), std=0.0)}
    sure = replace(predicted_gap(0.2, 0.1), verification=verdict(values=judge))
    assert probability_after(sure, wanted) == pytest.approx(stable)


def test_the_score_is_the_probability_times_the_worth_of_soft_targets() -> None:
    """Density by verdict and prediction together, the heavier of two the better."""
    wanted = Objective([*WANTED.targets, Target(DENSITY, maximise=True)])
    plain = decide(verdict(), wanted)
    assert plain.verification is not None
    value = plain.verification.values["density"]
    assert plain.score == pytest.approx(plain.probability_after * wanted.utility({"density": value.mean}))
    light = PredictedValue(value.mean / 2, value.std, 0.0, value.mean)
    told = judged(
        replace(plain, predictions={"density": light}), verdict(), wanted, lambda s: None, lambda s: KIN
    )
    both = 0.75 * value.mean
    assert told.score == pytest.approx(told.probability_after * wanted.utility({"density": both}))


def test_a_second_opinion_lowers_the_score_by_how_far_it_lies_beyond_the_errors() -> None:
    """380 +- 10 against 300 +- 20: ln(380/300) over sqrt(0.0263² + 0.0667²) = 3.298; 1.645 over that."""
    second = {BULK_MODULUS.name: VerifiedValue(300.0, 20.0, 0, 0, 300.0, "x", "GPa")}
    alone, doubted = decide(verdict()), decide(verdict(second_opinion=second))
    assert doubted.score == pytest.approx(alone.score * 1.645 / 3.298, rel=1e-3)


def test_who_met_all_is_a_hit_or_the_duplicate_of_one() -> None:
    hit = decide(verdict())
    assert has_met(hit)
    assert has_met(as_duplicate(hit, "c000000"))
    assert not has_met(replace(hit, status=Status.VERIFIED))
    assert not has_met(replace(hit, status=Status.FAILED, duplicate_of="c000000"))


def test_a_duplicate_names_the_first_and_becomes_a_hit_again_without_one() -> None:
    hit = decide(verdict())
    second = as_duplicate(hit, "c000007")
    assert (second.status, second.duplicate_of) == (Status.VERIFIED, "c000007")
    assert second.reason == "duplicate of c000007: same chemical system and parent prototype"
    assert as_duplicate(second, "") == hit
    assert as_judged(second) == hit
    for other in (hit, replace(hit, status=Status.VERIFIED, reason="missed"), decide(verdict(bulk=1.0))):
        assert as_judged(other) is other


def test_groups_count_what_would_join_them_without_taking_it_in() -> None:
    groups = HitGroups()
    hit = decide(verdict())
    other = replace(hit, id="c000002", parent_prototype="225")
    third = replace(hit, id="c000003", structure=TIC)
    missed = replace(hit, id="c000004", parent_prototype="62", status=Status.VERIFIED)
    groups.take_in([hit, missed])
    assert len(groups) == 1
    assert groups.n_with([]) == 1
    assert groups.n_with([replace(hit, id="c000005")]) == 1
    assert groups.n_with([other, replace(other, id="c000006"), third, missed]) == 3
    assert len(groups) == 1


def test_a_group_that_changed_once_is_told_only_what_changed_since() -> None:
    """One without a score is the last of its group, whatever its id."""
    groups = HitGroups()
    hit = replace(decide(verdict()), score=0.5)
    groups.take_in([replace(hit, id="c000001", score=None), replace(hit, id="c000002")])
    assert groups.changes() == {"c000001": "c000002"}
    groups.take_in([replace(hit, id="c000003", score=0.4)])
    assert groups.changes() == {"c000003": "c000002"}
    groups.take_in([replace(hit, id="c000004", score=0.6)])
    assert groups.changes() == {"c000001": "c000004", "c000002": "c000004", "c000003": "c000004"}


def test_a_failure_has_its_own_words_or_the_plain_ones() -> None:
    assert failure(verdict()) == ""
    assert failure(verdict(is_stable=None)) == "", "nobody asked"
    assert failure(verdict(converged=False)) == "not converged"
    assert failure(verdict(converged=False, reason="300 steps")) == "300 steps"
    assert failure(verdict(is_stable=False)) == "mechanically unstable"
    assert failure(verdict(is_stable=False, reason="C44 < 0")) == "C44 < 0"


def test_without_energies_only_energies_are_predicted_only() -> None:
    """K that no judge gave is missing all the same, whatever is predicted."""
    sure = {
        BULK_MODULUS.name: PredictedValue(380.0, 1.0, 378.0, 382.0),
        FORMATION_ENERGY.name: PredictedValue(-0.5, 0.01, -0.52, -0.48),
        ENERGY_ABOVE_HULL.name: PredictedValue(0.0, 0.01, -0.02, 0.02),
    }
    wanted = Objective([Target(BULK_MODULUS, minimum=300), Target(FORMATION_ENERGY, maximum=0.0)])
    silent = replace(decide(verdict()), predictions=sure, verification=verdict(values={}))
    told = {True: [BULK_MODULUS], False: [BULK_MODULUS, FORMATION_ENERGY, ENERGY_ABOVE_HULL]}
    for has_no_energy, missed in told.items():
        flags = ("no_energy",) if has_no_energy else ()
        asked = replace(silent, verification=verdict(values={}, flags=flags))
        assert [m.target.property for m in misses(asked, wanted)] == missed
        assert [m.probability for m in misses(asked, wanted)] == [None] * len(missed)


def test_what_was_classified_stands_with_the_candidate() -> None:
    kin = Kinship(HitClass.DERIVATIVE, "TiC", "WC", "187", "Ti4C3", KnownPhase("mp-631"))
    before = replace(decide(verdict()), unclassified="no symmetry", derivative_of="")
    found = judged(before, verdict(), WANTED, lambda s: None, lambda s: kin)
    assert (found.hit_class, found.derivative_of, found.nearest_known) == (HitClass.DERIVATIVE, "TiC", "WC")
    assert (found.parent_prototype, found.vacancy_of) == ("187", "Ti4C3")
    assert (found.known_phase, found.unclassified) == (KnownPhase("mp-631"), "")
    bare = judged(
        Candidate("c1", WC, "test", 0), verdict(structure=None), WANTED, lambda s: None, lambda s: kin
    )
    assert bare.unclassified == "no relaxed structure to classify"
    assert bare.reason == "hit class: unknown (no relaxed structure to classify)"
