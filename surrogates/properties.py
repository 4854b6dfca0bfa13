"""Property records: the names, symbols, units and physical ranges that the whole program shares."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from surrogates.errors import UnknownNameError


@dataclass(frozen=True, order=True)
class Property:
    """One property of a crystal.

    Attributes:
        name: the field's name, as in configs and tables.
        symbol: as written in figures.
        unit: of every value of this property, everywhere; "" when dimensionless.
        minimum: smallest physical value; a config that asks for less is refused.
        maximum: largest physical value.
        level_of_theory: what the number on the default scale is.
        is_positive: trained and calibrated in log space.
    """

    name: str
    symbol: str
    unit: str
    minimum: float
    maximum: float
    level_of_theory: str
    is_positive: bool = False


BULK_MODULUS = Property("bulk_modulus_vrh", "K_VRH", "GPa", 0.0, 1000.0, "MP PBE, Voigt-Reuss-Hill", True)
SHEAR_MODULUS = Property("shear_modulus_vrh", "G_VRH", "GPa", 0.0, 1000.0, "MP PBE, Voigt-Reuss-Hill", True)
FORMATION_ENERGY = Property(
    "formation_energy_per_atom", "E_f", "eV/atom", -10.0, 10.0, "MP PBE/PBE+U, corrected"
)
ENERGY_ABOVE_HULL = Property("energy_above_hull", "E_hull", "eV/atom", -1.0, 10.0, "MP PBE/PBE+U, corrected")
BAND_GAP = Property("band_gap", "E_g", "eV", 0.0, 25.0, "MP PBE")
VOLUME = Property("volume_per_atom", "V", "Å³/atom", 1.0, 200.0, "MP PBE", True)
DENSITY = Property("density", "rho", "g/cm³", 0.01, 40.0, "MP PBE", True)
YOUNG_MODULUS = Property("young_modulus_vrh", "E_VRH", "GPa", 0.0, 2500.0, "MP PBE, Voigt-Reuss-Hill", True)
POISSON_RATIO = Property("poisson_ratio", "nu", "", -1.0, 0.5, "MP PBE, Voigt-Reuss-Hill")
PUGH_RATIO = Property("pugh_ratio", "G/K", "", 0.0, 2.0, "MP PBE, Voigt-Reuss-Hill", True)
HARDNESS = Property(
    "vickers_hardness_chen", "H_V", "GPa", 0.0, 200.0, "Chen, Niu, Li, Li (2011) from MP PBE K, G"
)

PROPERTIES: dict[str, Property] = {
    p.name: p
    for p in (
        BULK_MODULUS,
        SHEAR_MODULUS,
        FORMATION_ENERGY,
        ENERGY_ABOVE_HULL,
        BAND_GAP,
        VOLUME,
        DENSITY,
        YOUNG_MODULUS,
        POISSON_RATIO,
        PUGH_RATIO,
        HARDNESS,
    )
}


def refuse_others(asked: Iterable[Property], known: Sequence[Property], who: str) -> None:
    """Raise UnknownNameError for the first property asked for that `who` does not know."""
    for prop in asked:
        if prop not in known:
            raise UnknownNameError.among("property", prop.name, [p.name for p in known], who)


def property_named(name: str, where: str = "") -> Property:
    """Return the property called `name`.

    Raises:
        UnknownNameError: no such property; names the nearest one.
    """
    try:
        return PROPERTIES[name]
    except KeyError:
        raise UnknownNameError.among("property", name, PROPERTIES, where) from None
