"""What a result is measured against: the look-up and the orderings, as manifest and report print them."""

from collections.abc import Mapping
from typing import Any

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import lookup, orderings
from inverse.reference.facts import Facts
from inverse.reference.known import KnownMaterials


def baselines(config: CampaignConfig) -> Mapping[str, Any]:
    """Return both baselines of a config: look-up by DFT facts, orderings by mixing; no potential runs.

    Raises:
        DataError: package data is missing or damaged.
    """
    facts, known = Facts.packaged(), KnownMaterials.packaged()
    found = lookup.lookup(config, facts, known)
    mixed = orderings.orderings(config, facts, known)
    return {
        "lookup": lookup.baseline_record(found, len(facts.moduli["formula"]), lookup.unchecked(config)),
        "orderings": orderings.baseline_record(mixed, orderings.unchecked(config)),
    }
