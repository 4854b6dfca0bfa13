import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from surrogates.crystals import neighbors
from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.neighbors import periodic_edges, triangular
from surrogates.errors import ShapeError
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
        closer = distance < cutoff - 1e-9  # pymatgen counts an image at the cutoff itself as a neighbour
        source, target, distance = source[closer], target[closer], distance[closer]
        mine = owner == k
        pairs = zip(
            (edges.source[mine] - first[k]).tolist(), (edges.target[mine] - first[k]).tolist(), strict=True
        )
        assert sorted(pairs) == sorted(zip(source.tolist(), target.tolist(), strict=True))
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
    monkeypatch.setattr(neighbors, "MAX_PLACES", 500)
    parts = periodic_edges(batch, 5.0)
    assert torch.equal(whole.source, parts.source)
    assert torch.equal(whole.vector, parts.vector)


def test_half_of_the_edges_and_their_reverses_are_all_of_them():
    batch = CrystalBatch.from_structures(crystals(), dtype=torch.float64)
    whole, half = periodic_edges(batch, 5.0), periodic_edges(batch, 5.0, half=True)
    assert (half.source <= half.target).all()
    other = half.source < half.target

    def rows(source, target, vector):
        return sorted(
            zip(source.tolist(), target.tolist(), *vector.round(decimals=6).T.tolist(), strict=True)
        )

    mirrored = (
        torch.cat([half.source, half.target[other]]),
        torch.cat([half.target, half.source[other]]),
        torch.cat([half.vector, -half.vector[other]]),
    )
    assert rows(*mirrored) == rows(whole.source, whole.target, whole.vector)


def test_edges_are_sorted_by_source_then_target():
    edges = periodic_edges(CrystalBatch.from_structures(crystals()), 5.0)
    key = edges.source * 100 + edges.target
    assert (key.diff() >= 0).all()


def test_triangular_lattices_keep_lengths_and_angles():
    lattice = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = triangular(lattice)
    torch.testing.assert_close(turned @ turned.mT, lattice @ lattice.mT)
    assert (turned.diagonal(dim1=1, dim2=2) > 0).all()
    assert (turned.triu(1) == 0).all()


def test_refuses_a_flat_cell():
    batch = CrystalBatch.from_structures(crystals())
    with pytest.raises(ShapeError, match="no volume"):
        periodic_edges(batch.replace(lattice=torch.ones_like(batch.lattice)), 4.0)


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
