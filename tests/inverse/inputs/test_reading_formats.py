"""POSCAR, extended XYZ, JSON, databases and the text beneath them: dialects read, all else one line."""

import bz2
import gzip
import io
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
from ase.db import connect
from pymatgen.core import DummySpecies, Lattice, Structure
from pymatgen.io.vasp import Poscar

from inverse.inputs.formats import text as text_module
from inverse.inputs.remarks import RemarkKind
from inverse.inputs.structure_files import ReadStructure, read_structures

FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@pytest.fixture
def blende() -> Structure:
    species = ["Zn"] * 4 + ["S"] * 4
    return Structure(Lattice.cubic(5.41), species, np.concatenate([FCC, FCC + 0.25]))


def read(folder: Path, name: str, content: str | bytes) -> list[ReadStructure]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_structures([path]))


def one(folder: Path, name: str, content: str | bytes) -> ReadStructure:
    (record,) = read(folder, name, content)
    return record


def same(record: ReadStructure, structure: Structure) -> bool:
    assert record.error is None, record.error
    assert record.structure is not None
    assert record.structure.composition == structure.composition
    assert record.structure.volume == pytest.approx(structure.volume, rel=1e-6)
    return np.allclose(
        np.sort(record.structure.distance_matrix[0]), np.sort(structure.distance_matrix[0]), atol=1e-6
    )


def refusal(folder: Path, name: str, content: str | bytes) -> str:
    record = one(folder, name, content)
    assert record.structure is None
    said = str(record.error)
    assert "\n" not in said
    return said


# -- POSCAR --

SYMBOLS = ["Zn"] * 4 + ["S"] * 4
COORDINATES = "\n".join(" ".join(str(x) for x in row) for row in np.concatenate([FCC, FCC + 0.25]))

LABELLED = "\n".join(f"{row} {s}" for row, s in zip(COORDINATES.split("\n"), SYMBOLS, strict=True))


def poscar(
    scale: str = "5.41",
    lattice: str = "1 0 0\n0 1 0\n0 0 1",
    symbols: str | None = "Zn S",
    counts: str = "4 4",
    mode: str = "Direct",
    coordinates: str = COORDINATES,
    comment: str = "blende",
) -> str:
    lines = [comment, scale, lattice, *([symbols] if symbols is not None else []), counts, mode, coordinates]
    return "\n".join(lines) + "\n"


CARTESIAN = "\n".join(" ".join(f"{x * 5.41:.6f}" for x in row) for row in np.concatenate([FCC, FCC + 0.25]))


@pytest.mark.parametrize(
    "content",
    [
        poscar(),
        poscar(scale="5.41 5.41 5.41"),
        poscar(scale="-158.340421"),
        poscar(scale="1.0 2.0 0.5", lattice="5.41 0 0\n0 2.705 0\n0 0 10.82"),
        poscar(scale="0.5410000000D+01"),
        poscar(symbols="Zn_GW/f474ac0d  S/79d9987ad87"),
        poscar(symbols="Zn2+ S2-"),
        poscar(symbols="   Zn   S   ! species", counts=" 4 4 ! counts"),
        poscar(symbols="Zn\nS", counts="4\n4"),
        poscar(mode="direct lattice"),
        poscar("1", "5.41 0 0\n0 5.41 0\n0 0 5.41", mode="Cartesian", coordinates=CARTESIAN),
        poscar(mode="K"),
        poscar(mode="Selective\nDirect", coordinates=COORDINATES.replace("\n", " T F T\n") + " F F F"),
        poscar(coordinates=LABELLED),
        poscar(coordinates=COORDINATES + "\n\n" + COORDINATES),
        poscar(coordinates=COORDINATES + "\nLattice velocities and vectors\n1\n0 0 0\n0 0 0\n0 0 0\n"),
        poscar().replace("\n", "\r\n"),
        poscar().replace("\n", "\r"),
    ],
)  # fmt: skip
def test_dialects_of_poscar(tmp_path: Path, blende: Structure, content: str) -> None:
    assert same(one(tmp_path, "POSCAR", content), blende)


def test_cartesian_coordinates_are_scaled_as_the_lattice_is(tmp_path: Path) -> None:
    """As VASP has it: three factors belong to the Cartesian axes, not to the vectors."""
    content = poscar("2 1 1", "2 1 0\n0 3 0\n0 0 4", "Al", "1", "C", "1 1 1")
    record = one(tmp_path, "POSCAR", content)
    assert record.structure is not None
    assert record.structure.lattice.matrix == pytest.approx(np.array([[4, 1, 0], [0, 3, 0], [0, 0, 4]]))
    assert record.structure[0].coords == pytest.approx([2, 1, 1])


