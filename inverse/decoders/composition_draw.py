"""Drawing formulas from the composition model under hard constraints."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inverse.decoders.composition_model import END, MAX_AMOUNT, MAX_ELEMENTS, FormulaNetwork, Formulas
from surrogates.crystals.batch import N_ELEMENTS

N_TRIES = 8
"""Formulas drawn for each one kept when constraints cut the model's choices."""

_GOLDEN = 0.6180339887498949


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
        # Elements come in rising rank, so what a rule still asks for must stand behind the next element: a
        # needed one is never jumped over, and the places left must hold all needed ones, and one more where
        # a wanted one is still missing that none of the needed ones is.
        low, high = self.n_elements
        rank = torch.arange(N_ELEMENTS)
        needed_after, usable_after = _n_after(self.needed), _n_after(self.usable)
        wanted_after = _n_after(self.wanted & self.usable) > 0
        met_later = _n_after(self.needed & self.wanted) > 0
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


def _n_after(flags: Tensor) -> Tensor:
    """Return how many flags are set behind each place."""
    counts = flags.long()
    return counts.flip(0).cumsum(0).flip(0) - counts


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
    # A uniform number that rounds to 1 can point behind the last allowed choice.
    last = (torch.arange(logits.shape[1]) * allowed).max(dim=1).values
    return torch.minimum(chosen, last)


