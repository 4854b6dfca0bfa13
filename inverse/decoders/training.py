"""Training of the decoder: the composition model on formulas, the structure model on standardised crystals.

Moduli of formulas without any are filled by gradient-boosted trees on element statistics, so that the
condition is seen on all formulas; they steer, they judge nothing.
"""

import json
import logging
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from inverse.decoders.composition_model import FormulaNetwork, Formulas
from inverse.decoders.conditioning import condition_vectors
from inverse.decoders.element_features import element_order, element_statistics
from inverse.decoders.structure_model import Skeletons, StructureNetwork
from inverse.decoders.tokens import FreeTokens
from inverse.decoders.training_data import (
    DecoderFormulas,
    read_formulas,
    read_structures,
    to_formulas,
    tokens_of,
)
from inverse.decoders.training_structures import require_data
from inverse.decoders.weights_io import save_networks
from surrogates.crystals.batch import element_index
from surrogates.errors import ConfigError
from surrogates.platform.progress import StepProgress
from surrogates.platform.whole_files import replacing, write_atomically

LOGGER = logging.getLogger("inverse.decoders")

HELD_OUT = 0.02
"""Share of formulas kept for the reported likelihoods."""

COMPOSITIONS, STRUCTURES = 512, 192
"""Formulas and crystals a step."""

Network = TypeVar("Network", FormulaNetwork, StructureNetwork)


@dataclass(frozen=True)
class PartRecipe:
    """How one of the two networks is trained.

    Attributes:
        steps: batches; the learning rate falls over all of them.
        learning_rate: highest.
        seed: of the weights; the batches follow from the learning rate.
    """

    steps: int
    learning_rate: float = 3e-3
    seed: int = 0


@dataclass(frozen=True)
class TrainedDecoder:
    """Both networks, and what is worth knowing of their training."""

    compositions: FormulaNetwork
    structures: StructureNetwork
    facts: dict[str, Any]

    def save(self, folder: Path, name: str = "default") -> None:
        """Write the weights that `load_decoder` reads."""
        save_networks(self.compositions, self.structures, element_order(), self.facts, name, folder)


def train_decoder(
    compositions: PartRecipe, structures: PartRecipe, work: Path, progress: StepProgress | None = None
) -> TrainedDecoder:
    """Return the decoder trained on the shared tables and structures.

    Tables, standardised crystals and each finished network are kept in `work`; the same call goes on from
    there. An interrupted network begins anew.

    Args:
        compositions: recipe of the composition model.
        structures: recipe of the structure model.
        work: folder.
        progress: called with (steps done, steps in all).

    Raises:
        DataError: the shared data are absent; before anything is trained.
        ConfigError: LightGBM, which fills moduli, is not installed.
    """
    require_data()
    _lightgbm()
    work.mkdir(parents=True, exist_ok=True)
    total = compositions.steps + structures.steps

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, total)

    first = _drawn(FormulaNetwork, compositions.seed)
    facts: dict[str, Any] = {}
    facts["compositions"] = _kept(
        first,
        compositions,
        work / "compositions",
        lambda: train_compositions(first, compositions, work, tell),
    )
    second = _drawn(StructureNetwork, structures.seed)
    facts["structures"] = _kept(
        second,
        structures,
        work / "structures",
        lambda: train_structures(second, structures, work, lambda done: tell(compositions.steps + done)),
    )
    return TrainedDecoder(first, second, facts)


def _kept(
    network: nn.Module, recipe: PartRecipe, place: Path, train: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return the facts of a network that was trained by this recipe before, or is trained now."""
    weights, note = place.with_suffix(".safetensors"), place.with_suffix(".json")
    if weights.is_file() and note.is_file():
        facts: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if facts.get("recipe") == vars(recipe):
            network.load_state_dict(load_file(weights))
            return facts
    facts = {**train(), "recipe": dict(vars(recipe))}
    with replacing(weights) as fresh:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, fresh)
    write_atomically(note, json.dumps(facts) + "\n")
    return facts


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError:
        raise ConfigError(
            "the decoder's training needs LightGBM: pip install 'inverse-crystals[compare]'; its use does not"
        ) from None
    return lightgbm


def is_held_out(names: list[str]) -> np.ndarray:
    """Return which formulas are held out, by a hash of the name."""
    return np.array([zlib.crc32(name.encode()) % 1000 < 1000 * HELD_OUT for name in names])


def statistics(amounts: np.ndarray) -> np.ndarray:
    """Return (F, n) element statistics of compositions."""
    table = element_statistics()
    fraction = amounts / amounts.sum(axis=1, keepdims=True)
    mean = fraction @ table
    spread = np.sqrt(np.maximum(fraction @ table**2 - mean**2, 0.0))
    present = amounts > 0
    low, high = np.empty_like(mean), np.empty_like(mean)
    for k in range(table.shape[1]):
        low[:, k] = np.where(present, table[:, k], np.inf).min(axis=1)
        high[:, k] = np.where(present, table[:, k], -np.inf).max(axis=1)
    return np.concatenate([mean, spread, low, high, fraction.max(axis=1, keepdims=True)], axis=1)


def filled_moduli(table: DecoderFormulas, work: Path) -> np.ndarray:
    """Return the values with missing moduli filled by boosted trees (natural units); kept in a folder."""
    path = work / "filled_moduli.npy"
    if path.exists():
        kept: np.ndarray = np.load(path)
        return kept
    lightgbm = _lightgbm()
    features, values = statistics(table.amounts), table.values.copy()
    for column in (0, 1):
        known = ~np.isnan(table.values[:, column])
        model = lightgbm.LGBMRegressor(
            n_estimators=400, learning_rate=0.05, num_leaves=31, n_jobs=1, verbose=-1, random_state=0
        )
        model.fit(features[known], np.log(table.values[known, column]))
        predicted = np.exp(model.predict(features))
        values[:, column] = np.where(known, values[:, column], predicted)
        LOGGER.info("filled %d of column %d from %d", (~known).sum(), column, known.sum())
    np.save(path, values)
    return values


def masked(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the values with some left out at random, a fifth of the rows altogether."""
    keep = rng.random(values.shape) < 0.6
    keep &= rng.random((len(values), 1)) > 0.2
    return np.where(keep, values, np.nan)


def learning_rate(share: float, peak: float) -> float:
    """Return the rate at a share of the time: short warm-up, then a cosine to 2 %."""
    return peak * min(1.0, share / 0.03 + 0.02) * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1.0, share))))


