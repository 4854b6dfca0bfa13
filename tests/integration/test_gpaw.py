"""Density functional theory itself, where a GPAW is found: diamond's bulk modulus in PBE."""

import pytest
from pymatgen.core import Lattice, Structure

from inverse.potentials.dft import DftProtocol, code_named
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.bulk_modulus import bulk_modulus
from inverse.verification.first_principles.pool import CalculationPool
from inverse.verification.first_principles.setting import Setting
from surrogates.errors import MissingExtraError


@pytest.fixture(scope="module")
def code():
    try:
        return code_named("gpaw")
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_diamond_has_the_bulk_modulus_of_pbe(code):
    """434 GPa in Materials Project (PBE, VASP)."""
    assert {"C", "W", "B", "N"} <= code.elements
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.573), ["C"], [[0, 0, 0]])
    cell = SymmetricCell.from_structure(diamond)
    setting = Setting(code, DftProtocol(cutoff=500.0, spacing=0.35))
    pool = CalculationPool(code)
    try:
        ((_, found),) = pool.answered([bulk_modulus(cell, setting.potential(cell))])
    finally:
        pool.close()
    assert found.hill() == pytest.approx(434.0, rel=0.02)
    assert found.by_energy == pytest.approx(found.by_stress, rel=0.02)
    assert found.volume / 2 == pytest.approx(5.70, rel=0.01)


def test_an_element_without_a_data_set_is_named(code):
    from inverse.verification.first_principles.crystal import check_elements
    from surrogates.errors import VerificationError

    lanthanum = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), ["La"], [[0, 0, 0]])
    if "La" in code.elements:
        pytest.skip("this installation has lanthanum")
    with pytest.raises(VerificationError, match="no data set of La"):
        check_elements(SymmetricCell.from_structure(lanthanum), Setting(code))
