"""Which figures a run has: one list of them, for the page and for notebooks."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from pymatgen.core import Element

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.run import Run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.hit_counts import hit_rates
from inverse.candidates.types import Candidate, Status, Target
from inverse.report import figures, wishes, wording
from inverse.report.candidate_map import Clusters, map_of, outline
from inverse.report.chart import Chart, Line, Point, Region, Square
from surrogates.crystals.formulas import display_formula
from surrogates.errors import EngineError
from surrogates.physics.properties import BAND_GAP, ENERGY_ABOVE_HULL, FORMATION_ENERGY

MOST_BEHIND = 1500
"""Known materials behind a plane; more of them are thinned out evenly."""

MOST_ON_MAP = 1000
"""Best candidates on the map."""

ON_PAGE = {"plane": 1, "parity": 2, "front": 1, "progress": 1, "elements": 1, "map": 1}
"""Figures of each kind that the page shows; notebooks have all."""


def figures_of(run: Run, properties: Sequence[str]) -> list[dict[str, Markup | str]]:
    """Return the figures that the page shows of a run, as SVG with a caption; none is empty.

    Args:
        run: as read.
        properties: that the page shows; figures are of those that were wished for.
    """
    chosen = itertools.chain.from_iterable(
        itertools.islice((c for c in CHARTS[kind](run) if not c.is_empty), n) for kind, n in ON_PAGE.items()
    )
    return [{"svg": Markup(figures.drawn(chart)), "caption": chart.caption} for chart in chosen]


# -- planes of two properties --------------------------------------------------------------------------------


def planes(run: Run, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Yield planes of two properties: the first two wished, or those named; known materials behind."""
    for x, y in [(names[0], names[1])] if len(names) > 1 else _pairs(run)[:1]:
        known, formulas = known_behind(run, x, y)
        is_known = ", known materials of the allowed elements (tabulated DFT) behind" if len(known) else ""
        yield Chart(
            f"{_said(run, x)} and {wording.label(y)}; the wanted window is shaded{is_known}",
            _axis(run, x),
            _axis(run, y),
            _points(run, x, y),
            known if len(known) else None,
            formulas,
            _region(run, x, y),
        )


