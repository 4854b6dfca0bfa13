"""Which structure types a composition is tried in: its own known ones, then the most familiar."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from inverse.proposers.building.cells import ROUGH_VOLUME, has_shape
from inverse.proposers.building.compositions import RankedComposition
from inverse.reference.divided_types import KNOWN_ELEMENTS
from inverse.reference.structure_types import Prototype

OWN_TYPE = 200.0
"""Familiarity of a structure type that is carried for the very formula."""

MOST_ASSIGNMENTS = 24
"""Ways of putting the elements on the labels of one type that are looked at: all, of up to four elements."""


@dataclass(frozen=True)
class Plan:
    """A composition in a structure type."""

    composition: RankedComposition
    prototype: Prototype
    elements: tuple[str, ...]
    promise: float

    @property
    def key(self) -> str:
        """What tells it from other plans."""
        return f"{self.prototype.text} {' '.join(self.elements)}"

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
            # the few real types of many elements are seldom known well enough to be built
            is_bare = len(pattern) > KNOWN_ELEMENTS and not has_shape(prototype)
            for elements in islice(assignments(composition.amounts, prototype), MOST_ASSIGNMENTS):
                familiarity = prototype.familiarity(elements) + (OWN_TYPE if prototype.text in own else 0.0)
                options.append((is_bare, familiarity, prototype.text, elements, prototype))
        options.sort(key=lambda o: (o[0], -o[1], o[2], o[3]))
        total = sum(o[1] for o in options)
        for _, familiarity, _, elements, prototype in options[:per_composition]:
            share = familiarity / total if total else 0.0
            yield Plan(composition, prototype, elements, composition.worth * (0.2 + 0.8 * share**0.5))


def assignments(amounts: Mapping[str, int], prototype: Prototype) -> Iterator[tuple[str, ...]]:
    """Yield every way of putting elements in these amounts on the labels of a structure type."""
    scale = sum(prototype.counts) // sum(amounts.values())
    wanted = {e: a * scale for e, a in amounts.items()}
    yield from _orders(sorted(wanted), wanted, prototype.counts)


def _orders(
    left: Sequence[str], wanted: Mapping[str, int], counts: Sequence[int]
) -> Iterator[tuple[str, ...]]:
    """Yield the orders of elements whose amounts are the counts, in alphabetical order."""
    if not counts:
        yield ()
        return
    for element in left:
        if wanted[element] == counts[0]:
            rest = [e for e in left if e != element]
            yield from ((element, *more) for more in _orders(rest, wanted, counts[1:]))
