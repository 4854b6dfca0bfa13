"""Checkpoints: weights (safetensors) beside a JSON manifest of kind, config and format version."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogates.errors import CheckpointError, EngineError, UnknownNameError, nearest
from surrogates.platform.blame import said_of
from surrogates.platform.registry import Registry
from surrogates.platform.whole_files import write_atomically

FORMAT_VERSION = 1
"""Version written; older ones are upgraded on reading."""

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"

ARCHITECTURES = Registry("inverse.architectures", "architecture", "ARCHITECTURES", "surrogates.training")
"""`kind` of a training config and of weights: an `Architecture`, which trains them and reads them."""

READ_BY: dict[str, str] = {"composition_groups": "composition"}
"""Kind of checkpoint -> the architecture that reads it, where its name is another."""

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Old version -> function that turns its manifest into one of the next version."""


@dataclass(frozen=True)
class Checkpoint:
    """What a folder of weights holds.

    Attributes:
        kind: name of the architecture that reads it (or see READ_BY).
        config: JSON-able: architecture, properties, calibration, training record.
        tensors: name -> weights; stored as float16 where the manifest says so, float32 in memory.
        version: of the format it was written in.
    """

    kind: str
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    version: int = FORMAT_VERSION


def packaged_folder(name: str) -> Path:
    """Return the folder of the packaged weights called `name` (it need not exist)."""
    return Path(__file__).parents[1] / "weights" / name


def save_checkpoint(checkpoint: Checkpoint, folder: str | Path, half: bool = True) -> Path:
    """Write manifest and weights, each atomically; `half` stores floating weights as float16."""
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (t.detach().half() if half and t.is_floating_point() else t.detach()).contiguous().cpu()
        for name, t in checkpoint.tensors.items()
    }
    manifest = {"format_version": FORMAT_VERSION, "kind": checkpoint.kind, "config": dict(checkpoint.config)}
    write_atomically(folder / WEIGHTS, save(tensors))  # `save_file` would leave it to the owner alone
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Return the checkpoint in a folder, upgraded to the present format; floating weights as float32.

    Raises:
        CheckpointError: a file is missing or damaged, or the format is newer than this program.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    manifest = load_manifest(folder)
    with _named_errors(folder):
        tensors = load_file(str(folder / WEIGHTS))
    floats = {k: t.to(torch.float32) if t.is_floating_point() else t for k, t in tensors.items()}
    return Checkpoint(manifest["kind"], manifest["config"], floats, manifest["format_version"])


def load_manifest(folder: str | Path) -> dict[str, Any]:
    """Return kind, config and format version of the checkpoint in a folder, upgraded to the present format.

    Raises:
        CheckpointError: the manifest is missing or damaged, or newer than this program.
    """
    folder = Path(folder)
    with _named_errors(folder):
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return _upgraded(manifest, folder)


@contextmanager
def _named_errors(folder: Path, reader: Any = None) -> Iterator[None]:
    """Let one line say which checkpoint is damaged, and where an extension that reads it stumbled."""
    try:
        yield
    except FileNotFoundError:  # of safetensors, it does not name the file
        absent = next(name for name in (MANIFEST, WEIGHTS) if not (folder / name).exists())
        raise CheckpointError(f"checkpoint {folder}: {absent} is missing") from None
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        named = reason if isinstance(error, EngineError) else said_of(error, reader)
        raise CheckpointError(f"checkpoint {folder} is damaged: {named}") from None


def load_surrogate(name_or_path: str | Path = "structure") -> Any:
    """Return the surrogate of packaged weights ('structure', 'composition') or of a folder of weights.

    The same object is returned for the same unchanged folder; it is read-only. A string that names packaged
    weights means these, whatever lies in the working directory; a Path is a folder.

    Raises:
        UnknownNameError: neither a packaged name nor a folder.
        CheckpointError: the weights are missing, damaged or of a newer format.
    """
    folder = _folder_of(name_or_path)
    if not (folder / MANIFEST).is_file():
        packaged = Path(__file__).parents[1] / "weights"
        names = [path.name for path in packaged.iterdir() if (path / MANIFEST).is_file()]
        raise UnknownNameError.among("surrogate", str(name_or_path), names)
    return _load(str(folder.resolve()), (folder / MANIFEST).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(folder: str, stamp: int) -> Any:
    checkpoint = load_checkpoint(folder)
    name = READ_BY.get(checkpoint.kind, checkpoint.kind)
    if name not in ARCHITECTURES:
        hint = nearest(name, ARCHITECTURES.names())
        raise CheckpointError(f"checkpoint {folder}: unknown kind {checkpoint.kind!r}; {hint}")
    reader = ARCHITECTURES.make(name)
    if not callable(getattr(reader, "from_checkpoint", None)):
        raise ARCHITECTURES.refusal(name, f"is a {type(reader).__name__}, which reads no checkpoint")
    from surrogates.checkpoints.of_table import KEY, of_table

    is_own = ARCHITECTURES.is_packaged(name)
    own_words = {key: value for key, value in checkpoint.config.items() if key != KEY}
    with _named_errors(Path(folder), None if is_own else reader):
        found = reader.from_checkpoint(replace(checkpoint, config=own_words))
    if Path(folder).parent == packaged_folder(""):
        return found
    from surrogates.checkpoints.trial import tried

    try:
        found = tried(found)
        return of_table(found, checkpoint.config[KEY]) if KEY in checkpoint.config else found
    except EngineError as error:
        state = "is damaged" if is_own else "cannot be used"
        raise CheckpointError(f"checkpoint {folder} {state}: {error}") from None


def _upgraded(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if type(version) is not int or not {"kind", "config"} <= manifest.keys():
        raise CheckpointError(f"checkpoint {folder}: {MANIFEST} has no format_version, kind and config")
    if not isinstance(manifest["kind"], str) or not isinstance(manifest["config"], dict):
        raise CheckpointError(f"checkpoint {folder}: {MANIFEST}: kind is no text, or config no mapping")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {folder} has format {version}; this program reads up to {FORMAT_VERSION}"
        )
    while version < FORMAT_VERSION:
        if version not in UPGRADES:
            raise CheckpointError(f"checkpoint {folder} has format {version}, which cannot be upgraded")
        manifest = UPGRADES[version](manifest)
        version = manifest["format_version"]
    return manifest


def checkpoint_digest(name: str) -> str:
    """Return a digest of all that packaged or saved weights say: tensors, settings, calibrations.

    A stack's manifest holds the digest of its fast tier's tensors, so that one counts as well.

    Raises:
        CheckpointError: there are none.
    """
    folder = _folder_of(name)
    with _named_errors(folder):
        manifest = (folder / MANIFEST).read_bytes()
    return hashlib.sha256(manifest + weights_digest(name).encode()).hexdigest()[:16]


def weights_digest(name: str) -> str:
    """Return the SHA-256 of packaged or saved weights; CheckpointError where there are none."""
    folder = _folder_of(name)
    try:
        return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except OSError:
        raise CheckpointError(f"checkpoint {folder}: {WEIGHTS} is missing") from None


def _folder_of(name_or_path: str | Path) -> Path:
    """Return where weights lie: those of the package before a folder that happens to bear their name."""
    folder = Path(name_or_path)
    is_packaged = name_or_path == folder.name and (packaged_folder(folder.name) / MANIFEST).is_file()
    return packaged_folder(str(name_or_path)) if is_packaged or not folder.is_dir() else folder
