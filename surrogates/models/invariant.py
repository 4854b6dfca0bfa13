"""A small invariant message-passing network with soft species; the fast tier at structure level."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from surrogates.crystal import SCALES
from surrogates.models.elements import element_properties, element_property
from surrogates.models.graph import CrystalGraph, cutoff_radius
from surrogates.models.harmonics import DEGREES, spherical_harmonics


@dataclass(frozen=True)
class InvariantConfig:
    """Shape of the network.

    Attributes:
        n_outputs: values a crystal; as many log-widths follow them.
        channels: features of a site.
        n_blocks: message-passing steps.
        reach: cutoff in cube roots of the volume per atom.
        n_angular: channels of the angular (density-projection) features; 0 leaves them out.
        n_embedding: learned features of an element.
        hidden: width of the readout.
        dropout: in the readout while training.
    """

    n_outputs: int = 2
    channels: int = 64
    n_blocks: int = 3
    reach: float = 2.0
    n_angular: int = 8
    n_embedding: int = 16
    hidden: int = 128
    dropout: float = 0.1


class InvariantNetwork(nn.Module):
    """Graph -> (C, 2 x n_outputs): standardised values, then log-widths of their errors."""

    def __init__(self, config: InvariantConfig) -> None:
        """Build the layers with torch's global generator; seed by `torch.random.fork_rng` outside."""
        super().__init__()
        self.config = config
        self.register_buffer("elements", element_properties(), persistent=False)
        self.register_buffer("radii", element_property("covalent_radius"), persistent=False)
        valence = sum(element_property(f"{letter}_electrons") for letter in "spd")
        self.register_buffer("valence", torch.as_tensor(valence), persistent=False)
        self.embedding = nn.Parameter(0.3 * torch.randn(self.elements.shape[0], config.n_embedding))
        n_element = self.elements.shape[1] + config.n_embedding
        n_global = 2 * n_element + 2 * self.elements.shape[1] + 3 + len(SCALES)
        width = config.channels
        self.site = nn.Linear(n_element, width)
        self.context = nn.Sequential(nn.Linear(n_global, width), nn.SiLU(), nn.Linear(width, width))
        self.radial = RadialBasis()
        self.blocks = nn.ModuleList(
            MessageBlock(width, self.radial.size) for _ in range(config.n_blocks)
        )
        self.angular = AngularBlock(width, self.radial.size, config.n_angular) if config.n_angular else None
        self.readout = nn.Sequential(
            nn.Linear(2 * width + n_global, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 2 * config.n_outputs),
        )

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Return (C, 2 x n_outputs); differentiable in vectors, volume and occupancy."""
        pooled, overall = self.features(graph)
        return self.readout(torch.cat([pooled, overall], dim=1))

    def features(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Return pooled site features (C, 2 x channels) and global features (C, U)."""
        element = graph.occupancy @ torch.cat([self.elements, self.embedding], dim=1)
        overall = self._global(graph, element)
        x = self.site(element) + self.context(overall)[graph.crystal_index]
        basis, envelope, unit = self._edges(graph)
        x = self.blocks[0](x, basis, envelope, graph)
        if self.angular is not None:
            x = self.angular(x, basis, envelope, unit, graph)
        for block in list(self.blocks)[1:]:
            x = block(x, basis, envelope, graph)
        mean = graph.mean(x)
        spread = (graph.mean((x - mean[graph.crystal_index]).square()) + 1e-4).sqrt()
        return torch.cat([mean, spread], dim=1), overall

    def _global(self, graph: CrystalGraph, element: Tensor) -> Tensor:
        """Return composition statistics, density measures and the scale asked for."""
        n_fixed = self.elements.shape[1]
        mean = graph.mean(element)
        # E[p²] - E[p]² of the element distribution itself, so that a soft site counts like a mixture
        table = torch.cat([self.elements, self.embedding], dim=1)
        fractions = graph.mean(graph.occupancy)
        variance = (fractions @ table.square() - mean.square()).clamp(min=0.0)
        spread = (variance + 1e-4).sqrt()
        sharp = torch.exp(2.0 * self.elements)
        high = torch.log(fractions @ sharp + 1e-6) / 2.0 - mean[:, :n_fixed]
        low = -torch.log(fractions @ (1.0 / sharp) + 1e-6) / 2.0 - mean[:, :n_fixed]
        volume = graph.volume_per_atom
        packing = torch.log(fractions @ self.radii.pow(3)) - volume.log() + 2.0
        electrons = (fractions @ self.valence + 0.1).log() - volume.log() + 1.0
        density = torch.stack([volume.log() - 2.8, packing, electrons], dim=1)
        scale = functional.one_hot(graph.scale, len(SCALES)).to(mean.dtype)
        return torch.cat([mean, spread, high, low, density, scale], dim=1)

    def _edges(self, graph: CrystalGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Return the radial basis (E, B), the envelope (E, 1) and unit vectors (E, 3)."""
        distance = (graph.vector.square().sum(dim=1) + 1e-12).sqrt()
        cutoff = cutoff_radius(graph.volume_per_atom, self.config.reach)
        reduced = distance / cutoff[graph.crystal_index[graph.source]]
        radius = graph.occupancy @ self.radii
        bond = distance / (radius[graph.source] + radius[graph.target])
        envelope = (1.0 - reduced.square()).clamp(min=0.0).square().unsqueeze(1)
        return self.radial(reduced, bond), envelope, graph.vector / distance.unsqueeze(1)


class RadialBasis(nn.Module):
    """Gaussians in the reduced distance and in the distance over the sum of covalent radii."""

    def __init__(self, n_reduced: int = 12, n_bond: int = 16) -> None:
        """Place the centres."""
        super().__init__()
        self.size = n_reduced + n_bond
        centre = torch.cat([torch.linspace(0.35, 0.95, n_reduced), torch.linspace(0.6, 2.4, n_bond)])
        gap = torch.cat([torch.full((n_reduced,), 0.6 / (n_reduced - 1)), torch.full((n_bond,), 1.8 / 15)])
        self.n_reduced = n_reduced
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("sharpness", 0.5 / (1.2 * gap).square(), persistent=False)

    def forward(self, reduced: Tensor, bond: Tensor) -> Tensor:
        """Return (E, size)."""
        k = self.n_reduced
        parts = [
            reduced.unsqueeze(1) - self.centre[:k],
            bond.unsqueeze(1) - self.centre[k:],
        ]
        return torch.exp(-torch.cat(parts, dim=1).square() * self.sharpness)


class MessageBlock(nn.Module):
    """Gated messages from neighbours (CGCNN, doi:10.1103/PhysRevLett.120.145301), then an update."""

    def __init__(self, width: int, n_radial: int) -> None:
        """Build the layers."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.own = nn.Linear(width, 2 * width)
        self.other = nn.Linear(width, 2 * width, bias=False)
        self.edge = nn.Linear(n_radial, 2 * width, bias=False)
        self.update = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Tensor, basis: Tensor, envelope: Tensor, graph: CrystalGraph) -> Tensor:
        """Return updated (N, width) features."""
        y = self.norm(x)
        mixed = self.own(y)[graph.source] + self.other(y)[graph.target] + self.edge(basis)
        gate, value = mixed.chunk(2, dim=1)
        message = torch.sigmoid(gate) * functional.silu(value) * envelope
        total = torch.zeros_like(x).index_add(0, graph.source, message)
        return x + self.update(0.3 * total)


