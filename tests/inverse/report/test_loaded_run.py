"""A run from Python: hits, best, table as data frame and as HTML, short names."""

import csv
from pathlib import Path

import numpy as np
import pytest

import inverse
from inverse.campaign.candidate_table import write_candidates_csv
from inverse.campaign.data_frame import data_frame
from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.loaded_run import LoadedRun
from surrogates.errors import RunFolderError
from tests.inverse.report import fake_run

TEXT = {
    *("id", "formula", "formula_display", "chemical_system", "status", "hit_class", "nearest_known"),
    *("derivative_of", "duplicate_of", "parent_prototype", "reason", "flags", "potential", "cif"),
    *("elastic_potential", "known_phase", "confirmed", "structure_type", "type_name", "binding_phase"),
    "hull_mf_reason",
}
"""Columns that hold text."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    return inverse.load(fake_run.write_fake_run(tmp_path_factory.mktemp("run") / "a"))


def test_hits_and_best_are_in_the_order_of_the_table(run: LoadedRun) -> None:
    assert run.hits
    assert {c.status for c in run.hits} == {Status.HIT}
    assert len(run.hits) == sum(c.status is Status.HIT for c in run.candidates)
    assert run.best is not None
    assert run.best.score == max(c.score for c in run.candidates if c.score is not None)
    assert run.best.relaxed is run.best.verification.structure  # type: ignore[union-attr]


def test_a_run_and_a_candidate_are_one_line_each(run: LoadedRun) -> None:
    assert repr(run).startswith("LoadedRun('superhard-fake', 80 candidates, 45 verified, ")
    assert "\n" not in repr(run)
    assert len(repr(run)) < 300
    assert repr(run.hits[0]).startswith(f"Candidate({run.hits[0].id}, {run.hits[0].formula_display}, hit, ")


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        inverse.load(tmp_path)


def test_the_data_frame_is_the_csv_with_numbers_as_numbers(run: LoadedRun, tmp_path: Path) -> None:
    frame = run.to_dataframe()
    with write_candidates_csv(run.candidates, run.config, tmp_path / "c.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert list(frame.columns) == list(lines[0])
    assert len(frame) == len(lines) == 80
    for name in frame.columns:
        for ours, written in zip(frame[name], (line[name] for line in lines), strict=True):
            if frame[name].dtype == np.float64:
                assert ours == float(written) if written else np.isnan(ours)
            elif frame[name].dtype in ("Int64", "boolean"):
                assert str(ours).lower() == (written or "<na>")
            else:
                assert ours == written
    text = {name for name in frame.columns if str(frame[name].dtype) not in ("float64", "Int64", "boolean")}
    assert text == TEXT, "is a new column of numbers or of text? data_frame.NUMBERS has the former"
    hits = frame[frame.status == "hit"].sort_values("verified_bulk_modulus_vrh")
    assert hits.verified_bulk_modulus_vrh.min() >= 300
    assert frame["rank"].max() == frame["rank"].notna().sum()


def test_sodium_nitride_is_no_missing_value() -> None:
    salt = fake_run.structure(1).copy()
    salt.replace_species({element: ("N" if k else "Na") for k, element in enumerate(salt.elements)})
    frame = data_frame([Candidate("c0", salt, "x", 0)], CampaignConfig.from_mapping(fake_run.CONFIG))
    assert salt.composition.reduced_formula == "NaN"
    assert list(frame.formula) == ["NaN"]
    assert frame.notna()["formula"].all()


def test_the_notebook_shows_the_ranked_table_and_markup_stays_text(run: LoadedRun) -> None:
    html = run._repr_html_()
    assert html.count("<tr>") == 21  # the head and the best 20
    assert html.index(run.candidates[0].formula_display) < html.index(run.candidates[1].formula_display)
    assert "The best 20 of " in html
    assert str((run.folder / "report.html").resolve()) in html
    odd = LoadedRun(Path("/tmp/<b>x"), run.config, run.candidates, run.manifest, run.verified)
    assert "<b>x" not in odd._repr_html_()


def test_a_run_that_verified_nothing_still_shows(tmp_path: Path) -> None:
    made = fake_run.candidates(n_verified=0)
    empty = inverse.load(fake_run.write_fake_run(tmp_path / "empty", made))
    assert (empty.hits, empty.best) == ((), None)
    assert "<table" not in empty._repr_html_()
    assert len(empty.to_dataframe()) == 35
