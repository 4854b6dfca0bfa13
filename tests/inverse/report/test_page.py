"""The page, the terminal's table and the doctor, from a synthetic run folder."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from inverse.campaign.run import read_run
from inverse.campaign.run_folder import RunFolder
from inverse.candidates.types import Status
from inverse.commands.api import report
from inverse.commands.doctor import diagnose
from inverse.report.chart import Chart, Point
from inverse.report.cited_works import all_works
from inverse.report.console import summary_of
from inverse.report.figures import drawn, nice_ticks
from inverse.report.page import build_report
from inverse.report.sections import baselines
from surrogates.errors import RunFolderError
from tests.inverse.report.fake_run import candidates, manifest, write_fake_run

VOID = {"meta", "input", "br", "link", "img", "hr", "rect", "line", "circle", "path"}


def schema(name: str) -> jsonschema.Draft202012Validator:
    text = files("inverse.inputs").joinpath(f"schemas/{name}.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


ENTRY = "https://materialsproject.org/materials/mp-"


class Outline(HTMLParser):
    """Checks nesting, collects ids, links and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def barren(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "barren", candidates(can_hit=False))


def outline(path: Path) -> Outline:
    parser = Outline()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def test_page_is_whole_self_contained_and_small(folder: Path) -> None:
    path = build_report(folder)
    page = outline(path)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    away = [link for link in page.links if re.match(r"(https?:)?//", link)]
    cited = {work.url for work in all_works()}
    followed = {re.sub(r"\d+$", "", link) for link in away if link not in cited}
    assert followed == {ENTRY}, "links that a reader may follow"
    assert "Content-Security-Policy" in path.read_text(), "and nothing is fetched by itself"
    assert not re.findall(r"""(?:src|url)\s*[=(]\s*["']?(?:https?:)?//""", path.read_text())
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
    assert path.stat().st_size < 3_000_000


def test_page_says_what_must_be_said(folder: Path) -> None:
    text = " ".join(" ".join(outline(build_report(folder)).text).split())
    run = read_run(folder)
    hits = sum(c.status is Status.HIT for c in run.candidates)
    assert f"{hits} crystals met every target, out of 45 sent to the judges" in text
    for words in (
        "bulk modulus K ≥ 300 GPa",
        "no Os or Re",
        "Look-up",
        "Orderings",
        "Optimism gap",
        "binds most",
        "7net-l3i5",
        "diep",
        "inverse run superhard-quick --seed 7",
        "0 K",
        "judges disagree on the phase",
        "amplitude dependent",
        "ordered vacancies of TiC",
    ):
        assert words in text, words
    for candidate in run.candidates:
        if candidate.status is Status.HIT:
            assert candidate.id in text


def test_page_of_a_run_without_hits_says_why(barren: Path) -> None:
    text = " ".join(" ".join(outline(build_report(barren)).text).split())
    assert "None of the 45 candidates" in text
    assert "The nearest wish that could have been fulfilled" in text
    assert re.search(r"shear modulus G ≥ \d+ GPa instead of 150", text)


def test_page_escapes_what_runs_write(tmp_path: Path) -> None:
    made = [
        replace(c, proposer="<script>alert(1)</script>", nearest_known="a<b>&") for c in candidates(3, 0, 0)
    ]
    html = build_report(write_fake_run(tmp_path / "run", made)).read_text()
    assert "<script>alert" not in html
    assert "a&lt;b&gt;&amp;" in html


@pytest.mark.parametrize("kept", ["none", "screened", "bare"])
def test_page_of_a_run_that_got_nowhere(tmp_path: Path, kept: str) -> None:
    made = {"none": [], "screened": candidates(0, 0, 5), "bare": candidates(5, 1, 1)}[kept]
    folder = write_fake_run(tmp_path / "run", made)
    (folder / "manifest.json").unlink()
    page = outline(build_report(folder))
    assert page.open == []
    assert "not computed in this run" in " ".join(page.text)
    Console(file=StringIO(), width=80).print(summary_of(read_run(folder)))


def test_a_baseline_that_was_not_asked_shows_no_number(tmp_path: Path) -> None:
    """Older runs do not say whether it was: theirs shows the number."""
    folder = write_fake_run(tmp_path / "run", candidates(5, 1, 1))
    manifest = json.loads((folder / "manifest.json").read_text())
    mixed = manifest["baselines"]["orderings"]
    for record, shown in ({**mixed, "n_hits": 0, "asked": False}, "–"), ({**mixed, "n_hits": 0}, "0"):
        manifest["baselines"]["orderings"] = record
        (folder / "manifest.json").write_text(json.dumps(manifest))
        found = next(b for b in baselines(read_run(folder)) if b.name == "Orderings")
        assert found.n_hits == shown
        assert ("not asked" in found.basis) == (shown == "–")


