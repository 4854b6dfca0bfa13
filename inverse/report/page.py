"""report.html: one self-contained page from a run folder alone; opens offline and loads no model."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from inverse.campaign.candidate_table import best_structure, shown_properties
from inverse.campaign.run import Run, read_run
from inverse.candidates.hit_counts import hit_counts, hit_rates
from inverse.candidates.types import Candidate, Status, Target
from inverse.report import charts, sections, summary, views, wishes, wording
from inverse.report.seeds import seed_lines
from surrogates.errors import EngineError, RunFolderError
from surrogates.platform.whole_files import write_atomically

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
    rate, counts = summary.hit_rate(candidates), hit_counts(candidates)
    rows = views.rows(shown[:MAX_ROWS], properties, targets, decompositions(shown[:MAX_DECOMPOSED]))
    return {
        "name": run.config.name,
        "answer": sections.answer(run),
        "seeds": seed_lines(run),
        "targets": wording.targets_text(targets),
        "constraints": wording.constraints_text(run.config),
        "rate": rate,
        "rate_text": sections.rate_text(rate),
        "headline": hit_rates(candidates, run.manifest).text,
        "hits_by_class": counts.by_class,
        "class_notes": {name: counts.class_note(name) for name in counts.by_class},
        "magnetic": counts.magnetic_text if counts.magnetic else "",
        "baselines": sections.baselines(run),
        "columns": views.column_heads(table_properties(properties, targets), targets, shown),
        "table_properties": [properties.index(p) for p in table_properties(properties, targets)],
        "rows": rows,
        "best": [row for row in rows if row.status == Status.HIT][:8],
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


def decompositions(candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    """Return by id what verified candidates would decompose into; empty where the reference cannot say.

    It is worked out on the packaged hull, and said only beside a distance that was measured from that hull:
    live entries, or phases of another version, would name others.
    """
    from inverse.reference.hull import SAME_HULL, ReferenceHull

    found: dict[str, dict[str, float]] = {}
    hull: ReferenceHull | None = None
    for candidate in candidates:
        energy = wishes.verified_value(candidate, "formation_energy_per_atom")
        distance = wishes.verified_value(candidate, "energy_above_hull")
        if energy is None or distance is None:
            continue
        try:
            hull = hull or ReferenceHull.packaged()
            formula = best_structure(candidate).composition.reduced_formula
            below = hull.energy_above_hull(formula, energy)
            if abs(below.energy_above_hull - distance) <= SAME_HULL:
                found[candidate.id] = dict(below.decomposition)
        except EngineError:
            continue
    return found


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
