"""Training of a structure surrogate: folds by formula are members, residuals out of fold error bars.

K and G of the curated elasticity set, or the one property that a config names as its target.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.architecture import Architecture, Task
from surrogates.checkpoints.checkpoint import (
    ARCHITECTURES,
    MANIFEST,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from surrogates.crystals.batch import N_ELEMENTS
from surrogates.datasets.crystal_values import value_labels, value_rows
from surrogates.datasets.elasticity import Labels, elasticity_labels, elasticity_rows
from surrogates.datasets.orbits import GRAPH_REACH, GraphStore, cached_graphs
from surrogates.datasets.pairs import PairStore, Perturbation, pair_store
from surrogates.datasets.reference_set import fitted_rows
from surrogates.datasets.shared import has_structures
from surrogates.errors import CheckpointError, ConfigError, DataError
from surrogates.models.invariant import InvariantConfig, InvariantNetwork
from surrogates.physics.properties import Property
from surrogates.platform.data_folder import SETTING
from surrogates.platform.whole_files import write_atomically
from surrogates.tiers.calibration import Calibration, fit_calibration, rank_correlation
from surrogates.tiers.domain import Domain, density_measures
from surrogates.tiers.ensemble import MemberGroup, StructureSurrogate, group_from_record
from surrogates.training.configs import EnergyConfig, EpochProgress, TrainingConfig
from surrogates.training.energy import train_energy
from surrogates.training.fitting import FitConfig, FitReport, fit, fitted_and_watched, predict_rows
from surrogates.training.metrics import moduli_metrics, value_metrics
from surrogates.training.new_crystals import for_new_crystals

AT_ONCE = 256
"""Rows whose features are worked out at once."""


@dataclass(frozen=True)
class TrainingReport:
    """What training found.

    Attributes:
        metrics: nested numbers: errors out of fold, overall and by source, coverage, stiff tail.
        curves: one learning curve per member.
        output: folder of the weights; None when fits are unfinished.
    """

    metrics: Mapping[str, Any]
    curves: tuple[tuple[Mapping[str, float], ...], ...] = ()
    output: Path | None = None


@dataclass(frozen=True)
class TrainingData:
    """Labels, features and folds of labelled crystals."""

    rows: Sequence[Mapping[str, Any]]
    labels: Labels
    stores: tuple[PairStore, ...]
    fold: Tensor


def train(
    config: TrainingConfig, members: Sequence[int] | None = None, progress: EpochProgress | None = None
) -> TrainingReport:
    """Fit the members that are not finished, assemble what is finished, write weights and metrics.

    Args:
        config: what to train.
        members: folds to fit now; all by default. Others are used when their fits are finished.
        progress: called with the member's name and each record of its learning curve.

    Raises:
        DataError: the shared structures are missing.
        ConfigError: a key of `network` or `fit` does not exist.
        CheckpointError: a fit state in `work` belongs to another config.
    """
    early = pretrained(config, members, progress) if config.pretraining else None
    if early is not None and not has_structures():
        surrogate, metrics = assemble(replace(config, energy={}), load_reference(config), early)
        metrics["missing"] = (
            f"{MODULI_STAGE}: the shared structures are not there; set {SETTING}. K and G are 7net-0's own"
        )
        fits = early
    else:
        data = load_data(config)
        fits = fitted_members(config, data, members, progress, early or {})
        if not fits:
            return TrainingReport({}, ())
        fits = with_distances(config, data, fits)
        surrogate, metrics = assemble(config, data, fits)
        if early:
            metrics["pretraining"] = assemble(replace(config, energy={}), load_reference(config), early)[1]
    output = save_checkpoint(surrogate.to_checkpoint(), config.output)
    write_atomically(Path(config.work) / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    return TrainingReport(metrics, tuple(tuple(f.curve) for f in fits.values()), output)


MODULI_STAGE = "moduli by DFT"
"""Name of the stage that needs the shared structures."""


def pretrained(
    config: TrainingConfig, members: Sequence[int] | None, progress: EpochProgress | None
) -> dict[int, FitReport]:
    """Return fits to the reference set, by the fold of formulas that each left out."""
    data = load_reference(config)
    stage = replace(config, name=f"{config.name}-pretraining", fit=config.pretraining)
    return fitted_members(stage, data, members, progress, {})


def fitted_members(
    config: TrainingConfig,
    data: TrainingData,
    members: Sequence[int] | None,
    progress: EpochProgress | None,
    early: Mapping[int, FitReport],
) -> dict[int, FitReport]:
    """Return the finished fits; those of `members` (None: all) are fitted now, from their `early` weights."""
    fits: dict[int, FitReport] = {}
    for k in range(config.members):
        wanted = members is None or k in members
        start = early[k].network if k in early else None
        report = fit_member(config, data, k, progress if wanted else None, not wanted, start)
        if report is not None and report.finished:
            fits[k] = report
    return fits


def load_reference(config: TrainingConfig) -> TrainingData:
    """Return the crystals of the reference set that have K and G and may be fitted to.

    The values are the potential's own, but stand where the default scale is asked for: alone they are its
    best answer, and the DFT rows correct it.
    """
    rows = fitted_rows(stable_only=True)
    graphs = cached_graphs(rows, GRAPH_REACH, Path(config.work) / "graphs")
    data = moduli_data(config, rows, graphs, config.n_disturbed)
    return replace(data, labels=replace(data.labels, scale=torch.zeros_like(data.labels.scale)))


def load_data(config: TrainingConfig) -> TrainingData:
    """Return what a config learns from: the rows that say its target, or else the elasticity set.

    Raises:
        DataError: the shared structures are missing, or no row says the target.
    """
    return load_moduli(config) if config.learned is None else load_values(config)


def load_values(config: TrainingConfig) -> TrainingData:
    """Return the rows that say the target of a config, which has one; features are kept as float16."""
    if config.learned is None:
        raise ConfigError(f"{config.name}: no target")
    rows = value_rows(config.learned)
    graphs = cached_graphs(rows, GRAPH_REACH, Path(config.work) / "graphs")
    labels = value_labels(config.learned, rows)
    return training_data(config, rows, labels, graphs, config.n_disturbed, half=True)


def load_moduli(config: TrainingConfig, disturbed: bool = True) -> TrainingData:
    """Return the elasticity set with features; graphs are cached in the work folder."""
    rows = elasticity_rows()
    if not rows:
        raise DataError("the elasticity set has no usable row")
    folder = Path(config.work) / "graphs"
    graphs = cached_graphs(rows, GRAPH_REACH, folder)
    n_disturbed = config.n_disturbed if disturbed else 0
    if config.reference_weight <= 0:
        return moduli_data(config, rows, graphs, n_disturbed)
    others = fitted_rows(stable_only=True)
    graphs = graphs.joined(cached_graphs(others, GRAPH_REACH, folder))
    data = moduli_data(config, rows + others, graphs, n_disturbed)
    weight, is_scored = data.labels.weight.clone(), data.labels.is_scored.clone()
    weight[len(rows) :] *= config.reference_weight
    is_scored[len(rows) :] = False
    return replace(data, labels=replace(data.labels, weight=weight, is_scored=is_scored))


def moduli_data(
    config: TrainingConfig, rows: Sequence[Mapping[str, Any]], graphs: GraphStore, n_disturbed: int
) -> TrainingData:
    """Return labels, features and folds of rows of the elasticity set with their graphs."""
    labels = elasticity_labels(
        rows, config.good_eos_weight, config.rough_eos_weight, config.stiff_weight, config.unsure
    )
    return training_data(config, rows, labels, graphs, n_disturbed)


def training_data(
    config: TrainingConfig,
    rows: Sequence[Mapping[str, Any]],
    labels: Labels,
    graphs: GraphStore,
    n_disturbed: int,
    half: bool = False,
) -> TrainingData:
    """Return labelled rows with the features of their graphs, as they are and disturbed, and their folds."""
    reach = InvariantConfig(**config.network).reach
    disturbances = [Perturbation(config.strain, config.displacement, seed=k + 1) for k in range(n_disturbed)]
    stores = tuple(pair_store(graphs, reach, d, half) for d in (None, *disturbances))
    return TrainingData(rows, labels, stores, labels.fold(config.n_folds))


def fit_member(
    config: TrainingConfig,
    data: TrainingData,
    member: int,
    progress: EpochProgress | None = None,
    resume_only: bool = False,
    start: InvariantNetwork | None = None,
) -> FitReport | None:
    """Return the fit of the member that leaves one fold out; None if it is to be resumed but never began.

    `start` is a network whose weights are gone on from.
    """
    state = Path(config.work) / f"{config.name}-{member}.safetensors"
    if resume_only and not state.is_file():
        return None
    settings = replace(FitConfig(**config.fit), seed=member)
    if resume_only:
        settings = replace(settings, seconds=1e-9)
    rows, watch = fitted_and_watched(data.labels, data.fold == member, settings.patience)
    shape = InvariantConfig(**{"n_outputs": len(data.labels.properties), **config.network})

    def tell(record: dict[str, float]) -> None:
        if progress is not None:
            progress(f"{config.name}-{member}", record)

    return fit(shape, settings, data.stores, data.labels, rows, watch, state, tell, start=start)


def with_distances(
    config: TrainingConfig, data: TrainingData, fits: Mapping[int, FitReport]
) -> dict[int, FitReport]:
    """Return fits whose widths grow with the distance from the rows that each member was fitted to.

    Unchanged where the config asks for none.
    """
    if not config.distance_power:
        return dict(fits)
    found = {}
    for k, report in fits.items():
        network = InvariantNetwork(replace(report.network.config, distance_power=config.distance_power))
        network.load_state_dict(report.network.state_dict(), strict=False)
        rows, store = (data.fold != k).nonzero().flatten(), data.stores[0]
        with torch.no_grad():
            hidden = [
                report.network.hidden_features(store.batch(part, data.labels.scale[part]))
                for part in rows.split(AT_ONCE)
            ]
        network.set_metric(torch.cat(hidden))
        found[k] = replace(report, network=network.eval().requires_grad_(False))
    return found


def assemble(
    config: TrainingConfig, data: TrainingData, fits: Mapping[int, FitReport]
) -> tuple[StructureSurrogate, dict[str, Any]]:
    """Return the surrogate made of finished members and its errors on formulas they did not see."""
    values, widths = out_of_fold(data, fits)
    residual = residuals(data.labels, values, data.labels.is_scored)
    calibrations = calibrated(residual, values, widths, config.groups)
    calibrations = with_limits(calibrations, member_spread(data, fits), widths, values, data.labels.is_scored)
    measured = moduli_metrics if config.learned is None else value_metrics
    metrics = measured(data.labels, values, widths, calibrations)
    metrics["members"] = sorted(fits)
    if config.target:
        metrics |= {"target": dict(config.target), "n_folds": config.n_folds}
    reach = fits[min(fits)].network.config.reach
    graphs, formulas = Path(config.work) / "graphs", set(data.labels.formulas)
    of_members = member_group(data.labels.properties, fits, calibrations)
    group, new = for_new_crystals(of_members, reach, graphs, formulas)
    metrics |= {"new_crystals": new}
    groups, correlation = [group], residual_correlation(residual)
    energy = load_energy_group(config)
    if energy is not None:
        groups.append(energy[0])
        correlation = torch.block_diag(correlation, torch.eye(1))
        metrics["formation_energy_per_atom"] = energy[1]
    domain = training_domain(data)
    return StructureSurrogate(groups, domain, correlation, reach, config.name, metrics), metrics


def member_group(
    properties: tuple[Property, ...], fits: Mapping[int, FitReport], calibrations: tuple[Calibration, ...]
) -> MemberGroup:
    """Return the finished members for some properties as a group."""
    reports = list(fits.values())
    networks = tuple(f.network for f in reports)
    shifts, spreads = tuple(f.shift for f in reports), tuple(f.spread for f in reports)
    return MemberGroup(properties, networks, shifts, spreads, calibrations)


def residuals(labels: Labels, values: Tensor, rows: Tensor) -> Tensor:
    """Return (C, T) values minus targets of some rows (C,) bool; NaN elsewhere and where nothing is known.

    Nothing is known either where a censored target is an upper bound and the value lies below: however wide
    the error bar, such a row is inside.
    """
    deviation = labels.one_sided(values - labels.targets, labels.targets)
    is_inside = labels.is_bound(labels.targets) & (deviation == 0)
    return torch.where(rows.unsqueeze(1) & ~is_inside, deviation, torch.nan)


def calibrated(
    residual: Tensor, values: Tensor, widths: Tensor, groups: Sequence[float] = ()
) -> tuple[Calibration, ...]:
    """Return the calibrations of values and log-widths that left residuals out of fold, (C, T) each.

    `groups` are the values that part groups whose error bars are each fitted to their own residuals.
    """
    found = []
    for t, own in enumerate(residual.unbind(dim=1)):
        known = torch.isfinite(own)
        found.append(fit_calibration(own[known], widths[known, t], values[known, t], groups=groups))
    return tuple(found)


def with_limits(
    calibrations: Sequence[Calibration], spread: Tensor, widths: Tensor, values: Tensor, rows: Tensor
) -> tuple[Calibration, ...]:
    """Return the calibrations with the disagreement of members beyond which a crystal is out of domain.

    Args:
        calibrations: (T,).
        spread: (C, T) standard deviation of the members.
        widths: (C, T) log-widths.
        values: (C, T).
        rows: which of the C rows count, as an index or a mask.
    """
    found = []
    for t, calibration in enumerate(calibrations):
        ratio = spread[rows, t] / calibration.std(widths[rows, t], values[rows, t])
        limit = max(1.0, 1.5 * float(torch.nanquantile(ratio, 0.99)))
        found.append(replace(calibration, largest_disagreement=round(limit, 3)))
    return tuple(found)


def residual_correlation(residual: Tensor) -> Tensor:
    """Return the (T, T) correlation of the residuals (C, T) of properties that are learned together."""
    correlation = torch.eye(residual.shape[1])
    for i, j in combinations(range(residual.shape[1]), 2):
        correlation[i, j] = correlation[j, i] = rank_correlation(residual[:, i], residual[:, j])
    return correlation


def out_of_fold(data: TrainingData, fits: Mapping[int, FitReport]) -> tuple[Tensor, Tensor]:
    """Return values and log-widths (C, T) by the member that did not see the formula; NaN where none."""
    values = torch.full_like(data.labels.targets, torch.nan)
    widths = values.clone()
    for k, report in fits.items():
        rows = (data.fold == k).nonzero().flatten()
        values[rows], widths[rows] = member_outputs(report, data, rows)
    return values, widths


def member_spread(data: TrainingData, fits: Mapping[int, FitReport]) -> Tensor:
    """Return (C, T) standard deviations of the members' values, within the physical range, on every row."""
    rows = torch.arange(len(data.labels.formulas))
    stacked = torch.stack([member_outputs(report, data, rows)[0] for report in fits.values()])
    for t, prop in enumerate(data.labels.properties):
        if not prop.is_positive:
            stacked[:, :, t] = stacked[:, :, t].clamp(prop.minimum, prop.maximum)
    return (stacked - stacked.mean(dim=0)).square().mean(dim=0).sqrt()


