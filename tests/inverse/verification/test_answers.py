import json
from dataclasses import replace

import pyarrow as pa
from pymatgen.core import Lattice, Structure

from inverse.commands.api import verify
from inverse.reference import KnownMaterials
from inverse.reference.familiarity import kinship
from inverse.verification import classification
from inverse.verification.panel import panel_named
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


def test_a_crystal_has_the_class_that_a_campaign_gives_it(tmp_path, monkeypatch):
    """End members known by formula only are relaxed by the energy judge in both."""
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr(classification, "corrected_potentials", lambda: (EMT,))
    monkeypatch.setattr(classification, "formation_energy", lambda structure, energy, potential: -5.0)
    known = KnownMaterials.packaged()
    bare = replace(known, formulas=pa.array(["Xe"]), texts=pa.array(["1|1 1 Xe"]))
    monkeypatch.setattr(KnownMaterials, "packaged", lambda: bare)
    classification.classifier_by_energy.cache_clear()
    try:
        lattice = Lattice.tetragonal(2.8, 7.4)
        places = [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]]
        crystal = Structure(lattice, ["Cu", "Au", "Cu", "Pt"], places)
        (record,) = verify(crystal, potential=EMT)
        campaigns = kinship(classification.classifier_by_energy(panel_named(EMT)), crystal)
    finally:
        classification.classifier_by_energy.cache_clear()
    assert record["derivative_of"] == campaigns.derivative_of == "CuAu3"
    assert record["hit_class"] == str(campaigns.hit_class)


def test_where_energies_stand_on_no_scale_signatures_alone_decide():
    assert classification.classifier_by_energy(panel_named(EMT)).relax_energy is None


def test_records_of_structures_and_files_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    good, broken = tmp_path / "cu3au.cif", tmp_path / "broken.cif"
    crystals.l1_2().to(str(good))
    broken.write_text("data_nothing\n")
    records = verify([crystals.fcc(), good, broken], potential=EMT)
    assert [r.get("formula") for r in records] == ["Cu", "Cu3Au", None]
    assert set(records[0]) >= FIELDS
    assert records[1]["file"] == str(good)
    assert records[2]["error"]["type"]
    value = records[1]["values"]["bulk_modulus_vrh"]
    assert set(value) == {"mean", "std", "lower", "upper", "raw", "potential", "unit"}
    assert records[1]["hit_class"] == "known"
    json.dumps(records, allow_nan=False)
