import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from surrogates import neighbors
from surrogates.crystal import CrystalBatch
from surrogates.errors import ShapeError
from surrogates.neighbors import periodic_edges
from tests.surrogates.tiny import crystals


def random_crystals(seed: int) -> list[Structure]:
    rng = np.random.default_rng(seed)
    out = []
    for n in (1, 2, 5):
        matrix = rng.uniform(1.5, 3.0) * (np.eye(3) + rng.uniform(-0.7, 0.7, (3, 3)))
        if abs(np.linalg.det(matrix)) < 2:
            matrix = np.eye(3) * 2.5
        out.append(Structure(Lattice(matrix), ["Fe"] * n, rng.uniform(-2, 2, (n, 3))))
    return out


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.floats(1.0, 6.0))
def test_same_edges_as_pymatgen_in_skewed_and_tiny_cells(seed, cutoff):
    structures = random_crystals(seed)
    batch = CrystalBatch.from_structures(structures, dtype=torch.float64)
    edges = periodic_edges(batch, cutoff)
    owner = batch.crystal_index[edges.source]
    first = np.cumsum([0] + [len(s) for s in structures])
    for k, s in enumerate(structures):
        source, target, _, distance = s.get_neighbor_list(cutoff)
        mine = owner == k
        pairs = zip((edges.source[mine] - first[k]).tolist(), (edges.target[mine] - first[k]).tolist())
        assert sorted(pairs) == sorted(zip(source.tolist(), target.tolist()))
        np.testing.assert_allclose(np.sort(edges.distance[mine]), np.sort(distance), atol=1e-5)


def test_vectors_lead_from_source_to_an_image_of_target():
    batch = CrystalBatch.from_structures(crystals(), dtype=torch.float64)
    edges = periodic_edges(batch, 5.0)
    lattice = batch.lattice[batch.crystal_index[edges.source]]
    delta = batch.frac_coords[edges.target] - batch.frac_coords[edges.source]
    image = torch.linalg.solve(lattice.transpose(1, 2), edges.vector) - delta
    torch.testing.assert_close(image, image.round(), rtol=0, atol=1e-9)


def test_chunks_do_not_change_the_edges(monkeypatch):
    batch = CrystalBatch.from_structures(crystals() * 3, dtype=torch.float64)
    whole = periodic_edges(batch, 5.0)
    monkeypatch.setattr(neighbors, "MAX_CANDIDATES", 500)
    parts = periodic_edges(batch, 5.0)
    assert torch.equal(whole.source, parts.source)
    assert torch.equal(whole.vector, parts.vector)


def test_one_cutoff_per_crystal():
    batch = CrystalBatch.from_structures(crystals()[:2], dtype=torch.float64)
    edges = periodic_edges(batch, torch.tensor([3.0, 4.0], dtype=torch.float64))
    owner = batch.crystal_index[edges.source]
    assert edges.distance[owner == 0].max() < 3.0
    assert 3.0 < edges.distance[owner == 1].max() < 4.0


def test_distances_are_differentiable():
    batch = CrystalBatch.from_structures(crystals()[3:], dtype=torch.float64)
    lattice = batch.lattice.clone().requires_grad_()

    def total(cell):
        return periodic_edges(batch.replace(lattice=cell), 4.0).distance.sum()

    assert torch.autograd.gradcheck(total, lattice)


@pytest.mark.parametrize("cutoff", [torch.ones(7), -1.0, float("nan")])
def test_refuses_a_cutoff_that_does_not_fit(cutoff):
    batch = CrystalBatch.from_structures(crystals())
    with pytest.raises(ShapeError, match="cutoff"):
        periodic_edges(batch, cutoff)
