"""What the terminal shows when a run ends: ranked table, hits by class, baselines, optimism gap, report."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inverse.campaign.candidate_table import best_structure, is_ranked, space_group
from inverse.campaign.dynamical_stability import is_asked, phonon_stage
from inverse.campaign.run import Run
from inverse.candidates.hit_counts import hit_counts, hit_rates
from inverse.candidates.judged import is_predicted_only
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import is_promising
from inverse.candidates.types import Candidate, Origin, Status, Target
from inverse.report import summary, wording
from inverse.report.sections import answer, baselines, gaps_view, misses_view, rate_text, wish_text
from inverse.report.seeds import seed_lines
from inverse.report.views import only_predicted, plus_minus
from surrogates.crystals.formulas import display_formula

CLASS_STYLES = {"new": "bold green", "derivative": "bold blue", "known": "yellow"}


def ranked_table(candidates: Sequence[Candidate], objective: Objective, limit: int = 20) -> Table:
    """Return the ranked candidates with their verified values ± std on the DFT scale.

    Args:
        candidates: in the order of the table.
        objective: each target has a column, and so has the energy above hull; what misses one that decides
            is marked.
        limit: rows shown at most.
    """
    wanted: dict[str, Target | None] = {target.property.name: None for target in objective.targets}
    wanted |= {target.property.name: target for target in objective.deciding}
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    for head in ("formula", "group", "result"):
        table.add_column(head, no_wrap=True)
    table.add_column("P", justify="right", no_wrap=True)
    odd = only_predicted(list(wanted), candidates)
    for name in wanted:
        head = f"{wording.symbol(name)} {wording.unit(name, objective.targets)}".strip()
        table.add_column(f"{head}, predicted" if name in odd else head, justify="right")
    shown = [c for c in candidates if is_ranked(c)][:limit]
    asked = any(is_asked(c) for c in shown)
    if asked:
        table.add_column("phonons", no_wrap=True)
    for rank, candidate in enumerate(shown, start=1):
        cells = _row(rank, candidate, wanted, is_promising(candidate, objective))
        table.add_row(*cells, *([_phonons(candidate)] if asked else []))
    return table


def summary_of(run: Run, limit: int = 20) -> RenderableType:
    """Return the terminal's summary of a run that was read already."""
    n_ranked = sum(is_ranked(c) for c in run.candidates)
    parts: list[RenderableType] = []
    if n_ranked:
        parts.append(ranked_table(run.candidates, Objective.of(run.config), limit))
        shown = f"the best {limit} of {n_ranked} verified; " if n_ranked > limit else ""
        note = (
            "P: all targets met, after the verdict; flags lower the order; "
            "verified ± std on the DFT scale; ✗ misses its target"
        )
        parts.append(Text(shown + note, style="dim"))
    parts += [
        Text(),
        Text(answer(run), style="bold"),
        *map(Text, seed_lines(run)),
        Text(hit_rates(run.candidates, run.manifest).text, style="bold"),
        _hits_line(run),
        *_magnetic_line(run),
        *_solid_solution_line(run),
        *_why_not(run),
        *_gap_lines(run),
    ]
    parts += [Text(), _where(run)]
    return Group(*parts)


def _row(rank: int, candidate: Candidate, wanted: Mapping[str, Target | None], promises: bool) -> list[Text]:
    structure = best_structure(candidate)
    group = space_group(structure)
    cells = [
        Text(str(rank)),
        Text(display_formula(structure.composition), style="bold"),
        Text("–" if group is None else group[0]),
        _result(candidate, "promising" if promises else "no hit"),
        Text(f"{wording.percent(candidate.probability_after)}"),
    ]
    return cells + [_value(candidate, name, target) for name, target in wanted.items()]


def _phonons(candidate: Candidate) -> Text:
    """Return what the phonons say; a dash for a crystal that was not asked about, or without an answer."""
    passed = phonon_stage(candidate).passed
    if passed is None:
        return Text("–", style="dim")
    return Text("stable") if passed else Text("✗ imaginary", style="red")


