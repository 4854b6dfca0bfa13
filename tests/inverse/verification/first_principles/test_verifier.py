"""A DFT code as a verifier, by a stand-in: what `inverse confirm` says of a candidate, of any crystal."""

import dataclasses
import json
import sys

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from inverse.commands import api
from inverse.commands.cli import main
from inverse.inputs.records import verification_from_record, verification_to_record
from inverse.potentials.dft import DftCalculator, Limits, code_named
from inverse.potentials.dft import code as codes
from inverse.potentials.loading import available_potentials, check_potential, potential_version
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.potentials.traits import traits_of
from inverse.reference.known_structures import known_structures
from inverse.verification import classification
from inverse.verification.first_principles import competitors
from inverse.verification.first_principles.candidate import COMPUTED, asked, confirmation, findings
from inverse.verification.first_principles.pool import CalculationPool
from inverse.verification.first_principles.setting import Setting
from inverse.verification.first_principles.verifier import Asking, FirstPrinciplesVerifier
from inverse.verification.panel import panel_named
from inverse.verification.store import VerificationStore, canonical_structure
from surrogates.errors import ConfigError, MissingExtraError
from surrogates.physics.properties import PROPERTIES
from tests.contracts.verifier_contract import VerifierContract
from tests.inverse.report.test_schemas import validator

K, G, HULL = "bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]])
WC = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


