"""Random orderings: what shares sites, what mixing is worth, and a known ordering energy."""

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.reference.random_orderings import (
    BOLTZMANN,
    LEAST_SITES,
    MOST_ATOMS,
    enlarged,
    mixing_entropy,
    order_disorder,
    random_orderings,
    shared_sublattices,
)

ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def layered() -> Structure:
    """TiC and WC in layers of the WC type: two alike metals, one light element."""
    coords = [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.75]]
    return Structure(Lattice.hexagonal(2.9, 5.6), ["W", "Ti", "C", "C"], coords)


def bonds_between_unlike(structure: Structure) -> float:
    """Pairs of unlike metals within 3.2 Å, per atom."""
    metals = [i for i, site in enumerate(structure) if site.specie.symbol != "C"]
    pairs = 0
    for i in metals:
        for near in structure.get_neighbors(structure[i], 3.2):
            pairs += near.specie.symbol not in ("C", structure[i].specie.symbol)
    return pairs / 2 / len(structure)


def test_only_alike_elements_share_sites() -> None:
    (found,) = shared_sublattices(layered())
    assert (found.sites, found.species) == ((0, 1), ("W", "Ti"))
    assert shared_sublattices(ROCK_SALT) == []
    oxide = Structure(Lattice.cubic(4.0), ["Ti", "O", "F"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])
    assert shared_sublattices(oxide) == [], "O and F are each alone"


def test_entropy_is_that_of_ideal_mixing_per_atom() -> None:
    assert mixing_entropy(layered()) == pytest.approx(0.5 * math.log(2.0))
    both = layered()
    both.replace(2, "B")
    assert mixing_entropy(both) == pytest.approx(math.log(2.0))
    assert mixing_entropy(ROCK_SALT) == 0.0


def test_random_orderings_keep_composition_and_sites_and_are_drawn_by_the_seed() -> None:
    start = layered()
    found = random_orderings(start, 5)
    cell = enlarged(start)
    (sublattice,) = shared_sublattices(cell)
    assert len(sublattice.sites) >= LEAST_SITES
    assert len(cell) <= MOST_ATOMS
    for one in found:
        assert one.composition.reduced_formula == start.composition.reduced_formula
        assert np.allclose(one.frac_coords, cell.frac_coords)
        assert [s.specie.symbol for s in one if s.specie.symbol == "C"] == ["C"] * (len(cell) // 2)
    again = random_orderings(start, 5)
    assert [[x.specie for x in s] for s in found] == [[x.specie for x in s] for s in again]
    assert [[x.specie for x in s] for s in found] != [
        [x.specie for x in s] for s in random_orderings(start, 6)
    ]


def test_a_large_crystal_is_not_multiplied() -> None:
    large = layered() * (3, 2, 1)
    assert len(enlarged(large)) == len(large) == 24


def test_an_energy_of_pairs_gives_the_temperature_that_it_should() -> None:
    """A bond between unlike metals is worth 0.05 eV."""
    start, worth = layered(), -0.05
    random = random_orderings(start, 1, 400)
    energies = [worth * bonds_between_unlike(s) for s in random]
    found = order_disorder(start, worth * bonds_between_unlike(start), energies)
    # of all pairs of metals in reach half are unlike at random, more by 1 / (sites - 1) in a finite cell
    cell = enlarged(start)
    n_sites = len(cell) // 2
    metal = [i for i, s in enumerate(cell) if s.specie.symbol != "C"]
    pairs = sum(
        near.specie.symbol != "C" and near.index != i
        for i in metal
        for near in cell.get_neighbors(cell[i], 3.2)
    )
    mean = worth * pairs / 2 / len(cell) * 0.5 * n_sites / (n_sites - 1)
    expected = (mean - worth * bonds_between_unlike(start)) / (BOLTZMANN * mixing_entropy(start))
    assert found.temperature == pytest.approx(expected, abs=4 * found.std)
    of_mean = np.std(energies, ddof=1) / 20 / (BOLTZMANN * mixing_entropy(start))
    assert found.std == pytest.approx(of_mean)
    assert found.n == 400
    assert found.elements == ("Ti", "W")


def test_too_few_energies_leave_it_open() -> None:
    found = order_disorder(layered(), -1.0, [-0.9, math.nan, -0.8, math.nan])
    assert math.isnan(found.temperature)
    assert found.reason == "2 of 4 random arrangements have an energy"
    found = order_disorder(layered(), math.nan, [-0.9] * 4)
    assert math.isnan(found.temperature)
    found = order_disorder(layered(), -0.5, [-0.6, -0.6, -0.6])
    assert found.temperature == pytest.approx(-0.1 / (BOLTZMANN * 0.5 * math.log(2.0)))


def test_without_room_for_disorder_it_stays_open() -> None:
    """Of 24 atoms that hold one Ti and one W, every arrangement is the ordered crystal."""
    layers = layered()
    large = layers * (3, 2, 1)
    metals = [i for i, site in enumerate(large) if site.specie.symbol != "C"]
    for i in metals[2:]:
        large.replace(i, "Al")
    large.replace(metals[0], "Ti")
    large.replace(metals[1], "W")
    found = order_disorder(large, -1.0, [-1.0] * 8)
    assert math.isnan(found.temperature)
    assert "too few" in found.reason