def _result(candidate: Candidate, other: str) -> Text:
    kind = "" if candidate.hit_class is None else str(candidate.hit_class)
    own = ", yours" if candidate.origin is Origin.SEED else ""
    if candidate.status is Status.HIT:
        return Text((f"hit, {kind}" if kind else "hit") + own, style=CLASS_STYLES.get(kind, "bold"))
    return Text((f"as {candidate.duplicate_of}" if candidate.duplicate_of else other) + own, style="dim")


def _value(candidate: Candidate, name: str, target: Target | None) -> Text:
    verification = candidate.verification
    verified = verification.values.get(name) if verification is not None else None
    predicted = candidate.predictions.get(name)
    if verified is None and predicted is not None and is_predicted_only(name):
        return Text(plus_minus(predicted.mean, predicted.std, name).replace(" ", ""), style="dim")
    if verified is None:
        return Text("–", style="dim")
    text = plus_minus(verified.mean, verified.std, name).replace(" ", "")
    if target is not None and not target.is_met(verified.mean):
        return Text(f"✗ {text}", style="red")
    return Text(text)


def _hits_line(run: Run) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    counts = hit_counts(run.candidates)
    classes = counts.by_class
    for head in ("", "hits", *classes, ""):
        table.add_column(head, justify="left" if head == "" else "right")
    rate = summary.hit_rate(run.candidates)
    table.add_row("this run", str(rate.hits), *map(counts.class_text, classes), rate_text(rate))
    for baseline in baselines(run):
        detail = ", ".join(part for part in (baseline.basis, baseline.considered, baseline.note) if part)
        table.add_row(f"baseline: {baseline.name.lower()}", baseline.n_hits, *("" for _ in classes), detail)
    return table


def _magnetic_line(run: Run) -> list[RenderableType]:
    """Return how many hits there are with and without magnetic elements, where some have one."""
    counts = hit_counts(run.candidates)
    return [Text(f"hits: {counts.magnetic_text}")] if counts.magnetic else []


def _solid_solution_line(run: Run) -> list[RenderableType]:
    """Return which hits are expected to be solid solutions, where some were asked about."""
    asked = [c for c in run.candidates if c.status is Status.HIT and c.order is not None]
    mixed = [c for c in asked if c.order is not None and c.order.is_solid_solution]
    if not asked:
        return []
    names = ", ".join(display_formula(c.structure.composition) for c in mixed)
    said = f"expect a solid solution of {len(mixed)} of {len(asked)} hits with alike elements on their sites"
    return [Text(f"{said}: {names}" if names else said)]


def _why_not(run: Run) -> list[RenderableType]:
    """Return why a run has no hits: the binding target and the nearest feasible wish."""
    if summary.hit_rate(run.candidates).hits:
        return []
    lines: list[RenderableType] = []
    stages = summary.funnel(run.candidates, Objective.of(run.config), run.manifest.get("funnel"))
    lines.append(Text("funnel: " + " > ".join(f"{stage.name} {stage.count}" for stage in stages)))
    for stage in stages:
        if stage.lost:
            lost = ", ".join(
                f"{wording.reason_text(name)} {count}" for name, count in list(stage.lost.items())[:5]
            )
            lines.append(Text(f"  lost before '{stage.name}': {lost}", style="dim"))
    binding = [miss for miss in misses_view(run.candidates, run.config.targets) if miss["binds"]]
    lines += [Text(f"binding target: {miss['target']}, missed by {miss['missed']}") for miss in binding]
    if (wish := wish_text(run)) is not None:
        lines.append(Text(f"nearest wish: {'; '.join(wish['clauses'])} ({wish['id']}, {wish['basis']})"))
    return lines


def _gap_lines(run: Run) -> list[RenderableType]:
    names = [target.property.name for target in run.config.targets]
    gaps = gaps_view(run.candidates, names)
    if not gaps:
        return []
    shown = []
    for gap in gaps:
        relative = "" if gap["relative"] == wording.percent(None) else f"{gap['relative']} or "
        shown.append(f"{gap['label']} {relative}{gap['absolute']} (n {gap['n']})")
    return [Text(f"optimism gap, median of predicted - verified: {'; '.join(shown)}")]


def _where(run: Run) -> Text:
    text = Text("report: ", style="bold")
    text.append(str((run.folder / "report.html").resolve()))
    return text
