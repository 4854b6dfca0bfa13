"""Hits by class, by novelty of their structure type, with and without magnetic elements."""

from dataclasses import replace

import pytest

from inverse.candidates.hit_counts import MAGNETIC, flags_of, hit_counts, magnetic_elements
from inverse.candidates.types import Candidate, HitClass, Status, StructureType, TypeNovelty
from inverse.inputs.records import candidate_from_record, candidate_to_record
from tests.inverse.report.fake_run import candidate

KNOWN, NEW = StructureType(TypeNovelty.KNOWN, "CrB type"), StructureType(TypeNovelty.NEW)


def hit(metal: str, kind: HitClass | None, type_: StructureType | None) -> Candidate:
    made = candidate(0, "verified")
    structure = made.structure.copy()
    structure.replace(0, metal)
    return replace(made, structure=structure, status=Status.HIT, hit_class=kind, structure_type=type_)


def test_new_hits_are_counted_by_the_novelty_of_their_type() -> None:
    hits = [hit("W", HitClass.NEW, KNOWN), hit("W", HitClass.NEW, KNOWN), hit("W", HitClass.NEW, NEW)]
    found = hit_counts([*hits, hit("W", HitClass.KNOWN, KNOWN), replace(hits[0], status=Status.VERIFIED)])
    assert dict(found.by_class) == {"known": 1, "derivative": 0, "new": 3}
    assert found.new_in_known_types == 2
    assert [found.class_text(name) for name in found.by_class] == ["1", "0", "3 (2 in known types)"]


def test_nothing_is_said_of_types_where_one_is_not_known() -> None:
    found = hit_counts([hit("W", HitClass.NEW, KNOWN), hit("W", HitClass.NEW, None)])
    assert found.new_in_known_types is None
    assert found.class_text("new") == "2"
    assert hit_counts([]).class_text("new") == "0"


def test_hits_with_magnetic_elements_are_flagged_and_counted_apart() -> None:
    hits = [hit("Fe", HitClass.NEW, NEW), hit("W", HitClass.NEW, NEW), hit("Mn", None, None)]
    found = hit_counts(hits)
    assert (found.hits, found.magnetic, found.without_magnetic) == (3, 2, 1)
    assert found.by_class["unclassified"] == 1
    assert [MAGNETIC in flags_of(c) for c in hits] == [True, False, True]
    assert magnetic_elements(hits[0]) == ("Fe",)
    missed = replace(hits[0], status=Status.VERIFIED)
    assert MAGNETIC not in flags_of(missed)


@pytest.mark.parametrize("type_", [KNOWN, NEW, None])
def test_the_type_of_a_candidate_is_stored(type_: StructureType | None) -> None:
    stored = candidate_to_record(hit("W", HitClass.NEW, type_))
    assert candidate_from_record(stored).structure_type == type_
    del stored["structure_type"]  # as older runs stored it
    assert candidate_from_record(stored).structure_type is None
