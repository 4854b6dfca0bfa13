"""The run folder: lock, config, copies of its inputs, journal, ASE database, manifest, CIFs.

The journal `campaign.db` is the truth; `candidates.db` (ASE), `candidates.csv`, `cifs/` and `manifest.json`
are written from it, each file as a whole or in one transaction, so that a kill leaves the old or the new.
"""

import errno
import json
import logging
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from inverse.campaign.journal import FORMAT, NAME, Journal, has_begun
from inverse.campaign.manifest import checked
from inverse.candidates.types import Candidate
from inverse.inputs.carried_files import FOLDERS, carry, forget_carried
from inverse.inputs.records import plain
from surrogates.errors import RunFolderError
from surrogates.platform.whole_files import is_left_over, not_following, write_atomically

HALF_MADE = b"being made\n"
"""What the lock's file holds while a folder is made: with it, what lies there may be made again."""

BEGUN_WITH = (".lock", "log.txt", "cifs", "config.yaml", NAME, f"{NAME}-wal", f"{NAME}-shm")
"""What `create` writes, beside the folders of inputs."""

CARRIED = tuple(FOLDERS.values())

FOLDERS_OF_A_RUN = ("cifs", *CARRIED)

READ = (
    "config.yaml",
    "manifest.json",
    "referee.jsonl",
    "reference.json",
    "novelty.json",
    NAME,
    f"{NAME}-wal",
    f"{NAME}-shm",
)
"""Files that reports, exports and comparisons read."""

WRITTEN = (
    *(*BEGUN_WITH, *CARRIED, *READ),
    *("candidates.db", "candidates.db-journal", "candidates.csv", "report.html"),
    *("trials.db", "trials.db-journal", f"{NAME}-journal"),
)
"""Every name that a run writes."""

LOCK_ATTEMPTS, LOCK_PAUSE = 3, 0.05
"""How often the lock is asked for, and seconds in between."""

OLD_LEFT_OVERS = (".config.yaml.tmp",)
"""What a kill left of older versions' first file."""


