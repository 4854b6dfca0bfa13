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
from inverse.prediction.correction import MOST_VERDICTS, PRIORS, CorrectedSurrogate, Prior, prior_of
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
    assert len(corrected._correction._evidence[corrected.properties[0]].residuals) == MOST_VERDICTS


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
    assert float(corrected._correction._fits[BULK_MODULUS].widening) > 4.0
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


def verdict_on(**values: tuple[float, float]) -> Candidate:
    """Return a tungsten carbide with verdicts (mean, std) by property name."""
    made = {name: VerifiedValue(m, s, m - s, m + s, m, "judge", "") for name, (m, s) in values.items()}
    return Candidate("c000000", cell(), "test", 0, verification=Verification("judge", True, values=made))


def means(surrogate: object) -> list[float]:
    crystals = CrystalBatch.from_structures([cell()])
    properties = surrogate.properties  # type: ignore[attr-defined]
    found = surrogate.predict(crystals, properties)  # type: ignore[attr-defined]
    return [float(found[p].mean[0]) for p in properties]


def test_it_presents_itself_as_what_it_corrects() -> None:
    class Wide(AnalyticSurrogate):
        widening = {BULK_MODULUS: 4.0}  # noqa: RUF012
        elements = frozenset({"W", "C"})

    corrected = CorrectedSurrogate(Wide())
    assert corrected.name == "analytic+correction"
    assert (corrected.properties, corrected.level, corrected.elements) == (
        Wide.properties,
        Level.STRUCTURE,
        {"W", "C"},
    )
    assert corrected.widening == {BULK_MODULUS: 4.0}


def test_verdicts_told_in_two_steps_with_a_prediction_between_are_those_told_at_once() -> None:
    at_once, in_steps = CorrectedSurrogate(AnalyticSurrogate()), CorrectedSurrogate(AnalyticSurrogate())
    first, second = verdict_on(bulk_modulus_vrh=(300.0, 5.0)), verdict_on(bulk_modulus_vrh=(250.0, 5.0))
    at_once.tell([first, second])
    in_steps.tell([first])
    between = means(in_steps)
    in_steps.tell([second])
    assert means(in_steps) == means(at_once) != between


def test_a_candidate_without_a_verdict_is_not_even_predicted() -> None:
    own = OwnTable(400, 50)
    corrected = CorrectedSurrogate(own)
    bare = replace(verdict_of(cell(), 700, 10), verification=None)
    failed = replace(bare, verification=Verification("judge", False, "crashed"))
    corrected.tell([bare, failed])
    assert own.n_predicted == 0
    corrected.tell([bare, verdict_of(cell(), 700, 10), failed])
    assert own.n_predicted == 1
    assert means(corrected)[0] > 500


@pytest.mark.parametrize("bulk", [None, (float("nan"), 5.0), (300.0, float("inf"))])
def test_a_property_without_a_number_leaves_the_others_of_its_verdict(
    bulk: tuple[float, float] | None,
) -> None:
    values = {} if bulk is None else {"bulk_modulus_vrh": bulk}
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    plain = means(corrected)
    corrected.tell(
        [verdict_on(**values, shear_modulus_vrh=(150.0, 5.0), formation_energy_per_atom=(0.5, 0.1))]
    )
    now = means(corrected)
    assert now[0] == plain[0]
    assert now[1] < plain[1]
    assert now[2] > plain[2]


def test_a_positive_property_predicted_as_zero_teaches_nothing_and_leaves_the_others() -> None:
    class NoBulk(AnalyticSurrogate):
        def predict(
            self, crystals: CrystalBatch, properties: Sequence[Property]
        ) -> dict[Property, Prediction]:
            found = super().predict(crystals, properties)
            if BULK_MODULUS in found:
                found[BULK_MODULUS] = replace(found[BULK_MODULUS], mean=torch.zeros(crystals.n_crystals))
            return found

    corrected = CorrectedSurrogate(NoBulk())
    plain = means(corrected)
    corrected.tell([verdict_on(bulk_modulus_vrh=(300.0, 5.0), shear_modulus_vrh=(150.0, 5.0))])
    assert means(corrected)[0] == 0.0
    assert means(corrected)[1] < plain[1]


@pytest.mark.parametrize(
    ("verified", "error", "residual", "noise"),
    [
        (190.0, 0.0, math.log(0.5), 0.02),
        (190.0, 1.9, math.log(0.5), 0.02),
        (190.0, 19.0, math.log(0.5), 0.1),
        (760.0, 0.0, math.log(2.0), 0.02),
        (3800.0, 0.0, 0.7, 0.02),
        (38.0, 0.0, -0.7, 0.02),
    ],
)
def test_one_verdict_on_a_modulus_by_hand(
    verified: float, error: float, residual: float, noise: float
) -> None:
    """In logarithms; of its error bar 2 % at least, of the residual 0.7 at most."""
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    plain = means(corrected)[0]
    factor = plain / 380.0  # of the verdicts, as if 380 were predicted
    corrected.tell([verdict_on(bulk_modulus_vrh=(verified * factor, error * factor))])
    own = 0.02**2 + 0.06**2
    share = own / (own + noise**2 + 0.25 * 0.04**2 + 0.05**2)
    assert math.log(means(corrected)[0] / plain) == pytest.approx(residual * share, rel=1e-3)


