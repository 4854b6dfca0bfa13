"""What made a result: versions of packages, and every packaged weight file by its checksum."""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from inverse.campaign.version import DISTRIBUTION

PACKAGES = ("torch", "numpy", "pymatgen", "ase", "spglib", "optuna", "chgnet", "diep", "sevenn", "phonopy")
"""Packages whose version changes results; those beyond the first six are judges and extras."""

WEIGHT_FOLDERS = (("surrogates", "weights"), ("inverse", "decoders", "weights"))
"""Where package data with weights lies: package, then folders in it."""


def versions() -> dict[str, str | None]:
    """Return the versions of this program, Python and what changes results; None when absent."""
    return {
        DISTRIBUTION: _version(DISTRIBUTION),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def weights() -> dict[str, dict[str, Any]]:
    """Return size, SHA-256 and format version of every packaged weight file, by its place."""
    found: dict[str, dict[str, Any]] = {}
    for package, *folders in WEIGHT_FOLDERS:
        root = Path(str(files(package).joinpath(*folders)))
        for path in sorted(root.rglob("*.safetensors")) if root.is_dir() else ():
            place = "/".join([package, *folders, path.relative_to(root).as_posix()])
            found[place] = {
                "bytes": path.stat().st_size,
                "sha256": sha256(path),
                "format_version": _format_version(path),
            }
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _format_version(path: Path) -> int | None:
    """Return the format version in the JSON manifest beside a weight file; None without one."""
    for manifest in (path.with_name("manifest.json"), path.with_suffix(".json")):
        try:
            number = json.loads(manifest.read_text(encoding="utf-8")).get("format_version")
        except (OSError, ValueError, AttributeError):
            continue
        return number if isinstance(number, int) else None
    return None
