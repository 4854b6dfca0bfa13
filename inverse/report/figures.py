"""Figures of the report as inline SVG: small, sharp in print, readable without any script."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 48


@dataclass(frozen=True)
class Point:
    """One candidate in a figure.

    Attributes:
        x: horizontal value, natural unit.
        y: vertical value, natural unit.
        kind: class of the mark: known, derivative, new, verified (no hit), predicted.
        title: shown on hover and read aloud.
        x_error: one standard deviation, 0 for none.
        y_error: one standard deviation, 0 for none.
        link: id of the candidate on the page, "" for none.
    """

    x: float
    y: float
    kind: str
    title: str
    x_error: float = 0.0
    y_error: float = 0.0
    link: str = ""


@dataclass(frozen=True)
class Region:
    """The wanted window of a plane; infinite ends are open."""

    x_low: float = -math.inf
    x_high: float = math.inf
    y_low: float = -math.inf
    y_high: float = math.inf


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


def scatter(points: Sequence[Point], x_label: str, y_label: str, region: Region, caption: str) -> str:
    """Return a plane of two properties with the wanted window shaded; "" without points."""
    points = _finite(points)
    if not points:
        return ""
    x_ticks = _ticks_with([p.x for p in points], region.x_low, region.x_high)
    y_ticks = _ticks_with([p.y for p in points], region.y_low, region.y_high)
    to_x, to_y = _scales(x_ticks, y_ticks)
    left, right = to_x(region.x_low), to_x(region.x_high)
    top, bottom = to_y(region.y_high), to_y(region.y_low)
    parts = [
        f'<rect class="wanted" x="{left:.1f}" y="{top:.1f}" '
        f'width="{right - left:.1f}" height="{bottom - top:.1f}"/>'
    ]
    parts += _marks(points, to_x, to_y)
    return _figure(parts, x_ticks, y_ticks, to_x, to_y, x_label, y_label, caption)


def parity(points: Sequence[Point], x_label: str, y_label: str, caption: str) -> str:
    """Return verified against predicted with the diagonal, error bars inside; "" without points."""
    points = _finite(points)
    if not points:
        return ""
    values = [p.x + sign * p.x_error for p in points for sign in (-1, 1)]
    values += [p.y + sign * p.y_error for p in points for sign in (-1, 1)]
    ticks = nice_ticks(min(values), max(values))
    to_x, to_y = _scales(ticks, ticks)
    low, high = ticks[0], ticks[-1]
    diagonal = (
        f'<line class="diagonal" x1="{to_x(low):.1f}" y1="{to_y(low):.1f}" '
        f'x2="{to_x(high):.1f}" y2="{to_y(high):.1f}"/>'
    )
    parts = [diagonal, *_marks(points, to_x, to_y)]
    return _figure(parts, ticks, ticks, to_x, to_y, x_label, y_label, caption)


def progress(hits: Sequence[bool], caption: str) -> str:
    """Return cumulative hits over verifications, in the order in which verdicts fell; "" without any."""
    if not hits:
        return ""
    totals = [0]
    for hit in hits:
        totals.append(totals[-1] + bool(hit))
    x_ticks = [tick for tick in nice_ticks(0, len(hits)) if tick == int(tick)]
    y_ticks = [tick for tick in nice_ticks(0, max(totals[-1], 1)) if tick == int(tick)]
    to_x, to_y = _scales(x_ticks, y_ticks)
    steps = [f"M{to_x(0):.1f},{to_y(0):.1f}"]
    steps += [f"H{to_x(i):.1f}V{to_y(total):.1f}" for i, total in enumerate(totals[1:], start=1)]
    parts = [f'<path class="progress" d="{"".join(steps)}"/>']
    return _figure(parts, x_ticks, y_ticks, to_x, to_y, "verifications started", "hits so far", caption)


def _finite(points: Sequence[Point]) -> list[Point]:
    return [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]


def _ticks_with(values: Sequence[float], low: float, high: float) -> list[float]:
    """Return ticks that cover the values and show some of the wanted window inside its finite ends."""
    bounds = [v for v in (low, high) if math.isfinite(v)]
    span = max([*values, *bounds]) - min([*values, *bounds])
    inside = [low + 0.15 * span] if math.isfinite(low) else []
    inside += [high - 0.15 * span] if math.isfinite(high) else []
    return nice_ticks(min([*values, *bounds, *inside]), max([*values, *bounds, *inside]))


def _clip(value: float, ticks: Sequence[float]) -> float:
    return min(max(value, ticks[0]), ticks[-1])


def _scales(
    x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return data -> drawing of both axes; what lies beyond the last tick is drawn on it."""
    x_span, y_span = x_ticks[-1] - x_ticks[0], y_ticks[-1] - y_ticks[0]

    def to_x(value: float) -> float:
        return LEFT + (_clip(value, x_ticks) - x_ticks[0]) / x_span * (WIDTH - LEFT - RIGHT)

    def to_y(value: float) -> float:
        return HEIGHT - BOTTOM - (_clip(value, y_ticks) - y_ticks[0]) / y_span * (HEIGHT - TOP - BOTTOM)

    return to_x, to_y


def _marks(
    points: Sequence[Point], to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> list[str]:
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
        drawn = f'<path class="error" d="{bars}"/>' if bars else ""
        drawn += _shape(p.kind, x, y)
        body = f'<g class="mark {escape(p.kind)}"><title>{escape(p.title)}</title>{drawn}</g>'
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
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
    x_label: str,
    y_label: str,
    caption: str,
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
        f'<text class="label" x="{middle_x}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
    )
    axes.append(
        f'<text class="label" transform="translate(14 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(caption)}">'
        f"{''.join(axes)}{''.join(parts)}</svg>"
    )


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")
