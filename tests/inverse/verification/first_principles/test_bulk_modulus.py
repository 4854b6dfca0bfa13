import numpy as np
import pytest
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.inquiry import answered
from inverse.potentials.loading import Potential
from inverse.potentials.relaxation import Free, RelaxationSettings, relax, relaxing
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.bulk_modulus import (
    birch_murnaghan,
    bulk_modulus,
    centred,
    lowest_energy,
)
from inverse.verification.mechanics.stiffness import stiffness
from surrogates.physics.units import GPA_PER_EV_PER_A3

TIGHT = RelaxationSettings(force=1e-3, stress=0.01)
CRYSTALS = {
    "cubic": Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]]),
    "tetragonal": Structure.from_spacegroup(
        "P4/mmm", Lattice.tetragonal(2.8, 3.6), ["Cu", "Au"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ),
    "hexagonal": Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(2.7, 4.5), ["Pt"], [[1 / 3, 2 / 3, 0.25]]
    ),
    "free coordinates": Structure.from_spacegroup(
        "Pmmm",
        Lattice.orthorhombic(2.7, 2.8, 8.0),
        ["Au", "Cu", "Al"],
        [[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5]],
    ),
}


@pytest.fixture(scope="module")
def emt():
    return Potential("emt", EMT(), frozenset(["Cu", "Au", "Al", "Pt"]))


@pytest.mark.parametrize("name", CRYSTALS)
def test_voigt_and_reuss_agree_with_the_tensor(emt, name):
    """Two ways to one number: curvatures of energies and stresses of strained, displaced cells."""
    relaxed = relax(SymmetricCell.from_structure(CRYSTALS[name]), emt, TIGHT)
    found = answered(bulk_modulus(relaxed.cell, emt))
    tensor = stiffness(relaxed.cell, emt).relaxed
    voigt = tensor[:3, :3].sum() / 9.0
    reuss = 1.0 / np.linalg.inv(tensor)[:3, :3].sum()
    assert found.voigt == pytest.approx(voigt, rel=0.02)
    assert found.reuss == pytest.approx(reuss, rel=0.02)
    assert found.voigt - found.reuss == pytest.approx(voigt - reuss, abs=1.0)
    assert found.by_energy == pytest.approx(voigt, rel=0.012)
    assert found.by_stress == pytest.approx(voigt, rel=0.03)
    assert found.voigt == (found.by_energy + found.by_stress) / 2
    assert found.voigt >= found.reuss
    assert found.hill() == (found.voigt + found.reuss) / 2


def test_a_shape_that_cannot_be_computed_leaves_the_modulus_at_fixed_shape(emt):
    """The judge's K_V - K_R stands in, and all of it is in the error; without it there is no Hill mean."""
    relaxed = relax(SymmetricCell.from_structure(CRYSTALS["tetragonal"]), emt, TIGHT).cell
    whole = answered(bulk_modulus(relaxed, emt))
    shape = relaxed.lattice[2, 2] / relaxed.lattice[0, 0]
    inquiry = bulk_modulus(relaxed, emt)

    def answers(question):
        if any(abs(c.lattice[2, 2] / c.lattice[0, 0] - shape) > 1e-4 for c in question.cells):
            return inquiry.throw(CrystalFailureError("no convergence", Failure.NOT_CONVERGED))
        return inquiry.send(question.potential.evaluate_many(question.cells))

    def asked_to_the_end():
        question = next(inquiry)
        try:
            while True:
                question = answers(question)
        except StopIteration as done:
            return done.value

    found = asked_to_the_end()
    assert found.reuss is None
    assert found.why_no_reuss == "no convergence"
    assert not whole.why_no_reuss
    assert found.voigt == whole.voigt
    softening = whole.voigt - whole.reuss
    assert softening > 1.0
    assert found.hill(softening) == pytest.approx(whole.hill())
    assert found.error(softening) == pytest.approx(np.hypot(whole.fit_error, softening))
    assert whole.error(softening) == whole.fit_error
    assert np.isnan(found.hill())


