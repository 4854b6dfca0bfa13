import json
from dataclasses import replace

import pyarrow as pa
import pytest
from pymatgen.core import Lattice, Structure

from inverse.commands.api import verify
from inverse.reference import KnownMaterials
from inverse.reference.familiarity import kinship
from inverse.verification import classification
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from tests import crystals

EMT = "ase.calculators.emt:EMT"
STRONG = "tests.stand_in_potential:binds_strongly"
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


PLACES = [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]]
ORDERED = Structure(Lattice.tetragonal(2.8, 7.4), ["Cu", "Au", "Cu", "Pt"], PLACES)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """Formulas are known, signatures are not: an end member is one by energy only."""
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    known = KnownMaterials.packaged()
    bare = replace(known, formulas=pa.array(["Xe"]), texts=pa.array(["1|1 1 Xe"]))
    monkeypatch.setattr(KnownMaterials, "packaged", lambda: bare)
    classification.classifier_by_energy.cache_clear()
    yield
    classification.classifier_by_energy.cache_clear()


def test_a_crystal_has_the_class_that_a_campaign_gives_it(bare, monkeypatch):
    """End members known by formula only are relaxed by the energy judge in both."""
    monkeypatch.setattr(classification, "is_code_of_others", lambda potential: False)
    monkeypatch.setattr(classification, "has_scale", lambda potential: True)
    monkeypatch.setattr(classification, "formation_energy", lambda structure, energy, potential: -5.0)
    (record,) = verify(ORDERED, potential=EMT)
    campaigns = kinship(classification.classifier_by_energy(panel_named(EMT)), ORDERED)
    assert record["derivative_of"] == campaigns.derivative_of == "CuAu3"
    assert record["hit_class"] == str(campaigns.hit_class)


def test_a_potential_of_others_relaxes_end_members_where_it_brings_its_element_energies(bare, monkeypatch):
    """Its code runs in a worker, never here."""
    monkeypatch.setattr(classification, "Judge", None)
    classifier = classification.classifier_by_energy(panel_named(STRONG))
    assert classifier.derivative_of(crystals.l1_2()) == ("Au", True)


def test_where_energies_stand_on_no_scale_signatures_alone_decide(bare, monkeypatch):
    opened = []
    monkeypatch.setattr(classification, "open_pool", lambda *given: opened.append(given) or open_pool(*given))
    assert classification.classifier_by_energy(panel_named(EMT)).derivative_of(crystals.l1_2()) == ("", False)
    assert len(opened) == 1  # it said once that it has none


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
