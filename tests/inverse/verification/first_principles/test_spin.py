import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.batches import SinglePoint
from inverse.potentials.dft import DftCode
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.setting import Setting
from inverse.verification.first_principles.spin import magnetic_state

SETTING = Setting(DftCode("gpaw", "python", "factory", "1", frozenset()))


def cell(*symbols):
    n = len(symbols)
    places = [[k / n, 0, 0] for k in range(n)]
    return SymmetricCell.from_structure(Structure(Lattice.orthorhombic(2.5 * n, 2.6, 2.7), symbols, places))


def told(crystal, answer):
    """Return the state when `answer(starting moments)` says energy and moments, and all starts asked for."""
    inquiry, starts = magnetic_state(crystal, SETTING), []
    question = next(inquiry)
    while True:
        start = question.potential.calculator.magmoms
        starts.append(start)
        try:
            energy, moments = answer(np.array(start))
            zero = np.zeros((crystal.n_atoms, 3))
            question = inquiry.send([SinglePoint(energy, zero, np.zeros((3, 3)), tuple(moments))])
        except StopIteration as done:
            return done.value, starts


def test_what_loses_its_moments_is_computed_without_spin():
    state, starts = told(cell("W", "C"), lambda start: (-1.0, 0.01 * start))
    assert state.magmoms is None
    assert state.order == "none"
    assert len(starts) == 1
    assert all(m > 0 for m in starts[0])


def test_the_lower_of_both_starts_is_kept():
    def lower_up_and_down(start):
        return (-2.0 if start.min() < 0 else -1.0), start

    state, starts = told(cell("Fe", "B", "Fe"), lower_up_and_down)
    assert state.order == "antiferromagnetic"
    assert len(starts) == 2
    assert sum(np.sign(starts[1])) == 1  # one of two irons is turned, boron is not
    state, _ = told(cell("Fe", "B", "Fe"), lambda start: (-2.0 if start.min() > 0 else -1.0, start))
    assert state.order == "ferromagnetic"


def test_one_magnetic_atom_has_no_partner_and_says_so():
    state, starts = told(cell("Co", "B"), lambda start: (-1.0, start))
    assert len(starts) == 1
    assert "larger one" in state.untried


def test_what_loses_a_ferromagnetic_start_may_keep_an_antiferromagnetic_one():
    """As bcc chromium does."""
    state, starts = told(
        cell("Cr", "B", "Cr"),
        lambda start: (-2.0, start) if start.min() < 0 else (-1.0, 0 * start),
    )
    assert len(starts) == 2
    assert state.order == "antiferromagnetic"
    state, starts = told(cell("Cr", "B", "Cr"), lambda start: (-1.0, 0 * start))
    assert len(starts) == 2
    assert state.magmoms is None


def test_a_failed_second_start_leaves_the_first():
    inquiry = magnetic_state(cell("Fe", "B", "Fe"), SETTING)
    next(inquiry)
    point = SinglePoint(-1.0, np.zeros((3, 3)), np.zeros((3, 3)), (2.0, 0.0, 2.0))
    inquiry.send([point])
    try:
        inquiry.throw(CrystalFailureError("did not converge", Failure.NOT_CONVERGED))
    except StopIteration as done:
        state = done.value
    assert state.order == "ferromagnetic"
    assert "did not converge" in state.untried
