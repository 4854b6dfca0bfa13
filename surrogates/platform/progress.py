"""How what takes long tells how far it is."""

from collections.abc import Callable

StepProgress = Callable[[int, int], None]
"""Called with how much is done, and how much there is in all."""
