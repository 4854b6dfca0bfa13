"""Records of `inverse predict`: order, scales, errors, batches; no trained weights needed."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import jsonschema
import pytest
import torch
from pymatgen.core import Lattice, Structure

import inverse
from inverse.inputs import named_surrogate
from inverse.prediction import answers as prediction
from inverse.prediction.answers import iterate_predictions, predict
from surrogates.checkpoints.checkpoint import save_checkpoint
from surrogates.crystals.batch import ELEMENT_SYMBOLS, SCALES, CrystalBatch, element_index
from surrogates.errors import DataError, UnknownNameError, UnsupportedElementError
from surrogates.physics.properties import BAND_GAP, BULK_MODULUS, FORMATION_ENERGY, Property
from surrogates.protocol import CompositionBatch, Level, Prediction
from tests.surrogates.tiny import crystals, tiny_surrogate


def answer(prop: Property, mean: torch.Tensor) -> Prediction:
    std = torch.full_like(mean, 2.0)
    return Prediction(prop, mean, std, mean - 3, mean + 3, mean.repeat(4, 1), torch.ones_like(mean).bool())


class VolumeSurrogate:
    """K is the cell volume, E_f the index of the scale; knows no helium; NaN for neon."""

    name = "fake"
    level = Level.STRUCTURE
    elements = frozenset(ELEMENT_SYMBOLS) - {"He"}
    properties = (BULK_MODULUS, FORMATION_ENERGY)

    def __init__(self, largest: int = 10**9) -> None:
        self.largest = largest
        self.sizes: list[int] = []

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        if int(crystals.n_atoms.sum()) > self.largest:
            raise MemoryError("out of memory")
        self.sizes.append(crystals.n_crystals)
        if bool(crystals.composition[:, element_index("He")].any()):
            raise UnsupportedElementError("fake was trained without He")
        volume = crystals.volume.clone()
        volume[crystals.composition[:, element_index("Ne")] > 0] = float("nan")
        return {
            BULK_MODULUS: answer(BULK_MODULUS, volume),
            FORMATION_ENERGY: answer(FORMATION_ENERGY, crystals.scale.to(volume.dtype)),
        }


class FractionSurrogate:
    """K is the fraction of carbon."""

    name = "fake-composition"
    level = Level.COMPOSITION
    elements = frozenset(ELEMENT_SYMBOLS)
    properties = (BULK_MODULUS,)

    def predict(
        self, compositions: CompositionBatch, properties: Sequence[Property]
    ) -> dict[Property, Prediction]:
        return {BULK_MODULUS: answer(BULK_MODULUS, compositions.fractions[:, element_index("C")])}


def crystal(symbol: str, a: float, n: int = 1) -> Structure:
    structure = Structure(Lattice.cubic(a), [symbol], [[0, 0, 0]])
    return structure if n == 1 else structure.make_supercell([n, 1, 1])


def test_one_record_per_structure_in_input_order(tmp_path: Path) -> None:
    structures = [crystal("Al", 4), crystal("He", 4), crystal("W", 3, 4), crystal("Ne", 4), crystal("C", 2)]
    (tmp_path / "broken.cif").write_text("data_x\n")
    records = predict(
        [*structures, tmp_path / "broken.cif"], ["WC", "Qq2", "C"], VolumeSurrogate(), FractionSurrogate()
    )
    assert [r["id"] for r in records] == [
        *(f"structure#{i}" for i in range(5)),
        "broken.cif",
        "WC",
        "Qq2",
        "C",
    ]
    keys = "id formula formula_display level model scale in_domain flags predictions"
    assert list(records[0]) == keys.split()
    assert records[0]["predictions"]["bulk_modulus_vrh"] == {
        "mean": pytest.approx(64),
        "std": 2.0,
        "lower": pytest.approx(61),
        "upper": pytest.approx(67),
        "unit": "GPa",
    }
    assert records[2]["predictions"]["bulk_modulus_vrh"]["mean"] == pytest.approx(108, rel=1e-4)
    assert records[1] == {
        "id": "structure#1",
        "file": "",
        "error": {"type": "UnsupportedElementError", "message": "fake was trained without He"},
    }
    assert records[3]["predictions"]["bulk_modulus_vrh"]["mean"] is None
    assert records[5]["error"]["type"] == "StructureError"
    assert records[6]["level"] == "composition"
    assert records[6]["predictions"]["bulk_modulus_vrh"]["mean"] == pytest.approx(0.5)
    assert records[7]["error"]["type"] == "UnsupportedElementError"
    assert all(json.loads(json.dumps(r, allow_nan=False)) == r for r in records)
    schemas = Path(inverse.__file__).parent / "inputs" / "schemas"
    for record in records:
        name = "error" if "error" in record else "predict"
        jsonschema.validate(record, json.loads((schemas / f"{name}.schema.json").read_text()))


def test_rows_are_answered_on_the_scale_of_their_source(tmp_path: Path) -> None:
    rows = [
        {
            "id": s,
            "source": s,
            "lattice": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
            "species": ["Al"],
            "frac_coords": [[0, 0, 0]],
        }
        for s in ("mp_matcalc_binary", "aflow_ael", "jarvis_optb88", "alex_hp_eos", "else")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records = predict([tmp_path / "rows.jsonl"], surrogate=VolumeSurrogate())
    assert [r["scale"] for r in records] == ["mp_pbe", "aflow_pbe", "jarvis_optb88", "alex_eos", "mp_pbe"]
    for record in records:
        assert SCALES[int(record["predictions"]["formation_energy_per_atom"]["mean"])] == record["scale"]
    forced = predict([tmp_path / "rows.jsonl"], surrogate=VolumeSurrogate(), scale="aflow_pbe")
    assert {r["scale"] for r in forced} == {"aflow_pbe"}
    with pytest.raises(UnknownNameError, match="aflow_pbe"):
        predict(scale="aflow")


def test_batches_shrink_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "WINDOW", 64)
    monkeypatch.setattr(prediction, "ATOMS_PER_BATCH", 256)
    fake = VolumeSurrogate(largest=100)
    structures = [crystal("Al", 3 + i / 100, 1 + i % 8) for i in range(200)]
    records = predict(structures, surrogate=fake)
    for structure, record in zip(structures, records, strict=True):
        assert record["predictions"]["bulk_modulus_vrh"]["mean"] == pytest.approx(structure.volume, rel=1e-4)
    assert max(fake.sizes) > 10


def test_missing_file_stops_before_anything_is_predicted() -> None:
    with pytest.raises(DataError, match="no such file"):
        iterate_predictions(["nowhere.cif", "no/folder"], surrogate=VolumeSurrogate())


def test_a_missing_file_among_others_is_an_error_in_its_place() -> None:
    records = predict([crystal("Al", 4), "no/nowhere.cif", crystal("Al", 3)], surrogate=VolumeSurrogate())
    assert [r["id"] for r in records] == ["structure#0", "nowhere.cif", "structure#2"]
    assert records[1]["file"] == "no/nowhere.cif"
    assert records[1]["error"]["type"] == "DataError"
    assert "no such file" in records[1]["error"]["message"]
    assert ["error" in r for r in records] == [False, True, False]
    beside = predict(["nowhere.cif"], ["C"], VolumeSurrogate(), FractionSurrogate())
    assert ["error" in r for r in beside] == [True, False]


def test_colliding_atoms_are_out_of_domain() -> None:
    """W and C 0.15 Å apart were answered with 238 GPa and no warning."""
    lattice = Lattice.cubic(4)
    apart = Structure(lattice, ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    touching = Structure(lattice, ["W", "C"], [[0, 0, 0], [0.15 / 4, 0, 0]])
    images = Structure(Lattice.orthorhombic(4, 4, 0.7), ["C"], [[0, 0, 0]])
    records = predict([apart, touching, images], surrogate=VolumeSurrogate())
    assert [r["in_domain"] for r in records] == [True, False, False]


def test_deuterium_in_a_crystal_is_hydrogen_and_said_so_in_a_formula_refused() -> None:
    """pymatgen's D has the symbol H: it was read as hydrogen without a word."""
    heavy = Structure(Lattice.cubic(3), ["W", "D"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    crystal, formula, plain = predict([heavy], ["WD", "C"], VolumeSurrogate(), FractionSurrogate())
    assert crystal["formula"] == "HW"
    assert crystal["flags"] == ["isotope: D (deuterium) read as H"]
    assert formula["error"]["type"] == "UnsupportedElementError"
    assert "isotope 'D'" in formula["error"]["message"]
    assert "write H" in formula["error"]["message"]
    assert plain["flags"] == []


def test_results_are_streamed() -> None:
    records = iterate_predictions((crystal("Al", 3) for _ in range(3)), surrogate=VolumeSurrogate())
    assert math.isclose(next(records)["predictions"]["bulk_modulus_vrh"]["mean"], 27, rel_tol=1e-5)


def test_a_model_is_a_folder_and_no_model_is_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the folder is called, in which a user keeps weights or crystals."""
    crystal = crystals()[0]
    (shipped,) = inverse.predict([crystal])
    save_checkpoint(tiny_surrogate().to_checkpoint(), tmp_path / "structure")
    (tmp_path / "accurate").mkdir()
    monkeypatch.chdir(tmp_path)
    named_surrogate._made.cache_clear()  # it would answer with what was opened before
    assert inverse.predict([crystal]) == [shipped]
    (own,) = inverse.predict([crystal], model="structure")
    assert own["predictions"]["bulk_modulus_vrh"] != shipped["predictions"]["bulk_modulus_vrh"]


class OfFormulas:
    """Says 2 of one property of any composition."""

    name, level, elements = "fake", Level.COMPOSITION, frozenset(ELEMENT_SYMBOLS)

    def __init__(self, prop: Property) -> None:
        self.properties = (prop,)

    def predict(self, batch: CompositionBatch, asked: Sequence[Property]) -> dict[Property, Prediction]:
        return {prop: answer(prop, 2 * torch.ones(len(batch.scale))) for prop in asked}


def test_a_gap_of_a_bare_formula_says_that_it_is_a_median() -> None:
    (gap,) = predict(formulas=["MgO"], composition_surrogate=OfFormulas(BAND_GAP))
    said = "polymorphs: band_gap is the median over those of the formula; give a structure"
    assert gap["flags"] == [said]
    own = OfFormulas(BAND_GAP)
    own.scale = "own_table"  # type: ignore[attr-defined]
    for surrogate in (OfFormulas(BULK_MODULUS), own):
        (other,) = predict(formulas=["MgO"], composition_surrogate=surrogate)
        assert other["flags"] == []
