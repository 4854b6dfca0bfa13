"""Why a verification failed, as a name that decisions rest on; the words beside it are for people."""

from inverse.candidates.types import Failure
from surrogates.errors import MachineError, StructureError, UnsupportedElementError, VerificationError


class CrystalFailureError(VerificationError):
    """A verification that failed, and at what.

    Attributes:
        failure: by name.
    """

    def __init__(self, message: str, failure: Failure) -> None:
        super().__init__(message, failure)
        self.failure = failure

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


_OF_ERRORS: tuple[tuple[type[Exception], Failure], ...] = (
    (MachineError, Failure.MACHINE),
    (StructureError, Failure.NO_CRYSTAL),
    (UnsupportedElementError, Failure.UNKNOWN_ELEMENT),
)

_OLD_WORDS: tuple[tuple[Failure, tuple[str, ...]], ...] = (
    (Failure.MACHINE, ("out of memory", "allocate memory", "memory ran out", "memoryerror")),
    (Failure.MACHINE, ("cuda error", "cublas_status", "cudnn_status", "hip error", "the machine failed")),
    (Failure.TIME_LIMIT, ("time limit",)),
    (Failure.ABOVE_HULL, ("the ladder stops",)),
    (Failure.ANOTHER_PHASE, ("judges disagree on the phase",)),
    (Failure.NOT_CONVERGED, ("relaxation is stuck", "not relaxed within", "did not converge")),
    (Failure.COLLIDING_ATOMS, ("colliding atoms",)),
    (Failure.VOLUME_CHANGED, ("volume changed to",)),
    (Failure.UNKNOWN_ELEMENT, ("does not know the element", "has no reference energy")),
    (
        Failure.NO_CRYSTAL,
        ("partial occupancy", "structure without atoms", "not a finite number", "cell is flat"),
    ),
    (Failure.WORKER, ("the worker ended", "worker ended while it was idle")),
    (Failure.POTENTIAL, (" failed: ", "value that is not finite", "gives the energy")),
)
"""What reasons said before failures had names; never extended: what is written today carries its name."""


def failure_of(error: BaseException) -> Failure:
    """Return what kind of failure an error is.

    >>> str(failure_of(StructureError("the cell is flat"))), str(failure_of(ValueError("x")))
    ('no_crystal', 'other')
    """
    if isinstance(error, CrystalFailureError):
        return error.failure
    return next((failure for kind, failure in _OF_ERRORS if isinstance(error, kind)), Failure.OTHER)


def failure_of_old_reason(reason: str) -> Failure:
    """Return the failure of a record that was written before failures had names, by its words.

    For the readers of old files and stores alone: nothing that is written today is asked this way.

    >>> str(failure_of_old_reason("diep: colliding atoms, 0.41 Å apart"))
    'colliding_atoms'
    """
    said = reason.lower()
    return next((f for f, words in _OLD_WORDS if any(word in said for word in words)), Failure.OTHER)
