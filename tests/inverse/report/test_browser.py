"""The report in a real browser: what a reader does with it; skipped where Playwright or a browser is absent.

`axe.min.js.gz` is axe-core 4.14.1 (Deque Systems, MPL-2.0), the accessibility checks that these tests run.
"""

import gzip
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inverse.campaign.reference_file import write_reference
from inverse.campaign.run import read_run
from inverse.candidates.types import Candidate, HitClass, Status
from inverse.report.export import read_shortlist
from inverse.report.page import build_report
from tests.inverse.report.fake_run import candidate, candidates, verified, write_fake_run

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

MARKUP = "<b onmouseover=alert(1)>bold</b>"
MOST_BYTES = 12e6
ARGUMENTS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def hit(k: int) -> Candidate:
    """A hit with a second opinion that denies its G, and texts that look like markup."""
    made = candidate(k, "verified")
    values = {
        "bulk_modulus_vrh": verified("bulk_modulus_vrh", 305.0 + k, 10.0),
        "shear_modulus_vrh": verified("shear_modulus_vrh", 180.0, 15.0),
        "energy_above_hull": verified("energy_above_hull", 0.02, 0.04),
        "formation_energy_per_atom": verified("formation_energy_per_atom", -0.3, 0.04),
        "density": verified("density", 12.0, 0.1),
    }
    whole = candidate(1, "verified").verification
    assert whole is not None
    from tests.inverse.report.fake_run import structure

    verdict = replace(
        whole,
        values=values,
        structure=structure(k, 1.01),
        is_stable=True,
        second_opinion={"shear_modulus_vrh": verified("shear_modulus_vrh", 86.0, 12.0)},
        elasticity={
            "potential": "diep",
            "stiffness_ieee": [[500.0 if i == j else 90.0 for j in range(6)] for i in range(6)],
        },
    )
    return replace(
        made,
        status=Status.HIT,
        hit_class=list(HitClass)[k % 3],
        verification=verdict,
        proposer=MARKUP,
        nearest_known="WC" if k % 2 else MARKUP,
        history={"note": MARKUP, "elements": [MARKUP]},
        duplicate_of="",
        reason="",
        score=0.99 - 0.01 * k,
        probability_after=0.99 - 0.01 * k,
        parent_prototype=f"type {k}",
    )


def made_report(folder: Path, made: list[Candidate]) -> Path:
    write_fake_run(folder, made)
    write_reference(folder, read_run(folder).candidates)
    return build_report(folder)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen hits, some misses and failures, some predicted only."""
    others = [
        c
        for c in candidates(40, 5, 5)
        if c.status is not Status.HIT and not c.duplicate_of and int(c.id[1:]) > 13
    ]
    return made_report(tmp_path_factory.mktemp("runs") / "thirteen", [*map(hit, range(1, 14)), *others])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


class Watched:
    """A page of the browser with all that it complained of or asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # milliseconds: a busy machine is no fault
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def shown(self) -> list[str]:
        """Return the ids of the rows that are shown, in order."""
        code = "[...document.querySelectorAll('#candidates > tbody')].filter(b => !b.hidden).map(b => b.id)"
        return list(self.page.evaluate(code))

    def search(self, text: str) -> list[str]:
        self.page.fill("#filter-text", text)
        return self.shown()

    def data(self, name: str, ids: list[str]) -> set[str]:
        return {self.page.get_attribute(f"#{i}", f"data-{name}") or "" for i in ids}


@pytest.fixture
def watched(browser: Any, report: Path) -> Iterator[Watched]:
    opened = Watched(browser, report, viewport={"width": 1280, "height": 900})
    yield opened
    opened.context.close()
    assert opened.complaints == [], "nothing on the console, no dialog"
    away = [url for url in opened.requests if not url.startswith(("file:", "blob:", "data:"))]
    assert away == [], "nothing is requested from outside"


def test_search_reads_elements_systems_formulas_groups_and_classes(watched: Watched) -> None:
    every = watched.shown()
    assert all("W" in e.split() for e in watched.data("elements", watched.search("W")))
    both = watched.search("W B")
    assert 0 < len(both) < len(every)
    assert all({"W", "B"} <= set(e.split()) for e in watched.data("elements", both))
    assert watched.data("elements", watched.search("B-Ti-Mo")) <= {"B Mo Ti"}
    own = watched.page.get_attribute("#c000002", "data-amounts") or ""
    parts = [(part.rstrip("0123456789"), int(re.sub(r"\D", "", part))) for part in own.split()]
    for spelling in (
        "".join(f"{s}{n}" for s, n in parts),
        "".join(f"{s}{2 * n}" for s, n in reversed(parts)),
        "(" + "".join(f"{s}{n}" for s, n in parts) + ")2",
    ):
        found = watched.search(spelling)
        assert "c000002" in found, spelling
        assert watched.data("amounts", found) == {own}
    number = watched.page.get_attribute("#c000002", "data-number") or ""
    symbol = watched.page.get_attribute("#c000002", "data-group") or ""
    assert watched.search(number) == watched.search(symbol)
    assert watched.data("number", watched.search(number)) == {number}
    assert watched.search("c000007") == ["c000007"]
    assert all("new" in kind.split() for kind in watched.data("kind", watched.search("new")))
    assert watched.search("Zz") == []
    assert watched.page.inner_text("#shown") == f"0 of {len(every)} shown"
    assert watched.search("") == every


