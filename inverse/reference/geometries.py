"""Usual shapes of structure types: cell and coordinates, learned from the known structures."""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from surrogates.errors import DataError


@dataclass(frozen=True)
class Geometry:
    """A usual shape of a structure type, learned as the mean over the known structures that share it.

    Attributes:
        text: the type, a signature with labels for elements.
        letters: Wyckoff letter of each site.
        labels: element label of each site.
        lattice: (6,) free lattice numbers; lengths in units of the cube root of the volume per atom.
        coords: (sites, 3) of the first representatives.
        count: formulas it was learned from.
        kinds: classes of alike elements on the labels -> structures.
    """

    text: str
    letters: tuple[str, ...]
    labels: tuple[str, ...]
    lattice: tuple[float, ...]
    coords: tuple[tuple[float, ...], ...]
    count: int
    kinds: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    @property
    def space_group(self) -> int:
        """International number."""
        return int(self.text.partition("|")[0])


@lru_cache(maxsize=1)
def packaged_geometries() -> Mapping[str, tuple[Geometry, ...]]:
    """Return the learned shapes by structure type, most frequent first; read once.

    Raises:
        DataError: the packaged file is missing or damaged.
    """
    try:
        packed = files("inverse.reference").joinpath("prototype_geometries.json.gz").read_bytes()
        found: dict[str, list[Geometry]] = {}
        for row in json.loads(gzip.decompress(packed)):
            found.setdefault(row["type"], []).append(_geometry(row))
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise DataError(f"prototype_geometries.json.gz cannot be read: {error}") from None
    return {key: tuple(sorted(value, key=lambda g: -g.count)) for key, value in found.items()}


def _geometry(row: Mapping[str, Any]) -> Geometry:
    return Geometry(
        text=row["type"],
        letters=tuple(site[:-1] for site in row["sites"]),
        labels=tuple(site[-1] for site in row["sites"]),
        lattice=tuple(row["lattice"]),
        coords=tuple(tuple(c) for c in row["coords"]),
        count=int(row["count"]),
        kinds={tuple(key.split("|")): int(n) for key, n in row["kinds"].items()},
    )
