"""Interatomic potentials by name, loaded once per process, behind one small record."""

import contextlib
import importlib
import importlib.util
import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from pymatgen.core import Element

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.batches import Batch, SinglePoint, chgnet_batch, diep_batch, sevenn_batch
from inverse.potentials.factories import factory_named, module_and_factory, source_version
from inverse.potentials.machine import has_failed, is_of_machine
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import (
    ConfigError,
    EngineError,
    MachineError,
    MissingExtraError,
    UnknownNameError,
    UnsupportedElementError,
    VerificationError,
)
from surrogates.platform.devices import device_named

PACKAGE_OF: dict[str, str] = {"chgnet": "chgnet", "diep": "diep", "7net-0": "sevenn", "7net-l3i5": "sevenn"}
"""Python package that carries each built-in potential; `sevenn` is an optional extra (GPL-3.0)."""

KINKED = frozenset({"diep"})
"""Potentials whose energy has a term linear in |strain| at ideal crystals: stiffness goes as a + b / strain.

Force constants and forces per strain go likewise. Twice the value at twice the size minus the value at the
size itself is free of b, for each of them alone (`stiffness`). Measured against DFT in experiments/LOG.md.
"""

EDGES_ON_CPU = 4000
"""Neighbour pairs in one pass on a CPU: more of them gain nothing there."""

BYTES_PER_EDGE = 200_000
"""Memory that one neighbour pair takes on a GPU while its gradient is computed, generously."""

REACH = 6.0
"""Å; no built-in potential looks further."""


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
        is_kinked: its energy has a kink at ideal crystals, see `KINKED`.
    """

    name: str
    calculator: Calculator
    elements: frozenset[str]
    batch: Batch | None = None
    device: str = "cpu"
    is_kinked: bool = False

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


def available_potentials() -> dict[str, bool]:
    """Return each built-in potential's name and whether its package is installed; loads nothing."""
    return {
        name: importlib.util.find_spec(package) is not None for name, package in sorted(PACKAGE_OF.items())
    }


def check_potential(name: str) -> None:
    """Raise the error that `load_potential` would raise for a bad name, without loading weights or modules.

    Raises:
        UnknownNameError: no such potential, or half a module:factory.
        MissingExtraError: its package is not installed.
    """
    if ":" in name:
        module_and_factory(name, "potential")
    elif name not in PACKAGE_OF:
        valid = [*PACKAGE_OF, "auto", "module:factory"]
        raise UnknownNameError.among("potential", name, valid)
    elif importlib.util.find_spec(PACKAGE_OF[name]) is None:
        package = PACKAGE_OF[name]
        install = f"pip install '{'inverse-crystals[sevenn]' if package == 'sevenn' else package}'"
        raise MissingExtraError(f"potential {name!r} needs the package {package!r}: {install}")


def load_potential(name: str, device: str = "auto") -> Potential:
    """Return a potential; weights are read once per process and device.

    Args:
        name: `chgnet`, `diep`, `7net-0`, `7net-l3i5`, or `module:factory`, a function without arguments that
            returns an ASE calculator (its attribute `elements`, if any, lists the symbols it knows).
        device: "auto" (a GPU where there is one), "cpu", "cuda"; a factory chooses for itself.

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
        if ":" in name:
            calculator = _made(name)
            if not isinstance(calculator, Calculator):
                raise ConfigError(f"{name} returned a {type(calculator).__name__}, not an ASE calculator")
            known = getattr(calculator, "elements", None) or ELEMENT_SYMBOLS
            return Potential(name, calculator, frozenset(known))
        try:
            return _BUILDERS[PACKAGE_OF[name]](name, device)
        except Exception as error:
            if not is_of_machine(error) and not has_failed(device):
                raise
            raise MachineError(f"{name} cannot be loaded: {_one_line(error)}") from error


def potential_version(name: str) -> str:
    """Return package and version of a potential, else a hash of its source; part of the store's key."""
    if name not in PACKAGE_OF:
        return source_version(name) or name
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


def _sevenn(name: str, device: str) -> Potential:
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator(name, device=device)
    return Potential(name, calculator, _symbols(calculator.type_map), sevenn_batch(calculator), device)


def _diep(name: str, device: str) -> Potential:
    from diep.pretrained import make_calculator

    calculator = make_calculator(device=device)
    elements = frozenset(calculator.potential.model.element_types)
    return Potential(name, calculator, elements, diep_batch(calculator), device, is_kinked=name in KINKED)


def _chgnet(name: str, device: str) -> Potential:
    from chgnet.model.dynamics import CHGNetCalculator
    from chgnet.model.model import CHGNet

    model = CHGNet.load(use_device=device, verbose=False)
    calculator = CHGNetCalculator(model, use_device=device)
    return Potential(name, calculator, _symbols(range(1, 95)), chgnet_batch(calculator), device)


_BUILDERS: dict[str, Callable[[str, str], Potential]] = {"sevenn": _sevenn, "diep": _diep, "chgnet": _chgnet}


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


def _symbols(numbers: Any) -> frozenset[str]:
    return frozenset(Element.from_Z(int(z)).symbol for z in numbers)


def _made(name: str) -> Any:
    factory = _factory(name)
    try:
        return factory()
    except EngineError:
        raise
    except (Exception, SystemExit) as error:
        kind = MachineError if is_of_machine(error) else ConfigError
        raise kind(f"potential {name!r} cannot be made: {_one_line(error)}") from error


def _factory(name: str) -> Callable[[], Calculator]:
    return factory_named(name, "potential")


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
