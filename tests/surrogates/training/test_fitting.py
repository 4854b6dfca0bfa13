from dataclasses import replace

import numpy as np
import pytest
import torch

from surrogates.datasets.elasticity import Labels
from surrogates.datasets.orbits import cached_graphs, reduced_graphs
from surrogates.datasets.pairs import Deformation, Perturbation, pair_store
from surrogates.errors import CheckpointError
from surrogates.models.invariant import InvariantConfig
from surrogates.training.fitting import FitConfig, fit, fitted_and_watched, predict_rows, ridge

SHAPE = InvariantConfig(n_outputs=1, channels=8, n_blocks=1, messages=8, n_angular=2, hidden=8)
CONFIG = FitConfig(epochs=4, batch_size=8, target_weights=(1.0,), perturbed=0.3, seed=3)


def rows(n=24):
    """Rock-salt and caesium-chloride cells of several sizes; the target follows from size and type."""
    rng = np.random.default_rng(0)
    out = []
    for k in range(n):
        a, salt = rng.uniform(2.6, 4.0), k % 2
        lattice = (np.ones((3, 3)) - np.eye(3)) * a / 1.6 if salt else np.eye(3) * a
        out.append(
            {
                "id": f"r{k}",
                "formula": f"X{k // 2}",
                "lattice": lattice.tolist(),
                "species": [["Na", "Cl"], ["Ti", "N"], ["Mg", "O"]][k % 3],
                "frac_coords": [[0, 0, 0], [0.5, 0.5, 0.5]],
                "target": 3.0 - 0.5 * a + 0.3 * salt,
            }
        )
    return out


@pytest.fixture(scope="module")
def data():
    made = rows()
    labels = Labels(
        ids=tuple(r["id"] for r in made),
        formulas=tuple(r["formula"] for r in made),
        sources=("made",) * len(made),
        scale=torch.zeros(len(made), dtype=torch.long),
        targets=torch.tensor([[r["target"]] for r in made]),
        weight=torch.ones(len(made)),
        is_scored=torch.ones(len(made), dtype=torch.bool),
    )
    graphs = reduced_graphs(made, 2.1)
    return labels, (pair_store(graphs, 2.0), pair_store(graphs, 2.0, Perturbation(seed=1)))


def fitted(data, config, state=None):
    labels, stores = data
    order = torch.arange(len(labels.formulas))
    return fit(SHAPE, config, stores, labels, order[:18], order[18:], state)


def test_fit_learns(data):
    report = fitted(data, replace(CONFIG, epochs=30, learning_rate=0.01, averaging=0.9))
    assert report.finished
    assert len(report.curve) == 30
    assert report.curve[-1]["mae_0"] < 0.5 * report.curve[0]["mae_0"]


def test_a_fit_that_was_stopped_and_resumed_ends_the_same(data, tmp_path):
    whole = fitted(data, CONFIG)
    state = tmp_path / "state.safetensors"
    paused = fitted(data, replace(CONFIG, seconds=1e-9), state)
    assert not paused.finished
    while not paused.finished:
        paused = fitted(data, replace(CONFIG, seconds=1e-3), state)
    labels, stores = data
    every = torch.arange(len(labels.formulas))
    first, second = (predict_rows(r.network, stores[0], labels.scale, every) for r in (whole, paused))
    torch.testing.assert_close(first, second)
    assert [r["epoch"] for r in paused.curve] == [1, 2, 3, 4]


def test_state_of_another_fit_is_refused(data, tmp_path):
    state = tmp_path / "state.safetensors"
    fitted(data, replace(CONFIG, epochs=1), state)
    with pytest.raises(CheckpointError, match="another fit"):
        fitted(data, replace(CONFIG, epochs=1, seed=4), state)


@pytest.mark.parametrize("changed", ["targets", "weight", "scale", "disturbance"])
def test_state_of_other_data_is_refused(data, tmp_path, changed):
    state = tmp_path / "state.safetensors"
    fitted(data, replace(CONFIG, epochs=1), state)
    labels, stores = data
    if changed == "disturbance":
        stores = (stores[0], pair_store(reduced_graphs(rows(), 2.1), 2.0, Perturbation(seed=2)))
    else:
        labels = replace(labels, **{changed: getattr(labels, changed) + 1})
    with pytest.raises(CheckpointError, match="another fit"):
        fitted((labels, stores), replace(CONFIG, epochs=1), state)


