"""Grids of the density and the operations that they leave: arithmetic, without GPAW."""

import numpy as np
import pytest
import spglib
from pymatgen.core import Lattice, Structure

from inverse.potentials.dft.gpaw_factory import grids, irreducible_points
from inverse.potentials.dft.protocol import irreducible_points as by_spglib

CUBIC = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.0), ["Po"], [[0, 0, 0]])
RHOMBOHEDRAL = Structure(
    [[-3.0728, 0.0, 0.0], [-1.5364, -2.66116, 0.0], [1.5364, 0.88705, 7.24018]], ["Bi"], [[0, 0, 0]]
)
"""Along reduced vectors: no three-fold operation maps a grid that is fine along one of them alone."""


def operations(structure):
    cell = structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers
    found = spglib.get_symmetry(cell, symprec=1e-3)
    return np.array([r.T for r in found["rotations"]]), np.array(found["translations"])


def test_a_grid_alike_along_alike_vectors_keeps_every_operation():
    found = grids(*operations(CUBIC), [12, 12, 12])
    assert found == {tuple(range(48)): (12, 12, 12)}


def test_a_long_vector_asks_for_points_along_all_or_for_fewer_operations():
    found = {points: len(kept) for kept, points in grids(*operations(RHOMBOHEDRAL), [14, 14, 40]).items()}
    assert found == {(14, 14, 40): 4, (14, 15, 40): 2, (40, 40, 40): 12}


def test_what_is_kept_is_a_group():
    ops, shifts = operations(RHOMBOHEDRAL)
    for kept in grids(ops, shifts, [14, 14, 40]):
        own = {tuple(ops[k].ravel()) for k in kept}
        assert {tuple((ops[i] @ ops[j]).ravel()) for i in kept for j in kept} == own


@pytest.mark.parametrize(
    ("structure", "mesh"), [(CUBIC, (6, 6, 6)), (RHOMBOHEDRAL, (8, 8, 4)), (RHOMBOHEDRAL, (5, 5, 3))]
)
def test_points_of_all_operations_are_those_of_spglib(structure, mesh):
    ops, _ = operations(structure)
    arrays = structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers)
    assert irreducible_points(ops, mesh) == by_spglib(*arrays, mesh)


def test_a_shift_of_a_third_needs_a_grid_of_three():
    ops, shifts = np.array([np.eye(3, dtype=int)] * 2), np.array([[0, 0, 0], [0, 0, 1 / 3]])
    found = grids(ops, shifts, [10, 10, 10])
    assert found[(0,)] == (10, 10, 10)
    assert found[(0, 1)] == (10, 10, 12)
