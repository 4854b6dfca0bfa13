"""Names of what files of this program and installed packages bring, found without importing any of them.

Each registry finds names in three places: files of this program in its room that carry the decorator, entry
points of installed packages in the group of the registry's name, and what this process decorated itself. To
list names nothing is imported: of the program's files the text is read for the decorator's line, of packages
the metadata. So a config is read, and a help text shown, without a model's libraries. What has a name is
imported when it is asked for, and what is wrong with it is said then, with the package that brings it.

    @PROPOSERS.register("annealing")
    class Annealing: ...

or, in the pyproject.toml of any package:

    [project.entry-points."inverse.proposers"]
    annealing = "my_package.annealing:Annealing"
"""

import importlib
import importlib.metadata
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

from surrogates.errors import ConfigError, EngineError, UnknownNameError
from surrogates.platform.blame import said_of

Thing = TypeVar("Thing")

PROGRAM, PROCESS = "this program", "this process"
"""Who brings what is named, where no other package does."""


@dataclass(frozen=True)
class Entry:
    """Where something of a name is found.

    Attributes:
        name: what a config says.
        module: that holds it; the same module brings one thing of a name.
        brought_by: this program, this process, or "package <distribution> <version>".
        attribute: of the module; "" where the module's decorator says what it is.
    """

    name: str
    module: str
    brought_by: str
    attribute: str = ""


