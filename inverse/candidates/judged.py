"""Which properties judges compute; the others, those of users' own tables too, are predicted only."""

from surrogates.physics.properties import PROPERTIES

PREDICTED_ONLY = "predicted only"
"""What columns say of the others."""


def is_predicted_only(name: str) -> bool:
    """Return whether no judge computes a property, nor all that it follows from.

    >>> is_predicted_only("band_gap"), is_predicted_only("yield_strength"), is_predicted_only("density")
    (True, True, False)
    """
    return name not in PROPERTIES or not PROPERTIES[name].is_judged


def judged_names() -> frozenset[str]:
    """Return the names of the properties that judges compute."""
    return frozenset(name for name in PROPERTIES if not is_predicted_only(name))
