"""What follows from K, G and the structure: joint errors, physical ranges, one formula for each property."""

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.derived import geometric_value, with_derived
from inverse.candidates.types import VerifiedValue
from inverse.prediction.evaluation import Evaluator
from surrogates.crystals.batch import CrystalBatch
from surrogates.derived import GEOMETRIC, from_moduli, geometric
from surrogates.errors import UnknownNameError
from surrogates.physics.elasticity import chen_hardness, teter_hardness
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    DENSITY,
    HARDNESS,
    PROPERTIES,
    PUGH_RATIO,
    SHEAR_MODULUS,
    VOLUME,
    Property,
)
from surrogates.protocol import Z90, Prediction
from tests.fakes import AnalyticSurrogate

CELL = Structure(Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COST = Property("cost", "c", "EUR/kg", 0.0, 1e6, "prices", True)


def modulus(prop: Property, mean: torch.Tensor, relative: float, z: torch.Tensor) -> Prediction:
    std = relative * mean
    inside = torch.ones_like(mean).bool()
    return Prediction(prop, mean, std, mean - Z90 * std, mean + Z90 * std, mean + std * z[:, None], inside)


def test_errors_that_moduli_share_cancel_in_their_ratio() -> None:
    z = torch.linspace(-1.6, 1.6, 41)
    bulk, shear = (
        modulus(p, torch.tensor([m]), 0.1, z) for p, m in ((BULK_MODULUS, 200.0), (SHEAR_MODULUS, 100.0))
    )
    apart = from_moduli(PUGH_RATIO, bulk, modulus(SHEAR_MODULUS, shear.mean, 0.1, z.flip(0)))
    together = from_moduli(PUGH_RATIO, bulk, shear)
    assert float(together.std) < 1e-5
    assert float(apart.std) > 0.08


@pytest.mark.parametrize(("bulk", "shear"), [(40.0, 9.0), (40.0, 1.0), (15.0, 3.0), (300.0, 250.0)])
def test_hardness_stays_in_its_range_and_keeps_a_slope(bulk: float, shear: float) -> None:
    """Chen's formula says -1.4 GPa of lead."""
    z = torch.linspace(-1.6, 1.6, 41)
    mean = torch.tensor([shear], requires_grad=True)
    found = from_moduli(
        HARDNESS,
        modulus(BULK_MODULUS, torch.tensor([bulk]), 0.3, z),
        modulus(SHEAR_MODULUS, mean, 0.3, z.flip(0)),
    )
    for values in (found.mean, found.lower, found.upper, found.samples):
        assert bool((values >= 0).all())
    assert bool((found.lower <= found.mean).all() and (found.mean <= found.upper).all())
    assert float(found.std.detach()) > 0
    assert float(found.mean.detach()) == pytest.approx(max(0.0, float(chen_hardness(bulk, shear))), rel=1e-5)  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(found.mean.sum(), mean)
    assert float(slope) > 0, "descent must find its way back"


def test_verified_hardness_of_a_soft_crystal_is_not_negative() -> None:
    values = {
        p.name: VerifiedValue(m, 0.2 * m, 0.6 * m, 1.4 * m, m, "judge", "GPa")
        for p, m in ((BULK_MODULUS, 40.0), (SHEAR_MODULUS, 8.0))
    }
    found = with_derived(values, CELL)[HARDNESS.name]
    assert found.mean == found.lower == 0.0
    assert 0.0 <= found.upper < 10.0
    assert found.std > 0.0


def test_a_property_of_the_structure_without_a_formula_is_refused_by_name() -> None:
    """Elemental cost was answered with the volume per atom, as predicted and as verified."""
    with pytest.raises(UnknownNameError, match="formula of the structure 'cost'"):
        geometric_value(CELL, COST)
    with pytest.raises(UnknownNameError, match="formula of the structure 'band_gap'"):
        geometric(BAND_GAP, CrystalBatch.from_structures([CELL]), 4)


def test_a_property_of_the_structure_with_a_formula_is_its_own_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(PROPERTIES, COST.name, COST)
    monkeypatch.setitem(GEOMETRIC, COST, lambda crystals: 7.0 * crystals.composition[:, 5])  # type: ignore[misc]
    assert geometric_value(CELL, COST) == pytest.approx(3.5)
    assert with_derived({}, CELL)["cost"].mean == pytest.approx(3.5)
    found = Evaluator(AnalyticSurrogate(), lambda formula: 0.0, [COST, DENSITY, VOLUME]).predict([CELL])
    assert float(found[COST].mean) == pytest.approx(3.5)
    assert float(found[VOLUME].mean) == pytest.approx(CELL.volume / 2)
    assert float(found[DENSITY].mean) == pytest.approx(CELL.density, rel=1e-4)


def test_every_geometric_value_is_that_of_pymatgen() -> None:
    assert geometric_value(CELL, DENSITY) == pytest.approx(float(CELL.density), rel=1e-4)
    assert geometric_value(CELL, VOLUME) == pytest.approx(CELL.volume / 2)


def test_teters_rule_does_not_ask_for_the_bulk_modulus() -> None:
    unknown = torch.full((2,), float("nan"))
    assert teter_hardness(unknown, torch.tensor([100.0, 200.0])).tolist() == pytest.approx([15.1, 30.2])