class Registry:
    """Factories by name, found without importing what makes them."""

    def __init__(self, group: str, what: str, symbol: str, room: str = "") -> None:
        """Name a registry; nothing is looked for yet.

        Args:
            group: of entry points.
            what: its things are, for messages: "potential".
            symbol: of this registry in the files that decorate with it.
            room: package of this program whose files are searched; that of the group's name without.
        """
        self.group, self.what, self._room = group, what, room or group
        self._line = re.compile(rf'^@{symbol}\.register\(\s*"([^"]+)"', re.MULTILINE)
        self._own: tuple[Entry, ...] = ()
        self._decorated: dict[tuple[str, str], Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """Return a decorator that gives a factory (a function or a class) a name; it stays what it is."""

        def decorated(factory: Thing) -> Thing:
            made: Any = factory
            self._decorated[name, made.__module__] = made
            return factory

        return decorated

    def names(self, with_extensions: bool = True) -> tuple[str, ...]:
        """Return every name, sorted; without extensions those of this program's own files."""
        found = self._entries()
        return tuple(
            sorted({e.name for e in found if with_extensions or e.brought_by == PROGRAM}, key=_of_people)
        )

    def __contains__(self, name: object) -> bool:
        return any(entry.name == name for entry in self._entries())

    def brought_by(self, name: str) -> str:
        """Return who brings a name: this program, this process, or a package with its version.

        Raises:
            UnknownNameError: no such name.
            ConfigError: several bring it.
        """
        return self._entry(name).brought_by

    def bringers(self, name: str) -> tuple[str, ...]:
        """Return who brings a name; several is one too many, () nobody."""
        return tuple({e.module: e.brought_by for e in self._entries() if e.name == name}.values())

    def place(self, name: str) -> str:
        """Return module:factory of a name; errors as those of `brought_by`."""
        entry = self._entry(name)
        return f"{entry.module}:{entry.attribute or name}"

    def is_packaged(self, name: str) -> bool:
        """Return whether a name is one of this program's own."""
        return name in self.names(with_extensions=False)

    def get(self, name: str) -> Callable[..., Any]:
        """Return the factory of a name; its module is imported now.

        Raises:
            UnknownNameError: no such name; names the nearest.
            ConfigError: two packages bring it, it cannot be imported, or it cannot be called.
        """
        entry = self._entry(name)
        try:
            module = importlib.import_module(entry.module)
            found: Any = module
            for part in entry.attribute.split(".") if entry.attribute else ():
                found = getattr(found, part)
        except EngineError:
            raise
        except (Exception, SystemExit) as error:
            raise self.refusal(name, f"cannot be imported: {said_of(error)}") from error
        if not entry.attribute:
            found = self._decorated.get((name, entry.module))
        if not callable(found):
            raise self.refusal(name, f"is a {type(found).__name__}, which cannot be called")
        return found  # type: ignore[no-any-return]

    def make(self, name: str, **given: Any) -> Any:
        """Return what the factory of a name makes of those of the given arguments that it asks for.

        Raises:
            UnknownNameError: no such name.
            ConfigError: it cannot be had, or fails; one line with the package that brings it.
        """
        factory = self.get(name)
        try:
            return factory(**asked_for(factory, given))
        except EngineError:
            raise
        except (Exception, SystemExit) as error:
            raise self.refusal(name, f"cannot be made: {said_of(error, factory)}") from error

    def refusal(self, name: str, reason: str) -> ConfigError:
        """Return the error of something that is not what its group promises; names who brings it."""
        return ConfigError(f"{self.what} {name!r} of {self.brought_by(name)} {reason}")

    def unknown(self, name: str, *also: str) -> UnknownNameError:
        """Return the error for a name that nobody brings; `also` are valid besides."""
        return UnknownNameError.among(self.what, name, [*self.names(), *also])

    def _entry(self, name: str) -> Entry:
        found = {entry.module: entry for entry in self._entries() if entry.name == name}
        if not found:
            raise self.unknown(name)
        if len(found) > 1:
            all_of_them = " and ".join(
                dict.fromkeys(
                    e.brought_by if e.brought_by.startswith("package") else f"{e.brought_by} ({e.module})"
                    for e in found.values()
                )
            )
            raise ConfigError(f"{self.what} {name!r} is brought by {all_of_them}; uninstall or rename one")
        return next(iter(found.values()))

    def _entries(self) -> Iterator[Entry]:
        """Yield what is found: packages before what they decorate on import, so that the package is named."""
        seen = set()
        extensions = (entry for group, entry in _extensions() if group == self.group)
        for entry in (*self._packaged(), *extensions):
            seen.add((entry.name, entry.module))
            yield entry
        for name, module in self._decorated:
            if (name, module) not in seen:
                yield Entry(name, module, PROCESS)

    def _packaged(self) -> tuple[Entry, ...]:
        """Return what this program's files bring; their text does not change while it runs."""
        if not self._own:
            self._own = tuple(
                Entry(name, module, PROGRAM)
                for module, text in _sources(self._room)
                for name in self._line.findall(text)
            )
        return self._own


def asked_for(factory: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return those of the given arguments that a factory has a name for.

    >>> asked_for(lambda device: device, {"device": "cpu", "space": None})
    {'device': 'cpu'}
    """
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some built-in callables have no signature
        return {}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return given
    return {name: value for name, value in given.items() if name in parameters}


@cache
def _sources(package: str) -> tuple[tuple[str, str], ...]:
    """Return (module, source) of every file below a package, read without importing one of them."""
    top, *below = package.split(".")
    return tuple(_read(files(top).joinpath(*below), package))


def _read(folder: Traversable, package: str) -> Iterator[tuple[str, str]]:
    for item in sorted(folder.iterdir(), key=lambda found: found.name):
        if item.is_dir() and item.joinpath("__init__.py").is_file():
            yield from _read(item, f"{package}.{item.name}")
        elif item.name.endswith(".py") and item.name != "__init__.py":
            yield f"{package}.{item.name.removesuffix('.py')}", item.read_text(encoding="utf-8")


@cache
def _extensions() -> tuple[tuple[str, Entry], ...]:
    """Return (group, entry point) of the packages that are installed; none is loaded."""
    found: dict[str, list[tuple[str, Entry]]] = {}
    for distribution in importlib.metadata.distributions():
        points = [p for p in distribution.entry_points if p.group.startswith("inverse.")]
        package = distribution.metadata["Name"] if points else ""
        if not points or package in found:  # the first on the path is the one that is imported
            continue
        bringer = f"package {package} {distribution.version}"
        found[package] = [(p.group, Entry(p.name, p.module, bringer, p.attr)) for p in points]
    return tuple(itertools.chain.from_iterable(found.values()))


def _of_people(name: str) -> tuple[bool, str]:
    """Return what sorts names as people read them: letters before digits."""
    return name[:1].isdigit(), name
