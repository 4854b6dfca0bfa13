"""Structures from the files that users have: one record each, an error record instead of an exception."""

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from pymatgen.core import Element, PeriodicSite, Structure

from inverse.inputs.file_formats import RawStructure, ase_structure, parse_file, recognised_format
from inverse.inputs.formats.cells import FULL, MAX_ATOMS, require_lattice, require_places
from inverse.inputs.formats.contacts import (
    COLLIDING,
    LONELY,
    SAME_PLACE,
    closest_contact,
    coinciding,
    loneliest_contact,
    widest_gaps,
)
from inverse.inputs.formats.extended_xyz import require_periodic
from inverse.inputs.formats.symbols import HEAVY_HYDROGEN
from inverse.inputs.remarks import Remark, RemarkKind
from surrogates.errors import DataError, EngineError, StructureError
from surrogates.physics.periodic_table import element_index

VACUUM = 8.0
"""Å; wider gaps between layers of atoms are vacuum: no crystal without holes has them."""

Given = str | Path | Structure | Atoms
"""What is taken where a crystal is asked for: a file, a folder, a pymatgen Structure, ASE Atoms."""

MOST_WARNINGS = 5
"""Warnings of libraries that become remarks of one structure."""


@dataclass(frozen=True)
class ReadStructure:
    """One structure of a file, or why it could not be read.

    Attributes:
        id: the row's own id, else `<file name>[#index]`.
        file: path as given.
        structure: None when it could not be read.
        error: None when it could.
        source: `source` of the row, for rows of the elasticity set.
        remarks: what there is to say of the structure; a flag each, wherever it is answered.
    """

    id: str
    file: str
    structure: Structure | None = None
    error: EngineError | None = None
    source: str | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def flags(self) -> list[str]:
        """What there is to say of the structure, as users see it."""
        return [str(remark) for remark in self.remarks]


def read_structures(paths: Iterable[str | Path], ordered: bool = True) -> Iterator[ReadStructure]:
    """Yield one record per structure of the files and folders, in input order.

    CIF, POSCAR/CONTCAR, extxyz, pymatgen JSON (one or a list), `.jsonl` rows (lattice, species, frac_coords,
    id, source), ASE databases, also packed; a folder stands for its structure files in name order. `ordered`
    turns partial occupancy into an error record. Oxidation states and site properties are dropped.

    Raises:
        DataError: a path that does not exist, or a folder without structure files; names it. Raised before
            anything is read.
    """
    files = _expanded(paths)
    return itertools.chain.from_iterable(_file_records(path, ordered) for path in files)


def given_structure(crystal: Structure | Atoms, identity: str) -> ReadStructure:
    """Return the record of a crystal that is no file, or why it is none.

    Args:
        crystal: as somebody's program made it.
        identity: its id.
    """
    record = ReadStructure(identity, "")
    if isinstance(crystal, Structure):
        return examined(RawStructure(structure=crystal), record)
    try:
        return examined(RawStructure(structure=ase_structure(crystal)), record)
    except EngineError as error:
        return replace(record, error=error)
    except Exception as error:  # a flat cell, say
        return replace(record, error=StructureError(_one_line(error)))


def structure_files(folder: Path) -> list[Path]:
    """Return the structure files of a folder, in name order.

    Raises:
        DataError: there are none.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and recognised_format(p))
    if not files:
        raise DataError(f"{folder}: no structure file (CIF, POSCAR, extxyz, JSON, .jsonl.gz, ASE .db) in it")
    return files


def _expanded(paths: Iterable[str | Path]) -> list[Path]:
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
    return files


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
        where = f"{path.name}{f'#{index}' if several else ''}"
        if raw.error is not None:
            yield ReadStructure(identity, str(path), error=_named(raw.error, where), source=raw.source)
        else:
            yield examined(raw, ReadStructure(identity, str(path), source=raw.source), where, ordered)


def examined(
    raw: RawStructure, record: ReadStructure, where: str = "", ordered: bool = True
) -> ReadStructure:
    """Return a record with the structure that was found, or with the reason why it is none.

    Args:
        raw: as a parser, or the caller, gives it.
        record: id, file and source.
        where: stands before the reason.
        ordered: as in `read_structures`.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            structure = checked(raw.structure, ordered)
            found = remarks_on(structure)
        remarks = tuple(dict.fromkeys([*raw.remarks, *_isotopes(raw.structure), *found, *_warnings(caught)]))
        return replace(record, structure=structure, remarks=remarks)
    except EngineError as problem:
        return replace(record, error=_named(problem, where))
    except Exception as problem:
        return replace(record, error=_named(StructureError(_one_line(problem)), where))


def _named(error: EngineError, where: str) -> EngineError:
    text = _one_line(error)
    return type(error)(f"{where}: {text}" if where else text)


def _guarded(path: Path) -> Iterator[RawStructure]:
    """Yield what the parser yields; an exception of the parser ends the file with one error record.

    So does a library that asks the process to exit. What libraries warn of becomes remarks.
    """
    parser = parse_file(path)
    while True:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                raw = next(parser)
            except StopIteration:
                return
            except EngineError as error:
                raw = RawStructure(error=error)
            except SystemExit as error:
                raw = RawStructure(error=StructureError(f"cannot be read: a library wants to exit ({error})"))
            except Exception as error:
                raw = RawStructure(error=StructureError(f"cannot be read: {_one_line(error)}"))
        yield replace(raw, remarks=[*raw.remarks, *_warnings(caught)])
        # a parser that raised is exhausted: its next turn ends the file


