"""What the shell offers behind Tab where a name or a file is expected; nothing heavy is imported for it."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

CONFIG_SUFFIXES = (".yaml", ".yml")


def configs(incomplete: str) -> list[str]:
    """Return packaged configs, config files and folders that may hold some."""
    folder = files("inverse").joinpath("inputs", "configs")
    packaged = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    parent = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    found = sorted(parent.iterdir()) if parent.is_dir() else []
    inside = [f"{path}/" if path.is_dir() else str(path) for path in found if not path.name.startswith(".")]
    return _begun(incomplete, [*packaged, *(p for p in inside if p.endswith(("/", *CONFIG_SUFFIXES)))])


def potentials(incomplete: str) -> list[str]:
    """Return who may judge."""
    from inverse.candidates.registry import AUTO, POTENTIALS

    return _begun(incomplete, [AUTO, *POTENTIALS.names()])


def decoders(incomplete: str) -> list[str]:
    """Return who may draw crystals."""
    from inverse.candidates.registry import DECODERS

    return _begun(incomplete, DECODERS.names())


def benchmarks(incomplete: str) -> list[str]:
    """Return the benchmarks."""
    from inverse.benchmarks import BENCHMARKS

    return _begun(incomplete, BENCHMARKS)


def devices(incomplete: str) -> list[str]:
    """Return where potentials and surrogates may compute."""
    return _begun(incomplete, ("auto", "cpu", "cuda"))


def formats(incomplete: str) -> list[str]:
    """Return what `inverse export` writes."""
    return _begun(incomplete, ("chemiscope", "cif", "qe", "vasp"))


def _begun(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
