"""Writes golden_graph.json beside it: pair features of four crystals, each pair's folded into two numbers.

The file was made by `python -m tests.surrogates.golden_graph` at commit b27082d with torch 2.13.0, when all
images in a box were tested and every edge had its own features. The numbers must stay within 1e-9 in float64.
"""

import json
from pathlib import Path

import torch

from surrogates.crystals.batch import CrystalBatch
from surrogates.features.graph import CrystalGraph
from tests.surrogates.tiny import crystals

PATH = Path(__file__).with_suffix(".json")


def folded() -> dict[str, list[float]]:
    """Return source, target and two weighted sums of features for each pair, sorted by source and target."""
    graph = CrystalGraph.from_crystals(CrystalBatch.from_structures(crystals(), dtype=torch.float64), 2.0)
    order = (graph.source * 1000 + graph.target).argsort()
    columns = {
        "source": graph.source,
        "target": graph.target,
        "radial": graph.radial @ torch.arange(graph.radial.shape[1]).double().cos(),
        "angular": graph.angular.flatten(1) @ torch.arange(graph.angular[0].numel()).double().cos(),
    }
    return {name: values[order].tolist() for name, values in columns.items()}


if __name__ == "__main__":
    PATH.write_text(json.dumps(folded()), encoding="utf-8")
