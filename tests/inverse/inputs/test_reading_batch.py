"""One odd structure never stops a batch: predict, verify, seeds and tables answer the others and name it."""

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

import inverse
from inverse import assembly
from inverse.commands.cli import main
from inverse.inputs.campaign_config import load_config
from inverse.inputs.carried_files import read_seeds
from inverse.inputs.records import structure_from_record
from inverse.inputs.remarks import Remark, RemarkKind
from inverse.inputs.structure_files import ReadStructure, read_structures
from inverse.inputs.user_table import structures_by_name
from inverse.prediction.answers import predict
from inverse.proposers.given import as_given
from inverse.proposers.protocol import Proposal, Proposer, Seeding
from inverse.proposers.search_space import SearchSpace
from inverse.verification.answers import verification_record
from surrogates.errors import ConfigError, DataError, EngineError
from tests import fakes
from tests.inverse.prediction.test_answers import FractionSurrogate, VolumeSurrogate
from tests.inverse.report.fake_run import candidate

SCHEMAS = Path(inverse.__file__).parent / "inputs" / "schemas"

ODD = {
    "refined.cif": ("0.9998(4)", None),
    "partial.cif": ("0.48", "partial occupancy"),
    "overfull.cif": ("1.7", "occupied by 1.7 atoms"),
}


