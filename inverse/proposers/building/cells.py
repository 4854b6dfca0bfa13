"""Structure type + elements + volume -> a crystal: learned shapes and coordinates, else the decoder's."""

from collections.abc import Sequence

import numpy as np
import torch

from inverse.reference.divided_types import divided_geometries
from inverse.reference.geometries import Geometry, packaged_geometries
from inverse.reference.skeletons import LABELS
from inverse.reference.structure_types import Prototype, alike_class
from surrogates.crystals.batch import N_ELEMENTS, element_index
from surrogates.crystals.symmetry import HARD_LOGIT, LETTERS, SymmetricCrystals
from surrogates.errors import DataError

ROUGH_VOLUME = 15.0
"""Å³ per atom where nothing better is known."""


def shapes_of(prototype: Prototype, elements: Sequence[str], most: int) -> tuple[Geometry, ...]:
    """Return the shapes of a type, those seen with such kinds of elements first; () when there is none.

    Of these, and of the others, the most frequent first, as they are carried.
    A type of many elements that no shape was learned of may be a divided one, with the shape it comes from.
    """
    kinds = tuple(alike_class(e) for e in elements)
    return tuple(sorted(_shapes(prototype), key=lambda g: -g.kinds.get(kinds, 0))[:most])


def has_shape(prototype: Prototype) -> bool:
    """Return whether a type can be built without a decoder."""
    return bool(_shapes(prototype))


def _shapes(prototype: Prototype) -> tuple[Geometry, ...]:
    learned = packaged_geometries().get(prototype.text)
    return learned or divided_geometries(len(prototype.counts)).get(prototype.text, ())


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


def skeleton(prototype: Prototype, elements: Sequence[str], volume_per_atom: float) -> SymmetricCrystals:
    """Return a crystal whose free numbers are still a decoder's to complete.

    Raises:
        DataError: the type has no Wyckoff skeleton.
    """
    found = prototype.skeleton
    if found is None:
        raise DataError(f"structure type {prototype.text} has no Wyckoff skeleton")
    letters = [letter for letter, _ in found.sites]
    species = [elements[LABELS.index(label)] for _, label in found.sites]
    volume = volume_per_atom if np.isfinite(volume_per_atom) else ROUGH_VOLUME
    return SymmetricCrystals.from_skeleton(found.space_group, letters, species, volume)


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
