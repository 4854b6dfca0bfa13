"""How structures are verified: one record, made once and handed on, to other processes too."""

from collections.abc import Mapping
from dataclasses import dataclass

from inverse.potentials.loading import is_code_of_others
from inverse.verification.panel import Panel

Bounds = Mapping[str, tuple[float, float]]
"""Property name -> (lowest, highest) value; what has no value is not within."""


@dataclass(frozen=True)
class VerificationPlan:
    """What a verifier is opened with; `opening.open_verifier` opens it, each worker as this process.

    Attributes:
        panel: who judges what: the judges of record, the referee, or one potential alone.
        reuse: False asks the judges afresh, whatever the store holds, and still writes.
        store: path of the verification store; None is the user's store, "" none at all.
        seconds_limit: of computing allowed for one structure; four times as many by the clock.
        stop_above_hull: eV/atom; a structure further above the hull is not asked about its stiffness.
        shortlist: what earns a second opinion ({}: everything that is finished); None asks for none.
        also: judges of users' own properties, as module:factory, asked last.
        wanted: properties that targets ask for; misspelt ones of users' judges are named.
        device: where the potentials compute: auto (a GPU where there is one), cpu or cuda.
    """

    panel: Panel
    reuse: bool = True
    store: str | None = None
    seconds_limit: float = 300.0
    stop_above_hull: float | None = None
    shortlist: Bounds | None = None
    also: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    device: str = "auto"

    @property
    def potential(self) -> str:
        """What was asked for: "auto", "referee" or a potential's name."""
        return self.panel.name

    @property
    def runs_code(self) -> bool:
        """Whether a judge is code of others, which only workers run."""
        return bool(self.also) or any(map(is_code_of_others, self.panel.potentials))
