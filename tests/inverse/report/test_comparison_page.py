"""Two runs as one page: found by both, by one, what became of it in the other, at what cost."""

from dataclasses import replace
from pathlib import Path

import pytest

import inverse
from inverse.candidates.types import Status
from inverse.commands.cli import main
from inverse.report.comparison_page import found_by, progress, render, write_comparison
from inverse.report.loaded_run import LoadedRun
from surrogates.errors import ConfigError, RunFolderError
from tests.inverse.report import fake_run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and another that found some of the same: the second half of its candidates is new."""
    place = tmp_path_factory.mktemp("runs")
    made = fake_run.candidates()
    kept = [c for k, c in enumerate(made) if k % 3]
    return fake_run.write_fake_run(place / "a", made), fake_run.write_fake_run(place / "b", kept)


@pytest.fixture(scope="module")
def runs(folders: tuple[Path, Path]) -> tuple[LoadedRun, LoadedRun]:
    return inverse.load(folders[0]), inverse.load(folders[1])


def test_every_hit_is_in_one_group_and_a_run_with_itself_shares_all(
    runs: tuple[LoadedRun, LoadedRun],
) -> None:
    both, only_first, only_second = found_by(*runs)
    assert both
    assert only_first
    assert only_second == []
    assert {f.ids[0] for f in [*both, *only_first]} == {c.id for c in runs[0].hits}
    assert {f.ids[1] for f in both} <= {c.id for c in runs[1].hits}
    assert {f.elsewhere for f in both} == {""}
    assert all(f.elsewhere.startswith(("not proposed", "proposed in another")) for f in only_first)
    mirrored = found_by(runs[1], runs[0])
    assert (len(mirrored[1]), len(mirrored[2])) == (0, len(only_first))
    assert found_by(runs[0], runs[0])[1:] == ([], [])


def test_what_became_of_a_hit_in_the_other_run_is_said(runs: tuple[LoadedRun, LoadedRun]) -> None:
    first = runs[0]
    hit, second = first.hits[0], first.hits[1]
    told = {
        Status.VERIFIED: replace(hit, status=Status.VERIFIED, reason="misses K_VRH"),
        Status.FAILED: replace(hit, status=Status.FAILED, reason="did not converge"),
        Status.PREDICTED: replace(
            hit, status=Status.PREDICTED, verification=None, probability_target_met=0.3
        ),
    }
    said = {
        status: found_by(first, replace(first, candidates=(c, second)))[1][0].elsewhere
        for status, c in told.items()
    }
    assert said[Status.VERIFIED] == "no hit: misses K"
    assert said[Status.FAILED] == "failed: did not converge"
    assert said[Status.PREDICTED] == "predicted only, P 30 %: never sent to the judges"
    again = replace(told[Status.VERIFIED], duplicate_of="c000099")
    assert found_by(first, replace(first, candidates=(again,)))[1][0].elsewhere == "counted as c000099"


def test_a_formula_in_another_structure_is_another_crystal(runs: tuple[LoadedRun, LoadedRun]) -> None:
    hit = runs[0].hits[0]
    other = replace(runs[0], candidates=(replace(hit, parent_prototype="Fm-3m|4 a m-3m X"),))
    both, only_first, only_second = found_by(replace(runs[0], candidates=(hit,)), other)
    assert (len(both), len(only_first), len(only_second)) == (0, 1, 1)
    assert only_first[0].elsewhere == "proposed in another structure only"
    unnamed = replace(runs[0], candidates=(replace(hit, parent_prototype=""),))
    assert len(found_by(replace(runs[0], candidates=(hit,)), unnamed)[0]) == 1


def test_hits_stand_over_core_hours_where_both_have_counted_them(runs: tuple[LoadedRun, LoadedRun]) -> None:
    ids = tuple(c.id for c in runs[0].candidates if c.verification is not None)
    own = replace(runs[0], manifest={**runs[0].manifest, "cost": {"search": 3600.0}}, verified=ids)
    chart = progress(own, replace(own, manifest={**own.manifest, "cost": {"search": 1800.0}}))
    assert chart.x_label == "core-hours"
    assert [line.points[-1, 0] for line in chart.lines] == pytest.approx([1.0, 0.5])
    assert progress(own, replace(runs[1], verified=ids)).x_label == "verifications started"


def test_the_page_holds_the_numbers_of_the_terminal_and_opens_alone(
    runs: tuple[LoadedRun, LoadedRun],
) -> None:
    page = render(*runs)
    both, only_first, _ = found_by(*runs)
    assert f"{len(both)} hits found by both, {len(only_first)} by the first alone" in page
    assert page.count("<td><b>") == len(both) + len(only_first)
    assert "Both were asked the same" in page
    for what in ("hits per core-hour", "hit rate", "hits in both"):
        assert f"<td>{what}</td>" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "--accent" in page  # the style of the report
    assert "<script" not in page
    odd = replace(runs[1], config=runs[1].config.model_copy(update={"name": "<script>x"}))
    assert "<script>x" not in render(runs[0], odd)


def test_the_command_writes_it_and_what_cannot_be_written_is_one_line(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "new" / "compare.html"
    assert main(["compare", *map(str, folders), "--output", str(place)]) == 0
    shown = capsys.readouterr()
    assert "hits in both" in shown.out
    assert str(place) in shown.err
    assert place.read_text(encoding="utf-8") == render(*map(inverse.load, folders))
    assert inverse.compare(*folders, output=tmp_path / "two.html") == inverse.compare(*folders)
    with pytest.raises(ConfigError, match=r"--output .*cannot be written"):
        write_comparison(*folders, tmp_path)
    with pytest.raises(RunFolderError, match="no such run folder"):
        write_comparison(folders[0], tmp_path / "gone", tmp_path / "c.html")
