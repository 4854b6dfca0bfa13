"""A pool of processes that verify side by side, each structure within its limit of time."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from pymatgen.core import Structure

from inverse.failures import failure_of
from inverse.records import (
    structure_from_record,
    structure_to_record,
    verification_from_record,
    verification_to_record,
)
from inverse.types import Failure, Verification
from inverse.verification.limits import GUARD
from inverse.verification.machine import Patience
from inverse.verification.potentials import limit_threads
from surrogates.errors import EngineError, MachineError, VerificationError

LOGGER = logging.getLogger(__name__)

GRACE = 20.0
"""Seconds beyond the limit by the clock after which a worker that does not answer is killed."""

START_LIMIT = 1200.0
"""Seconds a worker may take to load its potentials: minutes from a cold network disk of a busy machine."""

KILLED = -9
"""Exit code of a process that the system ended, most likely because memory ran out."""

GB_PER_WORKER = 1.6
"""Memory of one process with three potentials loaded and a large cell at work, GiB."""


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker builds its verifier from; arguments of `load_verifier`."""

    potential: str
    reuse: bool = True
    store: str | None = None
    seconds_limit: float = 300.0
    stop_above_hull: float | None = None
    referee: bool = False
    device: str = "auto"
    shortlist: Mapping[str, tuple[float, float]] | None = None
    also: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()


class _Worker:
    """One process: starting, idle, or busy with a position since a moment."""

    def __init__(self, plan: WorkerPlan) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, plan, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.is_ready = False
        self.position: int | None = None
        self.since = time.monotonic()

    def begin(self, position: int, structure: Structure) -> None:
        self.connection.send((position, structure_to_record(structure)))
        self.position, self.since = position, time.monotonic()

    def stop(self) -> None:
        """Let an idle process end by itself, end a busy or silent one."""
        is_idle = self.is_ready and self.position is None
        with contextlib.suppress(OSError):
            self.connection.close()
        if is_idle:
            self.process.join(5.0)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(2.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5.0)


class VerifierPool:
    """Processes behind the `StreamingVerifier` contract; they start at the first use and stay.

    A worker that crashes or overruns its limit is replaced; its structure is recorded as failed with the
    reason. Where memory or a device failed, the structure is asked once more in a new process, whose device
    starts afresh. Workers end with this process, however it ends.
    """

    def __init__(self, plan: WorkerPlan, n_workers: int | None = None) -> None:
        """Plan the pool.

        Args:
            plan: what each worker builds.
            n_workers: None is one per core, as many as the memory holds.
        """
        self.plan, self.potential = plan, "referee" if plan.referee else plan.potential
        self.n_workers = n_workers or default_workers()
        self._workers: list[_Worker] = []
        self._failed_starts = 0
        self._patience = Patience()
        self._again: list[int] = []
        self._retried: set[int] = set()

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
        waiting = deque(range(len(structures)))
        self._discard_unfinished()
        self._again, self._retried = [], set()
        while waiting or any(worker.position is not None for worker in self._workers):
            if should_stop():
                waiting.clear()
            busy = sum(worker.position is not None for worker in self._workers)
            self._fill(min(self.n_workers, len(waiting) + busy))
            for worker in self._workers:
                if worker.is_ready and worker.position is None and waiting:
                    position = waiting.popleft()
                    if not self._begun(worker, position, structures[position]):
                        self._again.append(position)
                        self._patience.failed("a worker ended while it was idle")
            yield from self._collect()
            waiting.extendleft(self._again)
            self._again = []

    def start(self) -> None:
        """Start every worker now, so that potentials load while something else is done; optional."""
        self._fill(self.n_workers)

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

    def _begun(self, worker: _Worker, position: int, structure: Structure) -> bool:
        try:
            worker.begin(position, structure)
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
            elif not worker.is_ready and time.monotonic() - worker.since > START_LIMIT:
                self._failed_start(worker, f"no answer within {START_LIMIT:.0f} s")

    def _answer(self, worker: _Worker) -> Iterator[tuple[int, Verification]]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5.0)
            kind, content = "crashed", ended(worker.process.exitcode)
        if kind == "ready":
            worker.is_ready, self._failed_starts = True, 0
        elif kind == "done" and worker.position is not None:
            position, worker.position = worker.position, None
            self._patience.worked()
            yield position, verification_from_record(content)
        elif worker.position is not None and (kind == "machine" or worker.process.exitcode == KILLED):
            position, seconds = worker.position, time.monotonic() - worker.since
            self._remove(worker)
            yield from self._once_more(position, content, seconds)
        elif worker.position is not None:
            position, seconds = worker.position, time.monotonic() - worker.since
            self._remove(worker)
            yield position, self._failure(content, seconds, Failure.WORKER)
        else:
            self._failed_start(worker, content)

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

    def _failed_start(self, worker: _Worker, reason: str) -> None:
        self._remove(worker)
        self._failed_starts += 1
        LOGGER.warning("a verification worker did not start: %s", reason)
        if self._failed_starts > self.n_workers:
            raise VerificationError(f"verification workers do not start: {reason}")

    def _is_overdue(self, worker: _Worker) -> bool:
        return time.monotonic() - worker.since > GUARD * self.plan.seconds_limit + GRACE

    def _remove(self, worker: _Worker) -> None:
        worker.stop()
        self._workers.remove(worker)

    def _failure(self, reason: str, seconds: float, failure: Failure) -> Verification:
        return Verification(self.potential, False, reason, seconds=round(seconds, 3), failure=failure)


def ended(exit_code: int | None) -> str:
    """Return in words why a worker's process is gone.

    >>> ended(-9)
    'the system ended the worker (signal 9), most likely because memory ran out'
    """
    if exit_code == KILLED:
        return "the system ended the worker (signal 9), most likely because memory ran out"
    return f"the worker ended (exit code {exit_code})"


def default_workers() -> int:
    """Return one worker per usable core, as many as the free memory holds, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return max(1, cores)
    return max(1, min(cores, int(free / GB_PER_WORKER)))


def _serve(connection: Connection, plan: WorkerPlan, parent: int) -> None:
    """Answer structures until the connection closes; what a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    limit_threads()
    try:
        verifier = _verifier(plan)
    except Exception as error:
        connection.send(("failed", str(error)))
        return
    connection.send(("ready", None))
    while True:
        try:
            _, record = connection.recv()
            connection.send(_answer_to(verifier, record))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return


def _answer_to(verifier: Any, record: Any) -> tuple[str, Any]:
    """Return ("done", the verdict's record), or ("machine", why the machine could not give one).

    A record that is no structure has failed, with a reason.
    """
    try:
        verdict = verifier.verify_one(structure_from_record(record))
    except MachineError as error:
        return "machine", str(error)
    except EngineError as error:
        verdict = Verification(verifier.potential, False, str(error), failure=failure_of(error))
    return "done", verification_to_record(verdict)


def _verifier(plan: WorkerPlan) -> Any:
    """Return the plan's verifier with potentials and hull loaded, so that no structure pays for loading."""
    from inverse.verification.judges import load_verifier
    from inverse.verification.potentials import load_potential

    verifier = load_verifier(
        plan.potential,
        reuse=plan.reuse,
        store=plan.store,
        workers=0,
        seconds_limit=plan.seconds_limit,
        stop_above_hull=plan.stop_above_hull,
        referee=plan.referee,
        device=plan.device,
        shortlist=plan.shortlist,
        also=plan.also,
        wanted=plan.wanted,
    )
    for name in verifier.panel.potentials:
        load_potential(name, plan.device)
    verifier.load_reference()
    return verifier


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, whatever it is computing."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
