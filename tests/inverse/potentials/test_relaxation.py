from types import SimpleNamespace

import numpy as np
import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from inverse.potentials import limits
from inverse.potentials.limits import Limit, exceeded
from inverse.potentials.loading import load_potential
from inverse.potentials.relaxation import RelaxationSettings, relax, shortest_distance
from inverse.potentials.symmetric_cell import SymmetricCell
from surrogates.errors import StructureError, VerificationError
from tests import crystals

EMT = "ase.calculators.emt:EMT"
MORSE = "tests.stand_in_potential:pairwise"
TIGHT = RelaxationSettings(force=1e-4, stress=1e-3)


@pytest.mark.parametrize(
    ("name", "structure"),
    [(EMT, crystals.hcp("Cu", 2.7, 4.0)), (MORSE, crystals.low_symmetry())],
)
def test_it_ends_where_ase_ends(name, structure):
    potential = load_potential(name)
    ours = relax(SymmetricCell.from_structure(structure), potential, TIGHT)
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = potential.calculator
    optimiser = BFGS(FrechetCellFilter(atoms), logfile=None)
    optimiser.run(fmax=1e-3, steps=300)
    per_atom = atoms.get_potential_energy() / len(atoms)
    assert ours.energy / ours.cell.n_atoms == pytest.approx(per_atom, abs=1e-5)
    assert ours.cell.volume / ours.cell.n_atoms == pytest.approx(atoms.get_volume() / len(atoms), rel=1e-3)
    assert ours.steps < optimiser.nsteps


def test_symmetry_is_kept_exactly():
    cell = SymmetricCell.from_structure(crystals.low_symmetry())
    relaxed = relax(cell, load_potential(MORSE)).cell
    again = SymmetricCell.from_arrays(relaxed.lattice, relaxed.frac_coords, relaxed.numbers, symprec=1e-6)
    assert len(again.rotations) == len(cell.rotations)


def test_a_rotated_supercell_relaxes_to_the_same_crystal():
    structure = crystals.low_symmetry()
    supercell = structure * (2, 1, 1)
    turned = Structure(
        Lattice(supercell.lattice.matrix @ rotation()), supercell.species, supercell.frac_coords
    )
    energies = [
        (r := relax(SymmetricCell.from_structure(s), load_potential(MORSE))).energy / r.cell.n_atoms
        for s in (structure, turned)
    ]
    assert energies[0] == pytest.approx(energies[1], abs=1e-7)


def rotation():
    left, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    return left * np.sign(np.linalg.det(left))


def test_colliding_atoms_are_named():
    structure = Structure(Lattice.cubic(4.0), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0.02, 0]])
    with pytest.raises(VerificationError, match=r"colliding atoms, 0\.2\d Å apart"):
        relax(SymmetricCell.from_structure(structure), load_potential(EMT))


def test_an_exploding_cell_is_named():
    with pytest.raises(VerificationError, match=r"volume changed to [01]\.\d\d of the start"):
        relax(SymmetricCell.from_structure(crystals.fcc("Cu", 5.0)), load_potential(EMT))


def test_too_few_steps_is_named():
    with pytest.raises(VerificationError, match="not relaxed within 2 steps"):
        relax(
            SymmetricCell.from_structure(crystals.fcc("Cu", 3.3)),
            load_potential(EMT),
            RelaxationSettings(steps=2),
        )


def test_waiting_for_a_busy_machine_costs_none_of_the_limit(monkeypatch):
    """Two of three verifications of 4 and 6 atoms were lost where others used the cores."""
    clock, computing = [0.0], [0.0]
    fake = SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: computing[0])
    monkeypatch.setattr(limits, "time", fake)
    limit = Limit.of(120.0)
    clock[0], computing[0] = 400.0, 100.0
    assert exceeded(limit) == ""
    assert exceeded(120.0) == "by the clock"
    computing[0] = 121.0
    assert exceeded(limit) == "120 s of computing"
    clock[0], computing[0] = 481.0, 3.0
    assert exceeded(limit) == "480 s by the clock"


def test_a_relaxation_says_which_limit_ended_it():
    cell, potential = SymmetricCell.from_structure(crystals.fcc()), load_potential(EMT)
    with pytest.raises(VerificationError, match=r"time limit during relaxation by .*: 0 s of computing"):
        relax(cell, potential, deadline=Limit.of(0.0))


def test_the_deadline_ends_a_relaxation():
    with pytest.raises(VerificationError, match="time limit during relaxation"):
        relax(SymmetricCell.from_structure(crystals.fcc()), load_potential(EMT), deadline=0.0)


def test_a_potential_that_says_nan_is_named():
    with pytest.raises(VerificationError, match="returned a value that is not finite"):
        relax(
            SymmetricCell.from_structure(crystals.fcc()), load_potential("tests.stand_in_potential:says_nan")
        )


def test_shortest_distance_sees_images():
    cell = SymmetricCell.from_structure(crystals.fcc("Cu", 3.6))
    assert shortest_distance(cell) == pytest.approx(3.6 / np.sqrt(2), rel=1e-6)


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Structure(Lattice.cubic(3), ["Cu"], [[np.nan, 0, 0]]), "not a finite number"),
        (Structure(Lattice.cubic(3), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]]), "partial occupancy"),
        (Structure(Lattice.from_parameters(3, 3, 0.01, 90, 90, 90), ["Cu"], [[0, 0, 0]]), "the cell is flat"),
    ],
)
def test_what_is_no_crystal_is_refused(structure, message):
    with pytest.raises(StructureError, match=message):
        SymmetricCell.from_structure(structure)


def test_operations_form_orthogonal_representations():
    cell = SymmetricCell.from_structure(crystals.low_symmetry())
    for operations in (cell.strain_operations, cell.displacement_operations):
        product = operations @ operations.transpose(0, 2, 1)
        np.testing.assert_allclose(
            product, np.broadcast_to(np.eye(product.shape[1]), product.shape), atol=1e-9
        )
    assert len(cell.free_strains) == 3
    assert len(SymmetricCell.from_structure(crystals.fcc()).free_strains) == 1
