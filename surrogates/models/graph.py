"""CrystalGraph: sites with the edges they see; whole crystals, or one site per symmetry orbit."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surrogates.crystal import CrystalBatch
from surrogates.neighbors import periodic_edges

MAX_CUTOFF = 12.0
"""Å; keeps the edges of very dilute cells (slabs, molecules in a box) bounded."""


@dataclass(frozen=True)
class CrystalGraph:
    """N sites of C crystals with E directed edges.

    An invariant network gives symmetry-equivalent atoms equal features, so one site per orbit suffices:
    its edges point to the representatives of its neighbours and its weight is the orbit's multiplicity.

    Attributes:
        occupancy: (N, Z).
        weight: (N,) atoms that each site stands for.
        crystal_index: (N,) long.
        source: (E,) long, site that looks.
        target: (E,) long, site that is seen.
        vector: (E, 3) Å.
        volume_per_atom: (C,) Å³.
        scale: (C,) long.
    """

    occupancy: Tensor
    weight: Tensor
    crystal_index: Tensor
    source: Tensor
    target: Tensor
    vector: Tensor
    volume_per_atom: Tensor
    scale: Tensor

    @property
    def n_crystals(self) -> int:
        """Number of crystals C."""
        return int(self.volume_per_atom.shape[0])

    @classmethod
    def from_crystals(cls, crystals: CrystalBatch, reach: float) -> "CrystalGraph":
        """Return the graph of whole crystals; differentiable in lattice, frac_coords and occupancy."""
        n_atoms = crystals.n_atoms.to(crystals.lattice.dtype)
        volume = crystals.volume / n_atoms
        edges = periodic_edges(crystals, cutoff_radius(volume, reach))
        return cls(
            occupancy=crystals.occupancy,
            weight=torch.ones_like(crystals.occupancy[:, 0]),
            crystal_index=crystals.crystal_index,
            source=edges.source,
            target=edges.target,
            vector=edges.vector,
            volume_per_atom=volume,
            scale=crystals.scale,
        )

    def mean(self, values: Tensor) -> Tensor:
        """Return (C, F) means of (N, F) site values over the atoms of each crystal."""
        total = values.new_zeros(self.n_crystals, values.shape[1])
        total = total.index_add(0, self.crystal_index, values * self.weight.unsqueeze(1))
        count = values.new_zeros(self.n_crystals).index_add(0, self.crystal_index, self.weight)
        return total / count.unsqueeze(1)


def cutoff_radius(volume_per_atom: Tensor, reach: float) -> Tensor:
    """Return (C,) cutoffs, Å: `reach` times the cube root of the volume per atom, at most MAX_CUTOFF.

    Scaling with the crystal keeps about 4/3 pi reach^3 neighbours everywhere, and it is smooth in the lattice.
    """
    return (reach * volume_per_atom.pow(1.0 / 3.0)).clamp(max=MAX_CUTOFF)
