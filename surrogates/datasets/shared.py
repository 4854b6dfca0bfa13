"""Where the shared data lies, and its crystal rows."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surrogates.errors import DataError

SETTING = "INVERSE_DATA"
"""Environment variable that names the data folder; without it `../shared/data` beside the repository."""


def data_folder() -> Path:
    """Return the folder of shared data, whether it exists or not."""
    setting = os.environ.get(SETTING)
    return Path(setting) if setting else Path(__file__).parents[2].parent / "shared" / "data"


def has_structures() -> bool:
    """Return whether the crystal structures are there."""
    return (data_folder() / "structures" / "elasticity.jsonl.gz").is_file()


def crystal_rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of `structures/<name>.jsonl.gz`: lattice, species, frac_coords and values.

    Raises:
        DataError: the file is missing or damaged; names the setting.
    """
    path = data_folder() / "structures" / f"{name}.jsonl.gz"
    if not path.is_file():
        raise DataError(f"{path} is missing; set {SETTING} to the folder that holds structures/")
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged: {error}") from None
