"""A pool of processes that verify side by side, each structure within its limit of time."""

import contextlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from multiprocessing.connection import wait
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.types import Failure, Verification
from inverse.inputs.records import structure_to_record, verification_received
from inverse.potentials.limits import GUARD
from inverse.potentials.machine import Patience
from inverse.verification.mechanics.phonons import PhononVerdict
from inverse.verification.messages import REFUSALS, Answer, Task
from inverse.verification.plan import VerificationPlan
from surrogates.errors import EngineError, VerificationError

LOGGER = logging.getLogger(__name__)

GRACE = 20.0
"""Seconds beyond the limit by the clock after which a worker that does not answer is killed."""

START_LIMIT = 1200.0
"""Seconds a worker may take to load its potentials: minutes from a cold network disk of a busy machine."""

SILENT_START = 30.0
"""Seconds of a start after which the log says what is waited for: most potentials load in less."""

MOST_DEATHS = 3
"""Workers that may die on one structure before it has failed: one may be chance."""

MOST_SIGNALS = 20
"""Workers in a row that may be ended from outside; more, and somebody wants the work to end."""

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which a process ends itself."""

GB_PER_WORKER = 1.6
"""Memory of one process with three potentials loaded and a large cell at work, GiB."""


class _Worker:
    """One process: starting, idle, or busy with a position since a moment.

    It never imports `__main__`, and leads a session of its own: what ends the parent's process group passes
    it, and its end is that of every program it started.
    """

    def __init__(self, plan: VerificationPlan) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        entry = str(files("inverse.verification").joinpath("worker_entry.py"))
        warnings = [f"-W{option}" for option in sys.warnoptions]
        numbers = [str(theirs.fileno()), str(os.getpid())]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", *warnings, entry, *numbers],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise VerificationError(f"verification workers do not start: {error}") from error
        finally:
            theirs.close()
        self._end = weakref.finalize(self, _kill, self.process, os.getpid())
        self.is_ready = self.is_announced = False
        self.position: int | None = None
        self.cpu_seconds = 0.0
        self.since = time.monotonic()
        with contextlib.suppress(OSError):  # one that is gone already is found out by whoever listens
            self.connection.send(sys.path)
            self.connection.send(plan)

    def ask(self, position: int, task: Task, structure: Structure, seconds: float = 0.0) -> None:
        self.connection.send((task, structure_to_record(structure), seconds))
        self.position, self.since = position, time.monotonic()

    def take_aside(self, kind: Answer, content: Any) -> bool:
        """Take in what a worker says beside its answers; return False where it is an answer."""
        if kind is Answer.NOTE:
            LOGGER.log(content[0], "%s: %s", *content[1:])
        elif kind is Answer.COST:
            self.cpu_seconds = float(content)
        return kind in (Answer.NOTE, Answer.COST)

    def exit_code(self) -> int | None:
        """Return how a process ended that has closed its end of the line, None if it did not; once."""
        until = time.monotonic() + 5.0
        while not _has_ended(self.process.pid) and time.monotonic() < until:
            time.sleep(0.01)
        self._end()
        return self.process.returncode

    def stop(self) -> None:
        """Let an idle process end by itself, end a busy or silent one."""
        is_idle = self.is_ready and self.position is None
        with contextlib.suppress(OSError):
            self.connection.close()
        if is_idle:
            self.exit_code()
        self._end()


def _has_ended(pid: int) -> bool:
    """Return whether a child has ended, without burying it: its id stays that of its group."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def _kill(process: "subprocess.Popen[bytes]", owner: int) -> None:
    """End a worker and every program it started; a fork of the owner leaves them alone."""
    if os.getpid() != owner or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5.0)


