"""The campaign's own correction: neutral before verdicts, towards them after; shipped weights untouched."""

import math
from collections.abc import Sequence
from dataclasses import astuple, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.types import Candidate, Target, Verification, VerifiedValue
from inverse.prediction.correction import MOST_VERDICTS, CorrectedSurrogate, prior_of
from inverse.prediction.evaluation import Evaluator
from surrogates.crystals.batch import ELEMENT_SYMBOLS, CrystalBatch
from surrogates.errors import UnsupportedElementError
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    SHEAR_MODULUS,
    Property,
)
from surrogates.protocol import Level, Prediction
from surrogates.tiers.spread import moved, widened
from tests.fakes import AnalyticSurrogate


def cell(metal: str = "W", light: str = "C") -> Structure:
    return Structure(Lattice.cubic(2.7), [metal, light], [[0, 0, 0], [0.5, 0.5, 0.5]])


def told(structure: Structure, bulk: float) -> Candidate:
    value = VerifiedValue(bulk, 5.0, bulk - 8, bulk + 8, bulk, "judge", "GPa")
    verdict = Verification("judge", True, values={"bulk_modulus_vrh": value}, is_stable=True)
    return Candidate("c000000", structure, "test", 0, verification=verdict)


def bulk(surrogate: object, structure: Structure) -> tuple[float, float]:
    found = surrogate.predict(CrystalBatch.from_structures([structure]), [BULK_MODULUS])[BULK_MODULUS]  # type: ignore[attr-defined]
    return float(found.mean[0]), float(found.std[0])


def test_before_any_verdict_it_is_the_surrogate() -> None:
    assert bulk(CorrectedSurrogate(AnalyticSurrogate()), cell()) == bulk(AnalyticSurrogate(), cell())


def test_moves_towards_verdicts_and_near_ones_more_than_far_ones() -> None:
    plain, std = bulk(AnalyticSurrogate(), cell())
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    corrected.tell([told(cell(), 0.8 * plain)] * 4)
    mean, wider = bulk(corrected, cell())
    assert 0.8 * plain < mean < 0.95 * plain
    assert wider / mean > 1.3 * std / plain, "verdicts five std away say that the std is too small"
    far = cell("Al", "O")
    ratio_far = bulk(corrected, far)[0] / bulk(AnalyticSurrogate(), far)[0]
    assert mean / plain < ratio_far < 1.0
    assert bulk(AnalyticSurrogate(), cell()) == (plain, std)


def test_failed_and_empty_verdicts_teach_nothing() -> None:
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    failed = replace(told(cell(), 100), verification=Verification("judge", False, "crashed"))
    corrected.tell([failed, told(cell(), float("nan"))])
    assert bulk(corrected, cell())[0] == pytest.approx(bulk(AnalyticSurrogate(), cell())[0])


def test_differentiable() -> None:
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    corrected.tell([told(cell(), 200)])
    crystals = CrystalBatch.from_structures([cell()])
    occupancy = crystals.occupancy.clone().requires_grad_(True)
    corrected.predict(crystals.replace(occupancy=occupancy), [BULK_MODULUS])[
        BULK_MODULUS
    ].mean.sum().backward()
    assert occupancy.grad is not None
    assert torch.isfinite(occupancy.grad).all()


def test_the_fast_tier_beside_is_told_the_same() -> None:
    searching = CorrectedSurrogate(AnalyticSurrogate())
    deciding = CorrectedSurrogate(AnalyticSurrogate(), [searching])
    deciding.tell([told(cell(), 200)])
    untold = CorrectedSurrogate(AnalyticSurrogate())
    assert bulk(searching, cell()) == bulk(deciding, cell()) != bulk(untold, cell())


def own_property(is_positive: bool) -> Property:
    return Property("onset", "T", "degC", 0.0, 1e6, "a user's table", is_positive)


