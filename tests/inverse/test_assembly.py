"""Every search method that a config may name becomes a proposer that knows its own name."""

from typing import get_args

import pytest

from inverse.assembly import ACCURATE, FAST, assemble, load_structure_surrogate
from inverse.config import CampaignConfig, Method


@pytest.mark.parametrize("method", get_args(Method))
def test_every_search_method_is_assembled(method: str) -> None:
    config = CampaignConfig.from_mapping(
        {"targets": {"bulk_modulus_vrh": {"min": 300}}, "search": {"method": method}}
    )
    assert assemble(config).proposer.name == method


def test_orderings_propose_what_their_method_says() -> None:
    config = CampaignConfig.from_mapping(
        {
            "targets": {"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}},
            "constraints": {"elements": {"only": ["W", "Mo", "C"]}, "n_atoms": {"max": 8}},
            "search": {"method": "orderings"},
        }
    )
    proposals = assemble(config).proposer.ask(4, 0, 7)
    assert proposals
    assert {site.specie.symbol for p in proposals for site in p.structure} <= {"W", "Mo", "C"}


def test_the_accurate_tier_decides_and_the_fast_one_searches() -> None:
    parts = assemble(CampaignConfig.from_mapping({"targets": {"bulk_modulus_vrh": {"min": 300}}}))
    assert parts.surrogate.name.startswith(ACCURATE)
    assert parts.description["weights"]["structure"].startswith(ACCURATE)
    assert load_structure_surrogate("cpu").name == FAST
