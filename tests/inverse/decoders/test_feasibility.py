from itertools import product

import pytest

from inverse.decoders.feasibility import feasible_groups, feasible_sites, is_feasible, next_start
from surrogates.crystals.symmetry import wyckoff_positions


def reachable_by_search(group: int, start: int, amounts: tuple[int, ...]) -> bool:
    """Plain depth-first search over every way to place the atoms."""
    if not any(amounts):
        return True
    for wyckoff in range(start, len(wyckoff_positions(group))):
        n = wyckoff_positions(group)[wyckoff].primitive_multiplicity
        for i, amount in enumerate(amounts):
            left = (*amounts[:i], amount - n, *amounts[i + 1 :])
            if amount >= n and reachable_by_search(group, next_start(group, wyckoff), left):
                return True
    return False


@pytest.mark.parametrize("group", [2, 47, 123, 148, 166, 194, 216, 221, 225, 227, 229])
def test_agrees_with_plain_search(group: int) -> None:
    for amounts in product(range(5), range(1, 5)):
        rest = tuple(sorted(a for a in amounts if a))
        assert is_feasible(group, 0, rest) == reachable_by_search(group, 0, rest), (group, amounts)


def test_known_cases() -> None:
    assert is_feasible(225, 0, (1, 1))
    assert not is_feasible(225, 0, (1, 1, 1))
    assert 216 in feasible_groups((1, 1, 1))
    assert set(range(1, 231)) > set(feasible_groups((1,)))
    assert 1 in feasible_groups((7, 11))


def test_no_choice_leads_to_a_dead_end() -> None:
    for group, amounts in ((221, (1, 1, 3)), (166, (2, 3)), (139, (1, 2, 2)), (62, (4, 8))):
        stack = [(0, amounts)]
        while stack:
            start, left = stack.pop()
            options = feasible_sites(group, start, left)
            assert bool(options) or not any(left)
            for wyckoff, i in options[:6]:
                n = wyckoff_positions(group)[wyckoff].primitive_multiplicity
                stack.append((next_start(group, wyckoff), (*left[:i], left[i] - n, *left[i + 1 :])))
