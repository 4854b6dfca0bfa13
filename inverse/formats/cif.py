"""Crystals of CIF blocks: cell, operations, sites and what the file says beside them must agree.

Sites are expanded by the operations that the file lists; else by those of the setting that it names, where
only one fits cell, formula, multiplicities and contacts. Coordinates rounded off a special position are put
back on it. What contradicts itself is refused.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from inverse.formats.cells import require_lattice
from inverse.formats.cif_symmetry import (
    Setting,
    Statements,
    codes,
    fits_cell,
    is_standard,
    settings_of,
    statements,
    symbols_of,
    symmetry_number,
)
from inverse.formats.cif_syntax import CifBlock, is_given, parse_blocks
from inverse.formats.contacts import closest_contact, loneliest_contact
from inverse.formats.symbols import HEAVY_HYDROGEN, Symbol, read_label, read_symbol
from inverse.remarks import Remark, RemarkKind
from surrogates.errors import StructureError, UnsupportedElementError
from surrogates.periodic_table import ELEMENT_SYMBOLS

MAX_ATOMS = 20_000
"""A file that holds more atoms in one cell is refused: no model here answers it."""

FULL = 0.001
"""A site whose occupancy is within this of 1 is full: refined values scatter so."""

SAME_PLACE = 0.05
"""Å; atoms of full sites that close are one, whatever the digits: less than an atom's thermal motion."""

ROUNDING_AT_MOST = 0.35
"""Å; further apart, no rounding of coordinates is what parts two images of a site."""

MOST_TURNS = 5
"""Averages over images that rounding parts: over a group one suffices, over a mere look-alike none does."""

SHOWN_SHIFT = 5e-4
"""Å; a coordinate put back on its special position by more is worth a remark: three digits, not four."""

LEAST_DIGITS = 2
"""Digits that coordinates are taken to have at least: 0.5 stands for a half, not for 0.45 to 0.55."""

AMOUNTS_WITHIN = 0.002
"""Relative difference of amounts, sites against formula, that no rounding of a formula explains away."""

AMOUNTS_FLAGGED = 0.05
"""Relative difference up to which the sites are believed, with a remark: Li0.98 as Li."""

WEIGHT_WITHIN = 0.01
"""Relative difference of the formula weight that isotopes and roundings explain."""

VOLUME_WITHIN = 0.05
"""Relative difference of the volume that the file states and that of its cell parameters."""

COLLIDING, CROWDED = 0.6, 0.9
"""Contact over the sum of covalent radii: below the first no crystal has it; below the second few have."""

LONELY = 1.5
"""Contact over the sum of covalent radii beyond which an atom has no neighbour at all."""

LENGTHS = ("_cell_length_a", "_cell_length_b", "_cell_length_c")
ANGLES = ("_cell_angle_alpha", "_cell_angle_beta", "_cell_angle_gamma")
FRACTIONAL = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
CARTESIAN = ("_atom_site_cartn_x", "_atom_site_cartn_y", "_atom_site_cartn_z")
READ = ("_atom_site_", "_cell_", "_symmetry_", "_space_group_")
"""Names whose faults of syntax matter here."""

MODULATED = ("_cell_modulation_dimension", "_space_group_symop_ssg_operation_algebraic")


Table = Mapping[str, Sequence[str]]
"""Columns by name."""


@dataclass(frozen=True, eq=False)
class Site:
    """One row of the atom table.

    Attributes:
        label: as written.
        element: its symbol.
        occupancy: 1 where the file leaves it open.
        coords: (3,) fractional.
        error: (3,) how far rounding may have moved each coordinate.
        multiplicity: as the file states it; None where it does not.
    """

    label: str
    element: str
    occupancy: float
    coords: np.ndarray
    error: np.ndarray
    multiplicity: int | None = None


@dataclass(frozen=True, eq=False)
class Orbit:
    """The atoms that one site, or several on one place, stand for.

    Attributes:
        sites: rows of the table.
        images: (N, 3) fractional.
        shift: Å by which rounded coordinates were moved.
    """

    sites: tuple[Site, ...]
    images: np.ndarray
    shift: float


@dataclass(frozen=True)
class Facts:
    """What the file says beside its sites, to hold against them.

    Attributes:
        formula: of the whole compound; None where it is missing or cannot be read.
        n_units: formula units in the cell.
    """

    formula: Composition | None
    n_units: int | None


@dataclass
class CifCrystal:
    """A crystal and what there is to say of it."""

    structure: Structure
    remarks: list[Remark] = field(default_factory=list)


