"""The run folder: lock, config, journal (SQLite, one transaction a step), ASE database, manifest, CIFs.

The journal `campaign.db` is the truth; `candidates.db` (ASE), `candidates.csv`, `cifs/` and `manifest.json`
are written from it and replaced as a whole, so that a kill leaves the old file or the new one.
"""

import errno
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from inverse.inputs import carry, forget_carried
from inverse.records import (
    candidate_from_record,
    candidate_to_record,
    plain,
    verification_from_record,
    verification_to_record,
)
from inverse.types import Candidate, Status, Verification
from surrogates.errors import RunFolderError

FORMAT = 1
"""Version of the journal's tables."""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS steps (step INTEGER PRIMARY KEY, done INTEGER NOT NULL, notes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS candidates
  (id TEXT PRIMARY KEY, step INTEGER NOT NULL, chosen INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS verifications (id TEXT PRIMARY KEY, record TEXT NOT NULL);
"""


class RunFolder:
    """One run's files; writing needs the lock, reading does not.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock: Any = None
        self._journal: sqlite3.Connection | None = None

    # -- life cycle ------------------------------------------------------------------------------------------

    @classmethod
    def check(cls, path: Path, config_hash: str, resume: bool = False) -> None:
        """Raise what `create`, or on `resume` what `open` would raise; writes nothing new, takes no time.

        Raises:
            RunFolderError: a folder that a run of this config can neither begin nor go on in.
        """
        folder = cls(path)
        if resume and (folder.path / "campaign.db").exists():
            cls.open(path, config_hash).close()
            return
        with folder._named_errors("create"):
            nearest = next(p for p in (folder.path, *folder.path.absolute().parents) if p.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            folder._refuse_taken()

    @classmethod
    def create(
        cls,
        path: Path,
        config_yaml: str,
        config_hash: str,
        inputs: Mapping[str, Sequence[Path]] = MappingProxyType({}),
    ) -> "RunFolder":
        """Return a new, locked run folder.

        Args:
            path: of the folder.
            config_yaml: what its config.yaml holds.
            config_hash: of what decides the candidates.
            inputs: files and folders to keep copies of, by key of the config.

        Raises:
            RunFolderError: it holds a run already, belongs to somebody else, or cannot be written.
        """
        folder = cls(path)
        with folder._named_errors("create"):
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._refuse_taken()
            folder._take_lock()
            (folder.path / "cifs").mkdir(exist_ok=True)
            write_atomically(folder.path / "config.yaml", config_yaml)
            carry(inputs, folder.path)
            folder._open_journal()
            folder.set_meta("format", FORMAT)
            folder.set_meta("config_hash", config_hash)
        return folder

    @classmethod
    def forget_unfinished_creation(cls, path: Path, config_yaml: str) -> None:
        """Remove what a kill within `create` left behind; touches nothing of a run that began."""
        journal, config = Path(path) / "campaign.db", Path(path) / "config.yaml"
        if journal.exists():
            if _has_begun(journal):
                return
            for name in ("campaign.db", "campaign.db-wal", "campaign.db-shm"):
                (Path(path) / name).unlink(missing_ok=True)
        if config.is_file() and config.read_text(encoding="utf-8", errors="replace") == config_yaml:
            forget_carried(Path(path))
            config.unlink()
        with suppress(OSError):
            (Path(path) / "cifs").rmdir()

    @classmethod
    def open(cls, path: Path, config_hash: str | None = None) -> "RunFolder":
        """Return an existing run folder, locked for writing.

        Raises:
            RunFolderError: no run there, damaged, locked by another process, or of another config.
        """
        folder = cls(path)
        folder._require_journal()
        with folder._named_errors("open"):
            folder._take_lock()
            try:
                folder._open_journal()
                folder._check_format()
                if config_hash is not None and folder.meta("config_hash") != config_hash:
                    raise RunFolderError(
                        f"{path}: was made by another config; resume it with its own {path}/config.yaml"
                    )
            except BaseException:
                folder.close()
                raise
        return folder

    @classmethod
    def read(cls, path: Path) -> "RunFolder":
        """Return a run folder for reading only; needs no lock and changes nothing.

        Raises:
            RunFolderError: no run there, or damaged.
        """
        folder = cls(path)
        folder._require_journal()
        with folder._named_errors("read"):
            uri = f"file:{folder.path / 'campaign.db'}?mode=ro"
            folder._journal = sqlite3.connect(uri, uri=True, timeout=20)
            folder._check_format()
        return folder

    def close(self) -> None:
        """Close the journal and give the lock back; safe to call twice."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- meta ------------------------------------------------------------------------------------------------

    def meta(self, key: str, default: Any = None) -> Any:
        """Return a stored value."""
        row = self._query("SELECT value FROM meta WHERE key = ?", (key,))
        return json.loads(row[0][0]) if row else default

    def set_meta(self, key: str, value: Any) -> None:
        """Store a JSON-able value."""
        with self._transaction() as journal:
            journal.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(plain(value))))

    # -- steps -----------------------------------------------------------------------------------------------

    def steps(self) -> list[tuple[int, bool, dict[str, Any]]]:
        """Return (step, done, notes) in order."""
        rows = self._query("SELECT step, done, notes FROM steps ORDER BY step")
        return [(step, bool(done), json.loads(notes)) for step, done, notes in rows]

    def write_step(
        self, step: int, candidates: Sequence[Candidate], chosen: Sequence[str], notes: Mapping[str, Any]
    ) -> None:
        """Write a step before any verification: its candidates and which ids are to be verified."""
        wanted = {identity: order for order, identity in enumerate(chosen, start=1)}
        with self._transaction() as journal:
            journal.execute("INSERT INTO steps VALUES (?, 0, ?)", (step, json.dumps(plain(notes))))
            journal.executemany(
                "INSERT INTO candidates VALUES (?, ?, ?, ?)",
                [(c.id, step, wanted.get(c.id, 0), _dump(candidate_to_record(c))) for c in candidates],
            )

    def write_verification(self, identity: str, verification: Verification) -> None:
        """Write one verdict the moment it is known."""
        with self._transaction() as journal:
            journal.execute(
                "INSERT OR REPLACE INTO verifications VALUES (?, ?)",
                (identity, _dump(verification_to_record(verification))),
            )

    def finish_step(self, step: int, candidates: Sequence[Candidate], notes: Mapping[str, Any]) -> None:
        """Replace the step's changed candidates and mark it done; one transaction."""
        with self._transaction() as journal:
            journal.executemany(
                "UPDATE candidates SET record = ? WHERE id = ?",
                [(_dump(candidate_to_record(c)), c.id) for c in candidates],
            )
            journal.execute(
                "UPDATE steps SET done = 1, notes = ? WHERE step = ?",
                (json.dumps(plain(notes)), step),
            )

    def update_candidates(self, candidates: Sequence[Candidate]) -> None:
        """Replace candidates (rank, duplicates, score) in one transaction."""
        with self._transaction() as journal:
            journal.executemany(
                "UPDATE candidates SET record = ? WHERE id = ?",
                [(_dump(candidate_to_record(c)), c.id) for c in candidates],
            )

    def step_candidates(self, step: int) -> tuple[list[Candidate], list[str]]:
        """Return a step's candidates in proposal order and the chosen ids in order of choice."""
        rows = self._query("SELECT record, chosen, id FROM candidates WHERE step = ? ORDER BY id", (step,))
        chosen = sorted((order, identity) for _, order, identity in rows if order)
        return [candidate_from_record(json.loads(r[0])) for r in rows], [identity for _, identity in chosen]

    def candidates(self) -> list[Candidate]:
        """Return every candidate of the run, in proposal order."""
        rows = self._query("SELECT record FROM candidates ORDER BY id")
        return [candidate_from_record(json.loads(row[0])) for row in rows]

    def verifications(self) -> dict[str, Verification]:
        """Return the verdicts by candidate id, half-done steps included."""
        rows = self._query("SELECT id, record FROM verifications")
        return {identity: verification_from_record(json.loads(record)) for identity, record in rows}

    # -- what is written from the journal --------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Return manifest.json, {} when it was not written yet."""
        path = self.path / "manifest.json"
        try:
            return dict(json.loads(path.read_text())) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{path}: cannot be read ({error})") from None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace manifest.json."""
        with self._named_errors("write"):
            write_atomically(self.path / "manifest.json", json.dumps(plain(manifest), indent=2) + "\n")

    def log_handler(self) -> logging.Handler:
        """Return a handler that appends to log.txt."""
        with self._named_errors("write"):
            handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(logging.INFO)
        return handler

    def write_candidates_db(self, candidates: Sequence[Candidate]) -> None:
        """Replace candidates.db, the ASE database of the shortlisted and verified candidates."""
        from ase.db import connect

        temporary = self.path / ".candidates.tmp.db"
        with self._named_errors("write"):
            temporary.unlink(missing_ok=True)
            with connect(str(temporary), type="db") as database:
                for candidate in candidates:
                    if candidate.status in (Status.HIT, Status.VERIFIED, Status.FAILED):
                        atoms, pairs, data = _ase_row(candidate)
                        database.write(atoms, key_value_pairs=pairs, data=data)
            os.replace(temporary, self.path / "candidates.db")

    # -- inside ----------------------------------------------------------------------------------------------

    def _refuse_taken(self) -> None:
        """Raise RunFolderError when the folder holds a run, or things that are no run's."""
        found = [p.name for p in self.path.iterdir()] if self.path.exists() else []
        if "campaign.db" in found:
            raise RunFolderError(
                f"{self.path}: holds a run already; continue it with --resume or name another folder"
            )
        if foreign := sorted(set(found) - {".lock", "log.txt"}):
            raise RunFolderError(f"{self.path}: is not empty ({foreign[0]}); name a new folder")

    def _require_journal(self) -> None:
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path}: no such run folder")
        if not (self.path / "campaign.db").is_file():
            raise RunFolderError(f"{self.path}: holds no run (no campaign.db); start one with `inverse run`")

    def _take_lock(self) -> None:
        import fcntl

        self._lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            self._lock = None
            raise RunFolderError(
                f"{self.path}: another process is writing this run; wait or stop it"
            ) from None

    def _open_journal(self) -> None:
        journal = sqlite3.connect(self.path / "campaign.db", timeout=20)
        journal.execute("PRAGMA journal_mode=WAL")
        journal.execute("PRAGMA synchronous=NORMAL")
        journal.executescript(_TABLES)
        self._journal = journal

    def _check_format(self) -> None:
        if self._query("PRAGMA quick_check")[0][0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        if self.meta("format") != FORMAT:
            raise RunFolderError(f"{self.path}: campaign.db has format {self.meta('format')}, not {FORMAT}")

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
        with self._named_errors("write"), self._journal:
            yield self._journal

    def _query(self, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._journal is None:
            raise RunFolderError(f"{self.path}: is closed")
        with self._named_errors("read"):
            return self._journal.execute(sql, arguments).fetchall()


def _has_begun(journal: Path) -> bool:
    """Return whether a journal belongs to a run; one that cannot be read may."""
    try:
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=20)) as connection:
            return bool(connection.execute("SELECT 1 FROM meta WHERE key = 'config_hash'").fetchall())
    except sqlite3.DatabaseError as error:
        return "no such table" not in str(error)


def read_candidates(run_folder: Path) -> list[Candidate]:
    """Return every candidate of a run folder in proposal order; needs no lock.

    Raises:
        RunFolderError: no run there, or damaged.
    """
    with RunFolder.read(run_folder) as folder:
        return folder.candidates()


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file as a whole: a kill leaves the old file or the new one.

    Raises:
        OSError: as the file system says.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _dump(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), allow_nan=False)


def _ase_row(candidate: Candidate) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from pymatgen.io.ase import AseAtomsAdaptor

    verification = candidate.verification
    relaxed = verification.structure if verification is not None else None
    structure = (candidate.structure if relaxed is None else relaxed).copy()
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    pairs: dict[str, Any] = {"candidate": candidate.id, "status": candidate.status.value}
    pairs |= {
        "proposer": candidate.proposer,
        "hit_class": candidate.hit_class.value if candidate.hit_class else "",
    }
    if candidate.score is not None:
        pairs["score"] = float(candidate.score)
    for name, value in (verification.values if verification is not None else {}).items():
        pairs[f"verified_{name}"] = float(value.mean)
    for name, predicted in candidate.predictions.items():
        pairs[f"predicted_{name}"] = float(predicted.mean)
    return atoms, pairs, {"record": candidate_to_record(candidate)}
