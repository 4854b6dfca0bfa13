"""One generator per file format: what a file holds, structure by structure, not yet checked."""

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.inputs.formats.cells import MAX_ATOMS
from inverse.inputs.formats.cif import crystal_blocks, read_block
from inverse.inputs.formats.extended_xyz import read_frames, require_periodic
from inverse.inputs.formats.plain_data import structure_of
from inverse.inputs.formats.poscar import read_poscar
from inverse.inputs.formats.text import PACKED_SUFFIXES, lines_of, open_text, read_text
from inverse.inputs.remarks import Remark
from surrogates.errors import DataError, EngineError, StructureError, UnsupportedElementError
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS, N_ELEMENTS

CIF_SUFFIXES = (".cif", ".mcif")
POSCAR_SUFFIXES = (".vasp", ".poscar", ".contcar")
XYZ_SUFFIXES = (".extxyz", ".xyz")

SQLITE = b"SQLite format 3\x00"
"""How an ASE database begins."""


@dataclass(frozen=True)
class RawStructure:
    """One structure as found: its own id (None: it has none), or the error in its place."""

    id: str | None = None
    structure: Structure | None = None
    error: EngineError | None = None
    source: str | None = None
    remarks: list[Remark] = field(default_factory=list)


Parser = Generator[RawStructure, None, None]


def recognised_format(path: Path) -> str | None:
    """Return 'cif', 'poscar', 'xyz', 'jsonl', 'json' or 'ase' by a file's name, else None."""
    name = path.name.lower()
    for packed in PACKED_SUFFIXES:
        name = name.removesuffix(packed)
    suffix = Path(name).suffix
    if suffix in CIF_SUFFIXES:
        return "cif"
    if name.startswith(("poscar", "contcar")) or suffix in POSCAR_SUFFIXES:
        return "poscar"
    if suffix in XYZ_SUFFIXES:
        return "xyz"
    return {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".db": "ase"}.get(suffix)


def parse_file(path: Path) -> Parser:
    """Return the generator of a file's structures.

    It may raise anything while it runs; what it yielded until then stands.

    Raises:
        StructureError: a name of no known format.
        DataError: a file that cannot be opened.
    """
    kind = recognised_format(path)
    if kind is None:
        problem = StructureError(
            "unknown file format; valid: .cif, POSCAR, CONTCAR, .vasp, .extxyz, .xyz, .json, .jsonl, .db, "
            "each also with .gz, .bz2 or .xz"
        )
        yield RawStructure(error=problem)
        return
    if not path.is_file():
        raise DataError("is not a file")
    try:
        yield from _PARSERS[kind](path)
    except OSError as error:
        if error.strerror is None:  # a parser's own complaint, not the operating system's
            raise
        raise DataError(f"cannot be opened: {error.strerror}") from None


def parse_cif(path: Path) -> Parser:
    """Yield a structure per data block that describes a crystal."""
    for block in crystal_blocks(read_text(path)):
        try:
            found = read_block(block)
        except EngineError as error:
            yield RawStructure(error=error)
        except Exception as error:
            yield RawStructure(error=StructureError(f"broken CIF: {' '.join(str(error).split())}"))
        else:
            yield RawStructure(structure=found.structure, remarks=found.remarks)


def parse_poscar(path: Path) -> Parser:
    """Yield the one structure of a POSCAR or CONTCAR."""
    found = read_poscar(read_text(path))
    yield RawStructure(structure=found.structure, remarks=found.remarks)


def parse_xyz(path: Path) -> Parser:
    """Yield the frames of an extended XYZ file, which is read frame by frame."""
    with open_text(path) as stream:
        is_empty = True
        for frame in read_frames(lines_of(stream), MAX_ATOMS):
            is_empty = False
            yield RawStructure(frame.id, frame.structure, frame.error, remarks=frame.remarks)
    if is_empty:
        raise StructureError("the file is empty")


