"""Composition model: elements in a fixed order, then their amounts, given wanted properties; constraints are masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inverse.decoders.conditioning import N_CONDITIONS
from surrogates.crystal import N_ELEMENTS

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


class CompositionNetwork(nn.Module):
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
        """Return the (C,) log-probability of formulas, constraints left out (the order of elements is kept)."""
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


@dataclass(frozen=True)
class ElementRules:
    """Which elements may and must occur, by rank.

    Attributes:
        usable: (103,) bool.
        needed: (103,) bool, all of these occur.
        wanted: (103,) bool, one of these occurs; all False asks for nothing.
        n_elements: inclusive range.
    """

    usable: Tensor
    needed: Tensor
    wanted: Tensor
    n_elements: tuple[int, int]

    def allowed_next(self, last: Tensor, used: Tensor, is_met: Tensor) -> Tensor:
        """Return the (C, 104) elements (END last) after which the rules can still be met.

        Args:
            last: (C,) rank of the last element, -1 for none.
            used: (C,) elements so far.
            is_met: (C,) whether a wanted element is among them (or none is asked for).
        """
        low, high = self.n_elements
        rank = torch.arange(N_ELEMENTS)
        after = lambda flags: flags.flip(0).cumsum(0).flip(0) - flags.long()  # noqa: E731
        needed_after, usable_after = after(self.needed.long()), after(self.usable.long())
        wanted_after = after((self.wanted & self.usable).long()) > 0
        met_later = after((self.needed & self.wanted).long()) > 0
        is_met_then = is_met.unsqueeze(1) | self.wanted | met_later
        extra = (~is_met_then).long()
        used_then = used.unsqueeze(1) + 1
        next_needed = torch.cat([torch.where(self.needed, rank, END), torch.tensor([END])])
        first_needed = next_needed.flip(0).cummin(0).values.flip(0)[last + 1]
        allowed = self.usable & (rank > last.unsqueeze(1)) & (rank <= first_needed.unsqueeze(1))
        allowed &= used_then + needed_after + extra <= high
        allowed &= is_met_then | wanted_after
        allowed &= used_then + usable_after >= low
        none_needed = first_needed == END
        may_end = (used >= low) & none_needed & is_met
        return torch.cat([allowed, may_end.unsqueeze(1)], dim=1)


def choose(logits: Tensor, allowed: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Return (C,) choices by inverse cumulative probability among the allowed ones.

    Args:
        logits: (C, N).
        allowed: (C, N) bool, at least one per row.
        uniform: (C,) in (0, 1).
        temperature: above 1 flattens the distribution.
    """
    probability = (logits.double() / temperature).masked_fill(~allowed, float("-inf")).softmax(dim=1)
    cumulative = probability.cumsum(dim=1)
    chosen = (cumulative < uniform.double().unsqueeze(1) * cumulative[:, -1:]).sum(dim=1)
    chosen = chosen.clamp(max=logits.shape[1] - 1)
    # A uniform number that rounds to 1 can point behind the last allowed choice.
    last = (torch.arange(logits.shape[1]) * allowed).max(dim=1).values
    return torch.minimum(chosen, last)


