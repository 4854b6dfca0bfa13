"""Phonons: a crystal of springs is stable, one on top of its hill is not, and nothing ever raises."""

import numpy as np
import pytest
from ase.calculators.calculator import all_changes
from ase.calculators.lj import LennardJones
from pymatgen.core import Lattice, Structure

from inverse.verification.mechanics.phonons import PhononSettings, phonons, supercell_of
from inverse.verification.store import VerificationStore

SETTINGS = PhononSettings(supercell_length=7.0, mesh=15.0)
NEAREST = 2 ** (1 / 6) * 2.5


class SmoothLennardJones(LennardJones):
    """Lennard-Jones solid argon in units that make a = 3.96 Å."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, ["energy", "forces", "stress"], system_changes)


def argon():
    return SmoothLennardJones(sigma=2.5, epsilon=0.1, rc=7.0, smooth=True)


def crystal(kind: str) -> Structure:
    a = {"fcc": NEAREST * np.sqrt(2) * 0.97, "sc": NEAREST * 0.95}[kind]
    group = {"fcc": "Fm-3m", "sc": "Pm-3m"}[kind]
    return Structure.from_spacegroup(group, Lattice.cubic(a), ["Ar"], [[0, 0, 0]]).get_primitive_structure()


FACTORY = f"{__name__}:argon"


def test_close_packed_argon_is_stable_and_simple_cubic_is_not():
    stable = phonons(crystal("fcc"), FACTORY, SETTINGS)
    assert stable.is_stable, stable.remark
    assert stable.highest > 0
    assert stable.n_displacements == 1
    unstable = phonons(crystal("sc"), FACTORY, SETTINGS)
    assert unstable.is_stable is False
    assert unstable.lowest < -SETTINGS.tolerance
    assert "imaginary" in unstable.remark


def test_a_verdict_is_remembered(tmp_path):
    store = VerificationStore(tmp_path / "store.db")
    first = phonons(crystal("fcc"), FACTORY, SETTINGS, store)
    again = phonons(crystal("fcc"), FACTORY, SETTINGS, store, deadline=0.0)
    assert again == first
    assert len(store) == 1


@pytest.mark.parametrize(
    ("options", "reason"), [({"deadline": 0.0}, "time limit"), ({"should_stop": lambda: True}, "stopped")]
)
def test_giving_up_is_a_reason_that_is_not_remembered(tmp_path, options, reason):
    store = VerificationStore(tmp_path / "store.db")
    verdict = phonons(crystal("fcc"), FACTORY, SETTINGS, store, **options)
    assert verdict.is_stable is None
    assert reason in verdict.reason
    assert len(store) == 0


def test_a_crystal_that_is_none_is_a_reason():
    broken = Structure(Lattice.cubic(3.0), ["Ar"], [[float("nan"), 0, 0]])
    assert phonons(broken, FACTORY, SETTINGS).reason


def test_supercells_are_even_until_they_are_too_large():
    cell = Structure(Lattice.tetragonal(3.0, 9.0), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert supercell_of(cell, PhononSettings()) == ((4, 4, 1), False)
    assert supercell_of(cell, PhononSettings(max_atoms=20)) == ((3, 3, 1), False)
    repeats, is_small = supercell_of(cell, PhononSettings(max_atoms=10))
    assert is_small
    assert np.prod(repeats) * 2 <= 10
