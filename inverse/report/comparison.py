"""`inverse compare`: two runs side by side, from their folders alone."""

from collections.abc import Sequence
from pathlib import Path

from inverse.campaign.run import Run, read_run
from inverse.candidates.hit_counts import hit_counts, hit_rates
from inverse.candidates.types import Candidate, Status
from inverse.report import summary
from surrogates.crystals.formulas import display_formula

Row = tuple[str, str, str]


def compare(first: str | Path, second: str | Path) -> list[Row]:
    """Return rows of (what, first run, second run): settings, hits, gaps, what was found by both.

    Raises:
        RunFolderError: a folder that holds no run.
    """
    return rows_of(read_run(first), read_run(second))


def rows_of(first: Run, second: Run) -> list[Row]:
    """Return the rows of two runs that were read."""
    runs = first, second
    rows = [
        _row("folder", [str(run.folder) for run in runs]),
        _row("name", [run.config.name for run in runs]),
    ]
    rows += [_row("targets", [_targets(run) for run in runs])]
    rows += [_row("method", [run.config.search.method for run in runs])]
    rows += [_row("seed", [str(run.config.seed) for run in runs])]
    rates = [summary.hit_rate(run.candidates) for run in runs]
    rows += [_row("candidates", [str(len(run.candidates)) for run in runs])]
    rows += [_row("verifications started", [str(rate.started) for rate in rates])]
    rows += [_row("hits", [str(rate.hits) for rate in rates])]
    over = [hit_rates(run.candidates, run.manifest) for run in runs]
    rows += [_row("hits per core-hour", [_number(one.per_core_hour) for one in over])]
    rows += [_row("core-hours of the search", [_number(_hours(one.cpu_seconds)) for one in over])]
    rows += [_row("hit rate", ["-" if rate.rate is None else f"{rate.rate:.0%}" for rate in rates])]
    rows += [_row("crystals triaged", [str(one.triaged or "-") for one in over])]
    rows += [_row("hits per crystal triaged", [_number(one.per_triaged) for one in over])]
    counts = [hit_counts(run.candidates) for run in runs]
    kinds = dict.fromkeys(kind for count in counts for kind in count.by_class)
    rows += [_row(f"hits, {kind}", [count.class_text(kind) for count in counts]) for kind in kinds]
    solid = [sum(c.order is not None and c.order.is_solid_solution for c in _hits(run)) for run in runs]
    rows += [_row("hits, solid solution expected", [str(n) for n in solid])]
    rows += [_row("hits without magnetic elements", [str(count.without_magnetic) for count in counts])]
    names = dict.fromkeys(t.property.name for run in runs for t in run.config.targets)
    rows += [_row(f"optimism gap, {name}", [_gap(run, name) for run in runs]) for name in names]
    rows += [_row(f"best {name}", [_best(run, name) for run in runs]) for name in names]
    rows += [_row("top five", [", ".join(_formulas(run.candidates, 5)) or "-" for run in runs])]
    shared = sorted(set(_formulas(runs[0].candidates)) & set(_formulas(runs[1].candidates)))
    return [*rows, ("hits in both", str(len(shared)), ", ".join(shared[:8]) or "-")]


def _hits(run: Run) -> list[Candidate]:
    return [c for c in run.candidates if c.status is Status.HIT]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600.0


def _row(name: str, values: Sequence[str]) -> Row:
    return name, values[0], values[1]


def _targets(run: Run) -> str:
    parts = []
    for target in run.config.targets:
        if target.is_hard:
            parts.append(f"{target.lower:g} <= {target.property.symbol} <= {target.upper:g}")
        else:
            parts.append(f"{'minimise' if target.minimise else 'maximise'} {target.property.symbol}")
    return "; ".join(parts).replace("-inf <= ", "").replace(" <= inf", "")


def _gap(run: Run, name: str) -> str:
    gap = summary.optimism_gap(run.candidates, name)
    if gap.absolute is None:
        return "-"
    unit = run.config.properties[name].unit
    shown = f"{gap.absolute:+.3g} {unit}".rstrip() if gap.relative is None else f"{gap.relative:+.1%}"
    return f"{shown} (n {gap.n})"


def _best(run: Run, name: str) -> str:
    """Return the value of the best-ranked hit, else of the best-ranked verified candidate."""
    for candidate in run.candidates:
        value = summary.verified_value(candidate, name)
        if value is not None:
            unit = run.config.properties[name].unit
            return f"{value:.4g} {unit} ({_formula(candidate)})"
    return "-"


def _formula(candidate: Candidate) -> str:
    return display_formula(candidate.structure.composition)


def _formulas(candidates: Sequence[Candidate], limit: int | None = None) -> list[str]:
    hits = [_formula(c) for c in candidates if c.status is Status.HIT]
    return list(dict.fromkeys(hits))[:limit]
