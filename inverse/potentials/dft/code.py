"""Which DFT code is used, in which interpreter, and what it has."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from inverse.potentials.dft.process import DftProcess, Limits
from surrogates.errors import MissingExtraError, UnknownNameError, VerificationError
from surrogates.platform.factories import module_and_factory

SYSTEM_PYTHON = "/usr/bin/python3"
"""Where Debian's packages put what they bring."""

HOW_TO_GET = (
    "gpaw is found neither here nor in {python}: apt-get install gpaw gpaw-data (Debian, Ubuntu), "
    "or pip install gpaw and gpaw install-data"
)


@dataclass(frozen=True)
class DftCode:
    """A DFT code that was found.

    Attributes:
        name: as asked for: gpaw, or module:factory.
        python: the interpreter that has it.
        factory: what makes a calculator there.
        version: as it says; "" where it does not.
        elements: symbols it has data sets of; empty where it does not say.
    """

    name: str
    python: str
    factory: str
    version: str
    elements: frozenset[str]

    def process(self, limits: Limits | None = None) -> DftProcess:
        """Return a process of the code; it starts when it is asked."""
        return DftProcess(self.python, self.factory, limits)


def code_named(name: str, python: str = "") -> DftCode:
    """Return a DFT code, having asked it for its version.

    Args:
        name: gpaw, or module:factory: a function that returns an ASE calculator; of the settings (fields of
            `DftProtocol`, `mesh`, `is_spin_polarised`), where it takes an argument.
        python: interpreter that has it; "" is this one, and for gpaw the system's where this has none.

    Raises:
        UnknownNameError: neither gpaw nor module:factory, or no such interpreter.
        MissingExtraError: gpaw is nowhere; says how to get it.
        VerificationError: the interpreter cannot import the code.
    """
    if name != "gpaw":
        if ":" not in name:
            raise UnknownNameError.among("DFT code", name, ["gpaw", "module:factory"], name)
        module_and_factory(name, "DFT code")
    if python and shutil.which(os.path.expanduser(python)) is None:
        raise UnknownNameError(f"python {python!r}: no such interpreter")
    return _found(name, os.path.expanduser(python))


@cache
def _found(name: str, python: str) -> DftCode:
    if name != "gpaw":
        return _asked(name, python or sys.executable, name)
    factory = str(files("inverse.potentials.dft").joinpath("gpaw_factory.py"))
    if python:
        return _asked(name, python, factory)
    if importlib.util.find_spec("gpaw") is not None:
        return _asked(name, sys.executable, factory)
    if shutil.which(SYSTEM_PYTHON) is None:
        raise MissingExtraError(HOW_TO_GET.format(python=SYSTEM_PYTHON))
    try:
        return _asked(name, SYSTEM_PYTHON, factory)
    except VerificationError as error:
        raise MissingExtraError(HOW_TO_GET.format(python=SYSTEM_PYTHON)) from error


def _asked(name: str, python: str, factory: str) -> DftCode:
    process = DftProcess(python, factory)
    try:
        said = process.version()
    finally:
        process.close()
    return DftCode(name, python, factory, str(said["version"]), frozenset(said["elements"]))