class OwnTable:
    """Says the same of every crystal: a user's table on a scale of its own."""

    name = "own"
    level = Level.STRUCTURE
    elements = frozenset(ELEMENT_SYMBOLS) - {"He"}

    def __init__(self, mean: float, std: float, is_positive: bool = False) -> None:
        self.mean, self.std, self.n_predicted = mean, std, 0
        self.properties = (own_property(is_positive),)

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        self.n_predicted += crystals.n_crystals
        if bool((crystals.composition[:, 1] > 0).any()):
            raise UnsupportedElementError("own was not trained on He")
        mean = torch.full((crystals.n_crystals,), self.mean)
        std = torch.full_like(mean, self.std)
        draws = mean + std * torch.linspace(-1.6, 1.6, 9)[:, None]
        inside = torch.ones_like(mean).bool()
        return {
            p: Prediction(p, mean, std, mean - 1.6 * std, mean + 1.6 * std, draws, inside) for p in properties
        }


def verdict_of(structure: Structure, value: float, std: float) -> Candidate:
    own = VerifiedValue(value, std, value - std, value + std, value, "judge", "degC")
    return Candidate(
        "c000000",
        structure,
        "test",
        0,
        verification=Verification("judge", True, values={"onset": own}, is_stable=True),
    )


@pytest.mark.parametrize("is_positive", [False, True])
@pytest.mark.parametrize(("predicted", "std", "verified"), [(400, 50, 700), (400, 10, 700), (0.4, 0.05, 0.7)])
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_any_property_on_any_scale_is_corrected(
    is_positive: bool, predicted: float, std: float, verified: float, unit: float
) -> None:
    """400 degC predicted, 700 verified: the correction was 1e-5, and none at all at or below 1."""
    corrected = CorrectedSurrogate(OwnTable(predicted * unit, std * unit, is_positive))
    corrected.tell([verdict_of(cell(), verified * unit, 0.1 * std * unit)] * 3)
    found = corrected.predict(CrystalBatch.from_structures([cell()]), corrected.properties)
    mean = float(found[corrected.properties[0]].mean[0]) / unit
    assert mean == pytest.approx(verified, rel=0.1)


def test_one_odd_verdict_among_many_does_not_lead_away() -> None:
    corrected = CorrectedSurrogate(OwnTable(400, 50))
    corrected.tell([verdict_of(cell(), 410, 10)] * 9 + [verdict_of(cell(), 1e9, 10)])
    found = corrected.predict(CrystalBatch.from_structures([cell()]), corrected.properties)
    assert float(found[corrected.properties[0]].mean[0]) == pytest.approx(410, abs=60)


def test_each_verdict_is_predicted_once_and_one_that_is_refused_teaches_nothing() -> None:
    own = OwnTable(400, 50)
    corrected = CorrectedSurrogate(own)
    steps = [[verdict_of(cell(), 700, 10)] * 8 for _ in range(5)]
    for step in steps:
        corrected.tell(step)
    assert own.n_predicted == 40
    corrected.tell([verdict_of(cell("He"), 1.0, 10), verdict_of(cell(), 700, 10)])
    found = corrected.predict(CrystalBatch.from_structures([cell()]), corrected.properties)
    assert float(found[corrected.properties[0]].mean[0]) == pytest.approx(700, rel=0.05)


def test_the_fit_does_not_grow_with_the_campaign() -> None:
    corrected = CorrectedSurrogate(OwnTable(400, 50))
    corrected.tell([verdict_of(cell(), 100, 10)] * 5)
    corrected.tell([verdict_of(cell(), 700, 10)] * (MOST_VERDICTS + 5))
    found = corrected.predict(CrystalBatch.from_structures([cell()]), corrected.properties)
    assert float(found[corrected.properties[0]].mean[0]) == pytest.approx(700, rel=0.01)
    assert len(corrected._evidence[corrected.properties[0]].residuals) == MOST_VERDICTS


