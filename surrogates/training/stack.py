"""Training of the accurate tier: a second family of networks, boosted trees, and the weights of the stack.

Everything is fitted out of fold: the fast tier's member k, network k and trees k never saw the formulas of
fold k, and the weights that score a fold were fitted on the other folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.checkpoints.architecture import Architecture, Task
from surrogates.checkpoints.checkpoint import ARCHITECTURES, Checkpoint, load_surrogate, save_checkpoint
from surrogates.datasets.elasticity import TARGETS
from surrogates.errors import CheckpointError
from surrogates.features.descriptors import crystal_descriptors
from surrogates.models.trees import Trees
from surrogates.settings import checked, settings_of
from surrogates.tiers.ensemble import MemberGroup
from surrogates.tiers.stack import AccurateSurrogate, StackGroup, stacked
from surrogates.training.boosting import BoostingConfig, grow
from surrogates.training.configs import EpochProgress, TrainingConfig
from surrogates.training.fit_state import digest_of
from surrogates.training.fitting import FitReport
from surrogates.training.metrics import moduli_metrics
from surrogates.training.new_crystals import for_new_crystals
from surrogates.training.structure import (
    TrainingData,
    TrainingReport,
    calibrated,
    fit_member,
    load_moduli,
    member_group,
    out_of_fold,
    residual_correlation,
    residuals,
    with_limits,
)


@dataclass(frozen=True)
class StackConfig:
    """What `train_stack` does; the YAML of experiments/surrogates has these keys.

    Attributes:
        base: packaged name or folder of the fast tier; its members are the first family.
        work: folder of graphs, fit states and trees (resumed from).
        output: folder of the weights.
        network: keys of TrainingConfig for the second family.
        boosting: keys of BoostingConfig.
    """

    base: str = "structure"
    work: str = ".work/surrogates"
    output: str = "surrogates/weights/accurate"
    network: Mapping[str, Any] = field(default_factory=dict)
    boosting: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> "StackConfig":
        """Return the config of a mapping.

        Raises:
            ConfigError: an unknown key.
        """
        settings = {key: value for key, value in raw.items() if key != "kind"}
        config = settings_of(cls, settings, "stack training")
        second = TrainingConfig.from_mapping(config.network, "stack training: network")
        network = {key: getattr(second, key) for key in config.network}
        boosting = checked(BoostingConfig, config.boosting, "stack training: boosting")
        return replace(config, network=network, boosting=boosting)

    def second(self) -> TrainingConfig:
        """Return the training of the second family."""
        return TrainingConfig(**{"name": "deep", "work": self.work, **self.network})


@dataclass(frozen=True)
class Families:
    """What each family says of every row, by the member that did not see its formula.

    Attributes:
        values: (F + 1, C, T) trees last; NaN where nobody did.
        widths: (F, C, T) log-widths of the networks.
    """

    values: Tensor
    widths: Tensor


def train_stack(
    config: StackConfig, members: Sequence[int] | None = None, progress: EpochProgress | None = None
) -> TrainingReport:
    """Fit what is not finished, stack what is, write weights and metrics once all folds are there.

    Args:
        config: what to train.
        members: folds of the second family to fit now; all by default.
        progress: called with the member's name and each record of its learning curve.

    Raises:
        DataError: the shared structures are missing.
        ConfigError: a key that does not exist, or LightGBM is not installed.
        CheckpointError: a fit state in `work` belongs to another config.
    """
    base_group(config.base, config.second().n_folds)  # a mistyped base is told before the data are read
    found = fitted_stack(config, load_moduli(config.second()), members, progress)
    if found is None:
        return TrainingReport({})
    base = str(Path(config.base).resolve()) if Path(config.base).is_dir() else config.base
    surrogate = AccurateSurrogate(load_surrogate(base), found.stack, found.correlation, found.metrics, base)
    output = save_checkpoint(surrogate.to_checkpoint(), config.output)
    return TrainingReport(found.metrics, found.curves, output)


@dataclass(frozen=True)
class FittedStack:
    """A stack, its errors out of fold, the (T, T) correlation of its residuals, curves of its networks."""

    stack: StackGroup
    metrics: dict[str, Any]
    correlation: Tensor
    curves: tuple[tuple[Mapping[str, float], ...], ...]


def fitted_stack(
    config: StackConfig,
    data: TrainingData,
    members: Sequence[int] | None = None,
    progress: EpochProgress | None = None,
) -> FittedStack | None:
    """Return the stack of some data, or None while some network is not finished; see `train_stack`."""
    second = config.second()
    first = base_group(config.base, second.n_folds)
    fits = {}
    for k in range(second.n_folds):
        wanted = members is None or k in members
        report = fit_member(second, data, k, progress if wanted else None, resume_only=not wanted)
        if report is not None and report.finished:
            fits[k] = report
    if len(fits) < second.n_folds:
        return None
    boosting = BoostingConfig(**config.boosting)
    descriptors = descriptors_of(data)
    grown = grown_trees(data, descriptors, boosting, Path(config.work))
    families = held_out(data, first, fits, grown, descriptors)
    found = fit_stack(data, families, first, fits, grown, Path(config.work) / "graphs")
    return FittedStack(*found, curves=tuple(tuple(f.curve) for f in fits.values()))


def base_group(base: str, n_folds: int) -> MemberGroup:
    """Return the fast tier's networks for K and G, member k without fold k of `n_folds`.

    Raises:
        CheckpointError: it has none, or not one for each fold.
    """
    for group in load_surrogate(base).groups:
        if group.properties == TARGETS and isinstance(group, MemberGroup):
            if len(group.networks) != n_folds:
                raise CheckpointError(
                    f"{base}: {len(group.networks)} networks for K and G; each of {n_folds} folds needs one"
                )
            return group
    raise CheckpointError(f"{base}: holds no networks for K and G")


def fits_of(group: MemberGroup) -> dict[int, FitReport]:
    """Return the members of a group as fits, by the fold that each left out."""
    parts = zip(group.networks, group.shifts, group.spreads, strict=True)
    return {k: FitReport(*part) for k, part in enumerate(parts)}


def descriptors_of(data: TrainingData) -> Tensor:
    """Return (C, D) descriptors of the crystals as they are."""
    store, scale = data.stores[0], data.labels.scale
    parts = torch.arange(len(data.labels.formulas)).split(512)
    return torch.cat([crystal_descriptors(store.batch(part, scale[part])) for part in parts])


def grown_trees(
    data: TrainingData, descriptors: Tensor, config: BoostingConfig, work: Path
) -> dict[int, tuple[Trees, ...]]:
    """Return trees by fold left out, and under -1 those of all rows, which are shipped; kept in `work`."""
    from safetensors.torch import load_file, save_file

    found = {}
    n_folds = int(data.fold.max()) + 1
    for k in (*range(n_folds), -1):
        path = work / f"trees-{k}.safetensors"
        rows = (data.fold != k).nonzero().flatten()
        targets, weight = data.labels.targets[rows], data.labels.weight[rows]
        note = repr((config, digest_of([rows, descriptors[rows], targets, weight])))
        if not path.is_file() or _note(path) != note:
            made = [grow(descriptors[rows], targets[:, t], weight, config) for t in range(len(TARGETS))]
            tensors = {n: v for t, trees in enumerate(made) for n, v in trees.to_tensors(str(t)).items()}
            save_file({n: v.contiguous() for n, v in tensors.items()}, str(path), metadata={"note": note})
        tensors = load_file(str(path))
        found[k] = tuple(Trees.from_tensors(tensors, str(t)) for t in range(len(TARGETS)))
    return found


def _note(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        return str(file.metadata()["note"])


def held_out(
    data: TrainingData,
    first: MemberGroup,
    fits: Mapping[int, FitReport],
    grown: Mapping[int, tuple[Trees, ...]],
    descriptors: Tensor,
) -> Families:
    """Return what each family says of the rows whose formulas it did not see."""
    networks = [out_of_fold(data, reports) for reports in (fits_of(first), fits)]
    by_trees = torch.full_like(data.labels.targets, torch.nan)
    for k in fits:
        rows = (data.fold == k).nonzero().flatten()
        for part in rows.split(1024):
            by_trees[part] = torch.stack([trees.predict(descriptors[part]) for trees in grown[k]], dim=1)
    values = torch.stack([*(v for v, _ in networks), by_trees])
    return Families(values, torch.stack([w for _, w in networks]))


def fit_weights(values: Tensor, targets: Tensor, n_steps: int = 30) -> tuple[Tensor, float]:
    """Return weights (F,), not negative, and an offset that make sum(weights x values) + offset the target.

    Least absolute error by reweighted non-negative least squares: failed calculations do not rule it.

    Args:
        values: (F, R) of the families, log10.
        targets: (R,).
        n_steps: reweightings.
    """
    from scipy.optimize import nnls

    x, y = values.double().numpy().T, targets.double().numpy()
    middle = x.mean()
    columns = np.column_stack([x - middle, np.ones(len(y)), -np.ones(len(y))])
    size = np.ones(len(y))
    for _ in range(n_steps):
        root = np.sqrt(size)
        found, _ = nnls(columns * root[:, None], y * root)
        size = 1.0 / np.maximum(np.abs(y - columns @ found), 0.003)
    weights = torch.tensor(found[:-2], dtype=torch.float32)
    return weights, float(found[-2] - found[-1] - middle * found[:-2].sum())


def nested_stack(data: TrainingData, families: Families) -> tuple[Tensor, Tensor]:
    """Return values and log-widths (C, T): each fold by weights that were fitted on the others."""
    values = torch.full_like(data.labels.targets, torch.nan)
    widths = values.clone()
    for k in range(int(data.fold.max()) + 1):
        weights, offsets = stack_weights(data, families, data.fold != k)
        rows = (data.fold == k).nonzero().flatten()
        values[rows], widths[rows] = stacked(
            families.values[:, rows], families.widths[:, rows], weights, offsets
        )
    return values, widths


def stack_weights(data: TrainingData, families: Families, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (T, F + 1) and offsets (T,) fitted to the scored ones of some rows (C,) bool."""
    found = []
    for t in range(len(TARGETS)):
        wanted = data.labels.targets[:, t]
        known = rows & data.labels.is_scored & torch.isfinite(wanted)
        found.append(fit_weights(families.values[:, known, t], wanted[known]))
    return torch.stack([w for w, _ in found]), torch.tensor([o for _, o in found])


