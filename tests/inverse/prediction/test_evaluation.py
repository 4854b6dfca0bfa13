"""Predictions of a campaign: what the cell as proposed can and cannot say."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pymatgen.core import Composition, Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.types import KnownPhase, PredictedValue, Target
from inverse.prediction.evaluation import (
    LEAST_ENERGY_STD,
    LOWEST_ABOVE_HULL,
    MODULUS_ERROR,
    WIDENED_OUT_OF_DOMAIN,
    Evaluator,
    in_domain,
    is_finite,
    join,
    predicted_values,
)
from inverse.reference import ReferenceHull
from inverse.reference.chemical_potentials import packaged_potentials
from inverse.reference.known_energies import KnownEnergy
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import N_ELEMENTS, CrystalBatch, element_index
from surrogates.errors import ConfigError, DataError, UnsupportedElementError
from surrogates.physics.isotropic import young_modulus
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    SHEAR_MODULUS,
    VOLUME,
    YOUNG_MODULUS,
    Property,
)
from surrogates.protocol import Prediction
from tests.fakes import AnalyticSurrogate, prediction


class WithDensity(AnalyticSurrogate):
    """Answers density and volume of the cell as it is, without an error."""

    properties = (*AnalyticSurrogate.properties, DENSITY, VOLUME)

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        assert DENSITY not in properties
        assert VOLUME not in properties
        return super().predict(crystals, properties)


def test_density_has_the_error_of_a_cell_that_is_not_relaxed() -> None:
    structure = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = Evaluator(WithDensity(), lambda formula: 0.0, [BULK_MODULUS, DENSITY, VOLUME]).predict(
        [structure]
    )
    for prop in (DENSITY, VOLUME):
        relative = found[prop].std / found[prop].mean
        assert torch.all((relative > 0.02) & (relative < 0.05))
    assert abs(float(found[DENSITY].mean[0]) - structure.density) < 1e-3


class Widening(AnalyticSurrogate):
    """Says that its error bars of K grow by 4 per eV/atom above the hull."""

    widening = {BULK_MODULUS: 4.0}  # noqa: RUF012


def test_error_bars_grow_with_the_distance_from_the_hull_and_the_geometry_and_medians_stay() -> None:
    structure = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    wanted = [BULK_MODULUS, FORMATION_ENERGY, ENERGY_ABOVE_HULL]
    plain = Evaluator(AnalyticSurrogate(), lambda formula: 0.0, wanted).predict([structure])
    energy = float(plain[FORMATION_ENERGY].mean[0])
    relative = float(plain[BULK_MODULUS].std[0] / plain[BULK_MODULUS].mean[0])
    for above, far in ((-0.2, 1.0), (0.0, 1.0), (0.25, 2.0), (3.0, 3.0)):
        factor = math.hypot(far, MODULUS_ERROR / relative)
        found = Evaluator(Widening(), lambda formula, hull=energy - above: hull, wanted).predict([structure])
        own, before = found[BULK_MODULUS], plain[BULK_MODULUS]
        assert float(own.mean[0]) == pytest.approx(float(before.mean[0]))
        assert float(own.std[0] / before.std[0]) == pytest.approx(factor, rel=1e-4)
        ratios = (own.upper / own.mean).log() / (before.upper / before.mean).log()
        assert float(ratios[0]) == pytest.approx(factor, rel=1e-4)
        torch.testing.assert_close(
            (own.samples / own.mean).log(),
            factor * (before.samples / before.mean).log(),
            rtol=1e-3,
            atol=1e-5,
        )
        assert float(found[FORMATION_ENERGY].std[0]) == pytest.approx(float(plain[FORMATION_ENERGY].std[0]))


@pytest.mark.parametrize(("above", "inside"), [(-0.2, True), (0.2, True), (0.3, False), (math.nan, True)])
def test_moduli_of_crystals_far_above_the_hull_are_out_of_domain(above: float, inside: bool) -> None:
    structure = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    wanted = [BULK_MODULUS, FORMATION_ENERGY, ENERGY_ABOVE_HULL]
    plain = Evaluator(Widening(), lambda formula: 0.0, wanted).predict([structure])
    energy = float(plain[FORMATION_ENERGY].mean[0])
    found = Evaluator(Widening(), lambda formula: energy - above, wanted).predict([structure])
    assert bool(found[BULK_MODULUS].in_domain[0]) is inside
    assert bool(found[FORMATION_ENERGY].in_domain[0]), "the distance itself may be trusted"


def test_what_follows_from_the_moduli_carries_their_error_as_proposed() -> None:
    structure = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found = Evaluator(load_surrogate("accurate"), lambda formula: -9.0, [YOUNG_MODULUS]).predict([structure])
    bulk, shear, young = (found[p] for p in (BULK_MODULUS, SHEAR_MODULUS, YOUNG_MODULUS))
    torch.testing.assert_close(young.mean, young_modulus(bulk.mean, shear.mean))
    torch.testing.assert_close(young.samples, young_modulus(bulk.samples, shear.samples))


@pytest.mark.parametrize("element", ["Ti", "Hf", "O"])
def test_the_energy_above_hull_has_the_slopes_of_the_hull(element: str) -> None:
    """From tungsten to another element in rock-salt WC that holds a little of it, by finite differences."""
    cell = Structure(Lattice.cubic(3.1), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    evaluator = Evaluator(
        AnalyticSurrogate(),
        ReferenceHull.packaged().below,
        [ENERGY_ABOVE_HULL],
        potentials=packaged_potentials,
    )
    crystals = CrystalBatch.from_structures([cell], dtype=torch.float64)
    occupancy = crystals.occupancy.clone()
    source, target = element_index("W"), element_index(element)
    occupancy[0, source], occupancy[0, target] = 0.7, 0.3

    def above(values: torch.Tensor) -> torch.Tensor:
        mixed = crystals.replace(occupancy=values)
        hull = evaluator.hull_of_mixtures(mixed.composition)
        return evaluator.predict_crystals(mixed, hull)[ENERGY_ABOVE_HULL].mean[0]

    occupancy.requires_grad_(True)
    (slopes,) = torch.autograd.grad(above(occupancy), occupancy)
    step = torch.zeros_like(occupancy)
    step[0, source], step[0, target] = -1e-3, 1e-3
    with torch.no_grad():
        expected = float((above(occupancy + step) - above(occupancy - step)) / 2e-3)
    assert float(slopes[0, target] - slopes[0, source]) == pytest.approx(expected, abs=2e-3)


class Claiming(AnalyticSurrogate):
    """Says one energy of every crystal, inside or outside its domain."""

    def __init__(self, energy: float, inside: bool = True) -> None:
        self.energy, self.inside = energy, inside

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        found = super().predict(crystals, properties)
        if FORMATION_ENERGY in found:
            energy = self.energy + 0.0 * crystals.volume
            found[FORMATION_ENERGY] = prediction(FORMATION_ENERGY, energy)
        inside = torch.full((crystals.n_crystals,), self.inside)
        return {p: replace(v, in_domain=inside) for p, v in found.items()}


TITANIUM_CARBIDE = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
STABLE = Objective([Target(ENERGY_ABOVE_HULL, maximum=0.1)])


@pytest.mark.parametrize("energy", [-1.1, -3.0])
def test_nothing_is_predicted_far_below_the_hull_for_sure(energy: float) -> None:
    """RbSiXe2F was predicted 1.1 eV/atom below the hull of known phases, hence P = 1."""
    found = Evaluator(Claiming(energy), lambda formula: 0.0, [ENERGY_ABOVE_HULL]).predict([TITANIUM_CARBIDE])
    above = found[ENERGY_ABOVE_HULL]
    assert float(above.mean) == pytest.approx(LOWEST_ABOVE_HULL)
    assert float(above.std) >= abs(energy) - 0.25
    assert float(above.lower) < LOWEST_ABOVE_HULL < float(above.upper)
    assert not bool(above.in_domain)
    assert float(STABLE.probability_met(found)) < 0.7
    assert float(found[FORMATION_ENERGY].mean) == pytest.approx(energy)


@pytest.mark.parametrize("energy", [-0.24, -0.09, 0.0, 0.3])
def test_credible_distances_from_the_hull_stay(energy: float) -> None:
    found = Evaluator(Claiming(energy), lambda formula: 0.0, [ENERGY_ABOVE_HULL]).predict([TITANIUM_CARBIDE])
    for name in ("mean", "std", "lower", "upper", "samples", "in_domain"):
        torch.testing.assert_close(
            getattr(found[ENERGY_ABOVE_HULL], name), getattr(found[FORMATION_ENERGY], name)
        )


def test_descent_does_not_see_the_floor() -> None:
    evaluator = Evaluator(AnalyticSurrogate(), lambda formula: 5.0, [ENERGY_ABOVE_HULL])
    crystals = CrystalBatch.from_structures([TITANIUM_CARBIDE.replace_species({"Ti": "W"}, in_place=False)])
    lattice = crystals.lattice.clone().requires_grad_(True)
    found = evaluator.predict_crystals(crystals.replace(lattice=lattice), evaluator.hull_of_formulas(["WC"]))
    (slope,) = torch.autograd.grad(found[ENERGY_ABOVE_HULL].mean.sum(), lattice, retain_graph=True)
    (own,) = torch.autograd.grad(found[FORMATION_ENERGY].mean.sum(), lattice)
    assert float(own.abs().max()) > 0
    torch.testing.assert_close(slope, own)


def test_outside_the_domain_nothing_is_sure() -> None:
    wanted = [BULK_MODULUS, ENERGY_ABOVE_HULL]
    inside, outside = (
        Evaluator(Claiming(0.0, is_in), lambda formula: 0.0, wanted).predict([TITANIUM_CARBIDE])
        for is_in in (True, False)
    )
    assert float(outside[FORMATION_ENERGY].std) == pytest.approx(LEAST_ENERGY_STD)
    assert float(outside[BULK_MODULUS].std / inside[BULK_MODULUS].std) > 1.05
    assert float(outside[BULK_MODULUS].mean) == pytest.approx(float(inside[BULK_MODULUS].mean))
    assert float(STABLE.probability_met(inside)) > 0.9
    assert float(STABLE.probability_met(outside)) < 0.75


def test_an_evaluator_beside_another_shares_what_was_looked_up_and_counted() -> None:
    """The hull is asked once for a formula, whoever asks; known energies and potentials are the other's."""
    asked: list[str] = []

    def hull(formula: str) -> float:
        asked.append(formula)
        return -0.1

    class Known:
        def of(self, structures: Sequence[Structure]) -> list[None]:
            self.n = len(structures)
            return [None] * len(structures)

    known = Known()
    crystal = Structure(Lattice.cubic(2.714), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    first = Evaluator(AnalyticSurrogate(), hull, (BULK_MODULUS,), known=known)  # type: ignore[arg-type]
    beside = Evaluator(AnalyticSurrogate(), hull, (BULK_MODULUS,), beside=first)
    found = beside.predict([crystal] * 3)
    assert known.n == 3
    assert asked == ["WC"]
    first.predict([crystal])
    assert asked == ["WC"]
    assert first.n_evaluated == beside.n_evaluated == 4
    assert found[ENERGY_ABOVE_HULL].mean.tolist() == pytest.approx([-0.1] * 3, abs=1e-3)
    assert beside.predict([]) == {}
    chunked = Evaluator(AnalyticSurrogate(), hull, (BULK_MODULUS,), chunk=2).predict([crystal] * 5)
    assert chunked[BULK_MODULUS].mean.tolist() == pytest.approx([380.0] * 5, rel=1e-3)


def test_the_hull_of_another_is_taken_where_there_is_none_of_ones_own() -> None:
    """Its slopes below soft mixtures, and its energies of known phases; never instead of one's own."""

    def hull_with(slope: float, energy: float) -> dict[str, Any]:
        class Known:
            def of(self, structures: Sequence[Structure]) -> list[KnownEnergy]:
                return [KnownEnergy(energy, 0.01, "mp-1")] * len(structures)

        def potentials(mixtures: np.ndarray) -> np.ndarray:
            return np.full((len(mixtures), N_ELEMENTS), slope)

        return {"potentials": potentials, "known": Known()}

    def seen(evaluator: Evaluator) -> tuple[float, float]:
        energy = evaluator.predict([crystal])[FORMATION_ENERGY].mean
        return float(evaluator.hull_of_mixtures(mixture)[0, 0]), float(energy[0])

    crystal = Structure(Lattice.cubic(2.714), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    mixture = CrystalBatch.from_structures([crystal]).composition
    one, other = hull_with(-0.25, -0.7), hull_with(-0.5, -0.3)
    wanted = (FORMATION_ENERGY,)
    first = Evaluator(AnalyticSurrogate(), lambda formula: -0.125, wanted, **one)
    assert seen(first) == pytest.approx((-0.25, -0.7))
    taken = Evaluator(AnalyticSurrogate(), lambda formula: -0.125, wanted, beside=first)
    assert seen(taken) == pytest.approx((-0.25, -0.7))
    own = Evaluator(AnalyticSurrogate(), lambda formula: -0.125, wanted, beside=first, **other)
    assert seen(own) == pytest.approx((-0.5, -0.3))
    alone = Evaluator(AnalyticSurrogate(), lambda formula: -0.125, wanted)
    assert seen(alone) == pytest.approx((-0.125, -0.2), abs=1e-3), "flat, and as predicted"


def test_a_wish_that_nobody_predicts_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"targets\.band_gap: no surrogate predicts it"):
        Evaluator(AnalyticSurrogate(), lambda formula: 0.0, (BAND_GAP,))


def test_a_formula_needs_no_more_than_stands_in_it() -> None:
    """K and G alone give Young's modulus; K alone does not, and neither gives a distance to the hull."""

    class Moduli(AnalyticSurrogate):
        properties = (BULK_MODULUS, SHEAR_MODULUS)

    class Bulk(AnalyticSurrogate):
        properties = (BULK_MODULUS,)

    crystal = Structure(Lattice.cubic(2.714), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    evaluator = Evaluator(Moduli(), lambda formula: 0.0, (YOUNG_MODULUS,))
    assert evaluator.properties == (YOUNG_MODULUS, BULK_MODULUS, SHEAR_MODULUS)
    found = evaluator.predict([crystal])
    both = (float(found[p].mean[0]) for p in (BULK_MODULUS, SHEAR_MODULUS))
    bulk, shear = (torch.tensor(value) for value in both)
    assert float(found[YOUNG_MODULUS].mean[0]) == pytest.approx(float(young_modulus(bulk, shear)), rel=0.02)
    for surrogate, wanted in ((Bulk(), YOUNG_MODULUS), (Moduli(), ENERGY_ABOVE_HULL)):
        with pytest.raises(ConfigError, match=f"{wanted.name}: no surrogate predicts it"):
            Evaluator(surrogate, lambda formula: 0.0, (wanted,))


def test_what_is_refused_is_unknown_and_spoils_no_other() -> None:
    """A crystal that the surrogate refuses, and a formula that the hull has no answer for."""

    class Choosy(AnalyticSurrogate):
        def predict(
            self, crystals: CrystalBatch, properties: Sequence[Property]
        ) -> dict[Property, Prediction]:
            if bool(crystals.composition[:, element_index("Ti")].any()):
                raise UnsupportedElementError("Ti is not known")
            return super().predict(crystals, properties)

    asked: list[str] = []

    def hull(formula: str) -> float:
        asked.append(formula)
        if formula == "NbC":
            raise DataError("no reference for Nb")
        return 0.0

    metals = ("W", "Ti", "Nb", "W", "Nb")
    crystals = [Structure(Lattice.cubic(2.714), [m, "C"], [[0, 0, 0], [0.5] * 3]) for m in metals]
    evaluator = Evaluator(Choosy(), hull, (BULK_MODULUS,))
    found = evaluator.predict(crystals)
    bulk, above = found[BULK_MODULUS], found[ENERGY_ABOVE_HULL]
    assert torch.isfinite(bulk.mean).tolist() == [True, False, True, True, True]
    assert torch.isfinite(above.mean).tolist() == [True, False, False, True, False]
    assert not bool(bulk.in_domain[1])
    assert bulk.samples.shape == (5, 5)
    assert math.isnan(evaluator.hull_energy("CNb"))
    assert sorted(asked) == ["NbC", "TiC", "WC"], "what has no answer is not asked for again"


def carbide(metal: str, edge: float = 2.714) -> Structure:
    return Structure(Lattice.cubic(edge), [metal, "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])


class NoTitanium(AnalyticSurrogate):
    """Refuses every batch that holds titanium, and notes the sizes of the others."""

    elements = frozenset({"W", "Nb", "C"})

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        if bool(crystals.composition[:, element_index("Ti")].any()):
            raise UnsupportedElementError("Ti is not known")
        self.sizes.append(crystals.n_crystals)
        return super().predict(crystals, properties)


@pytest.mark.parametrize(("metals", "n_draws"), [(["Ti", "W"], 5), (["Ti", "Ti", "W", "Ti"], 5), (["Ti"], 1)])
def test_the_first_crystal_ever_asked_about_may_be_refused(metals: list[str], n_draws: int) -> None:
    """Its draws were one where the next crystal's were five, and the two could not be joined."""
    evaluator = Evaluator(NoTitanium(), lambda formula: 0.0, (BULK_MODULUS, DENSITY))
    found = evaluator.evaluate([carbide(metal) for metal in metals])
    for prop, prediction_of in found.predictions.items():
        assert prediction_of.property == prop
        assert prediction_of.samples.shape == (n_draws, len(metals))
        assert torch.isfinite(prediction_of.mean).tolist() == [metal == "W" for metal in metals]
        assert prediction_of.in_domain.tolist() == [metal == "W" for metal in metals]
        for name in ("std", "lower", "upper"):
            assert torch.isfinite(getattr(prediction_of, name)).tolist() == [m == "W" for m in metals]
    assert found.phases == (None,) * len(metals)


def test_crystals_are_asked_about_in_chunks_and_counted() -> None:
    surrogate = NoTitanium()
    evaluator = Evaluator(surrogate, lambda formula: 0.0, (BULK_MODULUS,), chunk=2)
    edges = (2.6, 2.7, 2.8, 2.9, 3.0)
    found = evaluator.predict([carbide("W", edge) for edge in edges])[BULK_MODULUS].mean
    assert surrogate.sizes == [2, 2, 1]
    assert evaluator.n_evaluated == 5
    each = [evaluator.predict([carbide("W", edge)])[BULK_MODULUS].mean for edge in edges]
    torch.testing.assert_close(found, torch.cat(each))
    assert evaluator.n_evaluated == 10


def test_elements_are_supported_that_surrogate_and_hull_both_know() -> None:
    def hull(formula: str) -> float:
        if formula == "Nb":
            raise DataError("no reference for Nb")
        return 0.0

    assert Evaluator(NoTitanium(), hull, ()).supported(["W", "Ti", "Nb", "C"]) == {"W", "C"}


def test_the_flat_hull_below_formulas_and_mixtures() -> None:
    asked: list[str] = []

    def hull(formula: str) -> float:
        asked.append(formula)
        elements = {element.symbol for element in Composition(formula).elements}
        return -1.0 if len(elements) > 2 else -0.25 if "W" in elements else -0.5

    evaluator = Evaluator(AnalyticSurrogate(), hull, ())
    planes = evaluator.hull_of_formulas(["W2C2", "TiC", "WC"])
    assert planes.shape == (3, N_ELEMENTS)
    assert planes[:, 0].tolist() == planes[:, -1].tolist() == [-0.25, -0.5, -0.25]
    mixtures = torch.zeros(3, N_ELEMENTS, dtype=torch.float64)
    mixtures[:2, element_index("W")], mixtures[2, element_index("Ti")] = 0.5, 0.5
    mixtures[:, element_index("C")] = 0.5
    mixtures[1, element_index("Ti")] = 1e-6
    assert evaluator.hull_of_mixtures(mixtures)[:, 3].tolist() == [-0.25, -0.25, -0.5]
    assert asked == ["WC", "TiC", "W0.5C0.5", "Ti0.5C0.5"], "each formula once, without traces"
    mixtures[1, element_index("Ti")] = 1e-5
    assert evaluator.hull_of_mixtures(mixtures)[1, 3].item() == -1.0


def test_slopes_of_the_hull_are_asked_in_double_precision_and_answered_in_single() -> None:
    def potentials(mixtures: np.ndarray) -> np.ndarray:
        assert mixtures.dtype == np.float64
        return np.cumsum(np.ones_like(mixtures), axis=1)

    evaluator = Evaluator(AnalyticSurrogate(), lambda formula: 0.0, (), potentials=potentials)
    found = evaluator.hull_of_mixtures(torch.full((2, N_ELEMENTS), 1.0 / N_ELEMENTS, requires_grad=True))
    assert (found.dtype, found.shape) == (torch.float32, (2, N_ELEMENTS))
    assert found[1, :3].tolist() == [1.0, 2.0, 3.0]


def two(prop: Property, offset: float = 0.0, inside: tuple[bool, bool] = (True, True)) -> Prediction:
    each = [torch.tensor([k, k + 1.0]) + offset for k in (10.0, 20.0, 30.0, 40.0)]
    samples = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) + offset
    return Prediction(prop, *each, samples, torch.tensor(inside))


def test_joined_predictions_follow_each_other() -> None:
    found = join([two(BULK_MODULUS), two(BULK_MODULUS, 0.5, (False, True))])
    assert found.property == BULK_MODULUS
    for name, start in (("mean", 10.0), ("std", 20.0), ("lower", 30.0), ("upper", 40.0)):
        assert getattr(found, name).tolist() == [start, start + 1.0, start + 0.5, start + 1.5]
    assert found.in_domain.tolist() == [True, True, False, True]
    assert found.samples.tolist() == [[1.0, 2.0, 1.5, 2.5], [3.0, 4.0, 3.5, 4.5], [5.0, 6.0, 5.5, 6.5]]


def test_what_is_stored_of_a_crystal_is_its_own_row() -> None:
    predictions = {BULK_MODULUS: two(BULK_MODULUS, 0.0, (True, False)), DENSITY: two(DENSITY, 0.5)}
    assert predicted_values(predictions, 1) == {
        "bulk_modulus_vrh": PredictedValue(11.0, 21.0, 31.0, 41.0, False),
        "density": PredictedValue(11.5, 21.5, 31.5, 41.5, True),
    }


def test_a_crystal_is_finite_and_in_domain_where_all_its_predictions_are() -> None:
    nan = float("nan")
    one, other = two(BULK_MODULUS, 0.0, (True, False)), two(DENSITY)
    predictions = {BULK_MODULUS: one, DENSITY: other}
    assert in_domain(predictions).tolist() == [True, False]
    assert is_finite(predictions).tolist() == [True, True]
    for name in ("mean", "std"):
        broken = replace(other, **{name: torch.tensor([nan, 1.0])})
        assert is_finite({BULK_MODULUS: one, DENSITY: broken}).tolist() == [False, True]


def test_the_energies_and_names_of_known_phases_are_those_of_their_crystals() -> None:
    class Known:
        def of(self, structures: Sequence[Structure]) -> list[KnownEnergy | None]:
            is_known = [s.composition.reduced_formula == "NbC" for s in structures]
            return [KnownEnergy(-0.75, 0.01, KnownPhase("mp-7")) if one else None for one in is_known]

    class Moduli(AnalyticSurrogate):
        properties = (BULK_MODULUS, SHEAR_MODULUS)

    crystals = [carbide("W"), carbide("Nb"), carbide("W")]
    known: Any = Known()
    found = Evaluator(AnalyticSurrogate(), lambda formula: -1.0, (), known=known).evaluate(crystals)
    assert found.phases == (None, KnownPhase("mp-7"), None)
    assert found.predictions[FORMATION_ENERGY].mean.tolist() == pytest.approx([-0.2, -0.75, -0.2], abs=1e-3)
    assert found.predictions[ENERGY_ABOVE_HULL].mean.tolist() == pytest.approx([0.8, 0.25, 0.8], abs=1e-3)
    plain = Evaluator(Moduli(), lambda formula: 0.0, (), known=known).predict(crystals)
    assert set(plain) == {BULK_MODULUS, SHEAR_MODULUS}, "who says no energy takes none"


def test_what_follows_from_others_is_asked_only_of_who_says_nothing_else() -> None:
    """Young's modulus of the surrogate stands where K and G are none of its properties."""

    class Young(AnalyticSurrogate):
        def __init__(self, *properties: Property) -> None:
            self.properties = properties

        def predict(
            self, crystals: CrystalBatch, properties: Sequence[Property]
        ) -> dict[Property, Prediction]:
            self.asked = tuple(properties)
            return {p: prediction(p, torch.full((crystals.n_crystals,), 90.0)) for p in properties}

    alone = Young(YOUNG_MODULUS, DENSITY)
    found = Evaluator(alone, lambda formula: 0.0, ()).predict([carbide("W")])
    assert alone.asked == (YOUNG_MODULUS,)
    assert found[YOUNG_MODULUS].mean.tolist() == [90.0]
    both = Young(YOUNG_MODULUS, BULK_MODULUS, SHEAR_MODULUS)
    evaluator = Evaluator(both, lambda formula: 0.0, (DENSITY,))
    assert evaluator.properties == (DENSITY, YOUNG_MODULUS, BULK_MODULUS, SHEAR_MODULUS)
    found = evaluator.predict([carbide("W")])
    assert both.asked == (BULK_MODULUS, SHEAR_MODULUS)
    assert found[YOUNG_MODULUS].mean.tolist() == pytest.approx([9 * 90 * 90 / (3 * 90 + 90)])


@pytest.mark.parametrize(
    ("std", "energy_std"), [(0.04, LEAST_ENERGY_STD), (0.15, WIDENED_OUT_OF_DOMAIN * 0.15)]
)
def test_error_bars_are_doubled_outside_the_domain_and_only_there(std: float, energy_std: float) -> None:
    """Those of energies to 0.2 eV/atom at least."""

    class HalfInside(AnalyticSurrogate):
        def predict(
            self, crystals: CrystalBatch, properties: Sequence[Property]
        ) -> dict[Property, Prediction]:
            inside = torch.arange(crystals.n_crystals) % 2 == 0
            means = torch.full((crystals.n_crystals,), 0.5)
            found = {p: replace(prediction(p, means), in_domain=inside) for p in properties}
            energy = found[FORMATION_ENERGY]
            return found | {FORMATION_ENERGY: replace(energy, std=torch.full_like(energy.std, std))}

    found = Evaluator(HalfInside(), lambda formula: 0.5, ()).predict([carbide("W"), carbide("W")])
    assert found[FORMATION_ENERGY].std.tolist() == pytest.approx([std, energy_std])
    assert found[ENERGY_ABOVE_HULL].std.tolist() == pytest.approx([std, energy_std])
    assert found[BULK_MODULUS].std.tolist() == pytest.approx([0.02, 0.02 * WIDENED_OUT_OF_DOMAIN])
    assert found[BULK_MODULUS].mean.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("energy", "above", "excess"), [(-0.25, -0.25, 0.0), (-1.25, -0.25, 1.0), (0.5, 0.5, 0.0)]
)
def test_a_claim_below_the_floor_is_unsure_by_what_it_was_moved(
    energy: float, above: float, excess: float
) -> None:
    """At the floor itself nothing is moved."""
    found = Evaluator(Claiming(energy), lambda formula: 0.0, ()).predict([TITANIUM_CARBIDE])
    hull = found[ENERGY_ABOVE_HULL]
    assert float(hull.mean) == pytest.approx(above)
    assert float(hull.std) == pytest.approx(math.hypot(0.04, excess))
    assert float(hull.upper - hull.lower) == pytest.approx(2 * 1.6448536 * math.hypot(0.04, excess), rel=1e-4)
    assert bool(hull.in_domain) is (excess == 0.0)


@pytest.mark.parametrize(("above", "is_in"), [(0.25, True), (0.2501, False)])
def test_moduli_are_in_domain_up_to_a_quarter_of_an_electronvolt_above_the_hull(
    above: float, is_in: bool
) -> None:
    class Far(Claiming):
        widening = {BULK_MODULUS: 0.0}  # noqa: RUF012

    found = Evaluator(Far(above - 0.5), lambda formula: -0.5, ()).predict([TITANIUM_CARBIDE])
    assert bool(found[BULK_MODULUS].in_domain) is is_in
    assert bool(found[SHEAR_MODULUS].in_domain), "whose error bar does not depend on the hull"
    outside = Evaluator(Far(above - 0.5, False), lambda formula: -0.5, ()).predict([TITANIUM_CARBIDE])
    assert not bool(outside[BULK_MODULUS].in_domain)
