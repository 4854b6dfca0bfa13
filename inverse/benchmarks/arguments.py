"""What some benchmarks are given beside size and seed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from inverse.campaign.parts import Judging, Parts
    from inverse.campaign.triage import AsksCheaply
    from inverse.candidates.types import Verification
    from inverse.inputs.campaign_config import CampaignConfig

SECONDS_OF_A_CALL = 300.0
"""Of one call that can be taken up again, unless the caller says otherwise."""


class Relaxes(Protocol):
    """A potential in its workers (`inverse.verification.workers.VerifierPool` over one)."""

    potential: str

    def relax_each(
        self, structures: "Sequence[Structure]", should_stop: Callable[[], bool]
    ) -> "Iterator[tuple[int, Verification]]":
        """Yield (position, relaxation) as they finish; begin nothing new once `should_stop()` is true."""
        ...

    def close(self) -> None:
        """Stop every worker."""
        ...


@dataclass(frozen=True)
class Arguments:
    """Of benchmarks that look at runs, or that are measured in several calls.

    Whoever asks a verifier, or a potential in its workers, closes it.

    Attributes:
        judging_of: who judges candidates of a config.
        assembled: what a campaign of a config is made of.
        runs: folders of runs.
        seconds: by the clock, after which nothing new is begun; the next call goes on.
        judge: relaxes as the judge of energies does; None asks nobody.
        triage: gives the energies of the triage; None asks nobody.
        witness: whose energies stand beside those of judges and triage; None asks nobody.
    """

    judging_of: "Callable[[CampaignConfig], Judging]"
    assembled: "Callable[[CampaignConfig], Parts]"
    runs: tuple[Path, ...] = ()
    seconds: float = SECONDS_OF_A_CALL
    judge: Relaxes | None = None
    triage: "AsksCheaply | None" = None
    witness: Relaxes | None = None
