"""Extended XYZ, frame by frame: what a frame says is read, and a frame that is not periodic is refused.

Written here because ASE's reader gives up a frame for any key of the comment line that it knows better (a
stress of six numbers), takes columns by its own names only, and knows no ions and no deuterium.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.inputs.formats.symbols import HEAVY_HYDROGEN, Symbol, read_symbol
from inverse.inputs.remarks import Remark, RemarkKind
from surrogates.crystals.periodic_table import ELEMENT_SYMBOLS, N_ELEMENTS
from surrogates.errors import EngineError, StructureError

MAX_COMMENT = 100_000
"""Characters of a comment line."""

SPECIES = ("species", "symbols", "symbol", "element", "elements", "atom", "atoms", "atom_types", "type")
NUMBERS = ("z", "numbers", "atomic_numbers", "atomic_number")
POSITIONS = ("pos", "positions", "position", "coords", "coord", "xyz", "cart_coords")
DEFAULT_COLUMNS = "species:S:1:pos:R:3"


@dataclass
class Frame:
    """A frame: its crystal, or why it is none.

    Attributes:
        id: as the comment line names it.
        structure: None where there is an error.
        error: None where there is a structure.
        remarks: what there is to say of it.
    """

    id: str | None = None
    structure: Structure | None = None
    error: EngineError | None = None
    remarks: list[Remark] = field(default_factory=list)


def read_frames(lines: Iterator[str], most_atoms: int) -> Iterator[Frame]:
    """Yield the frames of an extended XYZ file; one that is broken inside does not end the file.

    Args:
        lines: of the file, without line ends.
        most_atoms: larger frames are refused unread.

    Raises:
        StructureError: what should be a number of atoms is none, or the file ends within a frame.
    """
    for line in lines:
        if not line.strip():
            continue
        count = line.split()[0].lstrip("+") if line.split() else ""
        if not (count.isascii() and count.isdigit() and len(count) <= 18):
            raise StructureError(f"broken XYZ: {line[:40].strip()!r} where a number of atoms should stand")
        n_atoms = int(count)
        comment = next(lines, None)
        if n_atoms > most_atoms:
            n_there = sum(1 for _ in itertools.islice(lines, n_atoms))
            if n_there < n_atoms:
                raise StructureError(f"broken XYZ: {n_atoms} atoms announced in {n_there} lines")
            yield Frame(error=StructureError(f"{n_atoms} atoms in the cell; at most {most_atoms}"))
            continue
        rows = list(itertools.islice(lines, n_atoms))
        if comment is None or len(rows) < n_atoms:
            raise StructureError(f"broken XYZ: {n_atoms} atoms announced in {len(rows)} lines")
        frame = Frame()
        try:
            _read(frame, comment, rows)
        except EngineError as error:
            frame.error = error
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            frame.error = StructureError(f"broken XYZ: {' '.join(str(error).split())}")
        yield frame


def _read(frame: Frame, comment: str, rows: list[str]) -> None:
    if len(comment) > MAX_COMMENT:
        raise StructureError(f"broken XYZ: a comment line of {len(comment)} characters")
    info = read_comment(comment)
    frame.id = info.get("id", info.get("material_id"))
    matrix = _matrix(info)
    require_periodic(_flags(info.get("pbc")))
    columns = _columns(info.get("properties", DEFAULT_COLUMNS))
    if not rows:
        raise StructureError("a structure without atoms")
    words = [row.split() for row in rows]
    n_columns, least = max(first + n for _, first, n in columns.values()), min(map(len, words))
    if least < n_columns:
        raise StructureError(f"broken XYZ: a line of {least} columns, {n_columns} announced")
    symbols = _symbols(columns, words)
    positions = _positions(columns, words)
    for isotope in sorted({s.isotope for s in symbols if s.isotope}):
        what = HEAVY_HYDROGEN.get(isotope, isotope)
        frame.remarks.append(Remark(RemarkKind.ISOTOPE, f"{isotope} ({what}) read as its element"))
    species = [symbol.element for symbol in symbols]
    frame.structure = Structure(Lattice(matrix), species, positions, coords_are_cartesian=True)


_PAIR = re.compile(
    r"""([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|\{([^}]*)\}|\[([^]]*)\]|(\S+))""", re.DOTALL
)


def read_comment(line: str) -> dict[str, str]:
    """Return keys, in lower case, and values of a comment line; the first of a key counts."""
    found: dict[str, str] = {}
    for pair in _PAIR.finditer(line):
        value = next((group for group in pair.groups()[1:] if group is not None), "")
        found.setdefault(pair[1].lower(), value)
    return found


def _matrix(info: Mapping[str, str]) -> np.ndarray:
    """Return the lattice, rows are vectors."""
    given = info.get("lattice", info.get("cell"))
    if given is None:
        raise StructureError("no Lattice in the comment line: not a crystal")
    words = re.sub(r"[\[\](),]", " ", given).split()
    if len(words) != 9:
        raise StructureError(f"Lattice holds {len(words)} values, not the 9 of three vectors")
    try:
        matrix = np.array([float(word) for word in words]).reshape(3, 3)
    except ValueError:
        raise StructureError(f"Lattice {given[:60]!r} holds what is no number") from None
    if not np.isfinite(matrix).all():
        raise StructureError("lattice or coordinates hold a number that is not finite")
    if np.linalg.matrix_rank(matrix) < 3:
        raise StructureError("the vectors of Lattice span no cell: not a crystal")
    return matrix


_TRUTHS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}


def _flags(text: str | None) -> list[bool] | None:
    """Return the flags of `pbc`, None where it is not given.

    Raises:
        StructureError: words that are neither true nor false.
    """
    if text is None:
        return None
    words = re.sub(r"[\[\](),]", " ", text).lower().split()
    if not words or any(word not in _TRUTHS for word in words):
        raise StructureError(f"pbc {text[:40]!r} is not three of T and F")
    return [_TRUTHS[word] for word in words]


def require_periodic(pbc: Any) -> None:
    """Refuse what does not repeat in three directions; None, nothing said, is periodic.

    Raises:
        StructureError: a layer, a chain or a molecule; or flags that are none.
    """
    if pbc is None:
        return
    flags = np.atleast_1d(np.asarray(pbc)).ravel()
    if flags.dtype.kind not in "bi" or flags.size not in (1, 3):
        raise StructureError(f"pbc {str(pbc)[:40]!r} is not three of T and F")
    periodic = [bool(flag) for flag in np.broadcast_to(flags, 3)]
    if not all(periodic):
        shown = " ".join("T" if flag else "F" for flag in periodic)
        what = {0: "a molecule", 1: "a chain", 2: "a layer"}[sum(periodic)]
        raise StructureError(f"not periodic in three directions (pbc {shown}): {what}, not a crystal")


def _columns(properties: str) -> dict[str, tuple[str, int, int]]:
    """Return name in lower case -> (type letter, first column, number of columns).

    Raises:
        StructureError: not NAME:TYPE:NUMBER in a row.
    """
    fields = properties.split(":")
    found: dict[str, tuple[str, int, int]] = {}
    first = 0
    if len(fields) % 3 or not fields:
        raise StructureError(f"broken XYZ: Properties {properties[:60]!r} is not NAME:TYPE:NUMBER in a row")
    for name, letter, number in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if not (number.isascii() and number.isdigit() and 0 < int(number[:6]) < 10_000):
            raise StructureError(f"broken XYZ: {number[:20]!r} columns of {name[:20]!r}")
        found.setdefault(name.lower(), (letter.upper(), first, int(number)))
        first += int(number)
    return found


def _symbols(columns: Mapping[str, tuple[str, int, int]], words: list[list[str]]) -> list[Symbol]:
    named = next((columns[n] for n in SPECIES if n in columns and columns[n][0] == "S"), None)
    if named is not None:
        return [read_symbol(_word(row, named[1])) for row in words]
    numbered = next((columns[n] for n in (*NUMBERS, *SPECIES) if n in columns and columns[n][0] == "I"), None)
    if numbered is None:
        raise StructureError(f"broken XYZ: no column of species among {', '.join(columns)[:80]}")
    symbols = []
    for row in words:
        z = int(_word(row, numbered[1]))
        if not 1 <= z <= N_ELEMENTS:
            raise StructureError(f"atomic number {z} is not one of 1 to {N_ELEMENTS}")
        symbols.append(Symbol(ELEMENT_SYMBOLS[z - 1]))
    return symbols


def _positions(columns: Mapping[str, tuple[str, int, int]], words: list[list[str]]) -> np.ndarray:
    placed = next((columns[n] for n in POSITIONS if n in columns and columns[n][2] == 3), None)
    if placed is None:
        raise StructureError(f"broken XYZ: no column of positions among {', '.join(columns)[:80]}")
    return np.array([[float(_word(row, placed[1] + k)) for k in range(3)] for row in words])


def _word(row: list[str], column: int) -> str:
    if column >= len(row):
        raise StructureError(f"broken XYZ: a line of {len(row)} columns, {column + 1} announced")
    return row[column]
