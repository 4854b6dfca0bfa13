"""Failures of the machine, not of the crystal: memory, device, disk. The next attempt may well succeed."""

import errno
from dataclasses import dataclass

from surrogates.errors import MachineError

FAILURES_IN_A_ROW = 5
"""Failures of the machine after which work ends: the next piece would fail as well."""

EXHAUSTED = frozenset(
    {
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.ESTALE,
        errno.EMFILE,
        errno.ENFILE,
        errno.EAGAIN,
    }
)
"""What a machine says that has no memory, disk or processes left, or lost a disk; no missing file is that."""

ROOM_ON_DEVICE = 2**28
"""Bytes that a device must have free for a failure on it to be the crystal's."""


def is_of_machine(error: BaseException | None) -> bool:
    """Return whether memory, a device or the disk failed, here or in what caused the error.

    Its type decides, or the number that the system gave it; never its words.

    >>> is_of_machine(OSError(errno.ENOSPC, "no space")), is_of_machine(OSError(errno.ENOENT, "no file"))
    (True, False)
    """
    import torch

    exhausted = (MemoryError, MachineError, torch.OutOfMemoryError, torch.AcceleratorError)
    while error is not None:
        if isinstance(error, exhausted) or (isinstance(error, OSError) and error.errno in EXHAUSTED):
            return True
        error = error.__cause__
    return False


def has_failed(device: str) -> bool:
    """Return whether a device computes nothing any more, or has no memory left; never a CPU.

    Libraries below torch (cuBLAS, cuDNN) say so by a plain RuntimeError; the device itself is asked then.
    """
    if not device.startswith("cuda"):
        return False
    import torch

    try:
        torch.cuda.synchronize(device)
        return torch.cuda.mem_get_info(device)[0] < ROOM_ON_DEVICE
    except RuntimeError:
        return True


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
