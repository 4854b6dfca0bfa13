"""A large batch of crystals in shares that fit the memory, and their predictions joined again."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.features.graph import cutoff_radius
from surrogates.physics.properties import Property
from surrogates.protocol import Prediction

EDGES_ON_CPU = 20_000
"""Edges in one share on a CPU: smaller ones pay for calls, larger ones for page faults."""

BYTES_PER_EDGE = 16_000
"""Memory that one edge takes on a GPU on its way through one network, generously."""


def shares(crystals: CrystalBatch, reach: float) -> Iterator[CrystalBatch]:
    """Yield the crystals in order, as many at a time as go through a network together; all if there are none.

    The memory that a prediction without gradient takes is that of one share; with gradients every share is
    kept until the backward pass. Differentiable: shares are slices.

    Args:
        crystals: C crystals.
        reach: of the graphs, see `cutoff_radius`.
    """
    place = n_edges(crystals, reach).cumsum(0) / _room(crystals.lattice.device)
    starts = (place[1:].floor() != place[:-1].floor()).nonzero().flatten() + 1
    if len(starts) == 0:
        yield crystals
        return
    first_atom = [0, *crystals.n_atoms.cumsum(0).tolist()]
    for low, high in pairwise([0, *starts.tolist(), crystals.n_crystals]):
        atoms = slice(first_atom[low], first_atom[high])
        yield CrystalBatch(
            lattice=crystals.lattice[low:high],
            frac_coords=crystals.frac_coords[atoms],
            occupancy=crystals.occupancy[atoms],
            crystal_index=crystals.crystal_index[atoms] - low,
            scale=crystals.scale[low:high],
        )


def n_edges(crystals: CrystalBatch, reach: float) -> Tensor:
    """Return (C,) about how many edges the graph of each crystal has: density times volume of the sphere."""
    n_atoms = crystals.n_atoms.double()
    volume = crystals.volume.detach().double() / n_atoms
    expected = n_atoms * 4.19 * cutoff_radius(volume, reach).pow(3) / volume
    return expected.nan_to_num(nan=0.0, posinf=0.0)


def joined(parts: Sequence[Mapping[Property, Prediction]]) -> Mapping[Property, Prediction]:
    """Return the predictions of all shares as those of one batch; at least one share."""
    if len(parts) == 1:
        return parts[0]
    return {prop: _joined([part[prop] for part in parts]) for prop in parts[0]}


def _joined(parts: Sequence[Prediction]) -> Prediction:
    return Prediction(
        property=parts[0].property,
        mean=torch.cat([p.mean for p in parts]),
        std=torch.cat([p.std for p in parts]),
        lower=torch.cat([p.lower for p in parts]),
        upper=torch.cat([p.upper for p in parts]),
        samples=torch.cat([p.samples for p in parts], dim=1),
        in_domain=torch.cat([p.in_domain for p in parts]),
    )


def _room(device: torch.device) -> float:
    """Return how many edges go into one share."""
    if device.type != "cuda":
        return EDGES_ON_CPU
    return max(1.0, 0.5 * torch.cuda.mem_get_info(device)[0] / BYTES_PER_EDGE)
