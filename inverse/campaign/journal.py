"""The journal of a run: candidates, verdicts and steps in SQLite, one transaction a step; it is the truth."""

import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Triaged, Verification
from inverse.inputs.records import (
    candidate_from_record,
    candidate_to_record,
    plain,
    triaged_from_record,
    triaged_to_record,
    verification_from_record,
    verification_to_record,
)
from surrogates.errors import EngineError, RunFolderError

NAME = "campaign.db"
"""Of the file in a run folder."""

FORMAT = 2
"""Version of the journal's tables."""

READABLE = (1, 2)
"""Formats that are read; in the first the record of a candidate held its verdict once more."""

PROPOSER_STATE = "proposer state"
"""Key in `meta`: what the proposer kept when it was asked last, and for which step."""

LONGEST = 1e4
"""Å, and cells: numbers beyond belong to no crystal of a run."""

BEYOND = 1e100
"""No value of a property reaches this; figures would overflow."""

SMALLEST = 1e-3
"""Å³ per atom, likewise."""

_ID = re.compile(r"c\d+", re.ASCII)
"""Ids name files: nothing else is read back, whoever made the folder."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY, done INTEGER NOT NULL, notes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS candidates
  (id TEXT PRIMARY KEY, step INTEGER NOT NULL, chosen INTEGER NOT NULL, record TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS candidates_of_a_step ON candidates (step);
CREATE TABLE IF NOT EXISTS waiting (place INTEGER PRIMARY KEY, id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS recalled
  (id TEXT PRIMARY KEY, step INTEGER NOT NULL, chosen INTEGER NOT NULL, before TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS recalled_in_a_step ON recalled (step);
CREATE TABLE IF NOT EXISTS triaged
  (id TEXT, relaxed INTEGER, step INTEGER NOT NULL, crystal TEXT NOT NULL, record TEXT NOT NULL,
   PRIMARY KEY (id, relaxed));
CREATE TABLE IF NOT EXISTS verifications (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows
  (id TEXT PRIMARY KEY, place INTEGER NOT NULL, value REAL NOT NULL, cells TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rows_in_order ON rows (place, value, id);
CREATE TRIGGER IF NOT EXISTS rows_go_stale AFTER UPDATE ON candidates
  BEGIN DELETE FROM rows WHERE id = new.id; END;
"""
"""`verifications` holds each verdict, with what follows from it; `true` in the record of a candidate says
that the one there is its own: until their step ends, candidates have none.

`rows` is written from `candidates`: what has none, or was changed since, is still to be tabled.

`triaged` holds what a cheap potential said of a candidate the moment it is known, before the step that
proposes it is written, and of which `crystal` it said so: a resumed step proposes the same ones under the
same ids, and finds what was said of them.

`waiting` holds who waits since the step that was begun last. A candidate of an earlier step that another one
takes up again is `recalled` there, with its record `before` that: what the step that proposed it was told.
"""


@dataclass(frozen=True)
class TableRow:
    """A candidate's row of candidates.csv.

    Attributes:
        id: of the candidate.
        place: sorts first.
        value: sorts next, smallest first; then the id.
        cells: column -> text, empty ones left out.
    """

    id: str
    place: int
    value: float
    cells: Mapping[str, str]