def parse_jsonl(path: Path) -> Parser:
    """Yield a structure per line; a broken line is one error record."""
    with open_text(path) as stream:
        yield from _rows_of_lines(lines_of(stream))


def _rows_of_lines(lines: Iterator[str]) -> Parser:
    for line in lines:
        if line.strip():
            yield row_structure(_json(line))


def parse_json(path: Path) -> Parser:
    """Yield the structures of a pymatgen JSON: one, a list, or rows; an ASE JSON database; JSON lines."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except ValueError:
        first = text.lstrip().split("\n", 1)[0]
        if "\n" in text.strip() and first.startswith("{") and isinstance(_json(first), dict):
            yield from _rows_of_lines(iter(text.split("\n")))
            return
        raise
    if isinstance(content, dict) and "ids" in content and "nextid" in content:
        yield from parse_ase(path)
        return
    rows = content.get("structures", [content]) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise StructureError("not a structure, nor a list of them")
    for row in rows:
        yield row_structure(row)


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return StructureError(f"broken JSON: {error}")


def row_structure(row: Any) -> RawStructure:
    """Return the structure of a row (lattice, species, frac_coords), or of a pymatgen dict, also nested."""
    if isinstance(row, EngineError):
        return RawStructure(error=row)
    if not isinstance(row, dict):
        return RawStructure(error=StructureError(f"a row is {type(row).__name__}, not an object"))
    name = next(
        (row[key] for key in ("id", "material_id", "entry_id") if isinstance(row.get(key), str | int)), None
    )
    identity = None if name is None else str(name)
    source = row.get("source") if isinstance(row.get("source"), str) else None
    try:
        structure, remarks = structure_of(row)
        return RawStructure(identity, structure, source=source, remarks=remarks)
    except EngineError as error:
        return RawStructure(identity, error=error, source=source)
    except Exception as error:
        problem = StructureError(f"broken row: {type(error).__name__}: {' '.join(str(error).split())}")
        return RawStructure(identity, error=problem, source=source)


def parse_ase(path: Path) -> Parser:
    """Yield the rows of an ASE database."""
    from ase.db import connect

    with path.open("rb") as stream:
        start = stream.read(16)
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        raise StructureError("a packed ASE database; unpack it")
    if path.suffix == ".db" and start != SQLITE:
        raise StructureError("not an ASE database (SQLite)")
    for row in connect(path, use_lock_file=False).select():
        pairs = row.key_value_pairs
        name = pairs.get("candidate_id", pairs.get("id", pairs.get("material_id")))
        identity = None if name is None else str(name)
        try:
            yield RawStructure(identity, ase_structure(row))
        except EngineError as error:
            yield RawStructure(identity, error=error)
        except Exception as error:
            yield RawStructure(identity, error=StructureError(f"broken row: {' '.join(str(error).split())}"))


def ase_structure(atoms: Any) -> Structure:
    """Return the crystal of ASE Atoms or of a database's row; calculators and constraints are left alone.

    Raises:
        StructureError: it does not repeat in three directions.
        UnsupportedElementError: a dummy atom, or an element beyond Lr.
    """
    require_periodic(atoms.pbc)
    numbers = [int(z) for z in atoms.numbers]
    odd = next((z for z in numbers if not 1 <= z <= N_ELEMENTS), None)
    if odd is not None:
        what = "a dummy atom (X), not an element" if odd == 0 else f"not one of 1 to {N_ELEMENTS}"
        raise UnsupportedElementError(f"atomic number {odd} is {what}")
    species = [ELEMENT_SYMBOLS[z - 1] for z in numbers]
    lattice = Lattice(np.asarray(atoms.cell))
    return Structure(lattice, species, atoms.positions, coords_are_cartesian=True)


_PARSERS: dict[str, Callable[[Path], Parser]] = {
    "cif": parse_cif,
    "poscar": parse_poscar,
    "xyz": parse_xyz,
    "jsonl": parse_jsonl,
    "json": parse_json,
    "ase": parse_ase,
}
