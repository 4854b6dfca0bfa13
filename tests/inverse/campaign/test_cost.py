"""Cost: CPU seconds of all processes, loading once, whatever session spent them."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pymatgen.core import Structure

from inverse.campaign.campaign import Campaign
from inverse.campaign.cost import CostMeter, Spending
from inverse.candidates.types import Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.comparison import compare
from inverse.verification.messages import Task
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from surrogates.platform.cpu_time import cpu_seconds
from tests import crystals
from tests.fakes import CONFIG, parts
from tests.inverse.campaign.test_campaign import GOOD, Cells, Clock, Timed, manifest_of, opened
from tests.stand_in_potential import BURNT

BURNS = "tests.stand_in_potential:burns"
COPPER, NICKEL = crystals.fcc("Cu"), crystals.fcc("Ni", 3.5)


def test_what_is_spent_counts_once_for_what_it_was_spent_on() -> None:
    spent = Clock()
    spent.now = 20.0  # loading
    meter = CostMeter(spent.monotonic)
    meter.read()
    spent.now = 50.0
    meter.enter(Spending.AFTERWARDS)
    spent.now = 57.0
    meter.read()
    assert meter.record == {"search": 50.0, "afterwards": 7.0, "reloading": 0.0}
    again = Clock()
    again.now = 21.0
    resumed = CostMeter(again.monotonic, json.loads(json.dumps(meter.record)))
    resumed.enter(Spending.SEARCH)
    again.now = 30.0
    assert resumed.read().search == 59.0
    assert resumed.record["reloading"] == 21.0
    again.now = 29.0  # a worker ended, and the system has not counted it yet
    assert resumed.read().search == 59.0
    again.now = 31.0
    assert resumed.read().search == 60.0


class Working(Timed):
    """Each verdict takes CPU time, and so does what comes after the third."""

    def verdict(self, structure: Structure):  # type: ignore[no-untyped-def]
        self.clock.now += 10.0
        return super().verdict(structure)


def test_a_run_that_is_killed_and_resumed_has_spent_what_both_sessions_did(tmp_path: Path) -> None:
    """30 s of loading, ten for every verdict; the second session repeats none of the verdicts."""

    def session(folder: Path, budget: int, loading: float) -> Campaign:
        spent = Clock()
        spent.now = loading
        cells = Cells((budget, Origin.SEARCH))
        return opened(
            folder,
            cells,
            Working(spent),
            lambda p: replace(p, spent=spent.monotonic),
            budget={"verifications": 4},
        )

    with session(tmp_path / "whole", 4, 30.0) as run:
        run.run()
    assert manifest_of(tmp_path / "whole")["cost"] == {"search": 70.0, "afterwards": 0.0, "reloading": 0.0}
    with session(tmp_path / "cut", 4, 30.0) as run:
        run.stop.signal_name = "SIGTERM"
        run.run()
    before = manifest_of(tmp_path / "cut")["cost"]
    assert before["search"] == 30.0
    with session(tmp_path / "cut", 4, 30.0) as run:
        run.run()
        hits = len(run.hits)
    manifest = manifest_of(tmp_path / "cut")
    assert manifest["cost"] == {"search": 70.0, "afterwards": 0.0, "reloading": 30.0}
    assert hits > 0
    assert manifest["hits"]["per_core_hour"] == pytest.approx(3600 * hits / 70.0)
    assert manifest["hits"]["per_verification_started"] == pytest.approx(hits / 4)
    assert manifest["hits"]["per_crystal_triaged"] is None
    shown = {row[0]: row[1:] for row in compare(tmp_path / "whole", tmp_path / "cut")}
    assert shown["hits per core-hour"] == (f"{3600 * hits / 70.0:.3g}",) * 2
    assert shown["hits per crystal triaged"] == ("-", "-")


def test_a_run_of_before_that_did_not_count_says_so(tmp_path: Path) -> None:
    spent = Clock()
    for _ in range(2):
        verifier, cells = Working(spent), Cells((3, Origin.SEARCH))
        with opened(tmp_path / "run", cells, verifier, budget={"verifications": 3}) as run:
            run.run()
        with closing(sqlite3.connect(tmp_path / "run" / "campaign.db")) as journal, journal:
            journal.execute("DELETE FROM meta WHERE key = 'cost'")
    manifest = manifest_of(tmp_path / "run")
    assert manifest["cost"] is None
    assert manifest["hits"]["per_core_hour"] is None


def test_workers_count_with_what_they_burnt(tmp_path: Path) -> None:
    """A judge that burns a known time on each crystal, in another process, loading beside it."""
    began = cpu_seconds()
    plan = VerificationPlan(panel_named(BURNS), store="")
    config = CampaignConfig.from_mapping({**CONFIG, **GOOD, "budget": {"verifications": 2}})
    pool = open_pool(plan, 1)
    own = replace(
        parts(config, Cells((2, Origin.SEARCH))),
        verifier=pool,
        screening=lambda s: None,
        spent=lambda: cpu_seconds() - began + pool.cpu_seconds,
    )
    pool.check()
    loading = pool.cpu_seconds
    assert loading > 0.0
    with Campaign.create(config, tmp_path / "run", own) as run:
        run.run()
        assert run.n_started == 2
        of_workers = pool.cpu_seconds
    assert of_workers >= loading + 2 * BURNT
    assert pool.cpu_seconds == 0.0
    whole, cost = cpu_seconds() - began, manifest_of(tmp_path / "run")["cost"]
    assert of_workers <= cost["search"] <= sum(cost.values()) <= whole
    assert whole - sum(cost.values()) < max(1.5, 0.5 * loading), "the last table, and the end of the worker"


def test_a_worker_that_is_killed_has_spent_what_it_spent() -> None:
    began = cpu_seconds()
    pool = open_pool(VerificationPlan(panel_named(BURNS), store=""), 1)
    with pool:
        pool.check()
        told = pool.cpu_seconds
        pool._workers[0].ask(0, Task.VERIFY, COPPER)
        for _ in pool.verify_each([NICKEL]):  # drops the worker that still computes for another question
            pass
        assert cpu_seconds() - began > told
    assert cpu_seconds() - began >= 1.5 * told, "two workers were loaded"