class AngularBlock(nn.Module):
    """Neighbour density projected on harmonics; its power per degree tells the angles between bonds."""

    def __init__(self, width: int, n_radial: int, channels: int) -> None:
        """Build the layers."""
        super().__init__()
        self.channels = channels
        self.norm = nn.LayerNorm(width)
        self.edge = nn.Linear(n_radial, channels)
        self.other = nn.Linear(width, channels)
        degree = torch.cat([torch.full((2 * l + 1,), i) for i, l in enumerate(DEGREES)])
        self.register_buffer("degree", degree, persistent=False)
        size = channels * len(DEGREES)
        self.update = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, x: Tensor, basis: Tensor, envelope: Tensor, unit: Tensor, graph: CrystalGraph
    ) -> Tensor:
        """Return updated (N, width) features."""
        weight = self.edge(basis) * (1.0 + self.other(self.norm(x))[graph.target]) * envelope
        terms = spherical_harmonics(unit).unsqueeze(2) * weight.unsqueeze(1)
        total = terms.new_zeros(x.shape[0], *terms.shape[1:]).index_add(0, graph.source, terms)
        power = total.new_zeros(x.shape[0], len(DEGREES), self.channels)
        power = power.index_add(1, self.degree, total.square())
        return x + self.update((power.flatten(1) + 1e-4).sqrt())
