"""Fit of the members on formula tables: stratified batches, Laplace likelihood, averaged weights."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.datasets.tables import SOURCES, FormulaTable
from surrogates.errors import ConfigError
from surrogates.features.elements import element_properties
from surrogates.models.composition_network import CompositionNetwork
from surrogates.physics.properties import MODULI, PROPERTIES
from surrogates.platform.progress import StepProgress
from surrogates.platform.whole_files import write_atomically
from surrogates.training.fit_state import fit_tensors, one_cycle, restore_fit


@dataclass(frozen=True)
class CompositionTraining:
    """Settings of the fit.

    Attributes:
        members: networks of the ensemble.
        steps: optimiser steps of each member.
        batch: rows a step.
        elastic_share: part of each batch drawn from rows with moduli, which are few.
        learning_rate: peak of the one-cycle schedule.
        weight_decay: of AdamW.
        average: decay of the running average of weights, which is what is kept.
        test_buckets: of 100 formula buckets, the first so many are held out.
        calibration_buckets: so many after those fit the calibration.
        seed: of the first member.
        width: of element states.
        trunk: of the shared trunk.
        dropout: in the trunk.
        fractions: Gaussians of an element's own fraction that its state starts from; 0 leaves them out.
    """

    members: int = 4
    steps: int = 4000
    batch: int = 1024
    elastic_share: float = 0.15
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    average: float = 0.998
    test_buckets: int = 10
    calibration_buckets: int = 5
    seed: int = 7
    width: int = 64
    trunk: int = 224
    dropout: float = 0.05
    fractions: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError for a setting out of range."""
        for name in ("members", "steps", "batch", "width", "trunk"):
            if getattr(self, name) < 1:
                raise ConfigError(f"composition training: {name} is {getattr(self, name)}, not at least 1")
        if self.test_buckets < 1 or self.calibration_buckets < 1:
            raise ConfigError("composition training: test_buckets and calibration_buckets are at least 1")
        if self.test_buckets + self.calibration_buckets > 50:
            raise ConfigError("composition training: more than half of the formulas held out")


@dataclass(frozen=True)
class Standardisation:
    """Centre and spread of each property in its latent space (log where positive)."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    is_log: tuple[bool, ...]

    @classmethod
    def of(cls, values: np.ndarray, properties: Sequence[str]) -> "Standardisation":
        """Return it from (N, P) natural values of P properties; robust, NaN ignored."""
        is_log = tuple(PROPERTIES[name].is_positive for name in properties)
        latent = to_latent(values, is_log)
        low, centre, high = np.nanpercentile(latent, [16, 50, 84], axis=0)
        spread = np.maximum((high - low) / 2, np.nanstd(latent, axis=0) / 2)
        return cls(tuple(map(float, centre)), tuple(map(float, spread)), is_log)

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Return (N, P) standardised latent values of natural ones."""
        latent = to_latent(values, self.is_log)
        return ((latent - np.array(self.centre)) / np.array(self.spread)).astype(np.float32)


def to_latent(values: np.ndarray, is_log: tuple[bool, ...]) -> np.ndarray:
    """Return values with the logarithm taken where asked for."""
    latent = values.astype(np.float64).copy()
    columns = np.flatnonzero(is_log)
    latent[:, columns] = np.log(latent[:, columns])
    return latent


@dataclass(frozen=True)
class Split:
    """Rows for each purpose, split by formula."""

    train: np.ndarray
    calibration: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, table: FormulaTable, training: CompositionTraining) -> "Split":
        """Return the split by formula bucket; the same for every member and machine."""
        bucket = table.bucket()
        held = training.test_buckets + training.calibration_buckets
        return cls(
            np.flatnonzero(bucket >= held),
            np.flatnonzero((bucket >= training.test_buckets) & (bucket < held)),
            np.flatnonzero(bucket < training.test_buckets),
        )