def test_a_cell_off_its_volume_has_the_modulus_of_the_lowest_energy(emt):
    cell = relax(SymmetricCell.from_structure(CRYSTALS["cubic"]), emt, TIGHT).cell
    own = answered(bulk_modulus(cell, emt))
    off = answered(bulk_modulus(cell.moved(0.008 * np.eye(3)), emt))
    assert off.volume == pytest.approx(own.volume, rel=2e-3)
    assert off.voigt == pytest.approx(own.voigt, rel=0.02)


def test_the_fit_recovers_what_it_is_given():
    volume, modulus, slope = 20.0, 250.0, 4.3
    volumes = volume * np.array([0.94, 0.97, 1.0, 1.03, 1.06])
    x = (volume / volumes) ** (2 / 3)
    b = modulus / GPA_PER_EV_PER_A3
    energies = -8.0 + 9 * volume * b / 16 * ((x - 1) ** 3 * slope + (x - 1) ** 2 * (6 - 4 * x))
    fit = birch_murnaghan(volumes, energies)
    assert fit.volume == pytest.approx(volume, rel=1e-6)
    assert fit.modulus == pytest.approx(modulus, rel=1e-5)
    assert fit.energy == pytest.approx(-8.0, abs=1e-8)
    assert fit.error < 1e-3
    noisy = birch_murnaghan(volumes, energies + 1e-4 * np.array([1, -1, 1, -1, 1]))
    assert noisy.error > 0.5


def test_energies_without_a_minimum_are_refused():
    volumes = np.array([10.0, 10.5, 11.0, 11.5, 12.0])
    with pytest.raises(CrystalFailureError, match="no minimum among the volumes"):
        birch_murnaghan(volumes, -volumes)


def test_the_shape_relaxes_at_its_volume_and_ions_in_their_cell(emt):
    cell = relax(SymmetricCell.from_structure(CRYSTALS["free coordinates"]), emt, TIGHT).cell
    strained = cell.moved(np.diag([0.02, 0.0, 0.0]))
    shape = answered(relaxing(strained, emt, TIGHT, free=Free.SHAPE))
    assert shape.cell.volume == pytest.approx(strained.volume, rel=2e-3)
    assert shape.energy < emt.evaluate(strained.numbers, strained.lattice, strained.frac_coords).energy
    ions = answered(relaxing(strained, emt, TIGHT, free=Free.IONS))
    assert np.array_equal(ions.cell.lattice, strained.lattice)
    assert shape.energy < ions.energy


def test_what_is_left_of_the_gradient_is_what_is_still_to_be_gained(emt):
    cell = SymmetricCell.from_structure(CRYSTALS["free coordinates"])
    rough = relax(cell, emt, RelaxationSettings(force=0.1, stress=2.0))
    tight = relax(cell, emt, TIGHT)
    assert rough.remaining > 0
    assert abs(rough.energy - rough.remaining - tight.energy) < 0.35 * (rough.energy - tight.energy)


def test_the_lowest_energy_is_that_of_a_relaxed_cell_whatever_volume_it_begins_at(emt):
    relaxed = relax(SymmetricCell.from_structure(CRYSTALS["hexagonal"]), emt, TIGHT)
    for squeeze in (-0.008, 0.0, 0.01):
        energy, volume = answered(lowest_energy(relaxed.cell.moved(squeeze * np.eye(3)), emt))
        assert energy == pytest.approx(relaxed.energy, abs=2e-3)
        assert volume == pytest.approx(relaxed.cell.volume, rel=6e-3)
    for stretch in (-0.06, 0.08):
        cell, energy = answered(centred(relaxed.cell.moved(stretch * np.eye(3)), emt))
        assert cell.volume == pytest.approx(relaxed.cell.volume, rel=0.045)
        assert energy == pytest.approx(relaxed.energy, abs=0.01)
    with pytest.raises(CrystalFailureError, match="no minimum near"):
        answered(centred(relaxed.cell.moved(0.9 * np.eye(3)), emt))
