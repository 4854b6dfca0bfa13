import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.batches import SinglePoint
from inverse.potentials.loading import Potential, load_potential
from inverse.potentials.relaxation import RelaxationSettings, relax
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.mechanics.stiffness import (
    VOIGT_OF_MANDEL,
    StiffnessSettings,
    bulk_only,
    coupled_modes,
    impossibility,
    stiffness,
)
from surrogates.errors import VerificationError
from surrogates.physics import elasticity
from tests import crystals
from tests.inverse.verification.brute_force import brute_force_stiffness

EMT = "ase.calculators.emt:EMT"
MORSE = "tests.stand_in_potential:pairwise"
TIGHT = RelaxationSettings(force=1e-4, stress=1e-3)


def relaxed(structure, potential):
    cell = relax(SymmetricCell.from_structure(structure), potential, TIGHT).cell
    return SymmetricCell.from_structure(cell.to_structure())


def moduli(tensor):
    tensor = torch.as_tensor(np.array(tensor))[None]
    return float(elasticity.hill_bulk_modulus(tensor)), float(elasticity.hill_shear_modulus(tensor))


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        (EMT, crystals.hcp("Cu")),
        (EMT, crystals.l1_2("Cu", "Au")),
        (MORSE, crystals.low_symmetry()),
    ],
)
def test_the_formula_agrees_with_relaxing_every_strained_cell(name, structure):
    potential = load_potential(name)
    cell = relaxed(structure, potential)
    ours = stiffness(cell, potential)
    theirs = brute_force_stiffness(cell.to_structure(), potential.calculator, relax_ions=True)
    clamped = brute_force_stiffness(cell.to_structure(), potential.calculator, relax_ions=False)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours.clamped, clamped, atol=0.005 * scale)
    np.testing.assert_allclose(ours.relaxed, theirs, atol=0.01 * scale)
    assert ours.is_stable
    assert (ours.bulk_modulus, ours.shear_modulus) == pytest.approx(moduli(theirs), rel=0.01)


def test_internal_strain_softens_what_it_should():
    potential = load_potential(MORSE)
    result = stiffness(relaxed(crystals.low_symmetry(), potential), potential)
    softening = np.linalg.eigvalsh(result.clamped - result.relaxed)
    assert softening.min() > -1e-2
    assert softening.max() > 1.0


def test_bulk_alone_is_the_bulk_modulus_of_the_whole_tensor():
    potential = load_potential(MORSE)
    for structure in (crystals.low_symmetry(), crystals.fcc("Al", 3.5)):
        cell = relaxed(structure, potential)
        whole, alone = (
            stiffness(cell, potential, settings)
            for settings in (StiffnessSettings(), bulk_only(StiffnessSettings()))
        )
        assert alone.bulk_modulus == pytest.approx(whole.bulk_modulus, rel=0.01)
        assert np.isnan(alone.shear_modulus)
        assert alone.n_evaluations <= whole.n_evaluations
        assert alone.n_evaluations < stiffness(cell, replace(potential, is_kinked=True)).n_evaluations


def test_the_frame_does_not_matter_to_the_moduli():
    potential = load_potential(MORSE)
    structure = crystals.low_symmetry()
    turned = structure.copy()
    turned.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 1]], to_unit_cell=False)
    results = [stiffness(relaxed(s, potential), potential) for s in (structure, turned)]
    assert results[0].bulk_modulus == pytest.approx(results[1].bulk_modulus, rel=1e-3)
    assert results[0].shear_modulus == pytest.approx(results[1].shear_modulus, rel=1e-3)


def test_symmetry_keeps_the_number_of_cells_small():
    potential = load_potential(EMT)
    once = StiffnessSettings(repeat_factor=0.0)
    assert stiffness(relaxed(crystals.fcc(), potential), potential, once).n_evaluations == 2
    assert stiffness(relaxed(crystals.hcp(), potential), potential, once).n_evaluations <= 6


def test_rock_salt_has_no_mode_that_couples_to_strain():
    cell = SymmetricCell.from_structure(rock_salt())
    assert len(coupled_modes(cell, np.eye(6))) == 0
    assert len(coupled_modes(SymmetricCell.from_structure(crystals.diamond()), np.eye(6))) == 3


