"""Pair features of labelled crystals, as they are or disturbed: what training reads."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from surrogates.crystals.batch import N_ELEMENTS
from surrogates.datasets.orbits import CHUNK, GraphStore, ragged_rows
from surrogates.features.graph import CrystalGraph, pair_features


@dataclass(frozen=True)
class Perturbation:
    """How crystals are disturbed, labels unchanged, so that a model is right on unrelaxed structures.

    Attributes:
        strain: standard deviation of the six strains.
        displacement: Å, standard deviation of each coordinate of each neighbour.
        seed: of the generator.
    """

    strain: float = 0.015
    displacement: float = 0.06
    seed: int = 0

    def deformation(self, crystals: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return strains (C', 3, 3) and displacements (C',) of some crystals."""
        noise = torch.randn(len(crystals), 3, 3, generator=generator) * self.strain
        strain = (noise + noise.transpose(1, 2)) / 2**0.5
        return strain, torch.full((len(crystals),), self.displacement)


@dataclass(frozen=True)
class Deformation:
    """Strains and displacements chosen for each crystal, where labels change with them.

    Attributes:
        strain: (C, 3, 3) symmetric.
        displacement: (C,) Å, standard deviation of each coordinate.
        seed: of the generator that shakes.
    """

    strain: Tensor
    displacement: Tensor
    seed: int = 0

    def deformation(self, crystals: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return strains (C', 3, 3) and displacements (C',) of some crystals."""
        return self.strain[crystals], self.displacement[crystals]


@dataclass(frozen=True)
class PairStore:
    """Pair features of C crystals, flat: what training reads.

    Attributes:
        element: (N,) occupancy column of each site.
        weight: (N,) multiplicity.
        site_start: (C + 1,).
        source: (P,) counted within the crystal.
        target: (P,) counted within the crystal.
        radial: (P, N_RADIAL).
        angular: (P, N_HARMONICS, N_SHELLS).
        pair_start: (C + 1,).
        volume_per_atom: (C,) Å³.
    """

    element: Tensor
    weight: Tensor
    site_start: Tensor
    source: Tensor
    target: Tensor
    radial: Tensor
    angular: Tensor
    pair_start: Tensor
    volume_per_atom: Tensor

    @property
    def n_pairs(self) -> Tensor:
        """(C,) pairs of each crystal."""
        return self.pair_start[1:] - self.pair_start[:-1]

    def batch(self, crystals: Tensor, scale: Tensor) -> CrystalGraph:
        """Return the graph of some crystals (C',) on the scales (C',)."""
        sites, n_sites = ragged_rows(self.site_start, crystals)
        pairs, n_pairs = ragged_rows(self.pair_start, crystals)
        first = torch.repeat_interleave(n_sites.cumsum(0) - n_sites, n_pairs)
        return CrystalGraph(
            occupancy=_one_hot(self.element[sites]),
            weight=self.weight[sites],
            crystal_index=torch.repeat_interleave(torch.arange(len(crystals)), n_sites),
            source=self.source[pairs].long() + first,
            target=self.target[pairs].long() + first,
            radial=self.radial.index_select(0, pairs).float(),
            angular=self.angular.index_select(0, pairs).float(),
            volume_per_atom=self.volume_per_atom[crystals],
            scale=scale,
        )


def without_structure(store: PairStore) -> PairStore:
    """Return the store with no pairs and one volume for all: what a network sees of a formula alone."""
    return replace(
        store,
        source=store.source[:0],
        target=store.target[:0],
        radial=store.radial[:0],
        angular=store.angular[:0],
        pair_start=torch.zeros_like(store.pair_start),
        volume_per_atom=torch.full_like(store.volume_per_atom, float(store.volume_per_atom.median())),
    )


def pair_store(
    graphs: GraphStore,
    reach: float,
    perturbation: Perturbation | Deformation | None = None,
    half: bool = False,
) -> PairStore:
    """Return the pair features of graphs, as they are or disturbed; `half` keeps them as float16."""
    n = len(graphs.volume_per_atom)
    parts = [
        _pairs(graphs, torch.arange(i, min(i + CHUNK, n)), reach, perturbation) for i in range(0, n, CHUNK)
    ]
    source, target, radial, angular, count, volume = (
        torch.cat(column) for column in zip(*parts, strict=True)
    )
    return PairStore(
        graphs.element,
        graphs.weight,
        graphs.site_start,
        source,
        target,
        radial.half() if half else radial,
        angular.half() if half else angular,
        torch.cat([count.new_zeros(1), count.cumsum(0)]),
        volume,
    )


def _pairs(
    graphs: GraphStore, crystals: Tensor, reach: float, perturbation: Perturbation | Deformation | None
) -> tuple[Tensor, ...]:
    sites, n_sites = ragged_rows(graphs.site_start, crystals)
    edges, n_edges = ragged_rows(graphs.edge_start, crystals)
    first = torch.repeat_interleave(n_sites.cumsum(0) - n_sites, n_edges)
    index = torch.repeat_interleave(torch.arange(len(crystals)), n_sites)
    source, target = graphs.source[edges].long() + first, graphs.target[edges].long() + first
    vector, volume = graphs.vector[edges], graphs.volume_per_atom[crystals]
    if perturbation is not None:
        generator = torch.Generator().manual_seed(perturbation.seed * 1_000_003 + int(crystals[0]))
        strain, size = perturbation.deformation(crystals, generator)
        vector, volume = _disturb(vector, volume, source, index, torch.eye(3) + strain, size, generator)
    occupancy = _one_hot(graphs.element[sites])
    a, b, radial, angular = pair_features(source, target, vector, occupancy, index, volume, reach)
    count = torch.bincount(index[a], minlength=len(crystals))
    offset = torch.repeat_interleave(n_sites.cumsum(0) - n_sites, count)
    return (a - offset).to(torch.int16), (b - offset).to(torch.int16), radial, angular, count, volume


def _disturb(
    vector: Tensor,
    volume: Tensor,
    source: Tensor,
    index: Tensor,
    deform: Tensor,
    size: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return strained and shaken edges and the strained volumes; the site that looks moves as one."""
    own = torch.randn(len(index), 3, generator=generator) * size[index].unsqueeze(1)
    seen = torch.randn(len(vector), 3, generator=generator) * size[index[source]].unsqueeze(1)
    strained = torch.einsum("ei,eij->ej", vector, deform[index[source]])
    return strained + seen - own[source], volume * torch.linalg.det(deform)


def _one_hot(element: Tensor) -> Tensor:
    occupancy = torch.zeros(len(element), N_ELEMENTS)
    occupancy[torch.arange(len(element)), element.long()] = 1.0
    return occupancy
