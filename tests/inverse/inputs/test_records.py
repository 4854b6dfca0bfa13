"""Records: what is written reads back the same, whatever the numbers are."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import (
    Candidate,
    HitClass,
    KnownPhase,
    Origin,
    PredictedValue,
    Rule,
    Stage,
    Status,
    Verification,
    VerifiedValue,
)
from inverse.inputs.records import (
    candidate_from_record,
    candidate_to_record,
    plain,
    verification_from_record,
    verification_to_record,
)
from surrogates.errors import DataError

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
text = st.text(max_size=12)
names = st.sampled_from(["bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"])
coordinates = st.floats(min_value=0, max_value=0.999, allow_nan=False)


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    lengths = [draw(st.floats(min_value=2.0, max_value=9.0)) for _ in range(3)]
    n = draw(st.integers(min_value=1, max_value=4))
    species = [draw(st.sampled_from(["W", "B", "C", "Fe"])) for _ in range(n)]
    coords = [[draw(coordinates) for _ in range(3)] for _ in range(n)]
    return Structure(Lattice.orthorhombic(*lengths), species, coords)


predicted = st.builds(PredictedValue, finite, finite, finite, finite, st.booleans())
verified = st.builds(VerifiedValue, finite, finite, finite, finite, finite, text, text)
stages = st.builds(Stage, text, st.none() | st.booleans(), text, finite)
verifications = st.builds(
    Verification,
    potential=text,
    converged=st.booleans(),
    reason=text,
    values=st.dictionaries(names, verified),
    flags=st.lists(text, max_size=3).map(tuple),
    is_stable=st.none() | st.booleans(),
    structure=st.none() | structures(),
    ladder=st.lists(stages, max_size=3).map(tuple),
    seconds=finite,
)
candidates = st.builds(
    Candidate,
    id=text,
    structure=structures(),
    proposer=text,
    seed=st.integers(min_value=0, max_value=2**63 - 1),
    history=st.dictionaries(text, st.none() | finite | text | st.lists(st.integers(), max_size=3)),
    log_likelihood=st.none() | finite,
    key=text,
    trust=st.none() | finite,
    expected_prototype=text,
    remarks=st.lists(text, max_size=2).map(tuple),
    status=st.sampled_from(Status),
    reason=text,
    rule=st.none() | st.sampled_from(Rule),
    origin=st.sampled_from(Origin),
    predictions=st.dictionaries(names, predicted),
    probability_target_met=st.none() | finite,
    verification=st.none() | verifications,
    probability_after=st.none() | finite,
    hit_class=st.none() | st.sampled_from(HitClass),
    derivative_of=text,
    nearest_known=text,
    known_phase=st.sampled_from([None, KnownPhase(), KnownPhase("mp-1894")]),
    unclassified=text,
    vacancy_of=text,
    duplicate_of=text,
    parent_prototype=text,
    score=st.none() | finite,
)


@settings(max_examples=60, deadline=None)
@given(candidates)
def test_candidate_survives_json(candidate: Candidate) -> None:
    written = json.dumps(candidate_to_record(candidate), allow_nan=False)
    read = candidate_from_record(json.loads(written))
    assert read == candidate
    assert np.array_equal(read.structure.frac_coords, candidate.structure.frac_coords)
    assert np.array_equal(read.structure.lattice.matrix, candidate.structure.lattice.matrix)


def test_non_finite_numbers_become_null_and_read_as_nan() -> None:
    value = VerifiedValue(math.nan, math.inf, 1.0, 2.0, -math.inf, "diep", "GPa")
    verification = Verification("auto", False, "tensor: no", {"bulk_modulus_vrh": value})
    record = verification_to_record(verification)
    json.dumps(record, allow_nan=False)
    assert record["values"]["bulk_modulus_vrh"]["mean"] is None
    read = verification_from_record(record)
    assert math.isnan(read.values["bulk_modulus_vrh"].raw)


def test_records_of_before_known_phases_read_without_one() -> None:
    structure = Structure(Lattice.cubic(4.0), ["W"], [[0, 0, 0]])
    record = candidate_to_record(Candidate("c0", structure, "x", 1, known_phase=KnownPhase("mp-91")))
    assert candidate_from_record(record).known_phase == KnownPhase("mp-91")
    del record["known_phase"], record["remarks"]
    read = candidate_from_record(record)
    assert (read.known_phase, read.remarks) == (None, ())


def test_history_of_arrays_becomes_plain() -> None:
    import torch

    made = plain({"latent": torch.ones(2), "a": np.float32(2), "n": np.int64(3), "s": {"b", "a"}})
    assert made == {"latent": [1.0, 1.0], "a": 2.0, "n": 3, "s": ["a", "b"]}


@pytest.mark.parametrize(
    ("history", "key"),
    [
        ({"key": "A W C"}, "A W C"),
        ({"place": 7}, "7"),
        ({"pool": 12}, "12"),
        ({"seed_pool": 3}, "3"),
        ({}, ""),
    ],
)
def test_older_records_keep_the_hand_over_in_the_history(history: dict[str, object], key: str) -> None:
    structure = Structure(Lattice.cubic(4), ["W"], [[0, 0, 0]])
    record = candidate_to_record(Candidate("c0", structure, "decoder", 1))
    for name in ("key", "trust", "expected_prototype"):
        del record[name]
    own = {**history, "trust": 0.8, "expected_prototype": "229|2 -3mm A"}
    read = candidate_from_record({**record, "history": own})
    assert (read.key, read.trust, read.expected_prototype) == (key, 0.8, "229|2 -3mm A")
    assert candidate_from_record({**record, "history": {}}).trust is None


def test_damaged_and_newer_records_are_refused() -> None:
    structure = Structure(Lattice.cubic(4), ["W"], [[0, 0, 0]])
    record = candidate_to_record(Candidate("c0", structure, "decoder", 1))
    with pytest.raises(DataError, match="version 99"):
        candidate_from_record({**record, "version": 99})
    with pytest.raises(DataError, match="'c0' is damaged"):
        candidate_from_record({**record, "status": "nonsense"})
    with pytest.raises(DataError, match="structure cannot be read"):
        candidate_from_record({**record, "structure": {"lattice": 3}})
    assert replace(candidate_from_record(record), id="c1").id == "c1"