@pytest.mark.parametrize(("error", "noise"), [(0.0, 0.01), (0.005, 0.01), (0.03, 0.03)])
def test_one_verdict_on_an_energy_has_an_error_of_10_milli_electronvolt_at_least(
    error: float, noise: float
) -> None:
    corrected = CorrectedSurrogate(AnalyticSurrogate())
    plain = means(corrected)[2]
    corrected.tell([verdict_on(formation_energy_per_atom=(plain - 0.3, error))])
    own = 0.05**2 + 0.06**2
    share = own / (own + noise**2 + 0.25 * 0.04**2 + 0.03**2)
    assert means(corrected)[2] - plain == pytest.approx(-0.3 * share, rel=1e-3)


@pytest.mark.parametrize(("verified", "low"), [(0.0, 0.4), (0.2, 0.4), (0.8, 0.8)])
def test_a_verdict_of_zero_on_a_positive_property_says_a_thousandth(verified: float, low: float) -> None:
    """400 predicted with a relative error bar of 1/8; the scale is a third of the one residual."""
    corrected = CorrectedSurrogate(OwnTable(400.0, 50.0, is_positive=True))
    corrected.tell([verdict_of(cell(), verified, 0.04)])
    residual = math.log(low / 400.0)
    scale = 1.4826 * abs(residual) / 3.0
    own = (0.5 * scale) ** 2 + scale**2
    noise = (0.04 / low) ** 2 + 0.25 * 0.125**2 + (0.2 * scale) ** 2
    shift = residual * own / (own + noise)
    assert means(corrected)[0] == pytest.approx(400.0 * math.exp(shift), rel=1e-3)


@pytest.mark.parametrize(
    ("z", "n", "widening"), [(0.0, 3, 1.0), (1.0, 3, 1.0), (3.0, 4, 44 / 12), (50.0, 1, 44 / 9)]
)
def test_error_bars_widen_with_what_verdicts_deviate_and_never_narrow(
    z: float, n: int, widening: float
) -> None:
    """Mean square of the deviations in std, each 6 at most, beside eight verdicts that deviate by 1."""
    own = OwnTable(400.0, 30.0)
    corrected = CorrectedSurrogate(own)
    corrected.tell([verdict_of(cell(), 400.0 + 50.0 * z, 40.0)] * n)
    found = corrected.predict(CrystalBatch.from_structures([cell()]), own.properties)[own.properties[0]]
    assert float(found.std[0]) == pytest.approx(30.0 * math.sqrt(widening))


def test_verdicts_long_told_still_count_for_the_error_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that deviate by 3 std and left the fit, then two that agree."""
    monkeypatch.setattr("inverse.prediction.correction.MOST_VERDICTS", 2)
    corrected = CorrectedSurrogate(OwnTable(400.0, 30.0))
    corrected.tell([verdict_of(cell(), 550.0, 40.0)] * 2 + [verdict_of(cell("Ti"), 400.0, 40.0)] * 2)
    prop = corrected.properties[0]
    found = corrected.predict(CrystalBatch.from_structures([cell()]), [prop])[prop]
    assert float(found.mean[0]) == pytest.approx(400.0)
    assert float(found.std[0]) == pytest.approx(30.0 * math.sqrt((8 + 18) / (8 + 4)))


def test_verdicts_of_each_crystal_count_at_its_own_composition() -> None:
    """Far apart, each is corrected by its own verdict, also where a refused crystal parts them."""
    corrected = CorrectedSurrogate(OwnTable(400.0, 50.0))
    high, low = verdict_of(cell("W"), 800.0, 1.0), verdict_of(cell("Al", "O"), 100.0, 1.0)
    corrected.tell(
        [verdict_of(cell("He"), 1.0, 1.0), *[high] * 5, verdict_of(cell("He"), 1.0, 1.0), *[low] * 5]
    )
    crystals = CrystalBatch.from_structures([cell("W"), cell("Al", "O")])
    found = corrected.predict(crystals, corrected.properties)[corrected.properties[0]].mean
    assert found.tolist() == pytest.approx([800.0, 100.0], rel=0.1)


def test_priors_by_hand() -> None:
    """The median error bar, or the median residual as a std and by n / (n + 2) where that is larger."""
    assert prior_of(BULK_MODULUS, [9.0], [9.0]) == PRIORS[BULK_MODULUS.judged]
    own = prior_of(BAND_GAP, [0.3, -0.1, 0.2], [0.4, 0.1, 0.3])
    assert astuple(own) == pytest.approx(astuple(Prior(0.15, 0.3, 0.06, 1.8)))
    scale = 1.4826 * 3.0 * 3 / 5
    far = prior_of(BAND_GAP, [3.0, -3.0, 5.0], [0.4, 0.1, 0.3])
    assert astuple(far) == pytest.approx((0.5 * scale, scale, 0.2 * scale, 6.0 * scale))
