"""Interatomic potentials by name, loaded once per process, behind one small record."""

import contextlib
import importlib
import importlib.util
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pymatgen.core import Element

from surrogates.crystal import ELEMENT_SYMBOLS
from surrogates.errors import (
    ConfigError,
    MissingExtraError,
    UnknownNameError,
    UnsupportedElementError,
    VerificationError,
)

PACKAGE_OF: dict[str, str] = {"chgnet": "chgnet", "diep": "diep", "7net-0": "sevenn", "7net-l3i5": "sevenn"}
"""Python package that carries each built-in potential; `sevenn` is an optional extra (GPL-3.0)."""


@dataclass(frozen=True)
class SinglePoint:
    """What a potential says about one cell.

    Attributes:
        energy: of the cell, eV.
        forces: (A, 3) eV/Å.
        stress: (3, 3) eV/Å³, Cauchy, positive when the cell wants to shrink.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray


@dataclass(frozen=True)
class Potential:
    """A potential ready to use.

    Attributes:
        name: as asked for.
        calculator: any ASE calculator with energy, forces and stress.
        elements: symbols it knows.
    """

    name: str
    calculator: Calculator
    elements: frozenset[str]

    def check_elements(self, symbols: set[str]) -> None:
        """Raise UnsupportedElementError when the potential does not know one of the symbols."""
        unknown = sorted(symbols - self.elements)
        if unknown:
            raise UnsupportedElementError(f"{self.name} does not know the element {', '.join(unknown)}")

    def evaluate(self, numbers: np.ndarray, lattice: np.ndarray, frac_coords: np.ndarray) -> SinglePoint:
        """Return energy, forces and stress of one periodic cell.

        Args:
            numbers: (A,) atomic numbers.
            lattice: (3, 3) Å, rows are vectors.
            frac_coords: (A, 3).

        Raises:
            VerificationError: the potential failed, or returned something that is not finite.
        """
        atoms = Atoms(numbers=numbers, cell=lattice, scaled_positions=frac_coords, pbc=True)
        atoms.calc = self.calculator
        try:
            with quiet():
                forces = np.array(atoms.get_forces(), dtype=float)
                stress = np.array(atoms.get_stress(voigt=False), dtype=float)
                energy = float(atoms.get_potential_energy())
        except Exception as error:
            raise VerificationError(f"{self.name} failed: {_one_line(error)}") from error
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise VerificationError(f"{self.name} returned a value that is not finite")
        return SinglePoint(energy, forces, 0.5 * (stress + stress.T))


def available_potentials() -> dict[str, bool]:
    """Return each built-in potential's name and whether its package is installed; loads nothing."""
    return {
        name: importlib.util.find_spec(package) is not None for name, package in sorted(PACKAGE_OF.items())
    }


def check_potential(name: str) -> None:
    """Raise the error that `load_potential` would raise for a bad name, without loading weights.

    Raises:
        UnknownNameError: no such potential, module or factory.
        MissingExtraError: its package is not installed.
    """
    if ":" in name:
        _factory(name)
    elif name not in PACKAGE_OF:
        valid = [*PACKAGE_OF, "auto", "module:factory"]
        raise UnknownNameError.among("potential", name, valid)
    elif importlib.util.find_spec(PACKAGE_OF[name]) is None:
        package = PACKAGE_OF[name]
        install = f"pip install '{'inverse-crystals[sevenn]' if package == 'sevenn' else package}'"
        raise MissingExtraError(f"potential {name!r} needs the package {package!r}: {install}")


@lru_cache(maxsize=8)
def load_potential(name: str) -> Potential:
    """Return a potential; weights are read once per process.

    Args:
        name: `chgnet`, `diep`, `7net-0`, `7net-l3i5`, or `module:factory`, a function without arguments that
            returns an ASE calculator (its attribute `elements`, if any, lists the symbols it knows).

    Raises:
        UnknownNameError: no such potential, module or factory.
        MissingExtraError: its package is not installed.
        ConfigError: the factory does not return an ASE calculator.
    """
    check_potential(name)
    with quiet():
        if ":" in name:
            calculator = _factory(name)()
            if not isinstance(calculator, Calculator):
                raise ConfigError(f"{name} returned a {type(calculator).__name__}, not an ASE calculator")
            known = getattr(calculator, "elements", None) or ELEMENT_SYMBOLS
            return Potential(name, calculator, frozenset(known))
        return _BUILDERS[PACKAGE_OF[name]](name)


def potential_version(name: str) -> str:
    """Return package and version of a built-in potential, else its name; part of the store's key."""
    if name not in PACKAGE_OF:
        return name
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{PACKAGE_OF[name]} {version(PACKAGE_OF[name])}"
    except PackageNotFoundError:
        return PACKAGE_OF[name]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the prints and warnings of the potentials' packages out of our output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _sevenn(name: str) -> Potential:
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator(name, device="cpu")
    return Potential(name, calculator, _symbols(calculator.type_map))


def _diep(name: str) -> Potential:
    from diep.pretrained import make_calculator

    calculator = make_calculator(device="cpu")
    return Potential(name, calculator, frozenset(calculator.potential.model.element_types))


def _chgnet(name: str) -> Potential:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    model = CHGNet.load(use_device="cpu", verbose=False)
    return Potential(name, CHGNetCalculator(model, use_device="cpu"), _symbols(range(1, 95)))


_BUILDERS: dict[str, Callable[[str], Potential]] = {"sevenn": _sevenn, "diep": _diep, "chgnet": _chgnet}


def _symbols(numbers: Any) -> frozenset[str]:
    return frozenset(Element.from_Z(int(z)).symbol for z in numbers)


def _factory(name: str) -> Callable[[], Calculator]:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UnknownNameError(f"potential {name!r}: no module {module_name!r} ({error})") from None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise UnknownNameError.among("factory", attribute, [n for n in dir(module) if n[0] != "_"], name)
    return factory  # type: ignore[no-any-return]


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}".rstrip(": ")


def limit_threads() -> None:
    """Give this process one torch thread: two verifications side by side beat one on two threads."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
