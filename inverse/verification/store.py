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

from inverse.inputs.records import plain, structure_to_record
from inverse.potentials.loading import potential_version
from inverse.potentials.symmetric_cell import SymmetricCell
from surrogates.errors import DataError, EngineError

LOGGER = logging.getLogger(__name__)

_SCHEMA = """CREATE TABLE IF NOT EXISTS verification (
    key TEXT PRIMARY KEY, formula TEXT NOT NULL, potential TEXT NOT NULL, task TEXT NOT NULL,
    settings TEXT NOT NULL, result TEXT NOT NULL, written TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""


_FIRST_ROW = "SELECT key, formula, potential, task, settings, result FROM verification LIMIT 1"

_ONLY_READ = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What sqlite says of a place that may not, or cannot, be written."""

BUSY = 60.0
"""Seconds to wait for other processes that write."""

DAMAGE = (EngineError, ValueError, TypeError, KeyError, AttributeError)
"""What reading a damaged row raises."""


class VerificationStore:
    """Rows keyed by hash(structure, potential with version, task, settings) in one SQLite file.

    Several processes may read and write at once (WAL). A row that cannot be read is a miss, and one that
    cannot be written is logged, not fatal: the store saves time, the run folder keeps the results.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        """Open or create the store; without a path the one named by INVERSE_STORE, else the user's cache.

        Raises:
            DataError: the file cannot be opened or is not a verification store.
        """
        self.path = Path(path) if path is not None else default_store_path()
        self._is_writable, self._has_failed = True, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                raise sqlite3.DatabaseError("not a file")
            self._connection = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise DataError(
                f"verification store {self.path} cannot be opened ({error}); point INVERSE_STORE at another"
            ) from None

    def _opened(self) -> sqlite3.Connection:
        """Return the open file; one that may only be read is only read."""
        try:
            connection = sqlite3.connect(self.path, timeout=BUSY)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_SCHEMA)
            connection.commit()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _ONLY_READ or not (readable := self._only_read()):
                raise
            LOGGER.warning("verification store %s is only read: %s", self.path, error)
            self._is_writable = False
            connection = readable
        connection.execute(_FIRST_ROW).fetchall()
        return connection

    def _only_read(self) -> sqlite3.Connection | None:
        """Return the file opened for reading, None where it holds nothing to be read.

        A folder that may not be written has no room for what shares a file with writers; nobody writes there.
        """
        for how in ("mode=ro", "immutable=1"):
            connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY)
            try:
                connection.execute(_FIRST_ROW).fetchall()
                return connection
            except sqlite3.OperationalError:
                connection.close()
        return None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result stored under a key, None when there is none that can be read."""
        try:
            row = self._connection.execute("SELECT result FROM verification WHERE key = ?", (key,)).fetchone()
            return None if row is None else dict(json.loads(row[0]))
        except (sqlite3.Error, *DAMAGE) as error:
            self.skip(key, error)
            return None

    def skip(self, key: str, error: Exception) -> None:
        """Note that a row cannot be read: it is computed afresh, and written again."""
        what = f"row {key[:12]} cannot be read ({error}); asked afresh"
        LOGGER.warning("verification store %s: %s", self.path, what)

    def put(
        self, key: str, result: Mapping[str, Any], formula: str, potential: str, task: str, settings: str
    ) -> None:
        """Store a result; a later one under the same key replaces it."""
        if not self._is_writable:
            return
        text = json.dumps(plain(result))
        try:
            with self._connection:
                self._connection.execute(
                    "INSERT OR REPLACE INTO verification (key, formula, potential, task, settings, result) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (key, formula, potential, task, settings, text),
                )
        except sqlite3.Error as error:
            log = LOGGER.debug if self._has_failed else LOGGER.warning
            log("verification store %s: a row was not written (%s)", self.path, error)
            self._has_failed = True

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
