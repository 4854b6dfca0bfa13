"""Failures of the machine, not of the crystal: memory, device, disk. The next attempt may well succeed."""

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
