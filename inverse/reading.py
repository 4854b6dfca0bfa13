"""Structures from the files that users have; one record per structure, an error record instead of an exception."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pymatgen.core import Structure

from surrogates.errors import EngineError


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
    frac_coords, id, source), ASE databases; a folder stands for its files in name order. `ordered`
    turns partial occupancy into an error record.

    Raises:
        DataError: a path that does not exist; names it. Raised before anything is read.
    """
    raise NotImplementedError
