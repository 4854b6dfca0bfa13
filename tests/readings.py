"""Readings of two judges, written in one line."""

import math

from inverse.verification.calibration.readings import Reading, Readings
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS

K, G = BULK_MODULUS.name, SHEAR_MODULUS.name


def read(
    bulk: float = math.nan,
    shear: float = math.nan,
    bulk_by: str = "",
    shear_by: str = "",
    bulk_change: float = math.nan,
    shear_change: float = math.nan,
    anion: str = "none",
    doubts: tuple[str, ...] = (),
) -> Readings:
    """Return readings of K and G, GPa."""
    of = {K: Reading(bulk, bulk_by, bulk_change), G: Reading(shear, shear_by, shear_change)}
    return Readings(of, anion, doubts)