def test_each_column_sorts_its_best_first(watched: Watched) -> None:
    heads = watched.page.locator("#candidates thead button")
    for k, name in enumerate(heads.all_inner_texts()):
        if not name.startswith(("K", "G", "E_hull", "Score", "ρ")):
            continue
        heads.nth(k).click()
        code = (
            "[...document.querySelectorAll('#candidates > tbody')]"
            ".map(b => [b.rows[0].cells[0].dataset.sort, b.rows[0].cells[%d].dataset.sort])"
        )
        rows = watched.page.evaluate(code % k)
        is_judged = [bool(rank) for rank, _ in rows]
        assert is_judged == sorted(is_judged, reverse=True), "what was judged stands before predictions"
        rises = name.startswith(("E_hull", "ρ"))
        for judged in (True, False):
            values = [float(v) for rank, v in rows if v and bool(rank) is judged]
            assert values == sorted(values, reverse=not rises), name


def test_a_card_opens_with_its_crystal_that_turns_and_its_files(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    page.click("#c000002 .formula")
    card = page.locator("#c000002-detail")
    assert card.locator("svg.strip").count() == 3
    assert "86" in card.locator("svg.strip .dissents").first.text_content()
    assert "Where it comes from" in card.inner_text()
    assert not card.locator(".developers[open]").count(), "developers' fields are folded away"
    turn = card.locator("button.turn")
    if turn.is_visible():  # without WebGL the picture stays
        turn.click()
        canvas = card.locator(".stage canvas")
        before = canvas.screenshot()
        card.locator(".stage").focus()
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(200)
        assert canvas.screenshot() != before, "the arrow keys turn it"
        turn.click()
        assert not card.locator(".stage").count()
    with page.expect_download() as caught:
        card.get_by_role("button", name=re.compile(r"\.cif$")).click()
    caught.value.save_as(tmp_path / "one.cif")
    assert "_symmetry_equiv_pos_as_xyz" in (tmp_path / "one.cif").read_text()
    names = card.locator(".files button").all_inner_texts()
    assert {"POSCAR", "INCAR", "KPOINTS"} <= set(names)


def test_moved_bounds_say_who_is_lost_and_how_to_go_on(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    assert page.inner_text("#outcome").startswith("13 hits")
    assert "--resume" in page.inner_text("#command")
    page.fill("[data-bound='bulk_modulus_vrh lower']", "309")
    assert page.inner_text("#outcome") == "3 hits lost at K ≥ 309: 10 in all."
    assert page.locator("#candidates > tbody.lost").count() == 3
    with page.expect_download() as caught:
        page.click("#save-config")
    caught.value.save_as(tmp_path / "more.yaml")
    from inverse.inputs.campaign_config import load_config

    assert load_config(tmp_path / "more.yaml").targets[0].minimum == 309
    assert caught.value.suggested_filename in page.inner_text("#command")
    page.click("#reset-bounds")
    assert page.inner_text("#outcome").startswith("13 hits")


def test_the_shortlist_stays_and_is_read_by_export(watched: Watched, tmp_path: Path) -> None:
    page = watched.page
    page.click("[data-star=c000003]")
    page.click("#c000005 .formula")
    page.fill("[data-comment=c000005]", f"arc melting {MARKUP}")
    page.reload()
    listed = page.inner_text("#shortlisted")
    assert MARKUP in listed, "text stays text"
    with page.expect_download() as caught:
        page.click("#save-shortlist")
    caught.value.save_as(tmp_path / "shortlist.json")
    assert read_shortlist(tmp_path / "shortlist.json") == ["c000003", "c000005"]
    record = json.loads((tmp_path / "shortlist.json").read_text())
    assert record["candidates"][1]["comment"] == f"arc melting {MARKUP}"
    page.click("[data-star=c000003]")
    assert "c000003" not in page.inner_html("#shortlisted")


def test_markup_in_names_stays_text(watched: Watched) -> None:
    watched.page.click("#toggle-all")
    assert watched.page.locator("b[onmouseover]").count() == 0
    assert MARKUP in (watched.page.text_content("#c000002-detail") or "")


def test_thirteen_hits_print_on_six_pages(watched: Watched, tmp_path: Path) -> None:
    watched.page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    pages = re.findall(rb"/Type\s*/Page[^s]", (tmp_path / "report.pdf").read_bytes())
    assert 3 <= len(pages) <= 6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_of_accessibility(browser: Any, report: Path, scheme: str) -> None:
    opened = Watched(
        browser, report, color_scheme=scheme, viewport={"width": 1280, "height": 900}, bypass_csp=True
    )
    opened.page.click("#c000002 .formula")
    code = gzip.decompress((Path(__file__).parent / "axe.min.js.gz").read_bytes()).decode()
    opened.page.evaluate(code)
    found = opened.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    faults = [
        (fault["id"], fault["nodes"][0]["html"][:120], fault["nodes"][0].get("failureSummary", ""))
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
    opened.context.close()
    assert faults == []


def test_a_narrow_screen_needs_no_sideways_scroll(browser: Any, report: Path) -> None:
    opened = Watched(browser, report, viewport={"width": 380, "height": 800})
    opened.page.click("#c000002 .formula")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 380
    assert (
        opened.page.evaluate(
            "document.querySelector('#c000002-detail .crystal').getBoundingClientRect().right"
        )
        <= 380
    )
    opened.context.close()


def test_a_hundred_candidates_fit_into_twelve_megabytes(tmp_path: Path) -> None:
    path = made_report(tmp_path / "hundred", list(map(hit, range(1, 101))))
    assert path.stat().st_size <= MOST_BYTES
    assert path.read_text(encoding="utf-8").count('class="cell"') >= 100
