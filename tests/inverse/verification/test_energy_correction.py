import json

import pytest
from pymatgen.core import Lattice, Structure

from inverse.verification import energy_correction
from inverse.verification.energy_correction import (
    corrected_potentials,
    correction_features,
    formation_energy,
    formation_energy_error,
    supported_elements,
)
from surrogates.errors import UnknownNameError, UnsupportedElementError, VerificationError

ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def coefficients(potential: str) -> dict[str, float]:
    return json.loads(energy_correction._FILE.read_text())["potentials"][potential]["coefficients"]


def test_formation_energy_is_energy_minus_elements_and_independent_of_cell_size():
    reference = coefficients("7net-l3i5")
    per_atom = 0.5 * (reference["Ti"] + reference["C"])
    energy = 8 * (per_atom - 0.8)
    assert formation_energy(ROCK_SALT, energy, "7net-l3i5") == pytest.approx(-0.8)
    assert formation_energy(ROCK_SALT * (1, 1, 2), 2 * energy, "7net-l3i5") == pytest.approx(-0.8)


def test_oxidation_states_change_nothing():
    charged = ROCK_SALT.copy()
    charged.add_oxidation_state_by_element({"Ti": 4, "C": -4})
    assert formation_energy(charged, -70.0, "7net-l3i5") == formation_energy(ROCK_SALT, -70.0, "7net-l3i5")


def test_metal_terms_only_in_oxides_and_fluorides():
    assert "Fe with O" in correction_features({"Fe": 1, "O": 1})
    assert "Fe with O" not in correction_features({"Fe": 1, "O": 1, "F": 3})
    assert correction_features({"Fe": 1, "Al": 1}) == {"Fe": 0.5, "Al": 0.5}


def test_the_fit_is_as_good_as_stated_where_the_search_lives():
    figures = json.loads(energy_correction._FILE.read_text())["potentials"]["7net-l3i5"]["cross_validation"]
    assert figures["mae"] <= 0.056
    assert figures["median_abs"] <= 0.024
    assert abs(figures["bias_borides_carbides_nitrides"]) < 0.01


def test_the_expected_potentials_and_elements_are_there():
    assert set(corrected_potentials()) >= {"7net-l3i5", "7net-0", "chgnet"}
    assert {"W", "B", "C", "N", "O", "Ti"} <= supported_elements("7net-l3i5")
    assert 0.02 < formation_energy_error("7net-l3i5") < 0.1


def test_an_element_without_reference_is_named():
    xenon = Structure(Lattice.cubic(6), ["Xe", "W"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(UnsupportedElementError, match="Xe has no reference energy for 7net-l3i5"):
        formation_energy(xenon, -1.0, "7net-l3i5")


def test_an_unknown_potential_and_a_broken_energy_are_named():
    with pytest.raises(UnknownNameError, match="did you mean 'chgnet'"):
        formation_energy(ROCK_SALT, -1.0, "chgnett")
    with pytest.raises(VerificationError, match="nan"):
        formation_energy(ROCK_SALT, float("nan"), "chgnet")
