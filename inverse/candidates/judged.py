"""Which properties judges compute; the others, those of users' own tables too, are predicted only."""

from surrogates.physics.properties import BAND_GAP, PROPERTIES

JUDGED: frozenset[str] = frozenset(PROPERTIES) - {BAND_GAP.name}
"""Names of the properties that judges compute."""

PREDICTED_ONLY = "predicted only"
"""What columns say of the others."""


def is_predicted_only(name: str) -> bool:
    """Return whether no judge computes a property.

    >>> is_predicted_only("band_gap"), is_predicted_only("yield_strength"), is_predicted_only("density")
    (True, True, False)
    """
    return name not in JUDGED