def fronts(run: Run, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Yield planes with the Pareto front of what was judged, for wished properties that have a direction."""
    better = {t.property.name: _sign(t) for t in effective_targets(run.config.targets) if _sign(t)}
    better |= {t.property.name: _sign(t) for t in run.config.targets if _sign(t)}
    wished = [name for name in (names or better) if name in better]
    for x, y in itertools.combinations(wished, 2):
        points = _points(run, x, y)
        values = np.array([(p.x, p.y) for p in points]).reshape(-1, 2)
        front = values[pareto_front(values * (better[x], better[y]))]
        front = front[np.argsort(front[:, 0])]
        yield Chart(
            f"Pareto front of {wording.label(x)} ({_words(better[x])}) and {wording.label(y)} "
            f"({_words(better[y])}): no judged crystal beats those on the line in both",
            _axis(run, x),
            _axis(run, y),
            points,
            region=_region(run, x, y),
            lines=(Line("Pareto front", front, False, "front"),) if len(front) else (),
        )


def pareto_front(values: np.ndarray) -> np.ndarray:
    """Return the rows that no other row beats in one column without losing in another.

    Args:
        values: (N, D), higher is better.

    >>> pareto_front(np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 2.0], [1.0, 1.0]])).tolist()
    [0, 1, 2]
    """
    at_least = np.all(values[None] >= values[:, None], axis=-1)
    more = np.any(values[None] > values[:, None], axis=-1)
    return np.flatnonzero(~np.any(at_least & more, axis=1))


def _sign(target: Target) -> float:
    """Return 1 where more of a property is better, -1 where less is, 0 where neither."""
    if target.minimise or target.maximise:
        return 1.0 if target.maximise else -1.0
    if target.near is not None or (target.minimum is not None and target.maximum is not None):
        return 0.0
    return 1.0 if target.minimum is not None else -1.0


def _words(sign: float) -> str:
    return "more is better" if sign > 0 else "less is better"


def _pairs(run: Run) -> list[tuple[str, str]]:
    """Return pairs of wished properties, the two that were asked for first before others."""
    deciding = [t.property.name for t in effective_targets(run.config.targets)]
    others = [t.property.name for t in run.config.targets if t.property.name not in deciding]
    hull = [name for name in deciding if name == ENERGY_ABOVE_HULL.name]
    wished = [name for name in deciding if name not in hull] + hull + others
    return list(itertools.combinations(dict.fromkeys(wished), 2))


def _region(run: Run, x: str, y: str) -> Region:
    own = {t.property.name: t for t in effective_targets(run.config.targets)}
    (x_low, x_high), (y_low, y_high) = (
        (own[name].lower, own[name].upper) if name in own else (-np.inf, np.inf) for name in (x, y)
    )
    return Region(x_low, x_high, y_low, y_high)


def _points(run: Run, x: str, y: str) -> tuple[Point, ...]:
    """Return what was judged; a property that no judge computes has its predicted value."""
    points = []
    for candidate in run.candidates:
        at_x, at_y = _value(candidate, x), _value(candidate, y)
        if at_x is not None and at_y is not None:
            points.append(_point(run, candidate, at_x, at_y, (x, y)))
    return tuple(points)


def _value(candidate: Candidate, name: str) -> float | None:
    """Return the verified value of a judged candidate, else its predicted one; None without a verdict."""
    if candidate.status not in (Status.HIT, Status.VERIFIED):
        return None
    verified = wishes.verified_value(candidate, name)
    predicted = candidate.predictions.get(name)
    found = verified if verified is not None else predicted.mean if predicted is not None else None
    return found if found is not None and np.isfinite(found) else None


def known_behind(run: Run, x: str, y: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return values and formulas of known materials of the allowed elements, where both are tabulated by DFT.

    Distances from the hull are not: they would have to be worked out for thousands of chemical systems.

    Returns:
        (N, 2) natural units, and N formulas as chemists write them.
    """
    from inverse.reference.facts import Facts

    nothing = np.empty((0, 2)), ()
    try:
        facts = Facts.packaged()
    except EngineError:
        return nothing
    formulas: list[str] = facts.moduli["formula"]
    columns = []
    for name in (x, y):
        if name in facts.moduli:
            columns.append(np.asarray(facts.moduli[name], dtype=float))
        elif name == BAND_GAP.name:
            columns.append(np.array([facts.band_gaps.get(f, np.nan) for f in formulas]))
        elif name == FORMATION_ENERGY.name:
            found = [facts.hull.phases.phase(f) for f in formulas]
            columns.append(np.array([np.nan if p is None else p.formation_energy_per_atom for p in found]))
        else:
            return nothing
    allowed = run.config.constraints.allowed_elements()
    values = np.stack(columns, axis=1)
    kept = [
        k
        for k, formula in enumerate(formulas)
        if allowed.issuperset(re.findall("[A-Z][a-z]?", formula)) and np.isfinite(values[k]).all()
    ]
    kept = kept[:: max(1, -(-len(kept) // MOST_BEHIND))]
    return values[kept], tuple(display_formula(formulas[k]) for k in kept)


# -- predicted against verified ------------------------------------------------------------------------------


def parities(run: Run, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Yield predicted against verified, a figure for each judged property that was wished, or named."""
    hard = [t.property for t in effective_targets(run.config.targets)]
    wished = [p.name for p in hard if not p.is_exact and p != ENERGY_ABOVE_HULL]
    wished += [p.name for p in hard if p == ENERGY_ABOVE_HULL]
    for name in names or wished:
        points = []
        for candidate in run.candidates:
            predicted, verified = candidate.predictions.get(name), wishes.verified_value(candidate, name)
            if predicted is not None and verified is not None and candidate.verification is not None:
                stds = predicted.std, candidate.verification.values[name].std
                points.append(_point(run, candidate, predicted.mean, verified, (name, name), stds))
        yield Chart(
            f"{_said(run, name)}: predicted before the verdict, verified after (± one std)",
            f"predicted {_axis(run, name)}",
            f"verified {_axis(run, name)}",
            tuple(p for p in points if np.isfinite((p.x, p.y)).all()),
            has_diagonal=True,
        )


# -- hits against what they took -----------------------------------------------------------------------------


def progress(run: Run, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Yield hits so far against core-hours, or against verifications where the cost was not counted."""
    is_counted = bool(hit_rates(run.candidates, run.manifest).cpu_seconds)
    steps = hits_so_far(run, is_counted)
    if not steps[-1, 1]:
        return
    if is_counted:
        caption = "Hits found over the core-hours of the search, spread over verdicts by time of its steps"
        label = "core-hours"
    else:
        caption, label = "Hits found as verifications were spent", "verifications started"
    line = Line("hits so far", steps, True, "progress")
    yield Chart(caption, label, "hits so far", lines=(line,), has_whole_ticks=True)


def hits_so_far(run: Run, over_core_hours: bool) -> np.ndarray:
    """Return what was spent at each verdict and the hits by then, from (0, 0) on.

    Args:
        run: as read.
        over_core_hours: spent are core-hours, where they were counted; else verifications.

    Returns:
        (V + 1, 2)
    """
    hits = {c.id for c in run.hits}
    # one that waited has an early id, and a late verdict
    found = [identity in hits for identity in run.verified]
    hours = _core_hours(run, len(found)) if over_core_hours else None
    x = np.arange(1, len(found) + 1) if hours is None else hours
    return np.stack([np.concatenate([[0.0], x]), np.concatenate([[0.0], np.cumsum(found)])], axis=1)


def _core_hours(run: Run, n: int) -> np.ndarray | None:
    """Return the core-hours spent at each of n verdicts; None where they were not counted.

    Cost is counted as a whole: it is spread over the steps by their time, and within one evenly.
    """
    cost = hit_rates(run.candidates, run.manifest).cpu_seconds
    if not cost:
        return None
    steps = [(int(s.get("started", 0)), float(s.get("seconds", 0.0))) for s in run.manifest.get("steps", ())]
    total = sum(seconds for _, seconds in steps)
    if sum(started for started, _ in steps) != n or not total:
        return cost / 3600.0 * np.arange(1, n + 1) / n
    spent, at = 0.0, []
    for started, seconds in steps:
        at += [spent + seconds * (k + 1) / started for k in range(started)]
        spent += seconds
    return cost / 3600.0 * np.array(at) / total


# -- where in chemistry --------------------------------------------------------------------------------------


def elements(run: Run, names: Sequence[str] = ()) -> Iterator[Chart]:
    """Yield the periodic table with how many verified candidates, and hits, have each element."""
    started = [c for c in run.candidates if c.status in wishes.STARTED]
    used, in_hits = _counted(started), _counted(run.hits)
    if not used:
        return
    squares = [Square(e.symbol, *_place(e), used[e.symbol], in_hits[e.symbol]) for e in _all_elements()]
    caption = "Elements of verified candidates: darker the more have one; the number counts hits"
    yield Chart(caption, squares=tuple(squares))


def _counted(candidates: Sequence[Candidate]) -> Counter[str]:
    return Counter(e.symbol for c in candidates for e in c.structure.composition.elements)


def _all_elements() -> list[Element]:
    return [Element.from_Z(z) for z in range(1, 104)]


def _place(element: Element) -> tuple[int, int]:
    if element.is_lanthanoid:
        return element.Z - 54, 8
    if element.is_actinoid:
        return element.Z - 86, 9
    return int(element.group), int(element.row)


def candidate_map(run: Run, names: Sequence[str] = (), clusters: Clusters | None = None) -> Iterator[Chart]:
    """Yield the map of the candidates, by class of the hit, with outlines of clusters where there are any."""
    shown = [c for c in run.candidates if c.status not in (Status.SCREENED_OUT, Status.PROPOSED)]
    shown = shown[:MOST_ON_MAP]
    if len(shown) < 3:
        return
    structures = [best_structure(c) for c in shown]
    found = map_of(structures, clusters)
    points, lines = [], []
    for k, (candidate, (x, y)) in enumerate(zip(shown, found.places.tolist(), strict=True)):
        where = f", cluster {found.clusters[k] + 1}" if found.n_clusters else ""
        title = f"{_title(candidate)}{where}"
        points.append(Point(x, y, _kind(candidate), title, link=candidate.id))
    for number in range(found.n_clusters):
        members = found.clusters == number
        atoms: Counter[str] = Counter()
        for structure in itertools.compress(structures, members):
            atoms.update(structure.composition.fractional_composition.get_el_amt_dict())
        common = ", ".join(symbol for symbol, _ in atoms.most_common(3))
        corners = outline(found.places[members])
        if len(corners):
            lines.append(Line(f"cluster {number + 1}: mostly {common}", corners, False, "outline"))
    shares = ", ".join(wording.percent(share) for share in found.shares)
    grouped = f"; {found.n_clusters} clusters are outlined" if found.n_clusters else ""
    yield Chart(
        f"Map of {len(shown)} candidates: principal components of chemistry and volume ({shares} of the "
        f"variance), alike ones near each other{grouped}",
        found.axes[0],
        found.axes[1],
        tuple(points),
        lines=tuple(lines),
    )


# -- candidates and axes -------------------------------------------------------------------------------------


def _point(
    run: Run,
    candidate: Candidate,
    x: float,
    y: float,
    names: tuple[str, str],
    errors: tuple[float, float] = (0.0, 0.0),
) -> Point:
    values = ", ".join(
        f"{wording.number(value, name)} {wording.unit(name, run.config.targets)}".rstrip()
        for value, name in zip((x, y), names, strict=True)
    )
    safe = tuple(e if np.isfinite(e) else 0.0 for e in errors)
    return Point(x, y, _kind(candidate), f"{_title(candidate)}: {values}", safe[0], safe[1], candidate.id)


def _kind(candidate: Candidate) -> str:
    if candidate.status is Status.HIT and candidate.hit_class is not None:
        return str(candidate.hit_class)
    return "predicted" if candidate.verification is None else "verified"


def _title(candidate: Candidate) -> str:
    formula = display_formula(best_structure(candidate).composition)
    is_hit = candidate.status is Status.HIT and candidate.hit_class is not None
    if is_hit:
        return f"{formula} (hit, {candidate.hit_class})"
    return f"{formula} ({'predicted only' if candidate.verification is None else 'no hit'})"


def _said(run: Run, name: str) -> str:
    """Return a property at the beginning of a caption; one that no judge computed says so."""
    judged = any(c.verification is not None and name in c.verification.values for c in run.candidates)
    label = wording.label(name)
    return f"{label[0].upper()}{label[1:]}" if judged else f"Predicted {label}"


def _axis(run: Run, name: str) -> str:
    of = wording.unit(name, run.config.targets)
    return f"{wording.label(name)} ({of})" if of else wording.label(name)


CHARTS: Mapping[str, Callable[..., Iterator[Chart]]] = {
    "plane": planes,
    "parity": parities,
    "front": fronts,
    "progress": progress,
    "elements": elements,
    "map": candidate_map,
}
"""Name of a figure -> function of a run and of properties; what it yields first matters most."""
