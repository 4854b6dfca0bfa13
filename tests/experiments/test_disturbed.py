import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from experiments.studies.disturbed import _record, disturb


def test_every_atom_moves_and_the_volume_changes_a_little():
    start = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    moved = disturb(start, [0, 1])
    assert 0 < abs(moved.volume / start.volume - 1) <= 0.04
    scaled = start.copy()
    scaled.scale_lattice(moved.volume)
    scaled = Structure(moved.lattice, scaled.species, scaled.frac_coords)
    shifts = [a.distance(b) for a, b in zip(scaled, moved, strict=True)]
    assert shifts == pytest.approx([0.1, 0.1], abs=1e-6)
    assert disturb(start, [0, 1]) == moved


def test_both_the_change_and_the_error_decide():
    rows, truth = [{"formula": f"A{i}"} for i in range(9)], np.full(9, 100.0)
    assert _record(rows, truth, truth, truth * 1.05)["passed"]
    assert not _record(rows, truth, truth * 1.2, truth * 1.2)["passed"]
    assert not _record(rows, truth, truth * 0.9, truth)["passed"]
