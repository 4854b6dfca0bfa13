"""The terminal's tables as HTML, for notebooks: one definition of rows and columns, two ways to show them."""

from html import escape

from rich.style import Style
from rich.table import Table
from rich.text import Text


def html_table(table: Table) -> str:
    """Return a table that the terminal would show, as HTML without any style sheet.

    >>> table = Table("formula", "K")
    >>> table.add_row(Text("WC", style="bold"), "<380")
    >>> html_table(table)  # doctest: +ELLIPSIS
    '<table>...<th ...>formula</th>...<span style="font-weight:bold">WC</span>...&lt;380...</table>'
    """
    sides = [f'style="text-align:{column.justify}"' for column in table.columns]
    heads = [f"<th {side}>{_marked_up(c.header)}</th>" for c, side in zip(table.columns, sides, strict=True)]
    rows = [
        "".join(f"<td {side}>{_marked_up(cell)}</td>" for cell, side in zip(row, sides, strict=True))
        for row in zip(*(list(column.cells) for column in table.columns), strict=True)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table>"


def _marked_up(cell: object) -> str:
    if not isinstance(cell, Text):
        return escape(str(cell)).replace("\n", "<br>")
    css = _css(cell.style if isinstance(cell.style, Style) else Style.parse(cell.style))
    text = escape(cell.plain)
    return f'<span style="{css}">{text}</span>' if css else text


def _css(style: Style) -> str:
    """Return what a style means in CSS; dim is paler in light and dark notebooks alike."""
    parts = ["font-weight:bold"] if style.bold else []
    parts += ["opacity:0.65"] if style.dim else []
    if style.color is not None:
        parts.append(f"color:{_COLORS.get(style.color.name, style.color.name)}")
    return ";".join(parts)


_COLORS = {"yellow": "#9a6b00", "red": "#c62828", "green": "#2e7d32", "blue": "#3367d6"}
"""Readable on white and on black, which the terminal's own are not."""
