"""Differentiable periodic edges of a batch of crystals, without a loop over atoms."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ShapeError

MAX_PLACES = 4_000_000
"""Pairs times images in the box around the cutoff, searched at once; bounds the memory of large batches."""


@dataclass(frozen=True)
class Edges:
    """Directed edges between atoms and periodic images of atoms, sorted by source, then target.

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


def periodic_edges(crystals: CrystalBatch, cutoff: float | Tensor, half: bool = False) -> Edges:
    """Return every pair (atom, image of an atom) closer than the cutoff; an atom sees its own images.

    Exact for skewed and tiny cells, and no more work than edges found: images are counted off along three
    orthogonal axes in turn, each in the interval that the cutoff leaves it (Fincke and Pohst,
    doi:10.1090/S0025-5718-1985-0777278-8). Which edges exist is not differentiable, so weight them by a
    function that vanishes at the cutoff.

    Args:
        crystals: C crystals.
        cutoff: Å, one for all or (C,) one for each; taken without its gradient.
        half: leave out edges with source > target; each is the reverse of one with source < target.

    Raises:
        ShapeError: the cutoff is neither a number nor (C,), or not positive and finite; a flat cell.
    """
    reach = torch.as_tensor(cutoff, dtype=crystals.lattice.dtype, device=crystals.lattice.device).detach()
    if reach.ndim == 0:
        reach = reach.expand(crystals.n_crystals)
    if reach.shape != (crystals.n_crystals,):
        raise ShapeError(f"cutoff is {tuple(reach.shape)}, not a number or ({crystals.n_crystals},)")
    if not bool((torch.isfinite(reach) & (reach > 0)).all()):
        raise ShapeError("a cutoff is not positive and finite; is a lattice degenerate?")
    with torch.no_grad():
        source, target, image = _find(crystals, reach.double(), half)
    coords = crystals.frac_coords
    delta = coords.index_select(0, target) - coords.index_select(0, source) + image.to(coords.dtype)
    lattice = crystals.lattice.index_select(0, crystals.crystal_index.index_select(0, source))
    vector = torch.einsum("ei,eij->ej", delta, lattice)
    distance = (vector.square().sum(dim=1) + 1e-12).sqrt()
    return Edges(source, target, vector, distance)


def triangular(lattice: Tensor) -> Tensor:
    """Return (C, 3, 3) lattices turned so that the first row lies along x and the second in the xy plane."""
    a, b, c = lattice.unbind(dim=1)
    normal = torch.linalg.cross(a, b)
    length, area = a.norm(dim=1), normal.norm(dim=1)
    zero = torch.zeros_like(length)
    rows = [
        *(length, zero, zero),
        *((a * b).sum(dim=1) / length, area / length, zero),
        (a * c).sum(dim=1) / length,
        (torch.linalg.cross(normal, a) * c).sum(dim=1) / (area * length),
        (normal * c).sum(dim=1).abs() / area,
    ]
    return torch.stack(rows, dim=1).reshape(-1, 3, 3)


def _find(crystals: CrystalBatch, cutoff: Tensor, half: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return source (E,), target (E,) and image (E, 3) of all edges, crystals in chunks of bounded size."""
    axes = triangular(crystals.lattice.double())
    places = (1.0 + 2.0 * cutoff.unsqueeze(1) / axes.diagonal(dim1=1, dim2=2)).prod(dim=1)
    if not bool(torch.isfinite(places).all()):
        raise ShapeError("a cell has no volume")
    chunk = ((crystals.n_atoms**2 * places).cumsum(0) / MAX_PLACES).floor()
    starts = (chunk[1:] != chunk[:-1]).nonzero().flatten() + 1
    bounds = [0, *starts.tolist(), crystals.n_crystals]
    parts = [
        _find_chunk(crystals, axes, cutoff, low, high, half) for low, high in pairwise(bounds) if high > low
    ]
    if not parts:
        empty = crystals.crystal_index.new_zeros(0)
        return empty, empty, crystals.crystal_index.new_zeros(0, 3)
    source, target, image = (torch.cat(column) for column in zip(*parts, strict=True))
    return source, target, image


def _find_chunk(
    crystals: CrystalBatch, axes: Tensor, cutoff: Tensor, low: int, high: int, half: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the edges of crystals low..high-1."""
    source, target = _pairs(crystals.n_atoms, low, high, half)
    coords = crystals.frac_coords.double()
    delta = coords.index_select(0, target) - coords.index_select(0, source)
    pair, image = _images(delta, crystals.crystal_index.index_select(0, source), axes, cutoff.square())
    source, target = source.index_select(0, pair), target.index_select(0, pair)
    real = ((source != target) | (image != 0).any(dim=1)).nonzero().flatten()
    return source.index_select(0, real), target.index_select(0, real), image.index_select(0, real)


def _pairs(n_atoms: Tensor, low: int, high: int, half: bool) -> tuple[Tensor, Tensor]:
    """Return source and target of all pairs of atoms of crystals low..high-1, or of those not in reverse."""
    end = n_atoms.cumsum(0)
    crystal, atom = _expand((end - n_atoms)[low:high], n_atoms[low:high])
    first = atom if half else (end - n_atoms)[low:high].index_select(0, crystal)
    row, target = _expand(first, end[low:high].index_select(0, crystal) - first)
    return atom.index_select(0, row), target


def _images(delta: Tensor, crystal: Tensor, axes: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pair (E,) and image (E, 3) of all edges.

    Args:
        delta: (Q, 3) fractional difference of each pair.
        crystal: (Q,) long.
        axes: (C, 3, 3) triangular lattices.
        room: (C,) squared cutoffs.
    """
    pair = torch.arange(len(delta), device=delta.device)
    image, offset = pair.new_zeros(len(delta), 0), torch.zeros_like(delta)
    room = room.index_select(0, crystal)
    for k in (2, 1, 0):
        step = axes[:, k, k].index_select(0, crystal)
        middle, width = -offset[:, k] / step - delta[:, k], room.clamp(min=0.0).sqrt() / step
        first = (middle - width).floor().long() + 1
        row, number = _expand(first, ((middle + width).ceil().long() - first).clamp(min=0))
        pair, image = pair.index_select(0, row), image.index_select(0, row)
        image = torch.cat([number.unsqueeze(1), image], dim=1)
        if k > 0:
            crystal, delta, offset, room = (x.index_select(0, row) for x in (crystal, delta, offset, room))
            along = (delta[:, k] + number).unsqueeze(1) * axes[:, k].index_select(0, crystal)
            offset = offset + along
            room = room - offset[:, k].square()
    return pair, image


def _expand(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row of each number, and the number, where a row holds `count` of them from `first` on."""
    end = count.cumsum(0)
    row = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return row, torch.arange(len(row), device=count.device) + (first - end + count).index_select(0, row)
