"""What a trained architecture promises: to be fitted from a training config, and to be read back.

One class in one file is all that a new one costs. It carries a name, which is the `kind` of a training config
and of the weights, and is found by it in `ARCHITECTURES`:

    @ARCHITECTURES.register("ridge")
    class Ridge(Architecture): ...

or by an entry point of the group `inverse.architectures` of any installed package.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError
from surrogates.physics.properties import Property
from surrogates.platform.data_folder import SETTING
from surrogates.protocol import CompositionBatch
from surrogates.settings import settings_of

Settings = TypeVar("Settings")


def _unheard(done: int, total: int) -> None:
    """Take progress that nobody shows."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows of a user's table.

    Attributes:
        property: what the values are.
        batch: C compositions or crystals.
        values: C, natural units.
        formulas: C reduced formulas; one is never learned from and held out at once.
        is_log: whether the table asks for logarithms.
        folds: of the cross-validation.
        seed: of folds, and of whatever else is drawn.
    """

    property: Property
    batch: CompositionBatch | CrystalBatch
    values: Sequence[float]
    formulas: Sequence[str]
    is_log: bool = False
    folds: int = 5
    seed: int = 7

    def only(self, index: Tensor) -> "Rows":
        """Return the rows of an index (R,) long, in its order."""
        chosen = index.tolist()
        batch: CompositionBatch | CrystalBatch
        if isinstance(self.batch, CrystalBatch):
            batch = self.batch.select(index)
        else:
            batch = CompositionBatch(self.batch.fractions[index], self.batch.scale[index])
        values = [self.values[k] for k in chosen]
        return replace(self, batch=batch, values=values, formulas=[self.formulas[k] for k in chosen])


@dataclass(frozen=True)
class Task:
    """What a training is asked for.

    Attributes:
        architecture: name of the one that is asked.
        settings: its own, as the config has them.
        work: folder in which what is finished may lie, so that the same command goes on from there.
        rows: of a user's table (`kind: table`); None where the architecture brings its own data.
        data: folder or file that a config without a table names.
        progress: called with (steps done, steps in all).
        carried: returns formulas with values that the program carries, for want of better ones.
    """

    architecture: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    work: Path = Path(".work")
    rows: Rows | None = None
    data: Path | None = None
    progress: Callable[[int, int], None] = _unheard
    carried: Callable[[], Sequence[Any]] | None = None

    def settings_as(self, record: type[Settings]) -> Settings:
        """Return the settings as a dataclass whose fields they are.

        Raises:
            ConfigError: an unknown name, with the nearest valid one, or a value of the wrong type or range.
        """
        return settings_of(record, self.settings, self.architecture)

    def table(self) -> Rows:
        """Return the rows of the user's table.

        Raises:
            ConfigError: the config brings none.
        """
        if self.rows is None:
            hint = f"write kind: table with model: {{architecture: {self.architecture}}}"
            raise ConfigError(f"{self.architecture} learns from a table; {hint}")
        return self.rows

    def refuse_table(self) -> None:
        """Raise ConfigError where the config brings a table, to an architecture with data of its own."""
        if self.rows is not None:
            hint = f"write kind: {self.architecture} without a table"
            raise ConfigError(f"{self.architecture} does not learn from a table; {hint}")

    def refuse_own_data(self) -> None:
        """Raise ConfigError where the config brings a table or a folder: shared structures are learned."""
        self.refuse_table()
        if self.data is not None:
            hint = f"set {SETTING} to {str(self.data)!r} instead; structures are read from there"
            raise ConfigError(f"data: {hint}")


class Architecture(ABC):
    """How surrogates of one kind are trained and read.

    Attributes:
        half: whether its weights are stored as float16.
    """

    half: ClassVar[bool] = False

    @abstractmethod
    def train(self, task: Task) -> tuple[Any, Mapping[str, Any]]:
        """Return the trained surrogate and its held-out errors.

        The surrogate promises what `surrogates.protocol` says, and `to_checkpoint()`: a `Checkpoint` whose
        kind is the architecture's name. `missing` and `learning_curves` among the errors stand beside them
        in the report. `surrogates.training.cross_validation` measures those of a table.

        Raises:
            ConfigError: a setting that does not fit.
            DataError: data that are missing, damaged or too few.
        """

    @abstractmethod
    def from_checkpoint(self, checkpoint: Checkpoint) -> Any:
        """Return the surrogate of a checkpoint of this kind, which may be somebody else's.

        Raises:
            CheckpointError: config and tensors that do not fit each other; KeyError, TypeError, ValueError
                and RuntimeError count as one.
        """
