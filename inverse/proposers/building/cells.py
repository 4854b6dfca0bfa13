"""Structure type + elements + volume -> a crystal: learned shapes and coordinates, else the decoder's."""

from collections.abc import Sequence

import numpy as np

from inverse.reference.divided_types import divided_geometries
from inverse.reference.geometries import Geometry, packaged_geometries
from inverse.reference.skeletons import LABELS
from inverse.reference.structure_types import Prototype, alike_class
from surrogates.crystals.symmetry import SymmetricCrystals
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
