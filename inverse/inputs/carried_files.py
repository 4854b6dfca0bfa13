"""What a config names outside itself, seeds and the user's surrogates: checked, hashed, carried along."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ase import Atoms
from pymatgen.core import Structure

from inverse.inputs.structure_files import given_structure, read_structures
from inverse.inputs.yaml_reading import one_line, shown_path
from surrogates.crystals.formulas import plain_formula
from surrogates.errors import ConfigError, EngineError
from surrogates.physics.properties import Property

FOLDERS = {"seed_structures": "seeds", "surrogates": "surrogates", "search.surrogate": "searched_with"}
"""Key of the config -> folder of the copies inside a run folder."""

KINDS_OF_THE_PROGRAM = ("composition", "composition_groups", "structure", "stack")
"""Kinds of checkpoint that no user's table becomes."""

PRIMITIVE_WITHIN = 0.01
"""Å, within which two sites of a seed count as images of one another."""


@dataclass(frozen=True)
class Seed:
    """A crystal to start from.

    Attributes:
        name: of its file, with the index where the file holds several.
        structure: ordered, primitive cell.
        flags: what the reader had to say of it.
    """

    name: str
    structure: Structure
    flags: tuple[str, ...] = ()


def read_seeds(paths: Sequence[Path]) -> tuple[Seed, ...]:
    """Return the crystals of seed files in order.

    Raises:
        ConfigError: a file that is missing, is a folder, cannot be read or holds no ordered crystal.
    """
    return tuple(seed for path in paths for seed in _read(path, _state(path)))


def seeds_as_files(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a config whose seeds are all files: crystals among them are written as CIFs to a folder.

    Args:
        config: a mapping as a user writes it; `seed_structures` may hold pymatgen Structures and ASE Atoms.
        folder: for the files, which must last until a run folder has its copies.

    Raises:
        ConfigError: a crystal that nothing can be made of.
    """
    given = config.get("seed_structures")
    if not isinstance(given, list | tuple):
        return dict(config)
    return {**config, "seed_structures": [_as_file(one, folder, k) for k, one in enumerate(given, start=1)]}


def _as_file(seed: object, folder: Path, number: int) -> object:
    if not isinstance(seed, Structure | Atoms):
        return str(seed) if isinstance(seed, Path) else seed
    record = given_structure(seed, f"number {number}")
    if record.structure is None:
        raise ConfigError(f"seed_structures: {record.id}: {one_line(record.error)}")
    path = folder / str(number) / f"{plain_formula(record.structure.composition)}.json"
    path.parent.mkdir()
    path.write_text(record.structure.to_json(), encoding="utf-8")
    return str(path)


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file does: time of writing and size; None where there is no file to read."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=256)
def _read(path: Path, state: tuple[int, int] | None) -> tuple[Seed, ...]:
    """Return the crystals of one file, read once a process in the same state."""
    where = f"seed_structures: {shown_path(path)}"
    try:
        if path.is_dir():
            raise ConfigError(f"{where}: is a folder; name the files in it")
        if not path.exists():
            raise ConfigError(f"{where}: no such file")
        records = list(read_structures([path]))
    except (OSError, ValueError, EngineError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: {one_line(error)}") from None
    seeds = []
    for record in records:
        if record.structure is None:
            raise ConfigError(f"{where}: {one_line(record.error)}")
        try:
            primitive = record.structure.get_primitive_structure(PRIMITIVE_WITHIN)
        except Exception as error:  # a library gives up on a cell that the reader let pass
            raise ConfigError(f"{where}: {record.id}: no primitive cell ({one_line(error)})") from None
        seeds.append(Seed(record.id, primitive, tuple(record.flags)))
    return tuple(seeds)


@dataclass(frozen=True)
class Trained:
    """A surrogate of the user's own table.

    Attributes:
        folder: of its weights.
        property: what it predicts.
    """

    folder: Path
    property: Property


def read_trained(folders: Sequence[Path]) -> tuple[Trained, ...]:
    """Return what the surrogates in folders of weights predict; each is read, and tried on one element.

    Raises:
        ConfigError: a folder that holds no surrogate of a table, or two of one property.
    """
    from surrogates.checkpoints.checkpoint import load_manifest, load_surrogate

    found: dict[str, Trained] = {}
    for folder in folders:
        where = f"surrogates: {shown_path(folder)}"
        try:
            known, manifest = load_surrogate(folder).properties, load_manifest(folder)
            if manifest["kind"] in KINDS_OF_THE_PROGRAM or len(known) != 1:
                hint = "only one property of a user's table fits here; see search.surrogate"
                raise ConfigError(f"{where}: is of kind {manifest['kind']!r}; {hint}")
            own = Trained(folder, known[0])
        except ConfigError:
            raise
        except (EngineError, OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{where}: holds no weights of `inverse train` ({one_line(error)})") from None
        if own.property.name in found:
            first = found[own.property.name].folder
            raise ConfigError(f"{where}: predicts {own.property.name!r}, as does {first}")
        found[own.property.name] = own
    return tuple(found.values())


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of the files of a folder; a copy elsewhere has the same."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def carried_paths(key: str, paths: Sequence[Path]) -> list[Path]:
    """Return where copies lie, relative to a run folder: it must tell its story alone.

    Args:
        key: of the config.
        paths: files or folders named there.
    """
    return [Path(FOLDERS[key]) / f"{number:02d}-{path.name}" for number, path in enumerate(paths, start=1)]


def carry(inputs: Mapping[str, Sequence[Path]], folder: Path) -> None:
    """Copy files and folders, by key of the config, to where `carried_paths` says.

    Raises:
        OSError: as the file system says.
    """
    for key, paths in inputs.items():
        (folder / FOLDERS[key]).mkdir(exist_ok=True)
        for path, own in zip(paths, carried_paths(key, paths), strict=True):
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, folder / own)


def forget_carried(folder: Path) -> None:
    """Remove what `carry` wrote."""
    for own in FOLDERS.values():
        shutil.rmtree(folder / own, ignore_errors=True)
