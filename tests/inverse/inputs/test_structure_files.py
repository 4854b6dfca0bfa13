"""Readers of users' files: every format, every kind of broken, one record per structure."""

import gzip
import json
import random
from pathlib import Path

import ase.io
import pytest
from ase.db import connect
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp import Poscar

from inverse.inputs.structure_files import read_structures
from surrogates.errors import DataError, EngineError, StructureError, UnsupportedElementError


@pytest.fixture
def wc() -> Structure:
    return Structure(Lattice.hexagonal(2.92, 2.84), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


def row(structure: Structure, **extra: object) -> dict:
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [s.symbol for s in structure.species],
        "frac_coords": structure.frac_coords.tolist(),
        **extra,
    }


def write_all(folder: Path, structure: Structure) -> list[Path]:
    (folder / "a.cif").write_text(str(CifWriter(structure)))
    (folder / "POSCAR_a").write_text(Poscar(structure).get_str())
    (folder / "a.json").write_text(json.dumps(structure.as_dict()))
    with gzip.open(folder / "a.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(row(structure, id="r-1", source="aflow_ael")) + "\n")
    atoms = AseAtomsAdaptor.get_atoms(structure)
    ase.io.write(folder / "a.extxyz", atoms, format="extxyz")
    with connect(folder / "a.db") as database:
        database.write(atoms, candidate_id="c000001")
    return [folder / n for n in ("a.cif", "POSCAR_a", "a.json", "a.jsonl.gz", "a.extxyz", "a.db")]


def test_every_format_gives_the_same_crystal(tmp_path: Path, wc: Structure) -> None:
    records = list(read_structures(write_all(tmp_path, wc)))
    assert [r.id for r in records] == ["a.cif", "POSCAR_a", "a.json", "r-1", "a.extxyz", "c000001"]
    assert records[3].source == "aflow_ael"
    for record in records:
        assert record.error is None
        assert record.structure is not None
        assert record.structure.composition.reduced_formula == "WC"
        assert record.structure.volume == pytest.approx(wc.volume, rel=1e-4)
    assert len(list(read_structures([tmp_path]))) == len(records)


def test_several_structures_are_numbered_and_one_broken_does_not_end_the_file(
    tmp_path: Path, wc: Structure
) -> None:
    path = tmp_path / "many.jsonl"
    broken = row(wc)
    broken["lattice"][0][0] = float("nan")
    lines = [json.dumps(row(wc)), "{not json", json.dumps(broken), json.dumps(row(wc, id="last"))]
    path.write_text("\n".join(lines))
    records = list(read_structures([path]))
    assert [r.id for r in records] == ["many.jsonl#0", "many.jsonl#1", "many.jsonl#2", "last"]
    assert [r.error is None for r in records] == [True, False, False, True]
    assert "many.jsonl#2: lattice or coordinates" in str(records[2].error)
    (tmp_path / "two.cif").write_text(str(CifWriter(wc)) + "\n" + str(CifWriter(wc)))
    assert [r.id for r in read_structures([tmp_path / "two.cif"])] == ["two.cif#0", "two.cif#1"]


@pytest.mark.parametrize(
    ("name", "text", "error", "message"),
    [
        ("empty.cif", "", StructureError, "empty"),
        ("text.cif", "hello", StructureError, "not a CIF"),
        ("half.cif", "data_x\n_cell_length_a 3\n", StructureError, "broken CIF: no _cell_length_b"),
        (
            "POSCAR",
            "x\n1\n3 0 0\n0 3 0\n0 0 3\n1\nDirect\n0 0 0\n",
            StructureError,
            "without element symbols",
        ),
        ("POSCAR", "x\n1\n3 0 0\n0 3 0\n0 0 3\nAl\n999999999\nDirect\n0 0 0\n", StructureError, "announced"),
        ("x.json", "[1, 2", StructureError, "cannot be read"),
        ("x.json", '{"a": 1}', StructureError, "without lattice and species"),
        ("x.xyz", "1\n\nAl 0 0 0\n", StructureError, "not a crystal"),
        ("x.db", "nothing", StructureError, "not an ASE database"),
        ("x.dat", "nothing", StructureError, "unknown file format"),
    ],
)
def test_one_clear_error(
    tmp_path: Path, name: str, text: str, error: type[EngineError], message: str
) -> None:
    (tmp_path / name).write_text(text)
    (record,) = list(read_structures([tmp_path / name]))
    assert record.structure is None
    assert isinstance(record.error, error)
    assert message in str(record.error)
    assert "\n" not in str(record.error)
    assert record.id == name


def test_unknown_element_and_partial_occupancy(tmp_path: Path, wc: Structure) -> None:
    odd = row(wc)
    odd["species"] = ["Xx", "C"]
    alloy = Structure(wc.lattice, [{"W": 0.5, "Mo": 0.5}, "C"], wc.frac_coords)
    (tmp_path / "odd.jsonl").write_text(json.dumps(odd))
    (tmp_path / "alloy.cif").write_text(str(CifWriter(alloy)))
    odd_record, alloy_record = read_structures([tmp_path / "odd.jsonl", tmp_path / "alloy.cif"])
    assert isinstance(odd_record.error, UnsupportedElementError)
    assert "partial occupancy" in str(alloy_record.error)
    (soft,) = read_structures([tmp_path / "alloy.cif"], ordered=False)
    assert soft.structure is not None
    assert not soft.structure.is_ordered


def test_missing_file_is_named_before_anything_is_read(tmp_path: Path, wc: Structure) -> None:
    (tmp_path / "tungsten.cif").write_text(str(CifWriter(wc)))
    with pytest.raises(DataError, match=r"tungsten.cf: no such file or folder; did you mean .*tungsten\.cif"):
        read_structures([tmp_path / "tungsten.cif", tmp_path / "tungsten.cf"])
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match="no structure file"):
        read_structures([tmp_path / "sub"])


def test_mutated_files_never_raise(tmp_path: Path, wc: Structure) -> None:
    """600 files with bytes flipped, cut, doubled or replaced by hostile tokens."""
    draw = random.Random(5)
    originals = {p.name: p.read_bytes() for p in write_all(tmp_path, wc) if p.suffix != ".db"}
    originals["a.jsonl"] = gzip.decompress(originals.pop("a.jsonl.gz"))
    hostile = [b"nan", b"1e400", b"-0", b"\x00", b"99999999999", b"Xx", b"(", b"{}", b"\n", b"?", b"null"]
    read = failed = 0
    for n in range(600):
        name = draw.choice(sorted(originals))
        data = bytearray(originals[name])
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            end = min(len(data), at + draw.randint(1, 12))
            data[at:end] = draw.choice(
                [b"", bytes(draw.randbytes(3)), draw.choice(hostile), data[at:end] * 2]
            )
        path = tmp_path / f"{n}" / name
        path.parent.mkdir()
        path.write_bytes(bytes(data))
        records = list(read_structures([path]))
        assert records
        for record in records:
            assert (record.structure is None) != (record.error is None)
            assert record.error is None or isinstance(record.error, EngineError)
            failed += record.error is not None
            read += record.error is None
    assert failed > 100
    assert read > 20
