"""Panels of two stand-in potentials."""

from typing import Any

from inverse.verification.panel import AUTO, Panel, seated
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS


def of(bulk: str, shear: str, **others: Any) -> Panel:
    """Return a panel: energy and K by the first, G and stability by the second."""
    return seated(AUTO, bulk, {BULK_MODULUS: bulk, SHEAR_MODULUS: shear}, shear, **others)
