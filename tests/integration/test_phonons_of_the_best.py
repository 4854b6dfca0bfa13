"""Phonons at the end of a run: told before they begin, within the clock, in the printed table."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure
from rich.console import Console

from inverse.campaign.campaign import Campaign
from inverse.campaign.dynamical_stability import PhononsAhead
from inverse.campaign.parts import Progress
from inverse.campaign.run import read_run
from inverse.commands.terminal import time_left
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.console import summary_of
from inverse.verification.mechanics.phonons import PhononVerdict
from tests.fakes import CONFIG, parts


def verdict(is_stable: bool) -> PhononVerdict:
    return PhononVerdict("fake", is_stable, -0.1, (0.0, 0.0, 0.0), 0 if is_stable else 2, 20.0, 4, 32)


def run_with(
    folder: Path, ask: Callable[..., Any] | None, told: list[Progress], deadline: float | None = None
) -> str:
    config = CampaignConfig.from_mapping(CONFIG)
    made = replace(parts(config), phonons=ask)
    with Campaign.create(config, folder, made, told.append) as run:
        return run.run(deadline)


def test_phonons_are_announced_before_anything_and_counted_in_the_time_left(tmp_path: Path) -> None:
    told: list[Progress] = []
    answers = iter([True, False] * 10)
    run_with(tmp_path / "run", lambda *_: verdict(next(answers)), told)
    assert "phonons of the 10 best" in told[0].message
    assert "phonons: false" in told[0].message
    before = [p for p in told if p.stage == "verify" and p.seconds_each]
    assert all(p.seconds_after > 0 for p in before)
    last = replace(before[-1], seconds_each=3.0, seconds_after=30.0, seconds_left=None)
    assert time_left(last) == "0:30 left", "all verdicts are in, ten phonons are not"
    asked = [p for p in told if p.stage == "finish" and p.message.startswith("phonons ")]
    ahead = next(p for p in told if p.message.endswith("s at most each"))
    assert ahead.message.split()[0] == str(len(asked))
    assert [p.message.split(":")[0] for p in asked] == [
        f"phonons {k + 1} of {len(asked)}" for k in range(len(asked))
    ]
    assert all(p.seconds_after > 0 for p in asked)
    assert asked[0].seconds_each is not None
    assert asked[0].seconds_after / asked[0].seconds_each == pytest.approx(len(asked)), "none is done yet"


def test_a_run_without_phonons_says_nothing_of_them(tmp_path: Path) -> None:
    told: list[Progress] = []
    run_with(tmp_path / "run", None, told)
    assert not [p for p in told if "phonons" in p.message]
    assert all(p.seconds_after == 0 for p in told)


def test_the_printed_table_has_what_the_phonons_say(tmp_path: Path) -> None:
    answers = iter([True, False] * 10)
    run_with(tmp_path / "with", lambda *_: verdict(next(answers)), [])
    run_with(tmp_path / "without", None, [])
    shown = {name: printed(tmp_path / name) for name in ("with", "without")}
    head, first, second = shown["with"].splitlines()[:3]
    assert head.split()[-1] == "phonons"
    assert first.split()[-1] == "stable"
    assert second.split()[-2:] == ["✗", "imaginary"]
    assert "phonons" not in shown["without"]


def printed(folder: Path) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(summary_of(read_run(folder)))
    return out.getvalue()


def test_phonons_end_within_the_time_of_the_run(tmp_path: Path) -> None:
    """What is left of the time, less what tables and report need, is all that they are given."""
    given: list[float] = []

    def ask(structure: Structure, deadline: float, should_stop: Callable[[], bool]) -> PhononVerdict:
        given.append(deadline)
        return verdict(True)

    end = time.monotonic() + 300
    told: list[Progress] = []
    run_with(tmp_path / "run", ask, told, end)
    assert given
    assert max(given) <= end - 25
    late: list[Progress] = []
    given.clear()
    run_with(tmp_path / "late", ask, late, time.monotonic() + 20)
    assert not given
    assert any("no time left for the phonons" in p.message for p in late)


def test_time_of_phonons_is_guessed_then_measured() -> None:
    ahead = PhononsAhead(4)
    assert ahead.seconds_left(None) == 0
    assert ahead.seconds_left(5.0) == 20
    assert ahead.after(10.0).after(20.0).seconds_left(5.0) == pytest.approx(30.0)
    assert PhononsAhead().after(1.0).seconds_left(5.0) == 0
