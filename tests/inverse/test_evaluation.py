"""Predictions of a campaign: what the cell as proposed can and cannot say."""

import math
from collections.abc import Sequence

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.evaluation import MODULUS_ERROR, Evaluator
from inverse.reference import ReferenceHull
from inverse.reference.chemical_potentials import packaged_potentials
from surrogates.checkpoint import load_surrogate
from surrogates.crystal import CrystalBatch, element_index
from surrogates.elasticity import young_modulus
from surrogates.properties import (
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
from tests.fakes import AnalyticSurrogate


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
