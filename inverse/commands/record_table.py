"""What `predict` and `verify` show on a terminal: one crystal as a list of its values, several as a table."""

from collections.abc import Mapping, Sequence
from html import escape
from types import TracebackType
from typing import Any, TextIO

from rich.table import Table
from rich.text import Text

from inverse.commands.console import Tally
from inverse.commands.terminal import console_on
from inverse.report import wording
from inverse.report.html_table import html_table
from inverse.report.views import plus_minus
from surrogates.physics.properties import PROPERTIES, VOLUME, Basis, Property

IN_COLUMNS = (Basis.LEARNED, Basis.HULL, Basis.OF_CELL, Basis.TABLE, Basis.JUDGE)
"""How properties come about that have a column where there are several crystals; JSON lines hold the rest."""

Record = Mapping[str, Any]


class Records(list[Any]):
    """Records of `predict` or `verify`: a list of dictionaries, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """Return what a terminal would show, as HTML."""
        good, bad = _divided(self)
        if len(good) == 1:
            parts = [f"<p>{escape(_heading(good[0]).plain)}</p>", html_table(_one(good[0]))]
            said = [Text(remark) for remark in _remarks(good[0])]
        else:
            parts = [html_table(_several(good))] if good else []
            said = _shared_remarks(good)
        lines = [*(text.plain for text in said), *map(_failure, bad)]
        return "".join([*parts, *(f"<p>{escape(line)}</p>" for line in lines)])


class RecordTable(Tally):
    """Records of `predict` or `verify`, kept until the last and then shown at a reader's ease."""

    def __init__(self, stdout: TextIO) -> None:
        super().__init__()
        self._stream, self._records = stdout, list[Record]()

    def write(self, record: Record) -> None:
        """Take one record."""
        self._records.append(record)
        self.count(record)

    def __enter__(self) -> "RecordTable":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show what there is, also where the work was stopped."""
        console = console_on(self._stream)
        good, bad = _divided(self._records)
        if len(good) == 1:
            console.print(_heading(good[0]), _one(good[0]), *map(_remark, _remarks(good[0])), sep="\n")
        elif good:
            console.print(_several(good), *_shared_remarks(good), sep="\n")
        for record in bad:
            console.print(Text(_failure(record), style="red"))


def _divided(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Return those with values, and those without."""
    return [r for r in records if _values(r)], [r for r in records if not _values(r)]


def _failure(record: Record) -> str:
    what = record.get("error", {}).get("message") or record.get("reason") or "no values"
    return f"{record['id']}: {what}"


def _values(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """Return by property what was predicted or verified; empty for an error."""
    return record.get("predictions") or record.get("values") or {}


def _heading(record: Record) -> Text:
    text = Text(record["formula_display"], style="bold")
    if _has_own_id(record):
        text.append(f"  {record['id']}", style="dim")
    said = _verdict(record)
    return text.append(f"  {said}", style="") if said else text


def _one(record: Record) -> Table:
    """Return every value of a crystal, a line each, with its 90 % interval and who says so."""
    verified = "values" in record
    others = record.get("second_opinion") or {}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for head in ("value", "90 %", "", "by", "second opinion")[: 3 + verified + bool(others)]:
        table.add_column(head, justify="right" if head in ("value", "90 %") else "left", no_wrap=True)
    for name, value in _values(record).items():
        cells = [wording.label(name), _mean(name, value), _interval(name, value), value["unit"]]
        if verified:
            cells.append(value["potential"] or "composition")
        if others:
            cells.append(_mean(name, others[name]) if name in others else "")
        table.add_row(*cells)
    return table


def _several(records: Sequence[Record]) -> Table:
    """Return a line per crystal: what is learned, judged or read from the cell."""
    valued = dict.fromkeys(name for record in records for name in _values(record))
    shown = [name for name in valued if name not in PROPERTIES or _has_column(PROPERTIES[name])]
    units = {name: value["unit"] for record in records for name, value in _values(record).items()}
    said = [_verdict(record) for record in records]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("formula", no_wrap=True, style="bold")
    if has_ids := any(_has_own_id(record) for record in records):
        table.add_column("id", overflow="fold")
    for name in shown:
        table.add_column(f"{wording.symbol(name)}\n{units[name]}".strip(), justify="right")
    if any(said):
        table.add_column("")
    for record, verdict in zip(records, said, strict=True):
        values = _values(record)
        # where a line is too long it breaks before the sign
        cells = [_mean(name, values[name]).replace("± ", "±") if name in values else "–" for name in shown]
        identity = [record["id"]] if has_ids else []
        table.add_row(record["formula_display"], *identity, *cells, *([verdict] if any(said) else []))
    return table


def _has_column(prop: Property) -> bool:
    return prop.basis in IN_COLUMNS and prop != VOLUME  # the density says the same


def _has_own_id(record: Record) -> bool:
    return record["id"] not in (record["formula"], record["formula_display"])


def _shared_remarks(records: Sequence[Record]) -> list[Text]:
    """Return each remark once, with the crystals that it is about."""
    about: dict[str, list[str]] = {}
    for record in records:
        for remark in _remarks(record):
            about.setdefault(remark, []).append(str(record["id"]))
    return [_remark(f"{', '.join(ids)}: {remark}") for remark, ids in about.items()]


def _verdict(record: Record) -> str:
    """Return what a crystal is by the judges; "" for a prediction that may be trusted."""
    if "values" not in record:
        return "" if record["in_domain"] else "outside the surrogate's domain"
    parts = [str(record["hit_class"] or "")]
    parts += [f"derivative of {record['derivative_of']}"] if record["derivative_of"] else []
    parts += ["mechanically unstable"] if record["is_stable"] is False else []
    parts += [record["reason"]] if record["reason"] else []
    return ", ".join(part for part in parts if part)


def _remarks(record: Record) -> list[str]:
    return [str(flag).replace("_", " ") for flag in record.get("flags", ())]


def _remark(text: str) -> Text:
    return Text(text, style="dim")


def _mean(name: str, value: Mapping[str, Any]) -> str:
    if value["mean"] is None or value["std"] is None:
        return wording.number(value["mean"], name)
    return plus_minus(value["mean"], value["std"], name)


def _interval(name: str, value: Mapping[str, Any]) -> str:
    if name in PROPERTIES and PROPERTIES[name].is_exact:
        return ""
    return f"{wording.number(value['lower'], name)} to {wording.number(value['upper'], name)}"
