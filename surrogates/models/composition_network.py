"""One member of the composition ensemble: element embeddings, attention pooling and a shared trunk."""

import torch
from torch import Tensor, nn

from surrogates.crystals.batch import N_ELEMENTS
from surrogates.features.composition_features import N_EXTRA, ElementNodes, statistics

FRACTION_WIDTH = 1.2
"""Width of the Gaussians of an element's fraction, in units of their distance."""

BOUND = 2.0
"""Attention scores stay within ±this, so that a trace of an element never takes over."""


class ElementAttention(nn.Module):
    """Multi-head attention pooling over the elements, weighted by their fractions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.score = nn.Linear(width, heads)
        self.value = nn.Linear(width, width)

    def forward(self, hidden: Tensor, nodes: ElementNodes) -> Tensor:
        """Return (C, 2 D): attention-weighted and plain mean of the (N, D) element states."""
        weight = nodes.fraction.unsqueeze(1) * torch.exp(BOUND * torch.tanh(self.score(hidden) / BOUND))
        value = self.value(hidden)
        split = value.view(value.shape[0], self.heads, -1)
        pooled = nodes.total((weight.unsqueeze(2) * split).flatten(1))
        norm = nodes.total(weight).clamp(min=1e-12).repeat_interleave(split.shape[2], dim=1)
        return torch.cat([pooled / norm, nodes.total(nodes.fraction.unsqueeze(1) * value)], dim=1)


class ContextBlock(nn.Module):
    """Element states updated by what else is in the composition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = ElementAttention(width, heads)
        self.gate = nn.Linear(2 * width, width)
        self.context = nn.Linear(2 * width, width)
        self.mix = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, hidden: Tensor, nodes: ElementNodes) -> Tensor:
        """Return the new (N, D) element states."""
        context = self.attention(hidden, nodes)
        gated = hidden * self.gate(context)[nodes.composition]
        update = self.mix(torch.cat([hidden, gated], dim=1)) + self.context(context)[nodes.composition]
        return hidden + self.out(nn.functional.silu(update))


class CompositionNetwork(nn.Module):
    """Fractions -> mean and log scale of every property, standardised (log space where positive).

    Args:
        table: (Z, F) standardised elemental properties.
        n_outputs: properties P.
        n_sources: tables whose scales differ.
        width: element state D; a multiple of `heads`.
        trunk: width of the shared trunk.
        blocks: context blocks.
        heads: attention heads.
        fractions: Gaussians of an element's own fraction that its state starts from; 0 leaves them out.
    """

    centres: Tensor
    table: Tensor
    shift: Tensor
    stretch: Tensor
    floor: Tensor

    def __init__(
        self,
        table: Tensor,
        n_outputs: int,
        n_sources: int,
        width: int = 64,
        trunk: int = 224,
        blocks: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
        fractions: int = 0,
    ) -> None:
        super().__init__()
        n_statistics = 4 * table.shape[1] + N_EXTRA
        self.register_buffer("table", table.clone())
        self.register_buffer("shift", torch.zeros(n_statistics))
        self.register_buffer("stretch", torch.ones(n_statistics))
        self.register_buffer("floor", torch.full((n_outputs,), -4.0))
        self.embedding = nn.Embedding(N_ELEMENTS, width)
        self.enter = nn.Linear(table.shape[1], width)
        self.blocks = nn.ModuleList(ContextBlock(width, heads) for _ in range(blocks))
        self.pool = ElementAttention(width, heads)
        self.source = nn.Embedding(n_sources, 8)
        self.first = nn.Linear(2 * width + n_statistics + 8, trunk)
        self.second = nn.Linear(trunk, trunk)
        self.third = nn.Linear(trunk, trunk)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(trunk, 2 * n_outputs)
        self.offset = nn.Parameter(torch.zeros(n_sources, N_ELEMENTS, n_outputs))
        if fractions:
            self.register_buffer("centres", torch.linspace(0.0, 1.0, fractions))
            self.amount = nn.Sequential(nn.Linear(fractions, width), nn.SiLU(), nn.Linear(width, width))
        self.n_fractions = fractions
        nn.init.normal_(self.embedding.weight, std=0.3)
        nn.init.normal_(self.source.weight, std=0.3)

    def fit_statistics(self, fractions: Tensor) -> None:
        """Set the standardisation of the statistics from (C, Z) training fractions."""
        values = statistics(ElementNodes.from_fractions(fractions), self.table)
        self.shift = values.mean(dim=0)
        self.stretch = values.std(dim=0).clamp(min=1e-3)

    def forward(self, fractions: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return ((C, P) mean, (C, P) log scale), standardised.

        Args:
            fractions: (C, Z), rows sum to 1.
            source: (C,) long, whose scale is asked for.
        """
        nodes = ElementNodes.from_fractions(fractions)
        hidden = self.embedding(nodes.element) + self.enter(self.table[nodes.element])
        if self.n_fractions:
            apart = (nodes.fraction.unsqueeze(1) - self.centres) * (self.n_fractions - 1) / FRACTION_WIDTH
            hidden = hidden + self.amount(torch.exp(-apart.square()))
        for block in self.blocks:
            hidden = block(hidden, nodes)
        stats = ((statistics(nodes, self.table) - self.shift) / self.stretch).clamp(-8, 8)
        state = torch.cat([self.pool(hidden, nodes), stats, self.source(source)], dim=1)
        state = self.dropout(nn.functional.silu(self.first(state)))
        state = state + self.dropout(nn.functional.silu(self.second(state)))
        state = state + self.dropout(nn.functional.silu(self.third(state)))
        mean, log_scale = self.head(state).chunk(2, dim=1)
        element = self.offset[source[nodes.composition], nodes.element]
        return mean + nodes.total(nodes.fraction.unsqueeze(1) * element), self.floor + nn.functional.softplus(
            log_scale - self.floor
        )
