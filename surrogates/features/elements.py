"""Fixed properties of the elements, standardised: what a network knows of an element it saw rarely."""

import json
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    raw = json.loads((Path(__file__).parent / "elements.json").read_text(encoding="utf-8"))
    return tuple(raw["columns"]), tuple(tuple(row) for row in raw["values"])


def element_columns() -> tuple[str, ...]:
    """Return the names of the columns of `element_properties`."""
    return _table()[0]


def element_property(column: str) -> Tensor:
    """Return (Z,) values of one column in its own unit (radii in Å; log_ columns are logarithms)."""
    columns, values = _table()
    return torch.tensor([row[columns.index(column)] for row in values], dtype=torch.float64).float()


def element_properties() -> Tensor:
    """Return (Z, P) properties of H to Lr, each column with mean 0 and standard deviation 1."""
    values = torch.tensor(_table()[1], dtype=torch.float64)
    return ((values - values.mean(dim=0)) / values.std(dim=0)).float()
