"""One structure -> space group, Wyckoff positions, free numbers; for `symmetry` only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import spglib
from pymatgen.core import Structure

from surrogates.crystals.batch import element_index
from surrogates.crystals.formulas import display_formula
from surrogates.crystals.wyckoff import LETTERS, wyckoff_tables
from surrogates.errors import StructureError

_MISFIT = 0.01
"""Fractional units by which a standardised atom may miss its Wyckoff position."""


@dataclass(frozen=True)
class StandardSite:
    """One orbit: Wyckoff index, element column (0 is H) and x, y, z of its first representative."""

    wyckoff: int
    element: int
    free_coords: tuple[float, float, float]


@dataclass(frozen=True)
class StandardCrystal:
    """A standardised crystal: space group, orbits in canonical order, six lattice numbers."""

    space_group: int
    sites: tuple[StandardSite, ...]
    free_lattice: tuple[float, ...]


def standardise(structure: Structure, symprec: float) -> StandardCrystal:
    """Return what symmetry leaves free of an ordered structure.

    Raises:
        StructureError: partial occupancy, or no symmetry found.
        UnsupportedElementError: an element beyond Lr.
    """
    if not structure.is_ordered:
        raise StructureError(
            f"{display_formula(structure.composition)}: partially occupied sites; order them"
        )
    elements = np.array([element_index(getattr(s, "element", s).symbol) for s in structure.species])
    dataset = _dataset(structure, elements, symprec)
    if dataset is None:
        raise StructureError(
            f"{display_formula(structure.composition)}: spglib finds no symmetry at symprec {symprec}"
        )
    sites = []
    orbit_of_primitive: dict[int, int] = {}
    for atom, primitive in enumerate(dataset.mapping_to_primitive.tolist()):
        orbit_of_primitive.setdefault(primitive, atom)
    atoms = [orbit_of_primitive[p] for p in dataset.std_mapping_to_primitive.tolist()]
    orbits = dataset.crystallographic_orbits[atoms]
    for orbit in dict.fromkeys(orbits.tolist()):
        points = dataset.std_positions[orbits == orbit]
        letter = dataset.wyckoffs[orbit]
        try:
            wyckoff, free = _fit_position(dataset.number, LETTERS.index(letter), points)
        except StructureError as error:
            raise StructureError(f"{display_formula(structure.composition)}: {error}") from None
        sites.append(StandardSite(wyckoff, int(elements[orbit]), free))
    sites.sort(key=lambda site: (site.wyckoff, site.element, np.round(site.free_coords, 4).tolist()))
    return StandardCrystal(
        int(dataset.number), tuple(sites), _lattice_numbers(dataset.number, dataset.std_lattice)
    )


def _dataset(structure: Structure, elements: np.ndarray, symprec: float) -> Any:
    cell: Any = (structure.lattice.matrix, structure.frac_coords, elements + 1)
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=symprec)
        hall = 0 if dataset is None else int(wyckoff_tables().hall_number[dataset.number - 1])
        if hall:
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec, hall_number=hall)
    except Exception:  # spglib can be told to raise instead of returning None
        return None
    return dataset


def _fit_position(
    space_group: int, wyckoff: int, points: np.ndarray
) -> tuple[int, tuple[float, float, float]]:
    """Return the Wyckoff index (spglib's letter, else one of equal multiplicity) and x, y, z of an orbit."""
    tables = wyckoff_tables()
    first, last = tables.position_start[space_group - 1 : space_group + 1].tolist()
    counts = (tables.n_representatives[first:last] * tables.n_centring[space_group - 1]).tolist()
    same = [w for w, n in enumerate(counts) if n == len(points) and w != wyckoff]
    for candidate in [wyckoff, *same]:
        if counts[candidate] == len(points):
            free = _fit_representative(first + candidate, points)
            if free is not None:
                return candidate, free
    raise StructureError(f"an orbit does not fit Wyckoff position {LETTERS[wyckoff]} of group {space_group}")


def _fit_representative(position: int, points: np.ndarray) -> tuple[float, float, float] | None:
    """Return the smallest (x, y, z) whose first representative is in the orbit; None when there is none."""
    tables = wyckoff_tables()
    start = int(tables.operation_start[position])
    rotation = tables.rotations[start].numpy()
    translation = tables.translations[start].numpy()
    free = np.zeros_like(points)
    for k in range(3):
        rows = [r for r in range(3) if abs(rotation[r, k]) == 1 and abs(rotation[r]).sum() == 1]
        if rows:
            r = rows[0]
            free[:, k] = ((points[:, r] - translation[r]) * rotation[r, k]) % 1.0
    missed = free @ rotation.T + translation - points
    missed = np.abs(missed - np.round(missed)).max(axis=1)
    good = missed < max(_MISFIT, 1.5 * float(missed.min())) if missed.min() < _MISFIT else missed < 0
    if not good.any():
        return None
    free = free[good]
    free[free > 1 - 5e-5] = 0.0
    x, y, z = min(np.round(free, 6).tolist(), key=lambda row: np.round(row, 4).tolist())
    return x, y, z


def _lattice_numbers(space_group: int, lattice: np.ndarray) -> tuple[float, ...]:
    lengths = np.linalg.norm(lattice, axis=1)
    units = lattice / lengths[:, None]
    cos_alpha, cos_beta, cos_gamma = units[1] @ units[2], units[0] @ units[2], units[0] @ units[1]
    sines = np.sqrt((1 - cos_alpha**2) * (1 - cos_beta**2))
    angles = np.clip([cos_alpha, cos_beta, (cos_gamma - cos_alpha * cos_beta) / sines], -1 + 1e-9, 1 - 1e-9)
    values = np.concatenate([np.log(lengths), np.arctanh(angles)])
    return tuple((values * wyckoff_tables().is_lattice_free[space_group - 1].numpy()).tolist())
