"""Signatures: what a crystal is up to its free coordinates, and what it becomes when alike elements are one.

A signature is the space group and the sorted multiset of (orbit multiplicity in the conventional cell,
site-symmetry symbol with its characters sorted, element). It needs no coordinates, hence it can be carried
for every known structure; equal signatures mean the same structure in 98 % of cases (`StructureMatcher`).
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from pymatgen.core import Composition, Element, Structure

from surrogates.crystals.formulas import display_formula
from surrogates.errors import StructureError
from surrogates.platform.process_settings import ProcessSetting

SYMPRECS: tuple[float, ...] = (0.01, 0.1, 0.2, 0.3)
"""Tolerances, Å, at which a mapped crystal is compared with the carried signatures."""

CARRIED_SYMPREC = 0.01
"""Tolerance, Å, of the carried signatures."""


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_RARE_EARTH_LIKE = ("Sc", "Y", *(Element.from_Z(z).symbol for z in (*range(57, 72), *range(89, 104))))
_GROUPS_1_2 = _symbols("Li Na K Rb Cs Fr Be Mg Ca Sr Ba Ra")
_GROUPS_4_TO_7 = _symbols("Ti Zr Hf Rf V Nb Ta Db Cr Mo W Sg Mn Tc Re Bh")
_GROUPS_8_TO_11 = _symbols("Fe Ru Os Hs Co Rh Ir Mt Ni Pd Pt Ds Cu Ag Au Rg")
ALIKE_CLASSES: tuple[tuple[str, ...], ...] = (
    ("B", "C", "N"),
    ("Si", "Ge", "P", "As", "Sb"),
    ("S", "Se", "Te"),
    ("Cl", "Br", "I"),
    _RARE_EARTH_LIKE,
    _GROUPS_1_2,
    _GROUPS_4_TO_7 + _GROUPS_8_TO_11,
    ("Zn", "Cd", "Hg", "Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi"),
)
"""Classes of alike elements; every element in none of them (O, F, H, noble gases ...) is alone."""

_CLASS_SYMBOL = {symbol: members[0] for members in ALIKE_CLASSES for symbol in members}


@dataclass(frozen=True)
class Orbit:
    """One crystallographic orbit.

    Attributes:
        multiplicity: atoms in the conventional cell.
        site_symmetry: symbol with its characters sorted ("-6m2" -> "-26m").
        element: symbol.
    """

    multiplicity: int
    site_symmetry: str
    element: str


@dataclass(frozen=True)
class Signature:
    """A signature with the volume it goes with.

    Attributes:
        text: space group and orbits as one string; equal texts mean equal signatures.
        space_group: international number.
        volume_per_atom: Å³.
    """

    text: str
    space_group: int
    volume_per_atom: float

    @property
    def orbits(self) -> tuple[Orbit, ...]:
        """Return the orbits in the order of the text."""
        return parse_signature(self.text)[1]


@dataclass(frozen=True)
class Cell:
    """A crystal as arrays, so that relabelling elements costs nothing.

    Attributes:
        lattice: (3, 3) Å, rows are vectors.
        frac_coords: (A, 3).
        species: A element symbols.
    """

    lattice: np.ndarray
    frac_coords: np.ndarray
    species: tuple[str, ...]

    @classmethod
    def from_structure(cls, structure: Structure) -> "Cell":
        """Return the cell of an ordered structure; oxidation states are ignored.

        Raises:
            StructureError: empty, partially occupied, or not finite.
        """
        try:
            found = [site.specie for site in structure]
        except AttributeError:  # pymatgen's answer to partial occupation
            found = []
        if not found:
            name = display_formula(structure.composition) or "empty structure"
            raise StructureError(f"{name}: only ordered crystals have a signature")
        species = tuple(getattr(specie, "element", specie).symbol for specie in found)
        lattice = np.ascontiguousarray(structure.lattice.matrix, dtype=float)
        coords = np.ascontiguousarray(structure.frac_coords, dtype=float)
        if not (np.isfinite(lattice).all() and np.isfinite(coords).all()):
            raise StructureError(
                f"{display_formula(structure.composition)}: lattice or coordinates are not finite"
            )
        return cls(lattice, coords, species)

    @classmethod
    def of(cls, crystal: "Structure | Cell") -> "Cell":
        """Return the cell of a structure, or the cell itself: one is made where a crystal comes in.

        Raises:
            StructureError: as of `from_structure`.
        """
        return crystal if isinstance(crystal, Cell) else cls.from_structure(crystal)

    @property
    def volume_per_atom(self) -> float:
        """Å³ per atom."""
        return float(abs(np.linalg.det(self.lattice)) / len(self.species))

    @property
    def reduced_formula(self) -> str:
        """Reduced formula as pymatgen writes it."""
        return _reduced_formula(tuple(sorted(Counter(self.species).items())))

    def mapped(self, mapping: Mapping[str, str]) -> "Cell":
        """Return the cell with elements renamed; those not in `mapping` stay."""
        return Cell(self.lattice, self.frac_coords, tuple(mapping.get(s, s) for s in self.species))


def signature(structure: Structure, symprec: float = CARRIED_SYMPREC) -> Signature:
    """Return the signature of a crystal.

    Raises:
        StructureError: not ordered, or spglib finds no symmetry at this tolerance.
    """
    cell = Cell.from_structure(structure)
    text = signature_text(cell, symprec)
    if text is None:
        raise StructureError(
            f"{display_formula(cell.reduced_formula)}: spglib finds no space group at symprec {symprec} Å"
        )
    return Signature(text, parse_signature(text)[0], cell.volume_per_atom)


def signature_text(cell: Cell, symprec: float = CARRIED_SYMPREC) -> str | None:
    """Return the signature's text, None where spglib finds no symmetry at this tolerance."""
    found = _orbits(_bytes(cell.lattice), _bytes(cell.frac_coords), _numbers(cell.species), symprec)
    if found is None:
        return None
    space_group, orbits = found
    return format_signature(space_group, [Orbit(n, symbol, cell.species[atom]) for n, symbol, atom in orbits])


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, dtype=float).tobytes()