def nickel(occupancy: str, symbol: str = "Ni") -> str:
    return (
        "data_x\n_cell_length_a 3.52\n_cell_length_b 3.52\n_cell_length_c 3.52\n"
        "_symmetry_space_group_name_H-M 'F m -3 m'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        f"{symbol}1 {symbol} 0 0 0 {occupancy}\n"
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Good, odd, good: by partial occupancy, isotopes, poison, and text that is none."""
    contents = {"first.cif": nickel("1")}
    contents |= {name: nickel(occupancy) for name, (occupancy, _) in ODD.items()}
    contents |= {
        "deuterium.cif": nickel("1", "D"),
        "vacancy.cif": nickel("1", "Vac"),
        "poison.json": json.dumps({"@module": "antigravity", "@class": "x"}),
        "text.cif": "hello",
        "last.cif": nickel("1", "Cu"),
    }
    paths = []
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
        paths.append(tmp_path / name)
    return paths


def test_predict_answers_every_other_file_in_order(files: list[Path]) -> None:
    records = predict(files, ["Ni"], VolumeSurrogate(), FractionSurrogate())
    assert [record["id"] for record in records] == [*(path.name for path in files), "Ni"]
    by_name = {record["id"]: record for record in records}
    for name in ("first.cif", "refined.cif", "last.cif"):
        assert by_name[name]["predictions"]["bulk_modulus_vrh"]["mean"] == pytest.approx(3.52**3, rel=1e-4)
        assert by_name[name]["flags"] == []
    for name, (_, words) in ODD.items():
        if words:
            assert words in by_name[name]["error"]["message"]
    assert by_name["deuterium.cif"]["flags"][0] == "isotope: D (deuterium) read as H"
    assert "a vacancy" in by_name["vacancy.cif"]["error"]["message"]
    for record in records:
        kind = "error" if "error" in record else "predict"
        jsonschema.validate(record, json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))


def test_disordered_structures_from_python_are_error_records() -> None:
    alloy = Structure(Lattice.cubic(3), [{"W": 0.5, "Mo": 0.5}], [[0, 0, 0]])
    split = Structure(Lattice.cubic(3), [{"Fe2+": 0.3333, "Fe3+": 0.6666}], [[0, 0, 0]])
    layer = Structure(Lattice(Lattice.cubic(3).matrix, pbc=(True, True, False)), ["W"], [[0, 0, 0]])
    records = predict(
        [alloy, split, layer, Structure(Lattice.cubic(3), ["W"], [[0, 0, 0]])], (), VolumeSurrogate()
    )
    assert ["error" in record for record in records] == [True, False, True, False]
    assert "partial occupancy" in records[0]["error"]["message"]
    assert records[1]["formula"] == "Fe"
    assert "a layer" in records[2]["error"]["message"]


def test_what_goes_wrong_after_the_prediction_is_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    from inverse.prediction import answers as prediction

    def collide(structure: Structure) -> bool:
        if structure.composition.reduced_formula == "W":
            raise AttributeError("no such thing")
        return False

    monkeypatch.setattr(prediction, "_collide", collide)
    metals = [Structure(Lattice.cubic(3), [symbol], [[0, 0, 0]]) for symbol in ("Al", "W", "Cu")]
    records = predict(metals, (), VolumeSurrogate())
    assert ["error" in record for record in records] == [False, True, False]
    assert "AttributeError: no such thing" in records[1]["error"]["message"]


def test_verify_answers_every_other_file_in_order(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr("inverse.verification.workers.default_workers", lambda: 0)
    monkeypatch.setattr("inverse.verification.answers.packaged_classifier", lambda *_: lambda structure: None)
    chosen = [
        p for p in files if p.name in ("first.cif", "partial.cif", "refined.cif", "text.cif", "last.cif")
    ]
    output = tmp_path / "out.jsonl"
    potential = "ase.calculators.emt:EMT"
    assert main(["verify", *map(str, chosen), "--potential", potential, "--output", str(output)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["id"] for line in lines] == [path.name for path in chosen]
    assert [line["id"] for line in lines if "error" in line] == ["partial.cif", "text.cif"]
    first, refined = (next(line for line in lines if line["id"] == n) for n in ("first.cif", "refined.cif"))
    assert refined["formula"] == first["formula"] == "Ni"
    assert refined["values"]["bulk_modulus_vrh"]["raw"] == pytest.approx(
        first["values"]["bulk_modulus_vrh"]["raw"], rel=1e-3
    )


def test_remarks_stand_before_the_judges_flags_in_verify() -> None:
    made = candidate(0, "verified")
    assert made.verification is not None
    remark = Remark(RemarkKind.VACUUM, "vacuum of 22 Å along c")
    item = ReadStructure("a", "a", made.structure, remarks=(remark,))
    line = verification_record(item, made.verification)
    assert line["flags"][0] == "vacuum: vacuum of 22 Å along c"


def config_file(folder: Path, *seeds: str) -> Path:
    (folder / "search.yaml").write_text(json.dumps({**fakes.CONFIG, "seed_structures": list(seeds)}))
    return folder / "search.yaml"


def test_seeds_within_the_tolerance_are_taken_and_others_named(files: list[Path], capsys: Any) -> None:
    folder = files[0].parent
    (seed,) = read_seeds([folder / "refined.cif"])
    assert seed.structure.is_ordered
    assert len(seed.structure) == 1
    (seed,) = read_seeds([folder / "deuterium.cif"])
    assert seed.flags[0] == "isotope: D (deuterium) read as H"
    path = config_file(folder, "first.cif", "partial.cif")
    with pytest.raises(ConfigError, match=r"seed_structures: .*partial\.cif.*partial occupancy: site Ni1"):
        load_config(path)
    assert main(["run", str(path), "--output", str(folder / "run")]) == 2
    shown = capsys.readouterr().err.strip()
    assert shown.startswith("error: ")
    assert "\n" not in shown


def test_what_is_said_of_a_seeds_file_reaches_its_proposal(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class AsTheyAre(Proposer):
        seeding = Seeding.OWN

        def __init__(self, space: SearchSpace) -> None:
            self._space = space

        def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
            return as_given(self._space, self._space.seeds, "seeds", seed)

    monkeypatch.setattr(assembly.PROPOSERS, "get", lambda name: AsTheyAre)
    config = load_config(config_file(files[0].parent, "deuterium.cif", "first.cif"))
    found = assembly.proposer_named("gradient", fakes.search_space(config)).ask(5, 0, 5)
    assert [[text.partition(":")[0] for text in p.remarks] for p in found][1] == []
    assert found[0].remarks[0] == "isotope: D (deuterium) read as H"


def test_structures_of_a_table_are_named_one_by_one(files: list[Path]) -> None:
    found = structures_by_name(files[0].parent)
    assert isinstance(found["refined"], Structure)
    assert isinstance(found["partial"], EngineError)
    assert isinstance(found["text"], EngineError)


def test_records_of_runs_import_nothing() -> None:
    alloy = Structure(Lattice.cubic(3), [{"W": 0.5, "Mo": 0.5}], [[0, 0, 0]])
    record = alloy.as_dict()
    record["properties"] = {"x": {"@module": "antigravity", "@class": "x"}}
    record["sites"][0]["properties"] = {"x": {"@module": "this", "@class": "x"}}
    import sys

    before = set(sys.modules)
    assert structure_from_record(record).composition == alloy.composition
    assert not {"antigravity", "this"} & (set(sys.modules) - before)
    with pytest.raises(DataError, match="cannot be read"):
        structure_from_record({"sites": 3, "lattice": []})


def salt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])


def goods() -> dict[str, bytes]:
    symmetric = str(CifWriter(salt(), symprec=0.01)).encode()
    bare = nickel("1").encode()
    lattice = 'Lattice="3.52 0 0 0 3.52 0 0 0 3.52" pbc="T T T" Properties=species:S:1:pos:R:3'
    return {
        "a.cif": symmetric,
        "b.cif": bare,
        "POSCAR": b"x\n3.52 3.52 3.52\n1 0 0\n0 1 0\n0 0 1\nNi_pv/abc\n2\nDirect\n0 0 0\n.5 .5 .5\n",
        "a.extxyz": f"1\n{lattice}\nNi 0 0 0\n1\n{lattice}\nCu 0 0 0\n".encode(),
        "a.json": json.dumps(salt().as_dict()).encode(),
    }


@pytest.mark.parametrize("name", sorted(goods()))
def test_two_hundred_damaged_files_of_each_format(tmp_path: Path, name: str) -> None:
    """Bits flipped, cut off, lines doubled: each an answer or one line, whatever is left of it."""
    draw = random.Random(name)
    original = goods()[name]
    n_read = n_refused = 0
    for number in range(200):
        data = bytearray(original)
        kind = number % 4
        if kind == 0:
            del data[draw.randrange(len(data)) :]
        elif kind == 1:
            for _ in range(draw.randint(1, 8)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == 2:
            lines = bytes(data).split(b"\n")
            at = draw.randrange(len(lines))
            data = bytearray(
                b"\n".join([*lines[:at], *lines[at:][:1] * draw.randint(0, 3), *lines[at + 1 :]])
            )
        else:
            at = draw.randrange(len(data))
            data[at : at + 3] = draw.choice(
                [b"9e9", b"-", b"nan", b"'", b";", b"\n;", b"(5)", b"0", b"\x00", b"\xff"]
            )
        path = tmp_path / name
        path.write_bytes(bytes(data))
        records = list(read_structures([path]))
        assert records
        for record in records:
            assert (record.structure is None) != (record.error is None)
            assert record.error is None or (
                isinstance(record.error, EngineError) and "\n" not in str(record.error)
            )
            n_read += record.error is None
            n_refused += record.error is not None
    assert n_read > 5
    assert n_refused > 30