class TestFirstPrinciples(VerifierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def verifier(cls):
        code = code_named("tests.stand_in_dft:pairwise", sys.executable)
        found = FirstPrinciplesVerifier(Asking(code, COMPUTED), known_structures)
        yield found
        found.close()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Whoever asks for gpaw is answered by Morse pairs, and the judges relax nothing."""
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    pairs = code_named("tests.stand_in_dft:pairwise", sys.executable)
    monkeypatch.setattr(codes, "_found", lambda name, python: pairs)
    monkeypatch.setattr(competitors.Competitors, "relaxed", lambda self, structure: structure)
    monkeypatch.setattr(classification, "has_scale", lambda potential: False)
    classification.classifier_by_energy.cache_clear()
    yield pairs
    classification.classifier_by_energy.cache_clear()


@pytest.fixture
def nowhere(monkeypatch):
    codes._found.cache_clear()
    monkeypatch.setattr(codes, "SYSTEM_PYTHON", "/no/python")
    monkeypatch.setattr(codes.importlib.util, "find_spec", lambda name: None)
    yield
    codes._found.cache_clear()


def test_modulus_energy_and_hull_of_files_by_name(stand_in, tmp_path, capsys):
    WC.to(filename=str(tmp_path / "WC.cif"))
    assert main(["verify", str(tmp_path / "WC.cif"), "--potential", "gpaw"]) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    validator("verify").validate(record)
    assert record["potential"] == stand_in.name
    assert {K, HULL} <= set(record["values"])
    assert G not in record["values"]
    how = record["first_principles"]
    moduli = how["bulk_modulus"]
    assert record["values"][K]["mean"] == pytest.approx((moduli["voigt"] + moduli["reuss"]) / 2, abs=0.01)
    assert moduli["voigt"] >= moduli["reuss"]
    assert how["energy_per_atom"] < 0
    assert record["hit_class"] == "known"
    assert record["converged"]
    assert [s["name"] for s in record["ladder"] if s["passed"]] == ["relaxed", "bulk modulus", "hull"]
    assert "C4W4" not in shown.err
    assert "k-points" in shown.err


def test_it_says_what_confirm_says(stand_in):
    """One path: the same inquiries, remembered between both."""
    (record,) = api.verify([WC], "gpaw")
    store = VerificationStore()
    n = len(store)
    setting = Setting(stand_in, memory=store)
    one = asked("c1", canonical_structure(WC), setting, known_structures)
    pool = CalculationPool(stand_in)
    try:
        (found,) = findings([one], COMPUTED[:2], pool)
    finally:
        pool.close()
    said = confirmation(found, Objective([Target(PROPERTIES[K], minimum=300.0)]))
    for name in (K, HULL):
        assert said.values[name].mean == record["values"][name]["mean"]
        assert said.values[name].std == record["values"][name]["std"]
    assert said.details["bulk_modulus"] == record["first_principles"]["bulk_modulus"]
    assert len(store) == n, "nothing was calculated again"


def test_the_tensor_on_request(stand_in):
    (record,) = api.verify([WC], "gpaw", properties=[K, G])
    assert {K, G, "young_modulus_vrh"} <= set(record["values"])
    assert HULL not in record["values"]
    assert np.shape(record["first_principles"]["stiffness"]) == (6, 6)
    assert record["is_stable"] is True


def test_what_has_no_distance_has_the_rest_and_says_why(stand_in):
    verifier = FirstPrinciplesVerifier(Asking(stand_in, COMPUTED[:2]), lambda formula: ())
    try:
        (verdict,) = verifier.verify([COPPER])
    finally:
        verifier.close()
    assert set(verdict.values) == {K}
    assert verdict.converged
    assert verdict.flags == ("no_hull: Cu, which it competes with: no structure is carried",)
    assert next(s for s in verdict.ladder if s.name == "hull").passed is None


def test_what_the_reference_computes_with_u_is_named_before_anything_is_calculated(stand_in):
    oxide = Structure.from_spacegroup(225, Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = asked("c1", oxide, Setting(stand_in), known_structures)
    assert found.why_no_hull.startswith("O with Ni: the reference uses +U")
    assert not found.shares


def test_an_element_without_a_data_set_is_named(stand_in, monkeypatch):
    light = dataclasses.replace(stand_in, elements=frozenset({"Cu"}))
    monkeypatch.setattr(codes, "_found", lambda name, python: light)
    first, second = api.verify([WC, COPPER], "gpaw", properties=[K])
    assert not first["converged"]
    assert "no data set of C, W" in first["reason"]
    assert first["failure"] == "unknown_element"
    assert second["converged"]


def test_a_missing_code_is_one_line_that_says_how_to_get_it(nowhere, tmp_path, capsys):
    COPPER.to(filename=str(tmp_path / "Cu.cif"))
    assert main(["verify", str(tmp_path / "Cu.cif"), "--potential", "gpaw"]) == 2
    shown = capsys.readouterr()
    assert "apt-get install gpaw gpaw-data" in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""
    with pytest.raises(MissingExtraError, match="apt-get install gpaw"):
        check_potential("gpaw")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--potential", "gpwa"], "did you mean 'gpaw'"),
        (["--potential", "gpaw", "--properties", "bulk_modulus"], "bulk_modulus_vrh"),
        (["--potential", "gpaw", "--referee"], "asked alone"),
        (["--potential", "gpaw", "--also", "density"], "asked alone"),
        (["--properties", K], "--potential gpaw"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(stand_in, tmp_path, arguments, said, capsys):
    COPPER.to(filename=str(tmp_path / "Cu.cif"))
    assert main(["verify", str(tmp_path / "Cu.cif"), *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1


def test_it_is_a_potential_of_another_interpreter(stand_in):
    assert traits_of("gpaw").is_first_principles
    assert "gpaw" not in available_potentials(), "nobody is made to start an interpreter to list the judges"
    assert potential_version("gpaw") == f"{stand_in.name} 7"


def test_it_judges_no_campaign():
    with pytest.raises(ConfigError, match=r"verify\.confirm takes the best of one to it"):
        panel_named("gpaw")


def test_what_is_asked_afresh_is_written_all_the_same(stand_in, tmp_path, monkeypatch):
    counted = tmp_path / "counted"
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(counted))

    def n_calculations():
        return len(counted.read_text().splitlines())

    api.verify([COPPER], "gpaw", properties=[K], reuse=False)
    first = n_calculations()
    assert first > 0
    api.verify([COPPER], "gpaw", properties=[K])
    assert n_calculations() == first, "written, though it was not asked"
    api.verify([COPPER], "gpaw", properties=[K], reuse=False)
    assert n_calculations() == 2 * first


def test_records_keep_how_it_was_computed(stand_in):
    found = FirstPrinciplesVerifier(Asking(stand_in, COMPUTED[:1], limits=Limits(60.0)), known_structures)
    try:
        (verdict,) = found.verify([COPPER])
    finally:
        found.close()
    record = json.loads(json.dumps(verification_to_record(verdict)))
    assert verification_from_record(record).first_principles == record["first_principles"]


def test_each_set_of_atoms_has_its_own_mesh(stand_in):
    calculator = DftCalculator(stand_in)
    first, second = (SymmetricCell.from_structure(s) for s in (COPPER, WC))
    meshes = [calculator.request(c)["settings"]["mesh"] for c in (first, second, first)]
    assert meshes[0] == meshes[2] != meshes[1]
    strained = first.moved(np.diag([0.01, 0.0, 0.0]))
    assert calculator.request(strained)["settings"]["mesh"] == meshes[0]


def test_a_modulus_at_fixed_shape_alone_is_no_modulus_and_says_so(stand_in):
    """Without a judge's tensor nothing says how far below K_V the crystal is."""
    one = asked("c1", canonical_structure(WC), Setting(stand_in), None)
    pool = CalculationPool(stand_in)
    try:
        (whole,) = findings([one], COMPUTED[:1], pool)
    finally:
        pool.close()
    assert not whole.why_no_bulk
    bulk = dataclasses.replace(whole.crystal.bulk, reuss=None, why_no_reuss="no convergence")
    fixed = dataclasses.replace(whole, crystal=dataclasses.replace(whole.crystal, bulk=bulk), values={})
    said = confirmation(fixed, Objective([Target(PROPERTIES[K], minimum=300.0)]))
    assert K not in said.values
    assert f"{bulk.voigt:.0f} GPa at fixed shape" in said.reason
    assert said.reason.endswith("no convergence")