def fit_stack(
    data: TrainingData,
    families: Families,
    first: MemberGroup,
    fits: Mapping[int, FitReport],
    grown: Mapping[int, tuple[Trees, ...]],
    graphs: Path,
) -> tuple[StackGroup, dict[str, Any], Tensor]:
    """Return the stack that is shipped, its errors out of fold, and the correlation of its residuals.

    `graphs` is the folder of cached graphs.
    """
    values, widths = nested_stack(data, families)
    residual = residuals(data.labels, values, data.labels.is_scored)
    calibrations = calibrated(residual, values, widths)
    second = member_group(TARGETS, fits, first.calibrations)
    weights, offsets = stack_weights(data, families, torch.ones_like(data.labels.is_scored))
    stack = StackGroup(TARGETS, (first, second), grown[-1], weights, offsets, calibrations)
    scored = data.labels.is_scored.nonzero().flatten()[::4]
    spread = member_spread(stack, data, scored)
    limited = with_limits(calibrations, spread, widths[scored], values[scored], torch.arange(len(scored)))
    reach = max(family.networks[0].config.reach for family in stack.families)
    stack = replace(stack, calibrations=limited)
    stack, new = for_new_crystals(stack, reach, graphs, set(data.labels.formulas))
    metrics = moduli_metrics(data.labels, values, widths, calibrations)
    metrics["new_crystals"] = new
    metrics["weights"] = {
        p.name: [round(w, 4) for w in row.tolist()] for p, row in zip(TARGETS, weights, strict=True)
    }
    return stack, metrics, residual_correlation(residual)


