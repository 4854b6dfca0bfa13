"""Fixed descriptors of a crystal graph, pooled over its sites: what boosted trees read."""

import torch
from torch import Tensor
from torch.nn import functional

from surrogates.crystals.batch import SCALES
from surrogates.features.basis import DEGREES, N_SHELLS, REDUCED_CENTRES
from surrogates.features.elements import element_properties, element_property
from surrogates.features.graph import CrystalGraph

PRESENT = 0.01
"""Share above which an element counts for the extremes."""


def crystal_descriptors(graph: CrystalGraph) -> Tensor:
    """Return (C, D) descriptors: composition, density, radial and angular order, bonds by kind, scale.

    Mean, spread, largest and smallest of the element properties; volume, packing, valence electrons per
    volume; mean and spread over the sites of the summed pair features and of the angular power; sums of
    bonds between metals, between non-metals and across. Equal for a supercell; of whole crystals and of one
    site per orbit alike. Meant for trees: extremes jump where an element appears.
    """
    parts = [_composition(graph), _density(graph), _radial(graph), _angular(graph), _bonds(graph)]
    scale = functional.one_hot(graph.scale, len(SCALES)).to(graph.volume_per_atom)
    return torch.cat([*parts, scale], dim=1)


def _composition(graph: CrystalGraph) -> Tensor:
    elements = element_properties().to(graph.occupancy)
    fractions = graph.mean(graph.occupancy)
    mean = fractions @ elements
    spread = (fractions @ elements.square() - mean.square()).clamp(min=0.0).sqrt()
    absent = (fractions < PRESENT).unsqueeze(2)
    high = torch.where(absent, -torch.inf, elements).amax(dim=1)
    low = torch.where(absent, torch.inf, elements).amin(dim=1)
    return torch.cat([mean, spread, high, low], dim=1)


def _density(graph: CrystalGraph) -> Tensor:
    fractions, volume = graph.mean(graph.occupancy), graph.volume_per_atom
    radii = element_property("covalent_radius").to(volume)
    valence = sum(element_property(f"{letter}_electrons").to(volume) for letter in "spd")
    packing = torch.log(fractions @ radii.pow(3)) - volume.log()
    electrons = (fractions @ valence + 0.1).log() - volume.log()
    return torch.stack([volume.log(), packing, electrons], dim=1)


def _radial(graph: CrystalGraph) -> Tensor:
    site = graph.radial.new_zeros(len(graph.weight), graph.radial.shape[1])
    return _mean_and_spread(site.index_add(0, graph.source, graph.radial), graph)


def _angular(graph: CrystalGraph) -> Tensor:
    total = graph.angular.new_zeros(len(graph.weight), *graph.angular.shape[1:])
    total = total.index_add(0, graph.source, graph.angular)
    degree = torch.cat([torch.full((2 * k + 1,), i) for i, k in enumerate(DEGREES)]).to(graph.source.device)
    power = total.new_zeros(len(graph.weight), len(DEGREES), N_SHELLS)
    power = power.index_add(1, degree, total.square()).sqrt()
    return _mean_and_spread(power.flatten(1), graph)


def _bonds(graph: CrystalGraph) -> Tensor:
    """Return sums of bond-length features over pairs of non-metals, of metals, and across, by atom."""
    metal = graph.occupancy @ element_property("is_metal").to(graph.occupancy)
    here, there = metal[graph.source], metal[graph.target]
    kinds = ((1 - here) * (1 - there), here * there, here * (1 - there) + there * (1 - here))
    lengths = graph.radial[:, len(REDUCED_CENTRES) :]
    found = []
    for kind in kinds:
        site = lengths.new_zeros(len(graph.weight), lengths.shape[1])
        found.append(graph.mean(site.index_add(0, graph.source, lengths * kind.unsqueeze(1))))
    return torch.cat(found, dim=1)


def _mean_and_spread(values: Tensor, graph: CrystalGraph) -> Tensor:
    mean = graph.mean(values)
    square = graph.mean((values - mean[graph.crystal_index]).square())
    return torch.cat([mean, square.sqrt()], dim=1)
