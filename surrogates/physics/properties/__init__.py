"""Property records; every file of this folder registers one property or a few when it is imported here.

So does every entry point of an installed package that names a record:

    [project.entry-points."inverse.properties"]
    specific_stiffness = "my_package.properties:SPECIFIC_STIFFNESS"
"""

import logging
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules

from surrogates.errors import PropertyError, UnknownNameError, nearest
from surrogates.physics.properties.elastic import (
    BULK_MODULUS,
    HARDNESS,
    MODULI,
    POISSON_RATIO,
    PUGH_RATIO,
    SHEAR_MODULUS,
    YOUNG_MODULUS,
)
from surrogates.physics.properties.electronic import BAND_GAP, ENERGY_ABOVE_HULL, FORMATION_ENERGY
from surrogates.physics.properties.record import (
    MEASURED,
    PROPERTIES,
    PROPERTY_NAME,
    TABLE_RANGE,
    TRACE,
    Basis,
    Crystals,
    Digits,
    Formula,
    Judged,
    OfCell,
    OfComposition,
    OfProperties,
    Property,
    Scale,
    Stored,
    judged_from,
    of_basis,
    register,
)
from surrogates.physics.properties.volume import DENSITY, VOLUME

__all__ = [
    "BAND_GAP",
    "BULK_MODULUS",
    "DENSITY",
    "ENERGY_ABOVE_HULL",
    "FORMATION_ENERGY",
    "GROUP",
    "HARDNESS",
    "MEASURED",
    "MODULI",
    "POISSON_RATIO",
    "PROPERTIES",
    "PROPERTY_NAME",
    "PUGH_RATIO",
    "SHEAR_MODULUS",
    "TABLE_RANGE",
    "TRACE",
    "VOLUME",
    "YOUNG_MODULUS",
    "Basis",
    "Crystals",
    "Digits",
    "Formula",
    "Judged",
    "OfCell",
    "OfComposition",
    "OfProperties",
    "Property",
    "Scale",
    "Stored",
    "also_called",
    "judged_from",
    "nearest_property",
    "of_basis",
    "property_named",
    "refuse_others",
    "register",
]

LOGGER = logging.getLogger(__name__)

GROUP = "inverse.properties"
"""Of entry points."""


def _take_in(point: EntryPoint) -> None:
    """Register the record that a package names; one that cannot be used is told of and left out."""
    try:
        prop = point.load()
        if not isinstance(prop, Property):
            raise PropertyError(f"{point.value} is a {type(prop).__name__}, not a Property")
        if PROPERTIES.get(prop.name) is not prop:  # its module may have registered it by itself
            register(prop)
    except Exception as error:  # whatever somebody else's module does on import
        package = "a package" if point.dist is None else f"package {point.dist.name} {point.dist.version}"
        text = " ".join(str(error).split())
        LOGGER.warning("property %r of %s cannot be used: %s", point.name, package, text)


for _found in sorted(module.name for module in iter_modules(__path__)):
    import_module(f"{__name__}.{_found}")
for _point in entry_points(group=GROUP):
    _take_in(_point)


def also_called() -> dict[str, str]:
    """Return what people call properties, in lower case -> name; for messages: a config says the name."""
    return {word: prop.name for prop in PROPERTIES.values() for word in prop.also_called}


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
    meant = also_called().get(name.strip().lower(), "")
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
