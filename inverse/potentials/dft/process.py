"""A process of an interpreter that has a DFT code: asked one calculation after the other, ended at will."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import IO, Any

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.limits import GUARD
from surrogates.errors import MachineError, VerificationError

START_LIMIT = 300.0
"""Seconds an interpreter may take to start and to import a DFT code."""


class Trouble(StrEnum):
    """What can go wrong with a calculation."""

    NOT_CONVERGED = "not_converged"
    TIME_LIMIT = "time_limit"
    MEMORY = "memory"
    FAILED = "failed"


_FAILURES = {
    Trouble.NOT_CONVERGED: Failure.NOT_CONVERGED,
    Trouble.TIME_LIMIT: Failure.TIME_LIMIT,
    Trouble.FAILED: Failure.POTENTIAL,
}


@dataclass(frozen=True)
class Limits:
    """Of one calculation.

    Attributes:
        seconds: of computing; `potentials.limits.GUARD` times as many by the clock.
        gigabytes: of memory of the process; 0 sets no limit.
    """

    seconds: float = 3600.0
    gigabytes: float = 8.0


class CalculationError(CrystalFailureError):
    """A calculation that came to nothing, and at what: `trouble`."""

    def __init__(self, message: str, trouble: Trouble) -> None:
        super().__init__(message, _FAILURES.get(trouble, Failure.POTENTIAL))
        self.trouble = trouble


@dataclass(frozen=True)
class _Running:
    """A process that was started, and the three streams to it."""

    process: "subprocess.Popen[bytes]"
    requests: IO[bytes]
    answers: IO[bytes]
    errors: IO[bytes]


class DftProcess:
    """Starts at the first question, and afresh after one that it did not survive; ends with this process."""

    def __init__(self, python: str, factory: str, limits: Limits | None = None) -> None:
        """Name the interpreter and what makes a calculator there.

        Args:
            python: path of an interpreter.
            factory: path of a file with a function `calculator`, or module:factory.
            limits: of each calculation.
        """
        self.python, self.factory, self.limits = python, factory, limits or Limits()
        self._running: _Running | None = None
        self._end: weakref.finalize[Any, Any] | None = None

    def version(self) -> dict[str, Any]:
        """Return name, version and elements of the code, as its factory says.

        Raises:
            VerificationError: the interpreter does not start, or cannot import the code.
        """
        return self._asked({"task": "version"}, START_LIMIT)

    def calculate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return energy (eV), forces (eV/Å), stress (eV/Å³, as ASE's), magmoms and cost of one cell.

        Args:
            request: numbers, lattice, frac_coords, magmoms (None without spin) and settings.

        Raises:
            CalculationError: it did not converge, took too long, or the code failed at it.
            MachineError: memory or disk.
        """
        limits = {"seconds": self.limits.seconds, "gigabytes": self.limits.gigabytes}
        return self._asked(
            {"task": "calculate", **request, **limits}, GUARD * self.limits.seconds + START_LIMIT
        )

    @property
    def pid(self) -> int | None:
        """Number of the process, None while there is none."""
        return None if self._running is None else self._running.process.pid

    def close(self) -> None:
        """End the process; it starts again when asked again."""
        if self._end is not None:
            self._end()
        self._running = self._end = None

    def _asked(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        running = self._started()
        try:
            running.requests.write(json.dumps(request).encode() + b"\n")
            running.requests.flush()
            line = self._line(running.answers, seconds)
        except BrokenPipeError:
            line = b""
        if not line:
            raise self._ended(running)
        answer: dict[str, Any] = json.loads(line)
        if (error := answer.get("error")) is None:
            return answer
        trouble, message = Trouble(error["kind"]), error["message"]
        if trouble is Trouble.MEMORY:
            self.close()
            raise MachineError(f"a calculation needs more than {self.limits.gigabytes:g} GB: {message}")
        raise CalculationError(message, trouble)

    def _line(self, answers: IO[bytes], seconds: float) -> bytes:
        """Return the next line, b"" when the process ended.

        Raises:
            CalculationError: none came in time; the process is ended.
        """
        until, read = time.monotonic() + seconds, b""
        while not read.endswith(b"\n"):
            ready, _, _ = select.select([answers], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.close()
                raise CalculationError(f"{seconds:.0f} s by the clock", Trouble.TIME_LIMIT)
            piece = os.read(answers.fileno(), 2**20)
            if not piece:
                return b""
            read += piece
        return read

    def _started(self) -> _Running:
        if self._running is not None and self._running.process.poll() is None:
            return self._running
        self.close()
        script = str(files("inverse.potentials.dft").joinpath("calculation_server.py"))
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        try:
            process = subprocess.Popen(
                [self.python, script, self.factory, str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=_environment(self.python),
            )
        except OSError as error:
            errors.close()
            raise VerificationError(f"{self.python} does not start: {error}") from error
        if process.stdin is None or process.stdout is None:
            raise VerificationError(f"{self.python}: no pipe to it")
        self._running = _Running(process, process.stdin, process.stdout, errors)
        self._end = weakref.finalize(self, _kill, self._running, os.getpid())
        return self._running

    def _ended(self, running: _Running) -> VerificationError:
        """Return the error of a process that ended before it answered."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(5.0)
        code = running.process.returncode
        running.errors.seek(0)
        said = running.errors.read().decode(errors="replace").strip().splitlines()
        self.close()
        last = f": {said[-1]}" if said else ""
        if code is not None and code < 0:
            return CalculationError(f"ended by {signal.Signals(-code).name}{last}", Trouble.FAILED)
        return VerificationError(f"{self.python} with {self.factory} ended with status {code}{last}")


def _environment(python: str) -> dict[str, str]:
    """Return the environment of a process; where this interpreter's modules lie misleads another."""
    own = python == sys.executable
    kept = {k: v for k, v in os.environ.items() if own or not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, "OMP_NUM_THREADS": "1"}


def _kill(running: _Running, owner: int) -> None:
    """End a process and whatever it started; a fork of the owner leaves it alone."""
    if os.getpid() != owner:
        return
    process = running.process
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
    for stream in (running.requests, running.answers, running.errors):
        with contextlib.suppress(OSError):
            stream.close()