def rock_salt():
    from pymatgen.core import Lattice, Structure

    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])


class Harmonic(Potential):
    """A potential with a stiffness, an optical spring, a coupling and kinks of both of our choice."""

    def __init__(self, tensor, spring, cell, quadratic=0.0, coupling=0.0, kinks=(0.0, 0.0), is_kinked=False):
        super().__init__("harmonic", None, frozenset(["C"]), is_kinked=is_kinked)
        vars(self).update(tensor=tensor, spring=spring, start=cell, quadratic=quadratic)
        vars(self).update(coupling=coupling, kinks=kinks)

    def evaluate(self, numbers, lattice, frac_coords):
        strain = np.linalg.solve(self.start.lattice, lattice) - np.eye(3)
        trace = np.trace(strain)
        stress = self.tensor * (1 + self.quadratic * trace**2) * strain + self.kinks[0] * signs(strain)
        shift = (frac_coords - self.start.frac_coords) @ self.start.lattice
        shift -= shift.mean(axis=0)
        forces = -self.spring * shift - self.kinks[1] * signs(shift)
        # what a shear of two axes does to the two atoms along the third, as in diamond
        pull = self.coupling * np.array([strain[1, 2], strain[0, 2], strain[0, 1]])
        forces += np.outer([1, -1], pull) if len(forces) == 2 else 0.0
        return SinglePoint(0.0, forces, 0.5 * (stress + stress.T))


def signs(values):
    return np.where(np.abs(values) > 1e-6, np.sign(values), 0.0)


def test_a_negative_coupled_mode_is_unstable_not_a_number():
    cell = SymmetricCell.from_structure(crystals.diamond())
    result = stiffness(cell, Harmonic(1.0, -1.0, cell))
    assert not result.is_stable
    assert "unstable_mode" in result.flags
    assert np.isnan(result.bulk_modulus)
    assert result.lowest_mode == pytest.approx(-1.0, rel=0.01)


@pytest.mark.parametrize("spring", [-1.0, -0.3, -0.03, 0.01])
def test_a_mode_that_does_not_resist_never_stiffens(spring):
    """Dividing by its sign would have the ions resist the strain."""
    cell = SymmetricCell.from_structure(crystals.diamond())
    result = stiffness(cell, Harmonic(1.0, spring, cell, coupling=0.5))
    np.testing.assert_allclose(result.relaxed, result.clamped, atol=1e-9)
    assert result.is_stable == (spring > 0)


def test_a_kink_in_stress_and_forces_leaves_no_trace():
    cell = SymmetricCell.from_structure(crystals.diamond())
    smooth = stiffness(cell, Harmonic(1.0, 2.0, cell, coupling=2.0))
    kinked = Harmonic(1.0, 2.0, cell, coupling=2.0, kinks=(-0.002, -0.05), is_kinked=True)
    as_it_is = stiffness(cell, replace_kinked(kinked))
    free = stiffness(cell, kinked)
    assert as_it_is.lowest_mode < 0
    assert free.lowest_mode == pytest.approx(2.0, rel=1e-3)
    assert free.is_stable
    np.testing.assert_allclose(free.relaxed, smooth.relaxed, rtol=1e-3, atol=0.1)
    np.testing.assert_allclose(free.clamped, smooth.clamped, rtol=1e-3, atol=0.1)
    assert np.linalg.eigvalsh(free.clamped - free.relaxed).max() > 1.0


def replace_kinked(potential):
    once = copy.copy(potential)
    vars(once).update(is_kinked=False)
    return once


def test_a_soft_mode_is_dropped_and_reported():
    cell = SymmetricCell.from_structure(crystals.diamond())
    result = stiffness(cell, Harmonic(1.0, 0.01, cell))
    assert result.is_stable
    assert result.flags == ("soft_mode_dropped",)


