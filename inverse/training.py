"""`inverse train`: shipped surrogates anew, or a surrogate of a table that the user brings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train(config: str | Path | Mapping[str, Any], output: str | Path | None = None) -> dict[str, Any]:
    """Return the report of a training run: held-out errors beside the constant baseline, and where the weights are.

    The config names a `kind`: `composition` (formula tables), `structure` (crystal structures) or `table`
    (a user's CSV of formulas, or a folder of structures with a CSV).

    Raises:
        ConfigError: a config that cannot be carried out; names the key and the nearest valid one.
        DataError: a table or folder that is missing or damaged.
    """
    raise NotImplementedError
