"""Real records of the commands against the shipped schemas."""

import json
from importlib.resources import files

import jsonschema
import pytest
from pymatgen.core import Structure

from inverse.reading import ReadStructure
from inverse.verification.answers import error_record, verification_record
from surrogates.errors import StructureError
from tests.report.fake_run import candidate


def validator(name: str) -> jsonschema.Draft202012Validator:
    text = files("inverse").joinpath(f"schemas/{name}.schema.json").read_text()
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
    with pytest.raises(jsonschema.ValidationError):
        validator("verify").validate({**line, "hit_class": "novel"})


def test_a_line_without_hit_class_is_flagged() -> None:
    made = candidate(0, "verified")
    assert made.verification is not None

    def refuse(structure: Structure) -> None:
        raise StructureError("spglib finds no symmetry")

    line = verification_record(ReadStructure("a", "a", made.structure), made.verification, refuse)
    assert line["hit_class"] is None
    assert "unclassified" in line["flags"]


def test_error_lines() -> None:
    record = error_record(ReadStructure("a.cif", "a.cif", error=StructureError("no atoms")))
    validator("error").validate(record)
    assert record["error"] == {"type": "StructureError", "message": "no atoms"}


def test_predict_lines_of_formulas() -> None:
    from inverse.prediction import iterate_predictions
    from surrogates.checkpoint import packaged_folder

    if not (packaged_folder("composition") / "weights.safetensors").exists():
        pytest.skip("no composition weights are packaged yet")
    lines = [json.loads(json.dumps(r, allow_nan=False)) for r in iterate_predictions(formulas=["WC", "Xx9"])]
    validator("predict").validate(lines[0])
    validator("error").validate(lines[1])


def test_properties_records() -> None:
    from inverse.api import properties

    for record in properties():
        validator("properties").validate(json.loads(json.dumps(record)))
