import pytest
from pymatgen.core import Composition, Lattice, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.verification.first_principles.reaction import Phase, check_functional, correction, energy_above

MGO = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.25), ["Mg", "O"], [[0, 0, 0], [0.5, 0, 0]])
TIN = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.25), ["Ti", "N"], [[0, 0, 0], [0.5, 0, 0]])
TI = Structure(Lattice.cubic(2.8), ["Ti"], [[0, 0, 0]])


def test_anions_are_corrected_as_the_reference_does():
    """Wang et al. 2021: -0.687 eV per O of an oxide, -0.361 per N; elements are left alone."""
    assert correction(MGO, -6.0) == pytest.approx(-0.687 / 2, abs=1e-3)
    assert correction(TIN, -9.0) == pytest.approx(-0.361 / 2, abs=1e-3)
    assert correction(TI, -7.8) == 0.0


def test_the_distance_is_that_of_a_balanced_reaction():
    competitors = {"Ti": Phase(TI, -7.8), "MgO": Phase(MGO, -6.0)}
    phase = Phase(TI, -7.7)
    assert energy_above(phase, {"Ti": competitors["Ti"]}, {"Ti": 1.0}) == pytest.approx(0.1)
    mixed = energy_above(phase, competitors, {"Ti": 0.5, "MgO": 0.5})
    assert mixed == pytest.approx(-7.7 + 3.9 + 0.5 * (6.0 + 0.3435), abs=1e-3)


@pytest.mark.parametrize("formula", ["Fe2O3", "WO3", "NiF2", "LiCoO2"])
def test_what_the_reference_computes_with_u_is_refused_by_name(formula):
    with pytest.raises(CrystalFailureError, match=r"with .*: the reference uses \+U"):
        check_functional(Composition(formula))


@pytest.mark.parametrize("formula", ["MgO", "TiO2", "Fe2B", "WC", "CrN"])
def test_all_else_has_a_distance(formula):
    check_functional(Composition(formula))
