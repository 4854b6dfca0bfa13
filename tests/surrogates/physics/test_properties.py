"""The record of a property: complete, registered once, exact where the composition decides."""

import json
import math
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

from surrogates.checkpoints.strict_records import strict_record
from surrogates.derived import exact, from_others, propagated
from surrogates.errors import PropertyError
from surrogates.physics.element_groups import element_groups
from surrogates.physics.mass import mass_weighted
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    HARDNESS,
    MODULI,
    PROPERTIES,
    SHEAR_MODULUS,
    VOLUME,
    YOUNG_MODULUS,
    Basis,
    Judged,
    OfComposition,
    OfProperties,
    Property,
    Scale,
    Stored,
    register,
)
from surrogates.protocol import CompositionBatch, Prediction
from tests.fakes import prediction

COST, RISK, TOXIC = (PROPERTIES[n] for n in ("elemental_cost", "supply_risk", "toxic_fraction"))


def value(prop: Property, formula: str) -> Prediction:
    return exact(prop, CompositionBatch.from_formulas([formula]).fractions.double(), 3)


@pytest.mark.parametrize("prop", list(PROPERTIES.values()), ids=list(PROPERTIES))
def test_every_record_is_complete(prop: Property) -> None:
    assert PROPERTIES[prop.name] is prop
    assert all((prop.label, prop.symbol, prop.short, prop.level_of_theory))
    assert prop.unit or prop.maximum <= 2.0 or prop is RISK, "only ratios, shares and indices have no unit"
    assert prop.minimum < prop.maximum
    assert prop.minimum <= prop.size <= prop.maximum
    assert prop.basis not in (Basis.TABLE, Basis.JUDGE)
    assert (prop.formula is None) == (prop.basis in (Basis.LEARNED, Basis.HULL))
    assert len(prop.short) <= 8, "a table head"
    assert not prop.is_positive or prop.minimum >= 0.0


def test_no_two_properties_are_called_alike() -> None:
    words = [word for prop in PROPERTIES.values() for word in {prop.name, *prop.also_called}]
    assert len(words) == len(set(words))
    assert len({prop.symbol for prop in PROPERTIES.values()}) == len(PROPERTIES)


def test_how_each_comes_about() -> None:
    by_basis = {prop.name: prop.basis for prop in (BAND_GAP, ENERGY_ABOVE_HULL, HARDNESS, DENSITY, COST)}
    assert list(by_basis.values()) == [
        Basis.LEARNED,
        Basis.HULL,
        Basis.OF_PROPERTIES,
        Basis.OF_CELL,
        Basis.OF_COMPOSITION,
    ]
    assert [p.is_judged for p in (BAND_GAP, ENERGY_ABOVE_HULL, HARDNESS, DENSITY, COST)] == [
        False,
        True,
        True,
        True,
        True,
    ]
    table = Property("onset", "T", "degC", 0.0, 5e5, "table t.csv")
    assert (table.basis, table.label, table.size, table.is_judged) == (Basis.TABLE, "onset", 500.0, False)
    judged = Property("wear", "w", "", 0.0, 1.0, "own judge", basis=Basis.JUDGE, judged=Judged.TENSOR)
    assert judged.is_judged
    assert judged.learned_inputs == {judged}
    assert (BULK_MODULUS.scale, BAND_GAP.scale) == (Scale.LOGARITHMIC, Scale.LINEAR)


def test_a_formula_of_formulas_knows_what_has_to_be_learned() -> None:
    specific = Property(
        "specific_stiffness",
        "E/rho",
        "MJ/kg",
        0.0,
        1e3,
        "MP PBE",
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties((YOUNG_MODULUS, DENSITY), lambda young, density: young / density),
    )
    assert specific.learned_inputs == set(MODULI)
    with_gap = replace(specific, formula=OfProperties((YOUNG_MODULUS, BAND_GAP), lambda e, gap: e * gap))
    assert specific.is_judged
    assert not with_gap.is_judged
    young, density = (prediction(p, torch.tensor([m])) for p, m in ((YOUNG_MODULUS, 600.0), (DENSITY, 3.0)))
    assert float(from_others(specific, young, density).mean) == pytest.approx(200.0)


def test_a_record_contradicting_itself_is_refused() -> None:
    with pytest.raises(PropertyError, match=r"'x': formula of the composition needs a formula \(OfCompos"):
        Property("x", "x", "", 0.0, 1.0, "none", basis=Basis.OF_COMPOSITION)
    with pytest.raises(PropertyError, match=r"'x': learned needs no formula, and OfProperties is given"):
        Property("x", "x", "", 0.0, 1.0, "none", basis=Basis.LEARNED, formula=YOUNG_MODULUS.formula)


def test_registering_refuses_what_is_taken_or_incomplete() -> None:
    with pytest.raises(PropertyError, match="'density' is registered already"):
        register(replace(VOLUME, name="density"))
    with pytest.raises(PropertyError, match="'x': a basis and a typical size are needed"):
        register(Property("x", "x", "", 0.0, 1.0, "none", typical=1.0))
    with pytest.raises(PropertyError, match="'x': range, symbol or level of theory"):
        register(replace(VOLUME, name="x", symbol=""))
    assert "x" not in PROPERTIES


