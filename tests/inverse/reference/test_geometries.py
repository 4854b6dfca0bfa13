"""The packaged shapes of structure types."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from inverse.reference import geometries
from inverse.reference.geometries import Geometry, packaged_geometries
from surrogates.errors import DataError

BORIDE = "191|1 /6mmm A|2 -26m B"
ROW: dict[str, Any] = {
    "type": BORIDE,
    "sites": ["aA", "dB"],
    "lattice": [0.1, 0.0, 0.2, 0.0, 0.0, 0.0],
    "coords": [[0.0, 0.0, 0.0], [0.25, 0.5, 0.75]],
    "count": 3,
    "kinds": {"4|13": 2, "3|13": 1},
}


def read(patch: pytest.MonkeyPatch, folder: Path, packed: bytes) -> Mapping[str, tuple[Geometry, ...]]:
    """Read a file of shapes in place of the packaged one."""
    (folder / "prototype_geometries.json.gz").write_bytes(packed)
    patch.setattr(geometries, "files", lambda package: folder)
    return packaged_geometries.__wrapped__()


def packed(*rows: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps(rows).encode())


def test_a_row_tells_letters_labels_cell_coordinates_and_kinds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (shape,) = read(monkeypatch, tmp_path, packed(ROW))[BORIDE]
    assert (shape.text, shape.space_group, shape.count) == (BORIDE, 191, 3)
    assert (shape.letters, shape.labels) == (("a", "d"), ("A", "B"))
    assert shape.lattice == (0.1, 0.0, 0.2, 0.0, 0.0, 0.0)
    assert shape.coords == ((0.0, 0.0, 0.0), (0.25, 0.5, 0.75))
    assert shape.kinds == {("4", "13"): 2, ("3", "13"): 1}


def test_shapes_of_a_type_stand_together_the_most_frequent_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    salt = "225|4 -3mm A|4 -3mm B"
    rows = [ROW, {**ROW, "count": 9}, {**ROW, "type": salt, "count": 50}, {**ROW, "count": 5}]
    found = read(monkeypatch, tmp_path, packed(*rows))
    assert {text: [shape.count for shape in shapes] for text, shapes in found.items()} == {
        BORIDE: [9, 5, 3],
        salt: [50],
    }


def test_a_file_that_was_altered_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = packed(ROW)
    with pytest.raises(DataError, match=r"prototype_geometries\.json\.gz cannot be read"):
        read(monkeypatch, tmp_path, whole[:30] + b"odd" + whole[33:])
