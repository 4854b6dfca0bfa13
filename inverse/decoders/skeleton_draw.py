"""Drawing the discrete part of crystals: formula units, space group, sites until all is placed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from inverse.decoders.composition_draw import choose
from inverse.decoders.constraints import MAX_ATOMS, allowed_units
from inverse.decoders.feasibility import feasible_groups, feasible_sites, is_feasible, next_start
from inverse.decoders.protocol import Condition
from inverse.decoders.structure_model import (
    MAX_UNITS,
    N_GROUPS,
    N_LETTERS,
    Skeletons,
    StructureNetwork,
)
from surrogates.crystals.batch import N_ELEMENTS
from surrogates.crystals.symmetry import wyckoff_tables
from surrogates.errors import DecodingError

MAX_SITES = MAX_ATOMS
"""Sites of a crystal at most."""


def unit_choices(amounts: Tensor, condition: Condition, strict: bool = True) -> list[int]:
    """Return the numbers of formula units that the condition allows for reduced amounts (Z,) or (1, Z).

    Raises:
        DecodingError: there are none and `strict`.
    """
    row = amounts.reshape(-1)
    units = allowed_units(int(row.sum()), condition)
    if condition.space_group is not None:
        counts = sorted(row[row > 0].tolist())
        group = condition.space_group
        units = [k for k in units if is_feasible(group, 0, tuple(k * n for n in counts))]
    if strict and not units:
        raise DecodingError("no cell of the composition asked for has an allowed size and space group")
    return units


@torch.no_grad()
def draw_skeletons(
    network: StructureNetwork,
    amounts: Tensor,
    uniforms: Tensor,
    wanted: Tensor,
    condition: Condition,
    temperature: float,
) -> tuple[Skeletons, Tensor, Tensor]:
    """Return C skeletons, the (C, H) state after the last site and the (C, 64) context.

    Args:
        network: the model.
        amounts: (C, Z) reduced amounts; each fits the condition.
        uniforms: (C, 2 + 2 * MAX_SITES).
        wanted: (1, 8) condition vector.
        condition: sizes and space group allowed.
        temperature: above 1 flattens the distribution.
    """
    c, none = len(amounts), network.position.num_embeddings - 1
    context = network.encode(amounts.float(), wanted.expand(c, -1))
    zero, no_site = torch.zeros(c, 1, dtype=torch.long), torch.full((c, 1), none)
    left = amounts.float()

    def step(units: Tensor, group: Tensor, position: Tensor, element: Tensor, state: Tensor | None) -> tuple:
        inputs = network.site_step(context, units, group, position, element, left.unsqueeze(1))
        return network.site_recurrent(inputs, state)

    output, state = step(zero, zero, no_site, zero, None)
    allowed = torch.zeros(c, MAX_UNITS, dtype=torch.bool)
    for i, row in enumerate(amounts):
        allowed[i, [k - 1 for k in unit_choices(row, condition)]] = True
    units = choose(network.units_head(output[:, 0]), allowed, uniforms[:, 0], temperature) + 1
    output, state = step(units.unsqueeze(1), zero, no_site, zero, state)
    allowed = _group_mask(amounts * units.unsqueeze(1), condition.space_group)
    group = choose(network.group_head(output[:, 0]), allowed, uniforms[:, 1], temperature) + 1
    left = (amounts * units.unsqueeze(1)).float()
    return _draw_sites(network, context, amounts, units, group, left, state, uniforms[:, 2:], temperature)


def _group_mask(totals: Tensor, wanted: int | None) -> Tensor:
    mask = torch.zeros(len(totals), N_GROUPS, dtype=torch.bool)
    for i, row in enumerate(totals):
        if wanted is not None:
            mask[i, wanted - 1] = True
        else:
            groups = feasible_groups(tuple(sorted(row[row > 0].tolist())))
            mask[i, [g - 1 for g in groups]] = True
    return mask


def _draw_sites(
    network: StructureNetwork,
    context: Tensor,
    amounts: Tensor,
    units: Tensor,
    group: Tensor,
    left: Tensor,
    state: Tensor,
    uniforms: Tensor,
    temperature: float,
) -> tuple[Skeletons, Tensor, Tensor]:
    """Place sites until nothing is left; every choice leaves a way to the end."""
    tables = wyckoff_tables()
    c, none = len(amounts), network.position.num_embeddings - 1
    wyckoff, element = (
        torch.zeros(c, MAX_SITES, dtype=torch.long),
        torch.zeros(c, MAX_SITES, dtype=torch.long),
    )
    is_site = torch.zeros(c, MAX_SITES, dtype=torch.bool)
    start = [0] * c
    position, chosen = torch.full((c, 1), none), torch.zeros(c, 1, dtype=torch.long)
    kept, s = state[0], 0
    while True:
        inputs = network.site_step(
            context, units.unsqueeze(1), group.unsqueeze(1), position, chosen, left.unsqueeze(1)
        )
        output, state = network.site_recurrent(inputs, state)
        was_open = is_site[:, s - 1] if s else torch.ones(c, dtype=torch.bool)
        kept = torch.where(was_open.unsqueeze(1), output[:, 0], kept)
        is_open = left.sum(dim=1) > 0
        if not bool(is_open.any()):
            break
        options = [
            _options(g, w, row) if open_ else [(0, 0)]
            for g, w, row, open_ in zip(group.tolist(), start, left.long(), is_open.tolist(), strict=True)
        ]
        letters = torch.zeros(c, N_LETTERS, dtype=torch.bool)
        for i, pairs in enumerate(options):
            letters[i, [w for w, _ in pairs]] = True
        letter = choose(network.letter_logits(output[:, 0], group), letters, uniforms[:, 2 * s], temperature)
        here = tables.position_start[group - 1] + letter
        elements = torch.zeros(c, N_ELEMENTS, dtype=torch.bool)
        for i, (pairs, w) in enumerate(zip(options, letter.tolist(), strict=True)):
            elements[i, [z for v, z in pairs if v == w]] = True
        logits = network.element_logits(output[:, 0], here, left)
        z = choose(logits, elements, uniforms[:, 2 * s + 1], temperature)
        wyckoff[is_open, s], element[is_open, s], is_site[is_open, s] = letter[is_open], z[is_open], True
        count = tables.n_representatives[here].float() * is_open
        left = left.scatter_add(1, z.unsqueeze(1), -count.unsqueeze(1))
        start = [
            next_start(g, w) if o else 0
            for g, w, o in zip(group.tolist(), letter.tolist(), is_open.tolist(), strict=True)
        ]
        position = torch.where(is_open, here, none).unsqueeze(1)
        chosen, s = z.unsqueeze(1), s + 1
    skeletons = Skeletons(amounts, units, group, wyckoff[:, :s], element[:, :s], is_site[:, :s])
    return skeletons, kept, context


def _options(group: int, start: int, left: Tensor) -> Sequence[tuple[int, int]]:
    """Return (Wyckoff index, element) of every next site that leaves no dead end."""
    columns = left.nonzero().squeeze(1).tolist()
    amounts = left[columns].tolist()
    order = sorted(range(len(columns)), key=lambda i: amounts[i])
    pairs = feasible_sites(group, start, tuple(amounts[i] for i in order))
    return [(w, columns[order[i]]) for w, i in pairs]
