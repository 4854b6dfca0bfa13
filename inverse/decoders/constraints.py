"""A condition's hard constraints in the terms of the composition model."""

from math import gcd

import torch
from pymatgen.core import Composition
from torch import Tensor

from inverse.decoders.composition_draw import ElementRules
from inverse.decoders.composition_model import MAX_ELEMENTS
from inverse.decoders.protocol import Condition
from inverse.decoders.structure_model import MAX_UNITS
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, element_index
from surrogates.errors import DecodingError

MAX_ATOMS = 24
"""Atoms of the largest primitive cell that is written."""


def element_rules(condition: Condition, order: Tensor) -> ElementRules:
    """Return which elements may and must occur, by rank.

    Raises:
        DecodingError: the constraints exclude each other.
    """
    usable = frozenset(condition.usable_elements)
    needed, wanted = condition.needed_elements, condition.required_any & usable
    low = max(1, condition.n_elements[0], len(needed))
    high = min(condition.n_elements[1], MAX_ELEMENTS, len(usable), condition.n_atoms[1], MAX_ATOMS)
    extra = bool(condition.required_any) and not (needed & wanted)
    if not needed <= usable or (condition.required_any and not wanted) or low > high:
        raise DecodingError("no composition has the elements that are required, allowed and counted")
    if extra and len(needed) + 1 > high:
        raise DecodingError("required elements and one of required_any are more than n_elements allows")

    def flags(symbols: frozenset[str]) -> Tensor:
        by_element = torch.zeros(N_ELEMENTS, dtype=torch.bool)
        by_element[[element_index(s) for s in symbols]] = True
        return by_element[order]

    return ElementRules(flags(usable), flags(needed), flags(wanted), (low, high))


def allowed_totals(condition: Condition) -> list[int]:
    """Return the numbers of atoms in a reduced formula for which some primitive cell has an allowed size.

    Raises:
        DecodingError: n_atoms asks for more than MAX_ATOMS.
    """
    low, high = condition.n_atoms[0], min(condition.n_atoms[1], MAX_ATOMS)
    totals = [n for n in range(1, high + 1) if high // n * n >= low]
    if not totals:
        raise DecodingError(f"n_atoms from {low}: the decoder writes cells of at most {MAX_ATOMS} atoms")
    return totals


def allowed_units(n_formula: int, condition: Condition) -> list[int]:
    """Return the numbers of formula units for which the primitive cell has an allowed size."""
    low, high = condition.n_atoms[0], min(condition.n_atoms[1], MAX_ATOMS)
    return [k for k in range(1, MAX_UNITS + 1) if low <= k * n_formula <= high]


def fixed_amounts(condition: Condition) -> Tensor | None:
    """Return the (1, Z) reduced amounts of the composition asked for; None when it is open.

    Raises:
        DecodingError: the composition cannot be read, or breaks another constraint of the condition.
    """
    if condition.composition is None:
        return None
    try:
        amounts = Composition(condition.composition).get_el_amt_dict()
    except ValueError as error:
        raise DecodingError(f"composition {condition.composition!r} cannot be read: {error}") from None
    row = torch.zeros(1, N_ELEMENTS, dtype=torch.long)
    for symbol, amount in amounts.items():
        if abs(amount - round(amount)) > 1e-3 or symbol not in ELEMENT_SYMBOLS:
            raise DecodingError(f"composition {condition.composition!r}: whole numbers of H to Lr only")
        row[0, element_index(symbol)] = round(amount)
    row //= max(1, gcd(*row[0].tolist()))
    units = allowed_units(int(row.sum()), condition)
    n = int(row.sum())
    if not units or not condition.is_met(amounts, units[0] * n):
        raise DecodingError(
            f"composition {condition.composition!r} breaks another constraint of the condition"
        )
    return row
