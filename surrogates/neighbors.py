"""Differentiable periodic edges of a batch of crystals, without a loop over atoms."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from surrogates.crystal import CrystalBatch
from surrogates.errors import ShapeError

MAX_CANDIDATES = 4_000_000
"""Pairs times images tested at once; bounds the memory of large batches."""


@dataclass(frozen=True)
class Edges:
    """Directed edges between atoms and periodic images of atoms, sorted by source.

    Attributes:
        source: (E,) long; the atom that looks.
        target: (E,) long; the atom whose image is seen.
        vector: (E, 3) Å from source to the image of target; differentiable in lattice and frac_coords.
        distance: (E,) Å.
    """

    source: Tensor
    target: Tensor
    vector: Tensor
    distance: Tensor


def periodic_edges(crystals: CrystalBatch, cutoff: float | Tensor) -> Edges:
    """Return every pair (atom, image of an atom) closer than the cutoff; an atom sees its own images.

    Exact for skewed and tiny cells: the image range follows from the spacing of lattice planes.
    Which edges exist is not differentiable, so weight them by a function that vanishes at the cutoff.

    Args:
        crystals: C crystals.
        cutoff: Å, one for all or (C,) one for each; taken without its gradient.

    Raises:
        ShapeError: the cutoff is neither a number nor (C,), or not positive and finite.
    """
    reach = torch.as_tensor(cutoff, dtype=crystals.lattice.dtype, device=crystals.lattice.device).detach()
    if reach.ndim == 0:
        reach = reach.expand(crystals.n_crystals)
    if reach.shape != (crystals.n_crystals,):
        raise ShapeError(f"cutoff is {tuple(reach.shape)}, not a number or ({crystals.n_crystals},)")
    if not bool((torch.isfinite(reach) & (reach > 0)).all()):
        raise ShapeError("a cutoff is not positive and finite; is a lattice degenerate?")
    with torch.no_grad():
        source, target, image = _find(crystals, reach)
    delta = crystals.frac_coords[target] - crystals.frac_coords[source] + image.to(crystals.lattice.dtype)
    lattice = crystals.lattice[crystals.crystal_index[source]]
    vector = torch.einsum("ei,eij->ej", delta, lattice)
    distance = (vector.square().sum(dim=1) + 1e-12).sqrt()
    return Edges(source, target, vector, distance)


def image_ranges(lattice: Tensor, cutoff: Tensor) -> Tensor:
    """Return (C, 3) long: how many cells to look each way so that no image within (C,) cutoff is missed.

    Valid for fractional coordinates wrapped to [0, 1). Lattice planes of axis k are 1/|b_k| apart.
    """
    planes = torch.linalg.inv(lattice.double()).norm(dim=1)
    return (cutoff.double().unsqueeze(1) * planes - 1e-9).ceil().clamp(min=1).long()


def _find(crystals: CrystalBatch, cutoff: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return source (E,), target (E,) and image (E, 3) of all edges, crystals in chunks of bounded size."""
    ranges = image_ranges(crystals.lattice, cutoff)
    n_atoms = crystals.n_atoms
    cost = (n_atoms**2 * (2 * ranges + 1).prod(dim=1)).cumsum(0)
    chunk = torch.div(cost - 1, MAX_CANDIDATES, rounding_mode="floor")
    starts = (chunk[1:] != chunk[:-1]).nonzero().flatten() + 1
    bounds = [0, *starts.tolist(), crystals.n_crystals]
    first_atom = torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)])
    parts = [
        _find_chunk(crystals, cutoff, ranges, n_atoms, first_atom, low, high)
        for low, high in pairwise(bounds)
        if high > low
    ]
    if not parts:
        empty = n_atoms.new_zeros(0)
        return empty, empty, n_atoms.new_zeros(0, 3)
    source, target, image = (torch.cat(column) for column in zip(*parts))
    return source, target, image


def _find_chunk(
    crystals: CrystalBatch,
    cutoff: Tensor,
    ranges: Tensor,
    n_atoms: Tensor,
    first_atom: Tensor,
    low: int,
    high: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges of crystals low..high-1."""
    lattice, n, extent = crystals.lattice[low:high], n_atoms[low:high], ranges[low:high]
    image, image_start, n_images = _images(extent)
    image_crystal = _repeat(n_images)
    image_vector = torch.einsum("ei,eij->ej", image.to(lattice.dtype), lattice[image_crystal])

    pair_crystal = _repeat(n * n)
    local = _arange_within(n * n)
    offset = first_atom[low:high][pair_crystal]
    source = offset + torch.div(local, n[pair_crystal], rounding_mode="floor")
    target = offset + local % n[pair_crystal]
    cell = torch.floor(crystals.frac_coords)
    wrapped = crystals.frac_coords - cell
    pair_vector = torch.einsum("ei,eij->ej", wrapped[target] - wrapped[source], lattice[pair_crystal])

    per_pair = n_images[pair_crystal]
    pair = _repeat(per_pair)
    seen = _arange_within(per_pair) + image_start[pair_crystal][pair]
    squared = (pair_vector[pair] + image_vector[seen]).square().sum(dim=1)
    keep = (squared < cutoff[low:high][pair_crystal][pair].square()).nonzero().flatten()
    pair, seen = pair[keep], seen[keep]
    real = ~((source[pair] == target[pair]) & (image[seen] == 0).all(dim=1))
    pair, seen = pair[real], seen[real]
    shift = image[seen] + (cell[source[pair]] - cell[target[pair]]).long()
    return source[pair], target[pair], shift


def _images(extent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return images (I, 3) of all crystals in turn, the first of each (C,) and how many each has (C,)."""
    width = 2 * extent + 1
    count = width.prod(dim=1)
    owner = _repeat(count)
    local = _arange_within(count)
    z = local % width[owner, 2]
    local = torch.div(local, width[owner, 2], rounding_mode="floor")
    y = local % width[owner, 1]
    x = torch.div(local, width[owner, 1], rounding_mode="floor")
    image = torch.stack([x, y, z], dim=1) - extent[owner]
    return image, count.cumsum(0) - count, count


def _repeat(counts: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def _arange_within(counts: Tensor) -> Tensor:
    total = int(counts.sum())
    start = counts.cumsum(0) - counts
    return torch.arange(total, device=counts.device) - torch.repeat_interleave(start, counts)
