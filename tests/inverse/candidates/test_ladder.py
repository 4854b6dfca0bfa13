"""Ladders are complete whatever was run, also for candidates of older run folders."""

from dataclasses import replace

import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.dynamical_stability import IMAGINARY, best_candidates, is_asked, with_phonons
from inverse.candidates.ladder import STAGES, candidate_ladder, completed
from inverse.candidates.types import Candidate, PredictedValue, Stage, Status, Verification
from inverse.inputs.records import candidate_from_record, candidate_to_record
from inverse.verification.mechanics.phonons import PhononVerdict

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5] * 3])


def verified(identity: str, score: float, status: Status = Status.HIT) -> Candidate:
    ladder = (Stage("relaxed", True, "7net-l3i5", 1.5, {"7net-l3i5": "sevenn 0.13"}), Stage("hull", True))
    verification = Verification("auto", True, structure=SALT, ladder=ladder)
    predictions = {"bulk_modulus_vrh": PredictedValue(150.0, 10.0, 133.0, 167.0)}
    history = {"seconds": {"generated": 0.25}}
    return Candidate(
        identity,
        SALT,
        "substitution",
        1,
        history=history,
        status=status,
        predictions=predictions,
        probability_target_met=0.5,
        verification=verification,
        score=score,
    )


def test_a_ladder_names_every_stage_and_keeps_the_judges_own():
    stages = completed([Stage("relaxed", True), Stage("phase", False, "volumes differ")], "given")
    names = [s.name for s in stages]
    assert [n for n in names if n in STAGES] == list(STAGES)
    assert names.index("phase") == names.index("relaxed") + 1
    assert [s.reason for s in stages[:3]] == ["given"] * 3
    assert stages[-1] == Stage("phonons", None, "not run")


def test_a_candidate_tells_how_it_came_to_the_judges():
    ladder = {s.name: s for s in candidate_ladder(verified("c1", 1.0))}
    assert ladder["generated"].seconds == 0.25
    assert ladder["generated"].versions["inverse"]
    assert "0.50" in ladder["predicted"].reason
    assert ladder["tensor"].passed is None


def test_a_screened_out_candidate_stops_there():
    out = Candidate("c2", SALT, "decoder", 1, status=Status.SCREENED_OUT, reason="distance: 0.1")
    ladder = {s.name: s for s in candidate_ladder(out)}
    assert ladder["screened"].passed is False
    assert ladder["screened"].reason == "distance: 0.1"
    assert ladder["relaxed"].passed is None


def test_versions_survive_the_record_and_old_records_have_none():
    record = candidate_to_record(verified("c1", 1.0))
    assert candidate_from_record(record).verification.ladder[0].versions == {"7net-l3i5": "sevenn 0.13"}
    for stage in record["verification"]["ladder"]:
        del stage["versions"]
    assert candidate_from_record(record).verification.ladder[0].versions == {}


@pytest.mark.parametrize("is_stable", [True, False, None])
def test_phonons_stand_on_the_ladder_once(is_stable):
    verdict = PhononVerdict("x", is_stable, lowest=-2.0, lowest_at=(0.5, 0, 0), n_imaginary=2, reason="why")
    candidate = with_phonons(verified("c1", 1.0), lambda *_: verdict)
    candidate = with_phonons(candidate, lambda *_: verdict)
    stages = [s for s in candidate.verification.ladder if s.name == "phonons"]
    assert [s.passed for s in stages] == [is_stable]
    assert (IMAGINARY in candidate.verification.flags) == (is_stable is False)
    assert is_asked(candidate) == (is_stable is not None)


def test_the_best_are_hits_by_score_and_no_duplicates():
    twin = replace(verified("c3", 9.0), duplicate_of="c1")
    pool = [verified("c1", 1.0), verified("c2", 2.0), twin, verified("c4", 5.0, Status.VERIFIED)]
    assert [c.id for c in best_candidates(pool)] == ["c2", "c1", "c4"]
