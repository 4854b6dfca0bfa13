"""Can these atoms still be placed on these Wyckoff positions? Exact: a decoder meets no dead end."""

from functools import lru_cache

from surrogates.crystals.symmetry import wyckoff_positions

_LIMIT = 256


@lru_cache(maxsize=4096)
def _offers(space_group: int, start: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the (sorted fixed, distinct free) primitive multiplicities of the positions from `start` on."""
    positions = wyckoff_positions(space_group)[start:]
    fixed = sorted(p.primitive_multiplicity for p in positions if p.n_free == 0)
    free = sorted({p.primitive_multiplicity for p in positions if p.n_free > 0})
    return tuple(fixed), tuple(free)


@lru_cache(maxsize=4096)
def _sums(free: tuple[int, ...]) -> int:
    """Return a bit mask of the numbers that sums of `free` (with repetition) reach."""
    reached = 1
    for multiplicity in free:
        shift = multiplicity
        while shift < _LIMIT:
            reached |= reached << shift
            shift *= 2
        reached &= (1 << _LIMIT) - 1
    return reached


@lru_cache(maxsize=1_000_000)
def _can_place(remaining: tuple[int, ...], fixed: tuple[int, ...], free: tuple[int, ...]) -> bool:
    """Return whether every element's atoms split into fixed positions (each once) and free ones."""
    # Free positions repeat, so what they reach is known once and for all; only what they do not reach is
    # searched for among the fixed ones, of which each is used once.
    reached = _sums(free)
    open_amounts = [amount for amount in remaining if not reached >> amount & 1]
    if not open_amounts:
        return True
    if not fixed or sum(fixed) < len(open_amounts):
        return False
    first, others = open_amounts[0], list(remaining)
    others.remove(first)
    return any(_can_place(tuple(others), left, free) for left in _leftovers(first, fixed, reached))


def _leftovers(amount: int, fixed: tuple[int, ...], reached: int) -> list[tuple[int, ...]]:
    """Return what is left of `fixed` after each way to complete `amount` with some of it."""
    found: dict[tuple[int, ...], None] = {}

    def walk(index: int, left: int, kept: tuple[int, ...]) -> None:
        if reached >> left & 1:
            found[kept + fixed[index:]] = None
        for i in range(index, len(fixed)):
            if fixed[i] > left:
                break
            if i > index and fixed[i] == fixed[i - 1]:
                continue
            walk(i + 1, left - fixed[i], kept + fixed[index:i])

    walk(0, amount, ())
    return list(found)


def is_feasible(space_group: int, start: int, remaining: tuple[int, ...]) -> bool:
    """Return whether the remaining atoms fit the Wyckoff positions from index `start` on, exactly.

    Args:
        space_group: International number.
        start: first Wyckoff index that may still be used.
        remaining: atoms of each element left to place in the primitive cell, zeros left out, sorted.
    """
    fixed, free = _offers(space_group, start)
    return _can_place(remaining, fixed, free)


def next_start(space_group: int, wyckoff: int) -> int:
    """Return the first Wyckoff index allowed after `wyckoff`: itself when it is free, else the next.

    Letters never fall, so that a skeleton is written in one order only. A position without free coordinates
    is the same points every time and holds one orbit; one with free coordinates holds any number.
    """
    return wyckoff if wyckoff_positions(space_group)[wyckoff].n_free else wyckoff + 1


@lru_cache(maxsize=100_000)
def feasible_sites(space_group: int, start: int, amounts: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return (Wyckoff index, which amount) of every next site that leaves no dead end.

    Args:
        space_group: International number.
        start: first Wyckoff index allowed.
        amounts: atoms of each element left to place, zeros allowed.
    """
    options = []
    for wyckoff, position in enumerate(wyckoff_positions(space_group)):
        if wyckoff < start:
            continue
        after = next_start(space_group, wyckoff)
        for i, amount in enumerate(amounts):
            left = amount - position.primitive_multiplicity
            if left < 0:
                continue
            rest = sorted(a for a in (*amounts[:i], left, *amounts[i + 1 :]) if a)
            if is_feasible(space_group, after, tuple(rest)):
                options.append((wyckoff, i))
    return tuple(options)


@lru_cache(maxsize=100_000)
def feasible_groups(amounts: tuple[int, ...]) -> tuple[int, ...]:
    """Return the space groups in which a primitive cell of these amounts (sorted) can be built."""
    return tuple(group for group in range(1, 231) if is_feasible(group, 0, amounts))