def crystal_blocks(text: str) -> list[CifBlock]:
    """Return the blocks of a CIF that describe a crystal.

    Raises:
        StructureError: there are none.
    """
    blocks = parse_blocks(text)
    found = [b for b in blocks if any(b.column(n) for n in (LENGTHS[0], FRACTIONAL[0], CARTESIAN[0]))]
    if not found:
        raise StructureError("no data block with a cell and atoms; not a CIF")
    return found


def read_block(block: CifBlock) -> CifCrystal:
    """Return the crystal of a block, its cell as written; partial occupancy becomes mixed species.

    Raises:
        StructureError: something is missing, or two statements of the file contradict each other.
        UnsupportedElementError: a site that is no atom of an element from H to Lr.
    """
    if any(is_given(value) and value.strip() != "0" for n in MODULATED for value in block.column(n) or ()):
        raise StructureError("a modulated structure: its cell does not repeat")
    for fault in block.faults:
        if fault.name.startswith(READ) and "aniso" not in fault.name:
            raise StructureError(f"broken CIF: {fault.text}")
    remarks: list[Remark] = []
    matrix = read_cell(block, remarks)
    facts = _facts(block, remarks)
    sites = read_sites(block, matrix, facts, remarks)
    stated = statements(block)
    structure, orbits = _crystal(matrix, sites, stated, facts, remarks)
    for orbit in orbits:
        if orbit.shift > SHOWN_SHIFT:
            names = "/".join(site.label for site in orbit.sites)
            remarks.append(
                Remark(
                    RemarkKind.SPECIAL_POSITION,
                    f"{names}: put back on the special position that its digits round off, "
                    f"by {orbit.shift:.2g} Å",
                )
            )
    _hold_against_formula(structure.composition, facts, stated.listed is None, remarks)
    if facts.formula is None:
        _hold_against_weight(structure.composition, block, facts, remarks)
    return CifCrystal(structure, remarks)


# -- cell --


def read_cell(block: CifBlock, remarks: list[Remark]) -> np.ndarray:
    """Return the lattice of a block, rows are vectors, Å; angles that are not given are 90.

    Raises:
        StructureError: a length is missing, a number makes no cell, or the stated volume is another.
    """
    lengths, angles = [], []
    for name in LENGTHS:
        text = block.value(name)
        if text is None:
            raise StructureError(f"broken CIF: no {name}")
        lengths.append(number(text, name)[0])
    for name in ANGLES:
        text = block.value(name)
        angles.append(90.0 if text is None else number(text, name)[0])
    if not all(0 < length < 1e5 for length in lengths) or not all(0 < angle < 180 for angle in angles):
        shown = ", ".join(f"{value:g}" for value in (*lengths, *angles))
        raise StructureError(f"lengths and angles {shown} make no cell")
    cosines = np.cos(np.radians(angles))
    if 1 - cosines @ cosines + 2 * cosines.prod() <= 1e-6:
        shown = ", ".join(f"{value:g}" for value in angles)
        raise StructureError(f"angles {shown} make no cell")
    lattice = Lattice.from_parameters(*lengths, *angles)
    require_lattice(np.array(lattice.matrix))
    text = block.value("_cell_volume")
    if text is not None:
        try:
            stated = number(text, "_cell_volume")[0]
        except StructureError:
            stated = lattice.volume
        if stated > 0 and abs(stated - lattice.volume) > VOLUME_WITHIN * lattice.volume:
            raise StructureError(
                f"lengths and angles give {lattice.volume:.1f} Å³, _cell_volume says {stated:g}"
            )
    return np.array(lattice.matrix)


_NUMBER = re.compile(r"([+-]?(?:\d+\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d{1,3}))?)(?:\((\d{1,9})\))?")
_RATIO = re.compile(r"([+-]?\d{1,9})/(\d{1,9})")


def number(text: str, where: str) -> tuple[float, int | None, float]:
    """Return a number of a CIF, its digits after the point (None: it is exact), and its uncertainty.

    >>> number("0.1234(5)", "x")
    (0.1234, 4, 0.0005)

    Raises:
        StructureError: not a number; names `where`.
    """
    written = text.strip()
    ratio = _RATIO.fullmatch(written)
    if ratio and int(ratio[2]):
        return int(ratio[1]) / int(ratio[2]), None, 0.0
    found = _NUMBER.fullmatch(written)
    if found is None:
        hint = "; write a point, not a comma" if re.fullmatch(r"[+-]?\d*,\d+(\(\d+\))?", written) else ""
        raise StructureError(f"{where}: {written[:40]!r} is not a number{hint}")
    digits = len(found[2] or found[3] or "") - int(found[4] or 0)
    value = float(found[1])
    if not math.isfinite(value):
        raise StructureError(f"{where}: {written[:40]!r} is not a finite number")
    return value, digits, float(found[5] or 0) * 10.0 ** -max(-300, min(digits, 300))


