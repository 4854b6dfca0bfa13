"""The campaign config: what is wanted, what is allowed, what may be spent. Validated, frozen."""

from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from inverse.config_reading import config_error, kind_of, one_line, parse_seconds, parse_yaml, read_text
from inverse.element_groups import element_groups
from inverse.types import Target
from surrogates.crystal import ELEMENT_SYMBOLS
from surrogates.errors import ConfigError, EngineError, nearest
from surrogates.properties import PROPERTIES, property_named

POTENTIALS: tuple[str, ...] = ("auto", "chgnet", "diep", "7net-0", "7net-l3i5")
"""Names for `verify.potential`; any ASE calculator is named as module:factory."""

DEFAULT_VERIFICATIONS = 60

Method = Literal[
    "hybrid", "gradient", "decoder", "random", "tpe", "genetic", "substitution", "lookup", "orderings"
]
Novelty = Literal["any", "new_composition", "new_structure"]
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
        systems.append("-".join(sorted(_as_symbols(system.split("-")))))
    return tuple(dict.fromkeys(systems))


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


MAX_ATOMS = 200
"""Largest primitive cell that a config may ask for."""

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
    WithJsonSchema({"type": "array", "items": {"enum": sorted(element_groups())}}),
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


class _Part(BaseModel):
    """Frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class TargetSpec(_Part):
    """What is wanted of one property: min and/or max, near with tolerance, minimise or maximise."""

    min: Number | None = None
    max: Number | None = None
    near: Number | None = None
    tolerance: Annotated[Number, Field(gt=0)] | None = None
    minimise: Flag = False
    maximise: Flag = False
    weight: Annotated[Number, Field(gt=0, le=1000)] = 1.0

    def to_target(self, name: str) -> Target:
        """Return the Target for a property.

        Raises:
            ValueError: no or several forms, an empty window, or a bound outside the physical range.
        """
        prop = property_named(name)
        for key in ("min", "max", "near"):
            value = getattr(self, key)
            if value is not None and not prop.minimum <= value <= prop.maximum:
                unit = f" {prop.unit}" if prop.unit else ""
                raise ValueError(
                    f"{key} {value:g}{unit} is outside the physical range {prop.minimum:g} to {prop.maximum:g}{unit}"
                )
        if self.min is not None and self.max is not None and self.min >= self.max:
            raise ValueError(f"min {self.min:g} is not below max {self.max:g}; no value lies between")
        forms = [
            self.min is not None or self.max is not None,
            self.near is not None,
            self.minimise,
            self.maximise,
        ]
        if sum(forms) != 1:
            raise ValueError(
                "give exactly one of min/max, near with tolerance, minimise: true, maximise: true"
            )
        if (self.near is None) != (self.tolerance is None):
            raise ValueError("near and tolerance go together")
        return Target(
            prop, self.min, self.max, self.near, self.tolerance, self.minimise, self.maximise, self.weight
        )


class Elements(_Part):
    """Which elements a candidate must, may and must not hold."""

    include_any: Symbols = ()
    include_all: Symbols = ()
    only: Symbols = ()
    exclude: Symbols = ()
    exclude_groups: Groups = ()

    def excluded(self) -> frozenset[str]:
        """Return every excluded element, groups included."""
        return frozenset(self.exclude).union(*(element_groups()[name] for name in self.exclude_groups))


class Constraints(_Part):
    """What every candidate must satisfy; `n_atoms` counts the primitive cell."""

    elements: Elements = Elements()
    chemical_systems: Systems = ()
    subsystems: Flag = False
    n_elements: Range = (1, 5)
    n_atoms: Range = (1, 20)
    novelty: Novelty = "any"
    derivatives: Flag = True

    def allowed_elements(self) -> frozenset[str]:
        """Return the elements that a candidate may hold, by every rule together."""
        allowed = frozenset(self.elements.only or ELEMENT_SYMBOLS) - self.elements.excluded()
        if self.chemical_systems:
            allowed &= frozenset().union(*(system.split("-") for system in self.chemical_systems))
        return allowed


class Search(_Part):
    """How candidates are proposed."""

    method: Method = "hybrid"


class Verify(_Part):
    """Who judges; `reuse: false` asks the judges afresh, whatever the store holds."""

    potential: Text = "auto"
    reuse: Flag = True

    @field_validator("potential")
    @classmethod
    def _known_potential(cls, value: str) -> str:
        module, colon, factory = value.partition(":")
        is_factory = colon and factory.isidentifier() and all(p.isidentifier() for p in module.split("."))
        if value not in POTENTIALS and not is_factory:
            raise ValueError(
                f"{one_line(repr(value), 60)} is not a potential; {nearest(value, POTENTIALS)} (or module:factory)"
            )
        return value


class Budget(_Part):
    """When to stop: whichever limit comes first. Without either, a default number of verifications."""

    verifications: Annotated[Whole, Field(gt=0, le=10_000_000)] | None = None
    seconds: Seconds | None = Field(default=None, alias="time")

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Budget":
        if self.verifications is None and self.seconds is None:
            object.__setattr__(self, "verifications", DEFAULT_VERIFICATIONS)
        return self


class CampaignConfig(_Part):
    """A whole campaign; everything but `targets` has a default."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")] = "campaign"
    target_specs: dict[str, TargetSpec] = Field(alias="targets", min_length=1)
    constraints: Constraints = Constraints()
    search: Search = Search()
    seed_structures: tuple[Path, ...] = ()
    verify: Verify = Verify()
    budget: Budget = Budget(verifications=DEFAULT_VERIFICATIONS)
    seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] = 0
    device: Annotated[Text, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")] = "auto"

    @field_validator("target_specs")
    @classmethod
    def _possible_targets(cls, specs: dict[str, TargetSpec]) -> dict[str, TargetSpec]:
        for name, spec in specs.items():
            if name not in PROPERTIES:
                raise ConfigError(
                    f"targets: unknown property {one_line(repr(name), 60)}; {nearest(name, PROPERTIES)}"
                )
            try:
                spec.to_target(name)
            except ValueError as error:
                raise ConfigError(f"targets.{name}: {error}") from None
        return specs

    @model_validator(mode="after")
    def _possible_constraints(self) -> "CampaignConfig":
        if reason := infeasibility(self.constraints):
            raise ConfigError(reason)
        return self

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets as records, in the order of the file."""
        return tuple(spec.to_target(name) for name, spec in self.target_specs.items())

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str = "config") -> "CampaignConfig":
        """Return the config that a plain mapping (parsed YAML) describes.

        Raises:
            ConfigError: one line naming the place, the key, the value and the nearest valid choice.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise config_error(error, cls, where) from None
        except EngineError as error:
            raise ConfigError(f"{where}: {error}") from None

    def with_overrides(
        self,
        *,
        verifications: int | None = None,
        seconds: float | None = None,
        seed: int | None = None,
        device: str | None = None,
    ) -> "CampaignConfig":
        """Return the config with what the command line overrides; None keeps the config's value.

        Raises:
            ConfigError: a value that the config would refuse.
        """
        data = self.to_mapping()
        if verifications is not None:
            data["budget"]["verifications"] = verifications
        if seconds is not None:
            data["budget"]["time"] = seconds
        data |= {k: v for k, v in (("seed", seed), ("device", device)) if v is not None}
        return type(self).from_mapping(data, "command line")

    def to_mapping(self) -> dict[str, Any]:
        """Return the config as plain lists, mappings and numbers; `from_mapping` reads it back."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        for name, spec in self.target_specs.items():
            data["targets"][name] = spec.model_dump(mode="json", exclude_defaults=True)
        return data

    def to_yaml(self) -> str:
        """Return the config as YAML with every default written out; `load_config` reads it back."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False, allow_unicode=True, default_flow_style=None)


def infeasibility(constraints: Constraints) -> str:
    """Return why no crystal can satisfy the constraints, with the key; "" when one may exist."""
    elements, allowed = constraints.elements, constraints.allowed_elements()
    excluded, only = elements.excluded(), frozenset(elements.only)
    least, most = constraints.n_elements

    def forbidden(symbols: frozenset[str]) -> str:
        outside = sorted(s for s in symbols if s in excluded or (only and s not in only))
        return ", ".join(outside)

    for key in ("include_all",):
        if out := forbidden(frozenset(getattr(elements, key))):
            return f"constraints.elements.{key}: {out} is excluded (by exclude, exclude_groups or only)"
    for system in constraints.chemical_systems:
        if out := forbidden(frozenset(system.split("-"))):
            return f"constraints.chemical_systems: {system} holds {out}, which is excluded"
    if not allowed:
        return "constraints.elements: only, exclude and exclude_groups together leave no element"
    if elements.include_any and not allowed & set(elements.include_any):
        return f"constraints.elements.include_any: none of {', '.join(elements.include_any)} is allowed"
    if least > len(allowed):
        return f"constraints.n_elements: at least {least} asked for, but only {len(allowed)} elements are allowed"
    required = frozenset(elements.include_all)
    if len(required) > most:
        return f"constraints.elements.include_all: {len(required)} elements, but n_elements allows at most {most}"
    if any_of := set(elements.include_any):
        if len(required) == most and not any_of & required:
            return (
                f"constraints.elements.include_any: no room beside include_all with n_elements at most {most}"
            )
    if least > constraints.n_atoms[1]:
        return f"constraints.n_atoms: at most {constraints.n_atoms[1]} atoms cannot hold {least} elements"
    if len(required | _one_more(any_of, required)) > constraints.n_atoms[1]:
        return (
            f"constraints.n_atoms: at most {constraints.n_atoms[1]} atoms cannot hold the required elements"
        )
    if constraints.chemical_systems and not any(
        _fits(system, constraints) for system in constraints.chemical_systems
    ):
        return (
            f"constraints.chemical_systems: none of {', '.join(constraints.chemical_systems)} agrees with"
            f" n_elements {list(constraints.n_elements)}, n_atoms {list(constraints.n_atoms)}, include_all and include_any"
        )
    return ""


def _one_more(any_of: set[str], required: frozenset[str]) -> frozenset[str]:
    """Return one element that include_any adds to the required ones, if it adds one."""
    return frozenset() if not any_of or any_of & required else frozenset(sorted(any_of)[:1])


def _fits(system: str, constraints: Constraints) -> bool:
    """Return whether some crystal of a listed system (or its subsystems) can satisfy the other rules."""
    members = frozenset(system.split("-"))
    required, any_of = frozenset(constraints.elements.include_all), set(constraints.elements.include_any)
    least, most = constraints.n_elements
    if not required <= members or (any_of and not any_of & members):
        return False
    smallest = len(members)
    if constraints.subsystems:
        smallest = max(1, least, len(required | _one_more(any_of & members, required)))
    return least <= len(members) and smallest <= min(most, constraints.n_atoms[1])


def packaged_configs() -> tuple[str, ...]:
    """Return the names of the configs that come with the program."""
    folder = files("inverse").joinpath("configs")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_config(source: str | Path) -> CampaignConfig:
    """Return the config of a file, or the packaged one of that name.

    Relative `seed_structures` start at the config file's folder.

    Raises:
        ConfigError: one line naming the file, the key, the value and the nearest valid choice.
    """
    name = str(source)
    if isinstance(source, str) and name in packaged_configs():
        text = files("inverse").joinpath("configs", f"{name}.yaml").read_text(encoding="utf-8")
        return CampaignConfig.from_mapping(parse_yaml(text, name), name)
    path = Path(source)
    looks_like_name = isinstance(source, str) and path.name == name and not path.suffix
    if looks_like_name and not _exists(path):
        raise ConfigError(
            f"config {one_line(repr(name), 80)}: no such file and no such packaged config; {nearest(name, packaged_configs())}"
        )
    data = parse_yaml(read_text(path), str(path))
    if isinstance(data.get("seed_structures"), list):
        data["seed_structures"] = [_resolved(entry, path) for entry in data["seed_structures"]]
    return CampaignConfig.from_mapping(data, str(path))


def _exists(path: Path) -> bool:
    """Return whether a path exists; one that no file system can hold does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _resolved(entry: object, config_path: Path) -> object:
    """Return the absolute path of a seed structure.

    Raises:
        ConfigError: no such file.
    """
    if not isinstance(entry, str):
        return entry
    path = (config_path.parent / entry).absolute()
    if not _exists(path):
        raise ConfigError(f"{config_path}: seed_structures: {one_line(repr(entry), 80)}: no such file")
    return str(path)


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors."""
    schema = CampaignConfig.model_json_schema(by_alias=True)
    schema["properties"]["targets"]["propertyNames"] = {"enum": sorted(PROPERTIES)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
