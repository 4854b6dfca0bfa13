"""A unit cell to look at: its atoms, bonds and edges for a 3D viewer, and the same as a flat SVG picture."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.data.colors import jmol_colors
from pymatgen.core import Structure

from inverse.report.crystal import radius_of
from surrogates.crystals.formulas import NON_METALS

BOND = 1.18
"""Times the sum of the covalent radii within which two atoms are joined."""

ON_EDGE = 1e-3
"""Fractional coordinate within which an atom lies on a face of the cell and is drawn on both sides."""

BALL = 0.36
"""Of a covalent radius: what is drawn."""

MOST_ATOMS = 400
"""Atoms that are drawn; of a larger cell no copies on the faces."""

SIZE, MARGIN = 240.0, 10.0
"""Of a picture, in its own units."""

TURN, TILT = -24.0, 12.0
"""Degrees: the view goes along b, turned about c and tilted towards it."""


@dataclass(frozen=True)
class Ball:
    """An atom.

    Attributes:
        element: symbol.
        place: (3,) Cartesian, Å.
    """

    element: str
    place: np.ndarray


@dataclass(frozen=True)
class Drawing:
    """What is drawn of a cell.

    Attributes:
        balls: atoms, those on faces, edges and corners on each side.
        sticks: pairs of indices into `balls`.
        edges: (12, 2, 3) ends of the cell's edges, Å.
    """

    balls: tuple[Ball, ...]
    sticks: tuple[tuple[int, int], ...]
    edges: np.ndarray

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols, metals first."""
        return tuple(sorted({b.element for b in self.balls}, key=lambda s: (s in NON_METALS, s)))

    def record(self) -> dict[str, Any]:
        """Return the drawing as plain JSON for a viewer: Å to the right, up and towards the reader."""
        places = np.round(np.array([b.place for b in self.balls]) @ _view().T, 2).tolist()
        return {
            "atoms": [[b.element, *place] for b, place in zip(self.balls, places, strict=True)],
            "bonds": [list(pair) for pair in self.sticks],
            "edges": np.round(self.edges @ _view().T, 2).tolist(),
        }


def colour_of(symbol: str) -> str:
    """Return the usual colour of an element (Jmol's), as #rrggbb."""
    red, green, blue = (round(255 * float(x)) for x in jmol_colors[atomic_numbers[symbol]])
    return f"#{red:02x}{green:02x}{blue:02x}"


def drawing_of(cell: Structure) -> Drawing:
    """Return what is drawn of a cell."""
    balls = []
    for site in cell:
        own = np.asarray(site.frac_coords) % 1.0
        own[own > 1.0 - ON_EDGE] = 0.0
        repeated = [(0, 1) if x < ON_EDGE and len(cell) < MOST_ATOMS / 4 else (0,) for x in own]
        for shift in product(*repeated):
            place = cell.lattice.get_cartesian_coords(own + np.array(shift))
            balls.append(Ball(str(site.specie.symbol), place))
    corners = {at: cell.lattice.get_cartesian_coords(at) for at in product((0, 1), repeat=3)}
    edges = np.array(
        [
            (corners[one], corners[other])
            for one, other in product(corners, corners)
            if one < other and sum(a != b for a, b in zip(one, other, strict=True)) == 1
        ]
    )
    return Drawing(tuple(balls), _sticks(balls), edges)


def _sticks(balls: list[Ball]) -> tuple[tuple[int, int], ...]:
    """Return the pairs that are joined; metals are joined to each other only where nothing else is there."""
    is_metal = np.array([b.element not in NON_METALS for b in balls])
    all_metal = bool(is_metal.all())
    places = np.array([b.place for b in balls])
    radii = np.array([radius_of(b.element) for b in balls])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    limit = BOND * (radii[:, None] + radii[None]) * (0.92 if all_metal else 1.0)
    joined = np.triu((distances < limit) & (distances > 0.3), 1)
    if not all_metal:
        joined &= ~(is_metal[:, None] & is_metal[None])
    return tuple((int(i), int(j)) for i, j in np.argwhere(joined))


def svg_of(drawing: Drawing, label: str) -> str:
    """Return a flat picture of a cell, c up; nothing in it needs a script.

    Args:
        drawing: of the cell.
        label: read aloud in its place; letters and digits.
    """
    view = _view()
    flat = np.array([b.place for b in drawing.balls]) @ view.T
    edges = drawing.edges @ view.T
    radii = np.array([BALL * radius_of(b.element) for b in drawing.balls])
    low = np.minimum((flat[:, :2] - radii[:, None]).min(0), edges[..., :2].min((0, 1)))
    high = np.maximum((flat[:, :2] + radii[:, None]).max(0), edges[..., :2].max((0, 1)))
    scale = float((SIZE - 2 * MARGIN) / max(high - low))
    middle = (low + high) / 2

    def at(point: np.ndarray) -> tuple[float, float]:
        return SIZE / 2 + scale * (point[0] - middle[0]), SIZE / 2 - scale * (point[1] - middle[1])

    parts: list[tuple[float, str]] = []
    for one, other in edges:
        (x, y), (u, v) = at(one), at(other)
        depth = min(one[2], other[2]) - 0.5
        parts.append((depth, f'<path class="edge" d="M{x:.1f},{y:.1f}L{u:.1f},{v:.1f}"/>'))
    for i, j in drawing.sticks:
        one, other = flat[i], flat[j]
        half = (one + other) / 2
        for end, ball in ((one, drawing.balls[i]), (other, drawing.balls[j])):
            (x, y), (u, v) = at(end), at(half)
            way = f"M{x:.1f},{y:.1f}L{u:.1f},{v:.1f}"
            line = f'<path class="stick" stroke="{colour_of(ball.element)}" d="{way}"/>'
            parts.append(((end[2] + half[2]) / 2 - 0.2, line))
    for place, ball, radius in zip(flat, drawing.balls, radii, strict=True):
        (x, y), r = at(place), scale * radius
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" fill="{colour_of(ball.element)}"/>'
        shine = f'<circle class="shine" cx="{x - 0.3 * r:.1f}" cy="{y - 0.3 * r:.1f}" r="{0.34 * r:.1f}"/>'
        parts.append((float(place[2]), circle + shine))
    body = "".join(text for _, text in sorted(parts, key=lambda part: part[0]))
    return (
        f'<svg class="cell" viewBox="0 0 {SIZE:.0f} {SIZE:.0f}" role="img" '
        f'aria-label="unit cell of {label}">{body}</svg>'
    )


def _view() -> np.ndarray:
    """Return (3, 3) rows: right, up, towards the reader."""
    turn, tilt = np.radians(TURN), np.radians(TILT)
    about_c = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    right, towards, up = np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), np.array([0, 0, 1.0])
    rows = [right, np.cos(tilt) * up - np.sin(tilt) * towards, np.cos(tilt) * towards + np.sin(tilt) * up]
    return np.array(rows) @ about_c