def _set_spglib_warning(value: str | None) -> None:
    if value is None:
        os.environ.pop("SPGLIB_WARNING", None)
    else:
        os.environ["SPGLIB_WARNING"] = value


_SPGLIB_WARNING = ProcessSetting(lambda: os.environ.get("SPGLIB_WARNING"), _set_spglib_warning)
"""Whether spglib writes to the terminal, as it does at loose tolerances; a user's own setting stands."""


@lru_cache(maxsize=8192)
def _orbits(
    lattice: bytes, frac_coords: bytes, numbers: tuple[int, ...], symprec: float
) -> tuple[int, tuple[tuple[int, str, int], ...]] | None:
    """Return the space group and per orbit (multiplicity, sorted site symmetry, an atom); None on failure.

    Depends on which atoms are alike, not on what they are: maps of elements share it.
    """
    import spglib

    cell: Any = (np.frombuffer(lattice).reshape(3, 3), np.frombuffer(frac_coords).reshape(-1, 3), numbers)
    try:
        with _SPGLIB_WARNING.changed(lambda value: "OFF" if value is None else value):
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:
        return None
    if dataset is None:
        return None
    ratio = len(dataset.std_types) / len(numbers)
    atoms: dict[int, list[int]] = {}
    for atom, orbit in enumerate(dataset.crystallographic_orbits):
        atoms.setdefault(int(orbit), []).append(atom)
    described = (
        (round(len(own) * ratio), "".join(sorted(dataset.site_symmetry_symbols[own[0]])), own[0])
        for own in atoms.values()
    )
    return int(dataset.number), tuple(described)


def _numbers(species: Sequence[str]) -> tuple[int, ...]:
    order = {symbol: i + 1 for i, symbol in enumerate(dict.fromkeys(species))}
    return tuple(order[s] for s in species)


