"""YAML text -> plain mapping, and pydantic's complaints -> one line for the user."""

import math
import re
import types
import typing
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from surrogates.errors import ConfigError, nearest

MAX_BYTES = 1_000_000
"""A larger file is not a config."""

_PLAIN_SCALARS = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]{1,18}$"), "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+0123456789.",
    ),
)


class _ConfigLoader(yaml.SafeLoader):
    """YAML 1.2 scalars (`No` is nobelium, 1e3 a number, 1:30 a string), no aliases, no duplicate keys."""

    yaml_implicit_resolvers = {}  # type: ignore[misc]  # noqa: RUF012

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; an alias is refused, so that no file can grow without bound."""
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, "anchors and aliases are not supported", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping, refusing a key that appears twice."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_number(self, node: Any) -> float:
        """Return a float; python reads every form that the resolver lets through but .inf and .nan."""
        text = str(self.construct_scalar(node)).lower()
        if text.endswith(("inf", "nan")):
            return float(text.replace(".", ""))
        return float(text)

    def construct_integer(self, node: Any) -> int:
        """Return a decimal integer; leading zeros are not octal."""
        return int(str(self.construct_scalar(node)))


for _tag, _pattern, _first in _PLAIN_SCALARS:
    _ConfigLoader.add_implicit_resolver(_tag, _pattern, list(_first))
_ConfigLoader.add_constructor("tag:yaml.org,2002:float", _ConfigLoader.construct_number)
_ConfigLoader.add_constructor("tag:yaml.org,2002:int", _ConfigLoader.construct_integer)


def read_text(path: Path) -> str:
    """Return the text of a config file.

    Raises:
        ConfigError: missing, a folder, unreadable, too large or not UTF-8.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, not a config file")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: {path.stat().st_size} bytes is too large for a config file")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Return the mapping that a YAML text holds.

    Raises:
        ConfigError: a syntax error (with its line), a key that appears twice, or not a mapping.
    """
    try:
        data = yaml.load(text, Loader=_ConfigLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{where}:{line} {one_line(error.problem or error.context or error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not YAML: {one_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{where}: not YAML: {one_line(error)}") from None
    if data is None:
        raise ConfigError(f"{where}: the config is empty; give at least targets")
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: the config is a {kind_of(data)}, not a mapping of keys to values")
    return data


def one_line(value: object, limit: int = 200) -> str:
    """Return a value as one printable line of at most `limit` characters.

    >>> one_line("a\\n b")
    'a b'
    """
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def shown_path(path: object, limit: int = 120) -> str:
    """Return a path in quotes; of a long one the end, which names the file.

    >>> shown_path("a" * 200 + "/gone.cif", 20)
    "'...aaaaaa/gone.cif'"
    """
    text = one_line(repr(str(path)), limit=4096)
    return text if len(text) <= limit else f"{text[0]}...{text[len(text) - limit + 4 :]}"


def kind_of(value: object) -> str:
    """Return what a YAML value is, in the user's words."""
    names = {
        dict: "mapping",
        list: "list",
        tuple: "list",
        str: "text",
        bool: "true/false",
        int: "whole number",
    }
    names |= {float: "number", type(None): "nothing (null)"}
    return names.get(type(value), type(value).__name__)


def dotted(location: tuple[int | str, ...]) -> str:
    """Return the path of a key as the user would write it.

    >>> dotted(("constraints", "elements", "exclude", 2))
    'constraints.elements.exclude[2]'
    """
    path = ""
    for part in location:
        if part == "[key]":
            continue
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{one_line(part, 60)}"
    return path


ALSO_WRITTEN = {
    "minimum": "min",
    "maximum": "max",
    "lower": "min",
    "upper": "max",
    "at_least": "min",
    "at_most": "max",
    "greater_than": "min",
    "less_than": "max",
    ">": "min",
    ">=": "min",
    "<": "max",
    "<=": "max",
    "value": "near",
    "target": "near",
    "equals": "near",
    "minimize": "minimise",
    "maximize": "maximise",
    "tol": "tolerance",
    "time_limit": "time",
    "max_time": "time",
    "n": "verifications",
}
"""Keys that people write (in lower case) -> the key that is meant; for messages only."""