def member_spread(stack: StackGroup, data: TrainingData, rows: Tensor) -> Tensor:
    """Return (R, T) standard deviations of the stack's members on some rows."""
    store, scale = data.stores[0], data.labels.scale
    with torch.no_grad():
        members = [stack.outputs(store.batch(part, scale[part]))[0] for part in rows.split(256)]
    return torch.cat(members, dim=1).std(dim=0, correction=0)


@ARCHITECTURES.register("stack")
class StackArchitecture(Architecture):
    """The accurate tier; its settings are the keys of StackConfig."""

    half = True

    def train(self, task: Task) -> tuple[AccurateSurrogate, Mapping[str, Any]]:
        """Return the trained surrogate and its errors; progress counts epochs.

        Raises:
            ConfigError: a key or value that does not fit; a folder of data, which INVERSE_DATA names.
            DataError: the shared structures are missing.
        """
        task.refuse_own_data()
        config = StackConfig.from_mapping({"work": str(task.work), **task.settings})
        config = replace(config, output=str(Path(config.work) / "accurate"))
        n_epochs = config.second().n_folds * int(config.second().fit.get("epochs", 40))
        done = 0

        def count(_: str, __: dict[str, float]) -> None:
            nonlocal done
            done += 1
            task.progress(done, n_epochs)

        report = train_stack(config, progress=count)
        if report.output is None:
            raise CheckpointError(f"training paused; the same command resumes it from {config.work}")
        return load_surrogate(report.output), {**report.metrics, "learning_curves": report.curves}

    def from_checkpoint(self, checkpoint: Checkpoint) -> AccurateSurrogate:
        """Return the surrogate of a checkpoint; errors as its own."""
        return AccurateSurrogate.from_checkpoint(checkpoint)
