"""Where the shared data lies, and its crystal rows."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

from surrogates.errors import DataError
from surrogates.platform.data_folder import SETTING, data_folder


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
