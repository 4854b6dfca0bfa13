"""What a run costs: CPU seconds, user and system, of all of its processes, over all of its sessions."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from surrogates.errors import RunFolderError
from surrogates.platform.cpu_time import cpu_seconds


class Spending(StrEnum):
    """What CPU time is spent on; named as the fields of `Cost`."""

    SEARCH = "search"
    AFTERWARDS = "afterwards"
    RELOADING = "reloading"


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a run.

    Attributes:
        search: loading, propose, screen, predict, verify, record: what hits are divided by; a resumed session
            loads all but its first worker while it searches.
        afterwards: what is asked about the best when the search has ended, and the baselines.
        reloading: of later sessions, until they stood where the earlier one had ended.
    """

    search: float = 0.0
    afterwards: float = 0.0
    reloading: float = 0.0

    def plus(self, what: Spending, seconds: float) -> "Cost":
        """Return the cost with more seconds spent on something."""
        return replace(self, **{what: round(getattr(self, what) + seconds, 3)})


def _stored(record: Mapping[str, Any]) -> Cost:
    """Return the cost that a journal keeps.

    Raises:
        RunFolderError: it keeps something else.
    """
    try:
        return Cost(**{name: float(value) for name, value in record.items()})
    except (AttributeError, TypeError, ValueError) as error:
        raise RunFolderError(f"what the journal says of the run's cost is damaged ({error})") from None


class CostMeter:
    """Adds up what a session spends, by what it is spent on.

    Attributes:
        cost: up to the last reading, earlier sessions included.
    """

    def __init__(
        self, spent: Callable[[], float] | None = None, stored: Mapping[str, float] | None = None
    ) -> None:
        """Begin at zero, or where earlier sessions ended.

        Args:
            spent: CPU seconds of this session so far, its loading and its living workers included; None
                counts this process and its ended children from now on.
            stored: `record` of the earlier sessions.
        """
        began = cpu_seconds()
        self._spent = spent or (lambda: cpu_seconds() - began)
        self._read, self._what = 0.0, Spending.SEARCH
        self.cost = _stored(stored or {})
        if stored is not None:
            self._what = Spending.RELOADING

    def read(self) -> Cost:
        """Return the cost up to now."""
        now = self._spent()
        self.cost = self.cost.plus(self._what, max(0.0, now - self._read))
        self._read = max(self._read, now)
        return self.cost

    def enter(self, what: Spending) -> None:
        """Count what is spent from now on as something else."""
        self.read()
        self._what = what

    @property
    def record(self) -> dict[str, float]:
        """The cost up to the last reading as plain JSON."""
        return asdict(self.cost)
