"""Structure types: textbook crystals have known ones with names, a planted one is new."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import StructureType, TypeNovelty
from inverse.reference import KnownMaterials
from inverse.reference.known_types import KnownTypes, types_of
from inverse.reference.signatures import Cell
from inverse.reference.structure_types import structure_type
from surrogates.errors import DataError, StructureError
from tests.inverse.reference.test_hit_class import diamond, rattled, stacked


def of_group(group: str, lattice: Lattice, species: list[str], coords: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, lattice, species, coords).get_primitive_structure()


def planted() -> Structure:
    """A crystal without symmetry and of seven elements' worth of orbits: no table has its type."""
    rng = np.random.default_rng(11)
    species = ["W", "W", "W", "B", "B", "C", "C", "C", "C", "N", "N"]
    grid = np.array([[i, j, k] for i in range(3) for j in range(2) for k in range(2)][: len(species)])
    coords = (grid + 0.25 + 0.2 * rng.uniform(-1, 1, grid.shape)) / [3, 2, 2]
    return Structure(Lattice.from_parameters(7.1, 5.3, 4.9, 83, 97, 101), species, coords)


HEXAGONAL = Lattice.hexagonal(2.92, 2.85)
TEXTBOOK = {
    "NaCl type": of_group("Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    "zincblende type": of_group("F-43m", Lattice.cubic(3.6), ["B", "N"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    "WC type": Structure(HEXAGONAL, ["Mo", "N"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]),
    "CrB type": of_group(
        "Cmcm",
        Lattice.orthorhombic(2.97, 7.86, 2.93),
        ["Ta", "B"],
        [[0, 0.146, 0.25], [0, 0.44, 0.25]],
    ),
    "diamond type": diamond({}),
    "rutile type": of_group(
        "P4_2/mnm", Lattice.tetragonal(4.8, 3.2), ["Sn", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
    ),
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_crystals_have_known_types_with_their_usual_names(name: str) -> None:
    assert KnownTypes.packaged().of([TEXTBOOK[name]]) == StructureType(TypeNovelty.KNOWN, name)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_a_copy_as_a_relaxation_leaves_it_keeps_type_and_name(name: str) -> None:
    distorted = rattled(TEXTBOOK[name])
    assert types_of(Cell.from_structure(distorted))[0] not in types_of(Cell.from_structure(TEXTBOOK[name]))
    found = KnownTypes.packaged().of([distorted])
    assert found == StructureType(TypeNovelty.KNOWN, name)


def test_a_type_that_no_table_has_is_new() -> None:
    assert KnownTypes.packaged().of([planted()]) == StructureType(TypeNovelty.NEW)


def test_one_known_state_is_enough_before_or_after_relaxation() -> None:
    found = KnownTypes.packaged().of([TEXTBOOK["CrB type"], planted()])
    assert found is not None
    assert found.novelty is TypeNovelty.KNOWN
    found = KnownTypes.packaged().of([planted(), TEXTBOOK["CrB type"]])
    assert found == StructureType(TypeNovelty.KNOWN, "CrB type")


def test_an_ordering_of_a_known_type_is_known_by_its_parent() -> None:
    """Layers of the WC type in an order of six: its own signature is in no table, that of its parent is."""
    ordered = stacked(["W", "W", "Mo", "W", "Ta", "Mo", "Nb"], ["C"] * 7)
    types = KnownTypes.packaged()
    assert not types.types & set(types_of(Cell.from_structure(ordered)))
    found = types.of([ordered])
    assert found is not None
    assert found.novelty is TypeNovelty.KNOWN


def test_a_mirror_image_has_the_same_type() -> None:
    assert structure_type("152|3 ..2 Si|6 1 O") == structure_type("154|3 ..2 Si|6 1 O")


def test_every_carried_signature_has_its_type_in_the_table() -> None:
    texts = KnownMaterials.packaged().texts.to_pylist()[::97]  # type: ignore[attr-defined]
    types = KnownTypes.packaged().types
    assert len(texts) > 500
    assert [text for text in texts if structure_type(text) not in types] == []


def test_what_has_no_symmetry_at_any_tolerance_has_no_type(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("known_types", "signatures"):
        monkeypatch.setattr(f"inverse.reference.{module}.signature_text", lambda cell, symprec: None)
    assert KnownTypes.packaged().of([TEXTBOOK["WC type"]]) is None


def test_what_is_no_ordered_crystal_is_refused() -> None:
    partial = Structure(Lattice.cubic(3.0), [{"W": 0.5, "Mo": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="only ordered crystals"):
        KnownTypes.packaged().of([partial])


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    types, named = tmp_path / "types.parquet", tmp_path / "named.json.gz"
    parquet.write_table(pa.table({"type": ["221|1 -3mm A"]}), types)
    named.write_bytes(gzip.compress(json.dumps([{"name": "CrB"}]).encode()))
    with pytest.raises(DataError, match=r"structure types in .* cannot be read"):
        KnownTypes.read(types, named)
    named.write_bytes(gzip.compress(b"[]"))
    assert KnownTypes.read(types, named).types == {"221|1 -3mm A"}