# -- sites --


def read_sites(block: CifBlock, matrix: np.ndarray, facts: Facts, remarks: list[Remark]) -> tuple[Site, ...]:
    """Return the rows of the atom table; empty ones are left out with a remark.

    Raises:
        StructureError: no atoms, coordinates or occupancies that make no sense, hydrogens that are counted at
            other atoms but not placed.
        UnsupportedElementError: a row that is no atom of an element from H to Lr.
    """
    axes = next(
        (n for n in (FRACTIONAL, CARTESIAN) if any(is_given(text) for text in block.column(n[0]) or ())), None
    )
    if axes is None:
        is_empty = block.column(FRACTIONAL[0], CARTESIAN[0]) == []
        raise StructureError("a structure without atoms" if is_empty else "broken CIF: no _atom_site_fract_x")
    table = block.table(axes[0])
    n_rows = len(table[axes[0]])
    if n_rows > MAX_ATOMS:
        raise StructureError(f"{n_rows} sites; at most {MAX_ATOMS}")
    labels = table.get("_atom_site_label") or table.get("_atom_site_type_symbol")
    if labels is None:
        raise StructureError("broken CIF: sites without _atom_site_label and _atom_site_type_symbol")
    symbols = _symbols(table, labels, facts, remarks)
    coords, errors = _coordinates(table, axes, labels)
    if axes is CARTESIAN:
        coords, errors = _fractional(coords, errors, block, matrix)
    multiplicities = _multiplicities(table, n_rows)
    sites = []
    empty = []
    for row, label in enumerate(labels):
        attached = table.get("_atom_site_attached_hydrogens", [""] * n_rows)[row]
        if is_given(attached) and attached.strip() != "0":
            raise StructureError(f"site {label!r}: {attached.strip()} hydrogens counted with it, not placed")
        if table.get("_atom_site_calc_flag", [""] * n_rows)[row].lower() == "dum":
            raise UnsupportedElementError(f"site {label!r} is a dummy atom (calc_flag dum), not an element")
        occupancy = _occupancy(table, row, label)
        if occupancy == 0:
            empty.append(label)
            continue
        sites.append(Site(label, symbols[row], occupancy, coords[row], errors[row], multiplicities[row]))
    if empty:
        remarks.append(Remark(RemarkKind.OCCUPANCY, f"{_some(empty)}: occupancy 0, left out"))
    if not sites:
        raise StructureError("a structure without atoms")
    return tuple(sites)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _symbols(table: Table, labels: Sequence[str], facts: Facts, remarks: list[Remark]) -> list[str]:
    """Return the element of every row; isotopes become elements with a remark."""
    types = table.get("_atom_site_type_symbol")
    among = [] if facts.formula is None else [element.symbol for element in facts.formula]
    found: list[Symbol] = []
    for row, label in enumerate(labels):
        if types is not None and is_given(types[row]):
            try:
                found.append(read_symbol(types[row]))
            except UnsupportedElementError as error:
                raise UnsupportedElementError(f"site {label!r}: {error}") from None
        else:
            found.append(read_label(label, among))
    isotopes = sorted({symbol.isotope for symbol in found if symbol.isotope})
    for isotope in isotopes:
        element = next(symbol.element for symbol in found if symbol.isotope == isotope)
        what = HEAVY_HYDROGEN.get(isotope, isotope)
        remarks.append(Remark(RemarkKind.ISOTOPE, f"{isotope} ({what}) read as {element}"))
    return [symbol.element for symbol in found]