def test_a_file_of_vasp_4_takes_symbols_from_where_they_are(tmp_path: Path, blende: Structure) -> None:
    record = one(tmp_path, "POSCAR", poscar(symbols=None, comment="Zn S"))
    assert same(record, blende)
    assert [remark.kind for remark in record.remarks] == [RemarkKind.SPECIES]
    assert same(one(tmp_path, "POSCAR", poscar(symbols=None, coordinates=LABELLED)), blende)
    assert "without element symbols" in refusal(tmp_path, "POSCAR", poscar(symbols=None))
    assert "without element symbols" in refusal(tmp_path, "POSCAR", poscar(symbols=None, comment="Zn S O"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (poscar(scale="0"), "scale factor (line 2) is 0"),
        (poscar(scale="1 -1 1"), "each must be positive"),
        (poscar(scale="a"), "line 2 is 'a'"),
        (poscar(lattice="1 0 0\n0 1\n0 0 1"), "line 4 is '0 1', not 3 numbers"),
        (poscar(lattice="1 0 0\n0 1 0\n1 1 0"), "span no cell"),
        (poscar(counts="4 4 4"), "2 symbols in line 6, 3 counts"),
        (poscar(counts="4 x"), "no counts of atoms"),
        (poscar(counts="4 5"), "9 atoms announced, 8 lines"),
        (poscar(counts="4 3"), "7 atoms announced, more lines of coordinates follow"),
        (poscar(counts="4 99999999"), "atoms announced in"),
        (poscar(counts="0 0"), "without atoms"),
        (poscar(mode="0 0 0"), "neither Direct nor Cartesian"),
        (poscar(symbols="Zn Vac"), "'Vac' is a vacancy"),
        (poscar(symbols="Zn H.5"), "pseudo-hydrogen"),
        (poscar(coordinates=COORDINATES.replace("0.25 0.25 0.25", "0.25 0.25")), "not 3 numbers"),
        (poscar(coordinates=COORDINATES.replace("0.25 0.25 0.25", "nan 0.25 0")), "not 3 numbers"),
        (poscar(coordinates=COORDINATES.replace("0.25 0.25 0.25", "0.25 0.25 0.25 Zn")), "ends with Zn"),
        (poscar(coordinates=COORDINATES.replace("0.25 0.25 0.25", "0 0 1")), "stand on one place"),
        (poscar(coordinates=COORDINATES.replace("0.25 0.25 0.25", "0 0 1e9")), "not a place in the cell"),
        ("one\ntwo\n", "2 lines"),
    ],
)
def test_broken_poscars(tmp_path: Path, content: str, words: str) -> None:
    assert words in refusal(tmp_path, "POSCAR", content)


def test_poscars_of_pymatgen(tmp_path: Path, blende: Structure) -> None:
    assert same(one(tmp_path, "x.vasp", Poscar(blende).get_str()), blende)


# -- extended XYZ --

LATTICE = 'Lattice="5.41 0 0 0 5.41 0 0 0 5.41"'
ROWS = "\n".join(
    f"{s} " + " ".join(f"{x * 5.41:.6f}" for x in row)
    for s, row in zip(["Zn"] * 4 + ["S"] * 4, np.concatenate([FCC, FCC + 0.25]), strict=True)
)
NUMBERED = ROWS.replace("Zn", "30").replace("S", "16")


@pytest.mark.parametrize(
    ("comment", "rows"),
    [
        (f"{LATTICE} Properties=species:S:1:pos:R:3", ROWS),
        (f'{LATTICE} Properties=species:S:1:pos:R:3 pbc="T T T"', ROWS),
        (f'{LATTICE} pbc="1 1 1"', ROWS),
        (f"{LATTICE} pbc=T", ROWS),
        (LATTICE, ROWS),
        (f"{LATTICE} Properties=element:S:1:positions:R:3", ROWS),
        (f"{LATTICE} Properties=symbols:S:1:coords:R:3", ROWS),
        (f"{LATTICE} Properties=Z:I:1:pos:R:3", NUMBERED),
        (f"{LATTICE} Properties=species:I:1:pos:R:3", NUMBERED),
        (f"{LATTICE} Properties=species:S:1:pos:R:3", ROWS.replace("Zn", "Zn2+").replace("S", "S2-")),
        (LATTICE.replace("Lattice", "lattice"), ROWS),
        (f"{LATTICE} energy=-1.5 stress='1 2 3 4 5 6' virial=nan name='Lattice=1'", ROWS),
    ],
)
def test_dialects_of_xyz(tmp_path: Path, blende: Structure, comment: str, rows: str) -> None:
    assert same(one(tmp_path, "x.extxyz", f"8\n{comment}\n{rows}\n"), blende)


