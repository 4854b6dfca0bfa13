"""Training of the formation-energy members: DFT energies at rest, elastic energies away from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from surrogates.checkpoints.checkpoint import Checkpoint, load_surrogate, save_checkpoint
from surrogates.datasets.elasticity import Labels
from surrogates.datasets.energies import elastic_energy, energy_labels, energy_rows, shaking_energy
from surrogates.datasets.orbits import GRAPH_REACH, cached_graphs
from surrogates.datasets.pairs import Deformation, PairStore, pair_store
from surrogates.models.invariant import InvariantConfig
from surrogates.physics.properties import FORMATION_ENERGY
from surrogates.tiers.calibration import coverage, fit_calibration
from surrogates.tiers.ensemble import MemberGroup, group_to_record
from surrogates.training.configs import N_ENERGY_FOLDS, EnergyConfig, EpochProgress, TrainingConfig
from surrogates.training.fitting import FitConfig, FitReport, fit, fitted_and_watched, predict_rows
from surrogates.training.new_crystals import for_new_crystals


@dataclass(frozen=True)
class EnergyData:
    """Labels and features; `offsets` are the energies that each store's deformation adds, (C, 1)."""

    labels: Labels
    stores: tuple[PairStore, ...]
    offsets: tuple[Tensor, ...]
    fold: Tensor


def train_energy(config: TrainingConfig, progress: EpochProgress | None = None) -> dict[str, Any] | None:
    """Fit the members, save them in the work folder for `train` to join, return held-out errors.

    Needs the trained moduli, which say what strain costs. None when a time limit paused a fit.

    Raises:
        DataError: the shared structures are missing.
    """
    settings = EnergyConfig(**config.energy)
    data = load_energies(config, settings)
    fits = []
    for member in range(settings.n_members):
        report = _fit_member(config, settings, data, member, progress)
        if not report.finished:
            return None
        fits.append(report)
    group, metrics = _assemble(data, fits)
    reach = group.networks[0].config.reach
    group, new = for_new_crystals(group, reach, Path(config.work) / "graphs", set(data.labels.formulas))
    metrics |= {"new_crystals": new}
    record, tensors = group_to_record(group, index=1)
    checkpoint = Checkpoint("energy_members", {"group": record, "metrics": metrics}, tensors)
    save_checkpoint(checkpoint, Path(config.work) / "energy-members", half=False)
    return metrics


def load_energies(config: TrainingConfig, settings: EnergyConfig) -> EnergyData:
    """Return the crystals at rest and deformed, with what the deformation costs by predicted K and G."""
    rows = energy_rows(settings.max_atoms, settings.reference)
    labels = energy_labels(rows)
    graphs = cached_graphs(rows, GRAPH_REACH, Path(config.work) / "graphs")
    reach = InvariantConfig(**settings.network).reach
    rest = pair_store(graphs, reach, half=True)
    bulk, shear = _moduli(config, rest)
    stores, offsets = [rest], [torch.zeros(len(rows), 1)]
    for k, (low, high, shake) in enumerate(settings.copies):
        deformation = _deformation(len(rows), low, high, shake, seed=k + 1)
        stores.append(pair_store(graphs, reach, deformation, half=True))
        volume = graphs.volume_per_atom
        cost = elastic_energy(volume, bulk, shear, deformation.strain)
        cost = cost + shaking_energy(volume, bulk, shear, deformation.displacement)
        offsets.append(cost.clamp(max=5.0).unsqueeze(1))
    return EnergyData(labels, tuple(stores), tuple(offsets), labels.fold(N_ENERGY_FOLDS))


def _deformation(n: int, low: float, high: float, shake: float, seed: int) -> Deformation:
    """Return isotropic strains in [low, high] with some shear, and displacements, none for half of all."""
    generator = torch.Generator().manual_seed(seed)
    size = low + (high - low) * torch.rand(n, generator=generator)
    noise = torch.randn(n, 3, 3, generator=generator) * 0.012
    strain = size[:, None, None] * torch.eye(3) + (noise + noise.transpose(1, 2)) / 2**0.5
    shaken = torch.rand(n, generator=generator) < 0.5
    displacement = shake * torch.rand(n, generator=generator) * shaken
    return Deformation(strain, displacement, seed)


def _moduli(config: TrainingConfig, store: PairStore) -> tuple[Tensor, Tensor]:
    """Return K and G (C,), GPa, of every crystal by the trained moduli members."""
    group = load_surrogate(config.output).groups[0]
    parts = []
    with torch.no_grad():
        for part in torch.arange(len(store.volume_per_atom)).split(512):
            graph = store.batch(part, torch.zeros(len(part), dtype=torch.long))
            parts.append(10 ** group.outputs(graph)[0].mean(dim=0))
    bulk, shear = torch.cat(parts).unbind(dim=1)
    return bulk.clamp(1.0, 600.0), shear.clamp(0.5, 600.0)


def _fit_member(
    config: TrainingConfig,
    settings: EnergyConfig,
    data: EnergyData,
    member: int,
    progress: EpochProgress | None,
) -> FitReport:
    keys = {"target_weights": (1.0,), "perturbed": 0.5, **settings.fit}
    fit_config = replace(FitConfig(**keys), seed=1000 + member)
    rows, watch = fitted_and_watched(data.labels, data.fold == member, fit_config.patience)
    state = Path(config.work) / f"{config.name}-energy-{member}.safetensors"
    shape = InvariantConfig(**{"n_outputs": 1, **settings.network})

    def tell(record: dict[str, float]) -> None:
        if progress is not None:
            progress(f"{config.name}-energy-{member}", record)

    return fit(shape, fit_config, data.stores, data.labels, rows, watch, state, tell, data.offsets)


def _assemble(data: EnergyData, fits: Sequence[FitReport]) -> tuple[MemberGroup, dict[str, Any]]:
    """Return the group and its errors on formulas that the predicting member did not see."""
    residuals, widths, values, shifted = [], [], [], []
    for member, report in enumerate(fits):
        rows = ((data.fold == member) & data.labels.is_scored).nonzero().flatten()
        value, width = _outputs(report, data, rows, store=0)
        residuals.append(value - data.labels.targets[rows, 0])
        widths.append(width)
        values.append(value)
        for k in range(1, len(data.stores)):
            disturbed, _ = _outputs(report, data, rows, store=k)
            wanted = data.labels.targets[rows, 0] + data.offsets[k][rows, 0]
            shifted.append((disturbed - wanted).abs().mean())
    residual, width, predicted = torch.cat(residuals), torch.cat(widths), torch.cat(values)
    calibration = fit_calibration(residual, width, predicted, largest_disagreement=3.0)
    metrics = {
        "n": len(residual),
        "mae": round(float(residual.abs().mean()), 4),
        "median_absolute_error": round(float(residual.abs().median()), 4),
        "coverage_90": round(coverage(residual, calibration.std(width, predicted)), 4),
        "mae_deformed": round(float(torch.stack(shifted).mean()), 4) if shifted else None,
        "members": len(fits),
        "held_out": "one tenth of the formulas per member",
    }
    group = MemberGroup(
        (FORMATION_ENERGY,),
        tuple(f.network for f in fits),
        tuple(f.shift for f in fits),
        tuple(f.spread for f in fits),
        (calibration,),
    )
    return group, metrics


def _outputs(report: FitReport, data: EnergyData, rows: Tensor, store: int) -> tuple[Tensor, Tensor]:
    out = predict_rows(report.network, data.stores[store], data.labels.scale, rows)
    return out[:, 0] * report.spread[0] + report.shift[0], out[:, 1].clamp(-6, 3) + report.spread[0].log()