def _warnings(caught: Sequence[warnings.WarningMessage]) -> list[Remark]:
    """Return what libraries said of a structure; not what they say of themselves."""
    about_code = (
        DeprecationWarning | PendingDeprecationWarning | FutureWarning | ImportWarning | ResourceWarning
    )
    texts = [_one_line(one.message) for one in caught if not isinstance(one.message, about_code)]
    return [Remark(RemarkKind.WARNING, text) for text in dict.fromkeys(texts)][:MOST_WARNINGS]


def checked(structure: Structure | None, ordered: bool = True) -> Structure:
    """Return the bare crystal (lattice, species, coordinates) of a structure that makes sense.

    A site within the tolerance of full is full; species of one element on a site are one atom.

    Raises:
        StructureError: no atoms, too many, numbers that are not finite, a flat or needle-like cell, one that
            does not repeat in three directions, partial occupancy where an ordered crystal is needed, more
            than one atom on a place.
        UnsupportedElementError: an element beyond Lr, or a dummy species.
    """
    if not isinstance(structure, Structure) or len(structure) == 0:
        raise StructureError("a structure without atoms")
    if len(structure) > MAX_ATOMS:
        raise StructureError(f"{len(structure)} atoms in the cell; at most {MAX_ATOMS}")
    matrix, coords = np.asarray(structure.lattice.matrix), np.asarray(structure.frac_coords)
    require_periodic(structure.lattice.pbc)
    require_lattice(matrix)
    require_places(matrix, coords)
    coords = coords - np.where(np.abs(coords) > 1.0, np.floor(coords), 0.0)
    species = [_species(site, f"{site.label} (atom {k + 1})", ordered) for k, site in enumerate(structure)]
    pair = coinciding(matrix, coords, SAME_PLACE)
    if pair is not None:
        names = " and ".join(f"{k + 1} ({'/'.join(species[k])})" for k in pair)
        raise StructureError(f"atoms {names} stand on one place")
    return Structure(structure.lattice, species, coords)


def _species(site: PeriodicSite, where: str, ordered: bool) -> dict[str, float]:
    """Return element -> amount of a site.

    Raises:
        StructureError: not one atom; names the site.
        UnsupportedElementError: no element from H to Lr.
    """
    amounts: dict[str, float] = {}
    for kind, amount in site.species.items():
        symbol = str(getattr(getattr(kind, "element", kind), "symbol", kind))
        element_index(symbol)
        amounts[symbol] = amounts.get(symbol, 0.0) + float(amount)
    total = sum(amounts.values())
    if not 0 < total <= 1 + FULL + 1e-9:
        raise StructureError(f"site {where} is occupied by {total:.3g} atoms")
    if total < 1 - FULL - 1e-9 or len(amounts) > 1:
        if ordered:
            shown = ", ".join(f"{symbol} {amount:.4g}" for symbol, amount in amounts.items())
            raise StructureError(f"partial occupancy: site {where} holds {shown}; order the structure first")
        return amounts
    return {symbol: amount / total for symbol, amount in amounts.items()}


def _isotopes(structure: Structure | None) -> list[Remark]:
    """Return a remark for each heavy hydrogen that pymatgen takes for H."""
    found = set()
    for site in structure or ():
        for kind in site.species:
            element = getattr(kind, "element", kind)
            if isinstance(element, Element) and element.name != element.symbol:
                found.add(
                    f"{element.name} ({HEAVY_HYDROGEN.get(element.name, 'isotope')}) read as {element.symbol}"
                )
    return [Remark(RemarkKind.ISOTOPE, text) for text in sorted(found)]


def remarks_on(structure: Structure) -> list[Remark]:
    """Return what there is to say of a sound structure: atoms that collide, or stand alone; wide gaps."""
    remarks = []
    contact = closest_contact(structure)
    if contact < COLLIDING:
        text = f"atoms {contact:.2g} times the sum of their radii apart: no crystal has them so close"
        remarks.append(Remark(RemarkKind.CONTACT, text))
    elif not any(element.is_noble_gas for element in structure.composition.element_composition):
        lonely = loneliest_contact(structure)
        if lonely > LONELY:
            far = f"{lonely:.2g} times the sum of radii away" if math.isfinite(lonely) else "nowhere near"
            text = f"the nearest neighbour of an atom is {far}: atoms missing, or another unit of length?"
            remarks.append(Remark(RemarkKind.CONTACT, text))
    gaps = widest_gaps(np.asarray(structure.lattice.matrix), np.asarray(structure.frac_coords))
    wide = [f"{gap:.0f} Å along {name}" for gap, name in zip(gaps, "abc", strict=True) if gap > VACUUM]
    if wide:
        text = f"vacuum of {' and '.join(wide)}: values are of the cell with its vacuum"
        remarks.append(Remark(RemarkKind.VACUUM, text))
    return remarks


def _one_line(error: object) -> str:
    """Return an exception's message as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
