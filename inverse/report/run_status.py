"""Where a run stands, from its folder alone; one that runs is not disturbed."""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inverse.campaign.run import Run, read_run
from inverse.campaign.run_folder import is_written
from inverse.candidates.hit_counts import HitRates
from inverse.candidates.types import Status
from inverse.report.wording import seconds_text


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        name: of its config.
        folder: of the run.
        is_running: whether a process of this machine, or one that shares its locks, is writing the folder.
        stop_reason: why it stopped; "" where it has not said so: it runs, or was killed.
        started: verifications, failed ones among them.
        budget: verifications that may be started; None where time alone counts.
        failed: reason by name -> verifications.
        hits: of finished steps.
        core_seconds: CPU time of all processes, of finished steps; None where it was not counted.
        seconds: wall time over all resumptions, up to now where it runs.
        seconds_left: of the budget's time; None without one.
        last: line of its log.
    """

    name: str
    folder: Path
    is_running: bool
    stop_reason: str
    started: int
    budget: int | None
    failed: dict[str, int] = field(default_factory=dict)
    hits: int = 0
    core_seconds: float | None = None
    seconds: float = 0.0
    seconds_left: float | None = None
    last: str = ""

    @property
    def state(self) -> str:
        """Running, why it stopped, or that it was killed."""
        if self.is_running:
            return "running"
        return self.stop_reason or "stopped within a step; inverse run --resume goes on"

    @property
    def progress(self) -> str:
        """What changes as it goes on, but for the time."""
        return f"{self.state} {self.started} {self.hits} {self.failed} {self.last}"

    def line(self) -> str:
        """Return all of it in one line."""
        of = "" if self.budget is None else f" of {self.budget}"
        failed = ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in self.failed.items())
        parts = [
            f"{self.started}{of} verified" + (f" (failed: {failed})" if failed else ""),
            f"{self.hits} hits",
        ]
        if self.core_seconds is not None:
            parts.append(f"{self.core_seconds / 3600.0:.2f} core-hours")
        parts.append(f"{seconds_text(self.seconds)} so far")
        if self.is_running and self.seconds_left is not None:
            parts.append(f"at most {seconds_text(self.seconds_left)} left")
        return f"{self.name}: {self.state}; {', '.join(parts)}" + (f"; {self.last}" if self.last else "")

    def record(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        rates = HitRates(self.hits, self.started, None, self.core_seconds)
        return {
            **asdict(self),
            "folder": str(self.folder),
            "state": self.state,
            "hits_per_core_hour": rates.per_core_hour,
        }


def read_status(folder: str | Path) -> RunStatus:
    """Return where the run of a folder stands.

    Raises:
        RunFolderError: no run there, or damaged.
        ConfigError: its config.yaml cannot be read.
    """
    run = read_run(folder)
    is_running = is_written(run.folder)
    manifest, budget = run.manifest, run.config.budget
    started = [c for c in run.candidates if c.verification is not None]
    failed = Counter(
        str(c.verification.failure or "unstable")
        for c in started
        if c.status is Status.FAILED and c.verification is not None
    )
    seconds = float(manifest.get("seconds") or 0.0) + (_since_last_step(run) if is_running else 0.0)
    cost = manifest.get("cost") or {}
    return RunStatus(
        name=run.config.name,
        folder=run.folder,
        is_running=is_running,
        stop_reason="" if is_running else str(manifest.get("stop_reason") or ""),
        started=len(started),
        budget=budget.verifications,
        failed=dict(failed.most_common()),
        hits=len(run.hits),
        core_seconds=cost.get("search"),
        seconds=round(seconds, 1),
        seconds_left=None if budget.seconds is None else round(max(0.0, budget.seconds - seconds), 1),
        last=_last_message(run.folder) if is_running else "",
    )


def _since_last_step(run: Run) -> float:
    """Return the seconds since the manifest was written; 0 where it does not say."""
    try:
        updated = datetime.fromisoformat(str(run.manifest.get("updated")))
    except ValueError:
        return 0.0
    return max(0.0, (datetime.now(UTC) - updated).total_seconds())


def _last_message(folder: Path) -> str:
    """Return the last line of the log without its time and logger."""
    try:
        with (folder / "log.txt").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[-1].split(": ", 1)[-1] if lines else ""
