"""Interatomic potentials by name, loaded once per process, behind one small record."""

import contextlib
import importlib
import importlib.util
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pymatgen.core import Element

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.registry import POTENTIALS, PROGRAM, asked_for
from inverse.candidates.types import Failure
from inverse.potentials.batches import Batch, SinglePoint
from inverse.potentials.machine import has_failed, is_of_machine
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import (
    ConfigError,
    EngineError,
    MachineError,
    MissingExtraError,
    UnsupportedElementError,
    VerificationError,
)
from surrogates.platform.devices import device_named
from surrogates.platform.factories import factory_named, module_and_factory, source_version

EDGES_ON_CPU = 4000
"""Neighbour pairs in one pass on a CPU: more of them gain nothing there."""

BYTES_PER_EDGE = 200_000
"""Memory that one neighbour pair takes on a GPU while its gradient is computed, generously."""

UNMEASURED_ERROR = 0.1
"""eV/atom, of formation energies that nobody compared with those of the reference."""

REACH = 6.0
"""Å; no built-in potential looks further."""


Made = TypeVar("Made", bound=Callable[..., "Potential"])


class PeriodicCell(Protocol):
    """A cell as a potential sees it, such as a `SymmetricCell`."""

    @property
    def numbers(self) -> np.ndarray:
        """(A,) atomic numbers."""
        ...

    @property
    def lattice(self) -> np.ndarray:
        """(3, 3) Å, rows are vectors."""
        ...

    @property
    def frac_coords(self) -> np.ndarray:
        """(A, 3)."""
        ...


@dataclass(frozen=True)
class Potential:
    """A potential ready to use.

    Attributes:
        name: as asked for.
        calculator: any ASE calculator with energy, forces and stress.
        elements: symbols it knows.
        batch: evaluates several cells in one pass; None where only one at a time is possible.
        device: where it computes.
        is_kinked: its energy has a kink at ideal crystals, see `traits.Traits`.
        element_energies: symbol -> its energy of the element in its reference state, eV/atom. What they give
            counts as a formation energy and has a distance from the hull of known phases, as far as the
            elements go; those of this program are fitted instead (`verification.calibration`).
        formation_energy_error: standard error of what they give, eV/atom.
    """

    name: str
    calculator: Calculator
    elements: frozenset[str]
    batch: Batch | None = None
    device: str = "cpu"
    is_kinked: bool = False
    element_energies: Mapping[str, float] = field(default_factory=dict, hash=False)
    formation_energy_error: float = UNMEASURED_ERROR

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
            CrystalFailureError: the potential failed, or returned something that is not finite.
            MachineError: it failed for want of memory, device or disk.
        """
        atoms = _atoms(numbers, lattice, frac_coords)
        atoms.calc = self.calculator
        try:
            with quiet():
                forces = np.array(atoms.get_forces(), dtype=float)
                stress = np.array(atoms.get_stress(voigt=False), dtype=float)
                energy = float(atoms.get_potential_energy())
        except (Exception, SystemExit) as error:
            reason = f"{self.name} failed: {_one_line(error)}"
            if is_of_machine(error) or has_failed(self.device):
                raise MachineError(reason) from error
            raise CrystalFailureError(reason, Failure.POTENTIAL) from error
        point = SinglePoint(energy, forces, 0.5 * (stress + stress.T))
        if not _is_finite(point):
            raise CrystalFailureError(f"{self.name} returned a value that is not finite", Failure.POTENTIAL)
        return point

    def evaluate_many(self, cells: Sequence[PeriodicCell]) -> list[SinglePoint | VerificationError]:
        """Return what `evaluate` says about each cell, or the error it raises; one bad cell spoils no other.

        Cells share passes through the network where the potential can; how many follows from their size
        and the memory. Agrees with `evaluate` within 1e-4 (float32 noise).
        """
        answers: list[SinglePoint | VerificationError] = []
        for share in self._shares(cells):
            answers += self._pass(share)
        return answers

    def _shares(self, cells: Sequence[PeriodicCell]) -> Iterator[Sequence[PeriodicCell]]:
        """Yield the cells in order, as many at a time as go into one pass."""
        room = _room(self.device) if self.batch is not None else 0
        first, filled = 0, 0.0
        for k, cell in enumerate(cells):
            edges = _edges(cell)
            if k > first and filled + edges > room:
                yield cells[first:k]
                first, filled = k, 0.0
            filled += edges
        if first < len(cells):
            yield cells[first:]

    def _pass(self, cells: Sequence[PeriodicCell]) -> list[SinglePoint | VerificationError]:
        """Evaluate cells together; what fails together (out of memory, one bad cell) is halved."""
        if len(cells) > 1 and self.batch is not None:
            atoms = [_atoms(cell.numbers, cell.lattice, cell.frac_coords) for cell in cells]
            try:
                with quiet():
                    points = self.batch(atoms)
                if all(_is_finite(point) for point in points):
                    return list(points)
            except Exception:
                _free_memory(self.device)
            half = len(cells) // 2
            return self._pass(cells[:half]) + self._pass(cells[half:])
        return [self._one(cell) for cell in cells]

    def _one(self, cell: PeriodicCell) -> SinglePoint | VerificationError:
        try:
            return self.evaluate(cell.numbers, cell.lattice, cell.frac_coords)
        except VerificationError as error:
            return error


def needs(package: str, extra: str = "") -> Callable[[Made], Made]:
    """Return a decorator that says which Python package makes a potential of this program.

    Args:
        package: to be imported.
        extra: of this program that installs it; "" where it comes with the program.
    """

    return with_needs(NeedsPackage(package, extra))


def with_needs(needed: "Needs") -> Callable[[Made], Made]:
    """Return a decorator that says what makes a potential of this program."""

    def noted(factory: Made) -> Made:
        factory.needs = needed  # type: ignore[attr-defined]
        return factory

    return noted


class Needs(Protocol):
    """What makes a potential: a package of this interpreter, or a program of another."""

    def check(self, potential: str) -> None:
        """Raise MissingExtraError where it is not there; says in one line how to get it."""
        ...

    @property
    def version(self) -> str:
        """What it is, with its version: part of the store's keys."""
        ...


