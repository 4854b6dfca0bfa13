"""Devices by the names that users give them."""

import torch

from surrogates.errors import ConfigError


def device_named(name: str) -> torch.device:
    """Return the device of a config's `device`; "auto" is CUDA where there is one.

    Raises:
        ConfigError: CUDA is asked for and not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: {name!r} is not there ({torch.cuda.device_count()} CUDA devices); try 'auto'"
        )
    return device
