"""Structure model: formula units, space group, sites, lattice and coordinates, one after another."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inverse.decoders.conditioning import N_CONDITIONS
from inverse.decoders.tokens import HEAD_OF_TYPE, N_BINS, N_HEADS, FreeTokens, limits
from surrogates.crystals.batch import N_ELEMENTS
from surrogates.crystals.symmetry import wyckoff_tables

MAX_UNITS = 24
"""Formula units of a primitive cell at most; larger numbers are read as this."""

N_GROUPS = 230
N_LETTERS = 27


@dataclass(frozen=True)
class Skeletons:
    """C crystals without their free numbers, padded to S sites.

    Attributes:
        amounts: (C, Z) atoms of the reduced formula.
        units: (C,) formula units of the primitive cell.
        group: (C,) space group, 1 to 230.
        wyckoff: (C, S) in canonical (rising) order, 0 where padded.
        element: (C, S).
        is_site: (C, S) False where padded.
    """

    amounts: Tensor
    units: Tensor
    group: Tensor
    wyckoff: Tensor
    element: Tensor
    is_site: Tensor

    @property
    def position(self) -> Tensor:
        """(C, S) flat index into the Wyckoff tables."""
        return wyckoff_tables().position_start[self.group - 1].unsqueeze(1) + self.wyckoff


class StructureNetwork(nn.Module):
    """Two recurrent networks: one over the discrete choices, one over the free numbers.

    Args:
        n_hidden: width of both recurrent states.
        n_embed: width of the embeddings of elements, positions and groups.
    """

    atomic_volume: Tensor
    element_features: Tensor
    position_features: Tensor

    def __init__(self, n_hidden: int = 144, n_embed: int = 32) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        tables = wyckoff_tables()
        self.register_buffer("atomic_volume", torch.full((N_ELEMENTS,), 15.0))
        self.register_buffer("element_features", torch.zeros(N_ELEMENTS, 8))
        self.register_buffer("position_features", _position_features(), persistent=False)
        self.element = nn.Embedding(N_ELEMENTS, n_embed)
        self.element_projection = nn.Linear(8, n_embed)
        self.position = nn.Embedding(len(tables.site_symmetry) + 1, n_embed)
        self.position_projection = nn.Linear(self.position_features.shape[1], n_embed)
        self.group = nn.Embedding(N_GROUPS + 1, n_embed)
        self.units = nn.Embedding(MAX_UNITS + 1, 16)
        self.kind = nn.Embedding(10, 16)
        self.context = nn.Sequential(
            nn.Linear(2 * n_embed + 8 + N_CONDITIONS, 96), nn.SiLU(), nn.Linear(96, 64)
        )
        self.site_input = nn.Sequential(nn.Linear(64 + 4 * n_embed + 16 + 2, 96), nn.SiLU())
        self.site_recurrent = nn.GRU(96, n_hidden, batch_first=True)
        self.units_head = nn.Linear(n_hidden, MAX_UNITS)
        self.group_head = nn.Linear(n_hidden, N_GROUPS)
        self.letter_head = nn.Linear(n_hidden, n_embed)
        self.site_element_head = nn.Sequential(
            nn.Linear(n_hidden + 2 * n_embed, 64), nn.SiLU(), nn.Linear(64, n_embed)
        )
        self.free_input = nn.Sequential(nn.Linear(64 + 3 * n_embed + 32 + 6, 96), nn.SiLU())
        self.free_start = nn.Linear(n_hidden, n_hidden)
        self.free_recurrent = nn.GRU(96, n_hidden, batch_first=True)
        self.free_trunk = nn.Sequential(nn.Linear(n_hidden + 2 * n_embed, 64), nn.SiLU())
        self.free_heads = nn.Linear(64, N_HEADS * N_BINS)

    def element_table(self) -> Tensor:
        """Return (Z, E) embeddings of the elements, learned part plus projected features."""
        return self.element.weight + self.element_projection(self.element_features)

    def position_table(self) -> Tensor:
        """Return (P + 1, E) embeddings of the Wyckoff positions; the last one is 'none'."""
        return self.position.weight + self.position_projection(self.position_features)

    def encode(self, amounts: Tensor, condition: Tensor) -> Tensor:
        """Return the (C, 64) context of compositions and wanted values."""
        total = amounts.sum(dim=1, keepdim=True).clamp(min=1.0)
        fraction = amounts / total
        table = self.element_table()
        largest = fraction.topk(5, dim=1).values
        numbers = [total.log(), (amounts > 0).sum(dim=1, keepdim=True) / 4.0, largest, (total == 1).float()]
        return self.context(
            torch.cat([fraction @ table, fraction.square() @ table, *numbers, condition], dim=1)
        )

    def site_step(
        self, context: Tensor, units: Tensor, group: Tensor, position: Tensor, element: Tensor, left: Tensor
    ) -> Tensor:
        """Return (C, T, 96) inputs of the first recurrent network.

        Args:
            context: (C, 64).
            units: (C, T) formula units, 0 while unknown.
            group: (C, T) space group, 0 while unknown.
            position: (C, T) Wyckoff position of the site before, P for none.
            element: (C, T) its element, any where there is none.
            left: (C, T, Z) atoms still to be placed, in the primitive cell.
        """
        table = self.element_table()
        has_site = (position < self.position.num_embeddings - 1).unsqueeze(-1)
        total = left.sum(dim=-1, keepdim=True)
        parts = [
            context.unsqueeze(1).expand(-1, units.shape[1], -1),
            self.units(units),
            self.group(group),
            self.position_table()[position],
            table[element] * has_site,
            (left / total.clamp(min=1.0)) @ table,
            total.log1p(),
            (left > 0).sum(dim=-1, keepdim=True) / 4.0,
        ]
        return self.site_input(torch.cat(parts, dim=-1))

    def letter_logits(self, output: Tensor, group: Tensor) -> Tensor:
        """Return logits over the 27 letters, -1e9 where the group has none; `output` is (..., H)."""
        tables = wyckoff_tables()
        letters = torch.arange(N_LETTERS)
        start = tables.position_start[group - 1].unsqueeze(-1)
        is_letter = letters < tables.n_positions[group - 1].unsqueeze(-1)
        table = self.position_table()
        index = torch.where(is_letter, start + letters, len(table) - 1)
        logits = (table[index] * self.letter_head(output).unsqueeze(-2)).sum(dim=-1)
        return logits.masked_fill(~is_letter, -1e9)

    def element_logits(self, output: Tensor, position: Tensor, left: Tensor) -> Tensor:
        """Return logits over the elements of the next site, -1e9 where none of it is left to place."""
        table = self.element_table()
        rest = (left / left.sum(dim=-1, keepdim=True).clamp(min=1.0)) @ table
        query = self.site_element_head(torch.cat([output, self.position_table()[position], rest], dim=-1))
        return (query @ table.T).masked_fill(left <= 0, -1e9)

    def free_step(
        self,
        context: Tensor,
        group: Tensor,
        kind: Tensor,
        position: Tensor,
        element: Tensor,
        previous_kind: Tensor,
        previous: Tensor,
    ) -> Tensor:
        """Return (C, T, 96) inputs of the second recurrent network.

        Args:
            context: (C, 64).
            group: (C,).
            kind: (C, T) type of the number asked for.
            position: (C, T) Wyckoff position of its site, P for the lattice.
            element: (C, T) element of its site.
            previous_kind: (C, T) type of the number before, 9 for none.
            previous: (C, T) its value, scaled to 0..1.
        """
        steps = kind.shape[1]
        has_site = (position < self.position.num_embeddings - 1).unsqueeze(-1)
        angle = 2 * torch.pi * previous.unsqueeze(-1) * torch.tensor([0.5, 1.0, 2.0])
        parts = [
            context.unsqueeze(1).expand(-1, steps, -1),
            self.group(group).unsqueeze(1).expand(-1, steps, -1),
            self.position_table()[position],
            self.element_table()[element] * has_site,
            self.kind(kind),
            self.kind(previous_kind),
            angle.sin(),
            angle.cos(),
        ]
        return self.free_input(torch.cat(parts, dim=-1))

    def free_logits(self, output: Tensor, kind: Tensor, position: Tensor, element: Tensor) -> Tensor:
        """Return (C, T, N_BINS) logits of the numbers asked for."""
        site = torch.cat([self.position_table()[position], self.element_table()[element]], dim=-1)
        features = self.free_trunk(torch.cat([output, site], dim=-1))
        head = torch.tensor(HEAD_OF_TYPE)[kind]
        weight = self.free_heads.weight.reshape(N_HEADS, N_BINS, -1)
        bias = self.free_heads.bias.reshape(N_HEADS, N_BINS)
        every = torch.einsum("ctf,hbf->cthb", features, weight) + bias
        return every.gather(2, head[..., None, None].expand(-1, -1, 1, N_BINS)).squeeze(2)

    def skeleton_log_likelihood(
        self, skeletons: Skeletons, condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (C,) log-probability of the discrete choices, (C, H) state after them, (C, 64) context."""
        # Teacher forcing: every step is fed what the choices before it were, so that one pass over the
        # recurrent network gives all conditional probabilities, those of `draw_skeletons`. Rows are padded;
        # what stands behind the last site is masked out at the end.
        none = self.position.num_embeddings - 1
        context = self.encode(skeletons.amounts.float(), condition)
        c, s = skeletons.wyckoff.shape
        units, group = skeletons.units.clamp(max=MAX_UNITS), skeletons.group
        position = skeletons.position
        # atoms left before each step; units and group are chosen from the reduced amounts, hence twice
        placed = torch.zeros(c, s + 1, N_ELEMENTS)
        count = wyckoff_tables().n_representatives[position] * skeletons.is_site
        placed[:, 1:].scatter_(2, skeletons.element.unsqueeze(2), count.unsqueeze(2).float())
        left = (skeletons.amounts * skeletons.units.unsqueeze(1)).float().unsqueeze(1) - placed.cumsum(1)
        left = torch.cat([skeletons.amounts.float().unsqueeze(1), left.clamp(min=0.0)], dim=1)
        left = torch.cat([left[:, :1], left], dim=1)
        zeros = torch.zeros(c, 1, dtype=torch.long)
        known = torch.where(skeletons.is_site, position, none)
        before = torch.cat([torch.full((c, 3), none), known], dim=1)
        element = torch.cat([zeros.expand(-1, 3), skeletons.element], dim=1)
        steps = s + 3
        units_in = torch.cat([zeros, units.unsqueeze(1).expand(-1, steps - 1)], dim=1)
        group_in = torch.cat([zeros, zeros, group.unsqueeze(1).expand(-1, steps - 2)], dim=1)
        output, _ = self.site_recurrent(self.site_step(context, units_in, group_in, before, element, left))
        # Step 0 asks for the units, 1 for the group, 2 + i for site i; the state after the last site ends it.
        total = self.units_head(output[:, 0]).log_softmax(-1).gather(1, units.unsqueeze(1) - 1).squeeze(1)
        total = total + self.group_head(output[:, 1]).log_softmax(-1).gather(
            1, group.unsqueeze(1) - 1
        ).squeeze(1)
        at_site, left = output[:, 2 : 2 + s], left[:, 2 : 2 + s]
        # Sites stand in the order of their letters: a letter before the last one cannot follow, and each
        # skeleton has one sequence only, whose probability is its own.
        start = torch.cat([zeros, skeletons.wyckoff[:, :-1]], dim=1)
        letters = self.letter_logits(at_site, group.unsqueeze(1).expand(-1, s))
        letters = letters.masked_fill(torch.arange(N_LETTERS) < start.unsqueeze(2), -1e9).log_softmax(-1)
        elements = self.element_logits(at_site, position, left).log_softmax(-1)
        chosen = letters.gather(2, skeletons.wyckoff.unsqueeze(2)) + elements.gather(
            2, skeletons.element.unsqueeze(2)
        )
        total = total + (chosen.squeeze(2) * skeletons.is_site).sum(dim=1)
        n_sites = skeletons.is_site.sum(dim=1)
        state = output.gather(1, (n_sites + 2).reshape(-1, 1, 1).expand(-1, 1, self.n_hidden)).squeeze(1)
        return total, state, context

    def free_log_likelihood(
        self, skeletons: Skeletons, tokens: FreeTokens, state: Tensor, context: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """Return the (C,) log-probability density of the free numbers, per unit of each range.

        Args:
            skeletons: the discrete choices.
            tokens: the free numbers.
            state: (C, H) of `skeleton_log_likelihood`.
            context: (C, 64), likewise.
            smoothing: share of each target given to its neighbouring bins (training only).
        """
        position, element = sites_of_tokens(skeletons, tokens, self.position.num_embeddings - 1)
        low, high = limits(tokens.kind)
        scaled = (tokens.value - low) / (high - low)
        c = len(scaled)
        previous = torch.cat([torch.zeros(c, 1), scaled[:, :-1]], dim=1)
        previous_kind = torch.cat([torch.full((c, 1), 9), tokens.kind[:, :-1]], dim=1)
        inputs = self.free_step(
            context, skeletons.group, tokens.kind, position, element, previous_kind, previous
        )
        start = self.free_start(state).tanh().unsqueeze(0)
        output, _ = self.free_recurrent(inputs, start)
        logits = self.free_logits(output, tokens.kind, position, element).log_softmax(-1)
        bins = tokens.bins
        chosen = logits.gather(2, bins.unsqueeze(2)).squeeze(2)
        if smoothing:
            above = torch.where(tokens.kind >= 6, (bins + 1) % N_BINS, (bins + 1).clamp(max=N_BINS - 1))
            below = torch.where(tokens.kind >= 6, (bins - 1) % N_BINS, (bins - 1).clamp(min=0))
            beside = logits.gather(2, torch.stack([above, below], dim=2)).mean(dim=2)
            chosen = (1 - smoothing) * chosen + smoothing * beside
        density = chosen + torch.log(torch.tensor(float(N_BINS)))
        return (density * tokens.is_token).sum(dim=1)


def sites_of_tokens(skeletons: Skeletons, tokens: FreeTokens, none: int) -> tuple[Tensor, Tensor]:
    """Return the (C, Q) position (`none` for the lattice) and element of the site of each token."""
    place = tokens.site.clamp(min=0)
    position = torch.where(tokens.site >= 0, skeletons.position.gather(1, place), none)
    return position, skeletons.element.gather(1, place)


def _position_features() -> Tensor:
    """Return (P + 1, 30) features of the Wyckoff positions (multiplicity, freedom, symmetry); last row 0."""
    tables = wyckoff_tables()
    count = tables.n_representatives.float()
    group = torch.repeat_interleave(torch.arange(N_GROUPS), tables.n_positions)
    general = count[tables.position_start[1:] - 1][group]
    order = general / count
    index = torch.arange(len(count)) - tables.position_start[:-1][group]
    characters = "123456m-/."
    symbols = torch.tensor([[symbol.count(c) for c in characters] for symbol in tables.site_symmetry]).float()
    small = torch.nn.functional.one_hot(count.long().clamp(max=8), 9).float()
    columns = [
        count.log2().unsqueeze(1) / 3.0,
        order.log2().unsqueeze(1) / 3.0,
        index.unsqueeze(1) / 10.0,
        tables.is_free.float(),
        tables.is_free.sum(dim=1, keepdim=True).float(),
        (order == 1).float().unsqueeze(1),
        tables.n_centring[group].unsqueeze(1).float() / 4.0,
        symbols,
        small,
        (index == 0).float().unsqueeze(1),
        group.unsqueeze(1).float() / 230.0,
    ]
    features = torch.cat(columns, dim=1)
    return torch.cat([features, torch.zeros(1, features.shape[1])])
