"""The one door to surrogates by name: the shipped tiers, and those of installed packages, which are tried."""

from functools import lru_cache
from typing import Any

from inverse.candidates.registry import SURROGATES
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.checkpoints.trial import tried
from surrogates.errors import CheckpointError

PROMISED = ("name", "properties", "level", "elements", "predict")
"""What is asked of a surrogate; see `surrogates.protocol.Surrogate`."""


@lru_cache(maxsize=8)
def surrogate_named(name: str) -> Any:
    """Return the surrogate called `name`; one of others has answered about one element before.

    Raises:
        UnknownNameError: no such surrogate.
        CheckpointError: its weights are missing or damaged.
        ConfigError: whoever brings it does not keep what its group promises.
    """
    if name not in SURROGATES:
        return load_surrogate(name)  # weights of the package that a config does not name
    made = SURROGATES.make(name)
    if SURROGATES.is_packaged(name):
        return made
    if lacking := [part for part in PROMISED if not hasattr(made, part)]:
        raise SURROGATES.refusal(name, f"makes a {type(made).__name__} without {', '.join(lacking)}")
    try:
        return tried(made)
    except CheckpointError as error:
        raise SURROGATES.refusal(name, f"cannot be used: {error}") from None
