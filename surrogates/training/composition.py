"""Trained members -> calibrated composition surrogate, with held-out errors beside two baselines."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.checkpoints.architecture import Architecture, Task
from surrogates.checkpoints.checkpoint import ARCHITECTURES, Checkpoint
from surrogates.crystals.batch import N_ELEMENTS
from surrogates.datasets.tables import (
    SOURCES,
    TABLE_PROPERTIES,
    FormulaTable,
    formula_table,
    read_formula_tables,
)
from surrogates.errors import ConfigError, DataError, nearest
from surrogates.features.composition_features import ElementNodes, statistics
from surrogates.features.elements import element_properties
from surrogates.models.composition import CompositionCalibration, CompositionEnsemble
from surrogates.models.composition_groups import CompositionGroups
from surrogates.models.composition_network import CompositionNetwork
from surrogates.physics.properties import FORMATION_ENERGY, PROPERTIES
from surrogates.platform.data_folder import SETTING, data_folder
from surrogates.platform.progress import StepProgress
from surrogates.protocol import Z90
from surrogates.training.composition_networks import (
    CompositionTraining,
    Split,
    Standardisation,
    finished_member,
    fit_member,
    member_key,
    member_outputs,
    save_member,
    training_record,
)


def assemble(
    networks: Sequence[CompositionNetwork],
    table: FormulaTable,
    split: Split,
    standardisation: Standardisation,
    training: CompositionTraining,
    record: Mapping[str, Any],
) -> CompositionEnsemble:
    """Return the ensemble, calibrated on the calibration rows."""
    targets = standardisation.standardised(table.values[split.calibration])
    mean, std = ensemble_outputs(networks, table, split.calibration)
    factor, limit = _calibrated(targets, mean, std, table.source[split.calibration])
    scores = (targets - mean) / std
    calibration = CompositionCalibration(
        standardisation.centre,
        standardisation.spread,
        standardisation.is_log,
        _nested(factor),
        _nested(limit * np.array(standardisation.spread)),
        _correlation(scores),
    )
    config = {
        "architecture": {
            "width": training.width,
            "trunk": training.trunk,
            "fractions": training.fractions,
        },
        "training": dict(record),
    }
    properties = [PROPERTIES[name] for name in table.properties]
    counts = element_counts(table, split.train)
    return CompositionEnsemble(networks, properties, SOURCES, calibration, counts, config)


def ensemble_outputs(
    networks: Sequence[CompositionNetwork], table: FormulaTable, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised (N, P) mean and uncalibrated std of the ensemble, each row on its own source."""
    outputs = [member_outputs(network, table, rows) for network in networks]
    means = np.stack([mean for mean, _ in outputs])
    variance = np.mean([2 * np.exp(2 * scale) for _, scale in outputs], axis=0) + means.var(axis=0)
    return means.mean(axis=0), np.sqrt(variance)


