"""Shares of large batches, and the graph's numbers against those of the plain way of computing them."""

import json

import pytest
import torch

from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.neighbors import periodic_edges
from surrogates.features.graph import cutoff_radius
from surrogates.tiers import batching
from surrogates.tiers.batching import n_edges, shares
from tests.surrogates.golden_graph import PATH, folded
from tests.surrogates.tiny import crystals, tiny_surrogate


def batch(n: int = 5) -> CrystalBatch:
    return CrystalBatch.from_structures(crystals() * n, dtype=torch.float64)


def test_pair_features_keep_their_golden_numbers():
    golden, now = json.loads(PATH.read_text(encoding="utf-8")), folded()
    assert now["source"] == golden["source"]
    assert now["target"] == golden["target"]
    for name in ("radial", "angular"):
        assert now[name] == pytest.approx(golden[name], rel=1e-9, abs=1e-9)


def test_shares_are_the_batch_in_order(monkeypatch):
    monkeypatch.setattr(batching, "EDGES_ON_CPU", 300)
    parts = list(shares(batch(), 2.0))
    assert len(parts) > 3
    assert sum(part.n_crystals for part in parts) == batch().n_crystals
    for name in ("lattice", "frac_coords", "occupancy", "scale"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch(), name))
    limit = 300 + float(n_edges(batch(), 2.0).max())
    assert all(float(n_edges(part, 2.0).sum()) <= limit for part in parts)


def test_expected_edges_are_about_those_there_are():
    real = CrystalBatch.from_structures(crystals())
    edges = periodic_edges(real, cutoff_radius(real.volume / real.n_atoms, 2.0))
    counted = torch.bincount(real.crystal_index[edges.source]).double()
    torch.testing.assert_close(n_edges(real, 2.0), counted, rtol=0.4, atol=0)


def test_predictions_do_not_depend_on_the_shares(monkeypatch):
    surrogate = tiny_surrogate()
    whole = surrogate.predict(batch(), surrogate.properties)
    monkeypatch.setattr(batching, "EDGES_ON_CPU", 300)
    parts = surrogate.predict(batch(), surrogate.properties)
    for prop, prediction in whole.items():
        for name in ("mean", "std", "lower", "upper", "samples", "in_domain"):
            torch.testing.assert_close(getattr(parts[prop], name), getattr(prediction, name))


def test_gradients_do_not_depend_on_the_shares(monkeypatch):
    surrogate = tiny_surrogate()

    def gradients():
        leaves = {
            name: getattr(batch(), name).clone().requires_grad_()
            for name in ("lattice", "frac_coords", "occupancy")
        }
        found = surrogate.predict(batch().replace(**leaves), surrogate.properties)
        total = sum(p.samples.sum() + p.std.sum() for p in found.values())
        return torch.autograd.grad(total, tuple(leaves.values()))

    whole = gradients()
    monkeypatch.setattr(batching, "EDGES_ON_CPU", 300)
    for one, other in zip(whole, gradients(), strict=True):
        torch.testing.assert_close(one, other)


def test_no_crystals_are_one_empty_share():
    surrogate = tiny_surrogate()
    found = surrogate.predict(CrystalBatch.from_structures([], dtype=torch.float64), surrogate.learned)
    assert all(p.mean.shape == (0,) for p in found.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cpu_and_gpu_agree():
    surrogate = tiny_surrogate(dtype=torch.float32)
    crystals_here = batch().to(dtype=torch.float32)
    here = surrogate.predict(crystals_here, surrogate.properties)
    there = surrogate.to("cuda").predict(crystals_here.to("cuda"), surrogate.properties)
    for prop, prediction in here.items():
        torch.testing.assert_close(there[prop].mean.cpu(), prediction.mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(there[prop].std.cpu(), prediction.std, rtol=1e-4, atol=1e-4)
