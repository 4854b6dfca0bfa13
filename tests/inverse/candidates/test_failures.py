"""Failures have names: decisions rest on them, and records without any are read once, by their words."""

import pytest

from inverse.candidates.failures import CrystalFailureError, failure_of, failure_of_old_reason
from inverse.candidates.types import Failure, Verification
from inverse.inputs.records import verification_from_record, verification_to_record
from surrogates.errors import (
    ConfigError,
    DataError,
    MachineError,
    StructureError,
    UnsupportedElementError,
    VerificationError,
)


def test_an_error_says_which_failure_it_is():
    named = CrystalFailureError("diep: any words at all", Failure.COLLIDING_ATOMS)
    assert failure_of(named) is Failure.COLLIDING_ATOMS
    assert str(named) == "diep: any words at all"
    assert failure_of(MachineError("x")) is Failure.MACHINE
    assert failure_of(StructureError("x")) is Failure.NO_CRYSTAL
    assert failure_of(UnsupportedElementError("x")) is Failure.UNKNOWN_ELEMENT
    assert failure_of(VerificationError("time limit, out of memory, stuck")) is Failure.OTHER


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_survives_a_record(failure):
    verdict = Verification("auto", False, "words that say nothing", failure=failure)
    record = verification_to_record(verdict)
    assert record["failure"] == failure.value
    assert verification_from_record(record).failure is failure


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("diep: relaxation is stuck, energy is not smooth", Failure.NOT_CONVERGED),
        ("7net-l3i5: not relaxed within 150 steps", Failure.NOT_CONVERGED),
        ("7net-l3i5: colliding atoms, 0.41 Å apart", Failure.COLLIDING_ATOMS),
        ("diep: volume changed to 1.53 of the start during relaxation", Failure.VOLUME_CHANGED),
        ("energy above hull 0.45 eV/atom: the ladder stops", Failure.ABOVE_HULL),
        ("judges disagree on the phase: relaxed cells do not match", Failure.ANOTHER_PHASE),
        ("time limit during relaxation by diep: 300 s of computing", Failure.TIME_LIMIT),
        ("the worker ended (exit code 3)", Failure.WORKER),
        (
            "the system ended the worker (signal 9), most likely because memory ran out",
            Failure.MACHINE,
        ),
        ("diep failed: RuntimeError: CUDA error: out of memory", Failure.MACHINE),
        ("diep failed: ValueError: no neighbours", Failure.POTENTIAL),
        ("diep does not know the element Po", Failure.UNKNOWN_ELEMENT),
        ("RuntimeError: out of cheese", Failure.OTHER),
    ],
)
def test_records_from_before_failures_had_names_stay_readable(reason, failure):
    old = verification_to_record(Verification("auto", False, reason))
    del old["failure"]
    assert verification_from_record(old).failure is failure
    assert failure_of_old_reason(reason) is failure


def test_an_old_record_of_success_names_no_failure():
    old = verification_to_record(Verification("auto", True))
    del old["failure"]
    assert verification_from_record(old).failure is None


def test_words_decide_nothing_where_a_name_is_there():
    record = verification_to_record(Verification("auto", False, "time limit", failure=Failure.POTENTIAL))
    assert verification_from_record(record).failure is Failure.POTENTIAL


def test_a_failure_that_nobody_knows_is_a_damaged_record():
    record = verification_to_record(Verification("auto", False, "x")) | {"failure": "bewitched"}
    with pytest.raises(DataError, match="'bewitched' is not a valid Failure"):
        verification_from_record(record)


def test_a_failed_verification_always_has_a_name_and_a_finished_one_never():
    assert Verification("auto", False, "who knows").failure is Failure.OTHER
    with pytest.raises(ConfigError, match="converged and failed: time_limit"):
        Verification("auto", True, failure=Failure.TIME_LIMIT)
