import numpy as np
import pytest
import torch

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError, ShapeError
from surrogates.features.descriptors import crystal_descriptors
from surrogates.features.graph import CrystalGraph
from surrogates.models.trees import Trees, bin_edges, binned
from surrogates.training.boosting import BoostingConfig, grow
from tests.surrogates.tiny import N_DESCRIPTORS, crystals, tiny_trees


def random_tree(rng, n_leaves):
    """A random tree as LightGBM dumps it, and its nodes for a plain walk."""
    tree = {"leaf_value": float(rng.normal())}
    for _ in range(n_leaves - 1):
        parent, side, node = None, None, tree
        while "leaf_value" not in node:
            parent, side = node, rng.choice(["left_child", "right_child"])
            node = node[side]
        inner = {
            "split_feature": int(rng.integers(5)),
            "threshold": float(rng.integers(62)) + 0.5,
            "decision_type": "<=",
            "left_child": {"leaf_value": float(rng.normal())},
            "right_child": {"leaf_value": float(rng.normal())},
        }
        if parent is None:
            tree = inner
        else:
            parent[side] = inner
    return tree


def walk(node, bins):
    while "leaf_value" not in node:
        goes_left = bins[node["split_feature"]] <= node["threshold"]
        node = node["left_child" if goes_left else "right_child"]
    return node["leaf_value"]


def test_trees_answer_as_a_plain_walk_does():
    rng = np.random.default_rng(0)
    grown = [random_tree(rng, n) for n in (1, 2, 5, 12, 31)]
    x = torch.tensor(rng.normal(size=(200, 5)))
    edges = bin_edges(x)
    trees = Trees.from_dump([{"tree_structure": t} for t in grown], edges)
    bins = binned(x, edges).numpy()
    expected = [sum(walk(t, row) for t in grown) for row in bins]
    torch.testing.assert_close(trees.predict(x), torch.tensor(expected).double(), rtol=1e-6, atol=1e-6)


def test_trees_come_back_from_their_tensors():
    x = torch.linspace(-2, 2, 40).repeat(N_DESCRIPTORS, 1).T
    trees = tiny_trees()
    again = Trees.from_tensors(trees.to_tensors("t"), "t")
    assert again.depth == trees.depth == 2
    assert torch.equal(again.predict(x), trees.predict(x))
    assert trees.to_tensors("t")["t.cut"].dtype == torch.uint8


def test_grown_trees_answer_as_lightgbm_does():
    lightgbm = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.normal(size=(400, 6)), dtype=torch.float32)
    y = (x[:, 0].sign() + 0.3 * x[:, 1]).where(torch.arange(400) > 3, torch.nan)
    config = BoostingConfig(rounds=30, leaves=7, columns=0.8)
    trees = grow(x, y, torch.ones(400), config)
    error = (trees.predict(x)[4:] - y[4:]).abs().mean()
    assert error < 0.4 * y[4:].std()
    columns = binned(x[4:], trees.edges).float().numpy()
    settings = {"num_leaves": 7, "verbose": -1, "min_data_in_bin": 1, "max_bin": 255, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(columns, y[4:].numpy()), 20)
    ours = Trees.from_dump(booster.dump_model()["tree_info"], trees.edges).predict(x[4:])
    np.testing.assert_allclose(ours.numpy(), booster.predict(columns), rtol=1e-5, atol=1e-5)


def test_edges_avoid_values_that_many_crystals_share():
    x = torch.cat([torch.zeros(50, 1), torch.rand(50, 1) + 1.0])
    edges = bin_edges(x)
    assert not bool((edges == 0.0).any())
    assert torch.equal(edges, edges.half().float())
    assert int(binned(torch.tensor([[1e-4]]), edges)) == int(binned(torch.tensor([[-1e-4]]), edges))


def test_a_split_that_is_no_threshold_is_refused():
    node = {"leaf_value": 0.0}
    tree = {
        "split_feature": 0,
        "threshold": "1||2",
        "decision_type": "==",
        "left_child": node,
        "right_child": node,
    }
    with pytest.raises(DataError, match="=="):
        Trees.from_dump([{"tree_structure": tree}], torch.zeros(1, 63))


def test_tables_that_differ_are_refused():
    trees = tiny_trees()
    with pytest.raises(ShapeError, match="trees of leaves"):
        Trees(trees.edges, trees.feature, trees.cut, trees.left, trees.right, trees.leaf[:1], 2)


def test_descriptors_do_not_know_the_cell_that_was_chosen():
    structures = crystals()
    doubled = [s * (2, 1, 1) for s in structures]
    found = []
    for cells in (structures, doubled):
        graph = CrystalGraph.from_crystals(CrystalBatch.from_structures(cells, dtype=torch.float64), 2.0)
        found.append(crystal_descriptors(graph))
    assert found[0].shape == (4, N_DESCRIPTORS)
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