class RunFolder(Journal):
    """One run's files, its journal among them; writing needs the lock, reading does not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock: Any = None

    # -- life cycle ------------------------------------------------------------------------------------------

    @classmethod
    def check(cls, path: Path, config_hash: str, config_yaml: str, resume: bool = False) -> None:
        """Raise what `create`, or on `resume` what `open` would raise; writes nothing, takes no time.

        Raises:
            RunFolderError: a folder that a run of this config can neither begin nor go on in.
        """
        folder = cls(path)
        with folder._named_errors("create"):
            folder._refuse_links(WRITTEN)
            nearest = next(p for p in (folder.path, *folder.path.absolute().parents) if p.exists())
            if not nearest.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if not (resume and folder.has_run()):
                folder._refuse_taken(config_yaml, resume)
                return
        cls._locked(path, config_hash).close()

    @classmethod
    def create(
        cls,
        path: Path,
        config_yaml: str,
        config_hash: str,
        inputs: Mapping[str, Sequence[Path]] = MappingProxyType({}),
        resume: bool = False,
    ) -> "RunFolder":
        """Return a new, locked run folder; what a kill within an earlier `create` left is made again.

        Args:
            path: of the folder.
            config_yaml: what its config.yaml holds.
            config_hash: of what decides the candidates.
            inputs: files and folders to keep copies of, by key of the config.
            resume: takes up what older versions left half-made, too, where it is of the same config.

        Raises:
            RunFolderError: it holds a run already, belongs to somebody else, or cannot be written.
        """
        folder = cls(path)
        with folder._named_errors("create"):
            folder.path.mkdir(parents=True, exist_ok=True)
            folder._refuse_links(WRITTEN)
            folder._refuse_taken(config_yaml, resume)
            folder._take_lock()
            try:
                folder._refuse_taken(config_yaml, resume)
                folder._fill(config_yaml, config_hash, inputs)
            except BaseException:
                folder.close()
                raise
        return folder

    def _fill(self, config_yaml: str, config_hash: str, inputs: Mapping[str, Sequence[Path]]) -> None:
        """Write what a run begins with; until that is done the lock's file says so."""
        os.ftruncate(self._lock.fileno(), 0)
        os.pwrite(self._lock.fileno(), HALF_MADE, 0)
        (self.path / "cifs").mkdir(exist_ok=True)
        write_atomically(self.path / "config.yaml", config_yaml)
        forget_carried(self.path)
        carry(inputs, self.path)
        self._open_journal()
        self.set_meta("format", FORMAT)
        self.set_meta("config_hash", config_hash)
        os.ftruncate(self._lock.fileno(), 0)

    def has_run(self) -> bool:
        """Return whether the folder holds a run that began, or one that is damaged."""
        journal = self.path / NAME
        if not os.path.lexists(journal):
            return False
        if self._names() - {*BEGUN_WITH, *CARRIED} or self._has_cifs():
            return True
        if not self._is_ours_half_made():
            return journal.lstat().st_size > 0
        return has_begun(journal)

    @classmethod
    def is_half_made(cls, path: Path) -> bool:
        """Return whether a kill, or a refusal, ended the making of a run's folder."""
        folder = cls(path)
        return folder.path.is_dir() and folder._is_ours_half_made() and not folder.has_run()

    @classmethod
    def open(cls, path: Path, config_hash: str | None = None) -> "RunFolder":
        """Return an existing run folder, locked for writing; one of an older format is brought to this one.

        Raises:
            RunFolderError: no run there, damaged, locked by another process, or of another config.
        """
        folder = cls._locked(path, config_hash)
        try:
            folder._renew()
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def _locked(cls, path: Path, config_hash: str | None) -> "RunFolder":
        folder = cls(path)
        folder._require_journal()
        with folder._named_errors("open"):
            folder._refuse_links(WRITTEN)
            folder._take_lock()
            try:
                folder._require_bytes()
                folder._open_journal()
                folder._check_format()
                if config_hash is not None and folder.meta("config_hash") != config_hash:
                    raise RunFolderError(
                        f"{path}: was made by another config; resume it with its own {path}/config.yaml"
                    )
                folder._sweep()
                os.ftruncate(folder._lock.fileno(), 0)
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
            folder._refuse_links(READ)
            folder._require_bytes()
            folder._open_for_reading()
            folder._check_format()
        return folder

    def close(self) -> None:
        """Close the journal and give the lock back; safe to call twice."""
        super().close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what is written from the journal --------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """Return manifest.json, {} when it was not written yet."""
        path = self.path / "manifest.json"
        try:
            return checked(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{path}: cannot be read ({error})") from None

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace manifest.json, with one line a step: a long run has many, and each writes them all."""
        lines = ",\n    ".join(json.dumps(plain(step)) for step in manifest["steps"])
        text = json.dumps(plain({**manifest, "steps": None}), indent=2) + "\n"
        listed = f"[\n    {lines}\n  ]" if lines else "[]"
        text = text.replace('\n  "steps": null', f'\n  "steps": {listed}', 1)
        with self._named_errors("write"):
            write_atomically(self.path / "manifest.json", text)

    def log_handler(self) -> logging.Handler:
        """Return a handler that appends to log.txt."""
        with self._named_errors("write"):
            self._refuse_links(("log.txt",))
            handler = _LogFile(self.path / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handler.setLevel(logging.INFO)
        return handler

    # -- inside ----------------------------------------------------------------------------------------------

    def _names(self) -> set[str]:
        """Return what lies in the folder, but for what `replacing` left at a kill."""
        found = self.path.iterdir() if self.path.exists() else ()
        return {p.name for p in found if not is_left_over(p) and p.name not in OLD_LEFT_OVERS}

    def _has_cifs(self) -> bool:
        return (self.path / "cifs").is_dir() and any((self.path / "cifs").iterdir())

    def _is_ours_half_made(self) -> bool:
        """Return whether the lock's file says that this folder was being made."""
        lock = self.path / ".lock"
        try:
            return lock.is_file() and not lock.is_symlink() and lock.read_bytes() == HALF_MADE
        except OSError:
            return False

    def _refuse_taken(self, config_yaml: str, resume: bool) -> None:
        """Raise RunFolderError when the folder holds a run, or things that are no run's."""
        if self.has_run():
            self._require_bytes()
            raise RunFolderError(
                f"{self.path}: holds a run already; resume it (--resume, in Python resume=True) "
                "or name another folder"
            )
        expected = {".lock", "log.txt"}
        if self._is_ours_half_made():
            expected |= {*BEGUN_WITH, *CARRIED}
        elif resume and self._is_of(config_yaml):
            expected |= set(BEGUN_WITH)
        if foreign := sorted(self._names() - expected):
            raise RunFolderError(f"{self.path}: is not empty ({foreign[0]}); name a new folder")

    def _is_of(self, config_yaml: str) -> bool:
        """Return whether config.yaml is missing or the same; older versions left no other sign."""
        config = self.path / "config.yaml"
        return not config.exists() or config.read_bytes() == config_yaml.encode()

    def _refuse_links(self, names: Sequence[str]) -> None:
        """Raise RunFolderError where a name of ours is a link, or anything but a file or folder.

        A run writes, and reads, only what is its own.
        """
        for name in names:
            try:
                mode = (self.path / name).lstat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if name in FOLDERS_OF_A_RUN and not stat.S_ISDIR(mode):
                raise RunFolderError(f"{self.path}: {name} is no folder, as runs make it; remove it")
            if name not in FOLDERS_OF_A_RUN and not stat.S_ISREG(mode):
                raise RunFolderError(f"{self.path}: {name} is a link or no file, as runs make it; remove it")

    def _require_bytes(self) -> None:
        if not (self.path / NAME).stat().st_size:
            raise RunFolderError(f"{self.path}: {NAME} is damaged (no bytes); nothing was changed")

    def _require_folder(self) -> None:
        """Raise RunFolderError when the folder that was locked is not there any more."""
        if self._lock is None:
            return
        try:
            here, held = os.stat(self.path / ".lock"), os.fstat(self._lock.fileno())
            is_there = (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino)
        except OSError:
            is_there = False
        if not is_there:
            raise RunFolderError(f"{self.path}: the run folder is gone, moved or deleted; the run ends")

    def _sweep(self) -> None:
        """Remove what a kill left of files that were being replaced; the lock is held."""
        for folder in (self.path, self.path / "cifs"):
            for path in folder.iterdir() if folder.is_dir() else ():
                if is_left_over(path) and stat.S_ISREG(path.lstat().st_mode):
                    path.unlink(missing_ok=True)

    def _require_journal(self) -> None:
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path}: no such run folder")
        if not (self.path / "campaign.db").is_file():
            raise RunFolderError(f"{self.path}: holds no run (no campaign.db); start one with `inverse run`")

    def _take_lock(self) -> None:
        import fcntl

        self._refuse_links((".lock",))
        number = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        self._lock = os.fdopen(number, "r+b", buffering=0)
        for attempt in range(LOCK_ATTEMPTS):  # `is_written` holds it for a moment
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(LOCK_PAUSE * (attempt + 1 < LOCK_ATTEMPTS))
            else:
                return
        self._lock.close()
        self._lock = None
        raise RunFolderError(f"{self.path}: another process is writing this run; wait or stop it")


def is_written(folder: Path) -> bool:
    """Return whether a process holds the lock of a run folder."""
    import fcntl

    try:
        lock = os.open(folder / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def read_candidates(run_folder: Path) -> list[Candidate]:
    """Return every candidate of a run folder in proposal order; needs no lock.

    Raises:
        RunFolderError: no run there, or damaged.
    """
    with RunFolder.read(run_folder) as folder:
        return folder.candidates()


class _LogFile(logging.FileHandler):
    """Appends to a file that is none of somebody else's by way of a link."""

    def _open(self) -> Any:
        return open(self.baseFilename, "a", encoding=self.encoding, opener=not_following)
