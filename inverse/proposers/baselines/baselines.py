"""What a result is measured against: the look-up and the orderings, as manifest and report print them."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import lookup, orderings
from inverse.reference.facts import Facts
from inverse.reference.known import KnownMaterials

LOGGER = logging.getLogger(__name__)


def baselines(config: CampaignConfig) -> Mapping[str, Any]:
    """Return both baselines of a config: look-up by DFT facts, orderings by mixing; no potential runs.

    One that cannot be worked out is left out, and the log says why: the other stands all the same.

    Raises:
        DataError: package data is missing or damaged.
    """
    facts, known = Facts.packaged(), KnownMaterials.packaged()
    made: Mapping[str, Callable[[], dict[str, Any]]] = {
        "lookup": lambda: lookup.baseline_record(
            lookup.survey(config, facts, known), lookup.unchecked(config)
        ),
        "orderings": lambda: orderings.baseline_record(
            orderings.survey(config, facts, known), orderings.unchecked(config)
        ),
    }
    found = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except Exception:
            LOGGER.exception("the baseline %r cannot be worked out", name)
    return found
