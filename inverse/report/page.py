"""report.html: one self-contained page from a run folder alone; opens offline and loads no model."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from inverse.report import figures, summary, views, wording
from inverse.report.run import Run, read_run
from inverse.report.table import best_structure, shown_properties
from inverse.types import Candidate, Status, Target
from surrogates.errors import EngineError, RunFolderError

MAX_ROWS = 600
"""Candidates shown one by one; candidates.csv holds all of them."""

MAX_DECOMPOSED = 80
"""Best candidates whose decomposition is worked out (a new chemical system costs about 0.03 s)."""

LIMITS = (
    "Everything is at 0 K and ordered: no temperature, no disorder, no defects, no surfaces.",
    "One magnetic order per crystal, as the potential implies it; other orders are not searched, and "
    "magnetic compounds are where potentials err most.",
    "The DFT scale is PBE (Materials Project): its own errors against experiment remain.",
    "Verified means judged by machine-learned potentials and calibrated to DFT. It is not DFT, and not a "
    "sample.",
    "Energy above hull is measured against the known phases that ship with the program; a missing phase "
    "makes a candidate look more stable than it is. Phonons are not part of a hit.",
    "Known means: in the carried tables or among the carried signatures. Not found there is not proof of "
    "novelty.",
)


@dataclass(frozen=True)
class Baseline:
    """One of the two baselines as the page shows it."""

    name: str
    explanation: str
    n_hits: str
    considered: str
    basis: str
    best: tuple[tuple[Markup, str], ...]
    note: str


def build_report(run_folder: str | Path) -> Path:
    """Write report.html into a run folder, whole or not at all; return its path.

    Raises:
        RunFolderError: no run there, damaged, or the page cannot be written.
        ConfigError: its config.yaml cannot be read.
    """
    run = read_run(run_folder)
    path = Path(run_folder) / "report.html"
    temporary = path.with_name(f".{path.name}.tmp")
    text = render(run)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def render(run: Run) -> str:
    """Return the page of a run as HTML; deterministic."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("inverse.report")
    template = environment.from_string(folder.joinpath("page.html.jinja").read_text(encoding="utf-8"))
    style = folder.joinpath("page.css").read_text(encoding="utf-8")
    script = folder.joinpath("page.js").read_text(encoding="utf-8")
    return template.render(**page_data(run), style=Markup(style), script=Markup(script))


def page_data(run: Run) -> dict[str, Any]:
    """Return everything the template shows, as plain text, numbers and marked-up figures."""
    targets, candidates = run.config.targets, run.candidates
    shown = [c for c in candidates if c.status not in (Status.SCREENED_OUT, Status.PROPOSED)]
    properties = shown_properties(shown, run.config)
    rate = summary.hit_rate(candidates)
    rows = views.rows(shown[:MAX_ROWS], properties, targets, decompositions(shown[:MAX_DECOMPOSED]))
    return {
        "name": run.config.name,
        "answer": answer(run),
        "targets": wording.targets_text(targets),
        "constraints": wording.constraints_text(run.config),
        "rate": rate,
        "rate_text": rate_text(rate),
        "hits_by_class": summary.hits_by_class(candidates),
        "baselines": baselines(run),
        "columns": views.column_heads(table_properties(properties, targets)),
        "table_properties": [properties.index(p) for p in table_properties(properties, targets)],
        "rows": rows,
        "best": [row for row in rows if row.status == Status.HIT][:8],
        "n_more": max(len(shown) - MAX_ROWS, 0),
        "n_candidates": len(candidates),
        "funnel": funnel_view(run),
        "misses": misses_view(candidates, targets),
        "wish": wish_text(run),
        "gaps": gaps_view(candidates, properties),
        "proposers": proposers_view(candidates),
        "figures": figures_of(run, properties),
        "provenance": provenance(run),
        "limits": LIMITS,
        "status": str(run.manifest.get("status", "unknown")),
        "stop_reason": str(run.manifest.get("stop_reason", "")),
        "seconds": wording.seconds_text(run.manifest.get("seconds")),
        "command": str(run.manifest.get("command", "")),
    }


