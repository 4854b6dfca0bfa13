import json

import pytest
from pymatgen.core import Lattice, Structure

from inverse.verification.calibration import energy_correction
from inverse.verification.calibration.energy_correction import (
    ANION_CORRECTIONS,
    OXYGEN_CORRECTIONS,
    anion_corrections,
    correction_features,
    formation_energy,
    formation_energy_error,
    has_scale,
    supported_elements,
)
from inverse.verification.opening import open_here
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.errors import ConfigError, UnknownNameError, UnsupportedElementError, VerificationError
from tests import crystals, stand_in_potential

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
    assert all(map(has_scale, ("7net-l3i5", "7net-0", "chgnet")))
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


def cell(group, lattice, species, coords):
    return Structure.from_spacegroup(group, lattice, species, coords)


def peroxide():
    """Lithium peroxide: O-O 1.55 Å along c."""
    coords = [[0, 0, 0], [1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.649]]
    return cell("P6_3/mmc", Lattice.hexagonal(3.16, 7.71), ["Li", "Li", "O"], coords)


def superoxide():
    """Potassium superoxide: O-O 1.28 Å along c."""
    return cell("I4/mmm", Lattice.tetragonal(4.03, 6.70), ["K", "O"], [[0, 0, 0], [0, 0, 0.4045]])


def solid_oxygen():
    return Structure(Lattice.orthorhombic(4.0, 4.0, 4.0), ["O", "O"], [[0, 0, 0.35], [0, 0, 0.655]])


ROCK = [[0, 0, 0], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("structure", "corrections"),
    [
        (cell("Fm-3m", Lattice.cubic(4.21), ["Mg", "O"], ROCK), {"O": -0.687}),
        (peroxide(), {"O": -0.465}),
        (superoxide(), {"O": -0.161}),
        (solid_oxygen(), {}),
        (cell("Fm-3m", Lattice.cubic(5.0), ["Ca", "S"], ROCK), {"S": -0.503}),
        (cell("Fm-3m", Lattice.cubic(4.24), ["Ti", "N"], ROCK), {"N": -0.361}),
    ],
)
def test_oxygen_is_corrected_by_its_bonds_and_elements_not_at_all(structure, corrections):
    assert anion_corrections(structure) == corrections
    assert anion_corrections(structure * (2, 1, 1)) == corrections


def test_anions_beside_others_are_corrected_and_cations_are_not():
    oxynitride = Structure(Lattice.cubic(4.5), ["Ta", "O", "N"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0.5]])
    assert anion_corrections(oxynitride) == {"O": -0.687, "N": -0.361}
    perchlorate = Structure(
        Lattice.cubic(5.2),
        ["K", "Cl", "O", "O", "O", "O"],
        [[0, 0, 0], [0.5, 0.5, 0.5]] + [[0.5 + 0.16 * x for x in corner] for corner in CORNERS],
    )
    assert anion_corrections(perchlorate) == {"O": -0.687}
    sulfate = perchlorate.copy()
    sulfate.replace_species({"K": "Ba", "Cl": "S"})
    assert anion_corrections(sulfate) == {"O": -0.687, "S": -0.503}


CORNERS = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]


def test_the_corrections_are_those_of_mp2020():
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    theirs = MaterialsProject2020Compatibility().comp_correction
    for name, ours in {**ANION_CORRECTIONS, **OXYGEN_CORRECTIONS}.items():
        assert ours == theirs[{"hydroxide": "oxide"}.get(name, name)], name


@pytest.mark.parametrize(
    ("structure", "energy", "formation"),
    [
        # relaxed by 7net-l3i5; measured: KO2 -283 kJ/mol, Li2O2 -634 kJ/mol
        (superoxide(), -4.53984, pytest.approx(-0.98, abs=0.02)),
        (peroxide(), -4.83834, pytest.approx(-1.65, abs=0.02)),
        (solid_oxygen(), -4.91551, pytest.approx(0.0, abs=0.05)),
    ],
)
def test_oxygen_of_every_kind_has_its_measured_formation_energy(structure, energy, formation):
    assert formation_energy(structure, energy * len(structure), "7net-l3i5") == formation


def test_labels_that_carry_the_corrections_get_none():
    """chgnet learned corrected energies: what an oxide has, it has; a peroxide is no further off."""
    corrected = formation_energy(peroxide(), -8 * 4.6, "chgnet")
    plain = formation_energy(cell("Fm-3m", Lattice.cubic(4.6), ["Li", "O"], ROCK), -8 * 4.6, "chgnet")
    assert corrected == pytest.approx(plain)


@pytest.mark.parametrize(
    ("symbol", "dft"), [("O", -4.948), ("S", -4.136), ("Cl", -1.849), ("N", -8.337), ("Se", -3.496)]
)
def test_an_element_in_its_own_state_has_nothing_to_form(symbol, dft):
    """PBE energies of the ground states (Materials Project), eV/atom; the potentials learned that scale."""
    alone = Structure(Lattice.cubic(6), [symbol], [[0, 0, 0]])
    for potential in ("7net-l3i5", "7net-0"):
        assert formation_energy(alone, dft, potential) == pytest.approx(0.0, abs=0.04)


SCALED = "tests.stand_in_potential:with_a_scale"


def test_a_potential_of_others_is_taken_by_its_word():
    """It says its element energies, so its crystals have a formation energy and a place above the hull."""
    structure = crystals.fcc("Al", 4.04)
    assert has_scale(SCALED)
    assert formation_energy(structure, -2.9 * len(structure), SCALED) == pytest.approx(
        -2.9 - stand_in_potential.ALUMINIUM
    )
    assert formation_energy_error(SCALED) == 0.03
    with pytest.raises(UnsupportedElementError, match=r"W has no reference energy .* 2 elements have"):
        formation_energy(crystals.fcc("W", 4.0), -9.0, SCALED)


def test_without_element_energies_there_is_no_scale():
    plain = "tests.stand_in_potential:pairwise"
    assert not has_scale(plain)
    with pytest.raises(UnknownNameError, match="unknown potential with element energies"):
        formation_energy(crystals.fcc("Al", 4.04), -3.0, plain)
    with pytest.raises(ConfigError, match=r"with_a_bad_scale has the element energy 'Al2': -3\.0; give"):
        has_scale("tests.stand_in_potential:with_a_bad_scale")


def test_the_verdict_of_such_a_potential_has_a_hull():
    verdict = open_here(VerificationPlan(panel_named(SCALED), store="")).verify_one(crystals.fcc("Al", 3.7))
    assert verdict.converged, verdict.reason
    above = verdict.values["energy_above_hull"]
    formation = verdict.values["formation_energy_per_atom"]
    assert (above.std, above.potential) == (0.03, SCALED)
    assert above.mean == pytest.approx(formation.mean, abs=1e-4)  # nothing lies below the element
    assert "no_energy" not in verdict.flags