def test_a_known_phase_is_named_with_its_entry(folder: Path) -> None:
    page = outline(build_report(folder))
    named = {str(c.known_phase) for c in read_run(folder).candidates if c.known_phase is not None}
    assert named == {"mp-1894", "tabulated"}
    assert f"{ENTRY}1894" in page.links
    assert {"known phase", "mp-1894", "tabulated"} <= set(page.text)


def test_page_is_the_same_twice(folder: Path) -> None:
    assert build_report(folder).read_bytes() == build_report(folder).read_bytes()


def test_verdicts_of_a_killed_step_are_shown_unranked(tmp_path: Path) -> None:
    made = candidates(3, 2, 0)
    folder = write_fake_run(tmp_path / "run", made)
    verdict = made[0].verification
    assert verdict is not None
    with RunFolder.open(folder) as stored:
        stored.write_verification(made[3].id, verdict)
    by_id = {c.id: c for c in read_run(folder).candidates}
    assert by_id[made[3].id].status is Status.VERIFIED
    assert "unfinished step" in by_id[made[3].id].reason
    assert by_id[made[4].id].status is Status.PREDICTED
    assert by_id[made[0].id] == made[0]
    assert "unfinished step" in build_report(folder).read_text()


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no run"):
        build_report(tmp_path)


def test_terminal_table_fits_and_names_baselines(folder: Path, barren: Path) -> None:
    out = StringIO()
    Console(file=out, width=80).print(summary_of(read_run(folder)))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    for words in ("known", "derivative", "new", "baseline: look-up", "baseline: orderings", "optimism gap"):
        assert words in text
    assert "report.html" in text.replace("\n", "")
    out = StringIO()
    Console(file=out, width=100).print(summary_of(read_run(barren)))
    assert "binding target: shear modulus G" in out.getvalue()
    assert "nearest wish" in out.getvalue()


def test_manifest_fits_its_schema() -> None:
    schema("manifest").validate(manifest([]))


def test_doctor_fits_its_schema_and_names_a_bad_data_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INVERSE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))
    found = diagnose()
    schema("doctor").validate(json.loads(json.dumps(found)))
    assert any("INVERSE_DATA" in problem for problem in found["problems"])
    assert found["store"]["writable"] is True
    assert list(tmp_path.iterdir()) == []


def test_every_schema_is_a_schema() -> None:
    for file in files("inverse.inputs").joinpath("schemas").iterdir():
        if file.name.endswith(".json"):
            jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text()))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (287.0, 401.0), (-0.2, 0.03), (5.0, 5.0), (0.0, 0.0)])
def test_ticks_cover_the_data(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 3 <= len(ticks) <= 12


def test_error_bars_stay_inside_a_parity_figure() -> None:
    """Two points 4 apart with bars of 50: ends of bars that run off the plot were drawn on its edge."""
    points = Point(300.0, 302.0, "new", "a", 50.0, 40.0), Point(304.0, 303.0, "known", "b", 50.0, 40.0)
    figure = drawn(Chart("K", "predicted", "verified", points, has_diagonal=True))
    ends = [
        (float(left), float(right)) for left, right in re.findall(r'd="M([\d.]+),[\d.]+H([\d.]+)M', figure)
    ]
    lengths = {round(right - left, 1) for left, right in ends}
    assert len(ends) == 2
    assert max(lengths) - min(lengths) <= 0.11


def test_an_older_folder_gets_what_surrounds_its_crystals(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", candidates(6, 1, 0))
    bare = build_report(folder).read_text()
    assert not (folder / "reference.json").exists(), "the page itself asks no table"
    full = report(folder).read_text()
    schema("reference").validate(json.loads((folder / "reference.json").read_text()))
    assert full.count('class="hull"') > bare.count('class="hull"') == 0


def test_a_page_shows_what_databases_on_the_network_said(tmp_path: Path) -> None:
    made = candidates(2, 0, 0)
    folder = write_fake_run(tmp_path / "run", made)
    answer = {
        "database": "OQMD",
        "answer": "same crystal",
        "entries": [{"id": "12<3>", "url": "https://oqmd.org/12", "is_same": True}],
        "reason": "",
    }
    said = {"id": made[0].id, "formula": made[0].formula, "answers": [answer]}
    record = {"format_version": 1, "asked": "2026-12-01T00:00:00+00:00", "candidates": [said]}
    (folder / "novelty.json").write_text(json.dumps(record))
    page = build_report(folder)
    assert "https://oqmd.org/12" in outline(page).links
    assert "12&lt;3&gt;" in page.read_text()
