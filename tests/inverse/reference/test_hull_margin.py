"""Margins: each phase moved by its own puts the crystal at its limit, and by less does not."""

import numpy as np
import pytest

from inverse.reference import ReferenceHull
from inverse.reference.hull import _lowest_mixture
from inverse.reference.hull_margin import hull_margin

FORMULAS = ("A", "B", "AB", "AB3", "A2B")
FRACTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.25, 0.75], [2 / 3, 1 / 3]])
ENERGIES = np.array([0.0, 0.0, -0.40, -0.25, 0.10])


def below(energies: np.ndarray, target: np.ndarray) -> float:
    return _lowest_mixture(FRACTIONS, energies, target)[0]


def test_a_phase_that_falls_by_its_margin_leaves_the_crystal_at_its_limit() -> None:
    target, energy, limit = np.array([0.4, 0.6]), -0.40, 0.1
    assert energy - below(ENERGIES, target) < limit
    found = hull_margin(FORMULAS, FRACTIONS, ENERGIES, target, energy - limit)
    assert found is not None
    assert (found.phase, found.margin) == next(iter(found.margins.items()))
    assert set(found.margins) == set(FORMULAS)
    assert list(found.margins.values()) == sorted(found.margins.values())
    for name, margin in found.margins.items():
        moved = ENERGIES.copy()
        moved[FORMULAS.index(name)] -= margin
        assert energy - below(moved, target) == pytest.approx(limit)
        moved[FORMULAS.index(name)] += 0.01
        assert energy - below(moved, target) < limit - 1e-4


def test_a_phase_of_the_same_composition_moves_one_to_one() -> None:
    found = hull_margin(FORMULAS, FRACTIONS, ENERGIES, np.array([0.5, 0.5]), -0.35 - 0.1)
    assert found is not None
    assert found.margins["AB"] == pytest.approx(0.05)


def test_a_crystal_that_is_off_already_has_no_margin_of_other_phases() -> None:
    found = hull_margin(FORMULAS, FRACTIONS, ENERGIES, np.array([0.5, 0.5]), -0.3)
    assert found is not None
    assert found.margins == pytest.approx({"AB": -0.1})
    assert hull_margin(FORMULAS, FRACTIONS, ENERGIES, np.array([0.5, 0.5]), -0.1) is None


def test_on_the_reference_hull() -> None:
    hull = ReferenceHull.packaged()
    energy = hull.below("W2TaC3") + 0.02
    found = hull.margin("W2TaC3", energy, 0.1)
    assert found is not None
    # a phase that is a share of the mixture below the crystal has to fall by the room over that share
    shares = hull.energy_above_hull("W2TaC3", energy).decomposition
    largest = max(shares, key=lambda name: shares[name])
    assert found.margins[largest] == pytest.approx(0.08 / shares[largest], rel=1e-6)
    assert found.margin <= found.margins[largest]
    assert found.margins[found.phase] == found.margin
