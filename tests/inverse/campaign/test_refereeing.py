from pathlib import Path

import numpy as np
import pytest

from inverse import verification
from inverse.campaign import refereeing
from inverse.campaign.referee_file import REFEREE_FILE, read_referee, with_referee
from inverse.campaign.refereeing import (
    asked_of_referee,
    is_reject,
    referee_run,
    summary,
)
from inverse.campaign.run import read_run
from inverse.candidates.types import Status, Target, Verification, VerifiedValue
from inverse.commands.api import referee
from inverse.report.page import build_report
from inverse.verification.calibration import referee_quality
from inverse.verification.panel import OF_REFEREE
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from tests.inverse.report.fake_run import write_fake_run


def said(bulk, shear):
    values = {
        "bulk_modulus_vrh": VerifiedValue(bulk, 20.0, bulk - 33, bulk + 33, bulk, "diep", "GPa"),
        "shear_modulus_vrh": VerifiedValue(shear, 30.0, shear - 50, shear + 50, shear, "7net-l3i5", "GPa"),
    }
    return Verification("referee", True, values=values, is_stable=True)


class Referee:
    """Agrees with the first, not with the second, cannot finish the others."""

    potential = "referee"

    def verify_each(self, structures, should_stop=lambda: False):
        for position in reversed(range(len(structures))):
            verdict = Verification("referee", False, "diep: relaxation is stuck")
            yield position, {0: said(345.0, 201.0), 1: said(345.0, 99.0)}.get(position, verdict)

    def close(self):
        pass


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    asked = []
    monkeypatch.setattr(verification, "open_verifier", lambda plan, _: asked.append(plan) or Referee())
    folder = write_fake_run(tmp_path / "run")
    yield folder
    assert all(plan.panel == OF_REFEREE for plan in asked)


def test_it_judges_the_hits_in_rank_order_and_says_where_it_disagrees(run):
    shown = read_run(run)
    hits = [c.id for c in shown.candidates if c.status is Status.HIT]
    targets = asked_of_referee(shown.config.targets)
    rejects = [c.id for c in shown.candidates if is_reject(c, targets)]
    records = list(referee_run(run, workers=0))
    assert rejects
    assert [r["id"] for r in records] == [*hits, *rejects]
    assert [r["judged_as"] for r in records] == ["hit"] * len(hits) + ["reject"] * len(rejects)
    for candidate in shown.candidates:
        if candidate.id in rejects:
            values = candidate.verification.values
            assert not all(t.is_met(values[t.property.name].mean) for t in targets)
    assert [r["agrees"] for r in records[:3]] == [True, False, False]
    assert records[1]["missed"] == ["shear_modulus_vrh"]
    assert records[2]["reason"] == "diep: relaxation is stuck"


def test_of_many_hits_and_rejects_some_are_drawn_always_the_same(run, monkeypatch):
    monkeypatch.setattr(refereeing, "MOST_ASKED", 2)
    drawn = [[(r["id"], r["judged_as"]) for r in referee_run(run, workers=0)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert [kind for _, kind in drawn[0]] == ["hit", "hit", "reject", "reject"]


def test_the_referees_worth_is_read_off_planted_rows(tmp_path, monkeypatch):
    """Judge and referee each right about 80 % of the true ones, 90 % of the others, independently."""
    rng, n = np.random.default_rng(0), 8000
    dft = rng.choice([200.0, 400.0], n)
    said = []
    for _ in range(2):
        right = np.where(dft > 300, rng.random(n) < 0.8, rng.random(n) < 0.9)
        said.append(np.where(right, dft, 600.0 - dft))
    said[0][::50] = np.nan  # not finished: not taken
    name, path = "bulk_modulus_vrh", tmp_path / "referee.parquet"
    monkeypatch.setattr(referee_quality, "PATH", path)
    referee_quality.write_rows({name: said[0], f"judges_{name}": said[1], f"dft_{name}": dft}, path)
    try:
        found = referee_quality.quality([Target(BULK_MODULUS, minimum=300.0)])
        assert referee_quality.quality([Target(BULK_MODULUS, minimum=500.0)]) is None
        assert referee_quality.quality([Target(SHEAR_MODULUS, minimum=100.0)]) is None
        assert referee_quality.quality([]) is None
    finally:
        referee_quality._rows.cache_clear()
    assert found.sensitivity == pytest.approx(0.8 * 0.98, abs=0.02)
    assert found.specificity == pytest.approx(1 - 0.1 * 0.98, abs=0.02)
    assert found.taken[0] / found.taken[1] == pytest.approx(0.64 / 0.65, abs=0.01)
    assert found.refused[0] / found.refused[1] == pytest.approx(
        0.8 * 0.216 / (0.8 * 0.216 + 0.0902), abs=0.03
    )
    true, low, high = found.true_hits(sum(found.taken) // 2, 0)
    assert low < true < high
    both = found.taken[1] + found.refused[1]
    assert found.true_hits(found.taken[1], found.refused[1])[0] == pytest.approx(
        (dft[said[1] > 300] > 300).mean() * both
    )


def test_the_lines_count_all_hits_of_the_run():
    records = [{"agrees": k < 10, "judged_as": "hit"} for k in range(20)]
    records += [{"agrees": k < 1, "judged_as": "reject"} for k in range(10)]
    worth = referee_quality.Quality(0.8, 0.9, 100, 300, (90, 100), (10, 20))
    lines = summary(records, worth, n_hits=40, n_verified=100).splitlines()
    assert lines[0].startswith("the referee agrees with 10 of 20 hits (95 % interval 30 to 70 %)")
    assert lines[1] == "it would take 1 of 10 rejects"
    assert lines[2].startswith(
        "of DFT rows it takes 80 % of the 100 that meet these targets, and 10 % of the 300"
    )
    assert lines[3] == "of those that the judges take, 90 of 100 that it takes meet them, 10 of 20 others"
    assert lines[4].startswith("by that 28.0 of the 40 hits are true (")
    assert lines[4].endswith(", 28 % of 100 verified")
    unasked = [{"agrees": None, "judged_as": "hit"}]
    assert summary(unasked, None, 1, 3) == "no hard target asks for what the referee judges"
    nothing = summary([], None, n_hits=0, n_verified=3).splitlines()
    assert nothing == [
        "the referee has no hit to judge",
        "too few DFT rows meet these targets to say what its word is worth",
    ]


def test_its_values_are_nowhere_before_it_runs_and_change_no_rank_afterwards(run):
    build_report(run)
    before = read_run(run)
    assert "345 ± 20 GPa by diep" not in (run / "report.html").read_text(encoding="utf-8")
    tables = {path.name: path.read_bytes() for path in run.glob("candidates.*")}
    line = referee(run)
    assert line.startswith("the referee agrees with 1 of ")
    after = read_run(run)
    assert [(c.id, c.score, c.status) for c in after.candidates] == [
        (c.id, c.score, c.status) for c in before.candidates
    ]
    assert "345 ± 20 GPa by diep" in (run / "report.html").read_text(encoding="utf-8")
    assert {path.name: path.read_bytes() for path in run.glob("candidates.*")} == tables


def test_a_damaged_file_is_named(run):
    (run / REFEREE_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"referee\.jsonl is damaged"):
        read_referee(run)


def test_without_a_record_nothing_is_added(run):
    candidate = read_run(run).candidates[0]
    assert with_referee(candidate, None) is candidate
