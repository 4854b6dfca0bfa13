"""Textbook answers are among the proposals where the wish is not for novelty."""

from typing import Any

import pytest

from inverse.candidates.types import Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.lookup import Lookup
from tests.fakes import CONFIG


def answers(n: int, targets: dict[str, Any]) -> list[str]:
    wish = {**CONFIG, "targets": targets, "constraints": {"n_atoms": {"max": 10}}}
    found = Lookup(CampaignConfig.from_mapping(wish), best_known_first=True).ask(n, 0, 5)
    assert {p.origin for p in found} <= {Origin.TEXTBOOK}
    return [p.structure.composition.reduced_formula for p in found]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        # the median gap of MgO over its polymorphs is 3.3 eV
        ({"band_gap": {"min": 3.5}}, {"MgO", "BN"}),
        ({"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}}, {"WC", "C"}),
    ],
)
def test_what_everybody_knows_comes_first(targets: dict[str, Any], expected: set[str]) -> None:
    found = answers(50, targets)
    assert expected <= set(found), found
    n = len(set(found))
    assert len(set(found[:n])) == n, "no second polymorph before every formula had its turn"
