"""Figures of a run by plotly, to turn, zoom and point at in a notebook."""

import math
from typing import TYPE_CHECKING, Any

from inverse.report.chart import Chart, Region

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MARKS: dict[str, dict[str, Any]] = {
    "predicted": {"color": "#b9c2cc", "symbol": "circle", "size": 5},
    "verified": {"color": "#6f7b88", "symbol": "circle", "size": 7},
    "known": {"color": "#b8741a", "symbol": "triangle-up", "size": 11},
    "derivative": {"color": "#2b5cab", "symbol": "square", "size": 10},
    "new": {"color": "#0a8a64", "symbol": "diamond", "size": 11},
}
"""As on the page: kinds differ in shape, not in colour alone."""

NAMES = {"predicted": "predicted only", "verified": "verified, no hit"}

LINES = {
    "progress": {"color": "#0b6464", "width": 2},
    "other": {"color": "#444444", "width": 2, "dash": "dash"},
    "front": {"color": "#444444", "width": 1.5},
    "outline": {"color": "#8a94a0", "width": 1, "dash": "dot"},
}


def plotted(chart: Chart) -> "Figure":
    """Return a figure as plotly draws it; its axes begin where the page's do, a double click shows all."""
    from plotly.graph_objects import Figure

    figure = Figure(layout=_layout(chart))
    if chart.squares:
        return _periodic_table(figure, chart)
    (x_low, x_high), (y_low, y_high) = chart.ranges()
    x_range, y_range = _widened(x_low, x_high), _widened(y_low, y_high)
    if chart.behind is not None:
        figure.add_scatter(
            x=chart.behind[:, 0],
            y=chart.behind[:, 1],
            text=chart.behind_names,
            mode="markers",
            name="known materials",
            marker={"color": "#8a94a0", "size": 4, "opacity": 0.35},
            hovertemplate="%{text}: %{x:.4g}, %{y:.4g}<extra></extra>",
        )
    if chart.region is not None:
        figure.add_shape(**_window(chart.region, x_range, y_range))
    if chart.has_diagonal:
        low, high = x_range
        figure.add_shape(
            type="line", x0=low, y0=low, x1=high, y1=high, line={"color": "#888888", "dash": "dash"}
        )
    for line in chart.lines:
        figure.add_scatter(
            x=line.points[:, 0],
            y=line.points[:, 1],
            mode="lines",
            name=line.name,
            line={**LINES[line.kind], "shape": "hv" if line.is_step else "linear"},
            hoverinfo="name" if line.kind == "outline" else "x+y",
            showlegend=line.kind != "outline",
        )
    for kind, mark in MARKS.items():
        _add_points(figure, chart, kind, mark)
    figure.update_xaxes(title=chart.x_label, range=x_range)
    figure.update_yaxes(title=chart.y_label, range=y_range)
    return figure


def _add_points(figure: "Figure", chart: Chart, kind: str, mark: dict[str, Any]) -> None:
    own = [p for p in chart.points if p.kind == kind and math.isfinite(p.x) and math.isfinite(p.y)]
    if not own:
        return
    errors = {
        axis: {"type": "data", "array": values, "thickness": 1, "width": 0}
        for axis, values in (("error_x", [p.x_error for p in own]), ("error_y", [p.y_error for p in own]))
        if any(values)
    }
    figure.add_scatter(
        x=[p.x for p in own],
        y=[p.y for p in own],
        text=[p.title for p in own],
        customdata=[p.link for p in own],
        mode="markers",
        name=NAMES.get(kind, f"hit, {kind}"),
        marker={**mark, "line": {"color": "white", "width": 0.8}},
        hovertemplate="%{text}<br>%{customdata}<extra></extra>",
        **errors,
    )


def _layout(chart: Chart) -> dict[str, Any]:
    return {
        "template": "plotly_white",
        "title": {"text": _wrapped(chart.caption), "font": {"size": 13}},
        "height": 480,
        "margin": {"l": 70, "r": 20, "t": 70, "b": 60},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    }


def _wrapped(text: str, width: int = 110) -> str:
    from html import escape
    from textwrap import wrap

    return "<br>".join(escape(line) for line in wrap(text, width))


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.5 * (abs(high) or 1.0)
    return low - margin, high + margin


def _window(region: Region, x_range: tuple[float, float], y_range: tuple[float, float]) -> dict[str, Any]:
    """Return the wanted window; open ends reach far beyond the axes, so that zooming out finds no edge."""
    far_x, far_y = 20 * (x_range[1] - x_range[0]), 20 * (y_range[1] - y_range[0])
    return {
        "type": "rect",
        "x0": max(region.x_low, x_range[0] - far_x),
        "x1": min(region.x_high, x_range[1] + far_x),
        "y0": max(region.y_low, y_range[0] - far_y),
        "y1": min(region.y_high, y_range[1] + far_y),
        "fillcolor": "#0b6464",
        "opacity": 0.1,
        "layer": "below",
        "line": {"width": 0},
    }


def _periodic_table(figure: "Figure", chart: Chart) -> "Figure":
    squares = chart.squares
    figure.add_scatter(
        x=[s.column for s in squares],
        y=[s.row + (0.4 if s.row > 7 else 0.0) for s in squares],
        text=[f"<b>{s.symbol}</b><br>{s.hits or ''}" for s in squares],
        customdata=[f"{s.symbol}: in {s.n} verified, {s.hits} of them hits" for s in squares],
        mode="markers+text",
        textfont={"size": 11},
        marker={
            "symbol": "square",
            "size": 36,
            "color": [s.n for s in squares],
            "colorscale": [[0, "#f3f5f7"], [0.0001, "#d8ece9"], [1, "#5fb3a8"]],
            "line": {"color": "#c5ccd3", "width": 1},
        },
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=(0.4, 18.6), **hidden)
    figure.update_yaxes(range=(9.9, 0.4), **hidden)
    figure.update_layout(width=760, height=460)
    return figure