def test_a_tensor_that_is_not_positive_definite_is_unstable():
    cell = SymmetricCell.from_structure(crystals.fcc())
    result = stiffness(cell, Harmonic(-0.5, 1.0, cell))
    assert not result.is_stable
    assert "unstable_tensor" in result.flags
    assert result.lowest_eigenvalue < 0


def test_a_stiffness_that_depends_on_the_amplitude_is_flagged():
    cell = SymmetricCell.from_structure(crystals.fcc())
    result = stiffness(cell, Harmonic(1.0, 1.0, cell, quadratic=400.0))
    assert "amplitude_dependent" in result.flags
    assert result.bulk_amplitude > 0.05 * result.bulk_modulus


def test_the_deadline_ends_a_tensor():
    cell = SymmetricCell.from_structure(crystals.fcc())
    with pytest.raises(VerificationError, match="time limit during the elastic tensor by harmonic"):
        stiffness(cell, Harmonic(1.0, 1.0, cell), deadline=0.0)


@pytest.mark.potential
def test_tungsten_by_diep():
    """diep's own W, free of its kink: K 321, G 149 (with it 155); MP PBE: K 304, G 147."""
    potential = load_potential("diep")
    assert isinstance(potential, Potential)
    from pymatgen.core import Lattice, Structure

    structure = Structure.from_spacegroup("Im-3m", Lattice.cubic(3.17), ["W"], [[0, 0, 0]])
    cell = relax(SymmetricCell.from_structure(structure), potential).cell
    result = stiffness(cell, potential)
    assert result.bulk_modulus == pytest.approx(321, abs=4)
    assert result.shear_modulus == pytest.approx(149, abs=5)
    assert result.n_evaluations == 6


@pytest.mark.potential
@pytest.mark.slow
def test_calcite_by_diep():
    """Stable: C11 137, C33 81, C44 35, C14 -20 measured; with the spoiled forces C44 was -151,613 GPa."""
    from pymatgen.core import Lattice, Structure

    coords = [[0, 0, 0], [0, 0, 0.25], [0.2561, 0, 0.25]]
    structure = Structure.from_spacegroup("R-3c", Lattice.hexagonal(4.954, 17.09), ["Ca", "C", "O"], coords)
    potential = load_potential("diep")
    result = stiffness(relax(SymmetricCell.from_structure(structure), potential).cell, potential)
    assert result.is_stable
    assert result.relaxed[3, 3] == pytest.approx(32, abs=6)
    assert result.relaxed[0, 0] == pytest.approx(129, abs=10)
    assert np.abs(result.relaxed).max() < 200


@pytest.mark.parametrize(
    "structure", [crystals.hcp("Cu"), crystals.l1_2("Cu", "Au"), crystals.low_symmetry()]
)
def test_a_cell_that_serves_two_strains_gives_the_tensor_of_pure_strains(structure):
    potential = load_potential(MORSE if structure.composition.reduced_formula != "Cu" else EMT)
    cell = relaxed(structure, potential)
    once = StiffnessSettings(repeat_factor=0.0)
    shared = stiffness(cell, potential, once)
    pure = stiffness(cell, replace(potential, is_kinked=True), once)
    assert shared.n_evaluations < pure.n_evaluations
    np.testing.assert_allclose(shared.relaxed, pure.relaxed, atol=0.005 * np.abs(pure.relaxed).max())
    assert shared.bulk_modulus == pytest.approx(pure.bulk_modulus, rel=2e-3)
    assert shared.shear_modulus == pytest.approx(pure.shear_modulus, rel=5e-3)


class Spiked(Harmonic):
    """Forces that break the symmetry of strained cells of some sizes, energy and stress unharmed."""

    def __init__(self, *args, spoils, **kwargs):
        super().__init__(*args, **kwargs)
        vars(self).update(spoils=spoils)

    def evaluate(self, numbers, lattice, frac_coords):
        point = super().evaluate(numbers, lattice, frac_coords)
        strain = np.abs(np.linalg.solve(self.start.lattice, lattice) - np.eye(3)).max()
        spike = np.array([8.0, -3.0, 5.0]) if self.spoils(float(strain)) else np.zeros(3)
        return replace(point, forces=point.forces + np.outer([1.0, -1.0], spike))