def test_rows_of_lattice_are_vectors(tmp_path: Path) -> None:
    record = one(
        tmp_path, "x.xyz", '1\nLattice="3 0.5 0 0 4 0 0 0 5" Properties=species:S:1:pos:R:3\nAl 0 0 0\n'
    )
    assert record.structure is not None
    assert record.structure.lattice.matrix.tolist() == [[3, 0.5, 0], [0, 4, 0], [0, 0, 5]]


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        (f'{LATTICE} pbc="T T F"', "not periodic in three directions (pbc T T F): a layer"),
        (f'{LATTICE} pbc="T F F"', "a chain"),
        (f'{LATTICE} pbc="F F F"', "a molecule"),
        (f"{LATTICE} pbc=F", "a molecule"),
        (f'{LATTICE} pbc="0 0 1"', "a chain"),
        (f'{LATTICE} pbc="a b c"', "is not three of T and F"),
        ("", "no Lattice in the comment line"),
        ("pbc='T T T'", "no Lattice in the comment line"),
        ('Lattice="1 2 3"', "holds 3 values"),
        ('Lattice="5.41 0 0 0 5.41 0 0 5.41 0"', "span no cell"),
        (f"{LATTICE} Properties=kind:S:1:pos:R:3", "no column of species"),
        (f"{LATTICE} Properties=species:S:1:place:R:3", "no column of positions"),
        (f"{LATTICE} Properties=species:S:1:pos", "not NAME:TYPE:NUMBER"),
        (f"{LATTICE} Properties=species:S:1:pos:R:3:forces:R:3:pos2:R:x", "columns of"),
        (f"{LATTICE} Properties=a:R:3:species:S:1:pos:R:3", "a line of 4 columns, 7 announced"),
        (f"{LATTICE.replace('5.41', 'nan')}", "not finite"),
        (f"{LATTICE.replace('5.41', 'a')}", "no number"),
    ],
)
def test_frames_that_are_no_crystal(tmp_path: Path, comment: str, words: str) -> None:
    assert words in refusal(tmp_path, "x.extxyz", f"8\n{comment}\n{ROWS}\n")


def test_a_broken_frame_does_not_end_the_file(tmp_path: Path) -> None:
    good = f"8\n{LATTICE}\n{ROWS}\n"
    layer = f'8\n{LATTICE} pbc="T T F" id=layer\n{ROWS}\n'
    odd = f"8\n{LATTICE}\n{ROWS.replace('S', 'Wat')}\n"
    large = f"30000\n{LATTICE}\n" + "Al 0 0 0\n" * 30000
    records = read(
        tmp_path, "x.extxyz", good + "\n" + layer + odd + large + good + "8\n" + LATTICE + "\nAl 0 0 0\n"
    )
    assert [record.error is None for record in records] == [True, False, False, False, True, False]
    assert [record.id for record in records][:2] == ["x.extxyz#0", "layer"]
    assert "30000 atoms in the cell; at most 20000" in str(records[3].error)
    assert "8 atoms announced in 1 lines" in str(records[5].error)


def test_deuterium_and_isotopes_of_every_format(tmp_path: Path) -> None:
    lattice = 'Lattice="2.4 0 0 0 2.4 0 0 0 2.4"'
    contents: dict[str, str] = {
        "x.xyz": f"2\n{lattice}\nLi 0 0 0\nD 1.2 1.2 1.2\n",
        "POSCAR": "x\n2.4\n1 0 0\n0 1 0\n0 0 1\nLi D\n1 1\nDirect\n0 0 0\n.5 .5 .5\n",
        "x.json": json.dumps(
            {
                "lattice": np.eye(3).__mul__(2.4).tolist(),
                "species": ["Li", "D"],
                "frac_coords": [[0] * 3, [0.5] * 3],
            }
        ),
    }
    for name, content in contents.items():
        record = one(tmp_path, name, content)
        assert record.structure is not None, record.error
        assert record.structure.composition.reduced_formula == "LiH"
        assert [remark.kind for remark in record.remarks] == [RemarkKind.ISOTOPE]


