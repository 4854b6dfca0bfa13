"""One generator per file format: what a file holds, structure by structure, not yet checked."""

import gzip
import json
import re
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pymatgen.core import Lattice, Structure

from surrogates.errors import DataError, EngineError, StructureError

CIF_SUFFIXES = (".cif", ".mcif")
POSCAR_SUFFIXES = (".vasp", ".poscar", ".contcar")
XYZ_SUFFIXES = (".extxyz", ".xyz")


@dataclass(frozen=True)
class RawStructure:
    """One structure as found: its own id (None: it has none), or the error in its place."""

    id: str | None = None
    structure: Structure | None = None
    error: EngineError | None = None
    source: str | None = None


Parser = Generator[RawStructure, None, None]


def recognised_format(path: Path) -> str | None:
    """Return 'cif', 'poscar', 'xyz', 'jsonl', 'json' or 'ase' by a file's name, else None."""
    name = path.name.lower().removesuffix(".gz")
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
            "unknown file format; valid: .cif, POSCAR, CONTCAR, .vasp, .extxyz, .xyz, .json, .jsonl[.gz], .db"
        )
        yield RawStructure(error=problem)
        return
    try:
        yield from _PARSERS[kind](path)
    except EOFError:
        raise DataError("the compressed file is cut off") from None
    except OSError as error:
        if error.strerror is None:  # a parser's own complaint, not the operating system's
            raise
        raise DataError(f"cannot be opened: {error.strerror}") from None


def open_text(path: Path) -> IO[str]:
    """Return a text stream of a plain or gzipped file."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    if zipped:
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def read_text(path: Path) -> str:
    """Return the text of a plain or gzipped file that is not empty.

    Raises:
        StructureError: nothing in it.
    """
    with open_text(path) as stream:
        text = stream.read()
    if not text.strip():
        raise StructureError("the file is empty")
    return text


def parse_cif(path: Path) -> Parser:
    """Yield a structure per data block that describes a crystal."""
    blocks = [b for b in re.split(r"(?m)^(?=data_)", read_text(path)) if b.startswith("data_")]
    crystals = [b for b in blocks if "_atom_site" in b or "_cell_length" in b]
    if not crystals:
        raise StructureError("no data block with a cell and atoms; not a CIF")
    for block in crystals:
        try:
            yield RawStructure(structure=cif_structure(block))
        except EngineError as error:
            yield RawStructure(error=error)
        except Exception as error:
            yield RawStructure(error=StructureError(f"broken CIF: {' '.join(str(error).split())}"))


def cif_structure(block: str) -> Structure:
    """Return the structure of one CIF data block, its full conventional cell as written."""
    import io

    from pymatgen.io.cif import CifParser

    for name in ("_cell_length_a", "_cell_angle_alpha", "_atom_site"):
        if name not in block:
            raise StructureError(f"broken CIF: no {name}")
    structures = CifParser(io.StringIO(block)).parse_structures(primitive=False, on_error="raise")
    if not structures:
        raise StructureError("broken CIF: no structure in it")
    return structures[0]


def parse_poscar(path: Path) -> Parser:
    """Yield the one structure of a POSCAR or CONTCAR."""
    from pymatgen.io.vasp import Poscar

    text = read_text(path)
    lines = text.splitlines()
    counts = [int(n) for line in lines[5:7] for n in line.split() if re.fullmatch(r"\d{1,12}", n)]
    if sum(counts) > len(lines):
        raise StructureError(f"broken POSCAR: {sum(counts)} atoms announced in {len(lines)} lines")
    if not re.search(r"[A-Za-z]", " ".join(lines[5:6])):
        raise StructureError("POSCAR without element symbols (VASP 4 format); add them in line 6")
    yield RawStructure(structure=Poscar.from_str(text, read_velocities=False).structure)


def parse_xyz(path: Path) -> Parser:
    """Yield the periodic frames of an extended XYZ file."""
    import io

    import ase.io
    from pymatgen.io.ase import AseAtomsAdaptor

    text = read_text(path)
    announced = [int(line) for line in re.findall(r"(?m)^\s*\+?(\d{1,300})\s*$", text)]
    n_lines = text.count("\n") + 1
    if max(announced, default=0) > n_lines:  # ase would look for them for hours
        raise StructureError(f"broken XYZ: {max(announced)} atoms announced in {n_lines} lines")
    stream = io.StringIO(text)
    for atoms in ase.io.iread(stream, index=":", format="extxyz"):
        if atoms.cell.rank < 3:
            yield RawStructure(error=StructureError("no Lattice in the comment line: not a crystal"))
            continue
        name = atoms.info.get("id", atoms.info.get("material_id"))
        structure = AseAtomsAdaptor.get_structure(atoms)
        yield RawStructure(None if name is None else str(name), structure)


def parse_jsonl(path: Path) -> Parser:
    """Yield a structure per line; a broken line is one error record."""
    with open_text(path) as lines:
        for line in lines:
            if line.strip():
                yield row_structure(_json(line))


def parse_json(path: Path) -> Parser:
    """Yield the structures of a pymatgen JSON: one, a list, or rows; an ASE JSON database; JSON lines."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except ValueError:
        if (
            text.count("\n")
            and text.lstrip().startswith("{")
            and isinstance(_json(text.split("\n")[0]), dict)
        ):
            yield from parse_jsonl(path)
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
        return RawStructure(identity, _structure_of(row), source=source)
    except EngineError as error:
        return RawStructure(identity, error=error, source=source)
    except Exception as error:
        problem = StructureError(f"broken row: {type(error).__name__}: {' '.join(str(error).split())}")
        return RawStructure(identity, error=problem, source=source)


def _structure_of(row: dict[str, Any]) -> Structure:
    if isinstance(row.get("structure"), dict):
        return _structure_of(row["structure"])
    if "sites" in row:
        return Structure.from_dict(row)
    missing = [key for key in ("lattice", "species", "frac_coords") if key not in row]
    if missing:
        raise StructureError(f"a row without {' and '.join(missing)}")
    if len(row["species"]) != len(row["frac_coords"]):
        raise StructureError(f"{len(row['species'])} species for {len(row['frac_coords'])} coordinates")
    from surrogates.periodic_table import element_index

    for symbol in row["species"]:
        if isinstance(symbol, str):
            element_index(re.sub(r"\d*[+-]$", "", symbol))
    return Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])


def parse_ase(path: Path) -> Parser:
    """Yield the rows of an ASE database."""
    from ase.db import connect
    from pymatgen.io.ase import AseAtomsAdaptor

    with path.open("rb") as stream:
        start = stream.read(16)
    if path.suffix == ".db" and start != b"SQLite format 3\x00":
        raise StructureError("not an ASE database (SQLite)")
    rows: Iterable[Any] = connect(path, use_lock_file=False).select()
    for row in rows:
        pairs = row.key_value_pairs
        name = pairs.get("candidate_id", pairs.get("id", pairs.get("material_id")))
        identity = None if name is None else str(name)
        try:
            yield RawStructure(identity, AseAtomsAdaptor.get_structure(row.toatoms()))
        except Exception as error:
            yield RawStructure(identity, error=StructureError(f"broken row: {' '.join(str(error).split())}"))


_PARSERS: dict[str, Callable[[Path], Parser]] = {
    "cif": parse_cif,
    "poscar": parse_poscar,
    "xyz": parse_xyz,
    "jsonl": parse_jsonl,
    "json": parse_json,
    "ase": parse_ase,
}
