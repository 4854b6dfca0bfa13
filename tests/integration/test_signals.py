"""Signals to a whole process group, as `timeout`, batch systems and Ctrl-C send them, cost no candidate."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign.campaign import Campaign
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.inputs.campaign_config import CampaignConfig
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, parts

ROOT = Path(__file__).parents[2]
HELD = "tests.stand_in_potential:held"

CHILD = """
import sys
from pathlib import Path
from tests.integration.test_signals import Held, campaign, pool
with pool() as verifier, campaign(Path(sys.argv[1]), Held(verifier)) as run:
    run.run()
"""


class Held:
    """A pool whose worker stays in the middle of the second verification until `$HELD` is gone."""

    def __init__(self, verifier: Any) -> None:
        self._verifier = verifier

    def verify_each(self, structures: Any, should_stop: Any) -> Any:
        for n, found in enumerate(self._verifier.verify_each(structures, should_stop), 1):
            yield found
            if n == 1:
                Path(os.environ["HELD"]).touch()

    def close(self) -> None:
        self._verifier.close()


def pool() -> Any:
    return open_pool(VerificationPlan(panel_named(HELD), store=""), 1)


def campaign(folder: Path, verifier: Any) -> Campaign:
    config = CampaignConfig.from_mapping({**CONFIG, "budget": {"verifications": 6}})
    made = replace(parts(config), verifier=verifier)
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, made, config)
    return Campaign.create(config, folder, made)


def told(folder: Path) -> list[tuple[object, ...]]:
    rows = []
    for c in read_candidates(folder):
        values = {} if c.verification is None else {k: v.mean for k, v in c.verification.values.items()}
        rows.append((c.id, c.status, c.score, c.reason, values))
    return rows


def n_written(folder: Path) -> int:
    try:
        with RunFolder.read(folder) as stored:
            return len(stored.verifications())
    except RunFolderError:
        return 0


def test_a_run_that_signals_to_its_group_interrupt_ends_as_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each signal comes amid a verification, which ends; nothing else is begun."""
    held, cut = tmp_path / "held", tmp_path / "cut"
    begun = Path(f"{held}.begun")
    monkeypatch.setenv("HELD", str(held))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name, wanted in (("SIGTERM", 2), ("SIGINT", 4)):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(cut)], cwd=ROOT, env=environment, start_new_session=True
        )
        while not begun.exists() and child.poll() is None:
            time.sleep(0.02)
        assert n_written(cut) == wanted - 1
        os.killpg(child.pid, getattr(signal, name))
        begun.unlink()
        held.unlink()
        assert child.wait(timeout=300) == 0
        assert json.loads((cut / "manifest.json").read_text())["stop_reason"] == f"stopped by {name}"
        assert n_written(cut) == wanted
    with pool() as verifier:
        with campaign(tmp_path / "whole", verifier) as run:
            run.run()
        with campaign(cut, verifier) as run:
            run.run()
    assert told(cut) == told(tmp_path / "whole")
    assert len([row for row in told(cut) if row[4]]) >= 3
