"""Verification store: what a potential said about a crystal is never computed twice, by any process."""

import json
import logging
import os
import sqlite3
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.records import plain, structure_to_record
from inverse.verification.potentials import potential_version
from inverse.verification.symmetric_cell import SymmetricCell
from surrogates.errors import DataError

LOGGER = logging.getLogger(__name__)

_SCHEMA = """CREATE TABLE IF NOT EXISTS verification (
    key TEXT PRIMARY KEY, formula TEXT NOT NULL, potential TEXT NOT NULL, task TEXT NOT NULL,
    settings TEXT NOT NULL, result TEXT NOT NULL, written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""


class VerificationStore:
    """Rows keyed by hash(structure, potential with version, task, settings) in one SQLite file.

    Several processes may read and write at once (WAL). A row that cannot be written is logged, not fatal:
    the store saves time, the run folder keeps the results.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        """Open or create the store; without a path the one named by INVERSE_STORE, else the user's cache.

        Raises:
            DataError: the file cannot be opened or is not a verification store.
        """
        self.path = Path(path) if path is not None else default_store_path()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60.0)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)
            self._connection.commit()
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"verification store {self.path} cannot be opened ({error}); point INVERSE_STORE at another"
            ) from None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result stored under a key, None when there is none.

        Raises:
            DataError: the store is damaged.
        """
        try:
            row = self._connection.execute("SELECT result FROM verification WHERE key = ?", (key,)).fetchone()
            return None if row is None else dict(json.loads(row[0]))
        except (sqlite3.Error, ValueError) as error:
            raise DataError(f"verification store {self.path} is damaged ({error}); move it away") from None

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        """Store a result; a later one under the same key replaces it."""
        text = json.dumps(plain(result))
        try:
            with self._connection:
                self._connection.execute(
                    "INSERT OR REPLACE INTO verification (key, formula, potential, task, settings, result) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (key, formula, potential, task, settings, text),
                )
        except sqlite3.Error as error:
            LOGGER.warning("verification store %s: a row was not written (%s)", self.path, error)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._connection.execute("SELECT COUNT(*) FROM verification").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def default_store_path() -> Path:
    """Return the file INVERSE_STORE names, else `inverse/verifications.db` in the user's cache folder."""
    named = os.environ.get("INVERSE_STORE")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "inverse" / "verifications.db"


def canonical_structure(structure: Structure, symprec: float = 0.01) -> Structure:
    """Return the standardised primitive cell, sorted and rounded: what a judge sees and a key is made of.

    Lattice to 1e-5 Å, fractional coordinates to 1e-6.

    Raises:
        StructureError: partial occupancy, no atoms, values that are not finite, a flat cell.
        UnsupportedElementError: an element beyond Lr.
    """
    cell = SymmetricCell.from_structure(structure, symprec)
    frac_coords = np.round(cell.frac_coords, 6) % 1.0 + 0.0
    order = np.lexsort((frac_coords[:, 2], frac_coords[:, 1], frac_coords[:, 0], cell.numbers))
    return Structure(
        np.round(cell.lattice, 5) + 0.0, cell.numbers[order].tolist(), frac_coords[order].tolist()
    )


def verification_key(structure: Structure, potential: str, task: str, settings: str) -> str:
    """Return the store's key of a canonical structure; the potential's version is part of it."""
    record = structure_to_record(structure)
    content = [record, potential, potential_version(potential), task, settings]
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
