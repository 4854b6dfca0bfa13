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

from inverse.campaign import Campaign
from inverse.config import CampaignConfig
from inverse.storage import RunFolder, read_candidates
from inverse.verification.judges import load_verifier
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, parts

ROOT = Path(__file__).parents[2]
SLOW = "tests.stand_in_potential:unhurried"

CHILD = """
import sys
from pathlib import Path
from tests.integration.test_signals import campaign, pool
with pool() as verifier, campaign(Path(sys.argv[1]), verifier) as run:
    run.run()
"""


def pool() -> Any:
    return load_verifier(SLOW, store="", workers=1)


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


def test_a_run_that_signals_to_its_group_interrupt_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    cut = tmp_path / "cut"
    for name, wanted in (("SIGTERM", 2), ("SIGINT", 4)):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(cut)], cwd=ROOT, env=environment, start_new_session=True
        )
        while n_written(cut) < wanted and child.poll() is None:
            time.sleep(0.02)
        os.killpg(child.pid, getattr(signal, name))
        assert child.wait(timeout=60) == 0
        assert json.loads((cut / "manifest.json").read_text())["stop_reason"] == f"stopped by {name}"
        assert wanted <= n_written(cut) < 6
    with pool() as verifier:
        with campaign(tmp_path / "whole", verifier) as run:
            run.run()
        with campaign(cut, verifier) as run:
            run.run()
    assert told(cut) == told(tmp_path / "whole")
    assert len([row for row in told(cut) if row[4]]) >= 3
