"""The surrogates that come with the program, by name."""

from typing import Any

from inverse.candidates.registry import SURROGATES
from surrogates.checkpoints.checkpoint import load_surrogate


@SURROGATES.register("structure")
def fast() -> Any:
    """Return the fast tier, which searches."""
    return load_surrogate("structure")


@SURROGATES.register("accurate")
def accurate() -> Any:
    """Return the accurate tier, which chooses and answers."""
    return load_surrogate("accurate")


@SURROGATES.register("composition")
def composition() -> Any:
    """Return the surrogate of compositions."""
    return load_surrogate("composition")
