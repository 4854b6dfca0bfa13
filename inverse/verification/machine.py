"""Failures of the machine, not of the crystal: memory, device, disk. The next attempt may well succeed."""

from dataclasses import dataclass

from surrogates.errors import MachineError

FAILURES_IN_A_ROW = 5
"""Failures of the machine after which work ends: the next piece would fail as well."""

_WORDS = (
    "out of memory",
    "allocate memory",
    "memoryerror",
    "cuda error",
    "cublas_status",
    "cudnn_status",
    "hip error",
)


def is_of_machine(error: BaseException | None) -> bool:
    """Return whether memory, a device or the disk failed, here or in what caused the error.

    >>> is_of_machine(RuntimeError("CUDA error: out of memory")), is_of_machine(RuntimeError("no neighbours"))
    (True, False)
    """
    while error is not None:
        if isinstance(error, OSError) or speaks_of_machine(f"{type(error).__name__}: {error}"):
            return True
        error = error.__cause__
    return False


def speaks_of_machine(reason: str) -> bool:
    """Return whether a recorded reason is that the machine failed."""
    return any(word in reason.lower() for word in _WORDS)


@dataclass
class Patience:
    """Counts failures of the machine in a row, and ends the work when they are too many.

    Attributes:
        most: failures in a row that end it.
        n_failed: so far, since something last worked.
    """

    most: int = FAILURES_IN_A_ROW
    n_failed: int = 0

    def worked(self) -> None:
        """Note that the machine answered."""
        self.n_failed = 0

    def failed(self, reason: str) -> None:
        """Note a failure.

        Raises:
            MachineError: one too many.
        """
        self.n_failed += 1
        if self.n_failed >= self.most:
            self.n_failed = 0
            raise MachineError(f"the machine failed {self.most} times in a row: {reason}")
