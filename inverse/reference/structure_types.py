"""Structure types of known materials, with which kinds of elements sit where and how often."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd

from inverse.reference.signatures import ALIKE_CLASSES, of_other_hand, parse_signature
from inverse.reference.skeletons import LABELS, Skeleton, anonymous, n_atoms_of, skeletons_of

_CLASS_OF = {symbol: str(k) for k, members in enumerate(ALIKE_CLASSES) for symbol in members}


def alike_class(symbol: str) -> str:
    """Return a name for the class of alike elements; an element in none of them is its own class."""
    return _CLASS_OF.get(symbol) or symbol


Stoichiometry = tuple[int, ...]
"""Sorted amounts of a reduced formula: (1, 1, 2) for ABC2."""


def stoichiometry(counts: Sequence[int]) -> Stoichiometry:
    """Return the reduced, sorted amounts.

    >>> stoichiometry([4, 2, 2])
    (1, 1, 2)
    """
    divisor = gcd(*counts)
    return tuple(sorted(c // divisor for c in counts))


def structure_type(text: str) -> str:
    """Return the structure type of a signature: labels for elements, a crystal and its mirror image alike.

    >>> structure_type("225|4 -3mm Cl|4 -3mm Na"), structure_type("154|3 ..2 Si|6 1 O")
    ('225|4 -3mm A|4 -3mm B', '152|3 ..2 A|6 1 B')
    """
    number, mirrored = text.partition("|")[0], of_other_hand(text)
    return anonymous(mirrored if int(mirrored.partition("|")[0]) < int(number) else text)[0]


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Attributes:
        text: signature with labels A, B, C ... for elements.
        counts: atoms of each label in the primitive cell, A first.
        kinds: classes of alike elements on the labels -> known formulas with them.
    """

    text: str
    counts: tuple[int, ...]
    kinds: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    @cached_property
    def stoichiometry(self) -> Stoichiometry:
        """Sorted amounts of the reduced formula."""
        return stoichiometry(self.counts)

    @property
    def n_atoms(self) -> int:
        """Atoms of the primitive cell."""
        return sum(self.counts)

    @cached_property
    def total(self) -> int:
        """Known formulas in all."""
        return sum(self.kinds.values())

    @cached_property
    def skeleton(self) -> Skeleton | None:
        """The first Wyckoff skeleton of this type, elements still labels; None when none fits."""
        found = skeletons_of(self.text, limit=1)
        return found[0] if found else None

    def familiarity(self, elements: Sequence[str]) -> float:
        """Return how many known formulas put the same kinds of elements there, plus a little for others."""
        own = self.kinds.get(tuple(alike_class(e) for e in elements), 0)
        return own + 0.02 * self.total

    def trust(self, elements: Sequence[str]) -> float:
        """Return how far predictions in this type are believed: 0.35 without a known formula of such kind."""
        return _trust(self.kinds.get(tuple(alike_class(e) for e in elements), 0))


def _trust(n_known: int) -> float:
    return 0.35 + 0.65 * n_known / (n_known + 2.0)


def prototypes(signatures: Iterable[tuple[str, str]], max_atoms: int, max_elements: int) -> list[Prototype]:
    """Return the structure types of (formula, signature text), most frequent first.

    Args:
        signatures: of known materials.
        max_atoms: of the primitive cell.
        max_elements: distinct elements.
    """
    kinds: dict[str, Counter[tuple[str, ...]]] = {}
    seen: set[tuple[str, str]] = set()
    for formula, text in signatures:
        if text.count("|") > max_atoms or (formula, text) in seen:
            continue
        seen.add((formula, text))
        if n_atoms_of(text) > max_atoms:
            continue
        label, elements = anonymous(text)
        if len(elements) <= max_elements:
            kinds.setdefault(label, Counter())[tuple(alike_class(e) for e in elements)] += 1
    ordered = sorted(kinds.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return [Prototype(text, label_counts(text), dict(counter)) for text, counter in ordered]


def label_counts(text: str) -> tuple[int, ...]:
    """Return the atoms of each label of a type in the primitive cell, A first."""
    _, orbits = parse_signature(text)
    centring = sum(o.multiplicity for o in orbits) // n_atoms_of(text)
    amounts: Counter[str] = Counter()
    for orbit in orbits:
        amounts[orbit.element] += orbit.multiplicity // centring
    return tuple(amounts[label] for label in LABELS[: len(amounts)])
