"""Invariances, smoothness and gradients of the structure surrogate, with random weights in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch
from surrogates.crystals.neighbors import periodic_edges
from surrogates.datasets.orbits import reduced_graphs
from surrogates.datasets.pairs import pair_store
from surrogates.physics.properties import BULK_MODULUS, DENSITY, FORMATION_ENERGY, SHEAR_MODULUS, VOLUME
from tests.surrogates.tiny import crystals, tiny_surrogate

PROPERTIES = (BULK_MODULUS, SHEAR_MODULUS, FORMATION_ENERGY)
SURROGATE = tiny_surrogate()


def values(structures):
    """Return means and error bars of all learned properties, (C, 6)."""
    found = SURROGATE.predict(CrystalBatch.from_structures(structures, dtype=torch.float64), PROPERTIES)
    return torch.stack([v for p in found.values() for v in (p.mean, p.std)], dim=1)


def assert_same(first, second):
    torch.testing.assert_close(values(first), values(second), rtol=1e-7, atol=1e-9)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10_000))
def test_rotation_permutation_translation_and_origin(seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    moved = []
    for s in crystals():
        order = rng.permutation(len(s))
        coords = (s.frac_coords + rng.uniform(-1, 1, 3) + rng.integers(-2, 3, (len(s), 3)))[order]
        moved.append(Structure(Lattice(s.lattice.matrix @ rotation), [s[i].specie for i in order], coords))
    assert_same(crystals(), moved)


def test_supercell_and_primitive_cell():
    doubled = [s * (2, 1, 1) for s in crystals()]
    assert_same(crystals(), doubled)
    assert_same(crystals(), [s.get_primitive_structure() for s in crystals()])


def test_unusual_cell_choice():
    s = crystals()[3]
    skewed = s.copy()
    skewed.make_supercell([[1, 2, 0], [0, 1, -3], [0, 0, 1]], to_unit_cell=False)
    assert_same([s], [skewed])


def test_one_site_per_orbit_gives_the_result_of_the_whole_crystal():
    structures = [crystals()[0], crystals()[2], crystals()[3]]
    rows = [
        {
            "lattice": s.lattice.matrix.tolist(),
            "species": [site.specie.symbol for site in s],
            "frac_coords": s.frac_coords.tolist(),
        }
        for s in structures
    ]
    store = pair_store(reduced_graphs(rows, 2.1), 2.0)
    assert store.site_start.diff().tolist() == [2, 3, 3]
    network = SURROGATE.groups[0].networks[0]
    reduced = network.float()(store.batch(torch.arange(3), torch.zeros(3, dtype=torch.long)))
    network.double()
    batch = CrystalBatch.from_structures(structures, dtype=torch.float64)
    from surrogates.features.graph import CrystalGraph

    whole = network(CrystalGraph.from_crystals(batch, 2.0))
    torch.testing.assert_close(reduced.double(), whole, rtol=1e-4, atol=1e-5)


def test_smooth_when_neighbours_cross_the_cutoff():
    s = crystals()[3]
    steps = np.linspace(0.97, 1.03, 601)
    coords = np.repeat(s.frac_coords[None], len(steps), axis=0)
    coords[:, 1, 0] += 0.1 * steps
    moved = [Structure(s.lattice, s.species, c) for c in coords]
    path = CrystalBatch.from_structures(moved, dtype=torch.float64)
    from surrogates.features.graph import cutoff_radius

    edges = periodic_edges(path, cutoff_radius(path.volume / 3, SURROGATE.reach))
    counts = torch.bincount(path.crystal_index[edges.source])
    assert len(counts.unique()) > 1, "no neighbour crosses the cutoff: the test tests nothing"
    y = SURROGATE.predict(path, [BULK_MODULUS])[BULK_MODULUS].mean
    second = y.diff().diff().abs()
    assert second.max() < 20 * second.median() + 1e-9


@pytest.mark.parametrize("field", ["lattice", "frac_coords", "occupancy"])
def test_gradients_against_finite_differences(field):
    batch = CrystalBatch.from_structures(crystals()[1:], dtype=torch.float64)
    soft = 0.8 * batch.occupancy
    soft[:, 5] += 0.1
    soft[:, 73] += 0.1
    batch = batch.replace(occupancy=soft)
    generator = torch.Generator().manual_seed(0)
    start = getattr(batch, field)
    direction = torch.randn(start.shape, dtype=torch.float64, generator=generator)
    if field == "occupancy":
        direction = direction * (soft > 0)
        direction[:, 5] -= direction.sum(dim=1)

    def value(step):
        found = SURROGATE.predict(batch.replace(**{field: start + step * direction}), PROPERTIES)
        return sum(p.mean.sum() + p.std.sum() + p.samples[3].sum() for p in found.values())

    step = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(value(step), step)
    h = 1e-5
    numeric = (value(torch.tensor(h)) - value(torch.tensor(-h))) / (2 * h)
    torch.testing.assert_close(slope, numeric.double(), rtol=2e-5, atol=1e-6)


def test_soft_occupancy_interpolates_between_crystals():
    s = crystals()[0]
    batch = CrystalBatch.from_structures([s], dtype=torch.float64)
    ti, mix = batch.occupancy.clone(), batch.occupancy.clone()
    mix[:, 21] = 0.999 * ti[:, 21]
    mix[:, 22] = 0.001 * ti[:, 21]
    first = SURROGATE.predict(batch, [BULK_MODULUS])[BULK_MODULUS].mean
    near = SURROGATE.predict(batch.replace(occupancy=mix), [BULK_MODULUS])[BULK_MODULUS].mean
    assert abs(float(first - near)) < 0.05 * float(first)
    assert mix.shape[1] == N_ELEMENTS


def test_volume_and_density_are_those_of_the_cell():
    structures = crystals()
    found = SURROGATE.predict(
        CrystalBatch.from_structures(structures, dtype=torch.float64), [DENSITY, VOLUME]
    )
    for k, s in enumerate(structures):
        assert float(found[DENSITY].mean[k]) == pytest.approx(s.density, rel=1e-4)
        assert float(found[VOLUME].mean[k]) == pytest.approx(s.volume / len(s))