# -- JSON: plain data, never code --


@pytest.mark.parametrize("module", ["antigravity", "unittest.__main__", "this", "tests.inverse.planted"])
@pytest.mark.parametrize("place", ["site", "structure", "lattice", "species", "top", "charge", "label"])
def test_no_json_imports_a_module(tmp_path: Path, blende: Structure, module: str, place: str) -> None:
    poison = {"@module": module, "@class": "x", "@callable": "y"}
    content: dict[str, Any] = blende.as_dict()
    if place == "site":
        content["sites"][0]["properties"] = {"x": poison}
    elif place == "structure":
        content["properties"] = {"x": [poison]}
    elif place == "lattice":
        content["lattice"]["origin"] = poison
    elif place == "species":
        content["sites"][0]["species"][0]["properties"] = poison
    elif place == "top":
        content["@module"] = module
        content["@class"] = "Structure"
    elif place == "charge":
        content["charge"] = poison
    else:
        content["sites"][0]["label"] = poison
    before = set(sys.modules)
    assert same(one(tmp_path, "x.json", json.dumps(content)), blende)
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("antigravity", "this")}
    assert module not in set(sys.modules) - before


def test_structures_of_pymatgen_in_its_own_words(tmp_path: Path, blende: Structure) -> None:
    decorated = blende.copy().add_oxidation_state_by_element({"Zn": 2, "S": -2})
    decorated.add_site_property("magmom", [0.0] * 8)
    assert same(one(tmp_path, "x.json", decorated.to_json()), blende)
    nested = {"material_id": "mp-1", "structure": {"structure": decorated.as_dict()}}
    record = one(tmp_path, "x.json", json.dumps(nested))
    assert same(record, blende)
    assert record.id == "mp-1"
    slim = blende.as_dict()
    slim["lattice"] = {key: slim["lattice"][key] for key in ("a", "b", "c", "alpha", "beta", "gamma")}
    for site in slim["sites"]:
        del site["abc"]
    assert same(one(tmp_path, "x.json", json.dumps(slim)), blende)


def changed(structure: Structure, **changes: Any) -> str:
    row: dict[str, Any] = {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }
    return json.dumps({**row, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lattice": None}, "lattice holds null, not numbers"),
        ({"lattice": "cubic"}, "lattice holds text"),
        ({"lattice": [[1, 0], [0, 1]]}, "a lattice of shape 2x2"),
        ({"lattice": [[5, 0, 0], [0, 5, 0], [5, 5, 0]]}, "span no cell"),
        ({"lattice": {"a": 5}}, "without b, c, alpha"),
        ({"lattice": {"matrix": [[5, 0, 0], [0, 5, 0], [0, 0, 5]], "pbc": [True, True, False]}}, "a layer"),
        ({"lattice": [[1e400, 0, 0], [0, 5, 0], [0, 0, 5]]}, "not finite"),
        ({"lattice": [[10**400, 0, 0], [0, 5, 0], [0, 0, 5]]}, "a number beyond any"),
        ({"species": "ZnS"}, "species is text, not a list"),
        ({"species": [1, 2]}, "2 species for 8 coordinates"),
        ({"species": [30] * 8}, "species of site 0 is a number, not a symbol"),
        ({"species": ["Zn"] * 7 + ["Vac"]}, "'Vac' is a vacancy"),
        ({"species": ["Zn"] * 7 + [None]}, "species of site 7 is null"),
        ({"species": ["Zn"] * 7 + [[{"element": "S", "occu": "full"}]]}, "occupancy of site 7 is text"),
        ({"species": ["Zn"] * 7 + [[{"element": "S", "occu": 0.5}]]}, "partial occupancy"),
        ({"species": [], "frac_coords": []}, "without atoms"),
        ({"frac_coords": [[0, 0]] * 8}, "coordinates of shape 8x2"),
        ({"frac_coords": [[0, 0, True]] * 8}, "frac_coords holds true or false"),
        ({"frac_coords": [[0, 0, 0]] * 7 + [[0, 0]]}, "unequal length"),
        ({"pbc": [True, True, False]}, "a layer, not a crystal"),
        ({"pbc": "F F F"}, "pbc 'F F F' is not three of T and F"),
        ({"occupancy": [1] * 7 + [0.5]}, "occupancy of a row other than 1"),
        ({"occupancies": [[0.5]] * 8}, "occupancies of a row other than 1"),
        ({"sites": [{"species": [{"element": "Zn"}]}]}, "site 0 without abc and xyz"),
        ({"sites": [3]}, "site 0 is a number, not an object"),
        ({"sites": [], "lattice": None}, "a molecule"),
    ],
)
def test_json_of_the_wrong_kind(
    tmp_path: Path, blende: Structure, changes: dict[str, Any], words: str
) -> None:
    assert words in refusal(tmp_path, "x.json", changed(blende, **changes))


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, '{"structure":' * 3000 + "1" + "}" * 3000, "7" * 5000, "null", '"x"', "[[]]", "nul"],
)
def test_json_that_is_no_structure(tmp_path: Path, blende: Structure, content: str) -> None:
    assert refusal(tmp_path, "x.json", content)
    records = read(tmp_path, "x.jsonl", content + "\n" + changed(blende) + "\n")
    assert records[0].error is not None
    assert same(records[1], blende)