@dataclass(frozen=True)
class NeedsPackage:
    """The Python package that makes a potential.

    Attributes:
        package: to be imported.
        extra: of this program that installs it.
    """

    package: str
    extra: str

    @property
    def is_met(self) -> bool:
        """Whether it is installed; it is not imported."""
        return importlib.util.find_spec(self.package) is not None

    def check(self, potential: str) -> None:
        """Raise MissingExtraError where it is not installed."""
        if not self.is_met:
            install = f"'inverse-crystals[{self.extra}]'" if self.extra else self.package
            raise MissingExtraError(
                f"potential {potential!r} needs the package {self.package!r}: pip install {install}"
            )

    @property
    def version(self) -> str:
        """The package with its version, alone where it is not installed."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return self.package


def available_potentials() -> dict[str, bool]:
    """Return each built-in interatomic potential and whether its package is installed; loads nothing.

    Codes of first principles, which other interpreters have, are none of them: `dft.code_named` looks.
    """
    named = {name: _needed(name) for name in sorted(POTENTIALS.names(with_extensions=False))}
    return {name: needed.is_met for name, needed in named.items() if isinstance(needed, NeedsPackage)}


def is_code_of_others(name: str) -> bool:
    """Return whether a potential is no one of this program: module:factory, or of another package."""
    return ":" in name or not POTENTIALS.is_packaged(name)


def check_potential(name: str) -> None:
    """Raise the error that `load_potential` would raise for a bad name, without loading weights or modules.

    Raises:
        UnknownNameError: no such potential, or half a module:factory.
        ConfigError: two packages bring the name.
        MissingExtraError: its package is not installed.
    """
    if ":" in name:
        module_and_factory(name, "potential")
        return
    if name not in POTENTIALS:
        raise POTENTIALS.unknown(name, "auto", "module:factory")
    if POTENTIALS.brought_by(name) == PROGRAM:
        _needed(name).check(name)


def _needed(name: str) -> Needs:
    found: Needs = POTENTIALS.get(name).needs  # type: ignore[attr-defined]
    return found


def load_potential(name: str, device: str = "auto") -> Potential:
    """Return a potential; weights are read once per process and device.

    Args:
        name: of a built-in potential, of one of an installed package (entry point `inverse.potentials`), or
            `module:factory`: a function that returns an ASE calculator or a `Potential`. Of a calculator,
            attributes `elements`, `element_energies` and `formation_energy_error` are as of a `Potential`.
        device: "auto" (a GPU where there is one), "cpu", "cuda"; other people's factories that have no
            argument `device` choose for themselves.

    Raises:
        UnknownNameError: no such potential, module or factory.
        MissingExtraError: its package is not installed.
        ConfigError: the factory does not return an ASE calculator; a device that is not there.
        MachineError: no memory or no device to load it.
    """
    check_potential(name)
    return _loaded(name, "cpu" if ":" in name else str(device_named(device)))


@lru_cache(maxsize=8)
def _loaded(name: str, device: str) -> Potential:
    with quiet():
        if is_code_of_others(name):
            return _known_scale(_of_others(name, device))
        try:
            built: Potential = POTENTIALS.get(name)(device)
        except Exception as error:
            if not is_of_machine(error) and not has_failed(device):
                raise
            raise MachineError(f"{name} cannot be loaded: {_one_line(error)}") from error
        return _known_scale(built)


def _known_scale(potential: Potential) -> Potential:
    """Return a potential that was loaded; on what its formation energies rest is remembered."""
    scale = EnergyScale(potential.element_energies, potential.formation_energy_error)
    _SCALES[potential.name] = scale
    return potential


def _of_others(name: str, device: str) -> Potential:
    """Return what other people's factory makes, as a potential.

    Raises:
        ConfigError: neither an ASE calculator nor a `Potential`, or element energies that are none.
    """
    made = _made(name, device)
    if not isinstance(made, Potential | Calculator):
        raise _refusal(name, f"returned a {type(made).__name__}, not an ASE calculator")
    if isinstance(made, Potential):
        found = replace(made, name=name)
    else:
        found = Potential(
            name,
            made,
            frozenset(getattr(made, "elements", None) or ELEMENT_SYMBOLS),
            element_energies=dict(getattr(made, "element_energies", None) or {}),
            formation_energy_error=getattr(made, "formation_energy_error", UNMEASURED_ERROR),
        )
    energies, error = found.element_energies, found.formation_energy_error
    if odd := [e for e, v in energies.items() if e not in ELEMENT_SYMBOLS or not _is_number(v)]:
        raise _refusal(
            name, f"has the element energy {odd[0]!r}: {energies[odd[0]]!r}; give eV/atom by symbol"
        )
    if not _is_number(error) or error <= 0:
        raise _refusal(name, f"has the formation_energy_error {error!r}; give eV/atom above zero")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.floating) and bool(np.isfinite(value))


def _refusal(name: str, reason: str) -> ConfigError:
    return ConfigError(f"{name} {reason}") if ":" in name else POTENTIALS.refusal(name, reason)


@dataclass(frozen=True)
class EnergyScale:
    """How a potential itself says what a formation energy is: fields as those of a `Potential`."""

    element_energies: Mapping[str, float]
    formation_energy_error: float


_SCALES: dict[str, EnergyScale] = {}
"""Of the potentials that this process loaded: what they say does not depend on the device."""


def energy_scale(name: str) -> EnergyScale | None:
    """Return on what a potential's formation energies rest, None where it does not say; may load it.

    Raises:
        EngineError: what `load_potential` refuses.
    """
    if name not in _SCALES:
        load_potential(name)
    return _SCALES[name] if _SCALES[name].element_energies else None


def potential_version(name: str) -> str:
    """Return package and version of a potential, else a hash of its source; part of the store's key."""
    if ":" in name:
        return source_version(name) or name
    if name not in POTENTIALS:
        return name
    if is_code_of_others(name):
        return source_version(POTENTIALS.place(name)) or name
    return _needed(name).version


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the prints and warnings of the potentials' packages out of our output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _atoms(numbers: np.ndarray, lattice: np.ndarray, frac_coords: np.ndarray) -> Atoms:
    return Atoms(numbers=numbers, cell=lattice, scaled_positions=frac_coords, pbc=True)


