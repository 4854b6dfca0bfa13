"""report.html: one self-contained page from a run folder alone; opens offline and loads no model."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from inverse.campaign.candidate_table import shown_properties
from inverse.campaign.run import Run, read_run
from inverse.candidates.hit_counts import hit_counts, hit_rates
from inverse.candidates.types import Status, Target
from inverse.potentials.loading import one_thread
from inverse.report import charts, sections, summary, views, wording
from inverse.report.cited_works import works_of
from inverse.report.crystal import radius_of
from inverse.report.drawing import BALL, colour_of
from inverse.report.seeds import seed_lines
from inverse.report.trust import trust_lines
from inverse.report.what_if import what_if_record
from surrogates.errors import RunFolderError
from surrogates.platform.whole_files import write_atomically

MAX_ROWS = 600
"""Candidates shown one by one; candidates.csv holds all of them."""

MAX_DRAWN = 120
"""Best verified candidates that are drawn, each with its files."""

MAX_PICKS = 40
"""Hits that have a card with their picture; ten of them are shown, all of them printed."""

SCRIPTS = ("crystal.js", "table.js", "what_if.js", "shortlist.js")
"""Of this folder, beside that of 3Dmol.js, in the order in which they run."""

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


def build_report(run_folder: str | Path) -> Path:
    """Write report.html into a run folder, whole or not at all; return its path.

    Raises:
        RunFolderError: no run there, damaged, or the page cannot be written.
        ConfigError: its config.yaml cannot be read.
    """
    return write_report(read_run(run_folder))


def write_report(run: Run) -> Path:
    """Write report.html into the folder of a run that was read; return its path.

    Raises:
        RunFolderError: the page cannot be written.
    """
    path = run.folder / "report.html"
    text = render(run)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path


def render(run: Run) -> str:
    """Return the page of a run as HTML; deterministic."""
    template = templates().get_template("page.html.jinja")
    with one_thread():  # one composition at a time: more threads only wait for each other
        data = page_data(run)
    return template.render(
        **data,
        style=Markup(carried("page.css")),
        viewer=Markup(carried("3Dmol-min.js")),
        scripts=[Markup(carried(name)) for name in SCRIPTS],
    )


@cache
def templates() -> Environment:
    """Return the templates of this folder; what they show is escaped, what they lack is an error."""
    return Environment(
        loader=FunctionLoader(carried),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def carried(name: str) -> str:
    """Return the text of a file of this folder."""
    return files("inverse.report").joinpath(name).read_text(encoding="utf-8")


def page_data(run: Run) -> dict[str, Any]:
    """Return everything the template shows, as plain text, numbers and marked-up figures."""
    targets, candidates = run.config.targets, run.candidates
    shown = [c for c in candidates if c.status not in (Status.SCREENED_OUT, Status.PROPOSED)]
    properties = shown_properties(shown, run.config)
    rate, counts = summary.hit_rate(candidates), hit_counts(candidates)
    online = {} if run.novelty is None else run.novelty.by_id
    rows = views.rows(shown[:MAX_ROWS], properties, targets, run.reference, MAX_DRAWN, run.referee, online)
    return {
        "name": run.config.name,
        "answer": sections.answer(run),
        "seeds": seed_lines(run),
        "targets": wording.targets_text(targets),
        "constraints": wording.constraints_text(run.config),
        "rate": rate,
        "rate_interval": sections.interval_text(rate),
        "headline": hit_rates(candidates, run.manifest).text,
        "hits_by_class": counts.by_class,
        "class_notes": sections.class_notes(run, counts),
        "trust": trust_lines(run),
        "magnetic": counts.magnetic_text if counts.magnetic else "",
        "baselines": sections.baselines(run),
        "columns": views.column_heads(table_properties(properties, targets), targets, shown),
        "table_properties": [properties.index(p) for p in table_properties(properties, targets)],
        "rows": rows,
        "crystals": crystals_json(rows),
        "best": [row for row in rows if row.status == Status.HIT][:MAX_PICKS],
        "n_drawn": sum(row.crystal is not None for row in rows),
        "folder": run.folder.name,
        "what_if": in_script(what_if_record(run)),
        "run_data": in_script(
            {
                "name": run.config.name,
                "created": str(run.manifest.get("created", "")),
                "seed": run.config.seed,
            }
        ),
        "works": works_of(run),
        "n_more": max(len(shown) - MAX_ROWS, 0),
        "n_candidates": len(candidates),
        "funnel": sections.funnel_view(run),
        "misses": sections.misses_view(candidates, targets),
        "wish": sections.wish_text(run),
        "gaps": sections.gaps_view(candidates, properties),
        "proposers": sections.proposers_view(candidates),
        "figures": charts.figures_of(run, properties),
        "provenance": provenance(run),
        "limits": LIMITS,
        "status": str(run.manifest.get("status", "unknown")),
        "stop_reason": str(run.manifest.get("stop_reason", "")),
        "seconds": wording.seconds_text(run.manifest.get("seconds")),
        "command": str(run.manifest.get("command", "")),
    }


def table_properties(properties: Sequence[str], targets: Sequence[Target]) -> list[str]:
    """Return the properties with a column of their own: those asked for, and the energy above hull."""
    asked = [target.property.name for target in targets]
    return list(dict.fromkeys([p for p in properties if p in asked or p == "energy_above_hull"]))


def crystals_json(rows: Sequence[views.CandidateView]) -> Markup:
    """Return what scripts know of the crystals that are drawn, safe within a script element."""
    shown = {row.id: row.crystal for row in rows if row.crystal is not None}
    elements = {symbol for view in shown.values() for symbol, _ in view.elements}
    record = {
        "looks": {
            symbol: {"colour": colour_of(symbol), "radius": round(BALL * radius_of(symbol), 3)}
            for symbol in sorted(elements)
        },
        "of": {name: {"drawing": view.drawing, "files": view.files} for name, view in shown.items()},
    }
    return in_script(record)


def in_script(record: Any) -> Markup:
    """Return plain JSON that no markup in its texts can end."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


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