def answer(run: Run) -> str:
    """Return the outcome in one or two sentences."""
    rate = summary.hit_rate(run.candidates)
    if rate.started == 0:
        return (
            "No verification was started, so there is nothing to judge yet; the funnel says where it ended."
        )
    if rate.hits == 0:
        return (
            f"None of the {rate.started} candidates that were sent to the judges met every target. "
            "Below: which target binds, and the nearest wish that this run could have fulfilled."
        )
    classes = summary.hits_by_class(run.candidates)
    unseen = rate.hits - classes["known"]
    plural = "s" if rate.hits != 1 else ""
    return (
        f"{rate.hits} crystal{plural} met every target, out of {rate.started} sent to the judges; "
        f"{unseen} of them {'is' if unseen == 1 else 'are'} in no table that this program carries."
    )


def rate_text(rate: summary.HitRate) -> str:
    """Return the hit rate with its interval."""
    if rate.rate is None:
        return "no verification started"
    return (
        f"{wording.percent(rate.rate)} of {rate.started} verifications started "
        f"(95 % interval {wording.percent(rate.lower)} to {wording.percent(rate.upper)})"
    )


def table_properties(properties: Sequence[str], targets: Sequence[Target]) -> list[str]:
    """Return the properties with a column of their own: those asked for, and the energy above hull."""
    asked = [target.property.name for target in targets]
    return list(dict.fromkeys([p for p in properties if p in asked or p == "energy_above_hull"]))


def baselines(run: Run) -> list[Baseline]:
    """Return the look-up and the orderings as the page shows them, also when a run did not compute them."""
    given = dict(run.manifest.get("baselines") or {})
    asked = [target.property.name for target in summary.effective_targets(run.config.targets)]
    texts = {
        "lookup": (
            "Look-up",
            "Known formulas whose tabulated DFT values already meet the targets; costs nothing.",
        ),
        "orderings": (
            "Orderings",
            "Alike elements ordered on the sites of known phases, ranked by mixing the end members.",
        ),
    }
    return [_baseline(*texts[key], given.get(key), asked) for key in texts]


def _baseline(
    name: str, explanation: str, record: Mapping[str, Any] | None, asked: Sequence[str]
) -> Baseline:
    if not record:
        return Baseline(name, explanation, "–", "", "not computed in this run", (), "")
    basis = {"dft": "by tabulated DFT", "predicted": "predicted only", "verified": "verified by the judges"}
    started = f" of {record['n_started']} verified" if record.get("n_started") else ""
    considered = f"{record['n_considered']:,} considered" if record.get("n_considered") else ""
    best = tuple(
        (
            views.formula_markup(str(item["formula"])),
            ", ".join(
                f"{wording.symbol(key)} {wording.number(value, key)}"
                for key, value in (item.get("values") or {}).items()
                if key in asked
            ),
        )
        for item in (record.get("best") or [])[:6]
    )
    return Baseline(
        name,
        explanation,
        f"{record.get('n_hits', '–')}{started}",
        considered,
        basis.get(str(record.get("basis")), str(record.get("basis", ""))),
        best,
        str(record.get("note", "")),
    )