@dataclass(frozen=True)
class FormulaDraw:
    """How formulas are drawn.

    Attributes:
        network: the model.
        condition: (1, 8) wanted values.
        rules: hard constraints on the elements.
        totals: allowed sums of the amounts.
        temperature: above 1 flattens the distribution.
        guidance: above 1 overstates the condition (classifier-free guidance); 1 is the model itself.
    """

    network: FormulaNetwork
    condition: Tensor
    rules: ElementRules
    totals: Sequence[int]
    temperature: float = 1.0
    guidance: float = 1.0

    @torch.no_grad()
    def formulas(self, latent: Tensor) -> Formulas:
        """Return C formulas that obey the rules; the amounts may have a common factor.

        Masks alone would favour formulas that wander until a rule is met. So several are drawn for each row
        and one is chosen by the probability that the masks left at each of its steps (sampling importance
        resampling): the result follows the model given that the rules hold.

        Args:
            latent: (C, 2 * MAX_ELEMENTS + 2) uniform numbers; the last one chooses.
        """
        c, n_tries = len(latent), 1 if self._is_open() else N_TRIES
        shift = _GOLDEN * torch.arange(n_tries).repeat(c).unsqueeze(1)
        uniforms = (latent[:, :-1].repeat_interleave(n_tries, dim=0) + shift) % 1.0
        drawn, log_weight = self._draw(uniforms.clamp(1e-6, 1 - 1e-6))
        log_weight = log_weight.reshape(c, n_tries)
        kept = choose(log_weight, torch.ones_like(log_weight, dtype=torch.bool), latent[:, -1], 1.0)
        rows = torch.arange(c) * n_tries + kept
        return Formulas(drawn.ranks[rows], drawn.amounts[rows])

    def _is_open(self) -> bool:
        rules = self.rules
        is_bound = bool(rules.needed.any() or rules.wanted.any() or not rules.usable.all())
        return not is_bound and rules.n_elements[0] == 1

    def _advance(self, previous: Tensor, query: Tensor, amount: Tensor, state: Tensor | None) -> tuple:
        """Return outputs and state, with the condition and, when guided, once more without."""
        parts = self.condition
        if self.guidance != 1.0:
            parts = torch.cat([parts, torch.zeros_like(parts)])
        n = len(parts)
        before, asked, count = (tensor.repeat(n)[:, None] for tensor in (previous, query, amount))
        wanted = parts.repeat_interleave(len(previous), dim=0)
        return self.network.advance(before, asked, count, wanted, state)

    def _guided(self, logits: Tensor) -> Tensor:
        if self.guidance == 1.0:
            return logits
        given, free = logits.log_softmax(dim=-1).chunk(2)
        return free + self.guidance * (given - free)

    def _draw(self, uniforms: Tensor) -> tuple[Formulas, Tensor]:
        """Return formulas and the (C,) log-probability that the masks left in all."""
        c = len(uniforms)
        ranks = torch.full((c, MAX_ELEMENTS), END)
        last, used = torch.full((c,), -1), torch.zeros(c, dtype=torch.long)
        is_met = torch.full((c,), not bool(self.rules.wanted.any()))
        is_open, log_weight = torch.ones(c, dtype=torch.bool), torch.zeros(c, dtype=torch.float64)
        none, no_amount = torch.full((c,), END + 1), torch.zeros(c, dtype=torch.long)
        previous, state, kept = none, None, None
        for step in range(MAX_ELEMENTS + 1):
            output, state = self._advance(previous, none, no_amount, state)
            open_rows = is_open.repeat(state.shape[1] // c)[None, :, None]
            kept = state if kept is None else torch.where(open_rows, state, kept)
            allowed = self.rules.allowed_next(last, used, is_met)
            possible = torch.arange(N_ELEMENTS + 1) > last.unsqueeze(1)
            possible[:, END] = used > 0
            logits = self._guided(self.network.element_head(output[:, 0]))
            log_weight += torch.where(is_open, _log_share(logits, allowed, possible), 0.0)
            allowed[~is_open] = False
            allowed[~is_open, END] = True
            token = choose(logits, allowed, uniforms[:, step], self.temperature)
            is_open = is_open & (token < END)
            if not bool(is_open.any()):
                break
            ranks[is_open, step] = token[is_open]
            last, used = torch.where(is_open, token, last), used + is_open
            is_met = is_met | (is_open & self.rules.wanted[token.clamp(max=END - 1)])
            previous = torch.where(is_open, token, END)
        amounts, more = self._draw_amounts(ranks, kept, uniforms[:, MAX_ELEMENTS + 1 :])
        return Formulas(ranks, amounts), log_weight + more

    def _draw_amounts(self, ranks: Tensor, state: Tensor | None, uniforms: Tensor) -> tuple[Tensor, Tensor]:
        """Return (C, MAX_ELEMENTS) amounts whose sum is one of `totals`, and the log-probability left."""
        c = len(ranks)
        amounts, log_weight = torch.zeros_like(ranks), torch.zeros(c, dtype=torch.float64)
        reachable = _reachable_totals(self.totals)
        n_left, total = (ranks < END).sum(dim=1), torch.zeros(c, dtype=torch.long)
        previous, count = torch.full((c,), END + 1), torch.zeros(c, dtype=torch.long)
        for step in range(int(n_left.max())):
            query = ranks[:, step]
            is_open = query < END
            output, state = self._advance(previous, query, count, state)
            queries = query.repeat(len(output) // c)
            logits = self._guided(self.network.amount_logits(output[:, 0], queries))
            sums = (total.unsqueeze(1) + torch.arange(1, MAX_AMOUNT + 1)).clamp(max=reachable.shape[1] - 1)
            allowed = reachable[(n_left - 1).clamp(min=0).unsqueeze(1), sums]
            share = _log_share(logits, allowed, torch.ones_like(allowed))
            log_weight += torch.where(is_open, share, 0.0)
            allowed[~is_open, 0] = True
            chosen = choose(logits, allowed, uniforms[:, step], self.temperature) + 1
            amounts[is_open, step] = chosen[is_open]
            total, n_left = total + chosen * is_open, n_left - is_open.long()
            previous, count = query, chosen
        return amounts, log_weight


def _log_share(logits: Tensor, allowed: Tensor, possible: Tensor) -> Tensor:
    """Return (C,) log of the probability of the allowed choices among the possible ones, double."""
    values = logits.double()
    kept = values.masked_fill(~(allowed & possible), -1e9).logsumexp(dim=1)
    return kept - values.masked_fill(~possible, -1e9).logsumexp(dim=1)


def _reachable_totals(totals: Sequence[int]) -> Tensor:
    """Return (MAX_ELEMENTS + 1, T) bool: from which sum can r more amounts reach an allowed total."""
    size = max(totals) + MAX_AMOUNT + 2
    reachable = torch.zeros(MAX_ELEMENTS + 1, size, dtype=torch.bool)
    reachable[0, list(totals)] = True
    for more in range(1, MAX_ELEMENTS + 1):
        for total in range(size):
            reachable[more, total] = bool(reachable[more - 1, total + 1 : total + 1 + MAX_AMOUNT].any())
    return reachable
