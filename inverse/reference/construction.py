"""Known phases rebuilt from their carried signatures: elements put into a prototype, scaled to the volume.

The prototypes are the structure type's learned shapes. What no shape is known of is built where symmetry
leaves only the volume free, and filled by a decoder elsewhere. All is checked against the signature again.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from pymatgen.core import Structure

from inverse.reference.geometries import Geometry, built, geometries_of
from inverse.reference.signatures import CARRIED_SYMPREC, Cell, Signature, parse_signature, signature_text
from inverse.reference.skeletons import Skeleton, anonymous, skeletons_of
from inverse.reference.structure_types import alike_class
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import EngineError

Complete = Callable[[SymmetricCrystals, int], SymmetricCrystals]
"""(skeletons, seed) -> the same with free lattice and coordinates filled; a decoder's `complete`."""

AXIAL_RATIO: Mapping[str, float] = {
    "187|1 -26m A|1 -26m B": 0.976,
    "191|1 /6mmm A|2 -26m B": 1.06,
    "191|1 /6mmm A": 0.93,
    "194|2 -26m A": 1.60,
    "194|2 -26m A|2 -3.m B": 1.60,
    "194|2 -26m A|2 -26m B": 2.6,
    "194|2 -3.m A|2 -26m B": 1.25,
    "194|2 -26m A|2 -26m A": 2.46,
    "123|1 /4mmm A|1 /4mmm B": 1.30,
    "166|3 -3m A": 2.6,
}
"""c/a of common types whose sites are fixed by symmetry (textbook values: WC, AlB2, hcp, NiAs ...)."""


MOST_SHAPES = 16
"""Shapes of a type that are tried, the most frequent first."""


def structure_of(
    found: Signature, complete: Complete | None = None, seed: int = 0, axial_ratio: float | None = None
) -> Structure | None:
    """Return a crystal (primitive cell) with this signature and volume per atom; None when that fails.

    The prototype is the structure type's learned shape (`rebuilt`); without one, sites without free
    coordinates in a cubic cell, or in one whose c/a is given or tabulated, need nothing, and others are
    handed to `complete` and scaled to the volume. What comes back has exactly this signature; of several
    Wyckoff assignments that have it, the one with the most room between atoms.

    Args:
        found: signature and volume.
        complete: a decoder's.
        seed: of the decoder's draws.
        axial_ratio: c/a of sites that symmetry fixes, instead of the prototype's.

    Raises:
        StructureError: not a signature.
    """
    if axial_ratio is None and (structure := rebuilt(found)) is not None:
        return structure
    is_cubic = found.space_group >= 195
    ratio = axial_ratio if axial_ratio is not None else AXIAL_RATIO.get(anonymous(found.text)[0])
    best: tuple[float, Structure] | None = None
    for skeleton in skeletons_of(found.text, limit=4 if complete is not None else 24):
        is_fixed = skeleton.n_free_coordinates == 0
        if is_fixed and is_cubic:
            structure = _built(skeleton, found.volume_per_atom, 1.0)
        elif is_fixed and ratio is not None and 75 <= found.space_group <= 194:
            structure = _built(skeleton, found.volume_per_atom, ratio)
        elif complete is not None:
            structure = _completed(skeleton, found.volume_per_atom, complete, seed)
        else:
            continue
        if structure is None or not _has(structure, found.text):
            continue
        room = closest_approach(structure)
        if best is None or room > best[0] + 1e-6:
            best = room, structure
    return None if best is None else best[1]


def rebuilt(found: Signature) -> Structure | None:
    """Return a known phase by its prototype: the elements on a learned shape of its type, at its volume.

    Of the shapes that have the signature the one with the most room between atoms, those seen with such kinds
    of elements before all others; None where no shape of the type is known or none has the signature.

    Raises:
        StructureError: not a signature.
        DataError: the packaged shapes are missing or damaged.
    """
    text, elements = anonymous(found.text)
    kinds = tuple(alike_class(e) for e in elements)
    shapes = geometries_of(text)[:MOST_SHAPES]
    seen = [shape for shape in shapes if kinds in shape.kinds]
    for own in (seen, [shape for shape in shapes if kinds not in shape.kinds]):
        structures = _on(own, elements, found.volume_per_atom)
        if fitting := [s for s in structures if _has(s, found.text)]:
            return max(fitting, key=closest_approach)
    return None


def _on(shapes: Sequence[Geometry], elements: Sequence[str], volume_per_atom: float) -> list[Structure]:
    """Return the elements on each shape, primitive cells of exactly this volume per atom."""
    if not shapes:
        return []
    crystals = built(shapes, [elements] * len(shapes), [volume_per_atom] * len(shapes))
    structures = crystals.to_structures(primitive=True)
    return [s.scale_lattice(volume_per_atom * len(s)) for s in structures]


def is_buildable(text: str) -> bool:
    """Return whether `structure_of` needs no decoder for this signature."""
    return bool(geometries_of(anonymous(text)[0])) or fixed_by_symmetry(text)


def closest_approach(structure: Structure) -> float:
    """Return the smallest interatomic distance over the sum of covalent radii (Cordero 2008)."""
    from ase.data import covalent_radii

    radii = np.array([covalent_radii[site.specie.Z] for site in structure])
    reduced = structure.lattice.get_lll_reduced_lattice()
    distances = structure.distance_matrix + min(reduced.abc) * np.eye(len(structure))
    return float((distances / (radii[:, None] + radii[None, :])).min())


def _has(structure: Structure, text: str) -> bool:
    return signature_text(Cell.from_structure(structure), CARRIED_SYMPREC) == text


def _skeleton_crystal(skeleton: Skeleton, volume_per_atom: float) -> SymmetricCrystals:
    letters, species = zip(*skeleton.sites, strict=True)
    return SymmetricCrystals.from_skeleton(skeleton.space_group, letters, species, volume_per_atom)


def _built(skeleton: Skeleton, volume_per_atom: float, ratio: float) -> Structure | None:
    crystal = _skeleton_crystal(skeleton, volume_per_atom)
    lengths = crystal.free_lattice.clone()
    lengths[:, 2] += torch.log(torch.tensor(ratio)) if skeleton.space_group < 195 else 0.0
    structure = crystal.replace(free_lattice=lengths).to_structures(primitive=True)[0]
    return structure.scale_lattice(volume_per_atom * len(structure))


def _completed(skeleton: Skeleton, volume_per_atom: float, complete: Complete, seed: int) -> Structure | None:
    try:
        crystal = complete(_skeleton_crystal(skeleton, volume_per_atom), seed)
        structure = crystal.to_structures(primitive=True)[0]
    except EngineError:
        return None
    return structure.scale_lattice(volume_per_atom * len(structure))


def fixed_by_symmetry(text: str) -> bool:
    """Return whether symmetry leaves nothing free but the volume, and c/a where it is tabulated."""
    space_group = parse_signature(text)[0]
    has_ratio = space_group >= 195 or anonymous(text)[0] in AXIAL_RATIO
    return has_ratio and any(s.n_free_coordinates == 0 for s in skeletons_of(text, limit=4))
