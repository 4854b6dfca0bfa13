"""Train the decoder: composition model, then structure model, then the packaged weights.

Run: python -m experiments.training.train_decoder [compositions|structures|package] [--minutes 8]

Moduli of formulas without any are filled by gradient-boosted trees on element statistics, so that the
condition is seen on
all formulas; they steer, they judge nothing.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from torch import Tensor

from experiments.training.data import FormulaTable, read_formulas, read_structures, to_formulas, tokens_of
from experiments.training.decoder_elements import element_order, element_table
from experiments.training.prepare import WORK
from inverse.decoders.composition_model import CompositionNetwork, Formulas
from inverse.decoders.conditioning import condition_vectors
from inverse.decoders.structure_model import Skeletons, StructureNetwork
from inverse.decoders.tokens import FreeTokens
from inverse.decoders.weights_io import save_networks
from surrogates.crystals.batch import element_index

HELD_OUT = 0.02
"""Share of formulas kept for the reported likelihoods."""


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def is_held_out(names: list[str]) -> np.ndarray:
    """Return which formulas are held out, by a hash of the name."""
    import zlib

    return np.array([zlib.crc32(name.encode()) % 1000 < 1000 * HELD_OUT for name in names])


def statistics(amounts: np.ndarray) -> np.ndarray:
    """Return (F, n) element statistics of compositions."""
    table = element_table()
    fraction = amounts / amounts.sum(axis=1, keepdims=True)
    mean = fraction @ table
    spread = np.sqrt(np.maximum(fraction @ table**2 - mean**2, 0.0))
    present = amounts > 0
    low, high = np.empty_like(mean), np.empty_like(mean)
    for k in range(table.shape[1]):
        low[:, k] = np.where(present, table[:, k], np.inf).min(axis=1)
        high[:, k] = np.where(present, table[:, k], -np.inf).max(axis=1)
    return np.concatenate([mean, spread, low, high, fraction.max(axis=1, keepdims=True)], axis=1)


def filled_moduli(table: FormulaTable) -> np.ndarray:
    """Return the values with missing moduli filled by boosted trees (natural units); cached in .work."""
    import lightgbm

    path = WORK / "filled_moduli.npy"
    if path.exists():
        return np.load(path)

    features, values = statistics(table.amounts), table.values.copy()
    for column in (0, 1):
        known = ~np.isnan(table.values[:, column])
        model = lightgbm.LGBMRegressor(
            n_estimators=400, learning_rate=0.05, num_leaves=31, n_jobs=1, verbose=-1, random_state=0
        )
        model.fit(features[known], np.log(table.values[known, column]))
        predicted = np.exp(model.predict(features))
        values[:, column] = np.where(known, values[:, column], predicted)
        say(f"filled {(~known).sum()} of column {column} from {known.sum()}")
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


class Clock:
    """Share of the allowed time that is gone: of processor or wall minutes, whichever is scarcer."""

    def __init__(self, minutes: float, wall_minutes: float) -> None:
        self._limits = 60 * minutes, 60 * wall_minutes
        self._start = time.process_time(), time.time()

    def share(self) -> float:
        used = time.process_time() - self._start[0], time.time() - self._start[1]
        return max(u / limit for u, limit in zip(used, self._limits, strict=True))


def train_compositions(minutes: float, wall_minutes: float, peak: float, is_resumed: bool) -> None:
    """Train the composition model on all formulas; those with moduli count more."""
    torch.manual_seed(0)
    table = read_formulas()
    say(f"{len(table.names)} formulas, {(~np.isnan(table.values)).sum(axis=0)} values")
    is_test = is_held_out(table.names)
    is_known = ~np.isnan(table.values[:, 0])
    values = filled_moduli(table)
    order = torch.tensor([element_index(s) for s in element_order()])
    formulas = to_formulas(table.amounts, order)
    weight = np.where(is_known, 5.0, 1.0) * np.where(values[:, 0] > 200, 3.0, 1.0)
    weight *= np.where(table.amounts.sum(axis=1) <= 10, 1.5, 1.0)
    weight *= np.where(np.nan_to_num(values[:, 2]) > 0.5, 0.3, 1.0)
    weight[is_test] = 0.0
    weight /= weight.sum()
    network = CompositionNetwork()
    say(f"{sum(p.numel() for p in network.parameters())} parameters")
    if is_resumed:
        network.load_state_dict(torch.load(WORK / "compositions.pt", weights_only=True))
    rng = np.random.default_rng(int(peak * 1e6))
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-3)
    clock, step, running = Clock(minutes, wall_minutes), 0, 0.0
    rows = np.zeros(0, dtype=int)
    while (share := clock.share()) < 1.0:
        if len(rows) < 512:
            rows = rng.choice(len(weight), size=512 * 200, p=weight)
            rows = rows[np.argsort(formulas.n_elements[rows].numpy(), kind="stable")].reshape(-1, 512)
            rows = rng.permutation(rows).reshape(-1)
        batch, rows = rows[:512], rows[512:]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(share, peak)
        wanted = condition_vectors(masked(values[batch], rng))
        width = int(formulas.n_elements[batch].max())
        part = Formulas(formulas.ranks[batch][:, :width], formulas.amounts[batch][:, :width])
        loss = -network.log_likelihood(part, wanted).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step, running = step + 1, running + loss.item()
        if step % 200 == 0:
            say(f"step {step} share {share:.2f} loss {running / 200:.3f}")
            torch.save(network.state_dict(), WORK / "compositions_partial.pt")
            running = 0.0
    facts = held_out_composition(network, formulas, values, is_test)
    facts |= {"steps": step, "minutes": minutes, "formulas": len(table.names)}
    torch.save(network.state_dict(), WORK / "compositions.pt")
    (WORK / "compositions.json").write_text(json.dumps(facts))
    say(str(facts))


@torch.no_grad()
def held_out_composition(
    network: CompositionNetwork, formulas: Formulas, values: np.ndarray, is_test: np.ndarray
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
    say(f"volume: mean |log error| {error.abs().mean().item():.3f}")
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


def train_structures(minutes: float, wall_minutes: float, peak: float, is_resumed: bool) -> None:
    """Train the structure model on all standardised structures."""
    torch.manual_seed(0)
    table = read_structures()
    network = StructureNetwork()
    say(f"{sum(p.numel() for p in network.parameters())} parameters, {table.crystals.n_crystals} crystals")
    network.element_features.copy_(torch.as_tensor(element_table()[:, :8], dtype=torch.float32))
    volume = torch.log(table.crystals.to_crystals().volume)
    network.atomic_volume.copy_(atomic_volumes(table.crystals.amounts.round(), volume))
    skeletons, tokens = tokens_of(table.crystals, network.atomic_volume)
    is_test = is_held_out(table.formulas.tolist())
    weight = structure_weights(skeletons, table.values, table.sources)
    weight[is_test] = 0.0
    weight /= weight.sum()
    length = (skeletons.is_site.sum(dim=1) + tokens.is_token.sum(dim=1)).numpy()
    if is_resumed:
        network.load_state_dict(torch.load(WORK / "structures.pt", weights_only=True))
    rng = np.random.default_rng(int(peak * 1e6))
    optimiser = torch.optim.AdamW(network.parameters(), lr=peak, weight_decay=1e-2)
    clock, step, running, size = Clock(minutes, wall_minutes), 0, np.zeros(2), 192
    rows = np.zeros(0, dtype=int)
    while (share := clock.share()) < 1.0:
        if len(rows) < size:
            rows = rng.choice(len(weight), size=size * 100, p=weight)
            rows = rows[np.argsort(length[rows] + rng.random(len(rows)), kind="stable")].reshape(-1, size)
            rows = rng.permutation(rows).reshape(-1)
        batch, rows = rows[:size], rows[size:]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(share, peak)
        wanted = condition_vectors(masked(table.values[batch], rng))
        discrete, free = structure_loss(network, *rows_of(skeletons, tokens, batch), wanted, 0.3)
        # A long cell has many coordinates; it shall not count more than a short one by as much.
        scale = torch.as_tensor(length[batch] / 8.0).clamp(min=1.0).sqrt()
        loss = -((discrete + free) / scale).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step, running = step + 1, running + np.array([discrete.mean().item(), free.mean().item()])
        if step % 100 == 0:
            say(f"step {step} share {share:.2f} discrete {running[0] / 100:.3f} free {running[1] / 100:.3f}")
            torch.save(network.state_dict(), WORK / "structures_partial.pt")
            running = np.zeros(2)
    test = np.nonzero(is_test)[0]
    none = condition_vectors(np.full((len(test), 4), np.nan))
    with torch.no_grad():
        discrete, free = structure_loss(network, *rows_of(skeletons, tokens, test), none, 0.0)
    facts = {
        "held_out_discrete": round(discrete.mean().item(), 3),
        "held_out_free": round(free.mean().item(), 3),
    }
    facts |= {"steps": step, "minutes": minutes, "crystals": table.crystals.n_crystals}
    torch.save(network.state_dict(), WORK / "structures.pt")
    (WORK / "structures.json").write_text(json.dumps(facts))
    say(str(facts))


def package(is_partial: bool = False) -> None:
    """Write the packaged weights from the last trained networks, or from those still in training."""
    compositions, structures = CompositionNetwork(), StructureNetwork()
    ending = "_partial.pt" if is_partial else ".pt"
    compositions.load_state_dict(torch.load(WORK / f"compositions{ending}", weights_only=True))
    structures.load_state_dict(torch.load(WORK / f"structures{ending}", weights_only=True))
    facts: dict[str, object] = {"is_partial": True}
    if not is_partial:
        parts = ("compositions", "structures")
        facts = {part: json.loads((WORK / f"{part}.json").read_text()) for part in parts}
    save_networks(compositions, structures, element_order(), facts)


def main() -> None:
    """Run one part of the training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=["compositions", "structures", "package", "package-partial"])
    parser.add_argument("--minutes", type=float, default=8.0, help="of processor time")
    parser.add_argument("--wall-minutes", type=float, default=60.0)
    parser.add_argument("--peak", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--resume", action="store_true", help="go on from the last trained network")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "compositions":
        train_compositions(options.minutes, options.wall_minutes, options.peak, options.resume)
    elif options.part == "structures":
        train_structures(options.minutes, options.wall_minutes, options.peak, options.resume)
    else:
        package(is_partial=options.part == "package-partial")


if __name__ == "__main__":
    main()
