"""The powder pattern that a crystal would show in a diffractometer: kinematic, copper radiation."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Structure

RADIATION, WAVELENGTH = "CuKa", 1.54184
"""Name as pymatgen has it; Å, the mean of both lines."""

FIRST, LAST = 10.0, 90.0
"""2θ, degrees."""

WEAKEST = 1.0
"""Percent of the strongest line, below which a line is left out."""

NAMED = 8
"""Strongest lines that carry their indices."""

FRAME_WIDTH, FRAME_HEIGHT = 460, 170
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 30, 10, 22, 34


@dataclass(frozen=True)
class Line:
    """A line of a powder pattern.

    Attributes:
        two_theta: degrees.
        intensity: percent of the strongest.
        indices: "111"; of overlapping planes the first.
        spacing: of the planes, Å.
    """

    two_theta: float
    intensity: float
    indices: str
    spacing: float


def powder_lines(cell: Structure) -> tuple[Line, ...]:
    """Return the lines of a crystal between 10° and 90°, Cu Kα, no texture, no thermal motion.

    Args:
        cell: conventional, as the indices refer to it.
    """
    found = XRDCalculator(wavelength=RADIATION).get_pattern(cell, two_theta_range=(FIRST, LAST))
    lines = (
        Line(float(x), float(y), _indices([plane["hkl"] for plane in planes]), float(d))
        for x, y, planes, d in zip(found.x, found.y, found.hkls, found.d_hkls, strict=True)
    )
    return tuple(line for line in lines if line.intensity >= WEAKEST)


def powder_svg(lines: tuple[Line, ...], label: str) -> str:
    """Return the pattern as sticks with the indices of the strongest; "" without lines.

    Args:
        lines: of the pattern.
        label: read aloud in its place.
    """
    if not lines:
        return ""
    base = FRAME_HEIGHT - MARGIN_BOTTOM
    ticks = "".join(
        f'<path class="grid" d="M{_x(t):.1f},{base}v5"/>'
        f'<text x="{_x(t):.1f}" y="{base + 18}" text-anchor="middle">{t}°</text>'
        for t in range(int(FIRST), int(LAST) + 1, 10)
    )
    sticks = "".join(
        f'<path class="line" d="M{_x(line.two_theta):.1f},{base}V{_y(line.intensity):.1f}">'
        f"<title>{line.indices}: 2θ = {line.two_theta:.2f}°, d = {line.spacing:.3f} Å, "
        f"{line.intensity:.0f} %</title></path>"
        for line in lines
    )
    names, taken = [], [-1e9]
    for line in sorted(lines, key=lambda one: -one.intensity)[:NAMED]:
        if min(abs(_x(line.two_theta) - x) for x in taken) < 16 + 3 * len(line.indices):
            continue
        taken.append(_x(line.two_theta))
        where = f'x="{_x(line.two_theta):.1f}" y="{_y(line.intensity) - 4:.1f}"'
        names.append(f'<text class="hkl" {where} text-anchor="middle">{line.indices}</text>')
    axis = f'<path class="axis" d="M{MARGIN_LEFT},{base}H{FRAME_WIDTH - MARGIN_RIGHT}"/>'
    middle = (MARGIN_LEFT + FRAME_WIDTH - MARGIN_RIGHT) / 2
    title = f'<text class="label" x="{middle}" y="{FRAME_HEIGHT - 2}" text-anchor="middle">2θ (Cu Kα)</text>'
    return (
        f'<svg class="powder" viewBox="0 0 {FRAME_WIDTH} {FRAME_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">{axis}{ticks}{sticks}{"".join(names)}{title}</svg>'
    )


def _indices(planes: Sequence[tuple[int, ...]]) -> str:
    """Return the indices of one of the planes, with the fewest minus signs.

    Three, of hexagonal axes too, where planes at one angle trade their first three indices: (2 -1 -1 0) is
    called 110.
    """
    hkl = max(planes, key=lambda one: (-sum(i < 0 for i in one), one))
    if len(hkl) == 4:
        *basal, along = hkl
        first, second, _ = sorted(
            basal if sum(i < 0 for i in basal) < 2 else [-i for i in basal], reverse=True
        )
        three: tuple[int, ...] = (first, second, abs(along))
    else:
        three = hkl
    return ("" if all(abs(i) < 10 for i in three) else " ").join(str(i).replace("-", "\u2212") for i in three)


def _x(two_theta: float) -> float:
    return MARGIN_LEFT + (two_theta - FIRST) / (LAST - FIRST) * (FRAME_WIDTH - MARGIN_LEFT - MARGIN_RIGHT)


def _y(intensity: float) -> float:
    return FRAME_HEIGHT - MARGIN_BOTTOM - intensity / 100.0 * (FRAME_HEIGHT - MARGIN_TOP - MARGIN_BOTTOM)
