"""Which elements a search may use: noble gases only where the config names them."""

from typing import Any

import pytest
from pymatgen.core import Composition

from inverse.candidates.types import Rule
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.lookup import lookup
from inverse.proposers.screening import Screen
from tests.fakes import CONFIG

NOBLE = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}


def config_of(constraints: dict[str, Any], **more: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({**CONFIG, **more, "constraints": constraints})


@pytest.mark.parametrize(
    ("constraints", "named"),
    [
        ({}, set()),
        ({"elements": {"exclude": ["Os"]}}, set()),
        ({"elements": {"include_any": ["Xe", "F"]}}, {"Xe"}),
        ({"elements": {"include_all": ["Kr"]}}, {"Kr"}),
        ({"elements": {"only": ["He", "Ne", "O"]}}, {"He", "Ne"}),
        ({"chemical_systems": ["F-Xe", "F-O"]}, {"Xe"}),
        ({"elements": {"include_any": ["Xe", "F"], "exclude_groups": ["noble_gas"]}}, set()),
    ],
)
def test_noble_gases_are_allowed_where_a_key_names_them(constraints: dict[str, Any], named: set[str]) -> None:
    own = config_of(constraints).constraints
    assert own.allowed_elements() & NOBLE == named


def test_the_screen_puts_out_what_nobody_asked_for_by_a_rule_of_the_config() -> None:
    composition = Composition("XeF2")
    breach = Screen(config_of({}).constraints).composition_breach(composition)
    assert breach is not None
    assert breach.rule is Rule.NOBLE_GAS
    assert breach.rule.is_of_config
    asked = Screen(config_of({"elements": {"include_any": ["Xe"]}}).constraints)
    assert asked.composition_breach(composition) is None


def test_the_look_up_lists_none_either() -> None:
    targets = {"band_gap": {"min": 6.0}}
    constraints = {"elements": {"only": ["Li", "Na", "F", "Cl"]}, "n_elements": [2, 2]}
    plain = lookup(config_of(constraints, targets=targets))
    assert {"LiF", "NaF"} <= {row.formula for row in plain}
    others = lookup(config_of({"chemical_systems": ["F-Li", "F-Xe"], "subsystems": True}, targets=targets))
    assert "LiF" in {row.formula for row in others}
    without = lookup(config_of({"n_elements": [1, 1], "n_atoms": {"max": 4}}, targets=targets))
    assert not {row.formula for row in without} & NOBLE