def test_dummy_species_are_refused_by_name(tmp_path: Path) -> None:
    dummy = Structure(Lattice.cubic(4), [DummySpecies("X", 1), "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert "'X' is a dummy atom or a vacancy" in refusal(tmp_path, "x.json", json.dumps(dummy.as_dict()))


# -- databases --


def test_rows_of_an_ase_database(tmp_path: Path, blende: Structure) -> None:
    cell = np.eye(3) * 5.41
    crystal = ase.Atoms("Zn4S4", scaled_positions=np.concatenate([FCC, FCC + 0.25]), cell=cell, pbc=True)
    layer = crystal.copy()
    layer.pbc = (True, True, False)
    molecule = ase.Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]])
    dummy = ase.Atoms("X", cell=cell, pbc=True)
    for name in ("x.db", "x.json"):
        with connect(tmp_path / name) as database:
            for atoms in (layer, crystal, molecule, dummy, crystal):
                database.write(atoms)
        records = list(read_structures([tmp_path / name]))
        assert [record.error is None for record in records] == [False, True, False, False, True]
        assert "a layer, not a crystal" in str(records[0].error)
        assert "a molecule, not a crystal" in str(records[2].error)
        assert "dummy atom" in str(records[3].error)
        assert same(records[4], blende)
    packed = gzip.compress((tmp_path / "x.db").read_bytes())
    assert "a packed ASE database; unpack it" in refusal(tmp_path, "y.db.gz", packed)


# -- vacuum and contacts --


def test_vacuum_and_contacts_are_flags(tmp_path: Path) -> None:
    slab = poscar(
        "1",
        "3.18 0 0\n-1.59 2.754 0\n0 0 25",
        "Mo S",
        "1 2",
        "C",
        "0 0 12.5\n1.59 .918 14.06\n1.59 .918 10.94",
    )
    assert one(tmp_path, "POSCAR", slab).flags == [
        "vacuum: vacuum of 22 Å along c: values are of the cell with its vacuum"
    ]
    molecule = poscar(
        "1", "15 0 0\n0 15 0\n0 0 15", "O H", "1 2", "C", "7.5 7.5 7.5\n8.26 7.5 8.09\n6.74 7.5 8.09"
    )
    assert "15 Å along a" not in one(tmp_path, "POSCAR", molecule).flags[0]
    assert "13 Å along a and 15 Å along b and 14 Å along c" in one(tmp_path, "POSCAR", molecule).flags[0]
    close = poscar("1", "4 0 0\n0 4 0\n0 0 4", "W C", "1 1", "D", "0 0 0\n.2 0 0")
    assert [remark.kind for remark in one(tmp_path, "POSCAR", close).remarks] == [RemarkKind.CONTACT]


def test_atoms_without_a_neighbour_are_flags(tmp_path: Path) -> None:
    """Lengths in Bohr, an asymmetric unit alone: read as they stand, and said."""
    salt = poscar("1", "{0} 0 0\n0 {0} 0\n0 0 {0}", "Na Cl", "1 1", "D", "0 0 0\n.5 .5 .5")
    record = one(tmp_path, "POSCAR", salt.format(5.64))
    assert [remark.kind for remark in record.remarks] == [RemarkKind.CONTACT]
    assert "atoms missing, or another unit of length?" in record.flags[0]
    assert not one(tmp_path, "POSCAR", salt.format(3.5)).remarks
    argon = poscar("1", "0 2.65 2.65\n2.65 0 2.65\n2.65 2.65 0", "Ar", "1", "D", "0 0 0")
    assert not one(tmp_path, "POSCAR", argon).remarks