_PATTERN_HINTS = {
    "device": "valid: auto, cpu, cuda, cuda:N",
    "name": "use letters, digits, space, dot, dash and underscore, at most 80",
}


def config_error(error: ValidationError, model: type[BaseModel], where: str) -> ConfigError:
    """Return the one-line error for the first complaint of pydantic about `model`."""
    first, *others = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    location = tuple(part for part in first["loc"] if isinstance(part, int | str))
    path, value = dotted(location), one_line(repr(first.get("input")), 60)
    kind, detail = first["type"], first["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        keys = _keys_at(model, location[:-1])
        text = f"{path}: unknown key {str(location[-1])!r}; {_nearest_key(str(location[-1]), keys)}"
    elif kind == "missing":
        text = f"{path}: missing; it has no default"
    elif first.get("input") is None and kind in ("dict_type", "model_type", "tuple_type", "list_type"):
        what = "a mapping of keys to values" if kind in ("dict_type", "model_type") else "a list"
        text = f"{path}: is empty (null); give {what}, or leave it out"
    elif kind == "too_short" and not first.get("input"):
        text = f"{path}: is empty; give at least {first['ctx']['min_length']} entry"
    elif kind == "value_error":
        text = f"{path}: {detail}" if path else detail
    elif kind == "literal_error":
        expected = [part.strip(" '") for part in first["ctx"]["expected"].replace(" or ", ",").split(",")]
        text = f"{path}: {value} is not valid; {nearest(str(first.get('input')), expected)}"
    elif kind == "string_pattern_mismatch":
        text = f"{path}: {value} is not valid; {_PATTERN_HINTS.get(path, 'it has odd characters')}"
    else:
        got = kind_of(first.get("input")) if "type" in kind or "parsing" in kind else value
        detail = detail.replace("Input should be", "should be").replace("dictionary", "mapping")
        detail = detail.split(" or instance of ")[0]
        text = f"{path}: {value} {detail}" + (f", not {got}" if got != value else "")
    more = f" (and {len(others)} more)" if others else ""
    return ConfigError(one_line(f"{where}: {text}{more}", 500))


def _nearest_key(key: str, keys: list[str]) -> str:
    meant = ALSO_WRITTEN.get(key.lower(), "")
    return f"did you mean {meant!r}?" if meant in keys else nearest(key, keys)


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the (nested) model at a location."""
    for part in location:
        for field_name, info in model.model_fields.items():
            if part in (field_name, info.alias):
                model = next(_models_in(info.annotation), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the pydantic models that an annotation mentions."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)


_TIME = re.compile(r"^(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?$")


def parse_seconds(value: object) -> float:
    """Return a time in seconds: a number of seconds, or text such as "15m", "8h", "1h30m", "2d".

    Raises:
        ValueError: not a time, not finite, or not more than zero.

    >>> parse_seconds("1h30m"), parse_seconds(90)
    (5400.0, 90.0)
    """
    if isinstance(value, str):
        match = _TIME.match(value.strip().lower().replace(" ", ""))
        if not match or not any(match.groups()):
            raise ValueError(
                f"{one_line(value, 60)!r} is not a time; write 15m, 8h, 1h30m or a number of seconds"
            )
        seconds = sum(float(g or 0) * f for g, f in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ValueError(
            f"{one_line(repr(value), 60)} is not a time; write 15m, 8h, 1h30m or a number of seconds"
        )
    if not math.isfinite(seconds) or not 0 < seconds <= 1e8:
        raise ValueError(f"{one_line(repr(value), 60)} is not a possible time; it must be more than zero")
    return seconds
