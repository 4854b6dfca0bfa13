"""Kinds of crystals that the judges of stiffness are known to be weak at: named flags, and wider errors.

Every factor was measured on DFT rows of record (experiments/log): it brings the share of DFT values within
the 90 % interval of the shear modulus to 90 %.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType

from pymatgen.core import Structure

from surrogates.physics.properties import SHEAR_MODULUS, Property


class WeakGround(StrEnum):
    """What makes the judges of stiffness less sure than their calibration says."""

    LAYERED = "weak_ground: layered"
    """Layers with gaps between them: what holds them together is too weak for the potentials to say."""
    WEAKLY_BOUND = "weak_ground: weakly_bound"
    """Chains or molecules."""
    NEAR_UNSTABLE = "weak_ground: near_unstable"
    """Close to giving way: its moduli hang on small things, see `stiffness.is_near_unstable`."""
    SUPERHARD_LIGHT = "weak_ground: superhard_light"
    """Very stiff and of light elements alone, such as diamond: the judge of G is too soft there."""
    DISPUTED = "weak_ground: stability_disputed"
    """Unstable by the judge of G and stable by the other judge, whose G it is then."""


LIGHT = frozenset({"Be", "B", "C", "N", "O", "Si"})

SUPERHARD_FROM = 225.0
"""GPa of calibrated G."""

WIDER: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {SHEAR_MODULUS.name: {WeakGround.SUPERHARD_LIGHT: 1.5, WeakGround.DISPUTED: 1.36}}
)
"""Property name -> ground -> factor on the error of its logarithm, as measured.

The other grounds showed no larger errors, or are too rare.
"""


def grounds_of_bonding(structure: Structure) -> list[WeakGround]:
    """Return `LAYERED` or `WEAKLY_BOUND` where the bonds reach through the crystal in fewer than three ways.

    Bonds by `CrystalNN`; where it finds none that it can weigh, nobody can tell and nothing is flagged.

    References:
        Larsen, Pandey, Strange, Jacobsen, Phys. Rev. Materials 3, 034003 (2019)
    """
    from pymatgen.analysis.dimensionality import get_dimensionality_larsen
    from pymatgen.analysis.graphs import StructureGraph
    from pymatgen.analysis.local_env import CrystalNN

    from inverse.potentials.loading import quiet

    try:
        with quiet():
            bonds = StructureGraph.from_local_env_strategy(structure, CrystalNN())
    except (ValueError, RuntimeError):  # no Voronoi cell around an atom, or nothing known of an element
        return []
    dimensions = int(get_dimensionality_larsen(bonds))
    if dimensions == 3:
        return []
    return [WeakGround.LAYERED if dimensions == 2 else WeakGround.WEAKLY_BOUND]


def grounds_of_value(prop: Property, structure: Structure, value: float) -> list[WeakGround]:
    """Return the grounds that a calibrated value itself shows: `SUPERHARD_LIGHT`, of a shear modulus.

    Args:
        prop: the property.
        structure: the crystal.
        value: on the DFT scale, natural unit.
    """
    is_stiff = prop == SHEAR_MODULUS and value >= SUPERHARD_FROM
    is_light = {site.specie.symbol for site in structure} <= LIGHT
    return [WeakGround.SUPERHARD_LIGHT] if is_stiff and is_light else []


def widening(prop: Property, flags: Collection[str]) -> float:
    """Return the factor on the error of a property's logarithm that flags ask for; 1 without any.

    >>> widening(SHEAR_MODULUS, ["weak_ground: stability_disputed"]), widening(SHEAR_MODULUS, ["no_hull"])
    (1.36, 1.0)
    """
    factors = WIDER.get(prop.name, {})
    return max((factors[flag] for flag in flags if flag in factors), default=1.0)
