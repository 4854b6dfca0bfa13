"""Structure types for more elements than are known to have one: the orbits of one element are divided in two.

Every symmetry of a type keeps each of its orbits, so it keeps them whatever elements stand there: a divided
type has the space group, the cell and the coordinates of the type that it comes from.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations

from inverse.reference.geometries import Geometry, packaged_geometries
from inverse.reference.signatures import Orbit, format_signature
from inverse.reference.skeletons import LABELS, anonymous
from inverse.reference.structure_types import Prototype, label_counts
from surrogates.crystals.symmetry import wyckoff_positions

MOST_TYPES = 150
"""Divided types of each number of elements, those of the most frequent types first."""

MOST_SHAPES = 2
"""Shapes of each divided type that are divided once more."""

KNOWN_ELEMENTS = 4
"""Types of so many elements are known in number; larger ones are divided from these."""


def divided_types(n_elements: int, max_atoms: int) -> list[Prototype]:
    """Return types of so many elements, none of which any known material has shown.

    Args:
        n_elements: more than `KNOWN_ELEMENTS`; for fewer the list is empty.
        max_atoms: of the primitive cell.
    """
    found = [Prototype(text, label_counts(text)) for text in divided_geometries(n_elements)]
    return [prototype for prototype in found if prototype.n_atoms <= max_atoms]


@lru_cache(maxsize=8)
def divided_geometries(n_elements: int) -> Mapping[str, tuple[Geometry, ...]]:
    """Return the shapes of divided types of so many elements, by type."""
    if n_elements <= KNOWN_ELEMENTS:
        return {}
    shapes = [g for own in packaged_geometries().values() for g in own if _size(g) == n_elements - 1]
    shapes += [g for own in divided_geometries(n_elements - 1).values() for g in own[:MOST_SHAPES]]
    found: dict[str, list[Geometry]] = {}
    for shape in sorted(shapes, key=lambda g: (-g.count, g.text, g.letters, g.labels)):
        for part in _divided(shape):
            if part.text in found or len(found) < MOST_TYPES:
                found.setdefault(part.text, []).append(part)
    return {text: tuple(own) for text, own in found.items()}


def _size(shape: Geometry) -> int:
    return len(set(shape.labels))


def _divided(shape: Geometry) -> Iterator[Geometry]:
    """Yield the shape with the orbits of one label divided between that label and a new one."""
    fresh = LABELS[_size(shape)]
    for label in sorted(set(shape.labels)):
        orbits = [k for k, own in enumerate(shape.labels) if own == label]
        for n in range(1, len(orbits)):
            # the first orbit keeps its label, or each division would come twice
            for chosen in combinations(orbits[1:], n):
                labels = [fresh if k in chosen else own for k, own in enumerate(shape.labels)]
                yield _relabelled(shape, labels)


def _relabelled(shape: Geometry, labels: list[str]) -> Geometry:
    positions = {p.letter: p for p in wyckoff_positions(shape.space_group)}
    sites = [positions[letter] for letter in shape.letters]
    orbits = [
        Orbit(p.multiplicity, "".join(sorted(p.site_symmetry)), label)
        for p, label in zip(sites, labels, strict=True)
    ]
    text, order = anonymous(format_signature(shape.space_group, orbits))
    name = dict(zip(order, LABELS, strict=False))
    own = tuple(name[label] for label in labels)
    return Geometry(text, shape.letters, own, shape.lattice, shape.coords, shape.count)
