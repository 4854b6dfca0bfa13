"""A plan is made once, with its panel, and travels to workers as it is."""

import pickle
from types import SimpleNamespace

import pytest

from inverse import assembly
from inverse.assembly import assemble
from inverse.inputs.campaign_config import CampaignConfig
from inverse.reference import ReferenceHull
from inverse.verification.panel import OF_RECORD, OF_REFEREE, REFEREED, WITHOUT_EXTRA, alone, panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.physics.properties import (
    BULK_MODULUS,
    DENSITY,
    FORMATION_ENERGY,
    HARDNESS,
    SHEAR_MODULUS,
    Basis,
    OfProperties,
    Property,
)


def test_it_travels_as_itself():
    bounds = {"bulk_modulus_vrh": (300.0, float("inf"))}
    for panel in (OF_RECORD, OF_REFEREE, WITHOUT_EXTRA, alone("diep")):
        plan = VerificationPlan(panel, shortlist=bounds, also=("a:b",), wanted=("c",), stop_above_hull=0.4)
        assert pickle.loads(pickle.dumps(plan)) == plan


def test_the_panel_is_chosen_once_for_a_run_and_the_hull_read_once(monkeypatch):
    asked, plans = [], []

    def counted(*given, **settings):
        asked.append(given)
        return panel_named(*given, **settings)

    monkeypatch.setattr(assembly, "panel_named", counted)
    monkeypatch.setattr(
        assembly, "open_pool", lambda plan, _: plans.append(plan) or SimpleNamespace(relax_each=None)
    )
    parts = assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}}))
    assert len(asked) == len(plans) == 1
    judges = parts.description["judges"]
    assert judges == {name: plans[0].panel.judges[name] for name in judges}
    assert ReferenceHull.packaged() is ReferenceHull.packaged()


def test_the_referee_judges_what_another_potential_judged_before():
    assert REFEREED == (BULK_MODULUS, SHEAR_MODULUS)
    assert FORMATION_ENERGY not in OF_REFEREE.judged_otherwise(OF_RECORD)
    assert OF_RECORD.judged_otherwise(OF_RECORD) == ()


@pytest.mark.parametrize(
    ("panel", "hardness", "energy"),
    [(OF_RECORD, ("7net-l3i5", "diep"), ("7net-l3i5",)), (alone("diep"), ("diep",), ())],
)
def test_who_judges_a_formula_follows_from_its_inputs(panel, hardness, energy):
    assert panel.judges_of(HARDNESS) == hardness
    assert panel.judges_of(FORMATION_ENERGY) == energy
    assert panel.judges_of(DENSITY) == (panel.energy,)
    per_density = Property(
        "hardness_by_weight",
        "H/rho",
        "",
        0.0,
        100.0,
        "of H and density",
        basis=Basis.OF_PROPERTIES,
        formula=OfProperties((DENSITY, HARDNESS), lambda density, hardness: hardness / density),
    )
    assert panel.judges_of(per_density) == hardness
    assert panel.has_energy is bool(energy)