@torch.no_grad()
def draw_formulas(
    network: CompositionNetwork,
    latent: Tensor,
    condition: Tensor,
    rules: ElementRules,
    totals: Sequence[int],
    temperature: float = 1.0,
    guidance: float = 1.0,
) -> Formulas:
    """Return C formulas that obey the rules; the amounts may have a common factor.

    Args:
        network: the model.
        latent: (C, 2 * MAX_ELEMENTS + 1) uniform numbers.
        condition: (1, 8) wanted values.
        rules: hard constraints on the elements.
        totals: allowed sums of the amounts.
        temperature: above 1 flattens the distribution.
        guidance: above 1 overstates the condition (classifier-free guidance); 1 is the model itself.
    """
    c = latent.shape[0]
    conditions = torch.cat([condition, torch.zeros_like(condition)]) if guidance != 1.0 else condition
    stacked = conditions.repeat_interleave(c, dim=0)
    n_copies = conditions.shape[0]

    def guided(logits: Tensor) -> Tensor:
        if n_copies == 1:
            return logits
        with_condition, without = logits.log_softmax(dim=-1).chunk(2)
        return without + guidance * (with_condition - without)

    none = torch.full((c,), END + 1)
    ranks = torch.full((c, MAX_ELEMENTS), END)
    last, used, is_met = (
        torch.full((c,), -1),
        torch.zeros(c, dtype=torch.long),
        torch.ones(c, dtype=torch.bool),
    )
    is_met &= not bool(rules.wanted.any())
    is_open = torch.ones(c, dtype=torch.bool)
    previous, state, kept = none, None, None
    for step in range(MAX_ELEMENTS + 1):
        output, state = network.advance(
            previous.repeat(n_copies)[:, None],
            none.repeat(n_copies)[:, None],
            torch.zeros(n_copies * c, 1, dtype=torch.long),
            stacked,
            state,
        )
        kept = state if kept is None else torch.where(is_open.repeat(n_copies)[None, :, None], state, kept)
        allowed = rules.allowed_next(last, used, is_met)
        allowed[~is_open] = False
        allowed[~is_open, END] = True
        token = choose(guided(network.element_head(output[:, 0])), allowed, latent[:, step], temperature)
        is_open &= token < END
        if not bool(is_open.any()):
            break
        ranks[is_open, step] = token[is_open]
        last, used = torch.where(is_open, token, last), used + is_open
        is_met |= is_open & rules.wanted[token.clamp(max=END - 1)]
        previous = torch.where(is_open, token, torch.full_like(token, END))
    uniforms = latent[:, MAX_ELEMENTS + 1 :]
    amounts = _draw_amounts(network, uniforms, stacked, kept, ranks, totals, temperature, guided)
    return Formulas(ranks, amounts)


def _draw_amounts(
    network: CompositionNetwork,
    uniforms: Tensor,
    condition: Tensor,
    state: Tensor | None,
    ranks: Tensor,
    totals: Sequence[int],
    temperature: float,
    guided: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return (C, MAX_ELEMENTS) amounts whose sum is one of `totals`."""
    c, n_copies = ranks.shape[0], condition.shape[0] // ranks.shape[0]
    amounts = torch.zeros_like(ranks)
    reachable = _reachable_totals(totals)
    n_left, total = (ranks < END).sum(dim=1), torch.zeros(c, dtype=torch.long)
    previous, count = torch.full((c,), END + 1), torch.zeros(c, dtype=torch.long)
    for step in range(int(n_left.max())):
        query = ranks[:, step]
        is_open = query < END
        output, state = network.advance(
            previous.repeat(n_copies)[:, None],
            query.repeat(n_copies)[:, None],
            count.repeat(n_copies)[:, None],
            condition,
            state,
        )
        logits = guided(network.amount_logits(output[:, 0], query.repeat(n_copies)))
        sums = (total.unsqueeze(1) + torch.arange(1, MAX_AMOUNT + 1)).clamp(max=reachable.shape[1] - 1)
        allowed = reachable[(n_left - 1).clamp(min=0).unsqueeze(1), sums]
        allowed[~is_open, 0] = True
        chosen = choose(logits, allowed, uniforms[:, step], temperature) + 1
        amounts[is_open, step] = chosen[is_open]
        total, n_left = total + chosen * is_open, n_left - is_open.long()
        previous, count = query, chosen
    return amounts


def _reachable_totals(totals: Sequence[int]) -> Tensor:
    """Return (MAX_ELEMENTS + 1, T) bool: from which sum can r more amounts reach an allowed total."""
    size = max(totals) + MAX_AMOUNT + 2
    reachable = torch.zeros(MAX_ELEMENTS + 1, size, dtype=torch.bool)
    reachable[0, list(totals)] = True
    for more in range(1, MAX_ELEMENTS + 1):
        for total in range(size):
            reachable[more, total] = bool(reachable[more - 1, total + 1 : total + 1 + MAX_AMOUNT].any())
    return reachable
