"""What the judges are weak at is flagged, has wider errors, and goes to the other judge where it must."""

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.refereeing import referee_record
from inverse.candidates.types import Candidate, Failure, Target
from inverse.verification.judge import Judge, TensorVerdict
from inverse.verification.ladder import LadderVerifier
from inverse.verification.mechanics.weak_ground import (
    WeakGround,
    grounds_of_bonding,
    grounds_of_value,
    widening,
)
from inverse.verification.panel import OF_RECORD, OF_REFEREE
from inverse.verification.plan import VerificationPlan
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from tests import crystals, panels

EMT = "ase.calculators.emt:EMT"
MORSE = "tests.stand_in_potential:pairwise"


def molybdenum_sulphide():
    coords = [[1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.6225]]
    return Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.16, 12.3), ["Mo", "S"], coords)


def graphite():
    coords = [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]]
    return Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(2.46, 6.71), ["C", "C"], coords)


def tellurium():
    return Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.46, 5.93), ["Te"], [[0.2636, 0, 1 / 3]])


@pytest.mark.parametrize(
    ("structure", "grounds"),
    [
        (molybdenum_sulphide(), [WeakGround.LAYERED]),
        (graphite(), [WeakGround.LAYERED]),
        (tellurium(), [WeakGround.WEAKLY_BOUND]),
        (crystals.diamond(), []),
        (crystals.tungsten_carbide(), []),
        (crystals.fcc(), []),
    ],
)
def test_layers_chains_and_molecules_are_known_by_their_bonds(structure, grounds):
    assert grounds_of_bonding(structure) == grounds
    assert grounds_of_bonding(structure * (2, 1, 1)) == grounds


def test_superhard_and_light_goes_together():
    assert grounds_of_value(SHEAR_MODULUS, crystals.diamond(), 371.0) == [WeakGround.SUPERHARD_LIGHT]
    assert not grounds_of_value(SHEAR_MODULUS, crystals.diamond(), 200.0)
    assert not grounds_of_value(SHEAR_MODULUS, crystals.tungsten_carbide(), 273.0)
    assert not grounds_of_value(BULK_MODULUS, crystals.diamond(), 440.0)


def test_a_weak_ground_widens_the_error_and_no_other_flag_does():
    assert widening(SHEAR_MODULUS, ["unstable_tensor", WeakGround.LAYERED]) == 1.0
    both = [str(WeakGround.DISPUTED), WeakGround.SUPERHARD_LIGHT]
    assert (widening(SHEAR_MODULUS, both), widening(BULK_MODULUS, both)) == (1.5, 1.0)


def panel(appeal=EMT):
    return panels.of(EMT, MORSE, appeal=appeal)


def verified(monkeypatch, says, appeal=EMT, structure=None):
    """Return the verdict where the judge of G says `says` of a crystal; how often the appeal was asked."""
    original, asked = Judge.tensor, []

    def tensor(self, structure, deadline=float("inf"), only_bulk=False):
        if self.potential == EMT and not only_bulk:
            asked.append(1)
        found = original(self, structure, deadline, only_bulk)
        return says(found) if self.potential == MORSE else found

    with monkeypatch.context() as patched:
        patched.setattr(Judge, "tensor", tensor)
        zero, plan = lambda *_: 0.0, VerificationPlan(panel(appeal))
        verifier = LadderVerifier(plan, formation_energy=zero, hull_energy=zero)
        return verifier.verify_one(structure or crystals.fcc("Cu", 3.6)), len(asked)


def unstable(found):
    return replace(found, is_stable=False, shear_modulus=float("nan"), flags=("unstable_tensor",))


def impossible(_):
    return TensorVerdict(MORSE, reason="C44 of -3047 GPa", failure=Failure.IMPOSSIBLE_TENSOR)


@pytest.mark.parametrize("says", [unstable, impossible])
def test_what_one_judge_cannot_hold_goes_to_the_other(monkeypatch, says):
    verdict, asked = verified(monkeypatch, says)
    assert verdict.converged, verdict.reason
    assert verdict.is_stable is True
    assert asked == 1
    assert WeakGround.DISPUTED in verdict.flags
    assert verdict.values["shear_modulus_vrh"].potential == EMT
    assert verdict.values["bulk_modulus_vrh"].potential == EMT
    assert verdict.elasticity["potential"] == EMT
    assert np.abs(verdict.elasticity["stiffness"]).max() < 300
    plain, _ = verified(monkeypatch, lambda found: found)
    value, usual = verdict.values["shear_modulus_vrh"], plain.values["shear_modulus_vrh"]
    assert value.std / value.mean == pytest.approx(1.36 * 0.25, rel=0.02)
    assert usual.std / usual.mean == pytest.approx(0.25, rel=0.02)


def test_nobody_is_asked_about_a_crystal_that_is_fine(monkeypatch):
    verdict, asked = verified(monkeypatch, lambda found: found)
    assert asked == 0
    assert verdict.values["shear_modulus_vrh"].potential == MORSE
    assert not any(flag.startswith("weak_ground") for flag in verdict.flags)


def test_what_both_call_unstable_is_unstable(monkeypatch):
    tetragonal = Structure.from_spacegroup("Im-3m", Lattice.cubic(2.9), ["Cu"], [[0, 0, 0]])
    verdict, asked = verified(monkeypatch, unstable, structure=tetragonal)
    assert asked == 1
    assert verdict.is_stable is False
    assert "shear_modulus_vrh" not in verdict.values
    assert WeakGround.DISPUTED not in verdict.flags
    assert [s.passed for s in verdict.ladder if s.name == "appeal"] == [False]


def test_without_an_appeal_a_tensor_that_no_crystal_has_is_a_named_failure(monkeypatch):
    verdict, _ = verified(monkeypatch, impossible, appeal="")
    assert verdict.failure is Failure.IMPOSSIBLE_TENSOR
    assert verdict.reason == "C44 of -3047 GPa"
    assert not verdict.elasticity


def test_the_judges_of_record_appeal_to_the_energy_judge_and_the_referee_to_nobody():
    assert OF_RECORD.appeal == "7net-l3i5"
    assert OF_REFEREE.appeal == ""


def test_the_referee_is_no_second_word_on_its_own_value(monkeypatch):
    verdict, _ = verified(monkeypatch, unstable)
    candidate = Candidate("c000001", crystals.fcc(), "x", 0, verification=verdict)
    targets = [Target(SHEAR_MODULUS, minimum=1000.0), Target(BULK_MODULUS, minimum=1.0)]
    by_another = replace(verdict.values["bulk_modulus_vrh"], potential=MORSE)
    refereed = replace(verdict, values={**verdict.values, "bulk_modulus_vrh": by_another})
    record = referee_record(candidate, refereed, targets)
    assert (record["agrees"], record["missed"]) == (True, [])
    assert referee_record(candidate, verdict, targets[:1])["agrees"] is None
