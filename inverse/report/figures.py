"""Figures of the report as inline SVG: small, sharp in print, readable without any script."""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from inverse.report.chart import Chart, Line, Point, Region, Square

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 48

BOX = 25
"""Side of an element's square in the periodic table."""

Axis = Callable[[float], float]
"""Data -> drawing."""


def drawn(chart: Chart) -> str:
    """Return a figure as SVG; "" where there is nothing to show."""
    if chart.is_empty:
        return ""
    if chart.squares:
        return _periodic_table(chart)
    (x_low, x_high), (y_low, y_high) = chart.ranges()
    x_ticks, y_ticks = nice_ticks(x_low, x_high), nice_ticks(y_low, y_high)
    if chart.has_whole_ticks:
        y_ticks = [tick for tick in y_ticks if tick == int(tick)]
    to_x, to_y = _scales(x_ticks, y_ticks)
    parts = []
    if chart.behind is not None:
        parts.append(_behind(chart.behind, x_ticks, y_ticks, to_x, to_y))
    if chart.region is not None:
        parts.append(_window(chart.region, to_x, to_y))
    if chart.has_diagonal:
        low, high = x_ticks[0], x_ticks[-1]
        ends = f'x1="{to_x(low):.1f}" y1="{to_y(low):.1f}" x2="{to_x(high):.1f}" y2="{to_y(high):.1f}"'
        parts.append(f'<line class="diagonal" {ends}/>')
    parts += [_line(line, to_x, to_y) for line in chart.lines]
    parts += _marks([p for p in chart.points if math.isfinite(p.x) and math.isfinite(p.y)], to_x, to_y)
    return _figure(parts, x_ticks, y_ticks, to_x, to_y, chart)


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round tick positions that cover [low, high].

    >>> nice_ticks(287.0, 401.0)
    [280.0, 300.0, 320.0, 340.0, 360.0, 380.0, 400.0, 420.0]
    """
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    raw = (high - low) / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.85)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def _window(region: Region, to_x: Axis, to_y: Axis) -> str:
    left, right = to_x(region.x_low), to_x(region.x_high)
    top, bottom = to_y(region.y_high), to_y(region.y_low)
    size = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
    return f'<rect class="wanted" x="{left:.1f}" y="{top:.1f}" {size}/>'


def _behind(
    values: np.ndarray, x_ticks: Sequence[float], y_ticks: Sequence[float], to_x: Axis, to_y: Axis
) -> str:
    """Return known materials within the axes as dots of one path."""
    dots = "".join(
        f"M{to_x(x):.0f},{to_y(y):.0f}h0"
        for x, y in values.tolist()
        if x_ticks[0] < x < x_ticks[-1] and y_ticks[0] < y < y_ticks[-1]
    )
    look = 'fill="none" stroke="currentColor" stroke-opacity=".22" stroke-width="3" stroke-linecap="round"'
    return f'<path class="behind" {look} d="{dots}"/>' if dots else ""


def _line(line: Line, to_x: Axis, to_y: Axis) -> str:
    places = [(to_x(x), to_y(y)) for x, y in line.points.tolist()]
    if line.is_step:
        first, *others = places
        d = f"M{first[0]:.1f},{first[1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in others)
    else:
        d = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
    look = "" if line.kind == "progress" else f' fill="none" stroke="currentColor" {_DASHES[line.kind]}'
    return f'<g><title>{escape(line.name)}</title><path class="{line.kind}"{look} d="{d}"/></g>'


_DASHES = {
    "other": 'stroke-opacity=".8" stroke-width="2" stroke-dasharray="6 4"',
    "front": 'stroke-opacity=".6" stroke-width="1.2"',
    "outline": 'stroke-opacity=".35" stroke-dasharray="2 3"',
}


def _scales(x_ticks: Sequence[float], y_ticks: Sequence[float]) -> tuple[Axis, Axis]:
    """Return data -> drawing of both axes; what lies beyond the last tick is drawn on it."""
    x_span, y_span = x_ticks[-1] - x_ticks[0], y_ticks[-1] - y_ticks[0]

    def to_x(value: float) -> float:
        return LEFT + (_clip(value, x_ticks) - x_ticks[0]) / x_span * (WIDTH - LEFT - RIGHT)

    def to_y(value: float) -> float:
        return HEIGHT - BOTTOM - (_clip(value, y_ticks) - y_ticks[0]) / y_span * (HEIGHT - TOP - BOTTOM)

    return to_x, to_y


def _clip(value: float, ticks: Sequence[float]) -> float:
    return min(max(value, ticks[0]), ticks[-1])


def _marks(points: Sequence[Point], to_x: Axis, to_y: Axis) -> list[str]:
    """Return the marks; hits are drawn last, so that they lie on top."""
    order = {"predicted": 0, "verified": 1, "known": 2, "derivative": 3, "new": 4}
    marks = []
    for p in sorted(points, key=lambda point: order.get(point.kind, 1)):
        x, y = to_x(p.x), to_y(p.y)
        bars = ""
        if p.x_error > 0:
            bars += f"M{to_x(p.x - p.x_error):.1f},{y:.1f}H{to_x(p.x + p.x_error):.1f}"
        if p.y_error > 0:
            bars += f"M{x:.1f},{to_y(p.y - p.y_error):.1f}V{to_y(p.y + p.y_error):.1f}"
        shape = f'<path class="error" d="{bars}"/>' if bars else ""
        shape += _shape(p.kind, x, y)
        body = f'<g class="mark {escape(p.kind)}"><title>{escape(p.title)}</title>{shape}</g>'
        marks.append(f'<a href="#{escape(p.link)}">{body}</a>' if p.link else body)
    return marks


def _shape(kind: str, x: float, y: float) -> str:
    """Return the mark of a kind: kinds differ in shape, not in colour alone."""
    if kind == "new":
        d = f"M{x:.1f},{y - 6:.1f}l6,6l-6,6l-6,-6z"
    elif kind == "derivative":
        d = f"M{x - 4.5:.1f},{y - 4.5:.1f}h9v9h-9z"
    elif kind == "known":
        d = f"M{x:.1f},{y - 5.5:.1f}l5.5,10h-11z"
    else:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.2 if kind == "verified" else 2.4}"/>'
    return f'<path d="{d}"/>'


def _figure(
    parts: Sequence[str],
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    to_x: Axis,
    to_y: Axis,
    chart: Chart,
) -> str:
    axes = []
    for tick in x_ticks:
        axes.append(f'<path class="grid" d="M{to_x(tick):.1f},{TOP}V{HEIGHT - BOTTOM}"/>')
        axes.append(
            f'<text x="{to_x(tick):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_tick(tick)}</text>'
        )
    for tick in y_ticks:
        axes.append(f'<path class="grid" d="M{LEFT},{to_y(tick):.1f}H{WIDTH - RIGHT}"/>')
        axes.append(f'<text x="{LEFT - 8}" y="{to_y(tick) + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    axes.append(
        f'<text class="label" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>"
    )
    axes.append(
        f'<text class="label" transform="translate(14 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text>"
    )
    return _svg(WIDTH, HEIGHT, chart.caption, [*axes, *parts])


def _svg(width: int, height: int, caption: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{escape(caption)}">'
        f"{''.join(parts)}</svg>"
    )


def _periodic_table(chart: Chart) -> str:
    """Return the elements in their places, darker the more candidates have them; hits as a number."""
    most = max(square.n for square in chart.squares)
    parts = [_element(square, most) for square in chart.squares]
    return _svg(18 * BOX + 10, 9 * BOX + 18, chart.caption, parts)


def _element(square: Square, most: int) -> str:
    x, y = 5 + (square.column - 1) * BOX, 5 + (square.row - 1) * BOX + (8 if square.row > 7 else 0)
    shade = 0.1 + 0.3 * square.n / most if square.n else 0.0
    frame = f'width="{BOX - 2}" height="{BOX - 2}" stroke="currentColor" stroke-opacity=".25"'
    middle = x + BOX / 2 - 1
    box = f'<rect x="{x}" y="{y}" {frame} fill="var(--accent,#0b6464)" fill-opacity="{shade:.2f}"/>'
    name = _small(square.symbol, middle, y + 11, 10)
    if not square.n:
        return box + name
    title = f"<title>{square.symbol}: in {square.n} verified, {square.hits} of them hits</title>"
    count = _small(str(square.hits), middle, y + 20, 8) if square.hits else ""
    return f"<g>{title}{box}{name}{count}</g>"


def _small(text: str, x: float, y: float, size: int) -> str:
    look = f'text-anchor="middle" style="font-size:{size}px;fill:currentColor"'
    return f'<text x="{x:.1f}" y="{y}" {look}>{text}</text>'


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")
