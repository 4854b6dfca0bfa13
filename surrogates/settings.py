"""Settings that a user writes -> the dataclass that a fit reads, with every name and type checked."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt

from surrogates.errors import ConfigError, nearest

Record = TypeVar("Record")

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
BelowOne = Annotated[float, Ge(0), Lt(1)]
"""Types of settings with the range that `settings_of` checks."""


def settings_of(record: type[Record], given: Mapping[str, Any], where: str) -> Record:
    """Return the dataclass of some settings.

    Args:
        record: a dataclass whose fields are the settings.
        given: names and values, as a YAML file has them.
        where: the place that an error names.

    Raises:
        ConfigError: an unknown name, with the nearest valid one, or a value of the wrong type or range.
    """
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}: {given!r} is no mapping of settings to values")
    names = [f.name for f in fields(record)]  # type: ignore[arg-type]
    for key in given:
        if key not in names:
            raise ConfigError(f"{where}: unknown setting {str(key)!r}; {nearest(str(key), names)}")
    try:
        return TypeAdapter(record).validate_python(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *map(str, first["loc"])])
        reason = first["msg"].replace("Input should be", "should be")
        raise ConfigError(f"{place}: {first['input']!r} {reason}") from None


def checked(record: type[Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the settings that are given, as `settings_of` reads them; the others keep their defaults."""
    found: Any = settings_of(record, given, where)
    return {key: getattr(found, key) for key in given}