# -- the text beneath --

PLAIN = poscar()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-32"),
        PLAIN.replace("blende", "Blende, Würzburg, 20 °C").encode("latin-1"),
        PLAIN.replace("blende", "Blende, Würzburg, 20 °C").encode("utf-8"),
        gzip.compress(PLAIN.encode(), mtime=0),
        bz2.compress(PLAIN.encode()),
        lzma.compress(PLAIN.encode()),
        gzip.compress(b"\xef\xbb\xbf" + PLAIN.encode(), mtime=0),
    ],
)
def test_encodings_and_packing(tmp_path: Path, blende: Structure, content: bytes) -> None:
    for name in ("POSCAR", "x.vasp.gz", "x.poscar.bz2", "x.vasp.xz"):
        assert same(one(tmp_path, name, content), blende)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04zip", "is a ZIP archive"),
        (b"\x28\xb5\x2f\xfdzst", "packed with zstd"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-20], "cut off"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:10] + b"nonsense", "compressed file is"),
        (bz2.compress(PLAIN.encode())[:-20], "cut off"),
        (lzma.compress(PLAIN.encode())[:-20], "cut off"),
        (b"", "empty"),
        (b" \n\n", "empty"),
    ],
)
def test_what_cannot_be_unpacked(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in refusal(tmp_path, "x.cif.gz", content)


@pytest.mark.parametrize(
    "name", ["x.cif.gz", "x.vasp.gz", "x.json.gz", "x.jsonl.gz", "x.extxyz.gz", "x.cif.bz2"]
)
def test_bombs_are_refused_flat_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Limits lowered for the test; what is read never exceeds them by more than a piece."""
    monkeypatch.setattr(text_module, "MAX_TEXT", 1_000_000)
    monkeypatch.setattr(text_module, "CHUNK", 1 << 16)
    start = {"x.extxyz.gz": b"1\n"}.get(name, b"")
    content = start + b" " * 15_000_000
    packed = bz2.compress(content) if name.endswith("bz2") else gzip.compress(content, 9)
    import tracemalloc

    (tmp_path / name).write_bytes(packed)
    tracemalloc.start()
    (record,) = read_structures([tmp_path / name])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "unpacks to more than" in str(record.error) or "more than 1 MB" in str(record.error)
    assert peak < 10_000_000


def test_lines_and_frames_have_no_total_limit(
    tmp_path: Path, blende: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_module, "MAX_TEXT", 20_000)
    row = changed(blende, id="x")
    draw = np.random.default_rng(3)
    lines = [row[:-1] + f', "noise": "{draw.bytes(300).hex()}"}}' for _ in range(200)]
    records = read(tmp_path, "x.jsonl.gz", gzip.compress("\n".join(lines).encode()))
    assert len(records) == 200
    assert all(record.error is None for record in records)
    long = row[:-1] + f', "noise": "{"a" * 30_000}"}}'
    assert "a line of more than" in str(read(tmp_path, "x.jsonl", long)[-1].error)


def test_what_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "x.cif")
    (record,) = read_structures([tmp_path / "x.cif"])
    assert "is not a file" in str(record.error)


def test_what_libraries_say_and_do_becomes_records(
    tmp_path: Path, blende: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning is a flag of its line; a library that exits the process ends its file only."""
    import warnings

    from inverse.inputs import file_formats

    original = file_formats.structure_of

    def warn(row: Any) -> Any:
        warnings.warn("the coordinates look odd", UserWarning, stacklevel=1)
        warnings.warn("this function goes away", DeprecationWarning, stacklevel=1)
        return original(row)

    def leave(row: Any) -> Any:
        raise SystemExit(3)

    monkeypatch.setattr(file_formats, "structure_of", warn)
    with warnings.catch_warnings(record=True) as heard:
        record = one(tmp_path, "x.jsonl", changed(blende))
    assert record.flags == ["warning: the coordinates look odd"]
    assert heard == []
    monkeypatch.setattr(file_formats, "structure_of", leave)
    assert "a library wants to exit (3)" in refusal(tmp_path, "x.jsonl", changed(blende))


def test_text_streams_are_closed(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(gzip.compress(b"a\nb"))
    with text_module.open_text(tmp_path / "x.txt") as stream:
        assert isinstance(stream, io.TextIOWrapper)
        assert list(text_module.lines_of(stream)) == ["a", "b"]
    assert stream.closed
