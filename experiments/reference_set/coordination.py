"""How many neighbours atoms have, counted smoothly, and how much a relaxation changed it."""

import numpy as np
from pymatgen.core import Structure

REACH = 2.0
"""Neighbours are looked for up to this many times the nearest distance."""


def coordination_numbers(structure: Structure) -> dict[str, float]:
    """Return the mean effective coordination number of each element (Hoppe).

    A neighbour counts exp(1 - (d / mean)^6), the mean weighted likewise: 12 in fcc, 6 in rock salt, and
    no jump where a shell splits.

    References:
        Hoppe, Z. Kristallogr. 150, 23 (1979), doi:10.1524/zkri.1979.150.14.23
    """
    centre, _, _, distance = structure.get_neighbor_list(_reach(structure))
    numbers: dict[str, list[float]] = {}
    for k, site in enumerate(structure):
        numbers.setdefault(site.specie.symbol, []).append(_effective(distance[centre == k]))
    return {symbol: float(np.mean(values)) for symbol, values in sorted(numbers.items())}


def coordination_change(before: Structure, after: Structure) -> float:
    """Return the largest relative change of an element's mean coordination number."""
    first, last = coordination_numbers(before), coordination_numbers(after)
    return max(abs(last[symbol] / first[symbol] - 1.0) for symbol in first)


def _reach(structure: Structure) -> float:
    """Return a radius within which every atom has its shell: twice the longest of nearest distances."""
    radius = 2.0 * (structure.volume / len(structure)) ** (1 / 3)
    while True:
        centre, _, _, distance = structure.get_neighbor_list(radius)
        nearest = [distance[centre == k].min(initial=np.inf) for k in range(len(structure))]
        if np.isfinite(nearest).all():
            return REACH * float(max(nearest))
        radius *= 1.5


def _effective(distance: np.ndarray) -> float:
    mean = float(distance.min())
    for _ in range(20):
        weights = np.exp(1.0 - (distance / mean) ** 6)
        mean = float((weights * distance).sum() / weights.sum())
    return float(np.exp(1.0 - (distance / mean) ** 6).sum())
