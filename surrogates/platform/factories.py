"""Objects that users bring, named as module:factory."""

import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from surrogates.errors import ConfigError, EngineError, UnknownNameError
from surrogates.platform.blame import said_of


def made_by(name: str, what: str) -> Any:
    """Return what the function that `module:factory` names makes; loads the module and calls it.

    Args:
        name: "package.module:function".
        what: for the error: "judge", "surrogate".

    Raises:
        UnknownNameError: see `factory_named`.
        ConfigError: see `factory_named`; or the function fails.
    """
    factory = factory_named(name, what)
    try:
        return factory()
    except EngineError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what} {name!r} cannot be made: {said_of(error, factory)}") from error


def is_factory(name: str) -> bool:
    r"""Return whether a name has the form package.module:factory.

    >>> is_factory("mine.models:stiffness"), is_factory("structure"), is_factory("C:\\weights")
    (True, False, False)
    """
    module, colon, factory = name.partition(":")
    return bool(colon) and factory.isidentifier() and all(p.isidentifier() for p in module.split("."))


def factory_named(name: str, what: str) -> Callable[[], Any]:
    """Return the function without arguments that `module:factory` names; loads the module.

    Modules of the working directory are found, too, after those that are installed.

    Args:
        name: "package.module:function".
        what: for the error: "potential", "judge".

    Raises:
        UnknownNameError: not module:factory, no such module, or nothing of that name in it.
        ConfigError: what has that name is not callable, or the module cannot be imported.
    """
    module_name, attribute = module_and_factory(name, what)
    _find_here()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownNameError(f"{what} {name!r}: no module {module_name!r} ({error})") from None
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError(f"{what} {name!r}: cannot be imported: {reason}") from error
    if not hasattr(module, attribute):
        valid = [n for n in dir(module) if n[0] != "_" and callable(getattr(module, n, None))]
        raise UnknownNameError.among("factory", attribute, valid, name)
    factory = getattr(module, attribute)
    if not callable(factory):
        raise ConfigError(f"{what}: {name} is not callable; give a function without arguments")
    return factory  # type: ignore[no-any-return]


def module_and_factory(name: str, what: str) -> tuple[str, str]:
    """Return the two halves of `module:factory`; nothing is imported.

    Raises:
        UnknownNameError: it has no two halves.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UnknownNameError(f"{what} {name!r}: give module:factory")
    return module, attribute


@lru_cache(maxsize=32)
def source_version(name: str) -> str:
    """Return what tells one state of a `module:factory` from another, as this process found it.

    Name and version of the installed distribution that the module belongs to; else (the working directory,
    an editable installation) a hash of its source: the file, or every one of its package. "" when there is
    none to be found.
    """
    module_name = name.partition(":")[0]
    top = module_name.partition(".")[0]
    _find_here()
    try:
        spec, parent = importlib.util.find_spec(module_name), importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return ""  # built into Python, or not there
    origin = Path(spec.origin).resolve()
    if owner := _owner(top, origin):
        return owner
    is_package = parent is not None and parent.origin is not None and bool(parent.submodule_search_locations)
    sources = sorted(Path(str(parent.origin)).parent.rglob("*.py")) if parent and is_package else [origin]
    digest = sha256()
    for path in sources:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"source {digest.hexdigest()[:12]}"


def _owner(top: str, origin: Path) -> str:
    """Return name and version of the distribution that installed a file, "" where none did."""
    if not {"site-packages", "dist-packages"} & set(origin.parts):
        return ""
    place = str(next(p for p in origin.parents if p.name in ("site-packages", "dist-packages")))
    for found in importlib.metadata.distributions(path=[place]):
        files = found.read_text("RECORD") or ""  # an editable installation lists no modules
        if f"\n{top}/" in f"\n{files}" or f"\n{top}." in f"\n{files}":
            return f"{found.metadata['Name']} {found.version}"
    return ""


def _find_here() -> None:
    """Let modules of the working directory be found, after those that are installed."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
