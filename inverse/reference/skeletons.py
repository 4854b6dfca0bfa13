"""From a carried signature back to Wyckoff skeletons, and the templates that known structures make."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import permutations, product

from inverse.reference.signatures import Orbit, format_signature, parse_signature
from surrogates.symmetry import WyckoffPosition, wyckoff_positions

MAX_ASSIGNMENTS = 64
"""Most Wyckoff assignments returned for one signature; many are equivalent by a shift of origin."""

LABELS = "ABCDEFGHIJ"
"""Names of the elements of an anonymous template, in order."""


@dataclass(frozen=True)
class Skeleton:
    """What symmetry fixes of a crystal; its free lattice and coordinates are for a decoder to complete.

    Attributes:
        space_group: international number.
        sites: (Wyckoff letter, element) of each orbit.
    """

    space_group: int
    sites: tuple[tuple[str, str], ...]

    @property
    def n_atoms(self) -> int:
        """Atoms of the primitive cell."""
        counts = {p.letter: p.primitive_multiplicity for p in wyckoff_positions(self.space_group)}
        return sum(counts[letter] for letter, _ in self.sites)

    @property
    def n_free_coordinates(self) -> int:
        """Free coordinates of all sites; 0 means that the cell alone is left to find."""
        free = {p.letter: p.n_free for p in wyckoff_positions(self.space_group)}
        return sum(free[letter] for letter, _ in self.sites)


@dataclass(frozen=True)
class Template:
    """A structure type: a signature whose elements are labels A, B, C ...

    Attributes:
        text: signature with labels for elements.
        space_group: international number.
        n_atoms: of the primitive cell.
        n_elements: distinct labels.
        count: known formulas that have it.
        examples: a few of them.
        volume_per_atom: median over them, Å³.
    """

    text: str
    space_group: int
    n_atoms: int
    n_elements: int
    count: int
    examples: tuple[str, ...]
    volume_per_atom: float

    def with_elements(self, elements: Sequence[str]) -> str:
        """Return the signature's text with elements for the labels A, B, C ..., in order."""
        names = dict(zip(LABELS, elements))
        orbits = [Orbit(o.multiplicity, o.site_symmetry, names[o.element]) for o in self.orbits]
        return format_signature(self.space_group, orbits)

    @property
    def orbits(self) -> tuple[Orbit, ...]:
        """Return the orbits; `element` is a label."""
        return parse_signature(self.text)[1]


@lru_cache(maxsize=100_000)
def n_atoms_of(text: str) -> int:
    """Return the atoms of the primitive cell of a signature.

    >>> n_atoms_of("225|4 -3mm Cl|4 -3mm Na")
    2
    """
    number, *parts = text.split("|")
    return sum(int(part.split(" ", 1)[0]) for part in parts) // _centring(int(number))


@lru_cache(maxsize=230)
def _centring(space_group: int) -> int:
    first = wyckoff_positions(space_group)[0]
    return first.multiplicity // first.primitive_multiplicity


@cache
def _positions_like(space_group: int, multiplicity: int, site_symmetry: str) -> tuple[WyckoffPosition, ...]:
    return tuple(
        p
        for p in wyckoff_positions(space_group)
        if p.multiplicity == multiplicity and "".join(sorted(p.site_symmetry)) == site_symmetry
    )


def skeletons_of(signature_text: str, limit: int = MAX_ASSIGNMENTS) -> list[Skeleton]:
    """Return the Wyckoff skeletons that have this signature, lowest letters first; [] when no letter fits.

    Positions without free coordinate hold one orbit each. Assignments that differ by the names of equal
    orbits are listed once; those that differ by a shift of the origin are not recognised as the same.

    Raises:
        StructureError: not a signature.
    """
    space_group, orbits = parse_signature(signature_text)
    choices = [_positions_like(space_group, o.multiplicity, o.site_symmetry) for o in orbits]
    found: dict[tuple[tuple[str, str], ...], None] = {}
    for tried, letters in enumerate(product(*choices)):
        if len(found) >= limit or tried > 200 * limit:
            break
        fixed = [p.letter for p in letters if p.n_free == 0]
        if len(set(fixed)) == len(fixed):
            sites = tuple(sorted((p.letter, o.element) for p, o in zip(letters, orbits)))
            found.setdefault(sites)
    return [Skeleton(space_group, sites) for sites in found]


def anonymous(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the signature with labels for elements (the smallest text of all labellings), and the elements.

    >>> anonymous("225|4 -3mm Cl|4 -3mm Na")
    ('225|4 -3mm A|4 -3mm B', ('Cl', 'Na'))
    """
    space_group, orbits = parse_signature(text)
    elements = sorted({o.element for o in orbits})
    best: tuple[str, tuple[str, ...]] | None = None
    for order in permutations(elements):
        label = dict(zip(order, LABELS))
        labelled = [Orbit(o.multiplicity, o.site_symmetry, label[o.element]) for o in orbits]
        candidate = (format_signature(space_group, labelled), tuple(order))
        if best is None or candidate < best:
            best = candidate
    return best if best is not None else (text, ())


def templates(
    signatures: Iterable[tuple[str, str, float]], max_atoms: int = 8, max_elements: int = 4
) -> Iterator[Template]:
    """Yield the templates of (formula, signature text, volume per atom), most frequent first.

    A template counts each formula once.
    """
    groups: dict[str, dict[str, float]] = {}
    for formula, text, volume in signatures:
        if n_atoms_of(text) > max_atoms:
            continue
        if len({part.rsplit(" ", 1)[1] for part in text.split("|")[1:]}) <= max_elements:
            groups.setdefault(anonymous(text)[0], {}).setdefault(formula, volume)
    for text, formulas in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        space_group, orbits = parse_signature(text)
        volumes = sorted(formulas.values())
        yield Template(
            text=text,
            space_group=space_group,
            n_atoms=n_atoms_of(text),
            n_elements=len({o.element for o in orbits}),
            count=len(formulas),
            examples=tuple(sorted(formulas)[:5]),
            volume_per_atom=volumes[len(volumes) // 2],
        )
