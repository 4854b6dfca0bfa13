"""`inverse train`: the shipped surrogates anew, or a surrogate of a table that the user brings."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from inverse.decoders.training import PartRecipe, TrainedDecoder, train_decoder
from inverse.inputs.records import significant
from inverse.inputs.training_config import DecoderStage, TableStage, TrainingStage, read_stage
from inverse.inputs.user_table import read_table
from inverse.reference.training_table import carried_formulas
from surrogates.checkpoints.architecture import Architecture, Rows, Task
from surrogates.checkpoints.checkpoint import ARCHITECTURES, MANIFEST, READ_BY, Checkpoint, save_checkpoint
from surrogates.checkpoints.of_table import FACTOR, OfTable
from surrogates.errors import ConfigError, EngineError, RunFolderError
from surrogates.platform.blame import said_of
from surrogates.platform.data_folder import SETTING
from surrogates.platform.devices import require_cpu
from surrogates.platform.progress import StepProgress
from surrogates.protocol import OWN_SCALE, scale_of

LOGGER = logging.getLogger(__name__)

REPORT, WORK = "report.json", "work"
"""What lies in an output folder beside the weights: held-out errors; what a training resumes from."""

BESIDE_ERRORS = ("missing", "learning_curves")
"""What a trainer says beside its errors."""


def train(
    config: str | Path | Mapping[str, Any], output: str | Path | None = None, device: str | None = None
) -> dict[str, Any]:
    """Return the report of a run: held-out errors beside the constant baseline, and where the weights are.

    The config names a `kind`: `composition` (formula tables), `structure` (crystal structures), `stack` (the
    accurate tier), `decoder`, `table` (a user's CSV of formulas, or a folder of structures with a CSV), or
    any architecture of an installed package; `model: {architecture: name}` lets one learn a user's table.
    Relative paths in a file are relative to that file. `surrogates.checkpoints.checkpoint.load_surrogate`
    gives the surrogate of `report["weights"]` back.

    Args:
        config: a file, or a mapping of the same keys.
        output: folder for the weights, instead of the config's.
        device: instead of the config's; all training computes on the CPU.

    Raises:
        ConfigError: a config that cannot be carried out; names the key and the nearest valid one.
        DataError: a table or folder that is missing or damaged.
        RunFolderError: an output folder that holds weights already, or cannot be written.
    """
    started = time.monotonic()
    stage, where = read_stage(config)
    require_cpu(stage.device if device is None else device, "training computes")
    folder = Path(output or stage.output or Path("runs") / (stage.name or f"train-{stage.kind}"))
    _refuse_existing(folder)
    with _progress_bar(f"training {stage.name or stage.kind}") as progress:
        trained, report = fit(stage, progress, folder / WORK)
    report = {"kind": stage.kind, "config": where, **report, "weights": str(folder)}
    report["seconds"] = round(time.monotonic() - started, 1)
    try:
        if isinstance(trained, TrainedDecoder):
            trained.save(folder)
        else:
            name = stage.model.architecture if isinstance(stage, TableStage) else stage.kind
            save_checkpoint(checkpoint_of(trained, name), folder, half=architecture_named(name).half)
        (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return report


def fit(stage: TrainingStage, progress: StepProgress, work: Path) -> tuple[Any, dict[str, Any]]:
    """Return the surrogate or decoder of a stage, its held-out errors, and what stands beside them.

    That is what data it had to do without (`missing`), and an epoch's loss and watched errors by member
    (`learning_curves`).

    What is finished lies in `work` (unless the settings name another folder), and the same command goes on
    from there. The fit of a user's table takes seconds and keeps nothing.

    Raises:
        ConfigError: a setting that the fit does not know.
        DataError: data that are missing, damaged or too few.
    """
    if isinstance(stage, DecoderStage):
        return _fit_decoder(stage, progress, work)
    if isinstance(stage, TableStage):
        return _fit_table(stage, progress, work)
    task = Task(
        stage.kind, stage.settings(), work, data=stage.data, progress=progress, carried=carried_formulas
    )
    surrogate, errors = trained_by(task)
    held_out = {name: value for name, value in errors.items() if name not in BESIDE_ERRORS}
    return surrogate, {"held_out": held_out} | {k: errors[k] for k in BESIDE_ERRORS if k in errors}


def trained_by(task: Task) -> tuple[Any, Mapping[str, Any]]:
    """Return the surrogate of a task's architecture and its errors.

    Raises:
        ConfigError: whoever brings the architecture does not keep what its group promises; else as it says.
    """
    architecture = architecture_named(task.architecture)
    try:
        surrogate, errors = architecture.train(task)
    except EngineError:
        raise
    except Exception as error:
        if ARCHITECTURES.is_packaged(task.architecture):
            raise
        said = f"cannot be trained: {said_of(error, architecture)}"
        raise ARCHITECTURES.refusal(task.architecture, said) from error
    return surrogate, errors


def architecture_named(name: str) -> Architecture:
    """Return the architecture of a name.

    Raises:
        UnknownNameError: no such name.
        ConfigError: what has the name is none.
    """
    made = ARCHITECTURES.make(name)
    if not isinstance(made, Architecture):
        raise ARCHITECTURES.refusal(name, f"is a {type(made).__name__}, not an Architecture")
    return made


def checkpoint_of(surrogate: Any, architecture: str) -> Checkpoint:
    """Return the checkpoint of what an architecture trained, which it, or `load_surrogate`, will read again.

    Raises:
        ConfigError: the surrogate gives none, or one of another kind.
    """
    trained = surrogate.inner if isinstance(surrogate, OfTable) else surrogate
    made = trained.to_checkpoint() if callable(getattr(trained, "to_checkpoint", None)) else None
    if not isinstance(made, Checkpoint):
        reason = f"trains a {type(trained).__name__} whose to_checkpoint() gives no Checkpoint"
        raise ARCHITECTURES.refusal(architecture, reason)
    if READ_BY.get(made.kind, made.kind) != architecture:
        reason = f"trains a surrogate whose checkpoint is of kind {made.kind!r}"
        raise ARCHITECTURES.refusal(architecture, reason)
    stated = surrogate.stated() if isinstance(surrogate, OfTable) else {}
    return replace(made, config={**made.config, **stated})


def _fit_decoder(stage: DecoderStage, progress: StepProgress, work: Path) -> tuple[Any, dict[str, Any]]:
    """Return the decoder and the report: log-likelihoods of what was held out."""
    if stage.data is not None:
        raise ConfigError(f"data: set {SETTING} to {str(stage.data)!r} instead; the decoder's data are there")
    compositions, structures = (
        PartRecipe(**part.model_dump()) for part in (stage.compositions, stage.structures)
    )
    trained = train_decoder(compositions, structures, work, progress)
    return trained, {"held_out": trained.facts}


def _fit_table(stage: TableStage, progress: StepProgress, work: Path) -> tuple[Any, dict[str, Any]]:
    """Return the surrogate and the report: errors by cross-validation over formulas, rows left out."""
    table = read_table(stage)
    rows = Rows(
        table.property, table.batch, table.values, table.formulas, table.is_log, stage.folds, stage.seed
    )
    name = stage.model.architecture
    surrogate, errors = trained_by(Task(name, stage.model.settings(), work, rows=rows, progress=progress))
    if table.property not in surrogate.properties:
        raise ARCHITECTURES.refusal(name, f"trains a surrogate that does not predict {table.property.name}")
    report = {
        "property": table.property.name,
        "unit": table.property.unit,
        "level": surrogate.level,
        "log": table.is_log,
        "held_out": {k: significant(v) if isinstance(v, float) else v for k, v in errors.items()},
        "skipped": [f"line {line}: {reason}" for line, reason in table.skipped],
    }
    if isinstance(record := getattr(surrogate, "record", None), dict):
        record.update(report)  # some architectures keep what their training said
    if warnings := _doubts(errors, table.property.name):
        report["warnings"] = warnings
        for warning in warnings:
            LOGGER.warning(warning)
    if FACTOR in errors or scale_of(surrogate, "") != OWN_SCALE:
        surrogate = OfTable(surrogate, float(errors.get(FACTOR, 1.0)))
    return surrogate, report


def _doubts(errors: Mapping[str, Any], name: str) -> list[str]:
    """Return what speaks against using a surrogate of a table, one line each."""
    mae, constant = errors.get("mae"), errors.get("mae_constant")
    if mae is None or constant is None or mae < constant:
        return []
    said = f"mean error {mae:.3g} on rows that it did not see, of the median of the others {constant:.3g}"
    return [f"{name}: the surrogate is no better than a constant ({said})"]


def _refuse_existing(folder: Path) -> None:
    if (folder / MANIFEST).exists():
        raise RunFolderError(f"{folder}: holds weights already; name another folder with --output")
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(f"{folder}: is a file, not a folder for weights")


@contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, in all) that moves a bar with the time left, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def move(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield move
