"""From a carried signature back to Wyckoff skeletons, and the templates that known structures make."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, islice, product

import numpy as np

from inverse.reference.signatures import Cell, Orbit, format_signature, parse_signature
from inverse.reference.signatures import signature_text as signature_text_of
from surrogates.crystals.symmetry import SymmetricCrystals, WyckoffPosition, wyckoff_positions

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
    """Return the Wyckoff skeletons that have this signature, most roomy first; [] when no letter fits.

    Positions without free coordinate hold one orbit each. Assignments that differ by the names of equal
    orbits are listed once; those that differ by a shift of the origin are not recognised as the same. Room is
    the smallest distance between the fixed positions in a cell of equal axes; ties in the order of letters.
    Where all positions are fixed, assignments of higher symmetry are left out (rock salt is no zincblende).

    Raises:
        StructureError: not a signature.
    """
    space_group, orbits = parse_signature(signature_text)
    choices = [_positions_like(space_group, o.multiplicity, o.site_symmetry) for o in orbits]
    found: dict[tuple[tuple[str, str], ...], float] = {}
    for tried, letters in enumerate(product(*choices)):
        if len(found) >= MAX_ASSIGNMENTS or tried > 200 * MAX_ASSIGNMENTS:
            break
        fixed = tuple(sorted(p.letter for p in letters if p.n_free == 0))
        if len(set(fixed)) == len(fixed):
            sites = tuple(sorted((p.letter, o.element) for p, o in zip(letters, orbits, strict=True)))
            found.setdefault(sites, _room(space_group, fixed))
    ordered = sorted(found, key=lambda sites: -found[sites])
    if all(p.n_free == 0 for positions in choices for p in positions):
        exact = (s for s in ordered if _is_exact(space_group, s, signature_text))
        kept = list(islice(exact, limit))
        ordered = kept or ordered
    return [Skeleton(space_group, sites) for sites in ordered[:limit]]


@lru_cache(maxsize=20_000)
def _is_exact(space_group: int, sites: tuple[tuple[str, str], ...], wanted: str) -> bool:
    """Return whether fixed sites in a cell of general axes have this signature and not a higher symmetry."""
    # Fixed sites leave the coordinates no freedom, only the axes: at lengths and angles that nothing but the
    # crystal system makes equal, spglib finds the group itself or one that the sites alone enforce.
    points = [_fixed_points(space_group, letter) for letter, _ in sites]
    species = [element for (_, element), p in zip(sites, points, strict=True) for _ in range(len(p))]
    lattice = np.diag([5.0, 5.0 if space_group >= 75 else 5.65, 5.0 if space_group >= 195 else 6.45])
    if 143 <= space_group <= 194:
        lattice[1] = [-2.5, 2.5 * 3**0.5, 0.0]
    if space_group < 16:
        lattice[2, 0] = 1.1
    if space_group < 3:
        lattice[1, 0], lattice[2, 1] = 0.7, 0.9
    return signature_text_of(Cell(lattice, np.concatenate(points), tuple(species))) == wanted


@lru_cache(maxsize=20_000)
def _room(space_group: int, fixed: tuple[str, ...]) -> float:
    """Return the smallest distance between fixed positions, cell of equal axes; 9 for fewer than two."""
    points = [(letter, _fixed_points(space_group, letter)) for letter in fixed]
    gaps = [9.0]
    metric = np.eye(3)
    if 143 <= space_group <= 194:
        metric[0, 1] = metric[1, 0] = -0.5
    for (_, one), (_, other) in combinations(points, 2):
        difference = one[:, None, :] - other[None, :, :]
        steps = difference[:, :, None, :] - np.round(difference)[:, :, None, :] + _NEIGHBOURS
        gaps.append(float(np.einsum("abni,ij,abnj->abn", steps, metric, steps).min()) ** 0.5)
    return round(min(gaps), 6)


_NEIGHBOURS = np.array(list(product((-1.0, 0.0, 1.0), repeat=3)))


@lru_cache(maxsize=4000)
def _fixed_points(space_group: int, letter: str) -> np.ndarray:
    """Return (M, 3) fractional coordinates, conventional cell, of a position without free coordinate."""
    skeleton = SymmetricCrystals.from_skeleton(space_group, [letter], ["H"])
    return skeleton.to_crystals(primitive=False).frac_coords.numpy().astype(float)


def anonymous(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the signature with labels for elements (the smallest text of all labellings), and the elements.

    >>> anonymous("225|4 -3mm Cl|4 -3mm Na")
    ('225|4 -3mm A|4 -3mm B', ('Cl', 'Na'))
    """
    space_group, orbits = parse_signature(text)
    kinds = sorted({(o.multiplicity, o.site_symmetry) for o in orbits})
    counts = Counter((o.element, o.multiplicity, o.site_symmetry) for o in orbits)
    # labels stand in the text in the order of the kinds of orbits, so the smallest text gives the first label
    # to the element with most orbits of the first kind, and equal ones are told apart by the next kind
    order = sorted({o.element for o in orbits}, key=lambda e: ([-counts[(e, *kind)] for kind in kinds], e))
    label = dict(zip(order, LABELS, strict=False))
    labelled = [Orbit(o.multiplicity, o.site_symmetry, label[o.element]) for o in orbits]
    return format_signature(space_group, labelled), tuple(order)


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
