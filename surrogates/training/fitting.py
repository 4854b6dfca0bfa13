"""The one fit loop of the structure-level networks: resumable, reproducible, keeps the averaged weights."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor, nn

from surrogates.datasets.elasticity import Labels
from surrogates.datasets.pairs import PairStore
from surrogates.errors import CheckpointError
from surrogates.models.invariant import InvariantConfig, InvariantNetwork
from surrogates.platform.whole_files import replacing
from surrogates.settings import BelowOne, Count, NotNegative, Positive, Share, Whole
from surrogates.training.fit_state import digest_of, fit_tensors, one_cycle, restore_fit

WATCHED_ONE_IN = 19
"""Formulas to fit that are only watched where a fit may stop early; prime, so that each fold has some."""

BEST = "best."
"""Prefix of the best epoch's weights in a state."""


@dataclass(frozen=True)
class FitConfig:
    """How one network is fitted.

    Attributes:
        epochs: passes over the training rows.
        batch_size: crystals a step.
        learning_rate: highest of the one-cycle schedule.
        weight_decay: of AdamW.
        averaging: decay of the exponential average of the weights, which is what is kept.
        width_loss: weight of the likelihood of the residuals; it trains the log-widths only.
        least_width: floor of the widths in that likelihood, in the units of the targets: without one the
            widths of values that repeat, like the gap of metals, shrink for ever.
        target_weights: of the columns in the loss.
        perturbed: share of rows shown disturbed in an epoch.
        bounds_shown: share of the rows with upper bounds only (see `Labels`) shown in an epoch, others in the
            next, at as many times the weight: most of them teach little.
        patience: epochs without gain on `watch` rows before stopping, with the weights of the best one; 0
            never stops early. The learning rate falls over all `epochs` whether or not a fit stops before.
        seed: of weights, order and dropout.
        seconds: wall time after which fitting pauses (resume continues); 0 has no limit.
    """

    epochs: Count = 40
    batch_size: Count = 64
    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 0.02
    averaging: BelowOne = 0.998
    width_loss: NotNegative = 0.2
    least_width: NotNegative = 0.0
    target_weights: tuple[float, ...] = (1.0, 0.8)
    perturbed: Share = 0.2
    bounds_shown: Annotated[float, Gt(0), Le(1)] = 1.0
    patience: Whole = 0
    seed: int = 0
    seconds: NotNegative = 0.0


@dataclass(frozen=True)
class FitReport:
    """What a fit did.

    Attributes:
        network: with the averaged weights, in evaluation mode.
        shift: (T,) mean of the targets; outputs times `spread` plus this are targets.
        spread: (T,) standard deviation of the targets.
        curve: one record an epoch: epoch, loss, watched errors, seconds.
        finished: False when it paused for lack of time.
    """

    network: InvariantNetwork
    shift: Tensor
    spread: Tensor
    curve: list[dict[str, float]] = field(default_factory=list)
    finished: bool = True


def fitted_and_watched(labels: Labels, held: Tensor, patience: int) -> tuple[Tensor, Tensor]:
    """Return the rows to fit (R,) and those to watch (W,), long.

    Watched are the scored rows that are held out, which is free as long as nothing is decided by them. With
    patience the epoch is, and rows that chose it are no longer unseen: then one formula in WATCHED_ONE_IN of
    those to fit is watched instead.

    Args:
        labels: of C crystals.
        held: (C,) bool, rows whose formulas are held out.
        patience: of the fit; see FitConfig.
    """
    watched = held if not patience else ~held & (labels.fold(WATCHED_ONE_IN) == 0)
    fitted = ~held & ~watched
    return fitted.nonzero().flatten(), (watched & labels.is_scored).nonzero().flatten()