class Journal:
    """One run's journal; opened for writing by whoever holds the folder's lock, for reading by anybody.

    Attributes:
        path: the run folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._journal: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    # -- meta ------------------------------------------------------------------------------------------------

    def meta(self, key: str, default: Any = None) -> Any:
        """Return a stored value."""
        row = self._query("SELECT value FROM meta WHERE key = ?", (key,))
        with self._damage(key):
            return json.loads(row[0][0]) if row else default

    def set_meta(self, key: str, value: Any) -> None:
        """Store a JSON-able value."""
        with self._transaction() as journal:
            journal.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(plain(value))))

    # -- steps -----------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[int, bool, dict[str, Any]]]:
        """Return (step, done, notes) in order."""
        rows = self._query("SELECT step, done, notes FROM steps ORDER BY step")
        with self._damage("a step"):
            return [(int(step), bool(done), _mapping(notes)) for step, done, notes in rows]

    def write_step(
        self,
        step: int,
        candidates: Sequence[Candidate],
        chosen: Sequence[str],
        notes: Mapping[str, Any],
        recalled: Sequence[Candidate] = (),
        waiting: Sequence[str] = (),
        proposer_state: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a step before any verification, in one transaction.

        Args:
            step: its number.
            candidates: proposed in it.
            chosen: ids to be verified, in order of choice.
            notes: what is to be remembered of it.
            recalled: candidates of earlier steps that this one takes up again, as they are now.
            waiting: ids that wait from now on, in their order.
            proposer_state: after it was asked; that of the step before is forgotten.
        """
        wanted = {identity: order for order, identity in enumerate(chosen, start=1)}
        with self._transaction() as journal:
            # a step without candidates is none; runs of before wrote its number all the same
            journal.execute("INSERT OR REPLACE INTO steps VALUES (?, 0, ?)", (step, json.dumps(plain(notes))))
            journal.executemany(
                "INSERT INTO candidates VALUES (?, ?, ?, ?)",
                [(c.id, step, wanted.get(c.id, 0), _apart(c)) for c in candidates],
            )
            journal.executemany(
                "INSERT INTO recalled SELECT id, ?, ?, record FROM candidates WHERE id = ?",
                [(step, wanted.get(c.id, 0), c.id) for c in recalled],
            )
            _replace(journal, recalled)
            if proposer_state:
                stored = json.dumps({"step": step, "state": proposer_state})
                journal.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (PROPOSER_STATE, stored))
            journal.execute("DELETE FROM waiting")
            journal.executemany("INSERT INTO waiting VALUES (?, ?)", list(enumerate(waiting)))

    def proposer_state(self, step: int) -> Mapping[str, Any]:
        """Return what the proposer kept when it was asked for a step; {} where that is not the last one.

        Raises:
            RunFolderError: what is stored is no state.
        """
        stored = self.meta(PROPOSER_STATE, {})
        with self._damage(PROPOSER_STATE):
            state = stored["state"] if stored.get("step") == step else {}
            if not isinstance(state, Mapping):
                raise ValueError(f"a {type(state).__name__}, not an object")
        return state

    def write_triaged(self, step: int, relaxed: bool, found: Mapping[str, tuple[str, Triaged]]) -> None:
        """Write what a cheap potential said in a step, by single points or relaxations.

        Args:
            step: in which it was asked.
            relaxed: by relaxations.
            found: id -> of which crystal, and what.
        """
        with self._transaction() as journal:
            journal.executemany(
                "INSERT OR REPLACE INTO triaged VALUES (?, ?, ?, ?, ?)",
                [
                    (identity, int(relaxed), step, crystal, _dump(triaged_to_record(said)))
                    for identity, (crystal, said) in found.items()
                ],
            )

    def triaged(
        self, crystals: Mapping[str, str], relaxed: bool, before: int | None = None
    ) -> dict[str, Triaged]:
        """Return what a cheap potential said, by id.

        Args:
            crystals: id -> which crystal it is; what was said of another one under that id is not returned.
            relaxed: by relaxations, else by single points.
            before: only what was said in steps before this one; None takes all.
        """
        found = {}
        for identity, crystal in crystals.items():
            rows = self._query(
                "SELECT step, record FROM triaged WHERE id = ? AND relaxed = ? AND crystal = ?",
                (identity, int(relaxed), crystal),
            )
            with self._damage(identity):
                for step, record in rows:
                    if before is None or step < before:
                        found[identity] = triaged_from_record(_mapping(record))
                        if (structure := found[identity].structure) is not None:
                            _require_crystal(structure)
        return found

    def write_verification(self, identity: str, verification: Verification) -> None:
        """Write one verdict the moment it is known."""
        with self._transaction() as journal:
            journal.execute(_WRITE_VERDICT, (identity, _dump(verification_to_record(verification))))

    def finish_step(self, step: int, candidates: Sequence[Candidate], notes: Mapping[str, Any]) -> None:
        """Replace the step's changed candidates and mark it done; one transaction."""
        with self._transaction() as journal:
            _replace(journal, candidates)
            _replace_verdicts(journal, candidates)
            journal.execute(
                "UPDATE steps SET done = 1, notes = ? WHERE step = ?",
                (json.dumps(plain(notes)), step),
            )

    def update_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Replace candidates and their verdicts in one transaction."""
        with self._transaction() as journal:
            _replace(journal, candidates)
            _replace_verdicts(journal, candidates)

    def regroup_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Replace candidates whose verdicts are as they were (status, duplicates) in one transaction."""
        with self._transaction() as journal:
            _replace(journal, candidates)

    def step_candidates(self, step: int) -> tuple[list[Candidate], list[str]]:
        """Return a step's candidates in proposal order and the chosen ids in order of choice.

        Those that it recalled are among them. What a later step recalled is as it was before.
        """
        rows = self._query(
            "SELECT c.id, ifnull(r.before, c.record), v.record, c.chosen FROM candidates c "
            "LEFT JOIN recalled r USING (id) LEFT JOIN verifications v USING (id) WHERE c.step = ?1 "
            "UNION ALL SELECT c.id, c.record, v.record, r.chosen FROM recalled r "
            "JOIN candidates c USING (id) LEFT JOIN verifications v USING (id) WHERE r.step = ?1 ORDER BY 1",
            (step,),
        )
        chosen = sorted((order, identity) for identity, _, _, order in rows if order)
        return self._candidates(row[:3] for row in rows), [identity for _, identity in chosen]

    def recalled(self, step: int) -> set[str]:
        """Return the ids of the candidates of earlier steps that a step took up again."""
        return {identity for (identity,) in self._query("SELECT id FROM recalled WHERE step = ?", (step,))}

    def waiting(self) -> list[Candidate]:
        """Return the candidates that wait since the step that was begun last, in their order."""
        rows = self._query(f"{_WHOLE} JOIN waiting w USING (id) ORDER BY w.place")
        return self._candidates(rows)

    def step_notes(self, step: int) -> dict[str, Any]:
        """Return the notes of one step; {} when it was not begun."""
        rows = self._query("SELECT notes FROM steps WHERE step = ?", (step,))
        with self._damage(f"step {step}"):
            return _mapping(rows[0][0]) if rows else {}

    def step_verifications(self, step: int) -> dict[str, Verification]:
        """Return the verdicts of one step's candidates by id, as far as they are known."""
        rows = self._query(
            "SELECT id, record FROM verifications WHERE id IN (SELECT id FROM candidates WHERE step = ?1 "
            "UNION SELECT id FROM recalled WHERE step = ?1)",
            (step,),
        )
        return self._verdicts(rows)

    def candidates(self) -> list[Candidate]:
        """Return every candidate of the run, in proposal order."""
        return self._candidates(self._query(f"{_WHOLE} ORDER BY c.id"))

    def named(self, identities: Iterable[str]) -> Iterator[Candidate]:
        """Yield the candidates of these ids, in the order given."""
        for identity in identities:
            yield from self._candidates(self._query(f"{_WHOLE} WHERE c.id = ?", (identity,)))

    def verified_ids(self) -> list[str]:
        """Return the ids of the candidates that have a verdict, in proposal order."""
        return [identity for (identity,) in self._query("SELECT id FROM verifications ORDER BY id")]

    def order_of_verdicts(self) -> list[str]:
        """Return the ids of the candidates that have a verdict, in the order in which the verdicts fell."""
        return [identity for (identity,) in self._query("SELECT id FROM verifications ORDER BY rowid")]

    def verifications(self, but: Collection[str] = ()) -> dict[str, Verification]:
        """Return the verdicts by candidate id in the order in which they fell, half-done steps included.

        Args:
            but: ids whose verdicts are not asked for.
        """
        if not but:
            return self._verdicts(self._query("SELECT id, record FROM verifications ORDER BY rowid"))
        found: dict[str, Verification] = {}
        for identity in self.order_of_verdicts():
            if identity not in but:
                rows = self._query("SELECT id, record FROM verifications WHERE id = ?", (identity,))
                found |= self._verdicts(rows)
        return found

    # -- rows of the table -----------------------------------------------------------------------------------

    def write_rows(self, rows: Iterable[TableRow]) -> None:
        """Write the rows of candidates, in one transaction."""
        with self._transaction() as journal:
            journal.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)",
                [(row.id, row.place, row.value, json.dumps(row.cells)) for row in rows],
            )

    def cells(self) -> Iterator[dict[str, str]]:
        """Yield the cells of every row in the table's order; memory does not grow with their number."""
        if self._journal is None:
            raise RunFolderError(f"{self.path}: is closed")
        with self._named_errors("read"):
            for (cells,) in self._journal.execute("SELECT cells FROM rows ORDER BY place, value, id"):
                with self._damage("a row of the table"):
                    row = _mapping(cells)
                    if not {"id", "status"} <= set(row) or not all(isinstance(v, str) for v in row.values()):
                        raise ValueError("not the cells of a candidate")
                yield row

    def ids_without_row(self) -> list[str]:
        """Return the ids of candidates of finished steps that are newer than their row, or have none."""
        return [
            identity
            for (identity,) in self._query(
                "SELECT id FROM candidates JOIN steps USING (step) "
                "WHERE done AND id NOT IN (SELECT id FROM rows) ORDER BY id"
            )
        ]

    # -- inside ----------------------------------------------------------------------------------------------

    def _candidates(self, rows: Iterable[Sequence[Any]]) -> list[Candidate]:
        found = []
        for identity, record, verdict in rows:
            with self._damage(identity):
                found.append(_candidate(identity, record, verdict))
        return found

    def _verdicts(self, rows: Iterable[Sequence[Any]]) -> dict[str, Verification]:
        found = {}
        for identity, record in rows:
            with self._damage(identity):
                found[identity] = verification_from_record(_mapping(record))
                _require_verdict(found[identity])
        return found

    @contextmanager
    def _damage(self, what: object) -> Iterator[None]:
        """Name the folder and the record where one cannot be read."""
        try:
            yield
        except (EngineError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            shown = str(what)[:20] if str(what).isprintable() else "a record"
            raise RunFolderError(f"{self.path}: campaign.db is damaged ({shown}: {error})") from None

    def _require_folder(self) -> None:
        """Raise RunFolderError when the place is gone; a journal alone is nobody's place."""

    def _open_journal(self) -> None:
        journal = sqlite3.connect(self.path / NAME, timeout=20)
        journal.execute("PRAGMA journal_mode=WAL")
        journal.execute("PRAGMA synchronous=NORMAL")
        journal.executescript(_TABLES)
        self._journal = journal

    def _check_format(self) -> None:
        if self._query("PRAGMA quick_check")[0][0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        if (found := self.meta("format")) not in READABLE:
            raise RunFolderError(f"{self.path}: campaign.db has format {found}, not {FORMAT}")

    def _renew(self) -> None:
        """Bring a journal of an older format to this one, in one transaction: each verdict is kept once."""
        if self.meta("format") == FORMAT:
            return
        rows = self._query("SELECT id, record FROM candidates WHERE id IN (SELECT id FROM verifications)")
        with self._transaction() as journal:
            for identity, text in rows:
                with self._damage(identity):
                    record = _mapping(text)
                    verdict = record.get("verification")
                if isinstance(verdict, dict):
                    journal.execute(_WRITE_VERDICT, (identity, _dump(verdict)))
                    changed = _dump({**record, "verification": True})
                    journal.execute("UPDATE candidates SET record = ? WHERE id = ?", (changed, identity))
            journal.execute("INSERT OR REPLACE INTO meta VALUES ('format', ?)", (json.dumps(FORMAT),))

    def _open_for_reading(self) -> None:
        self._journal = _read_only(self.path / NAME)

    @contextmanager
    def _named_errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise RunFolderError(
                f"{self.path}: cannot {verb}, campaign.db is damaged or the disk is full ({error}); "
                "the other files are as they were"
            ) from None
        except OSError as error:
            raise RunFolderError(f"{self.path}: cannot {verb}: {error.strerror or error}") from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._journal is None:
            raise RunFolderError(f"{self.path}: is closed")
        self._require_folder()
        with self._named_errors("write"), self._journal:
            yield self._journal

    def _query(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._journal is None:
            raise RunFolderError(f"{self.path}: is closed")
        with self._named_errors("read"):
            return self._journal.execute(sql, arguments).fetchall()


def has_begun(journal: Path) -> bool:
    """Return whether a journal belongs to a run; one that cannot be read may."""
    try:
        with closing(_read_only(journal)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'meta'").fetchall()
            return bool(tables) and bool(
                connection.execute("SELECT 1 FROM meta WHERE key = 'config_hash'").fetchall()
            )
    except sqlite3.DatabaseError:
        return True


def _read_only(journal: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True, timeout=20)


def _mapping(text: Any) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: not JSON, or something else.
    """
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__}, not an object")
    return found


def _candidate(identity: Any, text: Any, verdict: Any) -> Candidate:
    """Return a stored candidate, with the verdict stored beside it where its record says that it has one.

    Raises:
        ValueError: its id is not `c` and digits, or not the one that it is stored under.
    """
    record = _mapping(text)
    if record.get("verification") is True:
        record["verification"] = _mapping(verdict)
    found = candidate_from_record(record)
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or found.id != identity:
        raise ValueError(f"the id {found.id!r}, where ids are c and digits")
    _require_crystal(found.structure)
    _require_verdict(found.verification)
    if found.triaged is not None and found.triaged.structure is not None:
        _require_crystal(found.triaged.structure)
    return found


def _require_verdict(verdict: Verification | None) -> None:
    if verdict is not None and verdict.structure is not None:
        _require_crystal(verdict.structure)
    for name, value in ({} if verdict is None else verdict.values).items():
        if any(abs(number) > BEYOND for number in (value.mean, value.std, value.lower, value.upper)):
            raise ValueError(f"{name} is beyond all measure")


def _require_crystal(structure: Structure) -> None:
    """Raise ValueError where numbers are no crystal's; symmetry programs would crash over them."""
    lattice, coords = structure.lattice.matrix, structure.frac_coords
    is_sound = np.isfinite(lattice).all() and np.isfinite(coords).all() and structure.is_ordered
    if not is_sound or abs(lattice).max() > LONGEST or abs(coords).max(initial=0.0) > LONGEST:
        raise ValueError("a structure that is no crystal")
    if not structure.volume > SMALLEST * len(structure):
        raise ValueError("a structure without volume")


_WHOLE = "SELECT c.id, c.record, v.record FROM candidates c LEFT JOIN verifications v USING (id)"
"""Candidates as `_candidate` reads them."""

_WRITE_VERDICT = (
    "INSERT INTO verifications VALUES (?, ?) "
    "ON CONFLICT (id) DO UPDATE SET record = excluded.record WHERE record <> excluded.record"
)
"""A row that is there keeps its place: places say in which order the verdicts fell."""


def _replace(journal: sqlite3.Connection, candidates: Iterable[Candidate]) -> None:
    changed = [(_apart(c), c.id) for c in candidates]
    journal.executemany("UPDATE candidates SET record = ? WHERE id = ?", changed)


def _replace_verdicts(journal: sqlite3.Connection, candidates: Iterable[Candidate]) -> None:
    verdicts = ((c.id, c.verification) for c in candidates)
    judged = [(i, _dump(verification_to_record(verdict))) for i, verdict in verdicts if verdict is not None]
    journal.executemany(_WRITE_VERDICT, judged)


def _apart(candidate: Candidate) -> str:
    """Return the record of a candidate whose verdict is stored in a table of its own."""
    is_judged = candidate.verification is not None
    record = candidate_to_record(replace(candidate, verification=None))
    return _dump({**record, "verification": True if is_judged else None})


def _dump(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)
