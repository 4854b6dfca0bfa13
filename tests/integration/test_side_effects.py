"""What a campaign leaves in the process that ran it: nothing but its folder."""

import logging
import os
import threading
from pathlib import Path

import optuna
import pytest
import torch

from inverse.campaign.campaign import Campaign
from inverse.commands import api
from inverse.inputs.campaign_config import CampaignConfig
from inverse.potentials.loading import one_thread
from inverse.proposers.bayesian import _stored_study
from surrogates.platform.process_settings import ProcessSetting
from tests import fakes
from tests.fakes import CONFIG, campaign

PACKAGE = logging.getLogger("inverse")


def test_settings_of_the_process_are_as_before_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.assembly.assemble", lambda config: fakes.parts(config))
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.chdir(tmp_path)
    seen: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    PACKAGE.setLevel(logging.ERROR)
    handlers = list(PACKAGE.handlers)
    try:
        api.run(
            {**CONFIG, "budget": {"verifications": 2}},
            on_progress=lambda p: seen.append(torch.get_num_threads()),
        )
        _stored_study(tmp_path / "trials.db")
        assert torch.get_num_threads() == 3
        assert PACKAGE.level == logging.ERROR
        assert PACKAGE.handlers == handlers
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
        assert os.environ["OMP_NUM_THREADS"] == "3"
    finally:
        torch.set_num_threads(before)
        optuna.logging.set_verbosity(verbosity)
        PACKAGE.setLevel(logging.NOTSET)
    assert set(seen) == {1}
    assert "ended: budget of 2 verifications spent" in Path("runs/planted/log.txt").read_text()


def test_campaigns_side_by_side_and_in_turns_keep_to_their_own_logs(tmp_path: Path) -> None:
    names = ("a", "b")
    with campaign(tmp_path / "a", budget={"verifications": 40}) as a:
        with campaign(tmp_path / "b", seed=5, budget={"verifications": 40}) as b:
            a.step()
            b.step()
        PACKAGE.warning("of nobody's run")
        a.step()
        started = {"a": a.n_started, "b": b.n_started}
    logs = {name: (tmp_path / name / "log.txt").read_text() for name in names}
    for name in names:
        assert logs[name].count("INFO inverse.campaign: c") == started[name]
        assert "of nobody's run" not in logs[name]


def test_campaigns_in_threads_keep_to_their_own_logs_and_listeners(tmp_path: Path) -> None:
    told: dict[str, list[str]] = {"a": [], "b": []}
    gate = threading.Barrier(2, timeout=60)
    level, threads = PACKAGE.level, torch.get_num_threads()

    def work(name: str, seed: int) -> None:
        from inverse.proposers.news import tell

        config = CampaignConfig.from_mapping({**CONFIG, "seed": seed, "budget": {"verifications": 6}})
        made = fakes.parts(config)
        ask = made.proposer.ask

        def chatty(n: int, step: int, of: int) -> object:
            gate.wait()
            tell("%s is asked", name)
            gate.wait()
            return ask(n, step, of)

        made.proposer.ask = chatty  # type: ignore[method-assign]
        with (
            one_thread(),
            Campaign.create(config, tmp_path / name, made, lambda p: told[name].append(p.message)) as run,
        ):
            run.run()

    both = [threading.Thread(target=work, args=(name, seed)) for name, seed in (("a", 1), ("b", 2))]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    for name, other in (("a", "b"), ("b", "a")):
        assert f"{name} is asked" in told[name]
        assert f"{other} is asked" not in told[name]
        log = (tmp_path / name / "log.txt").read_text()
        assert log.count("is asked") == 1
        assert log.count("INFO inverse.campaign: c") == 6
    assert PACKAGE.level == level
    assert torch.get_num_threads() == threads


def test_the_last_of_several_holders_gives_a_setting_back() -> None:
    held = {"level": 30}
    setting = ProcessSetting(lambda: held["level"], lambda value: held.update(level=value))
    first, second = setting.changed(lambda level: 10), setting.changed(lambda level: 20)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert held["level"] == 10
    second.__exit__(None, None, None)
    assert held["level"] == 30


def test_one_thread_inside_another_gives_back_what_was_first(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
