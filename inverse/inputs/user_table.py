"""A user's CSV of values by formula, or by structure file, as what a surrogate is fitted to."""

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from pymatgen.core import Structure

from inverse.candidates.objective import TABLE_RANGE
from inverse.inputs.structure_files import read_structures
from inverse.inputs.table_header import Header, same_unit, split_unit
from inverse.inputs.training_config import TableStage
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError, DataError, EngineError, nearest
from surrogates.physics.properties import PROPERTIES, PROPERTY_NAME, Property
from surrogates.protocol import CompositionBatch

DECADE = 10.0
"""Positive values that span more than this are fitted in log space unless told otherwise."""

MAX_SKIPPED_SHARE = 0.5
"""A table of which more rows cannot be used is refused."""


@dataclass(frozen=True)
class UserTable:
    """Rows that can be learned from, and those that cannot.

    Attributes:
        property: what the values are.
        batch: C compositions or crystals.
        values: C, natural units.
        formulas: C reduced formulas, the split.
        is_log: fit logarithms.
        skipped: (line of the CSV, why).
    """

    property: Property
    batch: CompositionBatch | CrystalBatch
    values: list[float]
    formulas: list[str]
    is_log: bool
    skipped: list[tuple[int, str]]


def read_table(request: TableStage) -> UserTable:
    """Return the table that a training config describes; rows that cannot be used are listed.

    Raises:
        DataError: a file that is missing or not a CSV, or mostly unusable.
        ConfigError: a column that does not exist, a unit that contradicts a known property.
    """
    header, rows = _read(request)
    known = None if request.structures is None else structures_by_name(request.structures)
    entries: list[str | Structure] = []
    values: list[float] = []
    formulas: list[str] = []
    skipped: list[tuple[int, str]] = []
    for line, name, text, n_cells in rows:
        try:
            if n_cells > len(header.columns):
                raise ValueError(f"{n_cells} cells below {len(header.columns)} columns{_comma_hint(header)}")
            value = _number(text)
            entry, formula = (name, _reduced(name)) if known is None else _structure(name, known)
        except (EngineError, ValueError) as error:
            skipped.append((line, str(error)))
            continue
        entries.append(entry)
        values.append(value)
        formulas.append(formula)
    if not rows:
        raise DataError(f"{request.data}: no rows below the header")
    if len(skipped) > MAX_SKIPPED_SHARE * len(rows):
        first = f"the first in line {skipped[0][0]}: {skipped[0][1]}"
        raise DataError(f"{request.data}: {len(skipped)} of {len(rows)} rows cannot be used, {first}")
    is_log = request.log
    if is_log is None:
        is_log = min(values) > 0 and max(values) > DECADE * min(values)
    prop = user_property(request, is_log, values, header)
    return UserTable(prop, _batch(entries), values, formulas, is_log, skipped)


def user_property(
    request: TableStage, is_log: bool, values: list[float], header: Header | None = None
) -> Property:
    """Return the record of the table's property: a known one, or a new one named after the column.

    Raises:
        ConfigError: a known property in another unit or with a value that it cannot have, a unit that the
            column's head contradicts, or a column without a usable name.
    """
    head = request.value if header is None else header.named(request.value)
    title, unit = split_unit(head)
    if request.unit and unit and not same_unit(request.unit, unit):
        raise ConfigError(f"unit: {request.unit!r}, but {request.data} says {head!r}; make them agree")
    unit = request.unit or unit
    name = request.property or re.sub("[^a-z0-9]+", "_", title.lower()).strip("_")
    if not re.fullmatch(PROPERTY_NAME, name):
        raise ConfigError(f"value: {request.value!r} is no name for a property; set property: to one")
    if name in PROPERTIES:
        known = PROPERTIES[name]
        if unit and not same_unit(unit, known.unit):
            raise ConfigError(f"unit: {unit!r}, but {name} is in {known.unit} everywhere; convert the table")
        odd = next((v for v in values if not known.minimum <= v <= known.maximum), None)
        if odd is not None:
            raise ConfigError(
                f"{request.data}: {request.value} {odd:g} is outside {known.minimum:g} to {known.maximum:g} "
                f"{known.unit}, where {name} lies; convert the table, or set property: to another name"
            )
        return known
    bound = TABLE_RANGE * max(abs(v) for v in values)
    minimum = 0.0 if min(values) >= 0 else -bound
    where = f"table {request.data.name}"
    return Property(name, request.symbol or name, unit, minimum, bound, where, is_log)


def structures_by_name(folder: Path) -> dict[str, Structure | EngineError]:
    """Return the structures of a folder or file by id, file name and file name without suffix.

    A name that more than one structure answers to is an error of its own.
    """
    found: dict[str, Structure | EngineError] = {}
    for record in read_structures([folder]):
        result = record.structure if record.structure is not None else record.error
        if result is None:
            continue
        for name in {record.id, Path(record.file).name, Path(record.file).stem}:
            found[name] = _ambiguous(name) if name in found else result
    return found


def _ambiguous(name: str) -> DataError:
    return DataError(f"{name!r} names more than one structure; write an id or a whole file name")


def _read(request: TableStage) -> tuple[Header, list[tuple[int, str, str, int]]]:
    """Return the header and (line, key, value, cells) of each row of a CSV; comma, semicolon or tab."""
    path = request.data
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header = Header.of(stream.readline(), str(path))
            key = (
                header.formulas(request.formula) if request.structures is None else header.named(request.file)
            )
            places = header.columns.index(key), header.columns.index(header.named(request.value))
            reader = csv.reader(stream, delimiter=header.delimiter)
            rows = [
                (reader.line_num + 1, _cell(r, places[0]), _cell(r, places[1]), _n_cells(r))
                for r in reader
                if r
            ]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {' '.join(str(error).split())}") from None
    return header, rows


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _n_cells(row: list[str]) -> int:
    """Return how many cells a row has up to its last that is not empty."""
    return max((place for place, text in enumerate(row, start=1) if text.strip()), default=0)


def _comma_hint(header: Header) -> str:
    return "; write a decimal point, or quotes around commas" if header.delimiter == "," else ""


def _number(text: str) -> float:
    if not text:
        raise ValueError("no value")
    try:
        value = float(text.replace("\N{MINUS SIGN}", "-"))
    except ValueError:
        hint = "; write a decimal point" if re.fullmatch(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?", text) else ""
        raise ValueError(f"{text!r} is not a number{hint}") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _reduced(formula: str) -> str:
    """Return the formula with its atomic fractions rounded: rows that differ less are one formula."""
    if not formula:
        raise ValueError("no formula")
    fractions = CompositionBatch.from_formulas([formula]).fractions[0]
    return " ".join(f"{z}:{float(fractions[z]):.4f}" for z in fractions.nonzero().flatten().tolist())


def _structure(name: str, known: dict[str, Structure | EngineError]) -> tuple[Structure, str]:
    result = known.get(name)
    if result is None:
        raise ValueError(f"no structure called {name!r}; {nearest(name, known)}" if name else "no file name")
    if isinstance(result, EngineError):
        raise result
    return result, result.composition.reduced_formula


def _batch(entries: list[str | Structure]) -> CompositionBatch | CrystalBatch:
    structures = [e for e in entries if isinstance(e, Structure)]
    if structures:
        return CrystalBatch.from_structures(structures, dtype=torch.float64)
    return CompositionBatch.from_formulas([e for e in entries if isinstance(e, str)])
