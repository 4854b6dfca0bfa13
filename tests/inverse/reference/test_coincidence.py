"""Coincidence: other descriptions of the same atoms are seen, whatever else differs is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from inverse.reference.coincidence import coincide
from inverse.reference.signatures import Cell

NACL = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Ti", "C"], [[0, 0, 0], [0.5] * 3])
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.59, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)
QUARTZ = Structure.from_spacegroup(
    "P3_121", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.470, 0, 1 / 3], [0.414, 0.267, 0.214 + 1 / 3]]
)
CRYSTALS = (NACL.get_primitive_structure(), NACL, RUTILE, QUARTZ)
TOLERANCE = 0.05


def same(one: Structure, other: Structure) -> bool:
    return coincide(Cell.from_structure(one), Cell.from_structure(other), TOLERANCE)


def rewritten(crystal: Structure, rng: np.random.Generator) -> Structure:
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    change = np.linalg.matrix_power(np.array([[1, 1, 0], [0, 1, -1], [0, 0, 1]]), int(rng.integers(-2, 3)))
    order = rng.permutation(len(crystal))
    coords = crystal.cart_coords @ turn.T + rng.uniform(-5, 5, 3) + rng.normal(0, 0.004, (len(crystal), 3))
    lattice = change @ crystal.lattice.matrix @ turn.T
    species = [crystal[i].specie for i in order]
    return Structure(Lattice(lattice), species, coords[order], coords_are_cartesian=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(range(len(CRYSTALS))))
def test_it_does_not_depend_on_the_description(seed, which):
    assert same(CRYSTALS[which], rewritten(CRYSTALS[which], np.random.default_rng(seed)))


@pytest.mark.parametrize("crystal", CRYSTALS)
def test_another_shape_does_not_coincide(crystal):
    strained = crystal.copy()
    strained.lattice = Lattice(crystal.lattice.matrix * [1.01, 1.0, 0.99])
    assert not same(crystal, strained)


def test_an_atom_elsewhere_does_not_coincide():
    moved = RUTILE.copy()
    moved.translate_sites([2], [0.2, 0.0, 0.0], frac_coords=False)
    assert not same(RUTILE, moved)


def test_other_places_of_the_elements_do_not_coincide():
    layered, checked = NACL.copy(), NACL.copy()
    metals = [i for i, site in enumerate(NACL) if site.specie.symbol == "Ti"]
    for i in metals[:2]:
        layered.replace(i, "V")
    checked.replace(metals[0], "V")
    checked.replace(NACL.index(next(s for s in NACL if s.specie.symbol == "C")), "V")
    assert same(layered, layered)
    assert not same(layered, checked)


def test_mirror_images_do_not_coincide():
    mirrored = Structure(Lattice(QUARTZ.lattice.matrix * [-1, 1, 1]), QUARTZ.species, QUARTZ.frac_coords)
    assert not same(QUARTZ, mirrored)


def test_cells_of_different_size_do_not_coincide():
    assert not same(NACL, NACL.get_primitive_structure())


def test_the_tolerance_counts_from_the_best_shift_not_from_one_atom():
    off = RUTILE.copy()
    off.translate_sites([0, 1], [0.03, 0.0, 0.0], frac_coords=False)
    off.translate_sites([2, 3, 4, 5], [-0.03, 0.0, 0.0], frac_coords=False)
    assert same(RUTILE, off)
