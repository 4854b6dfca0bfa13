"""Figures of a run: what they show, whoever draws them; none from nothing."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Element

import inverse
from inverse.candidates.types import Status, Target
from inverse.report import candidate_map, charts, figures
from inverse.report.candidate_map import Clusters, map_of, outline
from inverse.report.chart import Chart, Point
from inverse.report.charts import CHARTS, figures_of, pareto_front
from inverse.report.loaded_run import LoadedRun
from inverse.report.plots import plotted
from surrogates.errors import DataError, MissingExtraError, UnknownNameError
from surrogates.physics.properties import BULK_MODULUS, DENSITY, Property
from tests.inverse.report import fake_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    return inverse.load(fake_run.write_fake_run(tmp_path_factory.mktemp("run") / "a"))


def judged(run: LoadedRun) -> list[Any]:
    return [c for c in run.candidates if c.status in (Status.HIT, Status.VERIFIED)]


def first(charts_of: Iterator[Chart]) -> Chart:
    return next(charts_of)


def test_the_plane_holds_what_was_judged_with_known_materials_of_allowed_elements_behind(
    run: LoadedRun,
) -> None:
    chart = first(charts.planes(run))
    assert (chart.x_label, chart.y_label) == ("bulk modulus K (GPa)", "shear modulus G (GPa)")
    assert len(chart.points) == len(judged(run))
    assert {p.kind for p in chart.points if p.kind != "verified"} == {str(c.hit_class) for c in run.hits}
    assert chart.region is not None
    assert (chart.region.x_low, chart.region.y_low) == (300, 150)
    assert chart.behind is not None
    assert 500 < len(chart.behind) <= charts.MOST_BEHIND
    assert len(chart.behind_names) == len(chart.behind)
    assert not any("Os" in name or "Re" in name for name in chart.behind_names)  # excluded by the config
    tabulated = charts.known_behind(run, "shear_modulus_vrh", "bulk_modulus_vrh")[0]
    assert np.array_equal(tabulated[:, ::-1], chart.behind)


def test_a_distance_from_the_hull_has_no_known_materials_behind(run: LoadedRun) -> None:
    chart = first(charts.planes(run, ("bulk_modulus_vrh", "energy_above_hull")))
    assert chart.behind is None
    assert "behind" not in chart.caption


def test_a_property_that_the_user_brought_is_shown_as_predicted_with_its_unit(run: LoadedRun) -> None:
    own = Property("toughness", "t", "<MPa>", 0.0, 1e4, "table")
    guess = {"toughness": fake_run.predicted(5.0, 1.0)}
    config = SimpleNamespace(
        targets=(
            Target(own, minimum=4.0),
            Target(BULK_MODULUS, minimum=300.0),
            Target(DENSITY, minimise=True),
        ),
        constraints=run.config.constraints,
    )
    candidates = tuple(replace(c, predictions={**c.predictions, **guess}) for c in run.candidates)
    mine = LoadedRun(run.folder, config, candidates, run.manifest, run.verified)  # type: ignore[arg-type]
    chart = first(charts.planes(mine))
    assert chart.x_label == "toughness (<MPa>)"
    assert chart.caption.startswith("Predicted toughness and bulk modulus K")
    assert {p.x for p in chart.points} == {5.0}
    assert "&lt;MPa&gt;" in figures.drawn(chart)
    assert "<MPa>" not in figures.drawn(chart)
    judged_ones = [c.x_label.split(" (")[0] for c in charts.parities(mine) if not c.is_empty]
    assert judged_ones == ["predicted bulk modulus K", "predicted energy above hull"]
    directions = [c.caption for c in charts.fronts(mine)]
    assert len(directions) == 6  # the default limit of the hull is among the four
    assert any("density (less is better)" in caption for caption in directions)


def test_no_crystal_beats_those_on_the_front(run: LoadedRun) -> None:
    chart = first(charts.fronts(run))
    (front,) = chart.lines
    values = np.array([(p.x, p.y) for p in chart.points])
    for x, y in front.points:
        assert not any((values[:, 0] > x) & (values[:, 1] > y))
    for x, y in values:
        assert any((front.points[:, 0] >= x) & (front.points[:, 1] >= y))
    assert pareto_front(np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]])).tolist() == [0, 1, 2]  # equals stay


def test_predictions_are_those_made_before_the_verdict(run: LoadedRun) -> None:
    chart = first(charts.parities(run))
    of = {p.link: p for p in chart.points}
    for candidate in judged(run):
        assert of[candidate.id].x == candidate.predictions["bulk_modulus_vrh"].mean
        assert of[candidate.id].y == candidate.verification.values["bulk_modulus_vrh"].mean
    assert chart.has_diagonal
    (low, high), other = chart.ranges()
    assert (low, high) == other


def test_an_error_bar_without_end_leaves_the_others_their_room() -> None:
    def point(value: float, error: float) -> Point:
        return Point(value, value, "verified", "", x_error=error, y_error=error)

    steady = Chart("", points=(point(300.0, 10.0), point(340.0, 10.0)), has_diagonal=True)
    assert steady.ranges()[0] == (290.0, 350.0)
    unsure = Chart("", points=(point(300.0, 10.0), point(340.0, 1e4)), has_diagonal=True)
    assert unsure.ranges()[0] == (290.0, 357.0)


@pytest.mark.parametrize("counted", [True, False])
def test_hits_stand_over_what_they_took(run: LoadedRun, counted: bool) -> None:
    order = [c.id for c in run.candidates if c.verification is not None]
    steps = [{"started": 15, "seconds": 300.0}, {"started": len(order) - 15, "seconds": 100.0}]
    cost = {"cost": {"search": 7200.0}} if counted else {}
    manifest = {**run.manifest, "steps": steps, **cost}
    own = LoadedRun(run.folder, run.config, run.candidates, manifest, tuple(order))
    chart = first(charts.progress(own))
    (line,) = chart.lines
    assert line.points[-1, 1] == len(run.hits)
    assert line.points[-1, 0] == pytest.approx(2.0 if counted else len(order))
    assert chart.x_label == ("core-hours" if counted else "verifications started")
    if counted:
        assert line.points[15, 0] == pytest.approx(1.5)  # three quarters of the time are the first step's
    assert np.all(np.diff(line.points, axis=0) >= 0)


def test_each_element_counts_the_candidates_that_have_it(run: LoadedRun) -> None:
    squares = {square.symbol: square for square in first(charts.elements(run)).squares}
    started = [c for c in run.candidates if c.verification is not None]
    for symbol in ("W", "B", "Ti", "O"):
        having = [c for c in started if symbol in c.structure.composition]
        assert squares[symbol].n == len(having)
        assert squares[symbol].hits <= squares[symbol].n
    places = [(square.column, square.row) for square in squares.values()]
    assert len(set(places)) == len(places) == 103
    assert (squares["H"].column, squares["He"].column, squares["W"].row) == (1, 18, 6)
    assert (squares["La"].row, squares["Lu"].column, squares["U"].row) == (8, 17, 9)


# -- the map -------------------------------------------------------------------------------------------------


def test_like_crystals_lie_together_and_the_map_is_the_same_again() -> None:
    carbides = [fake_run.structure(k) for k in range(1, 60, 3)]
    others = [s.copy() for s in carbides]
    for s in others:
        s.replace_species({e: "Cs" if e.Z > 7 else "I" for e in s.elements})
    found = map_of([*carbides, *others], Clusters.NONE)
    middle = found.places[:20].mean(axis=0), found.places[20:].mean(axis=0)
    apart = np.linalg.norm(middle[0] - middle[1])
    assert apart > 3 * found.places[20:].std()
    assert found.shares[0] > found.shares[1] > 0
    assert found.n_clusters == 0
    again = map_of([*carbides, *others], Clusters.NONE)
    assert np.array_equal(found.places, again.places)
    pytest.importorskip("sklearn")
    for kind in (Clusters.K_MEANS, Clusters.HIERARCHICAL):
        labels = map_of([*carbides, *others], kind).clusters
        assert set(labels[:20]).isdisjoint(labels[20:])


def test_without_scikit_learn_there_is_the_map_alone(run: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate_map, "find_spec", lambda name: None)
    chart = first(charts.candidate_map(run))
    assert chart.lines == ()
    assert "clusters" not in chart.caption
    with pytest.raises(MissingExtraError, match="scikit-learn"):
        run.plot("map", clusters="k-means")


def test_every_element_has_a_place_on_the_map() -> None:
    cells = []
    for z in range(1, 101, 4):
        cell = fake_run.structure(1).copy()
        cell.replace_species({e: Element.from_Z(z) for e in cell.elements[:1]})
        cells.append(cell)
    assert np.isfinite(map_of(cells, Clusters.NONE).places).all()


def test_an_outline_goes_around_its_points() -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])
    around = outline(square)
    assert len(around) == 5
    assert around[0].tolist() == around[-1].tolist()
    assert [0.5, 0.5] not in around.tolist()
    assert len(outline(np.array([[0, 0], [1, 1], [2, 2.0]]))) == 0
    assert len(outline(square[:2])) == 0


# -- drawn ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHARTS)
def test_every_figure_is_drawn_for_the_page_and_for_notebooks(run: LoadedRun, name: str) -> None:
    for chart in CHARTS[name](run):
        svg = ElementTree.fromstring(figures.drawn(chart))
        assert svg.attrib["aria-label"] == chart.caption
        json.loads(plotted(chart).to_json())
    shown = run.plot(name)
    n_marks = sum(len(t.x) for t in shown.data if t.mode == "markers" and t.name != "known materials")
    chart = first(CHARTS[name](run))
    assert n_marks == len(chart.points)


def test_the_page_has_one_of_most_kinds_and_few_bytes(run: LoadedRun) -> None:
    shown = figures_of(run, [])
    assert len(shown) >= 6
    assert sum(len(figure["svg"]) for figure in shown) < 200_000


def test_what_is_not_there_is_refused_by_name(run: LoadedRun, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown figure 'plan'; did you mean 'plane'"):
        run.plot("plan")
    with pytest.raises(UnknownNameError, match="did you mean 'bulk_modulus_vrh'"):
        run.plot("parity", "bulk_modulus")
    with pytest.raises(UnknownNameError, match="unknown kind of clusters 'kmeans'"):
        run.plot("map", clusters="kmeans")
    made = fake_run.candidates(n_verified=0, n_predicted=2)
    empty = inverse.load(fake_run.write_fake_run(tmp_path / "empty", made))
    for name in CHARTS:
        with pytest.raises(DataError, match=f"figure '{name}': .*nothing was found"):
            empty.plot(name)
    assert figures_of(empty, []) == []