def decompositions(candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    """Return by id what verified candidates would decompose into; empty where the reference cannot say."""
    from inverse.reference.hull import ReferenceHull

    found: dict[str, dict[str, float]] = {}
    hull: ReferenceHull | None = None
    for candidate in candidates:
        energy = summary.verified_value(candidate, "formation_energy_per_atom")
        if energy is None:
            continue
        try:
            hull = hull or ReferenceHull.packaged()
            formula = best_structure(candidate).composition.reduced_formula
            found[candidate.id] = dict(hull.energy_above_hull(formula, energy).decomposition)
        except EngineError:
            continue
    return found


def funnel_view(run: Run) -> list[dict[str, Any]]:
    """Return the funnel's stages with bar widths (log scale keeps the small ones visible) and losses."""
    import math

    stages = summary.funnel(run.candidates, run.config.targets, run.manifest.get("funnel"))
    evaluated = (run.manifest.get("funnel") or {}).get("evaluated")
    if evaluated:
        stages.insert(0, summary.FunnelStage("evaluated by the surrogate", int(evaluated), {}))
    widest = math.log10(1 + max((stage.count for stage in stages), default=1)) or 1.0
    return [
        {
            "name": stage.name,
            "count": f"{stage.count:,}",
            "width": round(100 * math.log10(1 + stage.count) / widest, 1),
            "lost": [(wording.reason_text(name), f"{n:,}") for name, n in stage.lost.items()],
        }
        for stage in stages
    ]


def misses_view(candidates: Sequence[Candidate], targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Return for each hard target how often it was missed; the binding one is first and marked."""
    misses = summary.target_misses(candidates, targets)
    binding = summary.binding_target(candidates, targets)
    return [
        {
            "target": wording.target_text(miss.target),
            "missed": miss.missed,
            "alone": miss.missed_alone,
            "unknown": miss.unknown,
            "binds": miss == binding,
        }
        for miss in misses
    ]


def wish_text(run: Run) -> dict[str, Any] | None:
    """Return the nearest feasible wish of a run without hits; None with hits or without values."""
    if any(c.status is Status.HIT for c in run.candidates):
        return None
    wish = summary.nearest_wish(run.candidates, run.config.targets)
    if wish is None:
        return None
    clauses = []
    for name, (lower, upper, value) in wish.bounds.items():
        asked, sign = (lower, "≥") if value < lower else (upper, "≤")
        found = f"{wording.number(value, name)} {wording.unit(name)}".strip()
        clauses.append(f"{wording.label(name)} {sign} {found} instead of {wording.number(asked, name)}")
    return {
        "formula": views.formula_markup(best_structure(wish.candidate).composition.reduced_formula),
        "id": wish.candidate.id,
        "clauses": clauses,
        "basis": wish.basis,
    }


def gaps_view(candidates: Sequence[Candidate], properties: Sequence[str]) -> list[dict[str, str]]:
    """Return the optimism gap of every property that has one."""
    shown = []
    for name in properties:
        gap = summary.optimism_gap(candidates, name)
        if gap.n == 0:
            continue
        absolute = wording.number(gap.absolute, name)
        sign = "+" if gap.absolute is not None and gap.absolute > 0 else ""
        shown.append(
            {
                "label": wording.label(name),
                "relative": wording.percent(gap.relative, 1, signed=True),
                "absolute": f"{sign}{absolute} {wording.unit(name)}".strip(),
                "n": str(gap.n),
                "failed": str(gap.n_failed),
            }
        )
    return shown


def proposers_view(candidates: Sequence[Candidate]) -> list[dict[str, str]]:
    """Return started, hits and rate of every proposer that had a candidate verified, most hits first."""
    names = dict.fromkeys(c.proposer for c in candidates if c.status in summary.STARTED)
    rates = [(name, summary.hit_rate(candidates, name)) for name in names]
    rates.sort(key=lambda item: (-item[1].hits, -item[1].started, item[0]))
    return [
        {
            "name": name.replace("_", " "),
            "started": str(rate.started),
            "hits": str(rate.hits),
            "rate": f"{wording.percent(rate.rate)} "
            f"({wording.percent(rate.lower)} to {wording.percent(rate.upper)})",
        }
        for name, rate in rates
    ]


def figures_of(run: Run, properties: Sequence[str]) -> list[dict[str, Markup | str]]:
    """Return the figures that the run has data for: targets' plane, predicted against verified, progress."""
    made = []
    hard = [t for t in run.config.targets if t.is_hard and t.property.name != "energy_above_hull"]
    if hard:
        second = hard[1] if len(hard) > 1 else Target(summary.ENERGY_ABOVE_HULL, maximum=_hull_limit(run))
        made.append(_plane(run, hard[0], second))
    for target in hard[:2]:
        made.append(_parity(run, target.property.name))
    in_order = sorted((c for c in run.candidates if c.status in summary.STARTED), key=lambda c: c.id)
    caption = "Hits found as verifications were spent"
    made.append((figures.progress([c.status is Status.HIT for c in in_order], caption), caption))
    return [{"svg": Markup(svg), "caption": caption} for svg, caption in made if svg]


def _hull_limit(run: Run) -> float:
    return next(
        (
            t.upper
            for t in summary.effective_targets(run.config.targets)
            if t.property == summary.ENERGY_ABOVE_HULL
        ),
        summary.DEFAULT_HULL_LIMIT,
    )


def _plane(run: Run, first: Target, second: Target) -> tuple[str, str]:
    x, y = first.property.name, second.property.name
    points = []
    for candidate in run.candidates:
        at_x, at_y = summary.verified_value(candidate, x), summary.verified_value(candidate, y)
        if at_x is not None and at_y is not None:
            points.append(_point(candidate, at_x, at_y, (x, y)))
    caption = f"Verified {wording.label(x)} and {wording.label(y)}; the wanted window is shaded"
    region = figures.Region(first.lower, first.upper, second.lower, second.upper)
    return figures.scatter(points, _axis(x), _axis(y), region, caption), caption


def _parity(run: Run, name: str) -> tuple[str, str]:
    points = []
    for candidate in run.candidates:
        predicted, verified = candidate.predictions.get(name), summary.verified_value(candidate, name)
        if predicted is not None and verified is not None and candidate.verification is not None:
            stds = predicted.std, candidate.verification.values[name].std
            points.append(_point(candidate, predicted.mean, verified, (name, name), stds))
    what = wording.label(name)
    caption = f"{what[0].upper()}{what[1:]}: predicted before the verdict, verified after (± one std)"
    return figures.parity(points, f"predicted {_axis(name)}", f"verified {_axis(name)}", caption), caption


def _point(
    candidate: Candidate,
    x: float,
    y: float,
    names: tuple[str, str],
    errors: tuple[float, float] = (0.0, 0.0),
) -> figures.Point:
    formula = best_structure(candidate).composition.reduced_formula
    is_hit = candidate.status is Status.HIT and candidate.hit_class is not None
    kind = str(candidate.hit_class) if is_hit else "verified"
    values = ", ".join(wording.number(v, name) for v, name in zip((x, y), names, strict=True))
    title = f"{formula} ({'hit, ' + kind if is_hit else 'no hit'}): {values}"
    safe = tuple(e if e == e and e < float("inf") else 0.0 for e in errors)
    return figures.Point(x, y, kind, title, safe[0], safe[1], candidate.id)


def _axis(name: str) -> str:
    of = wording.unit(name)
    return f"{wording.label(name)} ({of})" if of else wording.label(name)


def provenance(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the groups of settings that make a run reproducible."""
    manifest = run.manifest
    budget = run.config.budget
    basics: list[tuple[str, Any]] = [
        ("command", manifest.get("command")),
        ("started", manifest.get("created")),
        ("last written", manifest.get("updated")),
        ("seed", run.config.seed),
        ("device", manifest.get("device", run.config.device)),
        ("search", run.config.search.method),
        ("judges asked for", run.config.verify.potential),
        ("stored verdicts reused", "yes" if run.config.verify.reuse else "no"),
        ("budget", {key: value for key, value in asdict_budget(budget).items() if value is not None}),
    ]
    groups: list[tuple[str, Mapping[str, Any] | Sequence[tuple[str, Any]]]] = [("Run", basics)]
    for title, key in (
        ("Judges", "judges"),
        ("Settings", "settings"),
        ("Models", "weights"),
        ("Versions", "versions"),
    ):
        if manifest.get(key):
            groups.append((title, dict(manifest[key])))
    return [
        (title, [(wording.label(str(k)), wording.plain_text(v)) for k, v in _pairs(group)])
        for title, group in groups
    ]


def asdict_budget(budget: Any) -> dict[str, Any]:
    """Return a budget as words."""
    return {
        "verifications": budget.verifications,
        "time": None if budget.seconds is None else wording.seconds_text(budget.seconds),
    }


def _pairs(group: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return list(group.items()) if isinstance(group, Mapping) else list(group)
