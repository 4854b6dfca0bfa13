"""Judge, second opinion, referee, and judges that users bring."""

import json
import math
import re
from dataclasses import replace

import pytest

from inverse.candidates import second_opinion
from inverse.candidates.second_opinion import SECOND_DIFFERS, doubt_factor
from inverse.candidates.types import VerifiedValue
from inverse.inputs.records import verification_from_record, verification_to_record
from inverse.verification import ladder as ladders
from inverse.verification.judge import Judge, RelaxationVerdict
from inverse.verification.ladder import LadderVerifier
from inverse.verification.opening import open_here, open_verifier
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.errors import ConfigError, MachineError, UnknownNameError
from tests import crystals, panels, stand_in_potential
from tests.own_judge import Packing
from tests.readings import K

EMT = "ase.calculators.emt:EMT"
MORSE = "tests.stand_in_potential:pairwise"
PACKING = "tests.own_judge:packing"


def ladder(panel, **arguments):
    references = {"formation_energy": lambda *_: -0.2, "hull_energy": lambda *_: 0.03}
    return LadderVerifier(VerificationPlan(panel, **arguments), **references)


def here(*also):
    return open_here(VerificationPlan(panel_named(EMT), store="", also=also))


def value(mean, std):
    return VerifiedValue(mean, std, mean - std, mean + std, mean, "x", "GPa")


TWO = panels.of(EMT, MORSE)
ASKED = panels.of(EMT, EMT, second=MORSE)


def test_a_second_opinion_stands_beside_the_values_and_changes_none():
    alone = ladder(ASKED).verify_one(crystals.fcc())
    asked = ladder(ASKED, shortlist={}).verify_one(crystals.fcc())
    assert alone.values == asked.values
    assert not alone.second_opinion
    assert {v.potential for v in asked.second_opinion.values()} == {MORSE}
    assert [s.name for s in asked.ladder][-1] == "second_opinion"
    assert verification_from_record(verification_to_record(asked)).second_opinion == asked.second_opinion


def test_only_the_shortlist_gets_one():
    bounds = {"bulk_modulus_vrh": (1e4, float("inf"))}
    verdict = ladder(ASKED, shortlist=bounds).verify_one(crystals.fcc())
    assert not verdict.second_opinion
    assert "second_opinion" not in [s.name for s in verdict.ladder]


def test_one_beyond_the_errors_is_flagged_and_says_what(monkeypatch):
    monkeypatch.setattr(ladders, "calibrated", lambda prop, read, _: (value(*SAID[read[K].by]), True))
    verdict = ladder(ASKED, shortlist={}).verify_one(crystals.fcc())
    assert SECOND_DIFFERS in verdict.flags
    stage = verdict.ladder[-1]
    assert stage.passed is False
    assert "bulk_modulus_vrh: 300 against 150 GPa" in stage.reason


@pytest.mark.parametrize("flag", ["unstable_tensor", "unstable_mode"])
def test_one_that_calls_the_crystal_unstable_is_an_opinion(monkeypatch, flag):
    original = Judge.tensor

    def tensor(self, structure, deadline=float("inf"), only_bulk=False):
        found = original(self, structure, deadline, only_bulk)
        if self.potential == EMT:
            return found
        return replace(found, is_stable=False, flags=(flag,), bulk_modulus=math.nan, shear_modulus=math.nan)

    monkeypatch.setattr(Judge, "tensor", tensor)
    refused(f"{MORSE}; mechanically unstable: {flag}")


def test_one_that_relaxes_into_another_phase_is_an_opinion(monkeypatch):
    original = Judge.relax

    def relax(self, structure, deadline=float("inf")):
        if self.potential == EMT:
            return original(self, structure, deadline)
        return RelaxationVerdict(MORSE, crystals.fcc("Cu", 4.2), -1.0)

    monkeypatch.setattr(Judge, "relax", relax)
    refused(f"{MORSE}; another phase: volumes per atom")


def refused(reason):
    verdict = ladder(ASKED, shortlist={}).verify_one(crystals.fcc())
    stage = verdict.ladder[-1]
    assert (stage.name, stage.passed) == ("second_opinion", False)
    assert stage.reason.startswith(reason)
    assert SECOND_DIFFERS in verdict.flags
    assert verdict.converged
    assert verdict.is_stable
    assert "bulk_modulus_vrh" in verdict.values
    assert 0 < doubt_factor(verdict.values, verdict.second_opinion, verdict.flags) < 1