def test_weights_carry_what_identifies_a_property_and_give_the_registered_one_back() -> None:
    record = json.loads(json.dumps(BULK_MODULUS.to_record()))
    assert list(record) == [
        "name",
        "symbol",
        "unit",
        "minimum",
        "maximum",
        "level_of_theory",
        "is_positive",
    ], "weights of before have these"
    assert strict_record(Stored, record, "property").to_property() is BULK_MODULUS
    with pytest.raises(PropertyError, match="bulk_modulus_vrh is in 'GPa' here, not in 'kbar'"):
        Stored(**{**record, "unit": "kbar"}).to_property()
    assert Stored(**{**record, "name": "toughness"}).to_property().basis is Basis.TABLE


def test_the_cost_of_tungsten_carbide_by_hand() -> None:
    """35.3 and 0.122 USD/kg, 183.84 and 12.011 amu."""
    by_hand = (183.84 * 35.3 + 12.011 * 0.122) / (183.84 + 12.011)
    found = value(COST, "WC")
    assert float(found.mean) == pytest.approx(by_hand, rel=1e-5)
    assert by_hand == pytest.approx(33.14, abs=0.01)
    assert bool(found.in_domain)
    assert float(found.std) == 0.0
    assert bool((found.samples == found.mean).all())
    assert float(value(COST, "W").mean) == pytest.approx(35.3)


def test_toxic_mass_by_hand() -> None:
    """Pb 207.2, Te 127.6 amu."""
    assert float(value(TOXIC, "MgO").mean) == 0.0
    assert float(value(TOXIC, "PbTe").mean) == pytest.approx(207.2 / (207.2 + 127.6), abs=1e-4)
    assert float(value(TOXIC, "CdHg3").mean) == pytest.approx(1.0)


def test_supply_risk_is_that_of_pymatgen() -> None:
    from pymatgen.analysis.hhi import HHIModel

    for formula in ("WC", "Nd2Fe14B", "LiCoO2"):
        expected = HHIModel().get_hhi_reserve(formula)
        assert float(value(RISK, formula).mean) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("prop", "formula", "why"),
    [
        (COST, "PaC", "Pa has no price"),
        (RISK, "TiH2", "H has no reserve index"),
        (COST, "RnFr", "Fr, Rn have no"),
    ],
)
def test_an_element_without_a_value_makes_the_compound_unknown(
    prop: Property, formula: str, why: str
) -> None:
    batch = CompositionBatch.from_formulas([formula, "WC"])
    found = exact(prop, batch.fractions, 3)
    assert math.isnan(float(found.mean[0]))
    assert found.in_domain.tolist() == [False, True]
    assert math.isfinite(float(found.mean[1]))
    symbols = [ELEMENT_SYMBOLS[z] for z in batch.fractions[0].nonzero().flatten().tolist()]
    assert prop.why_unknown(symbols).startswith(why)
    assert prop.why_unknown(["W", "C"]) == ""


def test_the_cost_has_the_slope_of_its_formula_in_the_occupancy() -> None:
    fractions = CompositionBatch.from_formulas(["Ti3WC2"]).fractions.double().requires_grad_()
    (slope,) = torch.autograd.grad(exact(COST, fractions, 1).mean.sum(), fractions)
    for symbol in ("W", "C", "O"):
        column = ELEMENT_SYMBOLS.index(symbol)
        step = torch.zeros_like(fractions)
        step[0, column] = 1e-6
        formula = COST.formula
        assert isinstance(formula, OfComposition)
        with torch.no_grad():
            risen, fallen = formula.function(fractions + step), formula.function(fractions - step)
        assert float(slope[0, column]) == pytest.approx(float(risen - fallen) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("name", ["elemental_cost", "supply_risk"])
def test_each_table_names_its_source_and_date(name: str) -> None:
    folder = files("surrogates.physics.properties")
    table = json.loads(folder.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    assert PROPERTIES[name].level_of_theory == table["source"]
    assert PROPERTIES[name].unit == table["unit"]
    assert "20" in table["source"], "a year"
    assert set(table["values"]) <= set(ELEMENT_SYMBOLS)
    assert all(0 < v < PROPERTIES[name].maximum for v in table["values"].values())
    assert PROPERTIES["toxic_fraction"].formula == TOXIC.formula
    assert element_groups()["toxic"] == {"Be", "As", "Cd", "Hg", "Tl", "Pb"}


def test_one_linear_propagation_for_any_number_of_inputs() -> None:
    assert propagated(lambda x: 3.0 * x, (2.0, 0.1))[1] == pytest.approx(0.3)
    mean, std = propagated(lambda x, y, z: x + y - z, (1.0, 0.3), (0.0, 0.4), (5.0, 0.0))
    assert (mean, std) == (pytest.approx(-4.0), pytest.approx(0.5))


def test_a_pure_element_has_its_own_value() -> None:
    mean = mass_weighted({"Fe": 2.0})
    fractions = CompositionBatch.from_formulas(["Fe", "FeO"]).fractions.double()
    assert mean(fractions).tolist() == pytest.approx([2.0, 2.0 * 55.845 / (55.845 + 15.9994)], rel=1e-4)
    assert SHEAR_MODULUS.why_unknown(["Og"]) == ""
