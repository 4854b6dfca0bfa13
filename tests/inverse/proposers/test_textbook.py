"""Textbook answers are among the proposals where the wish is not for novelty."""

from dataclasses import replace
from typing import Any

import pytest

from inverse.candidates.types import Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.named_surrogate import surrogate_named
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.baselines.known_phases import textbook_answers
from inverse.proposers.search_space import SearchSpace
from inverse.reference import ReferenceHull
from surrogates.physics.properties import FORMATION_ENERGY
from tests.fakes import CONFIG, search_space


def shipped_space(config: CampaignConfig) -> SearchSpace:
    """Return a space with the packaged surrogates and no decoder."""
    base = Evaluator(surrogate_named("structure"), ReferenceHull.packaged().below, [FORMATION_ENERGY])
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": {"n_atoms": {"max": 10}}}))
    return replace(
        space,
        config=config,
        constraints=config.constraints,
        base=base,
        compositions=surrogate_named("composition"),
    )


def answers(n: int, targets: dict[str, Any]) -> list[str]:
    wish = {**CONFIG, "targets": targets, "constraints": {"n_atoms": {"max": 10}}}
    found = textbook_answers(shipped_space(CampaignConfig.from_mapping(wish))).ask(n, 0, 5)
    assert {p.origin for p in found} <= {Origin.TEXTBOOK}
    return [p.structure.composition.reduced_formula for p in found]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        # the median gap of MgO over its polymorphs is 3.3 eV; no structure of AlN is carried
        ({"band_gap": {"min": 3.5}}, {"MgO", "Al2O3", "BN", "AlN"}),
        ({"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}}, {"WC", "C"}),
    ],
)
def test_what_everybody_knows_comes_first(targets: dict[str, Any], expected: set[str]) -> None:
    found = answers(50, targets)
    assert expected <= set(found), found
    n = len(set(found))
    assert len(set(found[:n])) == n, "no second polymorph before every formula had its turn"
