"""POSCAR and CONTCAR of VASP 4 to 6, as VASP itself reads them.

Written here because no library reads them all: one scale factor, three, or a volume; symbols with the suffix
and hash of their POTCAR; symbols missing. What follows the coordinates (velocities) is left alone.

References:
    https://www.vasp.at/wiki/index.php/POSCAR
"""

import re
from dataclasses import dataclass, field

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.inputs.formats.symbols import HEAVY_HYDROGEN, Symbol, read_symbol
from inverse.inputs.remarks import Remark, RemarkKind
from surrogates.errors import StructureError, UnsupportedElementError

MOST_SYMBOL_LINES = 40
"""Lines over which VASP spreads symbols and counts, twenty a line."""


_NUMBER = re.compile(r"[\s,]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d{1,3})?)(?=[\s,+-]|[!#]|$)")


@dataclass
class PoscarCrystal:
    """A crystal and what there is to say of it."""

    structure: Structure
    remarks: list[Remark] = field(default_factory=list)


def read_poscar(text: str) -> PoscarCrystal:
    """Return the crystal of a POSCAR.

    Raises:
        StructureError: a line that is not what stands there in a POSCAR; names the line.
        UnsupportedElementError: a symbol that is no element from H to Lr.
    """
    lines = text.splitlines()
    if len(lines) < 8:
        raise StructureError(f"broken POSCAR: {len(lines)} lines")
    vectors = np.array([_numbers(lines[k], k, 3) for k in (2, 3, 4)])
    scale = _scale(lines[1], vectors)
    remarks: list[Remark] = []
    symbols, counts, at = _species(lines)
    n_atoms = sum(counts)
    if n_atoms > len(lines):
        raise StructureError(f"broken POSCAR: {n_atoms} atoms announced in {len(lines)} lines")
    is_selective = _letter(lines, at) == "s"
    at += is_selective
    mode = _letter(lines, at)
    if mode not in "dck":
        raise StructureError(
            f"broken POSCAR: line {at + 1} is {lines[at][:40].strip()!r}, neither Direct nor Cartesian"
        )
    start = at + 1
    rows = lines[start : start + n_atoms]
    if len(rows) < n_atoms:
        raise StructureError(f"broken POSCAR: {n_atoms} atoms announced, {len(rows)} lines of coordinates")
    coords = np.array([_numbers(row, start + k, 3) for k, row in enumerate(rows)])
    _require_end(lines, start + n_atoms, n_atoms)
    endings = [_ending(row, 6 if is_selective else 3) for row in rows]
    if symbols is None:
        symbols_of_atoms = _symbols_elsewhere(lines[0], counts, endings, remarks)
    else:
        symbols_of_atoms = [symbol for symbol, n in zip(symbols, counts, strict=True) for _ in range(n)]
        for k, (symbol, ending) in enumerate(zip(symbols_of_atoms, endings, strict=True)):
            if ending is not None and ending.element != symbol.element:
                raise StructureError(
                    f"broken POSCAR: line {start + k + 1} ends with {ending.element}, "
                    f"line 6 says {symbol.element}"
                )
    for isotope in sorted({s.isotope for s in symbols_of_atoms if s.isotope}):
        what = HEAVY_HYDROGEN.get(isotope, isotope)
        remarks.append(Remark(RemarkKind.ISOTOPE, f"{isotope} ({what}) read as its element"))
    structure = Structure(
        Lattice(vectors * scale),
        [symbol.element for symbol in symbols_of_atoms],
        coords if mode == "d" else coords * scale,
        coords_are_cartesian=mode != "d",
    )
    return PoscarCrystal(structure, remarks)


def _numbers(line: str, index: int, n: int) -> list[float]:
    """Return the first numbers of a line; Fortran's D exponents and numbers that touch (0.1-0.2) too."""
    found: list[str] = []
    position = 0
    while len(found) < n:
        number = _NUMBER.match(line, position)
        if number is None:
            raise StructureError(f"broken POSCAR: line {index + 1} is {line[:40].strip()!r}, not {n} numbers")
        found.append(number[1].lower().replace("d", "e"))
        position = number.end()
    return [float(number) for number in found]


