"""Fit of the members on formula tables: stratified batches, Laplace likelihood, averaged weights."""

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surrogates.datasets.tables import SOURCES, TABLE_PROPERTIES, FormulaTable
from surrogates.errors import ConfigError
from surrogates.models.composition_network import CompositionNetwork
from surrogates.models.elements import element_properties
from surrogates.properties import PROPERTIES

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


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
    def of(cls, values: np.ndarray) -> "Standardisation":
        """Return it from (N, P) natural values; robust, NaN ignored."""
        is_log = tuple(PROPERTIES[name].is_positive for name in TABLE_PROPERTIES)
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


@dataclass
class MemberFit:
    """One member while it is trained."""

    network: CompositionNetwork
    averaged: dict[str, Tensor] = field(default_factory=dict)

    def average(self, decay: float) -> None:
        """Move the running average towards the present weights."""
        for name, value in self.network.state_dict().items():
            if name not in self.averaged or not value.is_floating_point():
                self.averaged[name] = value.clone()
            else:
                self.averaged[name].lerp_(value, 1 - decay)


def laplace_loss(mean: Tensor, log_scale: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative Laplace log-likelihood per property, summed; NaN targets do not count."""
    known = torch.isfinite(target)
    residual = (torch.where(known, target, mean.detach()) - mean).abs()
    loss = torch.where(known, residual * torch.exp(-log_scale) + log_scale, 0.0)
    return (loss.sum(dim=0) / known.sum(dim=0).clamp(min=8)).sum()


def new_network(training: CompositionTraining) -> CompositionNetwork:
    """Return an untrained member of the shape that the settings ask for."""
    return CompositionNetwork(
        element_properties(),
        len(TABLE_PROPERTIES),
        len(SOURCES),
        width=training.width,
        trunk=training.trunk,
        dropout=training.dropout,
    )


def fit_member(
    table: FormulaTable,
    rows: np.ndarray,
    targets: np.ndarray,
    training: CompositionTraining,
    seed: int,
    progress: Progress | None = None,
) -> CompositionNetwork:
    """Return one trained member with averaged weights.

    Args:
        table: formulas and sources.
        rows: of the table to learn from.
        targets: (N, P) standardised values of all rows of the table.
        training: settings.
        seed: of initial weights, batches and dropout; nothing else is drawn from.
        progress: called after each step.
    """
    draw = np.random.default_rng([seed, 0])
    elastic = rows[np.isfinite(targets[rows, 0])]
    energy = rows[~np.isfinite(targets[rows, 0]) | (table.source[rows] == 0)]
    n_elastic = int(training.batch * training.elastic_share) if len(elastic) else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fit = MemberFit(new_network(training))
        network = fit.network
        # most gaps are exactly zero: without a floor their likelihood diverges and drowns every other one
        network.floor[TABLE_PROPERTIES.index("band_gap")] = -1.2
        network.fit_statistics(table.dense(draw.choice(rows, min(len(rows), 20_000), replace=False)))
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, training.learning_rate, total_steps=training.steps, pct_start=0.1
        )
        for step in range(training.steps):
            batch = np.concatenate(
                [draw.choice(elastic, n_elastic), draw.choice(energy, training.batch - n_elastic)]
            )
            optimiser.zero_grad(set_to_none=True)
            mean, log_scale = network(table.dense(batch), torch.from_numpy(table.source[batch]))
            laplace_loss(mean, log_scale, torch.from_numpy(targets[batch])).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            fit.average(min(training.average, (step + 1) / (step + 10)))
            if progress is not None:
                progress(step + 1, training.steps)
    network.load_state_dict(fit.averaged)
    return network.eval()


def member_key(training: CompositionTraining, member: int, table: FormulaTable) -> str:
    """Return what a member's weights depend on: settings, its number and the table."""
    settings = {name: value for name, value in asdict(training).items() if name != "members"}
    digest = hashlib.sha256(repr((settings, member, table.formulas)).encode())
    digest.update(table.values.tobytes())
    return digest.hexdigest()


def save_member(network: CompositionNetwork, path: Path, key: str) -> None:
    """Write a finished member; a kill leaves the old file or the new one."""
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    tensors = {name: t.contiguous() for name, t in network.state_dict().items()}
    temporary.write_bytes(save(tensors, metadata={"key": key}))
    os.replace(temporary, path)


def finished_member(path: Path, training: CompositionTraining, key: str) -> CompositionNetwork | None:
    """Return the member in a file, None when there is none of this key."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            if (file.metadata() or {}).get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return None
    network = new_network(training)
    network.load_state_dict(tensors)
    return network.eval()


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
