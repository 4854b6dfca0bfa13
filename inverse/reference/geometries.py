"""Usual shapes of structure types: cell and coordinates, learned from the known structures."""

import gzip
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import torch

from inverse.reference.skeletons import LABELS
from surrogates.crystals.batch import N_ELEMENTS, element_index
from surrogates.crystals.symmetry import HARD_LOGIT, LETTERS, SymmetricCrystals
from surrogates.errors import DataError

MOST_SEARCHED = 12
"""Atoms of the primitive cell up to which searches know shapes."""

SMALL, LARGE = "prototype_geometries.json.gz", "large_prototype_geometries.json.gz"
"""Shapes of types up to that size; shapes that only rebuild known phases: of larger types, and AFLOW
prototypes that no two known structures share."""


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
    return _read(SMALL)


@lru_cache(maxsize=1)
def large_geometries() -> Mapping[str, tuple[Geometry, ...]]:
    """Return the shapes that searches do without; read once, by whoever needs one.

    Raises:
        DataError: the packaged file is missing or damaged.
    """
    return _read(LARGE)


def geometries_of(text: str) -> tuple[Geometry, ...]:
    """Return the shapes of a structure type of any size, most frequent first; () when none is known.

    Raises:
        DataError: a packaged file is missing or damaged.
    """
    return packaged_geometries().get(text) or large_geometries().get(text, ())


def shapes_by_type(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Geometry, ...]]:
    """Return the shapes of records by structure type, most frequent first."""
    found: dict[str, list[Geometry]] = {}
    for row in records:
        found.setdefault(row["type"], []).append(_geometry(row))
    return {key: tuple(sorted(value, key=lambda g: -g.count)) for key, value in found.items()}


def _read(name: str) -> Mapping[str, tuple[Geometry, ...]]:
    try:
        packed = files("inverse.reference").joinpath(name).read_bytes()
        return shapes_by_type(json.loads(gzip.decompress(packed)))
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise DataError(f"{name} cannot be read: {error}") from None


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


def built(
    shapes: Sequence[Geometry], elements: Sequence[Sequence[str]], volumes: Sequence[float]
) -> SymmetricCrystals:
    """Return crystals: elements on the labels A, B, C ... of shapes, at volumes per atom (Å³)."""
    sites = [len(shape.labels) for shape in shapes]
    logits = torch.zeros(sum(sites), N_ELEMENTS)
    columns = [
        element_index(own[LABELS.index(label)])
        for shape, own in zip(shapes, elements, strict=True)
        for label in shape.labels
    ]
    logits[torch.arange(len(columns)), torch.tensor(columns, dtype=torch.long)] = HARD_LOGIT
    crystals = SymmetricCrystals(
        space_group=torch.tensor([shape.space_group for shape in shapes], dtype=torch.long),
        wyckoff=torch.tensor(
            [LETTERS.index(letter) for shape in shapes for letter in shape.letters], dtype=torch.long
        ),
        site_index=torch.repeat_interleave(torch.arange(len(shapes)), torch.tensor(sites, dtype=torch.long)),
        species_logits=logits,
        free_coords=torch.tensor([c for shape in shapes for c in shape.coords]).reshape(-1, 3),
        free_lattice=torch.tensor([shape.lattice for shape in shapes]).reshape(-1, 6),
        scale=torch.zeros(len(shapes), dtype=torch.long),
    )
    return scaled(crystals, torch.tensor(volumes))


def scaled(crystals: SymmetricCrystals, volumes: torch.Tensor) -> SymmetricCrystals:
    """Return crystals with the given volumes per atom (Å³); NaN keeps their own."""
    batch = crystals.to_crystals()
    now = batch.volume / batch.n_atoms
    shift = torch.where(torch.isfinite(volumes), (volumes / now).log() / 3.0, torch.zeros_like(now))
    lengths = torch.cat([shift[:, None].expand(-1, 3), torch.zeros(len(volumes), 3)], dim=1)
    free = crystals.free_lattice + lengths.to(crystals.free_lattice)
    return crystals.replace(
        free_lattice=torch.where(crystals.is_lattice_free.bool(), free, crystals.free_lattice)
    )