def train_compositions(
    network: FormulaNetwork, recipe: PartRecipe, work: Path, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Train the composition model in place on all formulas, those with moduli more; returns facts of it.

    Args:
        network: with the weights to begin from.
        recipe: of the training.
        work: folder of what was read before.
        tell: called with the steps done.
    """
    table = read_formulas(work)
    LOGGER.info("%d formulas, %s values", len(table.names), (~np.isnan(table.values)).sum(axis=0))
    is_test = is_held_out(table.names)
    is_known = ~np.isnan(table.values[:, 0])
    values = filled_moduli(table, work)
    order = torch.tensor([element_index(s) for s in element_order()])
    formulas = to_formulas(table.amounts, order)
    weight = np.where(is_known, 5.0, 1.0) * np.where(values[:, 0] > 200, 3.0, 1.0)
    weight *= np.where(table.amounts.sum(axis=1) <= 10, 1.5, 1.0)
    weight *= np.where(np.nan_to_num(values[:, 2]) > 0.5, 0.3, 1.0)
    weight[is_test] = 0.0
    weight /= weight.sum()
    rng = np.random.default_rng(int(recipe.learning_rate * 1e6))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-3)
    rows: np.ndarray = np.zeros(0, dtype=int)
    running = 0.0
    for step in range(recipe.steps):
        if len(rows) < COMPOSITIONS:
            rows = rng.choice(len(weight), size=COMPOSITIONS * 200, p=weight)
            rows = rows[np.argsort(formulas.n_elements[rows].numpy(), kind="stable")].reshape(
                -1, COMPOSITIONS
            )
            rows = rng.permutation(rows).reshape(-1)
        batch, rows = rows[:COMPOSITIONS], rows[COMPOSITIONS:]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / recipe.steps, recipe.learning_rate)
        wanted = condition_vectors(masked(values[batch], rng))
        width = int(formulas.n_elements[batch].max())
        part = Formulas(formulas.ranks[batch][:, :width], formulas.amounts[batch][:, :width])
        loss = -network.log_likelihood(part, wanted).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        running += loss.item()
        tell(step + 1)
        if (step + 1) % 200 == 0:
            LOGGER.info("step %d loss %.3f", step + 1, running / 200)
            running = 0.0
    facts: dict[str, Any] = held_out_composition(network, formulas, values, is_test)
    return facts | {"steps": recipe.steps, "formulas": len(table.names)}


def _drawn(kind: type[Network], seed: int) -> Network:
    """Return a network with weights drawn by a generator of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind()


@torch.no_grad()
def held_out_composition(
    network: FormulaNetwork, formulas: Formulas, values: np.ndarray, is_test: np.ndarray
) -> dict[str, float]:
    """Return the mean log-likelihood of held-out formulas with and without their values."""
    rows = np.nonzero(is_test)[0][:4000]
    part = Formulas(formulas.ranks[rows], formulas.amounts[rows])
    given = network.log_likelihood(part, condition_vectors(values[rows])).mean()
    none = network.log_likelihood(part, condition_vectors(np.full_like(values[rows], np.nan))).mean()
    return {"held_out_nats_given": round(float(given), 3), "held_out_nats": round(float(none), 3)}


def atomic_volumes(amounts: Tensor, log_volume: Tensor) -> Tensor:
    """Return (103,) volumes in Å³ whose sums fit the primitive cells' volumes in the log."""
    log_v = torch.full((amounts.shape[1],), np.log(15.0)).requires_grad_()
    optimiser = torch.optim.Adam([log_v], lr=0.05)
    for _ in range(300):
        error = torch.log(amounts @ log_v.exp()) - log_volume
        loss = error.abs().mean() + 1e-4 * (log_v - np.log(15.0)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    LOGGER.info("volume: mean |log error| %.3f", error.abs().mean().item())
    return log_v.detach().exp()


def structure_weights(skeletons: Skeletons, values: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Return sampling weights: small cells, stiff compounds and rare prototypes count more."""
    atoms = (skeletons.amounts.sum(dim=1) * skeletons.units).numpy()
    keys = [
        (int(g), tuple(w[m].tolist()))
        for g, w, m in zip(skeletons.group, skeletons.wyckoff, skeletons.is_site, strict=True)
    ]
    counts: dict[tuple, int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    weight = np.array([counts[key] ** -0.3 for key in keys])
    weight *= np.where(atoms <= 10, 2.0, 1.0)
    weight *= np.where(np.nan_to_num(values[:, 0]) > 200, 3.0, 1.0)
    weight *= np.where(np.nan_to_num(values[:, 3]) > 0.2, 0.5, 1.0)
    return weight * np.where(sources == "alex_hp_eos", 0.7, 1.0)


def rows_of(skeletons: Skeletons, tokens: FreeTokens, rows: np.ndarray) -> tuple[Skeletons, FreeTokens]:
    """Return some rows without needless padding."""
    s = max(1, int(skeletons.is_site[rows].sum(dim=1).max()))
    q = max(1, int(tokens.is_token[rows].sum(dim=1).max()))
    return (
        Skeletons(
            skeletons.amounts[rows],
            skeletons.units[rows],
            skeletons.group[rows],
            skeletons.wyckoff[rows, :s],
            skeletons.element[rows, :s],
            skeletons.is_site[rows, :s],
        ),
        FreeTokens(
            tokens.kind[rows, :q], tokens.site[rows, :q], tokens.value[rows, :q], tokens.is_token[rows, :q]
        ),
    )


def structure_loss(
    network: StructureNetwork, skeletons: Skeletons, tokens: FreeTokens, wanted: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return (C,) log-likelihoods of the discrete choices and of the free numbers."""
    discrete, state, context = network.skeleton_log_likelihood(skeletons, wanted)
    return discrete, network.free_log_likelihood(skeletons, tokens, state, context, smoothing)


def train_structures(
    network: StructureNetwork, recipe: PartRecipe, work: Path, tell: Callable[[int], None]
) -> dict[str, Any]:
    """Train the structure model in place on all standardised structures; see `train_compositions`."""
    table = read_structures(work)
    LOGGER.info("%d crystals", table.crystals.n_crystals)
    network.element_features.copy_(torch.as_tensor(element_statistics()[:, :8], dtype=torch.float32))
    volume = torch.log(table.crystals.to_crystals().volume)
    network.atomic_volume.copy_(atomic_volumes(table.crystals.amounts.round(), volume))
    skeletons, tokens = tokens_of(table.crystals, network.atomic_volume)
    is_test = is_held_out(table.formulas.tolist())
    weight = structure_weights(skeletons, table.values, table.sources)
    weight[is_test] = 0.0
    weight /= weight.sum()
    length = (skeletons.is_site.sum(dim=1) + tokens.is_token.sum(dim=1)).numpy()
    rng = np.random.default_rng(int(recipe.learning_rate * 1e6))
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-2)
    rows: np.ndarray = np.zeros(0, dtype=int)
    running, size = np.zeros(2), STRUCTURES
    for step in range(recipe.steps):
        if len(rows) < size:
            rows = rng.choice(len(weight), size=size * 100, p=weight)
            rows = rows[np.argsort(length[rows] + rng.random(len(rows)), kind="stable")].reshape(-1, size)
            rows = rng.permutation(rows).reshape(-1)
        batch, rows = rows[:size], rows[size:]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step / recipe.steps, recipe.learning_rate)
        wanted = condition_vectors(masked(table.values[batch], rng))
        discrete, free = structure_loss(network, *rows_of(skeletons, tokens, batch), wanted, 0.3)
        # A long cell has many coordinates; it shall not count more than a short one by as much.
        scale = torch.as_tensor(length[batch] / 8.0).clamp(min=1.0).sqrt()
        loss = -((discrete + free) / scale).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        running += np.array([discrete.mean().item(), free.mean().item()])
        tell(step + 1)
        if (step + 1) % 100 == 0:
            LOGGER.info("step %d discrete %.3f free %.3f", step + 1, *(running / 100))
            running = np.zeros(2)
    test = np.nonzero(is_test)[0]
    none = condition_vectors(np.full((len(test), 4), np.nan))
    with torch.no_grad():
        discrete, free = structure_loss(network, *rows_of(skeletons, tokens, test), none, 0.0)
    facts: dict[str, Any] = {
        "held_out_discrete": round(discrete.mean().item(), 3),
        "held_out_free": round(free.mean().item(), 3),
    }
    return facts | {"steps": recipe.steps, "crystals": table.crystals.n_crystals}
