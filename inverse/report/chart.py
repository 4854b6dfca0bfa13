"""What a figure of a run shows, whoever draws it: `figures` as SVG for the page, `plots` by plotly."""

import math
from dataclasses import dataclass

import numpy as np


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


@dataclass(frozen=True)
class Line:
    """A line in a figure.

    Attributes:
        name: what it is.
        points: (N, 2) natural units.
        is_step: it rises at each point and is flat before.
        kind: progress, other (progress of another run), front, outline.
    """

    name: str
    points: np.ndarray
    is_step: bool
    kind: str


@dataclass(frozen=True)
class Square:
    """One element in the periodic table.

    Attributes:
        symbol: of the element.
        column: from 1.
        row: from 1; 8 and 9 are the lanthanides and actinides.
        n: verified candidates that have it.
        hits: of these.
    """

    symbol: str
    column: int
    row: int
    n: int
    hits: int


@dataclass(frozen=True)
class Chart:
    """What a figure shows.

    Attributes:
        caption: below it.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        points: candidates.
        behind: (N, 2) known materials, natural units; what lies beyond the candidates' range may be left out.
        behind_names: (N,) of these.
        region: the wanted window; None for none.
        lines: fronts, outlines, progress.
        has_diagonal: equal axes with the line of equal values.
        has_whole_ticks: numbers on the axes are counts.
        squares: the periodic table, instead of all that.
    """

    caption: str
    x_label: str = ""
    y_label: str = ""
    points: tuple[Point, ...] = ()
    behind: np.ndarray | None = None
    behind_names: tuple[str, ...] = ()
    region: Region | None = None
    lines: tuple[Line, ...] = ()
    has_diagonal: bool = False
    has_whole_ticks: bool = False
    squares: tuple[Square, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.points or self.squares or any(len(line.points) for line in self.lines))

    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return what the axes must cover: candidates, lines, some of the wanted window.

        Where errors are drawn they have room, at most a quarter of what the candidates span: one that is sure
        of nothing does not push all others into a corner.
        """
        xs, ys = [p.x for p in self.points], [p.y for p in self.points]
        if self.has_diagonal and self.points:
            room = max(0.25 * (max(xs + ys) - min(xs + ys)), 0.05 * max(map(abs, xs + ys)))
            for sign in (1, -1):
                xs += [p.x + sign * min(p.x_error, room) for p in self.points]
                ys += [p.y + sign * min(p.y_error, room) for p in self.points]
        for line in self.lines:
            xs += line.points[:, 0].tolist()
            ys += line.points[:, 1].tolist()
        if self.has_diagonal:
            xs = ys = [*xs, *ys]
        region = self.region or Region()
        return (
            _with_window(xs, region.x_low, region.x_high),
            _with_window(ys, region.y_low, region.y_high),
        )


def _with_window(values: list[float], low: float, high: float) -> tuple[float, float]:
    """Return the range of values and of some of the window inside its finite ends."""
    bounds = [v for v in (low, high) if math.isfinite(v)]
    span = max([*values, *bounds]) - min([*values, *bounds])
    inside = [low + 0.15 * span] if math.isfinite(low) else []
    inside += [high - 0.15 * span] if math.isfinite(high) else []
    every = [*values, *bounds, *inside]
    return min(every), max(every)