def training_domain(data: TrainingData) -> Domain:
    """Return what the scored rows cover; the outer 0.2 % of densities and shortest bonds are outside."""
    counts = torch.zeros(N_ELEMENTS, dtype=torch.long)
    store = data.stores[0]
    scored = data.labels.is_scored.nonzero().flatten()
    packing, crowding = [], []
    for part in torch.arange(len(data.labels.formulas)).split(512):
        graph = store.batch(part, data.labels.scale[part])
        present = torch.zeros(len(part), N_ELEMENTS).index_add(0, graph.crystal_index, graph.occupancy) > 0
        counts += present.sum(dim=0)
        p, c = density_measures(graph)
        packing.append(p)
        crowding.append(c)
    dense = torch.quantile(torch.cat(packing)[scored], torch.tensor([0.002, 0.998]))
    return Domain(
        n_rows=tuple(counts.tolist()),
        few_rows=10,
        packing=(float(dense[0]) * 0.95, float(dense[1]) * 1.05),
        crowding=float(torch.quantile(torch.cat(crowding)[scored], 0.998)) * 1.1 + 1e-3,
    )


def load_energy_group(config: TrainingConfig) -> tuple[MemberGroup, dict[str, Any]] | None:
    """Return the formation-energy members saved by `train_energy`, with their held-out errors.

    None where there are none, or the config asks for none.
    """
    folder = Path(config.work) / "energy-members"
    if not config.energy or not (folder / MANIFEST).is_file():
        return None
    checkpoint = load_checkpoint(folder)
    return group_from_record(checkpoint.config["group"], checkpoint.tensors), dict(
        checkpoint.config["metrics"]
    )


