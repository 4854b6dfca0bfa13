"""Inquiries answered by processes of a DFT code, several calculations at once, none made twice."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

from inverse.potentials.batches import SinglePoint
from inverse.potentials.dft import DftCalculator, DftCode, DftProcess, Limits
from inverse.potentials.dft.calculator import point_of
from inverse.potentials.inquiry import Inquiry, Question
from inverse.potentials.loading import Potential
from surrogates.errors import ConfigError, MachineError, VerificationError

T = TypeVar("T")

POLL = 0.5
"""Seconds between two looks at whether to stop."""


@dataclass(frozen=True)
class Calculated:
    """One calculation that was made, for whoever shows progress.

    Attributes:
        position: of the inquiry that asked.
        found: energy, forces, stress, magmoms, n_k_points, steps, computing (s), seconds, gigabytes.
        was_remembered: it had been made before.
    """

    position: int
    found: dict[str, Any]
    was_remembered: bool


@dataclass
class _Task:
    """A calculation of an inquiry."""

    position: int
    place: int
    calculator: DftCalculator
    request: dict[str, Any]


@dataclass
class _UnderWay:
    """An inquiry and the answers to its question so far."""

    inquiry: Inquiry[Any]
    answers: list[SinglePoint | VerificationError | None] = field(default_factory=list)


class CalculationPool:
    """Processes that calculate side by side; they start at the first calculation and end with `close`."""

    def __init__(self, code: DftCode, n_processes: int = 1, limits: Limits | None = None) -> None:
        """Plan the pool; nothing starts yet."""
        self._code, self._limits, self.n_processes = code, limits, n_processes
        self._local = threading.local()
        self._processes: list[DftProcess] = []
        self._threads = ThreadPoolExecutor(max_workers=n_processes)

    def answered(
        self,
        inquiries: Sequence[Inquiry[T]],
        on_calculation: Callable[[Calculated], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, T | VerificationError]]:
        """Yield (position, result or error) of each inquiry as it ends.

        As many inquiries are under way as there are processes, in their order. What had been calculated
        before costs nothing. When it should stop, calculations under way are given up; whatever needs none is
        still yielded.

        Args:
            inquiries: whose questions name potentials with a `DftCalculator`.
            on_calculation: told of each calculation.
            should_stop: asked twice a second.

        Raises:
            MachineError: memory or disk.
        """
        waiting = deque(enumerate(inquiries))
        live: dict[int, _UnderWay] = {}
        running: dict[Future[dict[str, Any]], _Task] = {}
        queued: deque[_Task] = deque()
        while waiting or live:
            is_ending = should_stop()
            while waiting and (is_ending or len(live) < self.n_processes):
                position, inquiry = waiting.popleft()
                live[position] = _UnderWay(inquiry)
                yield from self._advance(position, live, queued, on_calculation)
            if is_ending:
                return
            while queued and len(running) < self.n_processes:
                task = queued.popleft()
                running[self._threads.submit(self._calculate, task)] = task
            done, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                self._note(task, future, live, on_calculation)
                if all(answer is not None for answer in live[task.position].answers):
                    yield from self._advance(task.position, live, queued, on_calculation)

    def _advance(
        self,
        position: int,
        live: dict[int, _UnderWay],
        queued: "deque[_Task]",
        on_calculation: Callable[[Calculated], None],
    ) -> Iterator[tuple[int, Any]]:
        """Ask an inquiry on until it needs what nobody remembers; yield its result when it has one."""
        one = live[position]
        while True:
            try:
                question = _next_question(one)
            except StopIteration as done:
                del live[position]
                yield position, done.value
                return
            except VerificationError as error:
                del live[position]
                yield position, error
                return
            calculator = dft_of(question.potential)
            one.answers = [None] * len(question.cells)
            for place, cell in enumerate(question.cells):
                request = calculator.request(cell)
                known = calculator.remembered(request)
                if known is None:
                    queued.append(_Task(position, place, calculator, request))
                else:
                    one.answers[place] = point_of(known)
                    on_calculation(Calculated(position, known, True))
            if any(answer is None for answer in one.answers):
                return

    def _note(
        self,
        task: _Task,
        future: "Future[dict[str, Any]]",
        live: dict[int, _UnderWay],
        on_calculation: Callable[[Calculated], None],
    ) -> None:
        """Keep what a process answered."""
        try:
            found = future.result()
        except VerificationError as error:
            live[task.position].answers[task.place] = error
            return
        task.calculator.remember(task.request, found)
        live[task.position].answers[task.place] = point_of(found)
        on_calculation(Calculated(task.position, found, False))

    def _calculate(self, task: _Task) -> dict[str, Any]:
        if not hasattr(self._local, "process"):
            self._local.process = self._code.process(self._limits)
            self._processes.append(self._local.process)
        return task.calculator.made(task.request, self._local.process)

    def close(self) -> None:
        """End every process at once, whatever it computes."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.close()
        self._threads.shutdown(wait=True)


def dft_of(potential: Potential) -> DftCalculator:
    """Return the calculator of a potential that is a DFT code.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(potential.calculator, DftCalculator):
        raise ConfigError(f"{potential.name} is no DFT code")
    return potential.calculator


def _next_question(one: _UnderWay) -> Question:
    """Return what an inquiry asks next, having given it the answers.

    Raises:
        StopIteration: its result is there.
        VerificationError: it failed.
        MachineError: memory or disk failed.
    """
    answers = one.answers
    error = next((a for a in answers if isinstance(a, VerificationError)), None)
    if isinstance(error, MachineError):
        raise error
    if error is not None:
        return one.inquiry.throw(error)
    if not answers:
        return next(one.inquiry)
    return one.inquiry.send([a for a in answers if isinstance(a, SinglePoint)])