@pytest.mark.parametrize("patience", [0, 3])
def test_what_is_held_out_never_decides_when_to_stop(patience):
    n = 4000
    labels = Labels(
        ids=tuple(f"r{k}" for k in range(n)),
        formulas=tuple(f"X{k // 2}" for k in range(n)),
        sources=("made",) * n,
        scale=torch.zeros(n, dtype=torch.long),
        targets=torch.zeros(n, 1),
        weight=torch.ones(n),
        is_scored=torch.arange(n) % 4 > 0,
    )
    fold = labels.fold(5)
    for member in range(5):
        held = fold == member
        rows, watch = fitted_and_watched(labels, held, patience)
        assert not bool(held[rows].any())
        assert bool(labels.is_scored[watch].all())
        if not patience:
            assert len(rows) == int((~held).sum()), "nothing is set aside for a decision that is not taken"
            assert bool(held[watch].all())
            continue
        assert not bool(held[watch].any())
        assert len(watch) == pytest.approx(0.75 * 0.8 * n / 19, rel=0.4), "in every fold"
        formulas = np.array(labels.formulas)
        assert not set(formulas[rows]) & set(formulas[watch])


def test_a_fit_that_stops_early_has_the_weights_of_its_best_epoch(data, tmp_path, monkeypatch):
    from surrogates.training.fitting import _Run

    scripted, seen = [5.0, 3.0, 4.0, 3.5, 3.2, 1.0], []

    def watched(self, *_):
        seen.append({name: p.clone() for name, p in self.average.items()})
        return {"mae_0": scripted[self.epoch - 1]}

    monkeypatch.setattr(_Run, "watched", watched)
    config = replace(CONFIG, epochs=6, patience=3)
    state = tmp_path / "state.safetensors"
    for _ in range(2):
        report = fitted(data, config, state)
        assert len(report.curve) == len(seen) == 5, "three epochs without gain, and no more when resumed"
        for name, p in report.network.named_parameters():
            assert torch.equal(p, seen[1][name])
    assert not torch.equal(seen[1]["site.weight"], seen[4]["site.weight"])


def test_graphs_are_made_once(tmp_path):
    made = rows(4)
    first = cached_graphs(made, 2.1, tmp_path)
    (path,) = tmp_path.iterdir()
    stamp = path.stat().st_mtime_ns
    second = cached_graphs(made, 2.1, tmp_path)
    assert path.stat().st_mtime_ns == stamp
    assert torch.equal(first.vector, second.vector)


def test_deformed_copies_have_the_deformed_volume():
    graphs = reduced_graphs(rows(6), 2.1)
    strain = 0.05 * torch.eye(3).expand(6, 3, 3)
    store = pair_store(graphs, 2.0, Deformation(strain, torch.zeros(6)))
    torch.testing.assert_close(store.volume_per_atom, graphs.volume_per_atom * 1.05**3)


def test_linear_law_is_found_again():
    generator = torch.Generator().manual_seed(0)
    features = 3.0 + torch.randn(4000, 3, generator=generator) * torch.tensor([1.0, 20.0, 0.1])
    targets = features @ torch.tensor([[0.5, -1.0], [0.01, 0.0], [2.0, 1.0]]) + torch.tensor([1.0, -2.0])
    targets[:100, 1] = torch.nan
    weight, bias = ridge(features, targets, torch.ones(4000), penalty=1e-6)
    known = torch.isfinite(targets)
    torch.testing.assert_close((features @ weight.T + bias)[known], targets[known], rtol=1e-3, atol=1e-3)


def test_a_network_with_a_trend_keeps_it_and_resumes(data, tmp_path):
    labels, stores = data
    shape, order = replace(SHAPE, trend=True), torch.arange(len(labels.formulas))
    whole = fit(shape, CONFIG, stores, labels, order[:18], order[18:])
    law = whole.network.trend.weight
    assert not law.requires_grad
    assert law.abs().sum() > 0
    state = tmp_path / "state.safetensors"
    paused = fit(shape, replace(CONFIG, seconds=1e-9), stores, labels, order[:18], order[18:], state)
    while not paused.finished:
        paused = fit(shape, replace(CONFIG, seconds=1e-3), stores, labels, order[:18], order[18:], state)
    torch.testing.assert_close(paused.network.trend.weight, law)
    every = [predict_rows(r.network, stores[0], labels.scale, order) for r in (whole, paused)]
    torch.testing.assert_close(*every)