def fit(
    shape: InvariantConfig,
    config: FitConfig,
    stores: Sequence[PairStore],
    labels: Labels,
    rows: Tensor,
    watch: Tensor,
    state: Path | None = None,
    progress: Callable[[dict[str, float]], None] | None = None,
    offsets: Sequence[Tensor] | None = None,
    start: InvariantNetwork | None = None,
) -> FitReport:
    """Return a network fitted to some rows.

    Args:
        shape: of the network.
        config: of the fit.
        stores: the crystals as they are, then disturbed copies.
        labels: of all crystals.
        rows: (R,) long, trained on.
        watch: (W,) long, only looked at (and for `patience`).
        state: file written after each epoch and resumed from.
        progress: called with each record of the curve.
        offsets: one (C, T) per store, what its disturbance adds to the targets; nothing by default.
        start: network of the same shape whose weights are gone on from; random ones by default.

    Raises:
        CheckpointError: the state belongs to another fit.
    """
    run = _Run(shape, config, labels, rows)
    if state is not None:
        run.data = digest_of_data(stores, labels, rows, offsets)
    if start is not None:
        run.start_from(start)
    if shape.trend:
        run.set_trend(stores[0], labels)
    if state is not None and state.is_file():
        run.load(state)
    begun_fit = time.monotonic()
    while run.epoch < config.epochs and not run.is_stale(config.patience):
        if config.seconds and time.monotonic() - begun_fit > config.seconds:
            return run.report(finished=False)
        begun = time.monotonic()
        loss = run.train_epoch(stores, labels, offsets)
        errors = run.watched(stores[0], labels, watch)
        record = {"epoch": run.epoch, "loss": loss, **errors, "seconds": time.monotonic() - begun}
        run.keep_best(errors)
        run.curve.append(record)
        if state is not None:
            run.save(state)
        if progress is not None:
            progress(record)
    return run.report(finished=True)


def digest_of_data(
    stores: Sequence[PairStore], labels: Labels, rows: Tensor, offsets: Sequence[Tensor] | None = None
) -> str:
    """Return a digest of what a fit learns from: features, targets, weights, scales, disturbances."""
    seen = [rows, labels.targets[rows], labels.weight[rows], labels.scale[rows]]
    for store in stores:
        seen += [store.element, store.weight, store.radial, store.angular, store.volume_per_atom]
    return digest_of([*seen, *(offsets or ())])


def predict_rows(
    network: InvariantNetwork, store: PairStore, scale: Tensor, rows: Tensor, batch_size: int = 256
) -> Tensor:
    """Return (R, 2 x T) raw outputs for some rows of a store."""
    network.eval()
    with torch.no_grad():
        parts = [network(store.batch(part, scale[part])) for part in rows.split(batch_size)]
    return torch.cat(parts) if parts else torch.zeros(0, 2 * network.config.n_outputs)