@settings(max_examples=60, deadline=None)
@given(
    median=st.floats(1e-6, 1e6),
    width=st.floats(0.01, 2.0),
    factor=st.floats(1.0, 6.0),
    shift=st.floats(-3.0, 3.0),
)
def test_positive_properties_stay_positive_and_in_order_however_wide(
    median: float, width: float, factor: float, shift: float
) -> None:
    mean = torch.tensor([median], dtype=torch.float64)
    # draws of a model that knows no logarithm reach below zero
    draws = mean * (1.0 + width * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None])
    before = Prediction(
        BULK_MODULUS, mean, width * mean, mean * math.exp(-width), mean * math.exp(width), draws, mean > 0
    )
    after = moved(widened(before, factor), torch.tensor([shift], dtype=torch.float64))
    for values in (after.mean, after.std, after.lower, after.upper, after.samples):
        assert bool(torch.isfinite(values).all())
        assert bool((values > 0).all())
    assert bool((after.lower <= after.mean).all())
    assert bool((after.mean <= after.upper).all())
    assert bool((after.samples.diff(dim=0) >= 0).all())
    assert float(after.mean) == pytest.approx(median * math.exp(shift))


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_wrong_verdicts_leave_every_candidate_a_probability(factor: float) -> None:
    """Widened to 4, half of the draws were below zero, NaN after that, and the candidate was dropped."""
    wanted = [BULK_MODULUS, SHEAR_MODULUS, ENERGY_ABOVE_HULL]
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    plain = bulk(AnalyticSurrogate(), cell())[0]
    corrected.tell([told(cell(), factor * plain)] * 40)
    evaluator = Evaluator(corrected, lambda formula: -5.0, [*wanted, FORMATION_ENERGY])
    found = evaluator.predict([cell(), cell("Al", "O")])
    objective = Objective([Target(BULK_MODULUS, minimum=100), Target(SHEAR_MODULUS, minimum=50)])
    assert float(corrected._fits[BULK_MODULUS].widening) > 4.0
    assert bool((found[BULK_MODULUS].samples > 0).all())
    assert bool(torch.isfinite(objective.probability_met(found)).all())


def test_the_prior_of_an_unknown_property_has_the_propertys_scale() -> None:
    """In other units it is the same prior."""
    residuals, spreads = [0.3, -0.1, 0.2, 0.05], [0.2, 0.1, 0.3, 0.2]
    one = prior_of(BAND_GAP, residuals, spreads)
    other = prior_of(BAND_GAP, [100 * r for r in residuals], [100 * s for s in spreads])
    assert astuple(other) == pytest.approx([100 * value for value in astuple(one)])


def test_one_verdict_by_hand() -> None:
    """Of a Gaussian process with one point: k(x, x0) / (k(x0, x0) + noise) of the residual."""

    def energy(surrogate: object, structure: Structure) -> tuple[float, float]:
        batch = CrystalBatch.from_structures([structure])
        found = surrogate.predict(batch, [FORMATION_ENERGY])[FORMATION_ENERGY]  # type: ignore[attr-defined]
        return float(found.mean[0]), float(found.std[0])

    mean, std = energy(AnalyticSurrogate(), cell())
    error, residual = 0.02, 3.0 * math.hypot(0.02, std)
    value = VerifiedValue(mean + residual, error, 0.0, 0.0, 0.0, "judge", "eV/atom")
    verdict = Verification("judge", True, values={FORMATION_ENERGY.name: value}, is_stable=True)
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    corrected.tell([replace(told(cell(), 1.0), verification=verdict)])
    between = Structure(
        Lattice.cubic(4.0), ["W", "W", "C", "N"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    )
    prior = 0.05**2 + 0.06**2 + error**2 + 0.25 * std**2 + 0.03**2
    for structure, nearness in ((cell(), 1.0), (between, math.exp(-1.0)), (cell("Al", "O"), math.exp(-8.0))):
        plain = energy(AnalyticSurrogate(), structure)
        now = energy(corrected, structure)
        shift = (0.05**2 + 0.06**2 * nearness) / prior * min(residual, 0.7)
        assert now[0] - plain[0] == pytest.approx(shift, rel=1e-3, abs=1e-6)
        assert now[1] / plain[1] == pytest.approx(math.sqrt((8 + 9) / (8 + 1)), rel=1e-3)