def _scale(line: str, vectors: np.ndarray) -> np.ndarray:
    """Return (3,) factors of the Cartesian axes; one negative number is the volume of the cell."""
    words = line.split("!")[0].split("#")[0].split()
    n = 3 if len(words) >= 3 and re.fullmatch(r"[\d.eEdD+-]+", words[1]) else 1
    given = np.array(_numbers(line, 1, n))
    if n == 3:
        if (given <= 0).any():
            raise StructureError("broken POSCAR: of three scale factors (line 2) each must be positive")
        return given
    if given[0] == 0:
        raise StructureError("broken POSCAR: the scale factor (line 2) is 0")
    if given[0] > 0:
        return np.repeat(given, 3)
    volume = abs(np.linalg.det(vectors))
    if volume == 0:
        raise StructureError("broken POSCAR: the lattice vectors span no cell")
    return np.repeat((-given[0] / volume) ** (1 / 3), 3)


def _species(lines: list[str]) -> tuple[list[Symbol] | None, list[int], int]:
    """Return the symbols (None: there are none, as in VASP 4), the counts, the index of the line below."""
    at = 5
    words: list[str] = []
    while at < min(len(lines), 5 + MOST_SYMBOL_LINES) and not _is_counts(lines[at]):
        line = lines[at].split("!")[0].split("#")[0]
        if not line.split():
            break
        words += line.split()
        at += 1
    counts: list[int] = []
    n_wanted = len(words) or 1
    while at < len(lines) and _is_counts(lines[at]) and len(counts) < n_wanted:
        counts += [int(n) for n in re.findall(r"\d+", lines[at].split("!")[0].split("#")[0])]
        at += 1
    if not counts:
        raise StructureError(f"broken POSCAR: no counts of atoms below line 5 ({lines[5][:40].strip()!r})")
    if sum(counts) == 0:
        raise StructureError("a structure without atoms")
    if not words:
        return None, counts, at
    symbols = [read_symbol(re.split(r"[_/.]", word)[0]) for word in words if not _refuse_fraction(word)]
    if len(symbols) != len(counts):
        raise StructureError(
            f"broken POSCAR: {len(symbols)} symbols in line 6, {len(counts)} counts in line 7"
        )
    return symbols, counts, at


def _is_counts(line: str) -> bool:
    return re.fullmatch(r"\s*\d{1,12}(?:\s+\d{1,12})*\s*(?:[!#].*)?", line) is not None


def _refuse_fraction(word: str) -> bool:
    """Refuse VASP's fractional hydrogens (H.5, H1.25), which are no element; return False for all others."""
    if re.match(r"[A-Za-z]+\d*\.\d+", word):
        raise UnsupportedElementError(f"{word!r} is a pseudo-hydrogen, not an element")
    return False


def _letter(lines: list[str], at: int) -> str:
    text = lines[at].strip() if at < len(lines) else ""
    return text[:1].lower() or "?"


def _ending(row: str, n_before: int) -> Symbol | None:
    """Return the symbol that a line of coordinates ends with, None where it has none."""
    words = row.replace("!", " ").replace("#", " ").split()[n_before:]
    if not words:
        return None
    try:
        return read_symbol(re.sub(r"\d+$", "", words[0]))
    except UnsupportedElementError:
        return None


def _require_end(lines: list[str], at: int, n_atoms: int) -> None:
    """Refuse more lines of coordinates than atoms; velocities follow an empty line or a title.

    Raises:
        StructureError: there is another line of coordinates.
    """
    if at < len(lines) and re.match(r"\s*[+-]?\d*\.\d+\s+[+-]?\d*\.\d+\s+[+-]?\d*\.\d+", lines[at]):
        raise StructureError(f"broken POSCAR: {n_atoms} atoms announced, more lines of coordinates follow")


def _symbols_elsewhere(
    comment: str, counts: list[int], endings: list[Symbol | None], remarks: list[Remark]
) -> list[Symbol]:
    """Return a symbol per atom for a file of VASP 4: from the ends of the lines, else from the first line.

    Raises:
        StructureError: neither names them.
    """
    if all(ending is not None for ending in endings):
        remarks.append(Remark(RemarkKind.SPECIES, "no symbols above the counts: taken from the lines' ends"))
        return [ending for ending in endings if ending is not None]
    words = comment.split()
    try:
        named = [read_symbol(word) for word in words]
    except UnsupportedElementError:
        named = []
    if len(named) != len(counts) or not named:
        raise StructureError("POSCAR without element symbols (VASP 4 format); add them in line 6")
    shown = " ".join(symbol.element for symbol in named)
    remarks.append(
        Remark(RemarkKind.SPECIES, f"no symbols above the counts: {shown}, of the first line, taken")
    )
    return [symbol for symbol, n in zip(named, counts, strict=True) for _ in range(n)]
