"""Field types of the config: strict numbers, element lists, ranges, times; each refuses with a clear line."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from inverse.inputs.element_groups import element_groups
from inverse.inputs.yaml_reading import kind_of, one_line, parse_seconds
from surrogates.crystals.periodic_table import ELEMENT_SYMBOLS
from surrogates.crystals.typed_formulas import composition_of, with_plain_dashes
from surrogates.errors import EngineError, nearest

MAX_ATOMS = 200
"""Largest primitive cell that a config may ask for."""

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Whole = Annotated[int, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]


def _as_symbols(value: object) -> tuple[str, ...]:
    """Return a list of element symbols without repeats; ValueError names the odd one."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{one_line(repr(value), 60)} is {kind_of(value)}; give a list such as [B, C, N]")
    for symbol in value:
        if not isinstance(symbol, str) or symbol not in ELEMENT_SYMBOLS:
            hint = nearest(str(symbol), ELEMENT_SYMBOLS)
            raise ValueError(f"{one_line(repr(symbol), 60)} is not an element; {hint}")
    return tuple(dict.fromkeys(value))


def _as_groups(value: object) -> tuple[str, ...]:
    """Return a list of names of element groups."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"{one_line(repr(value), 60)} is {kind_of(value)}; give a list such as [radioactive]"
        )
    for name in value:
        if not isinstance(name, str) or name not in element_groups():
            hint = nearest(str(name), element_groups())
            raise ValueError(f"{one_line(repr(name), 60)} is not an element group; {hint}")
    return tuple(dict.fromkeys(value))


def _as_systems(value: object) -> tuple[str, ...]:
    """Return chemical systems with their elements sorted: W-B-C -> B-C-W."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{one_line(repr(value), 60)} is {kind_of(value)}; give a list such as [W-B-C]")
    systems = []
    for system in value:
        if not isinstance(system, str) or not system:
            raise ValueError(f"{one_line(repr(system), 60)} is not a chemical system; write W-B-C")
        symbols = [symbol.strip() for symbol in with_plain_dashes(system).split("-")]
        if len(symbols) == 1 and len(elements := _elements_of(system)) > 1:
            raise ValueError(f"{one_line(repr(system), 60)} is a formula; write {'-'.join(elements)}")
        systems.append("-".join(sorted(_as_symbols(symbols))))
    return tuple(dict.fromkeys(systems))


def _elements_of(formula: str) -> list[str]:
    """Return the elements of a formula, sorted; [] when it is none."""
    try:
        return sorted(element.symbol for element in composition_of(formula).elements)
    except EngineError:
        return []


def _as_range(value: object) -> tuple[int, int]:
    """Return (lo, hi) of [lo, hi], of {min, max} or of one whole number."""
    if isinstance(value, Mapping):
        if unknown := [key for key in value if key not in ("min", "max")]:
            raise ValueError(f"unknown key {one_line(repr(unknown[0]), 60)}; valid: max, min")
        value = [value.get("min", 1), value.get("max", MAX_ATOMS)]
    elif isinstance(value, int):
        value = [value, value]
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"{one_line(repr(value), 60)} is not a range; write [2, 4] or {{min: 2, max: 4}}")
    if any(not isinstance(v, int) or isinstance(v, bool) for v in value):
        raise ValueError(f"{one_line(repr(value), 60)} is not a range of whole numbers")
    lo, hi = value
    if not 1 <= lo <= hi <= MAX_ATOMS:
        raise ValueError(f"[{lo}, {hi}] is not a possible range; it needs 1 <= min <= max <= {MAX_ATOMS}")
    return lo, hi


_SYMBOL_LIST = {"type": "array", "items": {"enum": list(ELEMENT_SYMBOLS)}, "uniqueItems": True}
_WHOLE = {"type": "integer", "minimum": 1, "maximum": MAX_ATOMS}
_RANGE = {
    "anyOf": [
        {"type": "array", "items": _WHOLE, "minItems": 2, "maxItems": 2},
        _WHOLE,
        {"type": "object", "properties": {"min": _WHOLE, "max": _WHOLE}, "additionalProperties": False},
    ]
}
Symbols = Annotated[tuple[str, ...], BeforeValidator(_as_symbols), WithJsonSchema(_SYMBOL_LIST)]
Groups = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_groups),
    WithJsonSchema({"type": "array", "items": {"type": "string"}}),
]
Systems = Annotated[
    tuple[str, ...],
    BeforeValidator(_as_systems),
    WithJsonSchema({"type": "array", "items": {"type": "string", "pattern": "^[A-Z][a-z]?(-[A-Z][a-z]?)*$"}}),
]
Range = Annotated[tuple[int, int], BeforeValidator(_as_range), WithJsonSchema(_RANGE)]
Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]


class Part(BaseModel):
    """Frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
