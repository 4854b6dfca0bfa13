"""What `inverse doctor` tells: versions, weights, device, judges, reference, store; and what is wrong."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from inverse.campaign.provenance import WEIGHT_FOLDERS, versions, weights
from inverse.campaign.version import DISTRIBUTION
from inverse.candidates.registry import DECODERS, JUDGES, POTENTIALS, PROPOSERS, SURROGATES
from surrogates.checkpoints.checkpoint import ARCHITECTURES
from surrogates.errors import EngineError
from surrogates.physics.properties import GROUP
from surrogates.platform.registry import Registry


def diagnose() -> dict[str, Any]:
    """Return everything that decides what this installation can do; `problems` is empty when all is well.

    Nothing is downloaded, no potential is loaded, and no file is left behind.
    """
    problems: list[str] = []
    found: dict[str, Any] = {"problems": problems, "versions": versions(), "platform": _platform()}
    sections: tuple[tuple[str, Callable[[list[str]], Mapping[str, Any]]], ...] = (
        ("device", _device),
        ("weights", _weights),
        ("judges", _judges),
        ("dft", _dft),
        ("extensions", _extensions),
        ("reference", _reference),
        ("store", _store),
        ("shared_data", _shared_data),
    )
    for name, look in sections:
        try:
            found[name] = dict(look(problems))
        except Exception as error:  # a doctor reports what is broken, whatever it is
            problems.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())}")
            found[name] = {}
    return found


def _platform() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "executable": sys.executable,
    }


def _device(problems: list[str]) -> dict[str, Any]:
    import torch

    has_cuda = torch.cuda.is_available()
    return {
        "auto": "cuda" if has_cuda else "cpu",
        "cuda": torch.cuda.get_device_name(0) if has_cuda else None,
        "threads": torch.get_num_threads(),
    }


def _weights(problems: list[str]) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, Any] = dict(weights())
    for package, *folders in WEIGHT_FOLDERS:
        if not any(place.startswith("/".join([package, *folders])) for place in found):
            problems.append(f"weights: none in {'/'.join([package, *folders])}; reinstall {DISTRIBUTION}")
    for place, record in found.items():
        path = Path(str(files(place.split("/")[0]).joinpath(*place.split("/")[1:])))
        try:
            with safe_open(str(path), framework="np") as file:
                record["tensors"] = len(list(file.keys()))
        except (SafetensorError, OSError) as error:
            problems.append(f"weights: {place} is damaged ({error})")
    return found


def _judges(problems: list[str]) -> dict[str, Any]:
    from inverse.potentials.loading import available_potentials, potential_version
    from inverse.verification.calibration.moduli import load_calibrations, other_versions

    available = available_potentials()
    others = {found for fit in load_calibrations().values() for found in other_versions(fit).items()}
    for name, installed in sorted(others):
        if available.get(name):
            problems.append(f"judges: {name} is {installed}, not what its calibration was fitted with")
    if not any(available.values()):
        problems.append("judges: no potential is installed; pip install chgnet diep")
    return {name: potential_version(name) if there else None for name, there in available.items()}


def _dft(problems: list[str]) -> dict[str, Any]:
    """Return which DFT code `inverse confirm` finds; none is no problem, and it says what would bring one."""
    from inverse.potentials.dft import code_named

    try:
        code = code_named("gpaw")
    except EngineError as error:
        return {"code": None, "how_to_get": str(error)}
    return {"code": f"{code.name} {code.version}", "python": code.python, "elements": len(code.elements)}


def _extensions(problems: list[str]) -> Mapping[str, Any]:
    """Return which packages bring what names beside this program's own; nothing of them is imported."""
    found: dict[str, dict[str, str]] = {}
    properties = Registry(GROUP, "property", "PROPERTIES", "surrogates.physics.properties")
    for registry in (PROPOSERS, DECODERS, SURROGATES, POTENTIALS, JUDGES, ARCHITECTURES, properties):
        for name in registry.names():
            if registry.is_packaged(name) and len(registry.bringers(name)) == 1:
                continue
            found.setdefault(registry.group, {})[name] = " and ".join(registry.bringers(name))
            if len(registry.bringers(name)) > 1:
                problems.append(f"extensions: {registry.what} {name!r} is brought by several packages")
    return found


def _reference(problems: list[str]) -> dict[str, Any]:
    from inverse.reference import live
    from inverse.reference.hull import ReferenceHull

    if no_entries := live.refusal():
        problems.append(f"reference: {no_entries}")
    try:
        hull = ReferenceHull.packaged()
        return {"hull_elements": len(hull.supported_elements)}
    except (EngineError, OSError) as error:
        problems.append(f"reference: the packaged hull cannot be read ({error})")
        return {"hull_elements": None}


def _store(problems: list[str]) -> dict[str, Any]:
    from inverse.verification.store import default_store_path

    path = default_store_path()
    writable = _is_writable(path.parent)
    if not writable:
        problems.append(f"store: {path.parent} cannot be written; set INVERSE_STORE to a file that can")
    size = path.stat().st_size if path.is_file() else 0
    return {"path": str(path), "exists": path.is_file(), "bytes": size, "writable": writable}


def _is_writable(folder: Path) -> bool:
    """Return whether a file can be made in a folder, or in the nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _shared_data(problems: list[str]) -> dict[str, Any]:
    named = os.environ.get("INVERSE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if named and not folder.is_dir():
        problems.append(f"shared_data: INVERSE_DATA names {folder}, which is no folder")
    return {"path": str(folder), "present": folder.is_dir(), "needed": False}
