"""A plain crystal graph network with gated convolutions: a baseline that the shipped networks must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from surrogates.crystals.batch import SCALES
from surrogates.datasets.orbits import GraphStore, ragged_rows
from surrogates.features.elements import element_properties

N_NEIGHBOURS = 12
N_DISTANCES = 40
LONGEST = 8.0
"""Å, centre of the last Gaussian in distance."""


@dataclass(frozen=True)
class NeighbourList:
    """The nearest neighbours of N sites of C crystals, one site per symmetry orbit.

    Attributes:
        element: (N,) long.
        weight: (N,) multiplicity.
        crystal_index: (N,) long.
        target: (N, N_NEIGHBOURS) long; the site itself where there are fewer.
        distance: (N, N_NEIGHBOURS) Å; infinite where there are fewer.
        scale: (C,) long.
    """

    element: Tensor
    weight: Tensor
    crystal_index: Tensor
    target: Tensor
    distance: Tensor
    scale: Tensor


@dataclass(frozen=True)
class NeighbourStore:
    """Nearest neighbours of many crystals, flat; targets are counted within the crystal."""

    element: Tensor
    weight: Tensor
    site_start: Tensor
    target: Tensor
    distance: Tensor

    @classmethod
    def from_graphs(cls, graphs: GraphStore) -> "NeighbourStore":
        """Return the nearest neighbours in cached graphs."""
        n_sites = len(graphs.element)
        first = torch.repeat_interleave(graphs.site_start[:-1], graphs.n_edges)
        site = graphs.source.long() + first
        length = graphs.vector.norm(dim=1)
        order = torch.argsort(length, stable=True)
        order = order[torch.argsort(site[order], stable=True)]
        count = torch.bincount(site, minlength=n_sites)
        rank = torch.arange(len(order)) - torch.repeat_interleave(count.cumsum(0) - count, count)
        kept = order[rank < N_NEIGHBOURS]
        place = rank[rank < N_NEIGHBOURS]
        own = torch.arange(n_sites) - torch.repeat_interleave(
            graphs.site_start[:-1], graphs.site_start.diff()
        )
        target = own.unsqueeze(1).repeat(1, N_NEIGHBOURS)
        distance = torch.full((n_sites, N_NEIGHBOURS), torch.inf)
        target[site[kept], place] = graphs.target[kept].long()
        distance[site[kept], place] = length[kept]
        return cls(graphs.element.long(), graphs.weight, graphs.site_start, target, distance)

    def batch(self, crystals: Tensor, scale: Tensor) -> NeighbourList:
        """Return the neighbours of some crystals (C',) on the scales (C',)."""
        sites, n_sites = ragged_rows(self.site_start, crystals)
        first = torch.repeat_interleave(n_sites.cumsum(0) - n_sites, n_sites)
        index = torch.repeat_interleave(torch.arange(len(crystals)), n_sites)
        target = self.target[sites] + first.unsqueeze(1)
        return NeighbourList(
            self.element[sites], self.weight[sites], index, target, self.distance[sites], scale
        )


class GatedNetwork(nn.Module):
    """NeighbourList -> (C, 2) standardised values: gated convolutions over neighbours, then a mean.

    References:
        Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), doi:10.1103/PhysRevLett.120.145301
    """

    elements: Tensor

    def __init__(self, width: int = 64, n_blocks: int = 3, hidden: int = 128, n_outputs: int = 2) -> None:
        """Build the layers with torch's global generator."""
        super().__init__()
        self.register_buffer("elements", element_properties(), persistent=False)
        self.site = nn.Linear(self.elements.shape[1], width)
        self.mix = nn.ModuleList(nn.Linear(2 * width + N_DISTANCES, 2 * width) for _ in range(n_blocks))
        self.inner = nn.ModuleList(nn.BatchNorm1d(2 * width) for _ in range(n_blocks))
        self.outer = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(n_blocks))
        self.readout = nn.Sequential(
            nn.Softplus(), nn.Linear(width + len(SCALES), hidden), nn.Softplus(), nn.Linear(hidden, n_outputs)
        )

    def forward(self, crystals: NeighbourList) -> Tensor:
        """Return (C, n_outputs)."""
        x = self.site(self.elements[crystals.element])
        centre = torch.linspace(0.0, LONGEST, N_DISTANCES, device=x.device)
        step = LONGEST / (N_DISTANCES - 1)
        edge = torch.exp(-((crystals.distance.unsqueeze(2) - centre) / step).square())
        there = torch.isfinite(crystals.distance).unsqueeze(2)
        for mix, inner, outer in zip(self.mix, self.inner, self.outer, strict=True):
            own = x.unsqueeze(1).expand(-1, N_NEIGHBOURS, -1)
            pair = mix(torch.cat([own, x[crystals.target], edge], dim=2))
            gate, core = inner(pair.flatten(0, 1)).reshape(pair.shape).chunk(2, dim=2)
            message = torch.where(there, torch.sigmoid(gate) * nn.functional.softplus(core), 0.0).sum(dim=1)
            x = nn.functional.softplus(x + outer(message))
        n_crystals = len(crystals.scale)
        total = x.new_zeros(n_crystals, x.shape[1]).index_add(
            0, crystals.crystal_index, x * crystals.weight.unsqueeze(1)
        )
        count = x.new_zeros(n_crystals).index_add(0, crystals.crystal_index, crystals.weight)
        scale = nn.functional.one_hot(crystals.scale, len(SCALES)).to(x.dtype)
        return self.readout(torch.cat([total / count.unsqueeze(1), scale], dim=1))
