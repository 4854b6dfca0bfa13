"""What some benchmarks are given beside size and seed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inverse.campaign.parts import Judging
    from inverse.inputs.campaign_config import CampaignConfig

SECONDS_OF_A_CALL = 300.0
"""Of one call that can be taken up again, unless the caller says otherwise."""


@dataclass(frozen=True)
class Arguments:
    """Of benchmarks that look at runs, or that are measured in several calls.

    Attributes:
        judging_of: who judges candidates of a config; whoever asks closes the verifier.
        runs: folders of runs.
        seconds: by the clock, after which nothing new is begun; the next call goes on.
    """

    judging_of: "Callable[[CampaignConfig], Judging]"
    runs: tuple[Path, ...] = ()
    seconds: float = SECONDS_OF_A_CALL
