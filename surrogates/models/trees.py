"""Boosted regression trees as flat tensors: grown by LightGBM, evaluated without it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from surrogates.errors import DataError, ShapeError

N_BINS = 64
"""Bins a descriptor is sorted into before a tree sees it."""

TABLES: tuple[str, ...] = ("edges", "feature", "cut", "left", "right", "leaf")
"""Tensors of `Trees`."""


@dataclass(frozen=True)
class Trees:
    """T trees over binned descriptors; the prediction is the sum of one leaf each.

    A value's bin is the number of edges below it, so that trees compare whole numbers and nothing depends
    on rounding. Inner nodes of a tree are counted from its root, 0; a child -1 - k is leaf k.

    Attributes:
        edges: (D, N_BINS - 1) ascending, infinite where a descriptor has fewer; exact in float16.
        feature: (T, M) descriptor that a node looks at.
        cut: (T, M) highest bin that goes left.
        left: (T, M) child.
        right: (T, M) child.
        leaf: (T, L) values.
        depth: most nodes from a root to a leaf.
    """

    edges: Tensor
    feature: Tensor
    cut: Tensor
    left: Tensor
    right: Tensor
    leaf: Tensor
    depth: int

    def __post_init__(self) -> None:
        """Raise ShapeError unless the tables describe the same trees."""
        if any(t.shape != self.feature.shape for t in (self.cut, self.left, self.right)):
            raise ShapeError("Trees: feature, cut, left and right differ in shape")
        if self.leaf.shape[:1] != self.feature.shape[:1]:
            raise ShapeError(f"Trees: {self.leaf.shape[0]} trees of leaves, {self.feature.shape[0]} of nodes")

    def predict(self, descriptors: Tensor) -> Tensor:
        """Return (C,) sums of leaves for (C, D) descriptors; piecewise constant, so without gradient."""
        bins = binned(descriptors.detach(), self.edges)
        n_trees, n_nodes = self.feature.shape
        first = torch.arange(n_trees, device=bins.device) * n_nodes
        node = torch.zeros(len(bins), n_trees, dtype=torch.long, device=bins.device)
        tables = [t.reshape(-1).long() for t in (self.feature, self.cut, self.left, self.right)]
        for _ in range(self.depth):
            place = node.clamp(min=0) + first
            feature, cut, left, right = (table[place] for table in tables)
            following = torch.where(bins.gather(1, feature) <= cut, left, right)
            node = torch.where(node < 0, node, following)
        leaves = self.leaf[torch.arange(n_trees, device=bins.device), -1 - node]
        return leaves.to(descriptors.dtype).sum(dim=1)

    def to(self, device: torch.device | str | None = None) -> "Trees":
        """Return the trees on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in TABLES})

    def to_tensors(self, prefix: str) -> dict[str, Tensor]:
        """Return the tables, as small as they go, by name; edges and leaves are to be kept as float16."""
        small = {"feature": torch.int16, "cut": torch.uint8, "left": torch.int16, "right": torch.int16}
        tables = {f"{prefix}.{name}": getattr(self, name).to(dtype) for name, dtype in small.items()}
        return {**tables, f"{prefix}.edges": self.edges, f"{prefix}.leaf": self.leaf}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> "Trees":
        """Return the trees that `to_tensors` wrote."""
        edges, feature, cut, left, right, leaf = (tensors[f"{prefix}.{name}"] for name in TABLES)
        return cls(edges, feature, cut, left, right, leaf, _depth(left.long(), right.long()))

    @classmethod
    def from_dump(cls, trees: Sequence[Mapping[str, Any]], edges: Tensor) -> "Trees":
        """Return LightGBM's trees (`dump_model()["tree_info"]`) that were grown on bins.

        Raises:
            DataError: a node that does not compare a number with a threshold.
        """
        grown = [_flat(tree["tree_structure"]) for tree in trees]
        n_nodes = max(1, max(len(nodes) for nodes, _ in grown))
        n_leaves = max(len(leaves) for _, leaves in grown)
        table = torch.zeros(4, len(grown), n_nodes, dtype=torch.long)
        table[2:] = -1  # an absent root leads to leaf 0
        leaf = torch.zeros(len(grown), n_leaves)
        for t, (nodes, leaves) in enumerate(grown):
            if nodes:
                table[:, t, : len(nodes)] = torch.tensor(nodes).T
            leaf[t, : len(leaves)] = torch.tensor(leaves)
        feature, cut, left, right = table
        return cls(edges, feature, cut, left, right, leaf, _depth(left, right))


def bin_edges(descriptors: Tensor) -> Tensor:
    """Return (D, N_BINS - 1) edges half-way between quantiles of (C, D) descriptors, rounded to float16.

    Half-way, so that no edge stands where many crystals have the very same value.
    """
    levels = torch.linspace(0, 1, N_BINS, dtype=torch.float64)
    quantiles = torch.quantile(descriptors.double(), levels, dim=0).T
    edges = torch.full((len(quantiles), N_BINS - 1), torch.inf)
    for d, row in enumerate(quantiles):
        distinct = row.unique()
        middle = ((distinct[1:] + distinct[:-1]) / 2).half().float().unique()
        edges[d, : len(middle)] = middle
    return edges


def binned(descriptors: Tensor, edges: Tensor) -> Tensor:
    """Return (C, D) long: the number of edges below each value."""
    return torch.searchsorted(edges.to(descriptors.dtype), descriptors.T.contiguous()).T.contiguous()


def _flat(root: Mapping[str, Any]) -> tuple[list[list[int]], list[float]]:
    """Return nodes (feature, cut, left, right) from the root on, and leaf values."""
    nodes: list[list[int]] = []
    leaves: list[float] = []

    def add(node: Mapping[str, Any]) -> int:
        if "leaf_value" in node:
            leaves.append(float(node["leaf_value"]))
            return -len(leaves)
        if node["decision_type"] != "<=":
            raise DataError(f"a tree decides by {node['decision_type']!r}, not by '<='")
        place = len(nodes)
        nodes.append([int(node["split_feature"]), int(float(node["threshold"]) // 1), 0, 0])
        nodes[place][2] = add(node["left_child"])
        nodes[place][3] = add(node["right_child"])
        return place

    add(root)
    return nodes, leaves


def _depth(left: Tensor, right: Tensor) -> int:
    """Return the most steps from a root to a leaf; children have higher numbers than their parents."""
    level = torch.zeros_like(left)
    for place in range(left.shape[1]):
        for child in (left[:, place], right[:, place]):
            rows = (child > 0).nonzero().flatten()
            level[rows, child[rows]] = level[rows, place] + 1
    return int(level.max()) + 1
