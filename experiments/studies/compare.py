"""Fit what `inverse bench surrogates` compares and keep what each model says of formulas it never saw.

python -m experiments.studies.compare                    what the benchmark misses (resumes)
python -m experiments.studies.compare fast accurate       some of it, anew

Files: inverse/benchmarks/predictions/<name>.parquet, which come with the package. One core; two hours in all.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from unittest import mock

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inverse.benchmarks.dft_rows import rows_of_surrogates
from inverse.benchmarks.held_out import FOLDER
from inverse.benchmarks.surrogates import current_predictions
from surrogates.checkpoints.checkpoint import checkpoint_digest, load_surrogate
from surrogates.datasets.elasticity import TARGETS
from surrogates.datasets.orbits import GRAPH_REACH, cached_graphs
from surrogates.datasets.pairs import without_structure
from surrogates.features.elements import element_columns, element_properties
from surrogates.models import invariant
from surrogates.models.gated import GatedNetwork, NeighbourStore
from surrogates.models.invariant import InvariantConfig
from surrogates.models.trees import Trees
from surrogates.tiers.stack import stacked
from surrogates.training.boosting import BoostingConfig, grow
from surrogates.training.fit_state import digest_of
from surrogates.training.fitting import FitConfig, FitReport, fit
from surrogates.training.held_out import HeldOut, held_out_predictions, one_fit, write_held_out
from surrogates.training.stack import (
    Families,
    StackConfig,
    base_group,
    descriptors_of,
    fit_weights,
    fits_of,
    grown_trees,
    held_out,
    nested_stack,
)
from surrogates.training.structure import (
    ModuliData,
    calibrated,
    fit_member,
    load_moduli,
    member_outputs,
    out_of_fold,
    residual_correlation,
    residuals,
)

CONFIG = "experiments/training/accurate.yaml"
LIMIT = math.log10(300.0)
ELEMENTAL_MODULI = ("log_bulk_modulus", "log_youngs_modulus")
"""Columns of the element table that no network learns from where labels above 300 GPa are left out."""
GATED_EPOCHS, GATED_BATCH = 80, 64
"""Of the crystal graph network; the others are fitted as the recipe says."""

N_TIMED = 2048
"""Crystals on which speed is measured."""

LEAST_WEIGHT = 0.1
"""Rows that weigh less (rough equations of state) are left out of these fits."""


class Comparison:
    """Data and the fitted families, loaded once."""

    def __init__(self, config: StackConfig) -> None:
        self.config, self.second = config, config.second()
        self.work = Path(config.work)
        self.data = load_moduli(self.second)
        self.labels = self.data.labels
        self.descriptors = descriptors_of(self.data)
        self.boosting = BoostingConfig(**config.boosting)
        self.first = base_group(config.base, self.second.n_folds)
        self.timed = self.labels.is_scored.nonzero().flatten()[:N_TIMED]

    @cached_property
    def families(self) -> Families:
        """Return what the fast tier, the second family and the trees say out of fold."""
        fits = {k: fit_member(self.second, self.data, k, show) for k in range(self.second.n_folds)}
        return held_out(self.data, self.first, fits, self.trees(), self.descriptors)

    def trees(self) -> Mapping:
        return grown_trees(self.data, self.descriptors, self.boosting, self.work)

    def keep(self, found: HeldOut) -> None:
        print(found.name, len(found.rows), write_held_out(found, self.data, FOLDER), flush=True)

    def network(self, name: str, rows: Tensor, shape: Mapping, data: ModuliData | None = None) -> FitReport:
        """Return a network of the second family's recipe, fitted to some rows (C,) bool; resumable."""
        data = data or self.data
        rows = rows & (data.labels.weight > LEAST_WEIGHT)
        settings = FitConfig(**self.second.fit)
        config = InvariantConfig(**{"n_outputs": len(TARGETS), **self.second.network, **shape})
        state = self.work / f"compare-{name}.safetensors"
        nobody = torch.zeros(0, dtype=torch.long)
        return fit(
            config,
            settings,
            data.stores,
            data.labels,
            rows.nonzero().flatten(),
            nobody,
            state,
            lambda record: show(name, record),
        )

    def grow(self, rows: Tensor) -> Tensor:
        """Return what trees grown on some rows (C,) bool say of all rows, (C, T)."""
        labels = self.labels
        made = [
            grow(self.descriptors[rows], labels.targets[rows, t], labels.weight[rows], self.boosting)
            for t in (0, 1)
        ]
        parts = [torch.stack([m.predict(part) for m in made], dim=1) for part in self.descriptors.split(1024)]
        return torch.cat(parts)


