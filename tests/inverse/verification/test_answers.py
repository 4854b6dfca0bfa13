import json

from inverse.verification import verify_structures
from tests import crystals

EMT = "ase.calculators.emt:EMT"
FIELDS = {
    "id",
    "file",
    "formula",
    "converged",
    "reason",
    "potential",
    "values",
    "hit_class",
    "derivative_of",
    "nearest_known",
    "ladder",
    "structure",
}


def test_records_of_structures_and_files_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    good, broken = tmp_path / "cu3au.cif", tmp_path / "broken.cif"
    crystals.l1_2().to(str(good))
    broken.write_text("data_nothing\n")
    records = verify_structures([crystals.fcc(), good, broken], potential=EMT)
    assert [r.get("formula") for r in records] == ["Cu", "Cu3Au", None]
    assert set(records[0]) >= FIELDS
    assert records[1]["file"] == str(good)
    assert records[2]["error"]["type"]
    value = records[1]["values"]["bulk_modulus_vrh"]
    assert set(value) == {"mean", "std", "lower", "upper", "raw", "potential", "unit"}
    assert records[1]["hit_class"] == "known"
    json.dumps(records, allow_nan=False)
