"""The choice of what to verify, replayed on planted predictions."""

from itertools import combinations

import numpy as np
import pytest
import torch
from pymatgen.core import Composition

from inverse.benchmarks.replay import HITS, MOST, RULES, Rows, at_random, replayed, run_replay, verifications
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Property
from surrogates.protocol import Z90, CompositionBatch, Prediction

LEAST = {BULK_MODULUS: 300.0, SHEAR_MODULUS: 150.0}
N = 300


def said(prop: Property, mean: np.ndarray, relative: float | np.ndarray) -> Prediction:
    means = torch.tensor(mean, dtype=torch.float32)
    std = torch.as_tensor(relative, dtype=torch.float32) * means
    samples = means + std * torch.linspace(-2, 2, 33)[:, None]
    inside = torch.ones(len(means), dtype=torch.bool)
    return Prediction(prop, means, std, means - Z90 * std, means + Z90 * std, samples, inside)


def rows_with(predicted: np.ndarray, truth: np.ndarray, relative: float | np.ndarray = 0.05) -> Rows:
    """Return crystals of one chemical system each, G half of K."""
    pairs = list(combinations(ELEMENT_SYMBOLS[2:40], 2))[: len(truth)]
    compositions = [Composition(dict.fromkeys(pair, 1)) for pair in pairs]
    return Rows(
        np.array([c.chemical_system for c in compositions]),
        CompositionBatch.from_compositions(compositions).fractions.double(),
        {BULK_MODULUS: truth, SHEAR_MODULUS: truth / 2},
        {
            BULK_MODULUS: said(BULK_MODULUS, predicted, relative),
            SHEAR_MODULUS: said(SHEAR_MODULUS, predicted / 2, relative),
        },
        LEAST,
    )


def stiff(rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.permutation(N) < 30, 350.0, 100.0) + rng.uniform(0, 10, N)


@pytest.mark.parametrize("name", list(RULES))
def test_who_knows_the_truth_needs_no_more_verifications_than_hits(name: str) -> None:
    truth = stiff(np.random.default_rng(1))
    assert verifications(rows_with(truth, truth), RULES[name]) == list(HITS)


@pytest.mark.parametrize("name", ["mean", "worth, diverse, feedback"])
def test_what_is_predicted_wrongly_costs_more(name: str) -> None:
    """Twelve soft crystals are said to be stiffest."""
    rng = np.random.default_rng(2)
    truth = stiff(rng)
    predicted = truth.copy()
    predicted[np.flatnonzero(truth < 200)[:12]] = 420.0
    needed = verifications(rows_with(predicted, truth), RULES[name])
    assert all(n >= hits for n, hits in zip(needed, HITS, strict=True))
    assert needed[0] > 5


def test_too_few_hits_count_as_the_most() -> None:
    truth = np.where(np.arange(N) < 7, 350.0, 100.0)
    needed = verifications(rows_with(truth, truth), RULES["mean"])
    assert needed == [5, MOST, MOST]
    assert at_random(truth >= 300, 10) == MOST
    assert at_random(truth >= 300, 1) == pytest.approx(301 / 8)


def test_verdicts_teach_what_all_predictions_share() -> None:
    """All is overrated by a third: those that just miss look certain until verdicts come in."""
    rng = np.random.default_rng(3)
    truth = rng.permutation(np.r_[np.full(30, 350.0), np.full(60, 255.0), np.full(N - 90, 100.0)])
    truth += rng.uniform(0, 10, N)
    wide = np.where(truth > 300, 0.25, 0.02)  # the hits have the widest error bars
    rows = rows_with(1.33 * truth, truth, wide)
    record = replayed([rows], 2, 0)
    assert list(record["rules"]) == list(RULES)
    assert record["hits"] == [30]
    taught, untaught = (record["rules"][name][10] for name in ("worth, feedback", "worth"))
    assert taught["verifications"]["mean"] < 0.8 * untaught["verifications"]["mean"]
    assert untaught["more_than_usual"]["mean"] > 0.0
    assert replayed([rows], 2, 0) == record


def test_without_the_shared_rows_it_says_so_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise DataError("no shared structures at /nowhere")

    monkeypatch.setattr("inverse.benchmarks.replay.rows_of_surrogates", absent)
    assert run_replay(1) == {"skipped": "no shared structures at /nowhere", "passed": True}