def rate(evaluate: Callable[[Tensor], object], rows: Tensor) -> float:
    """Return crystals a second of CPU time, the model alone: features and neighbours were found before."""
    began = time.process_time()
    with torch.no_grad():
        for part in rows.split(256):
            evaluate(part)
    return round(len(rows) / max(time.process_time() - began, 1e-6), 1)


def show(member: str, record: Mapping[str, float]) -> None:
    print(member, json.dumps({k: round(v, 4) for k, v in record.items()}), flush=True)


def fast(c: Comparison) -> HeldOut:
    values, widths = out_of_fold(c.data, fits_of(c.first))
    notes = {
        "folds": 5,
        "parameters": sum(map(parameters, c.first.networks)),
        "weights": checkpoint_digest("structure"),
    }
    return held_out_predictions("fast", c.data, values, widths, notes)


def accurate(c: Comparison) -> HeldOut:
    values, widths = nested_stack(c.data, c.families)
    stack = load_surrogate("accurate").stack
    notes = {
        "folds": 5,
        "parameters": sum(parameters(n) for family in stack.families for n in family.networks)
        + leaves(stack.trees),
        "weights": checkpoint_digest("accurate"),
    }
    return held_out_predictions("accurate", c.data, values, widths, notes)


def boosting(c: Comparison) -> HeldOut:
    def grown(made: Sequence[Trees], rows: Tensor) -> Tensor:
        return torch.stack([trees.predict(c.descriptors[rows]) for trees in made], dim=1)

    values = torch.full_like(c.labels.targets, torch.nan)
    for k, made in c.trees().items():
        for part in (c.data.fold == k).nonzero().flatten().split(1024):
            values[part] = grown(made, part)
    notes = {"folds": 5, **asdict(c.boosting), "parameters": leaves(made)}
    notes["crystals_per_second"] = rate(lambda part: grown(made, part), c.timed)
    return held_out_predictions("boosting", c.data, values, torch.zeros_like(values), notes)


def constant(c: Comparison) -> HeldOut:
    values = torch.full_like(c.labels.targets, torch.nan)
    for k in range(5):
        others = c.labels.is_scored & (c.data.fold != k)
        values[c.data.fold == k] = c.labels.targets[others].nanmedian(dim=0).values
    values += 1e-4 * torch.randn(
        values.shape, generator=torch.Generator().manual_seed(0)
    )  # bins need no ties
    return held_out_predictions("constant", c.data, values, torch.zeros_like(values), {"folds": 5})


def composition(c: Comparison) -> HeldOut:
    """The second family's network, told formula and scale only."""
    stores = (without_structure(c.data.stores[0]),)
    data = replace(c.data, stores=stores)
    values = torch.full_like(c.labels.targets, torch.nan)
    widths = values.clone()
    for k in range(c.second.n_folds):
        report = c.network(f"composition-{k}", c.data.fold != k, {"trend": False}, data)
        rows = (c.data.fold == k).nonzero().flatten()
        values[rows], widths[rows] = member_outputs(report, data, rows)
    notes = {"folds": c.second.n_folds, "parameters": parameters(report.network)}
    notes["crystals_per_second"] = rate(lambda part: member_outputs(report, data, part), c.timed)
    return held_out_predictions("composition", c.data, values, widths, notes)


