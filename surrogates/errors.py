"""The base error and its few named children.

Every message is one line that says what is wrong, where, and the nearest valid choice.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class EngineError(Exception):
    """Anything this program refuses to do; its message is meant for the user."""


class ShapeError(EngineError):
    """A tensor or record does not have the shape its contract asks for."""


class UnknownNameError(EngineError):
    """A name (property, element, config key, potential, decoder ...) that does not exist."""

    @classmethod
    def among(cls, what: str, name: str, valid: Iterable[str], where: str = "") -> "UnknownNameError":
        """Return the error for `name`, naming the nearest of the `valid` names."""
        return cls(f"{where + ': ' if where else ''}unknown {what} {name!r}; {nearest(name, valid)}")


class PropertyError(EngineError):
    """A property record that is incomplete, contradicts itself or is registered twice."""


class ConfigError(EngineError):
    """A config, or an argument of a command, that cannot be carried out."""


class StructureError(EngineError):
    """A structure that cannot be read, is not ordered where it must be, or is not a crystal."""


class FormulaError(EngineError):
    """Text that is no formula, or that can be read as more than one."""


class UnsupportedElementError(EngineError):
    """An element that a model or the reference hull does not know."""


class UnstableCrystalError(EngineError):
    """A stiffness tensor that is not positive definite."""


class DecodingError(EngineError):
    """A latent, a condition or a skeleton that no crystal satisfies."""


class CheckpointError(EngineError):
    """Weights that are missing, damaged or of an unknown format."""


class SurrogateError(EngineError):
    """A surrogate whose own code fails: no crystal is to blame, and whoever asked ends."""


class DataError(EngineError):
    """A data set, table or store that is missing or damaged."""


class MissingExtraError(EngineError):
    """An optional package is not installed; the message names the extra to install."""


class VerificationError(EngineError):
    """One verification failed; recorded as the reason, never the end of a run."""


class MachineError(VerificationError):
    """Memory, device or disk failed, not the crystal: never remembered as what a potential said."""


class RunFolderError(EngineError):
    """A run folder that cannot be created, written, read or resumed."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return 'did you mean ...?' for the valid name closest to `name`, else the list of valid names.

    >>> nearest("bulk_modulus", ["bulk_modulus_vrh", "density"])
    "did you mean 'bulk_modulus_vrh'?"
    """
    names = sorted(valid)
    lowered = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    if close:
        return f"did you mean {lowered[close[0]]!r}?"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"valid: {shown}"