def test_forces_that_break_the_symmetry_are_asked_for_at_another_strain():
    cell = SymmetricCell.from_structure(crystals.diamond())
    smooth = stiffness(cell, Harmonic(1.0, 2.0, cell, coupling=2.0, is_kinked=True))
    spiked = Spiked(1.0, 2.0, cell, coupling=2.0, is_kinked=True, spoils=lambda e: abs(e - 0.02) < 1e-4)
    mended = stiffness(cell, spiked)
    np.testing.assert_allclose(mended.relaxed, smooth.relaxed, atol=1e-6)
    assert mended.flags == ("other_amplitude",)
    assert mended.shear_modulus == pytest.approx(smooth.shear_modulus, rel=1e-9)
    assert smooth.n_evaluations < mended.n_evaluations < 2 * smooth.n_evaluations


def test_what_is_fine_is_asked_no_more_than_before():
    cell = SymmetricCell.from_structure(crystals.diamond())
    harmonic = Harmonic(1.0, 2.0, cell, coupling=2.0)
    asked = []
    original = harmonic.evaluate
    vars(harmonic)["evaluate"] = lambda *cell: asked.append(1) or original(*cell)
    assert stiffness(cell, harmonic).n_evaluations == len(asked) == 6


def test_forces_that_are_never_sound_are_a_named_failure():
    cell = SymmetricCell.from_structure(crystals.diamond())
    with pytest.raises(CrystalFailureError, match="forces break the crystal's symmetry by") as raised:
        stiffness(cell, Spiked(1.0, 2.0, cell, coupling=2.0, spoils=lambda e: e > 1e-4))
    assert raised.value.failure is Failure.IMPOSSIBLE_TENSOR


def test_a_tensor_that_no_crystal_has_is_a_named_failure():
    """A mode just above the softest that counts, with a large coupling: a division by nearly nothing."""
    cell = SymmetricCell.from_structure(crystals.diamond())
    with pytest.raises(CrystalFailureError, match=r"harmonic: .* GPa") as raised:
        stiffness(cell, Harmonic(1.0, 0.021, cell, coupling=2.0))
    assert raised.value.failure is Failure.IMPOSSIBLE_TENSOR


@pytest.mark.parametrize(
    ("relaxed", "clamped", "reason"),
    [
        (np.diag([-3047.0] * 6), np.eye(6) * 300.0, "an elastic constant of 3047 GPa, which no crystal has"),
        (
            np.diag([300.0] * 5 + [-700.0]),
            np.eye(6) * 300.0,
            "-1400 GPa where without relaxing ions it is 600",
        ),
        (np.eye(6) * 310.0, np.eye(6) * 300.0, "ions that relax make the crystal stiffer by 20 GPa"),
        (np.diag([300.0] * 5 + [np.nan]), np.eye(6) * 300.0, "an elastic constant of nan GPa"),
        (np.diag([300.0] * 5 + [-150.0]), np.eye(6) * 300.0, ""),
        (np.full((6, 6), np.nan), None, ""),
    ],
)
def test_the_bounds_of_a_stiffness(relaxed, clamped, reason):
    assert reason in impossibility(relaxed, clamped)
    assert bool(impossibility(relaxed, clamped)) == bool(reason)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_a_stable_crystal_with_ions_that_relax_is_always_possible(seed):
    """Whatever positive definite tensor is left by a positive softening; then Cij² <= Cii Cjj, too."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6))
    clamped = root @ root.T
    clamped *= 500.0 / np.abs(clamped).max()
    share = rng.uniform(0, 0.99, size=6)
    values, vectors = np.linalg.eigh(clamped)
    relaxed = (vectors * (values * (1 - share))) @ vectors.T
    relaxed, clamped = relaxed / VOIGT_OF_MANDEL, clamped / VOIGT_OF_MANDEL
    assert impossibility(np.round(relaxed, 3), np.round(clamped, 3)) == ""
    diagonal = np.diag(relaxed)
    assert (relaxed**2 <= np.outer(diagonal, diagonal) * (1 + 1e-9)).all()