def member_outputs(report: FitReport, data: TrainingData, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and log-widths (R, T) of one fit for rows (R,) as they are."""
    out = predict_rows(report.network, data.stores[0], data.labels.scale, rows)
    n = len(report.shift)
    return out[:, :n] * report.spread + report.shift, out[:, n:].clamp(-6, 3) + report.spread.log()


def _epochs(config: TrainingConfig) -> int:
    """Return the epochs of all members, those of the energy too."""
    epochs = FitConfig(**config.fit).epochs * config.members
    if config.pretraining:
        epochs += FitConfig(**config.pretraining).epochs * config.members
    if config.energy:
        energy = EnergyConfig(**config.energy)
        epochs += FitConfig(**energy.fit).epochs * energy.n_members
    return epochs


@ARCHITECTURES.register("structure")
class StructureArchitecture(Architecture):
    """The structure surrogate; its settings are the keys of TrainingConfig."""

    half = True

    def train(self, task: Task) -> tuple[StructureSurrogate, Mapping[str, Any]]:
        """Return the trained surrogate and its errors; progress counts epochs.

        Raises:
            ConfigError: a key or value that does not fit; a folder of data, which INVERSE_DATA names.
            DataError: the shared structures are missing.
        """
        task.refuse_own_data()
        config = TrainingConfig.from_mapping({"work": str(task.work), **task.settings})
        config = replace(config, output=str(Path(config.work) / "weights"))
        done, epochs = 0, _epochs(config)

        def count(_: str, __: dict[str, float]) -> None:
            nonlocal done
            done += 1
            task.progress(done, epochs)

        report = train(config, progress=count)
        if config.energy and report.output is not None and "missing" not in report.metrics:
            is_whole = train_energy(config, count) is not None
            report = train(config, members=[]) if is_whole else TrainingReport({})
        if report.output is None:
            raise CheckpointError(f"training paused; the same command resumes it from {config.work}")
        surrogate = self.from_checkpoint(load_checkpoint(report.output))
        return surrogate, {**report.metrics, "learning_curves": report.curves}

    def from_checkpoint(self, checkpoint: Checkpoint) -> StructureSurrogate:
        """Return the surrogate of a checkpoint; errors as its own."""
        return StructureSurrogate.from_checkpoint(checkpoint)
