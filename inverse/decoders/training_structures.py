"""Every shared structure of at most 24 atoms, standardised once: what the decoder's training reads."""

import gzip
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from inverse.decoders.conditioning import CONDITIONED
from surrogates.crystals.standardisation import StandardCrystal, standardise
from surrogates.crystals.wyckoff import wyckoff_positions
from surrogates.errors import DataError, EngineError
from surrogates.platform.data_folder import SETTING, data_folder
from surrogates.platform.whole_files import replacing

LOGGER = logging.getLogger("inverse.decoders")

FILES = ("elasticity", "mp_structures", "wbm")
MAX_ATOMS = 24


def require_data() -> None:
    """Raise DataError, which names the setting, where the shared data are absent."""
    for folder in ("tables", "structures"):
        if not (data_folder() / folder).is_dir():
            raise DataError(f"{data_folder()} has no {folder}/; set {SETTING} to the folder that holds it")


def read_rows() -> Iterator[dict[str, Any]]:
    """Yield the rows of the structure files that have at most 4 * 24 atoms as written.

    Raises:
        DataError: a file is missing; names the setting.
    """
    for name in FILES:
        path = data_folder() / "structures" / f"{name}.jsonl.gz"
        if not path.is_file():
            raise DataError(f"{path} is missing; set {SETTING} to the folder that holds structures/")
        with gzip.open(path, "rt") as file:
            for line in file:
                row = json.loads(line)
                if len(row["species"]) <= 4 * MAX_ATOMS:
                    yield {**row, "file": name}


def standard_row(row: dict[str, Any]) -> tuple[StandardCrystal, int] | None:
    """Return the standardised crystal and its primitive atoms; None when too large or refused."""
    structure = Structure(Lattice(row["lattice"]), row["species"], row["frac_coords"])
    try:
        crystal = standardise(structure, 0.01)
    except EngineError:
        return None
    positions = wyckoff_positions(crystal.space_group)
    n_atoms = sum(positions[site.wyckoff].primitive_multiplicity for site in crystal.sites)
    return (crystal, n_atoms) if n_atoms <= MAX_ATOMS else None


def write_structures(path: Path) -> None:
    """Write the table of standardised crystals (npz), duplicates (formula, group, orbits) merged.

    Raises:
        DataError: the shared structures are missing.
    """
    seen: dict[tuple, int] = {}
    crystals: list[StandardCrystal] = []
    values: list[list[float]] = []
    formulas: list[str] = []
    sources: list[str] = []
    for number, row in enumerate(read_rows()):
        found = standard_row(row)
        if number % 5000 == 0:
            LOGGER.info("%d rows, %d crystals", number, len(crystals))
        if found is None:
            continue
        crystal, _ = found
        key = (row["formula"], crystal.space_group, tuple((s.wyckoff, s.element) for s in crystal.sites))
        numbers = [float("nan") if row.get(n) is None else float(row[n]) for n in CONDITIONED]
        if key in seen:
            old = values[seen[key]]
            values[seen[key]] = [b if np.isnan(a) else a for a, b in zip(old, numbers, strict=True)]
            continue
        seen[key] = len(crystals)
        crystals.append(crystal)
        values.append(numbers)
        formulas.append(row["formula"])
        sources.append(row["source"])
    sites = [site for crystal in crystals for site in crystal.sites]
    table: dict[str, Any] = {
        "formula": np.array(formulas),
        "source": np.array(sources),
        "values": np.array(values, dtype=np.float32),
        "space_group": np.array([c.space_group for c in crystals], dtype=np.int16),
        "free_lattice": np.array([c.free_lattice for c in crystals], dtype=np.float32),
        "n_sites": np.array([len(c.sites) for c in crystals], dtype=np.int16),
        "wyckoff": np.array([s.wyckoff for s in sites], dtype=np.int8),
        "element": np.array([s.element for s in sites], dtype=np.int8),
        "free_coords": np.array([s.free_coords for s in sites], dtype=np.float32),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as fresh, Path(fresh).open("wb") as file:
        np.savez(file, **table)
    LOGGER.info("%d distinct crystals, %d sites", len(crystals), len(sites))