def test_a_second_opinion_that_cannot_be_had_is_none(monkeypatch):
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    full = replace(ASKED, second="tests.stand_in_potential:out_of_memory")
    with pytest.raises(
        MachineError, match="out of memory"
    ):  # a lost device takes the judges with it: another process is to ask
        ladder(full, shortlist={}).verify_one(crystals.fcc())
    mute = replace(ASKED, second="tests.stand_in_potential:says_nan")
    verdict = ladder(mute, shortlist={}).verify_one(crystals.fcc())
    assert verdict.converged
    assert (verdict.ladder[-1].name, verdict.ladder[-1].passed) == ("second_opinion", None)
    assert "not finite" in verdict.ladder[-1].reason
    assert SECOND_DIFFERS not in verdict.flags


SAID = {EMT: (300.0, 15.0), MORSE: (150.0, 15.0)}


def test_it_lowers_the_score_the_more_the_further_it_is():
    values = {"bulk_modulus_vrh": value(300.0, 20.0)}
    factors = [doubt_factor(values, {"bulk_modulus_vrh": value(k, 20.0)}) for k in (290.0, 200.0, 150.0)]
    assert factors[0] == 1.0 > factors[1] > factors[2] > 0
    assert second_opinion.differences(values, {"bulk_modulus_vrh": value(290.0, 20.0)}) == []


def test_the_shear_judges_bulk_modulus_shows_nowhere():
    """It is the referee's: no number, flag or remark of the verdict holds it; the tensor implies it."""
    verifier = ladder(TWO, shortlist={})
    verdict = verifier.verify_one(crystals.fcc("Cu", 3.6))
    own = verifier._judges[MORSE].relax(verdict.structure).structure
    hidden = verifier._judges[MORSE].tensor(own).bulk_modulus
    assert verdict.values["bulk_modulus_vrh"].potential == EMT
    assert hidden > 0
    record = verification_to_record(verdict)
    assert not [n for n in numbers(record) if abs(n - hidden) < 1e-3 * hidden]
    assert f"{hidden:.0f}" not in json.dumps(record["flags"]) + json.dumps(
        [s["reason"] for s in record["ladder"]]
    )


def numbers(item):
    if isinstance(item, dict):
        return [n for part in item.values() for n in numbers(part)]
    if isinstance(item, list):
        return [n for part in item for n in numbers(part)]
    return [float(item)] if isinstance(item, int | float) and not isinstance(item, bool) else []


def test_a_judge_of_ones_own_is_asked_last_and_its_value_is_a_value():
    verdict = here(PACKING).verify_one(crystals.fcc())
    assert verdict.values["packing_fraction"].mean == pytest.approx(0.74, abs=0.01)
    assert verdict.ladder[-1].name == "packing"


def test_one_that_fails_costs_no_other_value():
    verdict = here("tests.own_judge:broken").verify_one(crystals.fcc())
    assert verdict.converged
    assert "bulk_modulus_vrh" in verdict.values
    assert verdict.ladder[-1].passed is False
    said = verdict.ladder[-1].reason
    assert re.fullmatch(r"broken failed: RuntimeError: no licence \(own_judge\.py, line \d+\)", said)


def test_one_that_answers_for_the_judges_is_refused_by_name():
    verifier = here("tests.own_judge:meddling", PACKING)
    verdict = verifier.verify_one(crystals.fcc())
    assert verdict.values["bulk_modulus_vrh"].potential == EMT
    assert verdict.ladder[-2].passed is False
    assert verdict.ladder[-2].reason.startswith("meddling: bulk_modulus_vrh is what the judges give")
    assert "packing_fraction" in verdict.values


def test_the_second_of_two_that_answer_the_same_is_refused(monkeypatch):
    other = Packing()
    other.name = "other"
    verifier = here(PACKING)
    monkeypatch.setattr(verifier, "_own", [*verifier._own, other])
    verdict = verifier.verify_one(crystals.fcc())
    assert verdict.values["packing_fraction"].potential == "packing"
    assert verdict.ladder[-1].reason == "other: packing_fraction is given by packing already"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_misspelt_target_is_named(workers):
    plan = VerificationPlan(panel_named(EMT), store="", also=(PACKING,), wanted=("packing_fractions",))
    verifier = open_verifier(plan, workers)
    (verdict,) = verifier.verify([crystals.fcc()])
    verifier.close()
    assert "packing_fraction" not in verdict.values
    said = "packing: unknown property 'packing_fraction'; did you mean 'packing_fractions'?"
    assert verdict.ladder[-1].reason == said


def test_one_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="returned a int without `name`"):
        here("tests.stand_in_potential:not_a_calculator")
    with pytest.raises(ConfigError, match=r"judge: math:pi is not callable"):
        here("math:pi")
    with pytest.raises(ConfigError, match="judge 'math:sqrt' cannot be made: TypeError"):
        here("math:sqrt")
    with pytest.raises(UnknownNameError, match=r"'packing'; valid: module:factory \(no judge is installed\)"):
        here("packing")
