"""Which targets decide a hit: the hard ones, and the hull where none of them bounds it."""

from collections.abc import Sequence

from inverse.candidates.types import Target
from surrogates.physics.properties import ENERGY_ABOVE_HULL

STABLE_WITHIN = 0.1
"""Energy above the hull, eV/atom, that counts as stable when the config sets no bound on it."""


def effective_targets(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Return the hard targets, with E_hull <= 0.1 eV/atom added where none of them is on the hull.

    A hull target that only ranks (`minimise`) sets no bound, so the default stays.
    """
    hard = [target for target in targets if target.is_hard]
    if not any(target.property == ENERGY_ABOVE_HULL for target in hard):
        hard.append(Target(ENERGY_ABOVE_HULL, maximum=STABLE_WITHIN))
    return tuple(hard)
