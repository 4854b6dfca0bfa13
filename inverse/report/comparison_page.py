"""`inverse compare --output`: two runs as one page: found by both, by one, and at what cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from inverse.campaign.candidate_table import best_structure, reason, space_group
from inverse.campaign.run import Run, read_run
from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.hit_counts import hit_rates
from inverse.candidates.types import Candidate, Status
from inverse.report import summary, wording
from inverse.report.chart import Chart, Line
from inverse.report.charts import hits_so_far
from inverse.report.comparison import rows_of
from inverse.report.figures import drawn
from inverse.report.markup import formula_markup, space_group_markup
from inverse.report.page import carried, templates
from inverse.report.views import STATUS_LABELS, plus_minus
from surrogates.crystals.formulas import display_formula
from surrogates.errors import ConfigError
from surrogates.platform.whole_files import write_atomically

NAMES = ("first", "second")
"""What the runs are called on the page, beside their own names: these may be the same."""


@dataclass(frozen=True)
class Found:
    """A crystal that one of the runs, or both, called a hit.

    Attributes:
        formula: marked up.
        space_group: marked up.
        hit_class: known, derivative, new; "" where it has none.
        ids: in each run; "" where it was not among its hits.
        values: of each target, by each run that judged it: "318 ± 16", in the order of the targets.
        elsewhere: what became of it in the run that did not call it a hit; "" for both.
    """

    formula: Markup
    space_group: Markup
    hit_class: str
    ids: tuple[str, str]
    values: tuple[tuple[str, ...], tuple[str, ...]]
    elsewhere: str


def write_comparison(first: str | Path, second: str | Path, path: str | Path) -> Path:
    """Write a page that compares two runs, from their folders alone; return its path.

    Raises:
        RunFolderError: a folder that holds no run.
        ConfigError: the page cannot be written there.
    """
    path = Path(path)
    text = render(read_run(first), read_run(second))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written ({error.strerror or error})") from None
    return path


def render(first: Run, second: Run) -> str:
    """Return the page as HTML; deterministic, opens offline."""
    runs = (first, second)
    wished = dict.fromkeys(t.property.name for run in runs for t in effective_targets(run.config.targets))
    both, only_first, only_second = found_by(first, second, tuple(wished))
    over = [hit_rates(run.candidates, run.manifest) for run in runs]
    targets = [target for run in runs for target in run.config.targets]
    figure = progress(first, second)
    return (
        templates()
        .get_template("comparison.html.jinja")
        .render(
            style=Markup(carried("page.css")),
            runs=[
                {
                    "name": run.config.name,
                    "which": which,
                    "folder": str(run.folder),
                    "targets": wording.targets_text(run.config.targets),
                    "constraints": wording.constraints_text(run.config),
                    "headline": one.text,
                    "rate": summary.hit_rate(run.candidates),
                }
                for run, which, one in zip(runs, NAMES, over, strict=True)
            ],
            same_question=_question(first) == _question(second),
            heads=[
                (wording.symbol(name), wording.unit(name, targets), wording.label(name)) for name in wished
            ],
            groups=[
                ("Found by both", both, True),
                ("Found by the first alone", only_first, False),
                ("Found by the second alone", only_second, False),
            ],
            figure=None if figure.is_empty else {"svg": Markup(drawn(figure)), "caption": figure.caption},
            rows=rows_of(first, second),
        )
    )


def found_by(
    first: Run, second: Run, properties: Sequence[str] = ()
) -> tuple[list[Found], list[Found], list[Found]]:
    """Return the hits of both runs, of the first alone and of the second alone, each best first.

    One crystal is the same as another where formula and parent prototype agree, or the formula where one of
    them has no prototype.

    Args:
        first: a run.
        second: another.
        properties: whose values are shown.
    """
    both, only_first = [], []
    for one in first.hits:
        other = next((c for c in second.hits if _is_same(one, c)), None)
        if other is None:
            only_first.append(_found(one, None, properties, _fate(one, second)))
        else:
            both.append(_found(one, other, properties))
    unshared = [c for c in second.hits if not any(_is_same(c, one) for one in first.hits)]
    only_second = [_found(None, c, properties, _fate(c, first)) for c in unshared]
    return both, only_first, only_second


def progress(first: Run, second: Run) -> Chart:
    """Return the hits of both over core-hours, or over verifications where one has not counted its cost."""
    lines = []
    counted = all(hit_rates(run.candidates, run.manifest).cpu_seconds for run in (first, second))
    for run, which, kind in zip((first, second), NAMES, ("progress", "other"), strict=True):
        steps = hits_so_far(run, counted)
        lines.append(Line(f"{which}: {run.config.name}", steps, True, kind))
    over = "core-hours" if counted else "verifications started"
    caption = f"Hits over {over}: the first run as a solid line, the second dashed"
    has_any = any(line.points[-1, 1] > 0 for line in lines)
    return Chart(caption, over, "hits so far", lines=tuple(lines) if has_any else (), has_whole_ticks=True)


def _question(run: Run) -> tuple[object, ...]:
    return tuple(wording.targets_text(run.config.targets)), tuple(wording.constraints_text(run.config))


def _is_same(one: Candidate, other: Candidate) -> bool:
    if one.formula != other.formula:
        return False
    known = one.parent_prototype, other.parent_prototype
    return not all(known) or known[0] == known[1]


def _fate(candidate: Candidate, run: Run) -> str:
    """Return what became of a crystal in a run that does not count it among its hits."""
    alike = next((c for c in run.candidates if _is_same(candidate, c)), None)
    if alike is None:
        formula = next((c for c in run.candidates if c.formula == candidate.formula), None)
        return "not proposed" if formula is None else "proposed in another structure only"
    if alike.duplicate_of:
        return f"counted as {alike.duplicate_of}"
    said = STATUS_LABELS[alike.status]
    if alike.status is Status.PREDICTED:
        return f"{said}, P {wording.percent(alike.probability_target_met)}: never sent to the judges"
    why = wording.reason_text(reason(alike))
    return f"{said}: {why}" if why else said


def _found(
    first: Candidate | None, second: Candidate | None, properties: Sequence[str], elsewhere: str = ""
) -> Found:
    shown = first or second
    if shown is None:
        raise ValueError("a crystal that no run found")
    structure = best_structure(shown)
    return Found(
        formula_markup(display_formula(structure.composition)),
        space_group_markup(space_group(structure)),
        "" if shown.hit_class is None else str(shown.hit_class),
        ("" if first is None else first.id, "" if second is None else second.id),
        (_values(first, properties), _values(second, properties)),
        elsewhere,
    )


def _values(candidate: Candidate | None, properties: Sequence[str]) -> tuple[str, ...]:
    if candidate is None or candidate.verification is None:
        return ()
    values = candidate.verification.values
    guesses = candidate.predictions
    shown = []
    for name in properties:
        value = values.get(name) or guesses.get(name)
        shown.append(
            "–" if value is None or not np.isfinite(value.mean) else plus_minus(value.mean, value.std, name)
        )
    return tuple(shown)
