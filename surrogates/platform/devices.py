"""Devices by the names that users give them."""

import re
from typing import TYPE_CHECKING

from surrogates.errors import ConfigError

if TYPE_CHECKING:
    import torch

PATTERN = r"^(auto|cpu|cuda(:\d{1,3})?)$"
"""Of the names."""


def device_named(name: str) -> "torch.device":
    """Return the device of a config's `device`; "auto" is CUDA where there is one.

    Raises:
        ConfigError: no such name; CUDA is asked for and not there.
    """
    import torch  # configs know the names without it

    if not re.fullmatch(PATTERN, str(name), re.ASCII):
        raise ConfigError(f"device: {name!r} is not valid; valid: auto, cpu, cuda, cuda:0, ...")
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: {name!r} is not there ({torch.cuda.device_count()} CUDA devices); try 'auto'"
        )
    return device


def require_cpu(name: str, who: str) -> None:
    """Check the device asked of something that only the CPU does: "auto" leaves it there.

    Args:
        name: of the device.
        who: for the message: "training computes".

    Raises:
        ConfigError: no such device, or another one.
    """
    if device_named(name).type != "cpu" and name != "auto":
        raise ConfigError(f"device: {name!r}: {who} on the CPU; leave the device out")
