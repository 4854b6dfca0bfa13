"""Real records of the commands against the shipped schemas."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.commands.api import properties
from inverse.commands.cli import main
from inverse.inputs.structure_files import ReadStructure
from inverse.verification.answers import error_record, verification_record
from surrogates.errors import StructureError
from tests.inverse.report.fake_run import candidate


def validator(name: str) -> jsonschema.Draft202012Validator:
    text = files("inverse.inputs").joinpath(f"schemas/{name}.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


@pytest.mark.parametrize("k", [0, 1, 4, 5, 7])
def test_verify_lines(k: int) -> None:
    made = candidate(k, "verified")
    assert made.verification is not None
    record = verification_record(ReadStructure("a.cif", "a.cif", made.structure), made.verification)
    line = json.loads(json.dumps(record, allow_nan=False))
    validator("verify").validate(line)
    if made.verification.structure is not None:
        read = Structure.from_dict(line["structure"])
        assert read.composition == made.verification.structure.composition
    with pytest.raises(jsonschema.ValidationError, match="'novel' is not one of"):
        validator("verify").validate({**line, "hit_class": "novel"})


def test_a_line_without_hit_class_is_flagged() -> None:
    made = candidate(0, "verified")
    assert made.verification is not None

    def refuse(structure: Structure) -> None:
        raise StructureError("spglib finds no symmetry")

    line = verification_record(ReadStructure("a", "a", made.structure), made.verification, refuse)
    assert line["hit_class"] is None
    assert "unclassified" in line["flags"]


def test_lines_of_the_verify_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command itself writes of a crystal, a broken file and a missing one, by a fast potential."""
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    crystal.get_primitive_structure().to(str(tmp_path / "tic.cif"))
    (tmp_path / "broken.cif").write_text("data_x\n")
    names = [str(tmp_path / name) for name in ("tic.cif", "broken.cif", "gone.cif")]
    output = tmp_path / "out.jsonl"
    monkeypatch.setattr("inverse.verification.workers.default_workers", lambda: 1)
    potential = "tests.stand_in_potential:pairwise"
    assert main(["verify", *names, "--potential", potential, "--output", str(output)]) == 0
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["tic.cif", "broken.cif", "gone.cif"]
    validator("verify").validate(lines[0])
    assert lines[0]["converged"], lines[0]["reason"]
    assert lines[0]["potential"] == potential
    values = lines[0]["values"]
    assert values["bulk_modulus_vrh"]["mean"] > 0
    judged = {p["name"] for p in properties() if p["judge"]}
    assert judged - {"energy_above_hull", "formation_energy_per_atom"} <= set(values)
    assert values["density"]["mean"] == pytest.approx(float(crystal.density), rel=0.5)
    assert values["young_modulus_vrh"]["std"] > 0
    elasticity = lines[0]["elasticity"]
    assert np.shape(elasticity["stiffness_ieee"]) == (6, 6)
    assert "xx yy zz yz xz xy" in elasticity["convention"]
    assert elasticity["bulk"]["bulk_modulus_voigt"] > 0
    assert Structure.from_dict(lines[0]["structure"]).composition.reduced_formula == "TiC"
    for line in lines[1:]:
        validator("error").validate(line)


def test_error_lines() -> None:
    record = error_record(ReadStructure("a.cif", "a.cif", error=StructureError("no atoms")))
    validator("error").validate(record)
    assert record["error"] == {"type": "StructureError", "message": "no atoms"}


def test_predict_lines_of_formulas() -> None:
    from inverse.prediction.answers import iterate_predictions
    from surrogates.checkpoints.checkpoint import packaged_folder

    if not (packaged_folder("composition") / "weights.safetensors").exists():
        pytest.skip("no composition weights are packaged yet")
    lines = [json.loads(json.dumps(r, allow_nan=False)) for r in iterate_predictions(formulas=["WC", "Xx9"])]
    validator("predict").validate(lines[0])
    validator("error").validate(lines[1])


def test_properties_records() -> None:
    for record in properties():
        validator("properties").validate(json.loads(json.dumps(record)))
