"""Which structure types a composition is tried in: its own known ones, then the most familiar."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

from inverse.proposers.compositions import RankedComposition
from inverse.proposers.prototypes import Prototype

OWN_TYPE = 200.0
"""Familiarity of a structure type that is carried for the very formula."""

ROUGH_VOLUME = 15.0
"""Å³ per atom where nothing better is known."""


@dataclass(frozen=True)
class Plan:
    """A composition in a structure type."""

    composition: RankedComposition
    prototype: Prototype
    elements: tuple[str, ...]
    promise: float

    @property
    def volume_per_atom(self) -> float:
        """Å³, expected of the composition."""
        volume = self.composition.volume_per_atom
        return volume if math.isfinite(volume) else ROUGH_VOLUME


def planned(
    compositions: Sequence[RankedComposition],
    prototypes: Sequence[Prototype],
    per_composition: int,
    n_atoms: tuple[int, int],
    types_of: Callable[[str], frozenset[str]],
) -> Iterator[Plan]:
    """Yield the structure types tried for each composition: its own known ones, then the most familiar."""
    by_pattern: dict[tuple[int, ...], list[Prototype]] = {}
    for prototype in prototypes:
        if n_atoms[0] <= prototype.n_atoms <= n_atoms[1]:
            by_pattern.setdefault(prototype.stoichiometry, []).append(prototype)
    for composition in compositions:
        pattern = tuple(sorted(composition.amounts.values()))
        options = []
        own = types_of(composition.formula) if composition.is_known else frozenset()
        for prototype in by_pattern.get(pattern, []):
            for elements in assignments(composition, prototype):
                familiarity = prototype.familiarity(elements) + (OWN_TYPE if prototype.text in own else 0.0)
                options.append((familiarity, prototype.text, elements, prototype))
        options.sort(key=lambda o: (-o[0], o[1], o[2]))
        total = sum(o[0] for o in options) or 1.0
        for familiarity, _, elements, prototype in options[:per_composition]:
            promise = composition.worth * (0.2 + 0.8 * (familiarity / total) ** 0.5)
            yield Plan(composition, prototype, elements, promise)


def assignments(composition: RankedComposition, prototype: Prototype) -> list[tuple[str, ...]]:
    """Return every way of putting the composition's elements on the labels of a structure type."""
    scale, rest = divmod(sum(prototype.counts), sum(composition.amounts.values()))
    if rest:
        return []
    wanted = {e: a * scale for e, a in composition.amounts.items()}
    return [
        order
        for order in permutations(sorted(wanted))
        if all(wanted[e] == count for e, count in zip(order, prototype.counts, strict=True))
    ]
