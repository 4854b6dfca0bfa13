"""The atom table of a CIF block: which atom stands on each site, where, how surely, how often."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inverse.inputs.formats.cells import FULL, MAX_ATOMS
from inverse.inputs.formats.cif_formula import FormulaFacts
from inverse.inputs.formats.cif_syntax import CifBlock, is_given, number
from inverse.inputs.formats.symbols import HEAVY_HYDROGEN, Symbol, read_label, read_symbol
from inverse.inputs.remarks import Remark, RemarkKind, some
from surrogates.errors import StructureError, UnsupportedElementError

LEAST_DIGITS = 2
"""Digits that coordinates are taken to have at least: 0.5 stands for a half, not for 0.45 to 0.55."""

FRACTIONAL = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
CARTESIAN = ("_atom_site_cartn_x", "_atom_site_cartn_y", "_atom_site_cartn_z")

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


def read_sites(
    block: CifBlock, matrix: np.ndarray, facts: FormulaFacts, remarks: list[Remark]
) -> tuple[Site, ...]:
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
        remarks.append(Remark(RemarkKind.OCCUPANCY, f"{some(empty)}: occupancy 0, left out"))
    if not sites:
        raise StructureError("a structure without atoms")
    return tuple(sites)


def _symbols(table: Table, labels: Sequence[str], facts: FormulaFacts, remarks: list[Remark]) -> list[str]:
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
