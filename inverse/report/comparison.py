"""`inverse compare`: two runs side by side, from their folders alone."""

from collections.abc import Sequence
from pathlib import Path

from inverse.campaign.run import Run, read_run
from inverse.candidates.types import Candidate, Status
from inverse.report import summary
from surrogates.crystals.formulas import display_formula

Row = tuple[str, str, str]


def compare(first: str | Path, second: str | Path) -> list[Row]:
    """Return rows of (what, first run, second run): settings, hits, gaps, what was found by both.

    Raises:
        RunFolderError: a folder that holds no run.
    """
    runs = read_run(first), read_run(second)
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
    rows += [_row("hit rate", ["-" if rate.rate is None else f"{rate.rate:.0%}" for rate in rates])]
    classes = [summary.hits_by_class(run.candidates) for run in runs]
    rows += [_row(f"hits, {kind}", [str(counts.get(kind, 0)) for counts in classes]) for kind in classes[0]]
    names = dict.fromkeys(t.property.name for run in runs for t in run.config.targets)
    rows += [_row(f"optimism gap, {name}", [_gap(run, name) for run in runs]) for name in names]
    rows += [_row(f"best {name}", [_best(run, name) for run in runs]) for name in names]
    rows += [_row("top five", [", ".join(_formulas(run.candidates, 5)) or "-" for run in runs])]
    shared = sorted(set(_formulas(runs[0].candidates)) & set(_formulas(runs[1].candidates)))
    return [*rows, ("hits in both", str(len(shared)), ", ".join(shared[:8]) or "-")]


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