def _coordinates(table: Table, axes: Sequence[str], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (S, 3) coordinates and how far rounding may have moved each."""
    values = np.zeros((len(labels), 3))
    digits = np.zeros((len(labels), 3))
    spread = np.zeros((len(labels), 3))
    for k, name in enumerate(axes):
        column = table.get(name)
        if column is None:
            raise StructureError(f"broken CIF: no {name}")
        for row, text in enumerate(column):
            if not is_given(text):
                raise StructureError(f"site {labels[row]!r} has no coordinates")
            value, places, spread[row, k] = number(text, f"site {labels[row]!r}, {name}")
            values[row, k], digits[row, k] = value, np.inf if places is None else places
    written = digits[np.isfinite(digits)]
    of_file = max(float(written.max()) if written.size else 6.0, LEAST_DIGITS)
    short = digits < LEAST_DIGITS  # 0.5 in a file of four digits is 0.5000
    digits[short] = of_file
    return values, np.maximum(10.0 ** -np.clip(digits, LEAST_DIGITS, 6), 3 * spread)


def _fractional(
    coords: np.ndarray, errors: np.ndarray, block: CifBlock, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return Cartesian coordinates as fractional ones."""
    names = [f"_atom_sites_fract_tran_matrix_{i}{j}" for i in (1, 2, 3) for j in (1, 2, 3)]
    entries = [block.value(name) for name in names]
    if all(entry is not None for entry in entries):
        to_fractional = np.array([number(e or "", n)[0] for e, n in zip(entries, names, strict=True)])
        to_fractional = to_fractional.reshape(3, 3)
        vector = [block.value(f"_atom_sites_fract_tran_vector_{i}") or "0" for i in (1, 2, 3)]
        shift = np.array([number(text, "_atom_sites_fract_tran_vector")[0] for text in vector])
    else:
        metric = matrix @ matrix.T
        if np.abs(metric - np.diag(np.diag(metric))).max() > 1e-4 * metric.max():
            raise StructureError(
                "Cartesian coordinates in an oblique cell without _atom_sites_fract_tran_matrix: "
                "how the axes lie is not said"
            )
        to_fractional, shift = np.diag(1 / np.sqrt(np.diag(metric))), np.zeros(3)
    return coords @ to_fractional.T + shift, errors @ np.abs(to_fractional).T


def _multiplicities(table: Table, n_rows: int) -> list[int | None]:
    column = table.get("_atom_site_symmetry_multiplicity") or table.get(
        "_atom_site_site_symmetry_multiplicity"
    )
    if column is None:
        return [None] * n_rows
    return [int(text) if re.fullmatch(r"[1-9]\d{0,3}", text.strip()) else None for text in column]


def _occupancy(table: Table, row: int, label: str) -> float:
    """Return the occupancy of a row, exactly 1 within the tolerance; the dictionary's default is 1."""
    column = table.get("_atom_site_occupancy")
    if column is None or not is_given(column[row]):
        return 1.0
    value = number(column[row], f"site {label!r}, occupancy")[0]
    if not 0 <= value <= 1 + FULL:
        raise StructureError(f"site {label!r} is occupied by {value:g} atoms")
    return 1.0 if value >= 1 - FULL else value


# -- orbits --


def expand(sites: Sequence[Site], chosen: Setting, matrix: np.ndarray) -> tuple[Orbit, ...]:
    """Return the atoms that the sites stand for; sites on one place become one orbit.

    Raises:
        StructureError: images of a site that are neither one atom nor several, too many atoms, more than one
            atom on a place.
    """
    orbits: list[Orbit] = []
    total = 0
    for site in sites:
        orbit = _orbit(site, chosen, matrix)
        total += len(orbit.images)
        if total > 2 * MAX_ATOMS:
            raise StructureError(f"more than {MAX_ATOMS} atoms in the cell")
        orbits.append(orbit)
    return tuple(_joined(orbits, matrix))


def _orbit(site: Site, chosen: Setting, matrix: np.ndarray) -> Orbit:
    """Return the images of one site, on the special position that its digits allow."""
    rotations, translations = chosen.rotations, chosen.translations
    coords = site.coords
    stabiliser = None
    for _ in range(MOST_TURNS):
        step = rotations @ coords + translations - coords
        shift = np.rint(step)
        rest = step - shift
        distance = np.linalg.norm(rest @ matrix, axis=1)
        bound = np.abs(rotations - np.eye(3)) @ site.error + 1e-6
        is_rounding = (np.abs(rest) <= bound).all(axis=1) & (distance <= ROUNDING_AT_MOST)
        fixes = is_rounding | (distance <= SAME_PLACE)
        if stabiliser is not None and (fixes == stabiliser).all() and distance[fixes].max() < 1e-4:
            break
        stabiliser = fixes
        coords = coords + rest[fixes].mean(axis=0)
    else:
        raise StructureError(
            f"site {site.label!r}: some of its images are {distance[fixes].max():.2g} Å apart, "
            "neither one atom nor several"
        )
    n_images, left = divmod(len(rotations), int(stabiliser.sum()))
    images = _distinct(np.mod(rotations @ coords + translations, 1.0), matrix)
    if left or len(images) != n_images:
        raise StructureError(f"site {site.label!r}: its images do not make an orbit of the group")
    moved = float(np.linalg.norm((coords - site.coords) @ matrix))
    return Orbit((site,), images, moved)


def _distinct(images: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the images that are not one another's up to a lattice translation, first come first."""
    kept: list[np.ndarray] = []
    for image in images:
        if kept:
            rest = np.array(kept) - image
            rest -= np.rint(rest)
            if np.linalg.norm(rest @ matrix, axis=1).min() < 1e-3:
                continue
        kept.append(image)
    return np.array(kept)


def _joined(orbits: Sequence[Orbit], matrix: np.ndarray) -> Iterator[Orbit]:
    """Yield the orbits; those of sites on one place as one."""
    starts = np.array([orbit.images[0] for orbit in orbits])
    errors = np.array([orbit.sites[0].error for orbit in orbits])
    taken: set[int] = set()
    for k, orbit in enumerate(orbits):
        if k in taken:
            continue
        members = [k]
        later = np.array([j for j in range(k + 1, len(orbits)) if j not in taken], dtype=int)
        for image in orbit.images if later.size else ():
            rest = starts[later] - image
            rest -= np.rint(rest)
            distance = np.linalg.norm(rest @ matrix, axis=1)
            is_rounding = (np.abs(rest) <= errors[later] + errors[k]).all(axis=1)
            near = (distance <= SAME_PLACE) | (is_rounding & (distance <= ROUNDING_AT_MOST))
            members.extend(int(j) for j in later[near])
            later = later[~near]
        taken.update(members)
        if len(members) == 1:
            yield orbit
            continue
        sites = tuple(site for j in members for site in orbits[j].sites)
        yield replace(orbit, sites=sites, shift=max(orbits[j].shift for j in members))


def amounts(orbit: Orbit) -> dict[str, float]:
    """Return element -> occupancy of one atom of the orbit, 1 within the tolerance.

    Raises:
        StructureError: more than one atom on the place.
    """
    elements = {site.element for site in orbit.sites}
    if len(elements) == 1 and all(site.occupancy == 1 for site in orbit.sites):
        return {orbit.sites[0].element: 1.0}
    found: dict[str, float] = {}
    for site in orbit.sites:
        found[site.element] = found.get(site.element, 0.0) + site.occupancy
    total = sum(found.values())
    if total > 1 + FULL + 1e-9:
        names = " and ".join(site.label for site in orbit.sites)
        raise StructureError(f"sites {names} stand on one place with {total:.4g} atoms in all")
    if total >= 1 - FULL - 1e-9:
        found = {element: amount / total for element, amount in found.items()}
    return found


def _structure(orbits: Sequence[Orbit], matrix: np.ndarray) -> Structure:
    species, coords, labels = [], [], []
    for orbit in orbits:
        kind = amounts(orbit)
        label = "/".join(site.label for site in orbit.sites)
        for image in orbit.images:
            species.append(kind)
            coords.append(image)
            labels.append(label)
    if len(species) > MAX_ATOMS:
        raise StructureError(f"{len(species)} atoms in the cell; at most {MAX_ATOMS}")
    return Structure(Lattice(matrix), species, np.array(coords), labels=labels)


# -- which operations --


@dataclass(frozen=True, eq=False)
class _Reading:
    setting: Setting
    structure: Structure
    orbits: tuple[Orbit, ...]


def _crystal(
    matrix: np.ndarray, sites: Sequence[Site], stated: Statements, facts: Facts, remarks: list[Remark]
) -> tuple[Structure, tuple[Orbit, ...]]:
    """Return the crystal by the operations that the file lists, or by those that it names."""
    if stated.listed is not None:
        reading = _by_listed(matrix, sites, stated, remarks)
    else:
        reading = _by_named(matrix, sites, stated, facts, remarks)
    for orbit in reading.orbits:
        full = [site.label for site in orbit.sites if site.occupancy == 1]
        if len(full) > 1:
            text = f"{_some(full)} are images of one another, read as one site"
            remarks.append(Remark(RemarkKind.REPEATED_SITES, text))
    return reading.structure, reading.orbits


def _read_by(chosen: Setting, sites: Sequence[Site], matrix: np.ndarray) -> _Reading:
    orbits = expand(sites, chosen, matrix)
    return _Reading(chosen, _structure(orbits, matrix), orbits)


def _by_listed(
    matrix: np.ndarray, sites: Sequence[Site], stated: Statements, remarks: list[Remark]
) -> _Reading:
    """Return the crystal by the listed operations, which must not contradict what the file names."""
    listed = stated.listed
    assert_listed = listed if listed is not None else Setting("P 1", 1, "", np.eye(3)[None], np.zeros((1, 3)))
    if not fits_cell(assert_listed, matrix):
        raise StructureError("the symmetry operations listed do not fit the cell")
    reading = _read_by(assert_listed, sites, matrix)
    own = symmetry_number(assert_listed, matrix)
    if stated.contradiction:
        remarks.append(
            Remark(
                RemarkKind.SYMMETRY, f"{stated.contradiction}; the operations listed are used (number {own})"
            )
        )
        return reading
    if not stated.settings or own is None:
        return reading
    named = stated.settings[0].number
    if own == named:
        if stated.has_symbol and not any(_is_same_group(assert_listed, one) for one in stated.settings):
            remarks.append(
                Remark(
                    RemarkKind.SYMMETRY,
                    f"the operations listed are of another setting than {stated.said}; they are used",
                )
            )
        return reading
    if not _has_symmetry(reading, sites, stated.settings, matrix):
        raise StructureError(
            f"the operations listed (number {own}) and {stated.said} (number {named}) disagree, "
            f"and the sites have not the symmetry of {symbols_of(stated.settings)}"
        )
    if own > 2:
        remarks.append(
            Remark(
                RemarkKind.SYMMETRY,
                f"the operations listed are of number {own}, the file says {stated.said}; they are used",
            )
        )
    return reading


def _is_same_group(one: Setting, other: Setting) -> bool:
    own, others = (codes(group.rotations, group.translations) for group in (one, other))
    return set(own.tolist()) == set(others.tolist())


def _has_symmetry(
    reading: _Reading, sites: Sequence[Site], settings: Sequence[Setting], matrix: np.ndarray
) -> bool:
    """Return whether a crystal, all of whose atoms are listed, has the symmetry that its file names."""
    for one in settings:
        if fits_cell(one, matrix):
            try:
                if len(_read_by(one, sites, matrix).structure) == len(reading.structure):
                    return True
            except StructureError:
                continue
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    if not reading.structure.is_ordered:
        return False
    try:
        found = SpacegroupAnalyzer(reading.structure, symprec=SAME_PLACE).get_space_group_number()
    except Exception:  # spglib finds no symmetry: atoms on one another
        return False
    return found == settings[0].number


def _by_named(
    matrix: np.ndarray, sites: Sequence[Site], stated: Statements, facts: Facts, remarks: list[Remark]
) -> _Reading:
    """Return the crystal by the one setting named that fits cell, sites and everything stated."""
    if stated.contradiction:
        raise StructureError(f"space group: {stated.contradiction}, and no operations listed")
    if not stated.settings:
        if stated.is_stated:
            raise StructureError(f"space group {stated.said!r} not known and no operations listed")
        return _without_symmetry(matrix, sites, remarks)
    fitting = [one for one in stated.settings if fits_cell(one, matrix)]
    if not fitting:
        raise StructureError(
            f"the operations of {symbols_of(stated.settings)} do not fit the cell, and the file lists none"
        )
    readings: list[_Reading] = []
    problem = StructureError("no reading")
    for one in fitting:
        try:
            readings.append(_read_by(one, sites, matrix))
        except StructureError as error:
            problem = error
    if not readings:
        raise problem
    if len(fitting) > 1:
        return _decided(readings, stated, facts, remarks)
    if stated.unknown:
        text = f"{', '.join(stated.unknown)} not known; read as {fitting[0].symbol}"
        remarks.append(Remark(RemarkKind.SYMMETRY, text))
    if closest_contact(readings[0].structure) < COLLIDING:
        raise StructureError(_collision(readings[0], sites, matrix))
    return readings[0]


def _collision(reading: _Reading, sites: Sequence[Site], matrix: np.ndarray) -> str:
    """Return in words that the setting named cannot be meant, and which other setting of its group can."""
    chosen = reading.setting
    text = f"by {chosen.symbol}, which the file names without listing operations, atoms collide"
    for other in settings_of(chosen.number):
        if other.symbol != chosen.symbol and fits_cell(other, matrix):
            try:
                found = _read_by(other, sites, matrix)
            except StructureError:
                continue
            if closest_contact(found.structure) >= COLLIDING:
                return f"{text}; by {other.symbol} they would not"
    return text


def _without_symmetry(matrix: np.ndarray, sites: Sequence[Site], remarks: list[Remark]) -> _Reading:
    identity = Setting("P 1", 1, "", np.eye(3, dtype=int)[None], np.zeros((1, 3)))
    reading = _read_by(identity, sites, matrix)
    if loneliest_contact(reading.structure) > LONELY:
        raise StructureError(
            "no space group named and no operations listed, and the sites by themselves are no crystal: "
            "an atom has no neighbour"
        )
    text = "no space group named and no operations listed: read as P 1, the sites as they are"
    remarks.append(Remark(RemarkKind.SYMMETRY, text))
    return reading


def _decided(readings: list[_Reading], stated: Statements, facts: Facts, remarks: list[Remark]) -> _Reading:
    """Return the one reading, of several settings that the file may mean, that all else agrees with."""
    said = f"{stated.said} has several settings ({symbols_of([r.setting for r in readings])})"
    agreeing = [r for r in readings if _has_formula(r, facts)]
    agreeing = [r for r in agreeing if _has_multiplicities(r)] or agreeing
    possible = [r for r in agreeing if closest_contact(r.structure) >= COLLIDING]
    if not possible:
        raise StructureError(f"{said}; none gives a crystal that formula and contacts allow")
    standard = [r for r in possible if is_standard(r.setting)]
    crystals = _different(possible)
    if len(crystals) > 1 and not standard:
        uncrowded = [r for r in crystals if closest_contact(r.structure) >= CROWDED]
        crystals = uncrowded or crystals
    if len(crystals) > 1 and not standard:
        counts = " or ".join(f"{r.structure.composition.formula} by {r.setting.symbol}" for r in crystals[:4])
        raise StructureError(f"{said} and lists no operations: {counts}? Add the operations or the choice")
    chosen = standard[0] if standard else crystals[0]
    if len(_different(readings)) > 1 and (len(crystals) > 1 or len(agreeing) > 1):
        remarks.append(Remark(RemarkKind.SYMMETRY, f"{said}; read as {chosen.setting.symbol}"))
    return chosen


def _different(readings: Sequence[_Reading]) -> list[_Reading]:
    """Return readings that are not the same crystal as one before."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.05, stol=0.05, angle_tol=1, scale=False, primitive_cell=True)
    found: list[_Reading] = []
    for reading in readings:
        for other in found:
            same_size = len(other.structure) == len(reading.structure)
            if same_size and matcher.fit(other.structure, reading.structure):
                break
        else:
            found.append(reading)
    return found


def _has_multiplicities(reading: _Reading) -> bool:
    """Return whether the multiplicities that the file states are those of a reading."""
    return all(
        site.multiplicity in (None, len(orbit.images)) for orbit in reading.orbits for site in orbit.sites
    )


def _has_formula(reading: _Reading, facts: Facts) -> bool:
    """Return whether formula and formula units of the file fit a reading."""
    try:
        _hold_against_formula(reading.structure.composition, facts, True, [])
    except StructureError:
        return False
    return True


# -- what the file says beside its sites --


FORMULAS = (
    "_chemical_formula_sum",
    "_chemical_formula_moiety",
    "_chemical_formula_iupac",
    "_chemical_formula_structural",
)


def _facts(block: CifBlock, remarks: list[Remark]) -> Facts:
    formula = None
    given = [text for text in (block.value(name) for name in FORMULAS) if text is not None]
    for text in given:
        formula = read_formula(text)
        if formula is not None:
            break
    if given and formula is None:
        text = f"{given[0].strip()[:40]!r} cannot be read: the sites are not held against it"
        remarks.append(Remark(RemarkKind.FORMULA, text))
    units_text = block.value("_cell_formula_units_z")
    units = re.fullmatch(r"\s*([1-9]\d{0,5})(?:\.0*)?\s*", units_text) if units_text else None
    return Facts(formula, int(units[1]) if units else None)


_MULTIPLE = re.compile(r"(\d+\.?\d*)?\((.*)\)(\d+\.?\d*)?")


def read_formula(text: str) -> Composition | None:
    """Return the composition of a CIF's formula, moieties added up; None where it cannot be read.

    >>> read_formula("Mg 2+, 2(O1 H1 1-)")
    Composition('Mg1 O2 H2')
    """
    plain = re.sub(r"[~_]", "", text.replace("'", "").replace('"', "")).strip()
    plain = re.sub(r"(?:(?<=\s)\d*|(?<=[A-Za-z]))[+-](?=[\s,)]|$)", "", plain)  # charges
    found: dict[str, float] = {}
    for part in plain.split(","):
        words = "".join(part.split())
        times = 1.0
        multiple = _MULTIPLE.fullmatch(words)
        if multiple and multiple[1] and _is_closed(multiple[2]):
            times, words = float(multiple[1]) * float(multiple[3] or 1), multiple[2]
        words = re.sub(r"D(?![a-z])", "H", words)
        try:
            composition = Composition(words, strict=True) if words else Composition({})
            amounts_of_part = {element.symbol: float(n) for element, n in composition.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if any(element not in ELEMENT_SYMBOLS for element in amounts_of_part):
            return None
        for element, amount in amounts_of_part.items():
            found[element] = found.get(element, 0.0) + times * amount
    found = {element: amount for element, amount in found.items() if amount > 0}
    return Composition(found) if found else None


def _is_closed(text: str) -> bool:
    """Return whether every bracket in a text is closed in it."""
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return False
    return depth == 0


def _hold_against_formula(
    composition: Composition, facts: Facts, is_open: bool, remarks: list[Remark]
) -> None:
    """Refuse a crystal whose atoms are not those of its formula; remark on amounts within rounding.

    Args:
        composition: of the cell, by its sites.
        facts: what the file states.
        is_open: the file lists no operations, so that the number of formula units decides as well.
        remarks: where remarks go.

    Raises:
        StructureError: an element is missing from one side, amounts or the number of atoms contradict.
    """
    if facts.formula is None:
        return
    own = {element.symbol: float(amount) for element, amount in composition.items()}
    stated = {element.symbol: float(amount) for element, amount in facts.formula.items()}
    said = f"sites give {_shown(composition)}, the file's formula is {_shown(facts.formula)}"
    missing, extra = sorted(stated.keys() - own.keys()), sorted(own.keys() - stated.keys())
    if missing or extra:
        what = [f"{_some(missing)} missing"] * bool(missing) + [f"{_some(extra)} not in the formula"] * bool(
            extra
        )
        raise StructureError(f"{said}: {', '.join(what)}")
    scale = sum(own.values()) / sum(stated.values())
    ratios = {element: own[element] / (stated[element] * scale) for element in own}
    worst = max(ratios, key=lambda element: abs(ratios[element] - 1))
    difference = abs(ratios[worst] - 1)
    if difference > AMOUNTS_FLAGGED:
        raise StructureError(f"{said}: amounts of {worst} disagree")
    if difference > AMOUNTS_WITHIN:
        remarks.append(Remark(RemarkKind.FORMULA, said))
    if facts.n_units is None or difference > AMOUNTS_WITHIN:
        return
    reduced = sum(facts.formula.reduced_composition.values())
    whole = sum(stated.values())
    allowed = {facts.n_units * reduced, facts.n_units * whole, whole if whole > reduced else 0.0}
    total = sum(own.values())
    if not any(abs(total - n) < 0.01 * total for n in allowed):
        counts = (
            f"{facts.n_units} formula units of {_shown(facts.formula)} stated, {total:g} atoms by the sites"
        )
        if is_open:
            raise StructureError(counts)
        remarks.append(Remark(RemarkKind.CELL, counts))


def _hold_against_weight(
    composition: Composition, block: CifBlock, facts: Facts, remarks: list[Remark]
) -> None:
    """Remark where the sites weigh another thing than the file's formula weight times its formula units."""
    text = block.value("_chemical_formula_weight")
    if text is None or facts.n_units is None:
        return
    try:
        stated = number(text, "_chemical_formula_weight")[0]
    except StructureError:
        return
    own = float(composition.weight) / facts.n_units
    if abs(own - stated) > WEIGHT_WITHIN * stated:
        said = f"sites weigh {own:.4g} a formula unit, the file says {stated:.4g}: are atoms missing?"
        remarks.append(Remark(RemarkKind.FORMULA, said))


def _shown(composition: Composition) -> str:
    """Return a formula with elements in alphabetic order, amounts reduced."""
    reduced = composition.reduced_composition
    parts = sorted((element.symbol, amount) for element, amount in reduced.items())
    return " ".join(symbol + ("" if abs(n - 1) < 1e-9 else f"{n:.4g}") for symbol, n in parts)