def _is_finite(point: SinglePoint) -> bool:
    return bool(
        np.isfinite(point.energy) and np.isfinite(point.forces).all() and np.isfinite(point.stress).all()
    )


def _edges(cell: PeriodicCell) -> float:
    """Return about how many neighbour pairs a cell has within REACH."""
    volume = max(abs(float(np.linalg.det(cell.lattice))), 1e-3)
    return len(cell.numbers) ** 2 / volume * 4.19 * REACH**3


def _room(device: str) -> float:
    """Return how many neighbour pairs go into one pass."""
    if not device.startswith("cuda"):
        return EDGES_ON_CPU
    import torch

    return max(1.0, 0.8 * torch.cuda.mem_get_info(device)[0] / BYTES_PER_EDGE)


def _free_memory(device: str) -> None:
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()


def symbols_of(numbers: Iterable[Any]) -> frozenset[str]:
    """Return the symbols of atomic numbers."""
    return frozenset(Element.from_Z(int(z)).symbol for z in numbers)


def _made(name: str, device: str) -> Any:
    factory = factory_named(name, "potential") if ":" in name else POTENTIALS.get(name)
    try:
        return factory(**asked_for(factory, {"device": device}))
    except EngineError:
        raise
    except (Exception, SystemExit) as error:
        brought_by = "" if ":" in name else f" of {POTENTIALS.brought_by(name)}"
        kind = MachineError if is_of_machine(error) else ConfigError
        raise kind(f"potential {name!r}{brought_by} cannot be made: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200] if text else ''}".rstrip(": ")


class _OneThread(threading.local):
    """How deep this thread is inside `one_thread`, and how many are: torch's number is each thread's own."""

    depth = 0
    n_inside = 0
    before = 1
    lock = threading.Lock()


_ONE_THREAD = _OneThread()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread meanwhile: CPU time then means the same on every machine.

    What torch had before the first of several threads came in is given back to each as it leaves.
    """
    import torch

    with _OneThread.lock:
        if not _OneThread.n_inside:
            _OneThread.before = torch.get_num_threads()
        _OneThread.n_inside += 1
    _ONE_THREAD.depth += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _ONE_THREAD.depth -= 1
        with _OneThread.lock:
            _OneThread.n_inside -= 1
            if not _ONE_THREAD.depth:
                torch.set_num_threads(_OneThread.before)


def limit_threads() -> None:
    """Give this process one torch thread: two verifications side by side beat one on two threads."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
