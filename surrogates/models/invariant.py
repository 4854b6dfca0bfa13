"""A small invariant message-passing network with soft species; the fast tier at structure level."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from surrogates.crystals.batch import SCALES
from surrogates.features.basis import DEGREES, N_RADIAL, N_SHELLS
from surrogates.features.elements import element_properties, element_property
from surrogates.features.graph import CrystalGraph
from surrogates.settings import BelowOne, Count, NotNegative, Positive, Whole

LEAST_DISTANCE = 1e-3
"""Below which no distance from the training rows counts: the logarithm needs more than zero."""

RIDGE = 1e-4
"""Share of the mean variance that is added to every variance of the hidden features."""


@dataclass(frozen=True)
class InvariantConfig:
    """Shape of the network.

    Attributes:
        n_outputs: values a crystal; as many log-widths follow them.
        channels: features of a site.
        n_blocks: message-passing steps.
        reach: cutoff in cube roots of the volume per atom.
        messages: width of a message.
        n_angular: channels of the angular (density-projection) features.
        n_embedding: learned features of an element.
        hidden: width of the readout.
        dropout: in the readout while training.
        trend: add a linear law of fixed features, which `set_trend` gives; the rest is learned beside it.
        distance_power: widths grow with this power of the distance from the training rows; 0 leaves it out.
            It is Mahalanobis' distance in the readout's first layer; `set_metric` gives its metric.
    """

    n_outputs: Count = 2
    channels: Count = 64
    n_blocks: Count = 3
    reach: Positive = 2.0
    messages: Count = 128
    n_angular: Count = 16
    n_embedding: Whole = 16
    hidden: Count = 128
    dropout: BelowOne = 0.1
    trend: bool = False
    distance_power: NotNegative = 0.0


class InvariantNetwork(nn.Module):
    """Graph -> (C, 2 x n_outputs): standardised values, then log-widths of their errors."""

    elements: Tensor
    radii: Tensor
    valence: Tensor

    def __init__(self, config: InvariantConfig) -> None:
        """Build the layers with torch's global generator; seed by `torch.random.fork_rng` outside."""
        super().__init__()
        self.config = config
        self.register_buffer("elements", element_properties(), persistent=False)
        self.register_buffer("radii", element_property("covalent_radius"), persistent=False)
        electrons = torch.stack([element_property(f"{letter}_electrons") for letter in "spd"])
        self.register_buffer("valence", electrons.sum(dim=0), persistent=False)
        self.embedding = nn.Parameter(0.3 * torch.randn(self.elements.shape[0], config.n_embedding))
        n_element = self.elements.shape[1] + config.n_embedding
        n_global = 2 * n_element + 2 * self.elements.shape[1] + 3 + len(SCALES)
        width = config.channels
        self.site = nn.Linear(n_element, width)
        self.context = nn.Sequential(nn.Linear(n_global, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(MessageBlock(width, config.messages) for _ in range(config.n_blocks))
        self.angular = AngularBlock(width, config.n_angular)
        self.readout = nn.Sequential(
            nn.Linear(2 * width + n_global, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, 2 * config.n_outputs),
        )
        if config.trend:
            n_fixed = 4 * self.elements.shape[1] + 3 + len(SCALES) + N_RADIAL
            self.trend = nn.Linear(n_fixed, config.n_outputs).requires_grad_(False)
        if config.distance_power:
            self.centre = nn.Parameter(torch.zeros(config.hidden), requires_grad=False)
            self.whitening = nn.Parameter(torch.eye(config.hidden), requires_grad=False)

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Return (C, 2 x n_outputs); differentiable in vectors, volume and occupancy."""
        pooled, overall = self.features(graph)
        hidden = self.readout[0](torch.cat([pooled, overall], dim=1))
        out = self.readout[1:](hidden)
        values, widths = out[:, : self.config.n_outputs], out[:, self.config.n_outputs :]
        if self.config.trend:
            values = values + self.trend(self._fixed(graph, overall))
        if self.config.distance_power:
            widths = widths + self.config.distance_power * self._distance(hidden).log().unsqueeze(1)
        return torch.cat([values, widths], dim=1)

    def hidden_features(self, graph: CrystalGraph) -> Tensor:
        """Return (C, hidden) outputs of the readout's first layer, in which distances are measured."""
        return self.readout[0](torch.cat(self.features(graph), dim=1))

    def _distance(self, hidden: Tensor) -> Tensor:
        """Return (C,) distances from the training rows; the root mean square over them is 1."""
        return (((hidden - self.centre) @ self.whitening).square().mean(dim=1) + LEAST_DISTANCE**2).sqrt()

    def set_metric(self, hidden: Tensor) -> None:
        """Set the metric of the distance by (R, hidden) `hidden_features` of the training rows."""
        rows = hidden.double()
        covariance = torch.cov(rows.T)
        ridge = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
        with torch.no_grad():
            self.centre.copy_(rows.mean(dim=0))
            self.whitening.copy_(torch.linalg.cholesky(torch.linalg.inv(covariance + ridge)))

    def fixed_features(self, graph: CrystalGraph) -> Tensor:
        """Return (C, F) what the linear law reads: element statistics, density, scale, mean radial sums."""
        element = graph.occupancy @ torch.cat([self.elements, self.embedding], dim=1)
        return self._fixed(graph, self._global(graph, element))

    def _fixed(self, graph: CrystalGraph, overall: Tensor) -> Tensor:
        n, learned = self.elements.shape[1], self.config.n_embedding
        mean, spread = overall[:, :n], overall[:, n + learned : 2 * n + learned]
        site = graph.radial.new_zeros(graph.occupancy.shape[0], N_RADIAL)
        radial = graph.mean(site.index_add(0, graph.source, graph.radial))
        return torch.cat([mean, spread, overall[:, 2 * (n + learned) :], radial], dim=1)

    def set_trend(self, weight: Tensor, bias: Tensor) -> None:
        """Set the linear law: weights (n_outputs, F) on `fixed_features`, and (n_outputs,)."""
        with torch.no_grad():
            self.trend.weight.copy_(weight)
            self.trend.bias.copy_(bias)

    def features(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        """Return pooled site features (C, 2 x channels) and global features (C, U)."""
        element = graph.occupancy @ torch.cat([self.elements, self.embedding], dim=1)
        overall = self._global(graph, element)
        x = self.site(element) + self.context(overall)[graph.crystal_index]
        x = self.angular(self.blocks[0](x, graph), graph)
        for block in self.blocks[1:]:
            x = block(x, graph)
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


class MessageBlock(nn.Module):
    """Messages (filter of the pair x features of the neighbour, summed), then an update by the receiver.

    Linear in the pair features, so sums over equivalent neighbours may be taken beforehand.
    """

    def __init__(self, width: int, messages: int) -> None:
        """Build the layers."""
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.other = nn.Linear(width, messages)
        self.filter = nn.Linear(N_RADIAL, messages, bias=False)
        size = messages + width
        self.update = nn.Sequential(nn.Linear(size, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, graph: CrystalGraph) -> Tensor:
        """Return updated (N, width) features."""
        y = self.norm(x)
        message = self.filter(graph.radial) * self.other(y).index_select(0, graph.target)
        total = message.new_zeros(x.shape[0], message.shape[1]).index_add(0, graph.source, message)
        return x + self.update(torch.cat([0.3 * total, y], dim=1))


class AngularBlock(nn.Module):
    """Neighbour density projected on harmonics; its power per degree tells the angles between bonds.

    Linear in the pair features before the power is taken, like the messages.
    """

    degree: Tensor

    def __init__(self, width: int, channels: int) -> None:
        """Build the layers."""
        super().__init__()
        self.channels = channels
        self.norm = nn.LayerNorm(width)
        self.other = nn.Linear(width, channels)
        self.filter = nn.Linear(N_SHELLS, channels, bias=False)
        degree = torch.cat([torch.full((2 * k + 1,), i) for i, k in enumerate(DEGREES)])
        self.register_buffer("degree", degree, persistent=False)
        size = channels * len(DEGREES) + width
        self.update = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, x: Tensor, graph: CrystalGraph) -> Tensor:
        """Return updated (N, width) features."""
        y = self.norm(x)
        seen = (1.0 + self.other(y)).index_select(0, graph.target).unsqueeze(1)
        terms = self.filter(graph.angular) * seen
        total = terms.new_zeros(x.shape[0], *terms.shape[1:]).index_add(0, graph.source, terms)
        power = total.new_zeros(x.shape[0], len(DEGREES), self.channels)
        power = power.index_add(1, self.degree, total.square()).flatten(1)
        return x + self.update(torch.cat([(power + 1e-3).sqrt(), y], dim=1))
