"""Tables on the terminal: a finished run, two runs side by side, properties, the doctor; a campaign's bar."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table

from inverse.commands.console import FAILED, note
from surrogates.crystals.formulas import display_formula

if TYPE_CHECKING:
    from inverse.campaign.confirming import Ahead
    from inverse.campaign.novelty import NoveltyAnswers
    from inverse.campaign.parts import Progress
    from inverse.campaign.run import Run
    from inverse.candidates.types import Candidate
    from inverse.reference.online_databases import DatabaseAnswer

PLAIN_WIDTH = 150
"""Columns of a table that goes to a file or a pipe, where COLUMNS does not ask for more."""


def console_on(stream: TextIO) -> Console:
    """Return what writes to a terminal at its width, and to files and pipes wide."""
    # COLUMNS may be the terminal's: whoever imports `readline` exports it
    asked = os.environ.get("COLUMNS", "")
    width = None if stream.isatty() else max(PLAIN_WIDTH, int(asked) if asked.isdecimal() else 0)
    return Console(file=stream, width=width)


def show_run(run: "Run", stream: TextIO) -> int:
    """Write the ranked table, hits by class, baselines, gap, report; return the exit status."""
    from inverse.candidates.types import Status
    from inverse.report.console import summary_of

    console_on(stream).print(summary_of(run))
    succeeded = any(c.status in (Status.VERIFIED, Status.HIT) for c in run.candidates)
    return 0 if succeeded else FAILED


def show_plan(ahead: "Sequence[Ahead]", stream: TextIO) -> None:
    """Write what first principles would take, a crystal a line, and in all."""
    rows = [
        (
            one.name,
            one.formula,
            one.plan.n_atoms,
            "x".join(map(str, one.plan.mesh)),
            one.plan.n_k_points,
            one.plan.n_calculations,
            f"{one.plan.core_minutes:.1f}",
            one.remark,
        )
        for one in ahead
    ]
    total = sum(one.plan.core_minutes for one in ahead)
    heads = ("", "formula", "atoms", "mesh", "k-points", "calculations", "core-minutes", "")
    show_table(
        heads, [*rows, ("in all", "", "", "", "", "", f"{total:.0f}", "within a factor of two")], stream
    )


def show_confirmations(candidates: "Sequence[Candidate]", stream: TextIO) -> None:
    """Write what first principles say of each candidate, and how many were confirmed."""
    from inverse.campaign.confirming import counts
    from inverse.report.wording import said_by_dft

    rows = [(c.id, c.structure.composition.reduced_formula, *said_by_dft(c)) for c in candidates]
    show_table(("id", "formula", "first principles", "values", ""), rows, stream)
    stream.write(f"{counts(candidates)}\n")


def show_novelty(found: "NoveltyAnswers", stream: TextIO) -> None:
    """Write what each database says of each candidate, and why where one said nothing."""
    databases = [answer.database for answer in found.candidates[0].answers] if found.candidates else []
    rows = [
        (one.id, display_formula(one.formula), *(_shown_answer(answer) for answer in one.answers))
        for one in found.candidates
    ]
    show_table(("id", "formula", *databases), rows, stream)
    reasons = {f"{a.database}: {a.reason}": None for one in found.candidates for a in one.answers if a.reason}
    stream.writelines(f"{reason}\n" for reason in reasons)
    stream.write(f"asked {found.asked}\n")


def _shown_answer(answer: "DatabaseAnswer") -> str:
    first = next(iter(answer.entries), None)
    return f"{answer.answer}: {first.id}" if first is not None and first.is_same else str(answer.answer)


def show_table(heads: Sequence[str], rows: Sequence[Sequence[object]], stream: TextIO) -> None:
    """Write a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold", no_wrap=head == "name")  # names are copied into configs
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console_on(stream).print(table)


def show_mapping(values: Mapping[str, Any], stream: TextIO) -> None:
    """Write a nested mapping as indented lines."""
    for key, value in values.items():
        _write_entry(str(key), value, stream, 0)


def _write_entry(key: str, value: Any, stream: TextIO, depth: int) -> None:
    indent = "  " * depth
    if isinstance(value, Mapping):
        stream.write(f"{indent}{key}\n")
        for name, inner in value.items():
            _write_entry(str(name), inner, stream, depth + 1)
    elif isinstance(value, list | tuple):
        stream.write(f"{indent}{key:24} {', '.join(str(item) for item in value) or '-'}\n")
    else:
        shown = (
            {True: "yes", False: "no", None: "-"}.get(value, value)
            if isinstance(value, bool | None)
            else value
        )
        stream.write(f"{indent}{key:24} {shown}\n")


def write_json(value: Mapping[str, Any], stream: TextIO) -> None:
    """Write one JSON document."""
    stream.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def campaign_bar() -> Iterator["Callable[[Progress], None]"]:
    """Yield what a campaign tells its progress to: a bar on a terminal, else a line per event."""
    if not sys.stderr.isatty():
        yield _say_plainly
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]:8}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.fields[budget]} verified, {task.fields[hits]} hits"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]} {task.fields[message]}"),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("run", total=None, stage="start", budget="?", hits=0, left="", message="")

        def update(progress: "Progress") -> None:
            if progress.stage == "notice":
                shown.console.print(progress.message, markup=False)
                return
            shown.update(
                task,
                completed=progress.n_started,
                total=progress.budget,
                stage=progress.stage,
                budget=progress.budget or "?",
                hits=progress.n_hits,
                left=time_left(progress),
                message=progress.message[:60],
            )

        yield update


def _say_plainly(progress: "Progress") -> None:
    if progress.stage == "notice":
        note(progress.message)
        return
    of = f"/{progress.budget}" if progress.budget else ""
    left = time_left(progress)
    tail = f", {left}" if left else ""
    note(f"[{progress.n_started}{of} verified, {progress.n_hits} hits{tail}] {progress.message}")


def time_left(progress: "Progress") -> str:
    """Return the time left: by the pace so far or by the limit, whichever ends first; "" when unknown."""
    guesses = [] if progress.seconds_left is None else [progress.seconds_left]
    if progress.budget and progress.seconds_each is not None:
        verdicts = progress.seconds_each * max(0, progress.budget - progress.n_started)
        guesses.append(verdicts + progress.seconds_after)
    if not guesses:
        return ""
    minutes, seconds = divmod(round(min(guesses)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d} left" if hours else f"{minutes}:{seconds:02d} left"
