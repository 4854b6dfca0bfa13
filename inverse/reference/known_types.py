"""Structure types of everything known: is the type of a crystal among them, and what is it called?"""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import StructureType, TypeNovelty
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import SYMPRECS, Cell, parent_prototype, signature_text
from inverse.reference.structure_types import structure_type
from surrogates.errors import DataError, StructureError


@dataclass(frozen=True)
class NamedPrototype:
    """A prototype that has a name.

    Attributes:
        name: as it is called, "CrB", "rutile".
        structure: a crystal of it.
    """

    name: str
    structure: Structure


@dataclass(frozen=True)
class KnownTypes:
    """Every structure type of a carried crystal, and of what it is when alike elements are one.

    Attributes:
        types: of `structure_type`.
        named: prototypes that have a name, by type.
    """

    types: frozenset[str]
    named: Mapping[str, tuple[NamedPrototype, ...]]

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "KnownTypes":
        """Return what ships with the package, read once per process.

        Raises:
            DataError: a file is missing or damaged.
        """
        folder = PACKAGE_DATA
        return cls.read(folder / "structure_types.parquet", folder / "named_prototypes.json.gz")

    @classmethod
    def read(cls, types: Path, named: Path) -> "KnownTypes":
        """Return the types of a parquet file with a column `type`, and the prototypes of a compressed JSON.

        Raises:
            DataError: a file is missing or damaged.
        """
        import pyarrow.parquet as parquet

        prototypes: dict[str, tuple[NamedPrototype, ...]] = {}
        try:
            known = frozenset(parquet.read_table(types, columns=["type"])["type"].to_pylist())
            for row in json.loads(gzip.decompress(named.read_bytes())):
                structure = Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])
                own = NamedPrototype(str(row["name"]), structure)
                prototypes[row["type"]] = (*prototypes.get(row["type"], ()), own)
        except (OSError, EOFError, zlib.error, KeyError, ValueError, TypeError) as error:
            raise DataError(f"structure types in {types.parent} cannot be read: {error}") from None
        return cls(known, prototypes)

    def of(self, structures: Sequence[Structure]) -> StructureType | None:
        """Return the structure type of a crystal; None where spglib finds no symmetry at any tolerance.

        Known where one of its types is a carried one: those of its signatures at `SYMPRECS` and that of its
        parent prototype.

        Args:
            structures: the crystal as proposed, as each judge relaxed it; the last has the best claim to the
                name.

        Raises:
            StructureError: not ordered, or not finite.
        """
        cells = [Cell.from_structure(structure) for structure in structures]
        own = [types_of(cell) for cell in cells]
        parents = [text for cell in cells if (text := _type_of_parent(cell))]
        if not any(own) and not parents:
            return None
        texts = {*(text for one in own for text in one), *parents}
        novelty = TypeNovelty.KNOWN if texts & self.types else TypeNovelty.NEW
        return StructureType(novelty, self._name(structures, own))

    def _name(self, structures: Sequence[Structure], types: Sequence[tuple[str, ...]]) -> str:
        """Return the usual name of a crystal's type, "CrB type"; "" where pymatgen's prototypes have none.

        The signature and the shape decide: `StructureMatcher` with pymatgen's tolerances for prototypes.

        Args:
            structures: as of `of`; asked from the last to the first.
            types: of each, see `types_of`.
        """
        for structure, own in reversed(list(zip(structures, types, strict=True))):
            for text in own:
                for prototype in self.named.get(text, ()):
                    if _is_like(structure, prototype.structure):
                        return f"{prototype.name} type"
        return ""


def types_of(cell: Cell) -> tuple[str, ...]:
    """Return the structure types of a cell at `SYMPRECS`, the finest first, each once."""
    texts = (signature_text(cell, symprec) for symprec in SYMPRECS)
    return tuple(dict.fromkeys(structure_type(text) for text in texts if text is not None))


def _type_of_parent(cell: Cell) -> str:
    try:
        return structure_type(parent_prototype(cell))
    except StructureError:
        return ""


def _is_like(structure: Structure, prototype: Structure) -> bool:
    matcher: Any = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    return bool(matcher.fit_anonymous(structure, prototype))
