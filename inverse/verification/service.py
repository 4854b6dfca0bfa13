"""What a worker process does: load the judges once, then answer one question after the other."""

import logging
import os
import signal
import threading
import time
import warnings
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

from inverse.candidates.failures import failure_of
from inverse.candidates.types import Failure, Verification
from inverse.inputs.records import structure_from_record, verification_to_record
from inverse.potentials.loading import limit_threads, load_potential
from inverse.verification.ladder import LadderVerifier
from inverse.verification.mechanics.phonons import phonons
from inverse.verification.messages import REFUSALS, Answer, Task
from inverse.verification.opening import open_here
from inverse.verification.plan import VerificationPlan
from inverse.verification.store import VerificationStore
from surrogates.errors import EngineError, MachineError
from surrogates.platform.cpu_time import cpu_seconds

NOTED = logging.WARNING
"""Level from which what is logged in a worker is told to the parent."""


class _Notes(logging.Handler):
    """Keeps what is logged until the next answer takes it along."""

    def __init__(self) -> None:
        super().__init__(NOTED)
        self.notes: list[tuple[int, str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.notes.append((record.levelno, record.name, record.getMessage()))


def serve(connection: Connection, parent: int) -> None:
    """Answer structures until the connection closes or the parent is gone; never raises.

    Args:
        connection: to the parent; its first message is the `VerificationPlan`.
        parent: its process id.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    notes = _Notes()
    logging.getLogger().addHandler(notes)
    warnings.simplefilter("ignore")
    try:
        plan: VerificationPlan = connection.recv()
        limit_threads()
        verifier = _start(connection, plan)
        while verifier is not None:
            task, record, seconds = connection.recv()
            answer = _answer(verifier, plan, task, record, seconds)
            for note in notes.notes:
                connection.send((Answer.NOTE, note))
            notes.notes.clear()
            connection.send((Answer.COST, cpu_seconds()))
            connection.send(answer)
    except (EOFError, OSError):
        return


def _start(connection: Connection, plan: VerificationPlan) -> LadderVerifier | None:
    """Tell whether the judges are loaded and return their verifier, None without one."""
    try:
        verifier = ready_verifier(plan)
    except BaseException as error:  # code of users may raise anything, SystemExit, too
        refusal = next((name for name, kind in REFUSALS.items() if isinstance(error, kind)), None)
        text = str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"
        connection.send((Answer.FAILED, text) if refusal is None else (Answer.REFUSED, (refusal, text)))
        return None
    connection.send((Answer.COST, cpu_seconds()))
    connection.send((Answer.READY, None))
    return verifier


def _answer(
    verifier: LadderVerifier, plan: VerificationPlan, task: Task, record: Any, seconds: float
) -> tuple[Answer, Any]:
    """Return (DONE, the verdict's record), or (MACHINE, why the machine could not give one).

    A record that is no structure has failed, with a reason; so has one at which code of users raised what
    is no error (SystemExit, KeyboardInterrupt).
    """
    try:
        structure = structure_from_record(record)
        if task is Task.PHONONS:
            return Answer.DONE, _phonons(verifier, plan, structure, seconds)
        verdict = (verifier.relax_one if task is Task.RELAX else verifier.verify_one)(structure)
    except MachineError as error:
        return Answer.MACHINE, str(error)
    except EngineError as error:
        verdict = Verification(verifier.potential, False, str(error), failure=failure_of(error))
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        verdict = Verification(verifier.potential, False, reason, failure=Failure.POTENTIAL)
    return Answer.DONE, verification_to_record(verdict)


def _phonons(
    verifier: LadderVerifier, plan: VerificationPlan, structure: Any, seconds: float
) -> dict[str, Any]:
    store = None if plan.store == "" else VerificationStore(plan.store)
    deadline = time.monotonic() + seconds
    try:
        found = phonons(
            structure, verifier.panel.energy, None, store, deadline, plan.reuse, device=plan.device
        )
    finally:
        if store is not None:
            store.close()
    return asdict(found)


def ready_verifier(plan: VerificationPlan) -> LadderVerifier:
    """Return the plan's verifier with potentials and hull loaded, so that no structure pays for loading.

    Raises:
        EngineError: what `open_here` and `load_potential` refuse.
    """
    verifier = open_here(plan)
    for name in plan.panel.potentials:
        load_potential(name, plan.device)
    verifier.load_reference()
    return verifier


def _end_with(parent: int) -> None:
    """End this process, and what it started, when its parent is gone, whatever it is computing."""
    while os.getppid() == parent:
        time.sleep(1.0)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