def laplace_loss(mean: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative Laplace log-likelihood per property, summed; NaN targets do not count."""
    known = torch.isfinite(target)
    residual = (torch.where(known, target, mean.detach()) - mean).abs()
    loss = torch.where(known, residual * torch.exp(-log_scale) + log_scale, 0.0)
    return (loss.sum(dim=0) / known.sum(dim=0).clamp(min=8)).sum()


def new_network(training: CompositionTraining, n_outputs: int) -> CompositionNetwork:
    """Return an untrained member of the shape that the settings ask for."""
    return CompositionNetwork(
        element_properties(),
        n_outputs,
        len(SOURCES),
        width=training.width,
        trunk=training.trunk,
        dropout=training.dropout,
        fractions=training.fractions,
    )


def fit_member(
    table: FormulaTable,
    rows: np.ndarray,
    targets: np.ndarray,
    training: CompositionTraining,
    seed: int,
    progress: StepProgress | None = None,
    state: Path | None = None,
    key: str = "",
) -> CompositionNetwork:
    """Return one trained member with averaged weights.

    Args:
        table: formulas and sources.
        rows: of the table to learn from.
        targets: (N, P) standardised values of all rows of the table.
        training: settings.
        seed: of initial weights, batches and dropout; nothing else is drawn from.
        progress: called after each step.
        state: file of an unfinished fit, written every SAVED steps and gone on from.
        key: what the fit depends on; a state of another one is not used.
    """
    run = _Run(table, rows, targets, training, seed)
    if state is not None:
        run.load(state, key)
    while run.step < training.steps:
        run.advance()
        if progress is not None:
            progress(run.step, training.steps)
        if state is not None and run.step % SAVED == 0 and run.step < training.steps:
            run.save(state, key)
    run.network.load_state_dict(run.averaged)
    return run.network.eval()


SAVED = 1000
"""Steps after which an unfinished fit is written."""


class _Run:
    """State of one fit: weights, their running average, the optimiser, the step."""

    def __init__(
        self,
        table: FormulaTable,
        rows: np.ndarray,
        targets: np.ndarray,
        training: CompositionTraining,
        seed: int,
    ) -> None:
        self.table, self.targets, self.training, self.seed = table, targets, training, seed
        self.step = 0
        self.elastic, self.energy, self.n_elastic = _strata(table, rows, training)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = new_network(training, len(table.properties))
        if "band_gap" in table.properties:
            # most gaps are exactly zero: without a floor their likelihood diverges and drowns every other one
            self.network.floor[table.properties.index("band_gap")] = -1.2
        draw = np.random.default_rng([seed, 0])
        self.network.fit_statistics(table.dense(draw.choice(rows, min(len(rows), 20_000), replace=False)))
        self.averaged = {name: value.clone() for name, value in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )

    def advance(self) -> None:
        """Make one step; its batch, rate and dropout follow from seed and step alone."""
        draw = np.random.default_rng([self.seed, 1, self.step])
        batch = np.concatenate(
            [
                draw.choice(self.elastic, self.n_elastic),
                draw.choice(self.energy, self.training.batch - self.n_elastic),
            ]
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.training.learning_rate * one_cycle(
                self.step / self.training.steps, warm=0.1, low=0.04
            )
        self.optimiser.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + self.step)
            mean, log_scale = self.network(
                self.table.dense(batch), torch.from_numpy(self.table.source[batch])
            )
        laplace_loss(mean, log_scale, torch.from_numpy(self.targets[batch])).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        decay = min(self.training.average, self.step / (self.step + 9))
        for name, value in self.network.named_parameters():
            self.averaged[name].lerp_(value.detach(), 1 - decay)

    def save(self, path: Path, key: str) -> None:
        """Write weights, averages and optimiser moments; a kill leaves the old file or the new one."""
        tensors = fit_tensors(self.network, self.optimiser, self.averaged)
        _write(path, tensors, {"key": key, "step": str(self.step)})

    def load(self, path: Path, key: str) -> None:
        """Go on from a saved state, if there is one of this fit."""
        found = _read(path, key)
        if found is None:
            return
        note, tensors = found
        self.step = int(note["step"])
        restore_fit(self.network, self.optimiser, self.averaged, tensors)


def _strata(
    table: FormulaTable, rows: np.ndarray, training: CompositionTraining
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return rows with moduli, the others (with all of source 0), and how many of the former a batch has."""
    measured = MODULI[0].name  # wherever there is any, there is this one
    if measured not in table.properties:
        return rows[:0], rows, 0
    is_elastic = np.isfinite(table.values[rows, table.properties.index(measured)])
    elastic, energy = rows[is_elastic], rows[~is_elastic | (table.source[rows] == 0)]
    return elastic, energy, int(training.batch * training.elastic_share) if len(elastic) else 0


def member_key(training: CompositionTraining, member: int, table: FormulaTable) -> str:
    """Return what a member's weights depend on: settings, its number and the table."""
    settings = {name: value for name, value in asdict(training).items() if name != "members"}
    digest = hashlib.sha256(repr((settings, member, table.properties, table.formulas)).encode())
    digest.update(table.values.tobytes())
    return digest.hexdigest()


def save_member(network: CompositionNetwork, path: Path, key: str) -> None:
    """Write a finished member; a kill leaves the old file or the new one."""
    _write(path, network.state_dict(), {"key": key})


def finished_member(
    path: Path, training: CompositionTraining, n_outputs: int, key: str
) -> CompositionNetwork | None:
    """Return the member in a file, None when there is none of this key, or it is unfinished."""
    found = _read(path, key)
    if found is None or "step" in found[0]:
        return None
    network = new_network(training, n_outputs)
    network.load_state_dict(found[1])
    return network.eval()


def _write(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, str]) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({k: v.contiguous() for k, v in tensors.items()}, metadata=dict(note)))


def _read(path: Path, key: str) -> tuple[dict[str, str], dict[str, Tensor]] | None:
    """Return note and tensors of a file, None when it is missing, damaged or of another key."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            note = dict(file.metadata() or {})
            if note.get("key") != key:
                return None
            return note, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return None


def member_outputs(
    network: CompositionNetwork, table: FormulaTable, rows: np.ndarray, batch: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised ((N, P) mean, (N, P) log scale) of one member on rows of the table."""
    means, scales = [], []
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            mean, scale = network(table.dense(part), torch.from_numpy(table.source[part]))
            means.append(mean.numpy())
            scales.append(scale.numpy())
    return np.concatenate(means), np.concatenate(scales)


def training_record(training: CompositionTraining, table: FormulaTable, started: float) -> Mapping[str, Any]:
    """Return what the checkpoint tells about its training."""
    return {
        "settings": asdict(training),
        "rows": len(table),
        "seconds": round(time.monotonic() - started, 1),
    }
