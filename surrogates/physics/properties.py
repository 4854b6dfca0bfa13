"""Property records: the names, symbols, units and physical ranges that the whole program shares."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from surrogates.errors import UnknownNameError, nearest


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


PROPERTY_NAME = r"^[a-z][a-z0-9_]{0,60}$"
"""Of a property that a table brings."""

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


ALSO_CALLED: Mapping[str, str] = {
    "k": "bulk_modulus_vrh",
    "b": "bulk_modulus_vrh",
    "k_vrh": "bulk_modulus_vrh",
    "b0": "bulk_modulus_vrh",
    "bulk": "bulk_modulus_vrh",
    "g": "shear_modulus_vrh",
    "g_vrh": "shear_modulus_vrh",
    "mu": "shear_modulus_vrh",
    "shear": "shear_modulus_vrh",
    "e": "young_modulus_vrh",
    "e_vrh": "young_modulus_vrh",
    "youngs_modulus": "young_modulus_vrh",
    "e_f": "formation_energy_per_atom",
    "e_form": "formation_energy_per_atom",
    "formation_energy": "formation_energy_per_atom",
    "e_hull": "energy_above_hull",
    "ehull": "energy_above_hull",
    "e_above_hull": "energy_above_hull",
    "stability": "energy_above_hull",
    "e_g": "band_gap",
    "eg": "band_gap",
    "gap": "band_gap",
    "bandgap": "band_gap",
    "v": "volume_per_atom",
    "volume": "volume_per_atom",
    "rho": "density",
    "nu": "poisson_ratio",
    "poisson": "poisson_ratio",
    "g/k": "pugh_ratio",
    "pugh": "pugh_ratio",
    "h": "vickers_hardness_chen",
    "hv": "vickers_hardness_chen",
    "h_v": "vickers_hardness_chen",
    "hardness": "vickers_hardness_chen",
}
"""What people call properties (in lower case) -> name; for messages only: a config says the name."""


def refuse_others(asked: Iterable[Property], known: Sequence[Property], who: str) -> None:
    """Raise UnknownNameError for the first property asked for that `who` does not know."""
    for prop in asked:
        if prop not in known:
            raise UnknownNameError.among("property", prop.name, [p.name for p in known], who)


def nearest_property(name: str, valid: Iterable[str] = ()) -> str:
    """Return 'did you mean ...?' for what may be meant by a symbol, another name or a typing error.

    >>> nearest_property("K"), nearest_property("bulk_modulus")
    ("did you mean 'bulk_modulus_vrh'?", "did you mean 'bulk_modulus_vrh'?")
    """
    known = list(valid) or list(PROPERTIES)
    meant = ALSO_CALLED.get(name.strip().lower(), "")
    return f"did you mean {meant!r}?" if meant in known else nearest(name, known)


def property_named(name: str, where: str = "") -> Property:
    """Return the property called `name`.

    Raises:
        UnknownNameError: no such property; names the nearest one.
    """
    try:
        return PROPERTIES[name]
    except KeyError:
        where = f"{where}: " if where else ""
        raise UnknownNameError(f"{where}unknown property {name!r}; {nearest_property(name)}") from None
