"""Bounds on what the composition alone decides, held against the constraints when a config is read."""

from typing import Any

import pytest

from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.exact_targets import left_out
from surrogates.errors import ConfigError


def config(targets: dict[str, Any], is_stored: bool = False, **constraints: Any) -> CampaignConfig:
    data = {"targets": targets, "constraints": constraints}
    return CampaignConfig.from_mapping(data, is_stored=is_stored)


CHEAP = {"elemental_cost": {"max": 50}}


@pytest.mark.parametrize(
    ("targets", "constraints", "reason"),
    [
        (CHEAP, {"chemical_systems": ["Os-Ir"]}, "at most 50 USD/kg is met by no .* nearest is .* USD/kg"),
        (CHEAP, {"chemical_systems": ["Os-C"]}, r"elemental_cost: at most 50 .*\(OsC19\)"),
        (CHEAP, {"elements": {"only": ["Os", "Ir"]}}, "at most 50"),
        (CHEAP, {"elements": {"include_all": ["Os"]}, "n_atoms": {"max": 4}}, "at most 50"),
        (CHEAP, {"elements": {"include_any": ["Os", "Ir"]}, "n_atoms": {"max": 4}}, "at most 50"),
        (CHEAP, {"chemical_systems": ["Os-Ir-Re"], "subsystems": True}, "at most 50"),
        ({"elemental_cost": {"min": 500}}, {"chemical_systems": ["Fe-C"]}, "at least 500"),
        ({"toxic_fraction": {"max": 0.01}}, {"chemical_systems": ["Pb-Te"]}, "at most 0.01 is met by no"),
        ({"elemental_cost": {"near": 5000, "tolerance": 1}}, {"chemical_systems": ["Fe-C"]}, "at least 4999"),
        ({"supply_risk": {"max": 3000}}, {"chemical_systems": ["H-Pd"]}, "H has no reserve index, and the"),
        ({"supply_risk": {"minimise": True}}, {"chemical_systems": ["H-Pd"]}, "H has no reserve index"),
        ({"supply_risk": {"max": 3000}}, {"elements": {"include_all": ["H"]}}, "supply_risk: H has no"),
        ({"supply_risk": {"max": 3000}}, {"elements": {"only": ["H"]}}, "supply_risk: H has no"),
    ],
)
def test_what_no_allowed_composition_meets_is_refused(
    targets: dict[str, Any], constraints: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        config(targets, **constraints)
    assert "\n" not in str(refused.value)
    assert config(targets, is_stored=True, **constraints).targets, "a run of before stays readable"


@pytest.mark.parametrize(
    ("targets", "constraints"),
    [
        (CHEAP, {}),
        (CHEAP, {"chemical_systems": ["Os-Ir", "W-C"]}),
        (CHEAP, {"chemical_systems": ["Os-Fe"], "subsystems": True}),
        (CHEAP, {"elements": {"include_any": ["Os", "Fe"]}}),
        ({"elemental_cost": {"max": 50_000}}, {"chemical_systems": ["Os-Ir"]}),
        ({"toxic_fraction": {"max": 0.0}}, {"chemical_systems": ["Mg-O"]}),
        ({"toxic_fraction": {"min": 1.0}}, {"elements": {"only": ["Pb", "Tl"]}}),
        ({"supply_risk": {"max": 3000}}, {"chemical_systems": ["H-Pd", "Fe-C"]}),
        ({"bulk_modulus_vrh": {"min": 100}}, {"chemical_systems": ["H-Pd"]}),
    ],
)
def test_what_some_composition_may_meet_is_searched_for(
    targets: dict[str, Any], constraints: dict[str, Any]
) -> None:
    assert config(targets, **constraints).targets


def test_elements_that_are_left_out_are_named() -> None:
    wanted = config({"supply_risk": {"max": 3000}}, chemical_systems=["H-Pd", "Fe-C"])
    said = left_out(wanted.targets, wanted.constraints)
    assert said == "targets.supply_risk: H has no reserve index: nothing with it is proposed"
    open_search = config({"supply_risk": {"max": 3000}})
    assert left_out(open_search.targets, open_search.constraints) == "", "only what somebody asked for"