def ridge(features: Tensor, targets: Tensor, weight: Tensor, penalty: float = 100.0) -> tuple[Tensor, Tensor]:
    """Return weights (T, F) and offsets (T,) of a linear law by ridge regression; NaN targets are left out.

    Features are standardised for the penalty, so it does not depend on their units.
    """
    x = features.double()
    middle, size = x.mean(dim=0), x.std(dim=0).clamp(min=1e-4)
    columns = torch.cat([(x - middle) / size, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    damping = torch.full((columns.shape[1],), penalty, dtype=torch.float64)
    damping[-1] = 0.0
    laws, offsets = [], []
    for t in range(targets.shape[1]):
        known = torch.isfinite(targets[:, t])
        weighted = (columns[known] * weight[known].double().unsqueeze(1)).T
        moments = weighted @ columns[known] + torch.diag(damping)
        law = torch.linalg.solve(moments, weighted @ targets[known, t].double())
        laws.append(law[:-1] / size)
        offsets.append(law[-1] - (law[:-1] / size) @ middle)
    return torch.stack(laws).float(), torch.stack(offsets).float()


class _Run:
    """State of one fit: weights, their average, the optimiser, the epoch."""

    def __init__(self, shape: InvariantConfig, config: FitConfig, labels: Labels, rows: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.network = InvariantNetwork(shape)
        self.config, self.rows, self.epoch, self.origin, self.data = config, rows, 0, "", ""
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.best: dict[str, Tensor] = {}
        groups = _groups(self.network, config.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=1e-4, fused=True)
        self.curve: list[dict[str, float]] = []
        known = labels.targets[rows]
        valid = torch.isfinite(known)
        count = valid.sum(dim=0).clamp(min=1)
        self.shift = torch.where(valid, known, 0.0).sum(dim=0) / count
        squared = torch.where(valid, known - self.shift, 0.0).square().sum(dim=0) / count
        self.spread = squared.sqrt().clamp(min=1e-3)

    def start_from(self, network: InvariantNetwork) -> None:
        """Take over the weights of a network that was fitted to other rows; a state of this fit knows it."""
        self.network.load_state_dict(network.state_dict())
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.origin = digest_of(self.average.values())

    def set_trend(self, store: PairStore, labels: Labels) -> None:
        """Give the network its linear law: ridge regression of the standardised targets of the rows."""
        with torch.no_grad():
            parts = [
                self.network.fixed_features(store.batch(p, labels.scale[p])) for p in self.rows.split(512)
            ]
        wanted = (labels.targets[self.rows] - self.shift) / self.spread
        weight, bias = ridge(torch.cat(parts), wanted, labels.weight[self.rows])
        self.network.set_trend(weight, bias)
        for name in ("trend.weight", "trend.bias"):
            self.average[name] = dict(self.network.named_parameters())[name].detach().clone()

    def train_epoch(
        self, stores: Sequence[PairStore], labels: Labels, offsets: Sequence[Tensor] | None = None
    ) -> float:
        """Return the mean loss of one pass; order, disturbance and dropout follow from seed and epoch."""
        generator = torch.Generator().manual_seed(self.config.seed * 100_003 + self.epoch)
        order = self.rows[torch.randperm(len(self.rows), generator=generator)]
        if self.config.bounds_shown < 1:
            order, labels = self._with_fewer_bounds(order, labels, generator)
        batches = order.split(self.config.batch_size)
        total = 0.0
        self.network.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed * 100_003 + self.epoch)
            for step, batch in enumerate(batches):
                self._set_rate((self.epoch + step / len(batches)) / self.config.epochs)
                disturbed = len(stores) > 1 and bool(
                    torch.rand(1, generator=generator) < self.config.perturbed
                )
                pick = int(torch.randint(1, len(stores), (1,), generator=generator)) if disturbed else 0
                wanted = labels.targets[batch] + (0.0 if offsets is None else offsets[pick][batch])
                total += self._step(stores[pick], labels, wanted, batch)
        self.epoch += 1
        return total / max(len(batches), 1)

    def _with_fewer_bounds(
        self, rows: Tensor, labels: Labels, generator: torch.Generator
    ) -> tuple[Tensor, Labels]:
        """Return the rows (R,) less some whose targets are all bounds, and labels that make up for them."""
        share = self.config.bounds_shown
        bounds = labels.is_bound(labels.targets).all(dim=1)
        shown = ~bounds[rows] | (torch.rand(len(rows), generator=generator) < share)
        weight = torch.where(bounds, labels.weight / share, labels.weight)
        return rows[shown], replace(labels, weight=weight)

    def _step(self, store: PairStore, labels: Labels, targets: Tensor, batch: Tensor) -> float:
        out = self.network(store.batch(batch, labels.scale[batch]))
        loss = self._loss(out, targets, labels, labels.weight[batch])
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimiser.step()
        decay = min(self.config.averaging, (1 + self.epoch * 50) / (10 + self.epoch * 50))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.network.parameters()), 1 - decay)
        return float(loss.detach())

    def _loss(self, out: Tensor, targets: Tensor, labels: Labels, weight: Tensor) -> Tensor:
        """Return the weighted absolute error (smooth near 0) plus the Laplace likelihood of its size."""
        n = targets.shape[1]
        valid = torch.isfinite(targets)
        wanted = torch.where(valid, (targets - self.shift) / self.spread, 0.0)
        error = labels.one_sided(out[:, :n] - wanted, targets).abs()
        smooth = torch.where(error < 0.05, error.square() / 0.1 + 0.025, error)
        width = torch.maximum(out[:, n:].clamp(-6, 3), self._narrowest())
        likelihood = (error.detach() + 0.02) * torch.exp(-width) + width
        column = out.new_tensor(self.config.target_weights[:n])
        share = torch.where(valid, weight.unsqueeze(1) * column, 0.0)
        return (share * (smooth + self.config.width_loss * likelihood)).sum() / share.sum().clamp(min=1e-6)

    def _narrowest(self) -> Tensor:
        """Return the (T,) log-widths, standardised, below which none counts."""
        return (self.config.least_width / self.spread).log()

    def _set_rate(self, progress: float) -> None:
        """One cycle: a linear warm-up over 6 %, then a cosine to nearly zero."""
        factor = one_cycle(progress, warm=0.06, low=0.05) + (0.002 if progress >= 0.06 else 0.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * factor

    def watched(self, store: PairStore, labels: Labels, watch: Tensor) -> dict[str, float]:
        """Return the mean absolute error of each column on rows that are not trained on."""
        if len(watch) == 0:
            return {}
        out = predict_rows(self._with(self.average), store, labels.scale, watch)
        targets = labels.targets[watch]
        values = out[:, : len(self.shift)] * self.spread + self.shift
        error = labels.one_sided(values - targets, targets).abs()
        return {f"mae_{i}": float(error[:, i].nanmean()) for i in range(error.shape[1])}

    def is_stale(self, patience: int) -> bool:
        """Return whether the watched error has not fallen for `patience` epochs; never for 0."""
        if not patience:
            return False
        totals = [_watched_error(record) for record in self.curve]
        return len(totals) > patience and min(totals[-patience:]) > min(totals[:-patience])

    def keep_best(self, errors: Mapping[str, float]) -> None:
        """Keep the averaged weights if nothing watched was better so far; only with patience."""
        least = min(map(_watched_error, self.curve), default=inf)
        if self.config.patience and _watched_error(errors) <= least:
            self.best = {name: p.clone() for name, p in self.average.items()}

    def _with(self, weights: Mapping[str, Tensor]) -> InvariantNetwork:
        network = InvariantNetwork(self.network.config)
        network.load_state_dict(weights)
        return network.eval()

    def report(self, finished: bool) -> FitReport:
        """Return the report with the averaged weights; with patience, those of the best epoch."""
        return FitReport(
            self._with(self.best or self.average), self.shift, self.spread, list(self.curve), finished
        )

    def save(self, path: Path) -> None:
        """Write weights, averages, optimiser moments and the curve atomically."""
        from safetensors.torch import save_file

        tensors = fit_tensors(self.network, self.optimiser, self.average)
        tensors |= {BEST + name: p for name, p in self.best.items()}
        keys = sorted(self.curve[0]) if self.curve else []
        curve = [[record.get(key, float("nan")) for key in keys] for record in self.curve]
        tensors["curve"] = torch.tensor(curve, dtype=torch.float64)
        path.parent.mkdir(parents=True, exist_ok=True)
        note = {"epoch": str(self.epoch), "keys": ",".join(keys), "data": self.data}
        note["config"] = repr((self.network.config, self._identity()))
        with replacing(path) as fresh:
            save_file({k: v.contiguous() for k, v in tensors.items()}, str(fresh), metadata=note)

    def _identity(self) -> str:
        return repr({k: v for k, v in vars(self.config).items() if k != "seconds"}) + self.origin

    def load(self, path: Path) -> None:
        """Continue from a saved state."""
        from safetensors import safe_open

        with safe_open(str(path), framework="pt") as file:
            note = file.metadata()
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        same = repr((self.network.config, self._identity()))
        if note["config"] != same or note.get("data") != self.data:
            raise CheckpointError(f"{path} belongs to another fit; remove it or change the output folder")
        self.epoch = int(note["epoch"])
        keys = note["keys"].split(",")
        self.curve = [dict(zip(keys, values, strict=True)) for values in tensors["curve"].tolist()]
        self.best = {k.removeprefix(BEST): tensors.pop(k) for k in list(tensors) if k.startswith(BEST)}
        restore_fit(self.network, self.optimiser, self.average, tensors)


def _groups(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """Decay matrices only, not biases, norms and embeddings."""
    learned = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    matrices = [p for n, p in learned if p.ndim == 2 and n != "embedding"]
    others = [p for n, p in learned if p.ndim != 2 or n == "embedding"]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _watched_error(record: Mapping[str, float]) -> float:
    return sum(value for name, value in record.items() if name.startswith("mae_"))