class VerifierPool:
    """Processes behind the `StreamingVerifier` contract; they start at the first use and stay.

    A worker that dies or overruns its limit is replaced. A structure has failed, with the reason, where it
    overran, where `MOST_DEATHS` workers died on it, or where memory or a device failed twice, the second
    time in a new process, whose device starts afresh. A worker that a signal from outside ended says
    nothing: its structure is asked again. Workers end with this process, however it ends.
    """

    def __init__(self, plan: VerificationPlan, n_workers: int | None = None) -> None:
        """Plan the pool.

        Args:
            plan: what each worker builds.
            n_workers: None is one per core, as many as the memory holds.
        """
        self.plan, self.potential = plan, plan.potential
        self.n_workers = n_workers or default_workers()
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._patience, self._disturbed = Patience(), Patience(MOST_SIGNALS)
        self._again: list[int] = []
        self._retried: set[int] = set()
        self._deaths: Counter[int | None] = Counter()

    def verify(self, structures: Sequence[Structure]) -> list[Verification]:
        """Return one Verification per structure, in order; see `Verifier`."""
        results = dict(self.verify_each(structures))
        return [results[position] for position in range(len(structures))]

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Verification]]:
        """Yield (position, Verification) as they finish; begin nothing new once `should_stop()` is true.

        Raises:
            VerificationError: workers do not start (a missing package, no memory); the message says why.
            MachineError: memory or a device failed too often in a row.
        """
        return self._each(structures, should_stop, Task.VERIFY)

    def relax_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Verification]]:
        """Yield the same of relaxations by the energy judge alone, see `LadderVerifier.relax_one`.

        Raises:
            VerificationError: as of `verify_each`.
        """
        return self._each(structures, should_stop, Task.RELAX)

    def _each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool], task: Task
    ) -> Iterator[tuple[int, Verification]]:
        waiting = deque(range(len(structures)))
        self._discard_unfinished()
        self._again, self._retried, self._deaths = [], set(), Counter()
        while waiting or any(worker.position is not None for worker in self._workers):
            if should_stop():
                waiting.clear()
            busy = sum(worker.position is not None for worker in self._workers)
            self._fill(min(self.n_workers, len(waiting) + busy))
            for worker in self._workers:
                if worker.is_ready and worker.position is None and waiting:
                    position = waiting.popleft()
                    if not self._begun(worker, position, task, structures[position]):
                        self._again.append(position)
                        self._disturbed.failed("a worker ended while it was idle")
            yield from self._collect()
            waiting.extendleft(self._again)
            self._again = []

    def start(self) -> None:
        """Start every worker now, so that potentials load while something else is done; optional."""
        self._fill(self.n_workers)

    def check(self) -> None:
        """Wait until a worker is ready: what cannot be loaded is said now and not once a run has begun.

        Raises:
            EngineError: what loading a potential or a judge refuses, or that workers do not start.
        """
        self._discard_unfinished()
        try:
            while not any(worker.is_ready for worker in self._workers):
                self._fill(1)
                for _ in self._collect():
                    pass
        except VerificationError as error:
            raise error.__cause__ if isinstance(error.__cause__, EngineError) else error from None

    def phonons(
        self, structure: Structure, seconds: float, should_stop: Callable[[], bool] = lambda: False
    ) -> PhononVerdict:
        """Return the phonons of a relaxed structure by the energy judge, computed by a worker.

        Args:
            structure: relaxed by the energy judge.
            seconds: after which to give up; such a verdict is not remembered.
            should_stop: true gives up, too.

        Raises:
            VerificationError: workers do not start.
        """
        self.check()
        worker = next(worker for worker in self._workers if worker.is_ready)
        reason, until = "", time.monotonic() + seconds
        try:
            worker.ask(0, Task.PHONONS, structure, seconds)
            while not reason:
                if worker.connection.poll(0.2):
                    kind, content = worker.connection.recv()
                    if worker.take_aside(kind, content):
                        continue
                    if kind is Answer.DONE:
                        worker.position = None
                        return PhononVerdict(**content)
                    reason = str(content)
                elif should_stop():
                    reason = f"stopped during phonons by {self.potential}"
                elif time.monotonic() > until + GRACE:
                    reason = f"time limit during phonons by {self.potential}"
        except (EOFError, OSError):
            reason = ended(worker.exit_code())
        self._remove(worker)
        return PhononVerdict(self.potential, reason=reason)

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds of the workers that live, as of their last answers; `cpu_time` has those that ended."""
        return sum(w.cpu_seconds for w in self._workers if w.process.returncode is None)

    def close(self) -> None:
        """Stop every worker; safe to call twice."""
        for worker in self._workers:
            worker.stop()
        self._workers = []

    def __enter__(self) -> "VerifierPool":
        """Return the pool."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every worker."""
        self.close()

    def _fill(self, wanted: int) -> None:
        while len(self._workers) < wanted:
            self._workers.append(_Worker(self.plan))

    def _discard_unfinished(self) -> None:
        """Drop workers that still compute for an earlier, abandoned call."""
        for worker in [w for w in self._workers if w.position is not None]:
            self._remove(worker)

    def _begun(self, worker: _Worker, position: int, task: Task, structure: Structure) -> bool:
        try:
            worker.ask(position, task, structure)
        except (OSError, ValueError):
            self._remove(worker)
            return False
        return True

    def _collect(self) -> Iterator[tuple[int, Verification]]:
        """Yield what has finished within half a second; replace what crashed or overran."""
        ready = {id(c) for c in wait([w.connection for w in self._workers], timeout=0.5)}
        for worker in list(self._workers):
            if id(worker.connection) in ready:
                yield from self._answer(worker)
            elif worker.position is not None and self._is_overdue(worker):
                position, seconds = worker.position, time.monotonic() - worker.since
                self._remove(worker)
                limit = GUARD * self.plan.seconds_limit
                yield (
                    position,
                    self._failure(f"time limit of {limit:.0f} s by the clock", seconds, Failure.TIME_LIMIT),
                )
            elif not worker.is_ready:
                self._wait_for_start(worker)

    def _wait_for_start(self, worker: _Worker) -> None:
        """Say once what a slow start is waited for; give it up beyond the limit."""
        seconds = time.monotonic() - worker.since
        if seconds > START_LIMIT:
            self._failed_start(worker, f"no answer within {START_LIMIT:.0f} s")
        elif seconds > SILENT_START and not worker.is_announced:
            worker.is_announced = True
            LOGGER.warning(
                "loading %s takes more than %.0f s; a verification worker that is not ready after %.0f s "
                "is given up",
                self.potential,
                SILENT_START,
                START_LIMIT,
            )

    def _answer(self, worker: _Worker) -> Iterator[tuple[int, Verification]]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._gone(worker, worker.exit_code())
            return
        if worker.take_aside(kind, content):
            return
        if kind is Answer.READY:
            worker.is_ready, self._failed_starts = True, 0
        elif worker.position is None:
            self._failed_start(worker, content, kind is Answer.REFUSED)
        elif kind is Answer.DONE:
            position, worker.position = worker.position, None
            self._patience.worked()
            self._disturbed.worked()
            yield position, verification_received(content)
        else:
            position, seconds = worker.position, time.monotonic() - worker.since
            self._remove(worker)
            yield from self._once_more(position, content, seconds)

    def _gone(self, worker: _Worker, exit_code: int | None) -> Iterator[tuple[int, Verification]]:
        """Replace a worker whose process is gone; its structure is asked again, or has failed.

        Raises:
            MachineError: something outside goes on ending workers.
        """
        position, seconds, reason = worker.position, time.monotonic() - worker.since, ended(exit_code)
        is_idle = worker.is_ready and position is None
        if position is None and not is_idle and not is_from_outside(exit_code):
            self._failed_start(worker, reason)
            return
        self._remove(worker)
        LOGGER.warning("a verification worker is replaced: %s", reason)
        if is_idle or is_from_outside(exit_code):
            self._disturbed.failed(reason)
        else:
            self._deaths[position] += 1
        if position is not None and self._deaths[position] >= MOST_DEATHS:
            reason = f"{reason}, as did {MOST_DEATHS - 1} before it"
            yield position, self._failure(reason, seconds, Failure.WORKER)
        elif position is not None:
            self._again.append(position)

    def _once_more(self, position: int, reason: str, seconds: float) -> Iterator[tuple[int, Verification]]:
        """Put a structure that the machine failed back, once; the second time it has failed.

        Raises:
            MachineError: too many structures in a row have.
        """
        LOGGER.warning("a verification worker is replaced: %s", reason)
        if position in self._retried:
            self._patience.failed(reason)
            yield position, self._failure(reason, seconds, Failure.MACHINE)
        else:
            self._retried.add(position)
            self._again.append(position)

    def _failed_start(self, worker: _Worker, reason: Any, is_refused: bool = False) -> None:
        self._remove(worker)
        self._failed_starts += 1
        refusal = REFUSALS[reason[0]](reason[1]) if is_refused else None
        LOGGER.info("a verification worker did not start: %s", refusal or reason)
        if refusal is not None or self._failed_starts > self.n_workers:
            self._failed_starts = 0
            raise VerificationError(f"verification workers do not start: {refusal or reason}") from refusal

    def _is_overdue(self, worker: _Worker) -> bool:
        return time.monotonic() - worker.since > GUARD * self.plan.seconds_limit + GRACE

    def _remove(self, worker: _Worker) -> None:
        worker.stop()
        self._workers.remove(worker)

    def _failure(self, reason: str, seconds: float, failure: Failure) -> Verification:
        return Verification(self.potential, False, reason, seconds=round(seconds, 3), failure=failure)


def is_from_outside(exit_code: int | None) -> bool:
    """Return whether a signal ended a process that it did not bring upon itself.

    Signal 9 may be a person or the system short of memory: it counts as the process's own.

    >>> [is_from_outside(code) for code in (-signal.SIGQUIT, -signal.SIGKILL, -signal.SIGSEGV, 1)]
    [True, False, False, False]
    """
    return exit_code is not None and exit_code < 0 and -exit_code not in {*CRASHES, signal.SIGKILL}


def ended(exit_code: int | None) -> str:
    """Return in words why a worker's process is gone.

    >>> ended(-9)
    'the system ended the worker (signal 9), most likely because memory ran out'
    >>> ended(-11), ended(1)
    ('the worker ended (signal 11)', 'the worker ended (exit code 1)')
    """
    if exit_code == -signal.SIGKILL:
        return "the system ended the worker (signal 9), most likely because memory ran out"
    if exit_code is not None and exit_code < 0:
        return f"the worker ended (signal {-exit_code})"
    return f"the worker ended (exit code {exit_code})"


def default_workers() -> int:
    """Return one worker per usable core, as many as the free memory holds, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return max(1, cores)
    return max(1, min(cores, int(free / GB_PER_WORKER)))
