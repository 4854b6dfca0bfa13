"""What a training config may say: one record per kind, validated and frozen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inverse.inputs.table_header import Header
from inverse.inputs.yaml_reading import config_error, parse_yaml, read_text
from surrogates.checkpoints.checkpoint import ARCHITECTURES
from surrogates.errors import ConfigError, nearest
from surrogates.physics.properties import PROPERTY_NAME
from surrogates.platform.devices import PATTERN as DEVICE

Fraction = Annotated[float, Field(gt=0, lt=1)]


class AnyStage(BaseModel):
    """What every training config may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", pattern=r"^[A-Za-z0-9 ._-]{0,80}$")
    output: Path | None = None
    data: Path | None = None
    device: str = Field(default="auto", pattern=DEVICE)


class CompositionNetworks(BaseModel):
    """Networks on formulas: how many, how large, how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(default=3, ge=1, le=20)
    steps: int = Field(default=3600, ge=1)
    batch: int = Field(default=1024, ge=8)
    learning_rate: float = Field(default=2e-3, gt=0, lt=1)
    weight_decay: float = Field(default=1e-2, ge=0)
    elastic_share: Fraction = 0.15
    dropout: float = Field(default=0.05, ge=0, lt=1)
    width: int = Field(default=64, ge=4, multiple_of=4)
    trunk: int = Field(default=224, ge=4)
    fractions: int = Field(default=0, ge=0, le=200)
    test_buckets: int = Field(default=10, ge=1, le=50)
    calibration_buckets: int = Field(default=5, ge=1, le=50)
    seed: int = Field(default=7, ge=0)


class CompositionStage(CompositionNetworks, AnyStage):
    """The composition surrogate, from the formula tables under `data` (the shared data by default).

    `energy` are networks of their own for formation energies, of which there are 20 times as many values.
    """

    kind: Literal["composition"]
    energy: CompositionNetworks | None = None

    def settings(self) -> dict[str, Any]:
        """Return what the fit is told."""
        return self.model_dump(exclude={"kind", "name", "output", "data", "device"}, exclude_none=True)


class ArchitectureStage(AnyStage):
    """An architecture that brings its own data, by its name; every other key is a setting of its own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str

    def settings(self) -> dict[str, Any]:
        """Return what the fit is told; it checks the keys itself."""
        named = {"name": self.name} if self.name and self.kind == "structure" else {}
        return {**named, **(self.model_extra or {})}


class DecoderNetwork(BaseModel):
    """One network of the decoder: how long it is trained, and from which weights it begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=1)
    learning_rate: float = Field(default=3e-3, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


class DecoderStage(AnyStage):
    """The decoder: its composition model and its structure model, from the shared data."""

    kind: Literal["decoder"]
    compositions: DecoderNetwork = DecoderNetwork(steps=3300)
    structures: DecoderNetwork = DecoderNetwork(steps=2800)


class Model(BaseModel):
    """Which architecture learns a table; every other key is a setting of its own, which it checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    architecture: str = "table"

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ARCHITECTURES:
            raise ValueError(f"{value!r} is not valid; {nearest(value, ARCHITECTURES.names())}")
        return value

    def settings(self) -> dict[str, Any]:
        """Return what the fit is told."""
        return dict(self.model_extra or {})


class TableStage(AnyStage):
    """A user's own table: a CSV of formulas, or a CSV beside a folder of structures.

    `formula` names the column of formulas, without it the first of `FORMULA_COLUMNS`; with `structures`,
    `file` names the column of file names or ids. A unit beside the name of `value` counts as `unit`.
    `log: null` takes logarithms when all values are positive and span more than a decade. `model` names
    another architecture than the kernel's.
    """

    kind: Literal["table"]
    data: Path
    value: str
    property: str | None = Field(default=None, pattern=PROPERTY_NAME)
    symbol: str = ""
    unit: str = ""
    formula: str | None = None
    structures: Path | None = None
    file: str = "file"
    log: bool | None = None
    folds: int = Field(default=5, ge=2, le=20)
    seed: int = Field(default=7, ge=0)
    model: Model = Model()


TrainingStage = CompositionStage | ArchitectureStage | DecoderStage | TableStage

STAGES: dict[str, type[TrainingStage]] = {
    "composition": CompositionStage,
    "decoder": DecoderStage,
    "table": TableStage,
}
"""Kinds whose keys are checked here; any other is the name of an architecture, which checks its own."""


def stage_of(kind: object, where: str) -> type[TrainingStage]:
    """Return the record of a kind of training config.

    Raises:
        ConfigError: no such kind.
    """
    if isinstance(kind, str) and (kind in STAGES or kind in ARCHITECTURES):
        return STAGES.get(kind, ArchitectureStage)
    hint = nearest(str(kind), {*STAGES, *ARCHITECTURES.names()})
    raise ConfigError(f"{where}: kind: {kind!r} is not valid; {hint}")


def table_of(path: Path, text: str) -> dict[str, Any]:
    """Return the training config that a CSV of a column of formulas and one column of values stands for.

    Raises:
        ConfigError: no such columns, or more columns of which one must be named in a config.
    """
    header = Header.of(text, str(path))
    formula, value = header.formulas(), header.only_value()
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)[:80]
    return {"kind": "table", "name": name, "data": path.name, "formula": formula, "value": value}


def read_stage(config: str | Path | Mapping[str, Any]) -> tuple[TrainingStage, str]:
    """Return the validated stage of a training config, and where it came from.

    Raises:
        ConfigError: a file that cannot be read, an unknown kind or key, or a value that is not valid.
    """
    if isinstance(config, Mapping):
        raw, where, base = dict(config), "training config", Path()
    else:
        path = Path(config)
        text = read_text(path)
        raw = table_of(path, text) if path.suffix.lower() == ".csv" else parse_yaml(text, str(path))
        where, base = str(path), path.parent
    model = stage_of(raw.get("kind"), where)
    try:
        stage = model.model_validate(raw)
    except ValidationError as error:
        raise config_error(error, model, where) from None
    given = {key: getattr(stage, key, None) for key in ("data", "output", "structures")}
    changes = {key: base / p for key, p in given.items() if isinstance(p, Path) and not p.is_absolute()}
    return stage.model_copy(update=changes), where
