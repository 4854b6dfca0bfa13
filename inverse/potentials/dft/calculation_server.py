"""One DFT calculation a line: requests on standard input, answers on standard output, both JSON.

Run as a file by the interpreter that has the DFT code: it imports nothing of this program but a factory of
calculators, and needs ASE and NumPy there. Signals that mean the run are the parent's business; it ends with
its parent. See `process.DftProcess` for what is said.
"""

import importlib
import importlib.util
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from typing import Any

LET_PASS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP")
"""Signals that mean the run, not a calculation."""

STRESS_ORDER = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class OverTimeError(Exception):
    """The calculation's processor time is spent."""


def main() -> None:
    """Answer requests until there are no more, or the parent is gone."""
    for name in LET_PASS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a code prints is no answer
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    factory = _factory(sys.argv[1])
    server = Server(factory)
    for line in sys.stdin:
        answers.write(json.dumps(server.answer(json.loads(line))) + "\n")
        answers.flush()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _factory(named: str) -> Any:
    """Return the module that `path/to/file.py` or `module:function` names, with a function `calculator`."""
    if named.endswith(".py"):
        spec = importlib.util.spec_from_file_location("dft_factory", named)
        if spec is None or spec.loader is None:
            raise ImportError(f"{named}: no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    name, _, function = named.partition(":")
    sys.path.append(os.getcwd())
    return Foreign(getattr(importlib.import_module(name), function), name)


class Foreign:
    """A function of somebody's own that makes an ASE calculator."""

    def __init__(self, function: Any, module: str) -> None:
        self.function, self.module = function, module

    def calculator(self, settings: dict[str, Any], atoms: Any) -> Any:
        """Return what the function makes: of the settings, where it takes an argument, else of nothing."""
        import inspect

        takes_settings = bool(inspect.signature(self.function).parameters)
        return self.function(settings) if takes_settings else self.function()

    def version(self) -> dict[str, Any]:
        """Return what is known of it: `__version__` and `elements` of its module, where there are any."""
        module = importlib.import_module(self.module)
        return {
            "name": self.module,
            "version": str(getattr(module, "__version__", "")),
            "elements": sorted(getattr(module, "elements", [])),
        }


class Server:
    """Answers requests; keeps the last calculator for crystals that differ in their coordinates alone."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory
        self.kept: tuple[str, Any] | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request, or in its place what went wrong."""
        try:
            if request["task"] == "version":
                return dict(self.factory.version())
            _limit(request["seconds"], request["gigabytes"])
            try:
                return self._calculated(request)
            finally:
                signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        except OverTimeError:
            self.kept = None
            return _error("time_limit", f"{request['seconds']:.0f} s of computing")
        except MemoryError as error:
            self.kept = None
            return _error("memory", str(error) or "no memory left")
        except Exception as error:
            self.kept = None
            kind = type(error).__name__
            is_unconverged = "Convergence" in kind or kind == "SCFError"
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = f"{kind}: {_first_line(error)} ({os.path.basename(where.filename)}:{where.lineno})"
            return _error("not_converged" if is_unconverged else "failed", said)

    def _calculated(self, request: dict[str, Any]) -> dict[str, Any]:
        started, computed = time.monotonic(), time.process_time()
        atoms = _atoms(request)
        same = json.dumps([request[k] for k in ("numbers", "lattice", "magmoms", "settings")])
        found = None
        if self.kept is not None and self.kept[0] == same:
            try:
                found = _values(atoms, self.kept[1])
            except OverTimeError:
                raise
            except Exception:  # other coordinates may have another symmetry than the one it was made for
                found = None
        if found is None:
            self.kept = None
            settings = {**request["settings"], "is_spin_polarised": bool(request["magmoms"])}
            made = self.factory.calculator(settings, _atoms(request))
            found = _values(_atoms(request), made)
            self.kept = (same, made)
        found["seconds"] = round(time.monotonic() - started, 2)
        found["computing"] = round(time.process_time() - computed, 2)
        found["gigabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
        return found


def _atoms(request: dict[str, Any]) -> Any:
    from ase import Atoms

    return Atoms(
        numbers=request["numbers"],
        cell=request["lattice"],
        scaled_positions=request["frac_coords"],
        magmoms=request["magmoms"],
        pbc=True,
    )


def _values(atoms: Any, calculator: Any) -> dict[str, Any]:
    atoms.calc = calculator
    energy = _energy(atoms)
    forces = atoms.get_forces()
    voigt = atoms.get_stress()
    stress = [[0.0] * 3 for _ in range(3)]
    for value, (i, j) in zip(voigt, STRESS_ORDER):  # noqa: B905 - older Pythons
        stress[i][j] = stress[j][i] = float(value)
    moments = _moments(atoms)
    points: Any = getattr(calculator, "get_ibz_k_points", list)()
    steps = getattr(calculator, "get_number_of_iterations", int)()
    return {
        "energy": energy,
        "forces": [[float(x) for x in row] for row in forces],
        "stress": stress,
        "magmoms": [float(m) for m in moments],
        "n_k_points": len(points),
        "steps": int(steps or 0),
    }


def _energy(atoms: Any) -> float:
    """Return the free energy, which forces are consistent with; the energy of a code that has no other."""
    from ase.calculators.calculator import PropertyNotImplementedError

    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except PropertyNotImplementedError:
        return float(atoms.get_potential_energy())


def _moments(atoms: Any) -> Any:
    """Return the moments where spin was asked for; none of a code that knows none."""
    from ase.calculators.calculator import PropertyNotImplementedError

    if not atoms.get_initial_magnetic_moments().any():
        return []
    try:
        return atoms.get_magnetic_moments()
    except PropertyNotImplementedError:
        return []


def _limit(seconds: float, gigabytes: float) -> None:
    """Let the processor time of this calculation and the memory of this process end."""

    def over(number: int, frame: Any) -> None:
        raise OverTimeError

    signal.signal(signal.SIGXCPU, over)
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))
    if gigabytes:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 2**30), hard))


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message}}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]


if __name__ == "__main__":
    main()