def crystal_graph(c: Comparison) -> HeldOut:
    """A plain crystal graph network with gated convolutions, absolute error, AdamW, one cycle."""
    store = NeighbourStore.from_graphs(cached_graphs(c.data.rows, GRAPH_REACH, c.work / "graphs"))
    values = torch.full_like(c.labels.targets, torch.nan)
    for k in range(c.second.n_folds):
        values[c.data.fold == k] = gated_fold(c, store, k)
    network = GatedNetwork().eval()
    notes = {"folds": c.second.n_folds, "epochs": GATED_EPOCHS, "parameters": parameters(network)}
    notes["crystals_per_second"] = rate(
        lambda part: network(store.batch(part, c.labels.scale[part])), c.timed
    )
    return held_out_predictions("crystal_graph", c.data, values, torch.zeros_like(values), notes)


def gated_fold(c: Comparison, store: NeighbourStore, fold: int) -> Tensor:
    """Return what a network fitted to the other folds says of one, (R, T) log10; kept, so that it resumes."""
    learned_from = digest_of([store.element, store.distance, c.labels.targets, c.labels.weight])
    kept = c.work / f"compare-crystal_graph-{fold}-{GATED_EPOCHS}-{learned_from}.safetensors"
    if not kept.is_file():
        labels = c.labels
        fitted = (c.data.fold != fold) & (labels.weight > LEAST_WEIGHT)
        rows = (fitted & torch.isfinite(labels.targets).any(dim=1)).nonzero().flatten()
        network, middle, size = fit_gated(c, store, rows, fold)
        with torch.no_grad():
            judged = (c.data.fold == fold).nonzero().flatten().split(256)
            parts = [network(store.batch(part, labels.scale[part])) * size + middle for part in judged]
        save_file({"values": torch.cat(parts)}, str(kept))
    return load_file(str(kept))["values"]


