"""The campaign config: what is wanted, what is allowed, what may be spent. Validated, frozen."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from inverse.candidates.registry import AUTO, DECODERS, JUDGES, POTENTIALS, PROPOSERS, SURROGATES, Registry
from inverse.candidates.types import Target
from inverse.inputs.constraints import Constraints, infeasibility
from inverse.inputs.exact_targets import unreachable
from inverse.inputs.fields import Flag, Number, Part, Seconds, Text, Whole
from inverse.inputs.target_spec import TargetSpec, contradiction
from inverse.inputs.yaml_reading import config_error, one_line, parse_yaml, read_text
from surrogates.errors import ConfigError, EngineError, nearest
from surrogates.physics.element_groups import element_groups
from surrogates.physics.properties import PROPERTIES, Property, nearest_property
from surrogates.platform.devices import PATTERN as DEVICE
from surrogates.platform.factories import is_factory

if TYPE_CHECKING:
    from inverse.inputs.carried_files import Trained

DEFAULT_VERIFICATIONS = 60

UNKNOWN_TO_JUDGES = (
    "; a judge of verify.also decides what has a record (entry point inverse.properties) "
    "and what a surrogate of the config predicts"
)
"""Where it may be the property of a user's judge: that the judge alone does not make a target of it."""

SEARCH_WORDS = {
    "bayes": "tpe",
    "bayesian": "tpe",
    "evolution": "genetic",
    "evolutionary": "genetic",
    "generative": "decoder",
    "monte carlo": "random",
    "optuna": "tpe",
    "prototypes": "substitution",
}
"""What people call a search method -> its name here; for messages: a config says the name."""

SEARCHED_WITH = "search.surrogate"
"""Key of a folder of weights, among the config's files and folders."""

STORED = "stored"
"""Key of the context of a validation: whether a config is a run folder's own."""


class Search(Part):
    """How candidates are proposed.

    `surrogate` names one that is asked before the shipped ones, for what it predicts; `decoder` the one that
    is drawn from. All three are names of this program or of installed packages; a surrogate may also be
    module:factory, or a folder of weights that `inverse train` wrote. `structures` is how many substitutions
    are built and scored before the first is proposed; without it the budget decides, and 0 scores as few as
    are needed. `triage: true` lets a cheap potential that judges nothing (7net-0, of the extra sevenn) look
    at twenty candidates for every verification, relax four, and throw out what is too far above the hull;
    without it verifications are spent on the surrogates' word alone.
    """

    method: Text = "hybrid"
    surrogate: Text = ""
    decoder: Text = "default"
    structures: Annotated[Whole, Field(ge=0, le=10_000_000)] | None = None
    triage: Flag = False

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        return _named(value, PROPOSERS, SEARCH_WORDS)

    @field_validator("surrogate")
    @classmethod
    def _known_surrogate(cls, value: str) -> str:
        if not value or value in SURROGATES or is_factory(value) or _is_folder(value):
            return value
        hint = f"{nearest(value, SURROGATES.names())} (or module:factory, or a folder of `inverse train`)"
        raise ValueError(f"{one_line(repr(value), 60)} is not a surrogate; {hint}")

    @field_validator("decoder")
    @classmethod
    def _known_decoder(cls, value: str) -> str:
        return _named(value, DECODERS)


def _judges_hint(name: str) -> str:
    """Return which judge may be meant, and that there may be none."""
    if not JUDGES.names():
        return "none is installed; give module:factory"
    return f"{nearest(name, JUDGES.names())} (or module:factory)"


def _is_folder(value: str) -> bool:
    """Return whether this is a folder; what no file system can hold is none."""
    try:
        return Path(value).is_dir()
    except (OSError, ValueError):
        return False