@lru_cache(maxsize=65536)
def _reduced_formula(amounts: tuple[tuple[str, int], ...]) -> str:
    return Composition(dict(amounts)).reduced_formula


def format_signature(space_group: int, orbits: Sequence[Orbit]) -> str:
    """Return the text of a signature.

    >>> format_signature(225, [Orbit(4, "-3mm", "Na"), Orbit(4, "-3mm", "Cl")])
    '225|4 -3mm Cl|4 -3mm Na'
    """
    parts = sorted((o.multiplicity, o.site_symmetry, o.element) for o in orbits)
    return "|".join([str(space_group), *(f"{m} {s} {e}" for m, s, e in parts)])


_OTHER_HAND = {
    76: 78,
    91: 95,
    92: 96,
    144: 145,
    151: 153,
    152: 154,
    169: 170,
    171: 172,
    178: 179,
    180: 181,
    212: 213,
}
_OTHER_HAND |= {other: one for one, other in _OTHER_HAND.items()}
"""The eleven pairs of enantiomorphic space groups: left quartz and right quartz."""


def of_other_hand(text: str) -> str:
    """Return the signature of a crystal's mirror image: its own, unless its space group has a hand.

    >>> of_other_hand("152|3 ..2 Si|6 1 O"), of_other_hand("225|4 -3mm Cu")
    ('154|3 ..2 Si|6 1 O', '225|4 -3mm Cu')
    """
    number, bar, orbits = text.partition("|")
    return f"{_OTHER_HAND.get(int(number), number)}{bar}{orbits}"


def parse_signature(text: str) -> tuple[int, tuple[Orbit, ...]]:
    """Return the space group and the orbits of a signature's text.

    Raises:
        StructureError: not a signature.
    """
    head, *parts = text.split("|")
    try:
        orbits = tuple(Orbit(int(m), s, e) for m, s, e in (part.split(" ") for part in parts))
        return int(head), orbits
    except ValueError:
        raise StructureError(f"{text!r} is not a signature such as '225|4 -3mm Cl|4 -3mm Na'") from None


def are_alike(one: str, other: str) -> bool:
    """Return whether two elements may share a site of a solid solution.

    >>> are_alike("W", "Ta"), are_alike("B", "O")
    (True, False)
    """
    return one == other or _CLASS_SYMBOL.get(one, one) == _CLASS_SYMBOL.get(other, other)


def alike_elements(symbol: str) -> tuple[str, ...]:
    """Return the class of an element, itself included."""
    return next((members for members in ALIKE_CLASSES if symbol in members), (symbol,))


def alike_maps(elements: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield every map of the elements to alike elements among them, identity excluded, changes alone.

    >>> list(alike_maps(["C", "Mo", "W"]))
    [{'W': 'Mo'}, {'Mo': 'W', 'W': 'Mo'}, {'Mo': 'W'}]
    """
    unique = sorted(set(elements))
    choices = [[e for e in unique if are_alike(e, symbol)] for symbol in unique]
    for images in product(*choices):
        changed = {source: image for source, image in zip(unique, images, strict=True) if source != image}
        if changed:
            yield changed


def end_members(structure: Structure) -> list[str]:
    """Return the reduced formulas that maps between alike elements give, the crystal's own excluded."""
    cell = Cell.from_structure(structure)
    formulas = {cell.mapped(mapping).reduced_formula for mapping in alike_maps(cell.species)}
    return sorted(formulas - {cell.reduced_formula})


def parent_prototype(crystal: Structure | Cell) -> str:
    """Return the signature after each class of alike elements became one symbol (the class's first element).

    Taken at the largest tolerance of `SYMPRECS` at which spglib finds a symmetry.

    Raises:
        StructureError: not ordered, or no tolerance gives a symmetry.
    """
    cell = Cell.of(crystal)
    merged = cell.mapped(_CLASS_SYMBOL)
    for symprec in reversed(SYMPRECS):
        text = signature_text(merged, symprec)
        if text is not None:
            return text
    raise StructureError(
        f"{display_formula(cell.reduced_formula)}: spglib finds no space group at any tolerance"
    )
