"""Inputs of the kernel surrogate: composition statistics, and soft neighbour shells of a structure."""

import torch
from torch import Tensor

from surrogates.crystals.batch import CrystalBatch
from surrogates.crystals.neighbors import periodic_edges
from surrogates.features.composition_features import ElementNodes, statistics
from surrogates.features.elements import element_properties, element_property
from surrogates.protocol import CompositionBatch

CUTOFF = 5.0
"""Å; the weight of a neighbour goes smoothly to zero there."""

SHELLS = (0.8, 0.95, 1.1, 1.25, 1.4, 1.6, 1.8, 2.0)
"""Centres of the soft shells, in units of the sum of covalent radii."""


def composition_inputs(compositions: CompositionBatch) -> Tensor:
    """Return (C, Z + S): fractions and statistics of elemental properties; differentiable."""
    table = element_properties().to(compositions.fractions)
    stats = statistics(ElementNodes.from_fractions(compositions.fractions), table)
    return torch.cat([compositions.fractions, stats], dim=1)


def structure_inputs(crystals: CrystalBatch) -> Tensor:
    """Return (C, Z + S + 2 K + 2): composition inputs, log volume and packing, neighbour shells.

    Invariant to rotation, permutation and supercell; differentiable in lattice, coordinates and occupancy.
    """
    radius = element_property("covalent_radius").to(crystals.lattice)
    electronegativity = element_property("electronegativity").to(crystals.lattice)
    n_atoms = crystals.n_atoms.to(crystals.lattice.dtype)
    composition = composition_inputs(CompositionBatch.from_crystals(crystals))
    volume = crystals.volume / n_atoms
    packing = (crystals.composition @ radius**3) / volume
    edges = periodic_edges(crystals, CUTOFF)
    site_radius, site_chi = crystals.occupancy @ radius, crystals.occupancy @ electronegativity
    reduced = edges.distance / (site_radius[edges.source] + site_radius[edges.target])
    fade = 0.5 * (1 + torch.cos(torch.pi * (edges.distance / CUTOFF).clamp(max=1)))
    centres = torch.tensor(SHELLS, dtype=reduced.dtype, device=reduced.device)
    shell = torch.exp(-(((reduced.unsqueeze(1) - centres) / 0.1) ** 2)) * fade.unsqueeze(1)
    contrast = (site_chi[edges.source] - site_chi[edges.target]).abs().unsqueeze(1)
    per_edge = torch.cat([shell, shell * contrast], dim=1)
    total = per_edge.new_zeros(crystals.n_crystals, per_edge.shape[1])
    total = total.index_add(0, crystals.crystal_index[edges.source], per_edge) / n_atoms.unsqueeze(1)
    cell = torch.stack([torch.log(volume), torch.log(packing)], dim=1)
    return torch.cat([composition, cell, total], dim=1)
