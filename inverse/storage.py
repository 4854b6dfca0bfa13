"""The run folder: lock, config, copies of its inputs, journal, ASE database, manifest, CIFs.

The journal `campaign.db` is the truth; `candidates.db` (ASE), `candidates.csv`, `cifs/` and `manifest.json`
are written from it and replaced as a whole, so that a kill leaves the old file or the new one.
"""

import errno
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from pymatgen.core import Structure

from inverse.inputs import carry, forget_carried
from inverse.journal import FORMAT, Journal, has_begun
from inverse.records import candidate_to_record, plain
from inverse.types import Candidate, Status
from surrogates.errors import RunFolderError
from surrogates.formulas import display_formula


class RunFolder(Journal):
    """One run's files, its journal among them; writing needs the lock, reading does not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock: Any = None

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
            if has_begun(journal):
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
            # the run's own lock keeps others out; ASE's would outlive a kill
            with connect(str(temporary), type="db", use_lock_file=False) as database:
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


def _ase_name(structure: Structure) -> str:
    """Return the display formula; ASE refuses text that float() reads, which NaN and InF are."""
    name = display_formula(structure.composition)
    try:
        float(name)
    except ValueError:
        return name
    return str(structure.composition.reduced_composition.formula.replace(" ", ""))


def _ase_row(candidate: Candidate) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from pymatgen.io.ase import AseAtomsAdaptor

    verification = candidate.verification
    relaxed = verification.structure if verification is not None else None
    structure = (candidate.structure if relaxed is None else relaxed).copy()
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    pairs: dict[str, Any] = {"candidate": candidate.id, "status": candidate.status.value}
    pairs["name"] = _ase_name(structure)
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
