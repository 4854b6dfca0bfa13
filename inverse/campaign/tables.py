"""What a run writes for others from its journal: candidates.csv, cifs/ and candidates.db.

A step costs what the step brought, however much the run holds already: CIFs, rows of the ASE database and
rows of the table are written for new and changed candidates alone. Only candidates.csv, which is sorted, is
written whole, streamed from the journal: a large one so seldom that it takes a twentieth of a run's time.
"""

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from inverse.campaign.ase_database import KEPT, AseDatabase
from inverse.campaign.candidate_table import (
    HasTargets,
    cells,
    confirmed_properties,
    place,
    shown_names,
    valued_properties,
    write_cifs,
    write_table,
)
from inverse.campaign.journal import TableRow
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import Candidate
from surrogates.errors import RunFolderError

SHARE = 0.05
"""Of the time of a run that writing candidates.csv may take while it runs."""

AT_ONCE = 0.1
"""Seconds that writing candidates.csv may take to be written after every step."""

CHUNK = 256
"""Candidates read at once where many are to be caught up with."""


class Tables:
    """Keeps the files beside the journal up to date; the journal says what they still lack.

    What is killed between two of its writes is caught up with when the run is opened again.
    """

    def __init__(self, folder: RunFolder, config: HasTargets) -> None:
        """Open the files of a locked run folder and catch up with its journal.

        Raises:
            RunFolderError: a file cannot be written.
        """
        self._folder, self._config = folder, config
        self._path = folder.path / "candidates.csv"
        self._valued: set[str] = set(folder.meta("valued_properties", []))
        self._by_dft: set[str] = set(folder.meta("confirmed_properties", []))
        self._seconds, self._written = 0.0, float("-inf")
        self._is_behind = True
        self._database = _opened(folder.path / "candidates.db")
        missing = self._missing()
        for start in range(0, len(missing), CHUNK):
            self.take(folder.named(missing[start : start + CHUNK]))

    def take(self, candidates: Iterable[Candidate]) -> None:
        """Write what is new or changed to cifs/, candidates.db and the rows of the table.

        The rows come last: a candidate without one is taken again.

        Raises:
            RunFolderError: a file cannot be written.
        """
        candidates = list(candidates)
        write_cifs(candidates, self._folder.path)
        try:
            self._database.write(candidates)
        except (OSError, sqlite3.DatabaseError) as error:
            raise RunFolderError(f"{self._folder.path}/candidates.db: cannot be written: {error}") from None
        valued = self._valued.union(*map(valued_properties, candidates))
        if valued != self._valued:
            self._folder.set_meta("valued_properties", sorted(valued))
            self._valued = valued
        by_dft = self._by_dft.union(*map(confirmed_properties, candidates))
        if by_dft != self._by_dft:
            self._folder.set_meta("confirmed_properties", sorted(by_dft))
            self._by_dft = by_dft
        self._folder.write_rows([TableRow(c.id, *place(c), cells(c)) for c in candidates])
        self._is_behind = True

    def write_if_due(self) -> None:
        """Write candidates.csv where it lacks something and was not written for long enough.

        Raises:
            RunFolderError: the file cannot be written.
        """
        age = time.monotonic() - self._written
        if self._is_behind and self._seconds <= max(AT_ONCE, SHARE * age):
            self.write()

    def write(self) -> None:
        """Write candidates.csv.

        Raises:
            RunFolderError: the file cannot be written.
        """
        began = time.monotonic()
        shown = shown_names(self._valued, self._config)
        write_table(self._folder.cells(), shown, self._path, sorted(self._by_dft))
        self._written = time.monotonic()
        self._seconds = self._written - began
        self._is_behind = False

    def _missing(self) -> list[str]:
        """Return the ids of the candidates that have no row, or of which a file is gone."""
        missing = self._folder.ids_without_row()
        drawn = {f"cifs/{path.name}" for path in self._folder.path.glob("cifs/*.cif")}
        for row in self._folder.cells():
            is_drawn = row.get("cif", "") in drawn or "cif" not in row
            if not is_drawn or (row["status"] in KEPT and row["id"] not in self._database.ids):
                missing.append(row["id"])
        return missing


def _opened(path: Path) -> AseDatabase:
    """Return the database; one that is no database any more is made anew, as all of it is in the journal."""
    try:
        return AseDatabase(path)
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError, AttributeError):
        path.unlink()
        return AseDatabase(path)
