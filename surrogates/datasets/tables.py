"""Formula tables: values by formula with the source whose scale they stand on."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS
from surrogates.errors import DataError, StructureError

SOURCES: tuple[str, ...] = ("mp", "oqmd", "mp_legacy", "aflow", "jarvis", "alex_eos")
"""Tables whose scales differ; index 0 is the scale everything is answered on by default."""

TABLE_PROPERTIES: tuple[str, ...] = (
    "bulk_modulus_vrh",
    "shear_modulus_vrh",
    "formation_energy_per_atom",
    "volume_per_atom",
    "band_gap",
)
"""Columns of the table of everything."""

Column = tuple[str, str, Mapping[str, float]]
"""Source, property name, value by reduced formula."""

_COLUMN = {symbol: z for z, symbol in enumerate(ELEMENT_SYMBOLS)}
_TOKEN = re.compile(r"([A-Z][a-z]?)([0-9.]*(?:[eE]-[0-9]+)?)|(\()|(\))([0-9.]*)")


@dataclass(frozen=True)
class FormulaTable:
    """N rows: a formula on the scale of a source, with the values known there.

    Attributes:
        formulas: N reduced formulas; one may stand there once per source.
        elements: (N, K) columns of the elements, -1 where a row has fewer.
        fractions: (N, K) atomic fractions.
        source: (N,) index into SOURCES.
        values: (N, P) in natural units, NaN where unknown.
        properties: P names of the columns.
    """

    formulas: tuple[str, ...]
    elements: np.ndarray
    fractions: np.ndarray
    source: np.ndarray
    values: np.ndarray
    properties: tuple[str, ...] = TABLE_PROPERTIES

    def __len__(self) -> int:
        return len(self.formulas)

    def dense(self, rows: np.ndarray) -> Tensor:
        """Return (len(rows), Z) float32 fractions."""
        dense = np.zeros((len(rows), N_ELEMENTS + 1), dtype=np.float32)
        np.put_along_axis(dense, self.elements[rows], self.fractions[rows], axis=1)
        return torch.from_numpy(dense[:, :N_ELEMENTS])

    def only(self, properties: Sequence[str]) -> "FormulaTable":
        """Return the columns of some properties, and the rows where one of them is known."""
        values = self.values[:, [self.properties.index(name) for name in properties]]
        known = np.flatnonzero(np.isfinite(values).any(axis=1))
        return FormulaTable(
            tuple(self.formulas[i] for i in known),
            self.elements[known],
            self.fractions[known],
            self.source[known],
            values[known],
            tuple(properties),
        )

    def known_only(self) -> "FormulaTable":
        """Return the table without properties that no row knows."""
        some = np.isfinite(self.values).any(axis=0)
        return self.only([name for name, is_known in zip(self.properties, some, strict=True) if is_known])

    def bucket(self) -> np.ndarray:
        """Return (N,) integers 0 to 99 that depend on the formula alone: the split."""
        return np.array([formula_bucket(f) for f in self.formulas])


def formula_bucket(formula: str) -> int:
    """Return 0 to 99 from a formula's reduced text; the same on every machine.

    >>> formula_bucket("WC") == formula_bucket("WC")
    True
    """
    return int.from_bytes(hashlib.blake2s(formula.encode(), digest_size=4).digest(), "big") % 100


def parse_formula(formula: str) -> dict[int, float]:
    """Return the amount of each element column; quick, for tables of plain formulas.

    >>> parse_formula("Ca(AgGe)2")
    {19: 1.0, 46: 2.0, 31: 2.0}

    Raises:
        StructureError: text that is not a formula of H to Lr.
    """
    stack: list[dict[int, float]] = [{}]
    end = 0
    for match in _TOKEN.finditer(formula):
        if match.start() != end:
            break
        end = match.end()
        symbol, amount, opening, _, multiplier = match.groups()
        if symbol:
            if symbol not in _COLUMN:
                raise StructureError(f"formula {formula!r}: {symbol!r} is not an element of H to Lr")
            stack[-1][_COLUMN[symbol]] = stack[-1].get(_COLUMN[symbol], 0.0) + _number(amount, formula)
        elif opening:
            stack.append({})
        elif len(stack) > 1:
            for z, inner in stack.pop().items():
                stack[-1][z] = stack[-1].get(z, 0.0) + inner * _number(multiplier, formula)
        else:
            stack.clear()
            break
    amounts = {z: amount for z, amount in stack[0].items() if amount > 0} if len(stack) == 1 else {}
    if end != len(formula) or not amounts:
        raise StructureError(f"formula {formula!r} cannot be read")
    return amounts


def _number(text: str, formula: str) -> float:
    try:
        return float(text) if text else 1.0
    except ValueError:
        raise StructureError(f"formula {formula!r}: {text!r} is not an amount") from None


def formula_table(columns: Iterable[Column]) -> FormulaTable:
    """Return the table of (source, property name, value by reduced formula) columns, merged by source.

    Raises:
        StructureError: a formula that cannot be read.
    """
    rows: dict[tuple[str, str], list[float]] = {}
    for source, name, values in columns:
        column = TABLE_PROPERTIES.index(name)
        for formula, value in values.items():
            key = (source, formula)
            if key not in rows:
                rows[key] = [float("nan")] * len(TABLE_PROPERTIES)
            rows[key][column] = value
    formulas = tuple(formula for _, formula in rows)
    elements, fractions = pad_formulas(formulas)
    sources = np.array([SOURCES.index(s) for s, _ in rows], dtype=np.int64)
    return FormulaTable(
        formulas, elements, fractions, sources, np.array(list(rows.values()), dtype=np.float32)
    )


def pad_formulas(formulas: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, K) element columns and atomic fractions; unused slots point past the last element."""
    parsed = [parse_formula(f) for f in formulas]
    width = max((len(p) for p in parsed), default=1)
    elements = np.full((len(parsed), width), N_ELEMENTS, dtype=np.int64)
    fractions = np.zeros((len(parsed), width), dtype=np.float32)
    for row, amounts in enumerate(parsed):
        elements[row, : len(amounts)] = list(amounts)
        fractions[row, : len(amounts)] = np.array(list(amounts.values())) / sum(amounts.values())
    return elements, fractions