def _named(value: str, registry: Registry, words: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a name that a registry has; ValueError names the nearest, also for other `words` of it."""
    if value not in registry:
        names = registry.names()
        likely = get_close_matches(value.lower(), [*names, *words], n=1, cutoff=0.7)
        meant = words.get(likely[0], likely[0]) if likely else ""
        hint = f"did you mean {meant!r}?" if meant else nearest(value, names)
        raise ValueError(f"{one_line(repr(value), 60)} is not valid; {hint}")
    return value


NO_WITNESS = "none"
"""As `verify.second_opinion`: nobody is asked."""

FORMER_WITNESS = "7net-0"
"""Who gave the second opinion in runs whose config does not say."""


class Dft(Part):
    """How first principles are asked; see `inverse confirm`.

    `code` is gpaw or module:factory, `python` the interpreter that has it (empty finds one), `properties`
    what is computed (empty takes what is asked by default), `memory` (GB) and `time` bound a calculation.
    """

    code: Text = "gpaw"
    python: Text = ""
    properties: tuple[Text, ...] = ()
    processes: Annotated[Whole, Field(ge=1, le=256)] = 1
    memory: Annotated[Number, Field(ge=0.0)] = 8.0
    seconds: Seconds = Field(default=3600.0, alias="time")

    @field_validator("code")
    @classmethod
    def _known_code(cls, value: str) -> str:
        if value != "gpaw" and not is_factory(value):
            raise ValueError(f"{one_line(repr(value), 60)} is not a DFT code; give gpaw or module:factory")
        return value


class Verify(Part):
    """Who judges; `reuse: false` asks the judges afresh, whatever the store holds.

    `also` names judges of your own properties, asked after the others. Potentials and judges have a name, of
    this program or of an installed package, or are module:factory. `phonons: false` leaves out the phonons of
    the ten best, computed at the end while time is left; `orderings: false` the question whether hits with
    alike elements on their sites are solid solutions, asked then, too. `predicted_enough` is the probability
    from which on a target that no judge computes counts as met. `confirm` takes so many of the best to
    density functional theory at the end, while time is left, by `dft`. `second_opinion` is asked beside the
    judges of `potential: auto` about what would be a hit: auto (chgnet), another potential, or none.
    `functionals: true` asks of the hits, while time is left, how far they lie above the hull by the PBE and
    the r2SCAN channel of 7net-mf-0 (of the extra sevenn).
    """

    potential: Text = AUTO
    second_opinion: Text = AUTO
    reuse: Flag = True
    also: tuple[Text, ...] = ()
    phonons: Flag = True
    orderings: Flag = True
    functionals: Flag = False
    predicted_enough: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.8
    confirm: Annotated[Whole, Field(ge=0, le=1000)] = 0
    dft: Dft = Dft()

    @property
    def code(self) -> tuple[str, ...]:
        """Every module:factory that is called to verify: a config that names one is a program."""
        codes = (self.dft.code,) if self.confirm else ()
        return tuple(name for name in (self.potential, *self.also, *codes) if ":" in name)

    @field_validator("potential")
    @classmethod
    def _known_potential(cls, value: str) -> str:
        if value != AUTO and value not in POTENTIALS and not is_factory(value):
            hint = f"{nearest(value, [AUTO, *POTENTIALS.names()])} (or module:factory)"
            raise ValueError(f"{one_line(repr(value), 60)} is not a potential; {hint}")
        return value

    @field_validator("second_opinion")
    @classmethod
    def _known_witness(cls, value: str) -> str:
        if value not in (AUTO, NO_WITNESS, *POTENTIALS.names()):
            hint = nearest(value, [AUTO, NO_WITNESS, *POTENTIALS.names()])
            raise ValueError(f"{one_line(repr(value), 60)} gives no second opinion; {hint}")
        return value

    @field_validator("also")
    @classmethod
    def _named_judges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in JUDGES and not is_factory(name):
                raise ValueError(f"{one_line(repr(name), 60)} is not a judge; {_judges_hint(name)}")
        return value


class Budget(Part):
    """When to stop: whichever limit comes first. Without either, a default number of verifications."""

    verifications: Annotated[Whole, Field(gt=0, le=10_000_000)] | None = None
    seconds: Seconds | None = Field(default=None, alias="time")

    @model_validator(mode="after")
    def _has_a_limit(self) -> "Budget":
        if self.verifications is None and self.seconds is None:
            object.__setattr__(self, "verifications", DEFAULT_VERIFICATIONS)
        return self


class CampaignConfig(Part):
    """A whole campaign; everything but `targets` has a default."""

    name: Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")] = "campaign"
    target_specs: dict[str, TargetSpec] = Field(alias="targets", min_length=1)
    constraints: Constraints = Constraints()
    search: Search = Search()
    surrogates: tuple[Path, ...] = ()
    seed_structures: tuple[Path, ...] = ()
    verify: Verify = Verify()
    budget: Budget = Budget(verifications=DEFAULT_VERIFICATIONS)
    seed: Annotated[Whole, Field(ge=0, le=2**31 - 1)] = 0
    device: Annotated[Text, Field(pattern=DEVICE)] = "auto"

    @model_validator(mode="after")
    def _possible_targets(self) -> "CampaignConfig":
        properties = self.properties
        for name, spec in self.target_specs.items():
            if name not in properties:
                shown = one_line(repr(name), 60)
                hint = nearest_property(name, properties) + (UNKNOWN_TO_JUDGES if self.verify.also else "")
                raise ConfigError(f"targets: unknown property {shown}; {hint}")
            try:
                spec.to_target(properties[name])
            except ValueError as error:
                raise ConfigError(f"targets.{name}: {error}") from None
        if reason := contradiction(self.targets):
            raise ConfigError(f"targets: {reason}")
        if unwanted := [t for t in self.trained if t.property.name not in self.target_specs]:
            name = unwanted[0].property.name
            raise ConfigError(f"surrogates: {unwanted[0].folder}: predicts {name!r}, which no target names")
        return self

    @model_validator(mode="after")
    def _possible_constraints(self) -> "CampaignConfig":
        if reason := infeasibility(self.constraints):
            raise ConfigError(reason)
        return self

    @model_validator(mode="after")
    def _reachable_targets(self, info: ValidationInfo) -> "CampaignConfig":
        # runs of before this was asked stay readable
        if not (info.context or {}).get(STORED) and (reason := unreachable(self.targets, self.constraints)):
            raise ConfigError(reason)
        return self

    @model_validator(mode="after")
    def _readable_seeds(self, info: ValidationInfo) -> "CampaignConfig":
        if self.seed_structures and not (info.context or {}).get(STORED):
            from inverse.inputs.carried_files import read_seeds

            read_seeds(self.seed_structures)
        return self

    @cached_property
    def trained(self) -> "tuple[Trained, ...]":
        """What the surrogates of the user's own tables predict, in the order of the file."""
        if not self.surrogates:
            return ()
        from inverse.inputs.carried_files import read_trained

        return read_trained(self.surrogates)

    @property
    def properties(self) -> dict[str, Property]:
        """Every property that a target may name: of the program, of own tables, of `search.surrogate`."""
        known = PROPERTIES | {t.property.name: t.property for t in self.trained}
        return self._of_named_surrogate | known if set(self.target_specs) - set(known) else known

    @cached_property
    def _of_named_surrogate(self) -> dict[str, Property]:
        """What `search.surrogate` predicts; loaded where a target names what nobody else has.

        To read a config runs no code that it names: a module:factory may only predict what is known.
        """
        if not self.search.surrogate or is_factory(self.search.surrogate):
            return {}
        from inverse.inputs.named_surrogate import surrogate_named

        return {prop.name: prop for prop in surrogate_named(self.search.surrogate).properties}

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets as records, in the order of the file."""
        return tuple(spec.to_target(self.properties[name]) for name, spec in self.target_specs.items())

    @classmethod
    def from_mapping(
        cls, data: Mapping[str, Any], where: str = "config", is_stored: bool = False
    ) -> "CampaignConfig":
        """Return the config that a plain mapping (parsed YAML) describes.

        Args:
            data: keys and values.
            where: it comes from, for messages.
            is_stored: a run folder's own, whose seeds were read before they were copied there.

        Raises:
            ConfigError: one line naming the place, the key, the value and the nearest valid choice.
        """
        data = _unasked(data) if is_stored else data
        try:
            return cls.model_validate(dict(data), context={STORED: is_stored})
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
        if all(value is None for value in (verifications, seconds, seed, device)):
            return self
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
        if not self.surrogates:  # runs of before there were any keep their hash
            del data["surrogates"]
        for key in ("surrogate", "decoder", "structures", "triage"):
            if data["search"][key] == Search.model_fields[key].default:
                del data["search"][key]
        for key, default in (("confirm", 0), ("dft", Dft().model_dump(mode="json", by_alias=True))):
            if data["verify"][key] == default:
                del data["verify"][key]
        return data

    @property
    def code(self) -> tuple[str, ...]:
        """Every module:factory that is called: a config that names one is a program."""
        return tuple(filter(is_factory, [self.search.surrogate])) + self.verify.code

    @property
    def inputs(self) -> dict[str, tuple[Path, ...]]:
        """Files and folders that the config names, by key; keys without any are left out."""
        own = self.search.surrogate
        is_folder = bool(own) and own not in SURROGATES and not is_factory(own)
        named = {
            "seed_structures": self.seed_structures,
            "surrogates": self.surrogates,
            SEARCHED_WITH: (Path(own),) if is_folder else (),
        }
        return {key: paths for key, paths in named.items() if paths}

    def to_yaml(self, carried: bool = False) -> str:
        """Return the config as YAML with every default written out; `load_config` reads it back.

        `carried` names seeds and surrogates by where a run folder keeps its copies.
        """
        mapping = self.to_mapping()
        if carried and self.inputs:
            from inverse.inputs.carried_files import carried_paths

            for key, own in self.inputs.items():
                copies = [path.as_posix() for path in carried_paths(key, own)]
                if key == SEARCHED_WITH:
                    mapping["search"]["surrogate"] = copies[0]
                else:
                    mapping[key] = copies
        return yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _unasked(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run folder stored; an older run goes on asking of hits what its version asked."""
    verify = data.get("verify") or {}
    older = {"orderings": False, "second_opinion": FORMER_WITNESS}
    return {**data, "verify": {**older, **verify}} if isinstance(verify, Mapping) else dict(data)


def packaged_configs() -> tuple[str, ...]:
    """Return the names of the configs that come with the program."""
    folder = files("inverse.inputs").joinpath("configs")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def load_config(source: str | Path, is_stored: bool = False) -> CampaignConfig:
    """Return the config of a file, or the packaged one of that name.

    Relative `seed_structures`, `surrogates` and a folder as `search.surrogate` start at the config file's
    folder. `is_stored` says that it
    is a run folder's own: its seeds are not read.

    Raises:
        ConfigError: one line naming the file, the key, the value and the nearest valid choice.
    """
    name = str(source)
    if isinstance(source, str) and name in packaged_configs():
        text = files("inverse.inputs").joinpath("configs", f"{name}.yaml").read_text(encoding="utf-8")
        return CampaignConfig.from_mapping(parse_yaml(text, name), name)
    path = Path(source)
    looks_like_name = isinstance(source, str) and path.name == name and not path.suffix
    if looks_like_name and not _exists(path):
        hint = nearest(name, packaged_configs())
        shown = one_line(repr(name), 80)
        raise ConfigError(f"config {shown}: no such file and no such packaged config; {hint}")
    data = parse_yaml(read_text(path), str(path))
    for key in ("seed_structures", "surrogates"):
        if isinstance(data.get(key), list):
            data[key] = [_resolved(entry, path) for entry in data[key]]
    search = data.get("search")
    if isinstance(search, dict) and isinstance(own := search.get("surrogate"), str):
        folder = path.parent / own
        if own and own not in SURROGATES and not is_factory(own) and _is_folder(str(folder)):
            data["search"] = {**search, "surrogate": str(folder.absolute())}
    return CampaignConfig.from_mapping(data, str(path), is_stored)


def _exists(path: Path) -> bool:
    """Return whether a path exists; one that no file system can hold does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _resolved(entry: object, config_path: Path) -> object:
    """Return a path of a config file as an absolute one."""
    return str((config_path.parent / entry).absolute()) if isinstance(entry, str) else entry


def config_schema(with_extensions: bool = True) -> dict[str, Any]:
    """Return the JSON schema of a config file, for editors.

    Args:
        with_extensions: names of installed packages are valid, too; the schema that is shipped has none.
    """
    schema = CampaignConfig.model_json_schema(by_alias=True)
    # names are free where the user's own surrogates add some
    named = {"required": ["search"], "properties": {"search": {"required": ["surrogate"]}}}
    tables = {"required": ["surrogates"], "properties": {"surrogates": {"minItems": 1}}}
    schema["if"] = {"anyOf": [tables, named]}
    schema["else"] = {"properties": {"targets": {"propertyNames": {"enum": sorted(PROPERTIES)}}}}
    search = schema["$defs"]["Search"]["properties"]
    search["method"]["enum"] = list(PROPOSERS.names(with_extensions))
    search["decoder"]["enum"] = list(DECODERS.names(with_extensions))
    verify = schema["$defs"]["Verify"]["properties"]
    verify["potential"] = _named_or_factory([AUTO, *POTENTIALS.names(with_extensions)]) | {"default": AUTO}
    verify["second_opinion"]["enum"] = [AUTO, NO_WITNESS, *POTENTIALS.names(with_extensions)]
    verify["also"]["items"] = _named_or_factory(JUDGES.names(with_extensions))
    groups = schema["$defs"]["Elements"]["properties"]["exclude_groups"]
    groups["items"] = {"enum": sorted(element_groups())}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _named_or_factory(names: Sequence[str]) -> dict[str, Any]:
    """Return the schema of a name or module:factory."""
    factory = {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"}
    return {"anyOf": [{"enum": list(names)}, factory]} if names else factory
