"""The best of a run taken to a stand-in for density functional theory, and back into the run's folder."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from inverse.campaign import confirming
from inverse.campaign.confirming import Confirming, confirm_run
from inverse.campaign.run import read_run
from inverse.campaign.run_folder import read_candidates
from inverse.candidates.types import Outcome, Status
from inverse.commands import api
from inverse.commands.cli import main
from inverse.inputs.campaign_config import CampaignConfig
from inverse.reference.known_structures import known_structures
from inverse.report.page import build_report
from tests.inverse.report.fake_run import CONFIG, write_fake_run

CODE = "tests.stand_in_dft:pairwise"
K = "bulk_modulus_vrh"


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    monkeypatch.setattr(confirming.Competitors, "__call__", lambda self, formula: known_structures(formula))
    return tmp_path / "store.db"


@pytest.fixture
def run(tmp_path, store):
    return write_fake_run(tmp_path / "run")


def rows(folder):
    with (folder / "candidates.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def test_values_verdict_and_rank_go_back_to_the_folder(run):
    before = {c.id: c for c in read_candidates(run)}
    found = list(confirm_run(run, Confirming(top=2, code=CODE, python=sys.executable)))
    assert len(found) == 2
    table = rows(run)
    for candidate in found:
        said = candidate.confirmation
        assert before[candidate.id].status is Status.HIT, "hits are asked first"
        assert said.values[K].potential == CODE
        assert said.outcome is Outcome.REFUTED, "pairs of Morse atoms are far softer than 300 GPa"
        assert K in said.missed
        assert "shear_modulus_vrh" in said.uncomputed
        assert candidate.score < before[candidate.id].score
        row = table[candidate.id]
        assert row["confirmed"] == "refuted"
        assert float(row[f"dft_{K}"]) == pytest.approx(said.values[K].mean, rel=1e-5)
        assert float(row[f"dft_{K}_std"]) > 0
        assert row["status"] == "hit", "what the judges made of it stays what it is"
    assert sum(bool(row["confirmed"]) for row in table.values()) == 2
    stored = {c.id: c for c in read_candidates(run)}
    assert stored[found[0].id].confirmation == found[0].confirmation
    page = build_report(run).read_text()
    assert "DFT: refuted (K" in page
    assert "first principles" in page
    shown = {c.id: k for k, c in enumerate(read_run(run).candidates)}
    others = [c.id for c in read_candidates(run) if c.status is Status.HIT and c.confirmation is None]
    assert all(shown[found[0].id] > shown[other] for other in others)


def test_hull_and_tensor_where_they_are_asked_for(run):
    ids = tuple(c.id for c in read_candidates(run) if c.status is Status.HIT)[:1]
    asked = Confirming(
        ids=ids, properties=(K, "shear_modulus_vrh", "energy_above_hull"), code=CODE, python=sys.executable
    )
    (found,) = confirm_run(run, asked)
    said = found.confirmation
    assert {K, "shear_modulus_vrh", "energy_above_hull", "young_modulus_vrh"} <= set(said.values)
    assert said.details["competing_phases"] == {"BW": 0.5, "BMo": 0.5}
    assert said.uncomputed == ()
    own = np.array(said.details["stiffness"])
    assert said.values[K].mean == pytest.approx(hill_bulk_modulus(own), rel=0.03), "two ways to one modulus"


def hill_bulk_modulus(stiffness):
    return (stiffness[:3, :3].sum() / 9 + 1 / np.linalg.inv(stiffness)[:3, :3].sum()) / 2


def test_a_second_call_calculates_nothing_again(run, tmp_path, monkeypatch):
    counted = tmp_path / "counted"
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(counted))
    asked = Confirming(top=1, code=CODE, python=sys.executable, properties=(K,))
    (first,) = confirm_run(run, asked)
    n = len(counted.read_text().splitlines())
    (second,) = confirm_run(run, asked)
    assert second.confirmation == first.confirmation
    assert len(counted.read_text().splitlines()) == n > 5


def test_killed_it_goes_on_where_it_was(run, store, tmp_path, monkeypatch):
    counted = tmp_path / "counted"
    script = (
        "from inverse.campaign.confirming import Confirming, confirm_run\n"
        "from pathlib import Path\n"
        f"asked = Confirming(top=3, code={CODE!r}, python={sys.executable!r}, properties=({K!r},))\n"
        f"list(confirm_run(Path({str(run)!r}), asked))\n"
    )
    environment = {**os.environ, "COUNT_CALCULATIONS_IN": str(counted), "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    until = time.monotonic() + 120.0
    while time.monotonic() < until and not (counted.exists() and len(counted.read_text().splitlines()) > 8):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(20.0)
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(counted))
    before = len(counted.read_text().splitlines())
    found = list(confirm_run(run, Confirming(top=3, code=CODE, python=sys.executable, properties=(K,))))
    assert len(found) == 3
    after = len(counted.read_text().splitlines())
    fresh = tmp_path / "fresh.db"
    monkeypatch.setenv("INVERSE_STORE", str(fresh))
    again = write_fake_run(tmp_path / "again")
    list(confirm_run(again, Confirming(top=3, code=CODE, python=sys.executable, properties=(K,))))
    whole = len(counted.read_text().splitlines()) - after
    # at most the calculation that the kill interrupted was made twice
    assert whole <= after <= whole + 2
    assert after > before
    uninterrupted = {c.id: c.confirmation for c in read_candidates(again) if c.confirmation}
    for candidate in found:
        values = candidate.confirmation.values
        assert values == uninterrupted[candidate.id].values


def test_a_stopped_call_keeps_what_was_done(run):
    done = []
    asked = Confirming(top=3, code=CODE, python=sys.executable, properties=(K,))
    for candidate in confirm_run(run, asked, should_stop=lambda: bool(done)):
        done.append(candidate.id)
    confirmed = [c.id for c in read_candidates(run) if c.confirmation is not None]
    assert sorted(confirmed) == sorted(done)
    assert 1 <= len(done) < 3


def test_the_plan_starts_nothing(run, tmp_path, monkeypatch, capsys):
    counted = tmp_path / "counted"
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(counted))
    ahead = api.confirmation_plan(run, 2, code=CODE, python=sys.executable)
    assert ahead[0].plan.n_atoms >= 2
    assert ahead[0].plan.n_k_points >= 1
    assert main(["confirm", str(run), "--plan", "--code", CODE, "--python", sys.executable]) == 0
    shown = capsys.readouterr().out
    assert "core-minutes" in shown
    assert "in all" in shown
    assert not counted.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--properties", "bulk_modulus"], "bulk_modulus_vrh"),
        (["--ids", "c999999"], "c999999"),
        (["--code", "gpwa"], "gpaw"),
        (["--python", "/no/python"], "no such interpreter"),
        (["--time-limit", "soon"], "soon"),
        (["--calculation-limit", "later"], "calculation limit: "),
    ],
)
def test_bad_usage_is_one_line_and_status_2(run, arguments, said, capsys):
    code = [] if "--code" in arguments else ["--code", CODE]
    python = [] if "--python" in arguments else ["--python", sys.executable]
    assert main(["confirm", str(run), *code, *python, *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""


def test_no_phase_is_looked_for_where_nobody_asks_for_the_hull(run, monkeypatch):
    def looked_for(self, formula):
        raise AssertionError(formula)

    monkeypatch.setattr(confirming.Competitors, "__call__", looked_for)
    asked = Confirming(top=1, code=CODE, python=sys.executable, properties=(K,))
    (found,) = confirm_run(run, asked)
    assert found.confirmation.reason == ""
    assert found.confirmation.details["competing_phases"] == {}


def test_what_takes_too_long_is_given_up_and_named(run, capsys):
    arguments = ["--top", "1", "--code", "tests.stand_in_dft:busy", "--python", sys.executable]
    assert main(["confirm", str(run), *arguments, "--properties", K, "--calculation-limit", "1s"]) == 0
    shown = capsys.readouterr()
    assert "undecided" in shown.out
    (confirmed,) = [c for c in read_candidates(run) if c.confirmation is not None]
    assert confirmed.confirmation.reason == "1 s of computing"


def test_the_command_shows_what_was_found(run, capsys):
    arguments = ["--top", "1", "--code", CODE, "--python", sys.executable, "--properties", K]
    assert main(["confirm", str(run), *arguments]) == 0
    shown = capsys.readouterr()
    assert "refuted (K)" in shown.out
    assert "1 by first principles (1 hits): 1 refuted" in shown.out
    assert "k-points" in shown.err


def test_the_config_asks_for_it_and_old_configs_keep_their_hash():
    plain = CampaignConfig.from_mapping(CONFIG)
    assert "confirm" not in plain.to_mapping()["verify"]
    assert "dft" not in plain.to_mapping()["verify"]
    asked = CampaignConfig.from_mapping(
        {**CONFIG, "verify": {"confirm": 3, "dft": {"code": CODE, "time": "20m"}}}
    )
    assert asked.verify.code == (CODE,), "a config that names code is a program"
    assert asked.verify.dft.seconds == 1200.0
    assert CampaignConfig.from_mapping(asked.to_mapping()) == asked
    with pytest.raises(Exception, match="gpaw or module:factory"):
        CampaignConfig.from_mapping({**CONFIG, "verify": {"dft": {"code": "vasp"}}})


def test_records_without_a_confirmation_read_as_before(run):
    candidate = read_candidates(run)[0]
    from inverse.inputs.records import candidate_from_record, candidate_to_record

    record = json.loads(json.dumps(candidate_to_record(candidate)))
    assert "confirmation" not in record
    assert candidate_from_record(record).confirmation is None
