"""Structures from the files that users have: one record each, an error record instead of an exception."""

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from inverse.file_formats import RawStructure, parse_file, recognised_format
from surrogates.errors import DataError, EngineError, StructureError
from surrogates.periodic_table import element_index, refuse_isotopes

MAX_ATOMS = 20_000
"""A file that holds more atoms in one cell is refused: no model here answers it."""


@dataclass(frozen=True)
class ReadStructure:
    """One structure of a file, or why it could not be read.

    Attributes:
        id: the row's own id, else `<file name>[#index]`.
        file: path as given.
        structure: None when it could not be read.
        error: None when it could.
        source: `source` of the row, for rows of the elasticity set.
    """

    id: str
    file: str
    structure: Structure | None = None
    error: EngineError | None = None
    source: str | None = None


def read_structures(paths: Iterable[str | Path], ordered: bool = True) -> Iterator[ReadStructure]:
    """Yield one record per structure of the files and folders, in input order.

    CIF, POSCAR/CONTCAR, extxyz, pymatgen JSON (one or a list), `.jsonl[.gz]` rows (lattice, species,
    frac_coords, id, source), ASE databases; a folder stands for its structure files in name order. `ordered`
    turns partial occupancy into an error record. Oxidation states and site properties are dropped.

    Raises:
        DataError: a path that does not exist, or a folder without structure files; names it. Raised before
            anything is read.
    """
    return itertools.chain.from_iterable(map(_file_records, *_expanded(paths, ordered)))


def structure_files(folder: Path) -> list[Path]:
    """Return the structure files of a folder, in name order.

    Raises:
        DataError: there are none.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and recognised_format(p))
    if not files:
        raise DataError(f"{folder}: no structure file (CIF, POSCAR, extxyz, JSON, .jsonl.gz, ASE .db) in it")
    return files


def _expanded(paths: Iterable[str | Path], ordered: bool) -> tuple[list[Path], list[bool]]:
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        try:
            if path.is_dir():
                files.extend(structure_files(path))
            elif path.exists():
                files.append(path)
            else:
                raise DataError(f"{given}: no such file or folder{_neighbour(path)}")
        except (OSError, ValueError) as error:
            raise DataError(f"{given}: {_one_line(error)}") from None
    return files, [ordered] * len(files)


def _neighbour(path: Path) -> str:
    """Return a hint at the most similar name in the same folder."""
    from difflib import get_close_matches

    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {str(path.parent / close[0])!r}?" if close else ""


def _file_records(path: Path, ordered: bool) -> Iterator[ReadStructure]:
    """Yield the records of one file; the index goes into the id where the file holds several."""
    raws = _guarded(path)
    first = next(raws, None)
    if first is None:
        yield ReadStructure(path.name, str(path), error=StructureError(f"{path.name}: holds no structure"))
        return
    second = next(raws, None)
    several = second is not None
    for index, raw in enumerate(itertools.chain([first], [second] if second is not None else [], raws)):
        identity = raw.id or (f"{path.name}#{index}" if several else path.name)
        error = raw.error
        structure = None
        if error is None:
            try:
                structure = checked(raw.structure, ordered)
            except EngineError as problem:
                error = problem
            except Exception as problem:
                error = StructureError(_one_line(problem))
        if error is not None:
            error = type(error)(f"{path.name}{f'#{index}' if several else ''}: {_one_line(error)}")
        yield ReadStructure(identity, str(path), structure, error, raw.source)


def _guarded(path: Path) -> Iterator[RawStructure]:
    """Yield what the parser yields; an exception of the parser ends the file with one error record."""
    parser = parse_file(path)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                raw = next(parser)
        except StopIteration:
            return
        except EngineError as error:
            raw = RawStructure(error=error)
        except Exception as error:
            raw = RawStructure(error=StructureError(f"cannot be read: {_one_line(error)}"))
        yield raw  # a parser that raised is exhausted: its next turn ends the file


def checked(structure: Structure | None, ordered: bool = True) -> Structure:
    """Return the bare crystal (lattice, species, coordinates) of a structure that makes sense.

    Raises:
        StructureError: no atoms, too many, numbers that are not finite, a flat cell, partial occupancy
            where an ordered crystal is needed, more than one atom on a site.
        UnsupportedElementError: an element beyond Lr, an isotope's name, or a dummy species.
    """
    if not isinstance(structure, Structure) or len(structure) == 0:
        raise StructureError("a structure without atoms")
    if len(structure) > MAX_ATOMS:
        raise StructureError(f"{len(structure)} atoms in the cell; at most {MAX_ATOMS}")
    matrix, coords = np.asarray(structure.lattice.matrix), np.asarray(structure.frac_coords)
    if not (np.isfinite(matrix).all() and np.isfinite(coords).all()):
        raise StructureError("lattice or coordinates hold a number that is not finite")
    volume = abs(float(np.linalg.det(matrix)))
    if not 0.1 * len(structure) < volume < 1e5 * len(structure):
        raise StructureError(f"the cell has {volume / len(structure):.3g} Å³ per atom")
    species = []
    for site in structure:
        refuse_isotopes(site.species)
        amounts: dict[str, float] = {}
        for kind, amount in site.species.items():
            symbol = str(getattr(getattr(kind, "element", kind), "symbol", kind))
            element_index(symbol)
            amounts[symbol] = amounts.get(symbol, 0.0) + float(amount)
        total = sum(amounts.values())
        if not math.isfinite(total) or total > 1.001 or total <= 0:
            raise StructureError(f"a site is occupied by {total:.3g} atoms")
        if ordered and (len(amounts) > 1 or total < 0.999):
            raise StructureError(
                f"partial occupancy ({dict(amounts)} on one site); order the structure first"
            )
        species.append(amounts)
    return Structure(structure.lattice, species, coords)


def _one_line(error: object) -> str:
    """Return an exception's message as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