def read_formula_tables(folder: Path) -> FormulaTable:
    """Return every formula value of the shared data that the composition surrogate learns from.

    Lowest entry of a formula for energies, volumes and gaps, geometric mean for moduli; failed
    elastic calculations (K < 1, G < 1 or G/K > 1.3) are left out.

    Raises:
        DataError: a table that is missing or damaged.
    """
    columns: list[Column] = []
    columns += _elastic_columns(folder)
    for source, file, name, how in (
        ("oqmd", "oqmd", "formation_energy_per_atom", min),
        ("oqmd", "oqmd", "volume_per_atom", min),
        ("oqmd", "oqmd", "band_gap", min),
        ("mp_legacy", "mp_formation_energy", "formation_energy_per_atom", min),
        ("mp_legacy", "mp_ground_states", "formation_energy_per_atom", min),
        ("mp_legacy", "mp_band_gap", "band_gap", np.median),
    ):
        grouped = _grouped(folder / "tables" / f"{file}.parquet", name)
        columns.append((source, name, {f: float(how(v)) for f, v in grouped.items()}))
    columns += _lowest_structures(folder / "structures" / "mp_structures.jsonl.gz")
    return formula_table(columns)


def _grouped(path: Path, name: str) -> dict[str, list[float]]:
    """Return all finite values of a column by reduced formula."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path, columns=["reduced_formula", name]).to_pydict()
    except Exception as error:
        raise DataError(f"table {path.name} cannot be read: {str(error).splitlines()[0]}") from None
    grouped: dict[str, list[float]] = {}
    for formula, value in zip(table["reduced_formula"], table[name], strict=True):
        if value is not None and np.isfinite(value):
            grouped.setdefault(formula, []).append(value)
    return grouped


def _geometric(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def _elastic_columns(folder: Path) -> list[tuple[str, str, Mapping[str, float]]]:
    """Return moduli by source: Materials Project and AFLOW tables, JARVIS and Alexandria structures."""
    moduli: dict[str, dict[str, dict[str, float]]] = {}
    for source, k_file, g_file in (
        ("mp", "mp_elasticity", "mp_elasticity"),
        ("aflow", "aflow_bulk_modulus", "aflow_shear_modulus"),
    ):
        moduli[source] = {
            name: {
                formula: _geometric([v for v in values if v >= 1])
                for formula, values in _grouped(folder / "tables" / f"{file}.parquet", name).items()
                if any(v >= 1 for v in values)
            }
            for name, file in (("bulk_modulus_vrh", k_file), ("shear_modulus_vrh", g_file))
        }
    for row in _rows(folder / "structures" / "elasticity.jsonl.gz"):
        if row["source"] == "jarvis_optb88" and (row["bulk_modulus_vrh"] or 0) >= 1:
            values = {n: row[n] for n in ("bulk_modulus_vrh", "shear_modulus_vrh") if (row[n] or 0) >= 1}
        elif row["source"] == "alex_hp_eos" and "rough" not in row["label"]:
            values = {"bulk_modulus_vrh": row["bulk_modulus_eos"]}
        else:
            continue
        source = "jarvis" if row["source"] == "jarvis_optb88" else "alex_eos"
        for name, value in values.items():
            moduli.setdefault(source, {}).setdefault(name, {}).setdefault(row["formula"], value)
    for by_name in moduli.values():
        k, g = by_name.get("bulk_modulus_vrh", {}), by_name.get("shear_modulus_vrh", {})
        for formula in [f for f in g if f not in k or g[f] > 1.3 * k[f]]:
            k.pop(formula, None)
            g.pop(formula)
    return [(source, name, v) for source, by_name in moduli.items() for name, v in by_name.items()]


def _rows(path: Path) -> Iterable[dict]:
    try:
        with gzip.open(path, "rt") as lines:
            yield from map(json.loads, lines)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}") from None


def _lowest_structures(path: Path) -> list[tuple[str, str, Mapping[str, float]]]:
    """Return energy, volume and gap of the lowest Materials Project structure of each formula."""
    lowest: dict[str, tuple[float, float, float]] = {}
    for row in _rows(path):
        energy = row["formation_energy_per_atom"]
        if energy is None or (row["formula"] in lowest and lowest[row["formula"]][0] <= energy):
            continue
        volume = abs(float(np.linalg.det(np.array(row["lattice"])))) / len(row["species"])
        gap = row["band_gap"]
        lowest[row["formula"]] = (energy, volume, float("nan") if gap is None else gap)
    names = ("formation_energy_per_atom", "volume_per_atom", "band_gap")
    return [("mp", name, {f: v[i] for f, v in lowest.items()}) for i, name in enumerate(names)]
