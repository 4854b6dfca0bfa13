"""Computations that ask potentials step by step, alone or many side by side in shared passes.

A relaxation or a tensor is a generator: it yields a `Question`, is sent the answers, and returns its result.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from inverse.potentials.batches import SinglePoint
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import SymmetricCell
from surrogates.errors import VerificationError

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """Cells that a potential is to be asked about; none depends on the answer about another."""

    potential: Potential
    cells: Sequence[SymmetricCell]


Inquiry = Generator[Question, Sequence[SinglePoint], T]
"""Yields questions, is sent one SinglePoint a cell (or thrown the first error), returns T."""


def answered(inquiry: Inquiry[T]) -> T:
    """Return what an inquiry comes to, asking as it goes.

    Raises:
        VerificationError: the potential failed, and whatever the inquiry itself raises.
    """
    under_way = _UnderWay(inquiry)
    while (question := under_way.question()) is not None:
        under_way.answers = question.potential.evaluate_many(question.cells)
    return under_way.result  # type: ignore[no-any-return]


def answered_together(
    inquiries: Iterable[Inquiry[T]], width: int = 64
) -> Iterator[tuple[int, T | VerificationError]]:
    """Yield (position, result or error) of each inquiry as it ends; up to `width` of them share passes.

    Every inquiry under way takes one step a round, and the next begins as soon as one has ended: a crystal
    that does not converge never holds the others up.
    """
    waiting = enumerate(inquiries)
    live: dict[int, _UnderWay] = {}
    while True:
        while len(live) < width and (following := next(waiting, None)) is not None:
            live[following[0]] = _UnderWay(following[1])
        if not live:
            return
        asked: dict[Potential, list[tuple[_UnderWay, Question]]] = {}
        for position, one in list(live.items()):
            try:
                question = one.question()
            except VerificationError as error:
                question, one.result = None, error
            if question is None:
                del live[position]
                yield position, one.result
            else:
                asked.setdefault(question.potential, []).append((one, question))
        for potential, group in asked.items():
            _answer(potential, group)


class _UnderWay:
    """An inquiry, the answers it waits for, and in the end its result."""

    def __init__(self, inquiry: Inquiry[Any]) -> None:
        self.inquiry = inquiry
        self.answers: Sequence[SinglePoint | VerificationError] | None = None
        self.result: Any = None

    def question(self) -> Question | None:
        """Return the next question after the answers, None when the result is there."""
        answers = self.answers or ()
        error = next((a for a in answers if isinstance(a, VerificationError)), None)
        try:
            if error is not None:
                return self.inquiry.throw(error)
            if self.answers is None:
                return next(self.inquiry)
            return self.inquiry.send([a for a in answers if isinstance(a, SinglePoint)])
        except StopIteration as done:
            self.result = done.value
            return None


def _answer(potential: Potential, group: "Sequence[tuple[_UnderWay, Question]]") -> None:
    """Ask a potential about the cells of several questions at once."""
    answers = potential.evaluate_many([cell for _, question in group for cell in question.cells])
    first = 0
    for one, question in group:
        one.answers = answers[first : first + len(question.cells)]
        first += len(question.cells)
