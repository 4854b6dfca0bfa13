"""Structures out of plain data (JSON): numbers, symbols and occupancies are taken, nothing is ever imported.

pymatgen's `from_dict` decodes `properties` of anybody's file, which imports the modules that the file names.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.inputs.formats.cells import FULL
from inverse.inputs.formats.extended_xyz import require_periodic
from inverse.inputs.formats.symbols import HEAVY_HYDROGEN, Symbol, read_symbol
from inverse.inputs.remarks import Remark, RemarkKind
from surrogates.errors import StructureError

DEEPEST = 4
"""Objects inside one another, under the key `structure`, in which a structure is looked for."""


OCCUPANCIES = ("occupancy", "occupancies")
"""Keys of a row under which people list the occupancy of each site."""


def structure_of(row: Mapping[str, Any]) -> tuple[Structure, list[Remark]]:
    """Return the structure of a row (lattice, species, frac_coords) or of pymatgen's dict, also nested.

    Raises:
        StructureError: not a structure; says what is missing or of the wrong kind.
        UnsupportedElementError: a species that is no element from H to Lr.
    """
    for _ in range(DEEPEST):
        inner = row.get("structure")
        if not isinstance(inner, Mapping):
            break
        row = inner
    if "sites" in row:
        lattice = row.get("lattice")
        if lattice is None:
            raise StructureError("a molecule (sites without a lattice), not a crystal")
        matrix = matrix_of(lattice)
        occupancies, coords = _sites(row["sites"], matrix)
    else:
        keys = ("lattice", "species", "frac_coords")
        missing = [key for key in keys if key not in row]
        if missing:
            raise StructureError(f"a row without {' and '.join(missing)}")
        require_periodic(row.get("pbc"))
        _require_full(row)
        matrix = matrix_of(row["lattice"])
        species = _list(row["species"], "species")
        coords = _numbers(row["frac_coords"], "frac_coords")
        if len(species) != len(coords):
            raise StructureError(f"{len(species)} species for {len(coords)} coordinates")
        occupancies = [_occupancy(entry, k) for k, entry in enumerate(species)]
    if not occupancies:
        raise StructureError("a structure without atoms")
    if coords.shape != (len(occupancies), 3):
        raise StructureError(f"coordinates of shape {'x'.join(map(str, coords.shape))}, not three per atom")
    isotopes = sorted({symbol.isotope for site in occupancies for symbol, _ in site if symbol.isotope})
    remarks = [
        Remark(RemarkKind.ISOTOPE, f"{name} ({HEAVY_HYDROGEN.get(name, name)}) read as its element")
        for name in isotopes
    ]
    kinds = []
    for site in occupancies:
        amounts: dict[str, float] = {}
        for symbol, amount in site:
            amounts[symbol.element] = amounts.get(symbol.element, 0.0) + amount
        kinds.append(amounts)
    return Structure(Lattice(matrix), kinds, coords), remarks


def _require_full(row: Mapping[str, Any]) -> None:
    """Refuse a row whose list of occupancies says that species are not all there is to a site.

    Raises:
        StructureError: an occupancy other than 1, or none at all.
    """
    for key in OCCUPANCIES:
        if row.get(key) is None:
            continue
        values = _numbers(row[key], key)
        if not (np.abs(values - 1.0) <= FULL).all():
            raise StructureError(f"{key} of a row other than 1; give sites as pymatgen writes them")


def matrix_of(lattice: Any) -> np.ndarray:
    """Return the (3, 3) matrix of a lattice: three vectors, or an object with `matrix` or lengths and angles.

    Raises:
        StructureError: neither, or one that does not repeat in three directions.
    """
    if not isinstance(lattice, Mapping):
        matrix = _numbers(lattice, "lattice")
    else:
        require_periodic(lattice.get("pbc"))
        if "matrix" in lattice:
            matrix = _numbers(lattice["matrix"], "lattice.matrix")
        else:
            names = ("a", "b", "c", "alpha", "beta", "gamma")
            missing = [name for name in names if name not in lattice]
            if missing:
                raise StructureError(f"a lattice without matrix and without {', '.join(missing)}")
            values = _numbers([lattice[name] for name in names], "lattice")
            if not ((values > 0).all() and (values[3:] < 180).all() and np.isfinite(values).all()):
                raise StructureError(f"lengths and angles {', '.join(f'{v:g}' for v in values)} make no cell")
            matrix = np.array(Lattice.from_parameters(*values.tolist()).matrix)
    if matrix.shape != (3, 3):
        raise StructureError(f"a lattice of shape {'x'.join(map(str, matrix.shape))}, not 3x3")
    if not np.isfinite(matrix).all():
        raise StructureError("lattice or coordinates hold a number that is not finite")
    if np.linalg.det(matrix) == 0:
        raise StructureError("the lattice vectors span no cell")
    return matrix


def _sites(sites: Any, matrix: np.ndarray) -> tuple[list[list[tuple[Symbol, float]]], np.ndarray]:
    """Return occupancies and fractional coordinates of pymatgen's sites."""
    occupancies = []
    coords = []
    for k, site in enumerate(_list(sites, "sites")):
        if not isinstance(site, Mapping):
            raise StructureError(f"site {k} is {_kind(site)}, not an object")
        occupancies.append(_occupancy(site.get("species", site.get("label")), k))
        if "abc" in site:
            coords.append(_numbers(site["abc"], f"abc of site {k}"))
        elif "xyz" in site:
            coords.append(_numbers(site["xyz"], f"xyz of site {k}") @ np.linalg.inv(matrix))
        else:
            raise StructureError(f"site {k} without abc and xyz")
        if coords[-1].shape != (3,):
            raise StructureError(f"site {k} has {coords[-1].size} coordinates, not 3")
    return occupancies, np.array(coords)


def _occupancy(entry: Any, k: int) -> list[tuple[Symbol, float]]:
    """Return (symbol, amount) pairs of a site: a symbol, an atomic number, or pymatgen's list of species."""
    if isinstance(entry, str):
        return [(read_symbol(entry), 1.0)]
    if isinstance(entry, Mapping):
        entry = [entry]
    if not isinstance(entry, Sequence):
        raise StructureError(f"species of site {k} is {_kind(entry)}, not a symbol")
    found = []
    for part in entry:
        if not isinstance(part, Mapping) or not isinstance(part.get("element"), str):
            raise StructureError(f"species of site {k} names no element")
        amount = part.get("occu", 1.0)
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise StructureError(f"occupancy of site {k} is {_kind(amount)}, not a number")
        if not math.isfinite(amount):
            raise StructureError(f"occupancy of site {k} is not finite")
        found.append((read_symbol(part["element"]), float(amount)))
    return found


def _list(value: Any, where: str) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise StructureError(f"{where} is {_kind(value)}, not a list")
    return value


def _numbers(value: Any, where: str) -> np.ndarray:
    """Return nested lists of numbers as an array.

    Raises:
        StructureError: anything else in them, or lists of unequal length.
    """
    _require_numbers(value, where, 0)
    try:
        return np.array(value, dtype=float)
    except (ValueError, OverflowError):
        raise StructureError(f"{where} holds lists of unequal length, or a number beyond any") from None


def _require_numbers(value: Any, where: str, depth: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple) or depth > 2:
        raise StructureError(f"{where} holds {_kind(value)}, not numbers")
    if isinstance(value, list | tuple):
        for part in value:
            _require_numbers(part, where, depth + 1)


def _kind(value: Any) -> str:
    """Return the kind of a JSON value in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
