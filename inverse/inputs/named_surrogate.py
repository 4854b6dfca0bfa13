"""The one door to surrogates that a config names: by name, as module:factory, or as a folder of weights."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from inverse.candidates.registry import SURROGATES
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.checkpoints.trial import tried
from surrogates.errors import CheckpointError, ConfigError
from surrogates.platform.factories import is_factory, made_by

PROMISED = ("name", "properties", "level", "elements", "predict")
"""What is asked of a surrogate; see `surrogates.protocol.Surrogate`."""


def surrogate_named(name: str) -> Any:
    """Return the surrogate that a config names; one of others has answered about one element before.

    Args:
        name: of this program or of an installed package, module:factory, or a folder of weights that
            `inverse train` wrote.

    Raises:
        UnknownNameError: no such surrogate, module, factory or folder.
        CheckpointError: its weights are missing or damaged.
        ConfigError: whoever brings it does not keep what its group promises.
    """
    if name in SURROGATES or is_factory(name):
        return _made(name)
    return load_surrogate(Path(name) if Path(name).is_dir() else name)


@lru_cache(maxsize=8)
def _made(name: str) -> Any:
    """Return the surrogate of a name or module:factory, made once; errors as those of its caller."""
    is_named = name in SURROGATES
    made = SURROGATES.make(name) if is_named else made_by(name, SURROGATES.what)
    if is_named and SURROGATES.is_packaged(name):
        return made
    if lacking := [part for part in PROMISED if not hasattr(made, part)]:
        raise _refusal(name, f"makes a {type(made).__name__} without {', '.join(lacking)}")
    try:
        return tried(made)
    except CheckpointError as error:
        raise _refusal(name, f"cannot be used: {error}") from None


def _refusal(name: str, reason: str) -> ConfigError:
    if name in SURROGATES:
        return SURROGATES.refusal(name, reason)
    return ConfigError(f"{SURROGATES.what} {name!r} {reason}")