def fit_gated(
    c: Comparison, store: NeighbourStore, rows: Tensor, seed: int
) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the network, and the mean and standard deviation (T,) that its outputs are standardised by."""
    targets = c.labels.targets
    known = torch.isfinite(targets[rows])
    middle = torch.stack([targets[rows][known[:, t], t].mean() for t in (0, 1)])
    size = torch.stack([targets[rows][known[:, t], t].std() for t in (0, 1)])
    torch.manual_seed(seed)
    network = GatedNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    n_steps = GATED_EPOCHS * math.ceil(len(rows) / GATED_BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=n_steps)
    for epoch in range(GATED_EPOCHS):
        total, began = 0.0, time.monotonic()
        for batch in rows[torch.randperm(len(rows))].split(GATED_BATCH):
            out = network(store.batch(batch, c.labels.scale[batch]))
            wanted = (targets[batch] - middle) / size
            valid = torch.isfinite(wanted)
            error = torch.where(valid, out - torch.where(valid, wanted, 0.0), 0.0).abs()
            loss = (error * c.labels.weight[batch].unsqueeze(1)).sum() / valid.sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        record = {"epoch": epoch + 1, "loss": total * GATED_BATCH / len(rows)}
        show(f"crystal-graph-{seed}", {**record, "seconds": time.monotonic() - began})
    return network.eval(), middle, size


@contextmanager
def elements_without_moduli() -> Iterator[None]:
    """Networks made inside are not told the moduli of the elements, some of which lie above 300 GPa."""
    table = element_properties()
    table[:, [element_columns().index(column) for column in ELEMENTAL_MODULI]] = 0.0
    with mock.patch.object(invariant, "element_properties", return_value=table):
        yield


def beyond_300(c: Comparison, name: str = "beyond_300", trend: bool = True) -> HeldOut:
    """The second family's recipe without any label above 300 GPa; every formula above is judged.

    Error bars are calibrated on the rows below, by the members of the accurate tier that did not see them.
    """
    high = {f for f, v in zip(c.labels.formulas, (c.labels.targets[:, 0] > LIMIT).tolist(), strict=True) if v}
    is_high = torch.tensor([f in high for f in c.labels.formulas])
    rows, values, widths = [], [], []
    for k in range(c.second.n_folds):
        with elements_without_moduli():
            report = c.network(f"{name}-blind-{k}", (c.data.fold != k) & ~is_high, {"trend": trend})
        judged = (c.labels.is_scored & (is_high | (c.data.fold == k))).nonzero().flatten()
        v, w = member_outputs(report, c.data, judged)
        rows.append(judged)
        values.append(v)
        widths.append(w)
    reference = c.families.values[1], c.families.widths[1]
    residual = residuals(c.labels, reference[0], c.labels.is_scored & ~is_high)
    calibrations, correlation = calibrated(residual, *reference), residual_correlation(residual)
    judged = torch.cat(rows)
    weight = torch.where(is_high[judged], 1.0 / c.second.n_folds, 1.0)  # all fits judge the stiff rows
    said = torch.cat(values), torch.cat(widths)
    return one_fit(name, judged, *said, calibrations, correlation, {"fits": c.second.n_folds}, weight)


def beyond_300_plain(c: Comparison) -> HeldOut:
    """The same without the linear law."""
    return beyond_300(c, "beyond_300_plain", trend=False)


def without(element: str) -> Callable[[Comparison], HeldOut]:
    """Network and trees fitted without one chemistry.

    Their weights and error bars follow from the rows without it, by members that knew it.
    """

    def judge(c: Comparison) -> HeldOut:
        has = torch.tensor([element in row["species"] for row in c.data.rows])
        report = c.network(f"without-{element}", ~has, {})
        judged = (has & c.labels.is_scored).nonzero().flatten()
        v, w = member_outputs(report, c.data, judged)
        both = torch.stack([v, c.grow(~has)[judged]])
        families = c.families
        families = Families(families.values[1:], families.widths[1:])
        weights, offsets = zip(*(two_weights(c, families, ~has, t) for t in (0, 1)), strict=True)
        weights, offsets = torch.stack(weights), torch.tensor(offsets)
        elsewhere = stacked(families.values, families.widths, weights, offsets)
        residual = residuals(c.labels, elsewhere[0], c.labels.is_scored & ~has)
        calibrations, correlation = calibrated(residual, *elsewhere), residual_correlation(residual)
        values, widths = stacked(both, w.unsqueeze(0), weights, offsets)
        notes = {"fits": 1, "left_out": element}
        return one_fit(f"without_{element}", judged, values, widths, calibrations, correlation, notes)

    return judge


def two_weights(c: Comparison, families: Families, rows: Tensor, t: int) -> tuple[Tensor, float]:
    wanted = c.labels.targets[:, t]
    known = rows & c.labels.is_scored & torch.isfinite(wanted)
    return fit_weights(families.values[:, known, t], wanted[known])


def leaves(grown: Sequence[Trees]) -> int:
    return sum(trees.leaf.numel() for trees in grown)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


MAKERS: dict[str, Callable[[Comparison], HeldOut]] = {
    "fast": fast,
    "accurate": accurate,
    "boosting": boosting,
    "constant": constant,
    "beyond_300": beyond_300,
    **{f"without_{element}": without(element) for element in ("B", "C", "N", "O")},
    "crystal_graph": crystal_graph,
    "composition": composition,
    "beyond_300_plain": beyond_300_plain,
}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MAKERS, []], default=[])
    given = parser.parse_args()
    torch.set_num_threads(1)
    comparison = Comparison(
        StackConfig.from_mapping(yaml.safe_load(Path(CONFIG).read_text(encoding="utf-8")))
    )
    current = current_predictions(rows_of_surrogates(), FOLDER)
    for name in given.names or [name for name, held in current.items() if held is None]:
        comparison.keep(MAKERS[name](comparison))


if __name__ == "__main__":
    main()
