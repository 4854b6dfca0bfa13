"""What the numbers of a trial mean: how many elements, which, in which amounts, which type, how dense.

Elements stand in Pettifor's order, so that neighbours behave alike, and amounts go with that order: 1:2 is
one of the metal and two of the non-metal whatever their names. The types of a formula are listed the most
familiar first, so that a small number means a usual structure of such elements.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from itertools import combinations, islice
from math import gcd

from pymatgen.core import Composition, Element

from inverse.inputs.constraints import MOST_ELEMENTS
from inverse.proposers.building.cells import has_shape
from inverse.proposers.building.plans import MOST_ASSIGNMENTS, assignments
from inverse.proposers.search_space import SearchSpace
from inverse.reference.structure_types import Prototype

FEWEST_PLACES = 4
"""Numbers that choose elements, at least; more where the config allows more elements."""

FAVOUR = 2
"""Power of the number of a type of which the rank is made: the first of four types is half of the draws."""

OPTIONS_KEPT = 2048
"""Formulas whose crystals are kept in memory, 2 kB each."""

SMALLEST_VOLUME, VOLUME_RANGE = 0.85, 0.3
"""Volume of a crystal of density 0, in parts of the expected one, and how much larger it is at density 1."""

Numbers = Mapping[str, float]
"""A trial: between 0 and 1 each."""


def numbers_for(most_elements: int) -> tuple[str, ...]:
    """Return the names of what a trial is: numbers between 0 and 1, eight for up to four elements.

    >>> numbers_for(5)[5:7]
    ('element_5', 'stoichiometry')
    """
    places = range(1, max(FEWEST_PLACES, min(most_elements, MOST_ELEMENTS)) + 1)
    return ("n_elements", *(f"element_{k}" for k in places), "stoichiometry", "type", "density")


def place_of(number: float, n: int) -> int:
    """Return which of n equal parts of [0, 1] a number lies in.

    >>> [place_of(x, 4) for x in (0.0, 0.26, 1.0)]
    [0, 1, 3]
    """
    return min(n - 1, int(n * number))


def middle_of(place: int, n: int) -> float:
    """Return the middle of one of n equal parts of [0, 1].

    >>> middle_of(1, 4)
    0.375
    """
    return (place + 0.5) / n


def bounded(number: float) -> float:
    """Return the nearest number from 0 to 1.

    >>> [bounded(x) for x in (-0.1, 0.3, 1.2)]
    [0.0, 0.3, 1.0]
    """
    return min(1.0, max(0.0, float(number)))


def volume_at(density: float) -> float:
    """Return the volume that a density stands for, in parts of the expected one; half-way it is that.

    >>> volume_at(0.5)
    1.0
    """
    return SMALLEST_VOLUME + VOLUME_RANGE * density


def density_at(volume: float) -> float:
    """Return the density nearest to a volume, in parts of the expected one.

    >>> [round(density_at(x), 3) for x in (0.925, 2.0)]
    [0.25, 1.0]
    """
    return bounded((volume - SMALLEST_VOLUME) / VOLUME_RANGE)


@dataclass(frozen=True)
class Chosen:
    """The crystal that a trial names, up to its volume.

    Attributes:
        prototype: structure type.
        elements: on its labels A, B, C ...
    """

    prototype: Prototype
    elements: tuple[str, ...]

    @property
    def key(self) -> str:
        """What tells it from other crystals."""
        return f"{self.prototype.text} {' '.join(self.elements)}"


class TrialSpace:
    """Numbers -> crystal and back, for the types and the elements of a config."""

    def __init__(self, space: SearchSpace, known: Callable[[], Sequence[Prototype]]) -> None:
        """Remember where types come from; they are read when first needed.

        Args:
            space: the config's wishes.
            known: structure types of known materials.
        """
        self._space, self._known = space, known
        self.names = numbers_for(space.constraints.n_elements[1])
        self.elements = _by_chemistry(space.allowed_elements)
        self._place = {e: k for k, e in enumerate(self.elements)}
        self._kept_options = lru_cache(OPTIONS_KEPT)(self._every_option)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of elements that the config allows and that have types and elements enough."""
        low, high = self._space.constraints.n_elements
        return tuple(z for z in sorted(self._amounts) if low <= z <= min(high, len(self.elements)))

    def amounts_of(self, size: int) -> list[tuple[int, ...]]:
        """Return the amounts of so many elements in Pettifor's order, the most frequent first."""
        return list(self._amounts[size])

    def parts_of(self, size: int) -> tuple[tuple[str, ...], ...]:
        """Return the numbers that matter for so many elements, in parts that may change on their own."""
        elements = [(f"element_{k}",) for k in range(1, size + 1)]
        return (*elements, ("stoichiometry", "type"), ("type",), ("density",))

    def size_of(self, numbers: Numbers) -> int:
        """Return how many elements a trial has."""
        return self.sizes[place_of(numbers["n_elements"], len(self.sizes))]

    def formula_of(self, numbers: Numbers) -> dict[str, int]:
        """Return element -> amount, in Pettifor's order."""
        size = self.size_of(numbers)
        own = self.amounts_of(size)
        places: list[int] = []
        for k in range(1, size + 1):
            place = place_of(numbers[f"element_{k}"], len(self.elements))
            places.append(_nearest_free(place, places, len(self.elements)))
        amounts = own[place_of(numbers["stoichiometry"], len(own))]
        return {self.elements[p]: n for p, n in zip(sorted(places), amounts, strict=True)}

    def chosen(self, numbers: Numbers) -> Chosen:
        """Return the crystal of a trial."""
        options = self._options_of(self.formula_of(numbers))
        return options[place_of(numbers["type"] ** FAVOUR, len(options))]

    def canonical(self, numbers: Numbers) -> dict[str, float]:
        """Return the one way to write a trial: elements in order, each number in the middle of its choice."""
        formula, size = self.formula_of(numbers), self.size_of(numbers)
        own = self.amounts_of(size)
        stoichiometry = middle_of(place_of(numbers["stoichiometry"], len(own)), len(own))
        written = self._written(tuple(formula), stoichiometry)
        return {**written, "type": float(numbers["type"]), "density": float(numbers["density"])}

    def numbers_of(self, label: str, elements: Sequence[str]) -> dict[str, float] | None:
        """Return the trial that makes a crystal at the volume expected of it.

        None when its type or an element is not among those here.

        Args:
            label: structure type, a signature with labels for elements.
            elements: on the labels A, B, C ...
        """
        size = len(elements)
        prototype = next((p for p in self._types if p.text == label), None)
        if prototype is None or size not in self.sizes or not set(elements) <= self._place.keys():
            return None
        divisor = reduce(gcd, prototype.counts)
        own = {e: n // divisor for e, n in zip(elements, prototype.counts, strict=True)}
        formula = {e: own[e] for e in sorted(own, key=self._place.__getitem__)}
        listed, options = self.amounts_of(size), self._options_of(formula)
        wanted = Chosen(prototype, tuple(elements))
        if wanted not in options:
            return None
        stoichiometry = middle_of(listed.index(tuple(formula.values())), len(listed))
        type_number = _type_number(options.index(wanted), len(options))
        return {**self._written(tuple(formula), stoichiometry), "type": type_number}

    def every(self, densities: Sequence[float]) -> Iterator[dict[str, float]]:
        """Yield every trial that the config allows, written the canonical way: all of one density first."""
        for density in densities:
            for size in self.sizes:
                for elements in self._element_sets(size):
                    listed = self.amounts_of(size)
                    for k, amounts in enumerate(listed):
                        n = len(self._options_of(dict(zip(elements, amounts, strict=True))))
                        fixed = {**self._written(elements, middle_of(k, len(listed))), "density": density}
                        yield from ({**fixed, "type": _type_number(rank, n)} for rank in range(n))

    def _element_sets(self, size: int) -> Iterator[tuple[str, ...]]:
        """Yield every set of so many elements that the config allows, in Pettifor's order."""
        constraints = self._space.constraints
        systems = [frozenset(system.split("-")) for system in constraints.chemical_systems]
        for within in systems or [frozenset(self.elements)]:
            needed = frozenset(constraints.elements.include_all)
            if systems and not constraints.subsystems:
                needed = within
            if len(needed) > size or not needed <= within.intersection(self.elements):
                continue
            others = [e for e in self.elements if e in within - needed]
            for more in combinations(others, size - len(needed)):
                chosen = tuple(sorted({*needed, *more}, key=self._place.__getitem__))
                if self.is_allowed(Counter(chosen)):
                    yield chosen

    def _written(self, elements: Sequence[str], stoichiometry: float) -> dict[str, float]:
        """Return the numbers of a trial, those of its type and density half-way."""
        return {
            **dict.fromkeys(self.names, 0.5),
            "n_elements": middle_of(self.sizes.index(len(elements)), len(self.sizes)),
            **{f"element_{k}": self._middle(e) for k, e in enumerate(elements, start=1)},
            "stoichiometry": stoichiometry,
        }

    @cached_property
    def _types(self) -> list[Prototype]:
        """Structure types within the config's numbers of atoms that a shape was learned of."""
        low, high = self._space.constraints.n_atoms
        return [p for p in self._known() if low <= p.n_atoms <= high and has_shape(p)]

    @cached_property
    def _by_stoichiometry(self) -> dict[tuple[int, ...], list[Prototype]]:
        found: dict[tuple[int, ...], list[Prototype]] = {}
        for prototype in self._types:
            found.setdefault(prototype.stoichiometry, []).append(prototype)
        return found

    @cached_property
    def _amounts(self) -> dict[int, list[tuple[int, ...]]]:
        """Amounts by number of elements: every order of every stoichiometry, the most frequent first."""
        totals = {s: sum(p.total for p in own) for s, own in self._by_stoichiometry.items()}
        found: dict[int, list[tuple[int, ...]]] = {}
        for own in sorted(totals, key=lambda s: (-totals[s], s)):
            found.setdefault(len(own), []).extend(_orders(own))
        return found

    def _options_of(self, formula: Mapping[str, int]) -> list[Chosen]:
        """Return every way to make a formula, the most familiar first."""
        return self._kept_options(tuple(formula.items()))

    def _every_option(self, amounts: tuple[tuple[str, int], ...]) -> list[Chosen]:
        formula = dict(amounts)
        types = self._by_stoichiometry[tuple(sorted(formula.values()))]
        options = [Chosen(p, e) for p in types for e in islice(assignments(formula, p), MOST_ASSIGNMENTS)]
        options.sort(key=lambda o: (-o.prototype.familiarity(o.elements), o.key))
        return options

    def _middle(self, element: str) -> float:
        return middle_of(self._place[element], len(self.elements))

    def is_allowed(self, formula: Mapping[str, int]) -> bool:
        """Return whether the config allows a composition."""
        return not self._space.composition_reason(Composition(dict(formula)))


def _type_number(rank: int, n: int) -> float:
    """Return the number that chooses the type of this rank among n."""
    return float(middle_of(rank, n) ** (1 / FAVOUR))


def _nearest_free(place: int, taken: Sequence[int], n: int) -> int:
    """Return the place itself or the nearest of n that is not taken.

    >>> _nearest_free(2, [2, 1], 5)
    3
    """
    if place not in taken:
        return place
    return min((p for p in range(n) if p not in taken), key=lambda p: (abs(p - place), p))


def _orders(amounts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield every distinct order of amounts.

    >>> list(_orders([1, 2, 1]))
    [(1, 1, 2), (1, 2, 1), (2, 1, 1)]
    """
    if not amounts:
        yield ()
    for first in sorted(set(amounts)):
        rest = list(amounts)
        rest.remove(first)
        yield from ((first, *more) for more in _orders(rest))


def _by_chemistry(symbols: Sequence[str]) -> list[str]:
    """Return elements in Pettifor's order, so that neighbours behave alike."""
    return sorted(symbols, key=lambda s: (float(Element(s).mendeleev_no), s))
