"""Which targets decide a hit: the hard ones, and the hull where the config does not name it."""

from collections.abc import Sequence

from inverse.types import Target
from surrogates.properties import ENERGY_ABOVE_HULL

STABLE_WITHIN = 0.1
"""Energy above the hull, eV/atom, that counts as stable when the config names no hull target."""


def effective_targets(targets: Sequence[Target]) -> list[Target]:
    """Return the hard targets, with E_hull <= 0.1 eV/atom added where the config names no hull target."""
    hard = [target for target in targets if target.is_hard]
    if not any(target.property == ENERGY_ABOVE_HULL for target in hard):
        hard.append(Target(ENERGY_ABOVE_HULL, maximum=STABLE_WITHIN))
    return hard
