"""Composition model: elements in a fixed order, then their amounts, given wanted properties."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inverse.decoders.conditioning import N_CONDITIONS
from surrogates.crystals.batch import N_ELEMENTS

MAX_ELEMENTS = 8
"""Distinct elements at most."""

MAX_AMOUNT = 16
"""Largest amount of one element in a reduced formula; larger ones are read as this."""

END = N_ELEMENTS
"""Token that ends the list of elements."""


@dataclass(frozen=True)
class Formulas:
    """C reduced formulas, padded.

    Attributes:
        ranks: (C, M) place of each element in the model's element order, ascending; END beyond the last.
        amounts: (C, M) long, 0 beyond the last.
    """

    ranks: Tensor
    amounts: Tensor

    @property
    def n_elements(self) -> Tensor:
        """(C,) distinct elements."""
        return (self.ranks < END).sum(dim=1)


class FormulaNetwork(nn.Module):
    """A recurrent network over the elements, then over the amounts.

    Args:
        n_hidden: width of the recurrent state.
        n_embed: width of the element embedding.
    """

    def __init__(self, n_hidden: int = 192, n_embed: int = 32) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.element = nn.Embedding(N_ELEMENTS + 2, n_embed)
        self.amount = nn.Embedding(MAX_AMOUNT + 1, 16)
        self.condition = nn.Sequential(nn.Linear(N_CONDITIONS, 48), nn.SiLU(), nn.Linear(48, 32))
        self.input = nn.Sequential(nn.Linear(2 * n_embed + 16 + 32, 96), nn.SiLU())
        self.recurrent = nn.GRU(96, n_hidden, batch_first=True)
        self.element_head = nn.Linear(n_hidden, N_ELEMENTS + 1)
        self.amount_head = nn.Sequential(
            nn.Linear(n_hidden + n_embed, 64), nn.SiLU(), nn.Linear(64, MAX_AMOUNT)
        )

    def advance(
        self, previous: Tensor, query: Tensor, amount: Tensor, condition: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return (C, T, H) outputs and the next state for T steps.

        Args:
            previous: (C, T) rank of the element before; END + 1 for none.
            query: (C, T) rank of the element whose amount is asked for; END + 1 while elements are asked for.
            amount: (C, T) amount before; 0 for none.
            condition: (C, 8) condition vectors.
            state: (1, C, H), or None at the start.
        """
        wanted = self.condition(condition).unsqueeze(1).expand(-1, previous.shape[1], -1)
        parts = [self.element(previous), self.element(query), self.amount(amount), wanted]
        return self.recurrent(self.input(torch.cat(parts, dim=-1)), state)

    def amount_logits(self, output: Tensor, query: Tensor) -> Tensor:
        """Return logits over amounts 1..MAX_AMOUNT."""
        return self.amount_head(torch.cat([output, self.element(query)], dim=-1))

    def log_likelihood(self, formulas: Formulas, condition: Tensor) -> Tensor:
        """Return the (C,) log-probability of formulas, no constraints but the order of elements."""
        ranks, amounts = formulas.ranks, formulas.amounts.clamp(max=MAX_AMOUNT)
        c, m = ranks.shape
        none = ranks.new_full((c, 1), END + 1)
        previous = torch.cat([none, ranks], dim=1)
        query = torch.full_like(previous, END + 1)
        target = torch.cat([ranks, ranks.new_full((c, 1), END)], dim=1)
        count = torch.cat([torch.zeros_like(amounts[:, :1]), amounts[:, :-1]], dim=1)
        shifted = torch.cat([none, ranks[:, :-1]], dim=1)
        output, _ = self.advance(previous, query, torch.zeros_like(previous), condition, None)
        logits = self.element_head(output)
        is_before = (
            torch.arange(N_ELEMENTS + 1, device=ranks.device)
            <= torch.where(previous > END, -1, previous)[..., None]
        )
        is_before[..., END] = False
        logits = logits.masked_fill(is_before, -1e9).log_softmax(dim=-1)
        chosen = logits.gather(2, target.unsqueeze(2)).squeeze(2)
        is_step = torch.arange(m + 1, device=ranks.device) <= formulas.n_elements.unsqueeze(1)
        total = (chosen * is_step).sum(dim=1)
        state = output.gather(1, formulas.n_elements.reshape(-1, 1, 1).expand(-1, 1, self.n_hidden))
        output, _ = self.advance(shifted, ranks, count, condition, state.transpose(0, 1).contiguous())
        logits = self.amount_logits(output, ranks).log_softmax(dim=-1)
        chosen = logits.gather(2, (amounts - 1).clamp(min=0).unsqueeze(2)).squeeze(2)
        return total + (chosen * (amounts > 0)).sum(dim=1)
