"""CrystalGraph: sites and what each sees of every other; whole crystals, or one site per symmetry orbit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.neighbors import periodic_edges
from surrogates.features.basis import (
    DEGREES,
    N_HARMONICS,
    N_RADIAL,
    N_SHELLS,
    envelope,
    length_features,
    spherical_harmonics,
)
from surrogates.features.elements import element_property

MAX_CUTOFF = 12.0
"""Å; keeps the edges of very dilute cells (slabs, molecules in a box) bounded."""


@dataclass(frozen=True)
class CrystalGraph:
    """N sites of C crystals; edges summed into P ordered pairs of sites.

    A network that is linear in the features of a pair gives the same answer for whole crystals, supercells
    and graphs of one site per symmetry orbit (`weight` its multiplicity, pairs point to representatives).

    Attributes:
        occupancy: (N, Z).
        weight: (N,) atoms that each site stands for.
        crystal_index: (N,) long.
        source: (P,) long, site that looks.
        target: (P,) long, site that is seen.
        radial: (P, N_RADIAL) sums over the edges of the pair.
        angular: (P, N_HARMONICS, N_SHELLS) likewise.
        volume_per_atom: (C,) Å³.
        scale: (C,) long.
    """

    occupancy: Tensor
    weight: Tensor
    crystal_index: Tensor
    source: Tensor
    target: Tensor
    radial: Tensor
    angular: Tensor
    volume_per_atom: Tensor
    scale: Tensor

    @property
    def n_crystals(self) -> int:
        """Number of crystals C."""
        return int(self.volume_per_atom.shape[0])

    @classmethod
    def from_crystals(cls, crystals: CrystalBatch, reach: float) -> "CrystalGraph":
        """Return the graph of whole crystals; differentiable in lattice, frac_coords and occupancy."""
        volume = crystals.volume / crystals.n_atoms.to(crystals.lattice.dtype)
        edges = periodic_edges(crystals, cutoff_radius(volume, reach), half=True)
        weight = torch.ones_like(crystals.occupancy[:, 0])
        half = pair_features(
            edges.source,
            edges.target,
            edges.vector,
            crystals.occupancy,
            crystals.crystal_index,
            volume,
            reach,
        )
        pairs = _with_reverses(*half)
        return cls(crystals.occupancy, weight, crystals.crystal_index, *pairs, volume, crystals.scale)

    def mean(self, values: Tensor) -> Tensor:
        """Return (C, F) means of (N, F) site values over the atoms of each crystal."""
        total = values.new_zeros(self.n_crystals, values.shape[1])
        total = total.index_add(0, self.crystal_index, values * self.weight.unsqueeze(1))
        count = values.new_zeros(self.n_crystals).index_add(0, self.crystal_index, self.weight)
        return total / count.unsqueeze(1)


def pair_features(
    source: Tensor,
    target: Tensor,
    vector: Tensor,
    occupancy: Tensor,
    crystal_index: Tensor,
    volume_per_atom: Tensor,
    reach: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return source, target, radial and angular features of the pairs that the edges (E,) make up."""
    first, second, pair = _distinct(source, target, occupancy.shape[0])
    distance = (vector.square().sum(dim=1) + 1e-12).sqrt()
    cutoff = cutoff_radius(volume_per_atom, reach).index_select(0, crystal_index)
    radius = occupancy @ element_property("covalent_radius").to(occupancy)
    sum_of_radii = radius.index_select(0, first) + radius.index_select(0, second)
    reduced = distance / cutoff.index_select(0, source)
    radial, shells = length_features(reduced, distance / sum_of_radii.index_select(0, pair))
    fade = envelope(reduced).unsqueeze(1)
    radial = vector.new_zeros(len(first), N_RADIAL).index_add(0, pair, radial * fade)
    harmonics = spherical_harmonics(vector / distance.unsqueeze(1)).unsqueeze(2)
    terms = harmonics * (shells * fade).unsqueeze(1)
    angular = vector.new_zeros(len(first), N_HARMONICS, N_SHELLS).index_add(0, pair, terms)
    return first, second, radial, angular


def _distinct(source: Tensor, target: Tensor, n_sites: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return source and target of the distinct pairs among edges (E,), and the pair (E,) of each edge."""
    key = source * n_sites + target
    is_sorted = bool((key[1:] >= key[:-1]).all())
    find = torch.unique_consecutive if is_sorted else torch.unique
    distinct, pair = find(key, return_inverse=True)
    return torch.div(distinct, n_sites, rounding_mode="floor"), distinct % n_sites, pair


def _with_reverses(
    source: Tensor, target: Tensor, radial: Tensor, angular: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pairs with source <= target and the reverses of the others; odd degrees change their sign."""
    other = (source < target).nonzero().flatten()
    sign = torch.cat([angular.new_full((2 * k + 1,), (-1.0) ** k) for k in DEGREES]).reshape(-1, 1)
    return (
        torch.cat([source, target.index_select(0, other)]),
        torch.cat([target, source.index_select(0, other)]),
        torch.cat([radial, radial.index_select(0, other)]),
        torch.cat([angular, angular.index_select(0, other) * sign]),
    )


def cutoff_radius(volume_per_atom: Tensor, reach: float) -> Tensor:
    """Return (C,) cutoffs, Å: `reach` times the cube root of the volume per atom, at most MAX_CUTOFF.

    Scaling with the crystal keeps about 4/3 pi reach^3 neighbours everywhere and is smooth in the lattice.
    """
    return (reach * volume_per_atom.pow(1.0 / 3.0)).clamp(max=MAX_CUTOFF)