def _correlation(scores: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return the correlation of clipped residuals over rows that know both properties; made positive."""
    clipped = np.clip(scores, -4, 4)
    n = scores.shape[1]
    matrix = np.eye(n)
    for i in range(n):
        for j in range(i):
            both = np.isfinite(clipped[:, i] + clipped[:, j])
            if both.sum() >= 50:
                matrix[i, j] = matrix[j, i] = np.corrcoef(clipped[both, i], clipped[both, j])[0, 1]
    values, vectors = np.linalg.eigh(matrix)
    matrix = vectors @ np.diag(values.clip(1e-3)) @ vectors.T
    scale = np.sqrt(np.diag(matrix))
    return _nested(matrix / np.outer(scale, scale))


def _nested(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(v), 6) for v in row) for row in matrix)


def _calibrated(
    targets: np.ndarray, mean: np.ndarray, std: np.ndarray, source: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (S, P) factors of the std and the largest calibrated std that is still in domain."""
    factor, limit = np.ones((2, len(SOURCES), targets.shape[1]))
    for s in range(len(SOURCES)):
        for p in range(targets.shape[1]):
            rows = np.isfinite(targets[:, p]) & (source == s)
            if rows.sum() < 20:  # few rows are no calibration: pooled over all tables
                rows = np.isfinite(targets[:, p])
            if rows.sum() < 20:
                factor[s, p], limit[s, p] = 2.0, 1e3
                continue
            ratio = np.abs(targets[rows, p] - mean[rows, p]) / std[rows, p]
            factor[s, p] = np.quantile(ratio, 0.9) / Z90
            limit[s, p] = factor[s, p] * np.quantile(std[rows, p], 0.99)
    return factor, limit


def element_counts(table: FormulaTable, rows: np.ndarray) -> Tensor:
    """Return (S, P, Z) training rows that hold each element, by source and property."""
    counts = np.zeros((len(SOURCES), len(table.properties), N_ELEMENTS + 1), dtype=np.int32)
    for source in range(len(SOURCES)):
        for p in range(len(table.properties)):
            chosen = rows[(table.source[rows] == source) & np.isfinite(table.values[rows, p])]
            counts[source, p] = np.bincount(table.elements[chosen].ravel(), minlength=N_ELEMENTS + 1)
    return torch.from_numpy(counts[:, :, :N_ELEMENTS].copy())


def held_out_errors(
    networks: Sequence[CompositionNetwork],
    ensemble: CompositionEnsemble,
    table: FormulaTable,
    split: Split,
    standardisation: Standardisation,
) -> dict[str, dict[str, Any]]:
    """Return, by 'source property', errors on the test rows: ours, of a constant and of a linear model.

    Mean absolute error, in log10 units where the property is positive, and the coverage of the 90 % interval.
    """
    mean, std = ensemble_outputs(networks, table, split.test)
    factor = np.array(ensemble.calibration.std_factor)
    targets = standardisation.standardised(table.values)
    report: dict[str, dict[str, Any]] = {}
    for s, source in enumerate(SOURCES):
        for p, name in enumerate(table.properties):
            train = split.train[(table.source[split.train] == s) & np.isfinite(targets[split.train, p])]
            chosen = (table.source[split.test] == s) & np.isfinite(targets[split.test, p])
            if chosen.sum() < 20 or len(train) < 50:
                continue
            truth = targets[split.test[chosen], p]
            unit = standardisation.spread[p] / (np.log(10) if standardisation.is_log[p] else 1.0)
            residual = np.abs(truth - mean[chosen, p])
            baseline = np.abs(truth - np.median(targets[train, p]))
            linear = np.abs(truth - _linear(table, train, targets[train, p], split.test[chosen]))
            report[f"{source} {name}"] = {
                "n": int(chosen.sum()),
                "unit": "log10" if standardisation.is_log[p] else PROPERTIES[name].unit,
                "mae": round(float(residual.mean() * unit), 4),
                "mae_linear": round(float(linear.mean() * unit), 4),
                "mae_constant": round(float(baseline.mean() * unit), 4),
                "coverage_90": round(float((residual <= Z90 * std[chosen, p] * factor[s, p]).mean()), 3),
            }
    return report


def linear_inputs(fractions: Tensor) -> Tensor:
    """Return (C, Z + S + 1) inputs of the linear baseline: fractions, their statistics and 1."""
    stats = statistics(ElementNodes.from_fractions(fractions), element_properties().to(fractions))
    return torch.cat([fractions, stats, torch.ones_like(fractions[:, :1])], dim=1)


def _linear(table: FormulaTable, train: np.ndarray, target: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return ridge predictions on test rows; at most 20,000 rows are fitted."""
    train_rows = np.random.default_rng(0).permutation(len(train))[:20_000]
    inputs = linear_inputs(table.dense(train[train_rows])).double().numpy()
    scale = inputs.std(axis=0) + 1e-3
    inputs = inputs / scale
    gram = inputs.T @ inputs + 1.0 * np.eye(inputs.shape[1])
    weights = np.linalg.solve(gram, inputs.T @ target[train_rows])
    return linear_inputs(table.dense(test)).double().numpy() / scale @ weights


def train_composition(
    table: FormulaTable,
    training: CompositionTraining,
    progress: StepProgress | None = None,
    work: Path | None = None,
) -> tuple[CompositionEnsemble, dict[str, dict[str, Any]]]:
    """Return the calibrated ensemble of a formula table and its held-out errors.

    Args:
        table: formulas and values.
        training: settings.
        progress: counts the steps of all members.
        work: folder of finished members, taken from there when they are of the same settings and table.
            Weights are rounded as they are stored (float16), so a resumed training ends with the same.
    """
    started = time.monotonic()
    split = Split.of(table, training)
    standardisation = Standardisation.of(table.values[split.train], table.properties)
    targets = standardisation.standardised(table.values)
    networks = []
    for member in range(training.members):

        def report(done: int, steps: int, member: int = member) -> None:
            if progress is not None:
                progress(member * steps + done, training.members * steps)

        state = None if work is None else work / f"member-{member}.safetensors"
        key = member_key(training, member, table)
        network = None
        if state is not None:
            network = finished_member(state, training, len(table.properties), key)
        if network is None:
            seed = training.seed + member
            network = fit_member(table, split.train, targets, training, seed, report, state, key)
            if state is not None:
                save_member(network, state, key)
        report(training.steps, training.steps)
        networks.append(network.half().float())
    ensemble = assemble(networks, table, split, standardisation, training, {})
    errors = held_out_errors(networks, ensemble, table, split, standardisation)
    ensemble.config["training"] = {**training_record(training, table, started), "held_out": errors}
    return ensemble, errors


ENERGY = "energy"
"""Key of the settings of networks that learn formation energies alone."""


@ARCHITECTURES.register("composition")
class CompositionArchitecture(Architecture):
    """The composition surrogate.

    Its settings are the keys of CompositionTraining; `work`, the folder of members; and `energy`, again keys
    of CompositionTraining, of networks for formation energies alone, which then answer for them.
    """

    half = True

    def train(self, task: Task) -> tuple[CompositionGroups, dict[str, Any]]:
        """Return the surrogate trained on the formula tables of a data folder, and its held-out errors.

        The folder holds tables/ and structures/; without `data` it is the shared one, and where that has no
        tables, what the program carries: the errors then say under `missing` what the columns lack.

        Raises:
            ConfigError: a setting that does not exist or is out of range.
            DataError: the tables are missing or damaged.
        """
        task.refuse_table()
        settings, data = task.settings, task.data
        work = Path(str(settings.get("work", task.work)))
        everything = _training(settings, "")
        energy = _training(settings[ENERGY], f"{ENERGY}.") if settings.get(ENERGY) else None
        folder = data_folder() if data is None else data
        lacking: dict[str, Any] = {}
        if (folder / "tables").is_dir():
            table = read_formula_tables(folder)
        elif data is None and task.carried is not None:
            table = formula_table(task.carried()).known_only()
            absent = [name for name in TABLE_PROPERTIES if name not in table.properties]
            lacking["missing"] = f"{', '.join(absent) or 'some rows'}: no tables in {folder}; set {SETTING}"
        else:
            raise DataError(f"{folder}: no tables/ in it; set {SETTING} to the folder of the shared data")
        total = everything.members * everything.steps
        whole = total + (energy.members * energy.steps if energy else 0)

        def count(done: int, _: int, before: int = 0) -> None:
            task.progress(before + done, whole)

        ensemble, errors = train_composition(table, everything, count, work)
        if energy is None:
            return CompositionGroups([ensemble]), errors | lacking
        own, own_errors = train_composition(
            table.only([FORMATION_ENERGY.name]),
            energy,
            lambda done, steps: count(done, steps, total),
            work / ENERGY,
        )
        return CompositionGroups([ensemble, own]), errors | own_errors | lacking

    def from_checkpoint(self, checkpoint: Checkpoint) -> CompositionEnsemble | CompositionGroups:
        """Return the surrogate of a checkpoint, of one ensemble or of several; errors as its own."""
        is_one = checkpoint.kind == "composition"
        return (CompositionEnsemble if is_one else CompositionGroups).from_checkpoint(checkpoint)


def _training(settings: Mapping[str, Any], where: str) -> CompositionTraining:
    names = [f.name for f in fields(CompositionTraining)]
    found = {key: value for key, value in settings.items() if key not in ("work", ENERGY)}
    for key in found:
        if key not in names:
            raise ConfigError(f"composition training: unknown setting {where + key!r}; {nearest(key, names)}")
    return CompositionTraining(**found)
