from pathlib import Path

import pytest

from inverse import verification
from inverse.api import referee
from inverse.refereeing import REFEREE_FILE, read_referee, referee_run, with_referee
from inverse.report import build_report
from inverse.report.run import read_run
from inverse.types import Status, Verification, VerifiedValue
from surrogates.errors import DataError
from tests.report.fake_run import write_fake_run


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
    monkeypatch.setattr(verification, "load_verifier", lambda **given: asked.append(given) or Referee())
    folder = write_fake_run(tmp_path / "run")
    yield folder
    assert all(given["referee"] is True for given in asked)


def test_it_judges_the_hits_in_rank_order_and_says_where_it_disagrees(run):
    hits = [c.id for c in read_run(run).candidates if c.status is Status.HIT]
    records = list(referee_run(run, workers=0))
    assert [r["id"] for r in records] == hits
    assert [r["agrees"] for r in records[:3]] == [True, False, False]
    assert records[1]["missed"] == ["shear_modulus_vrh"]
    assert records[2]["reason"] == "diep: relaxation is stuck"


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
