"""Known phases around a crystal: energies of a binary system, triangle of a ternary one, a view of more."""

from collections.abc import Collection, Sequence
from html import escape
from itertools import combinations, pairwise

import numpy as np
from pymatgen.core import Composition

from inverse.campaign.reference_file import SystemPhase
from inverse.report.figures import nice_ticks
from surrogates.crystals.formulas import NON_METALS, display_formula

BOX_WIDTH, BOX_HEIGHT = 460, 330
EDGE_LEFT, EDGE_RIGHT, EDGE_TOP, EDGE_BOTTOM = 62, 24, 18, 44

TETRAHEDRON = np.array([(0.0, 0.78), (1.0, 0.7), (0.42, 0.0), (0.6, 1.0)])
"""Corners of four elements in the unit square, from the left and down: a tetrahedron seen from one side, so
that no two edges lie on each other.
"""

CORNERS_OFF = 0.3
"""Radians by which the polygon of five and more elements is turned out of its mirror planes."""

MOST_NAMED = 14
"""Phases on the hull that carry their names."""


def hull_svg(
    phases: Sequence[SystemPhase],
    composition: Composition,
    energy: float,
    label: str,
    competing: Collection[str] = (),
) -> str:
    """Return the hull diagram of a system with a crystal in it; "" for an element.

    Args:
        phases: known ones of the system, those on its hull among them.
        composition: of the crystal.
        energy: its formation energy, eV/atom.
        label: read aloud in its place.
        competing: formulas that the crystal competes with: of more than three elements, lines lead to these.
    """
    symbols = [element.symbol for element in composition.elements]
    elements = sorted(symbols, key=lambda symbol: (symbol in NON_METALS, symbol))
    if len(elements) == 2:
        body = _binary(phases, elements, composition, energy)
    elif len(elements) == 3:
        body = _ternary(phases, elements, composition)
    elif len(elements) > 3:
        body = _many(phases, elements, composition, competing)
    else:
        return ""
    return (
        f'<svg class="hull" viewBox="0 0 {BOX_WIDTH} {BOX_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )


def _binary(
    phases: Sequence[SystemPhase], elements: Sequence[str], composition: Composition, energy: float
) -> str:
    places = [(Composition(p.formula).get_atomic_fraction(elements[1]), p) for p in phases]
    ticks = nice_ticks(min(0.0, energy, *(p.energy for p in phases)), max(0.0, energy), 4)
    wide, high = BOX_WIDTH - EDGE_LEFT - EDGE_RIGHT, BOX_HEIGHT - EDGE_TOP - EDGE_BOTTOM

    def at(share: float, value: float) -> tuple[float, float]:
        up = (value - ticks[0]) / (ticks[-1] - ticks[0])
        return EDGE_LEFT + share * wide, EDGE_TOP + (1 - up) * high

    parts = []
    for tick in ticks:
        y = at(0, tick)[1]
        text = f"{tick:g}".replace("-", "\u2212")
        parts.append(f'<path class="grid" d="M{EDGE_LEFT},{y:.1f}h{wide}"/>')
        parts.append(f'<text x="{EDGE_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    on_hull = sorted(((x, p) for x, p in places if p.above_hull == 0.0), key=lambda item: item[0])
    way = "L".join("{:.1f},{:.1f}".format(*at(x, p.energy)) for x, p in on_hull)
    parts.append(f'<path class="tie" d="M{way}"/>' if way else "")
    parts += [_phase(*at(x, p.energy), p) for x, p in places]
    named = [(x, p) for x, p in on_hull if p.formula != composition.reduced_formula]
    parts += [_name(*at(x, p.energy), p.formula, below=True) for x, p in named[:MOST_NAMED]]
    own = composition.get_atomic_fraction(elements[1])
    parts.append(_own(*at(own, energy), composition, above=True))
    middle = (EDGE_TOP + BOX_HEIGHT - EDGE_BOTTOM) / 2
    parts.append(
        f'<text class="label" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">'
        "formation energy (eV/atom)</text>"
    )
    parts.append(
        f'<text class="label" x="{EDGE_LEFT + wide / 2}" y="{BOX_HEIGHT - 6}" text-anchor="middle">'
        f"share of {elements[1]} among the atoms</text>"
    )
    return "".join(parts)


def _ternary(phases: Sequence[SystemPhase], elements: Sequence[str], composition: Composition) -> str:
    side = BOX_HEIGHT - EDGE_TOP - EDGE_BOTTOM
    corners = np.array(
        [
            (BOX_WIDTH / 2 - side / np.sqrt(3), BOX_HEIGHT - EDGE_BOTTOM),
            (BOX_WIDTH / 2 + side / np.sqrt(3), BOX_HEIGHT - EDGE_BOTTOM),
            (BOX_WIDTH / 2, EDGE_TOP),
        ]
    )

    def at(of: Composition) -> tuple[float, float]:
        x, y = np.array([of.get_atomic_fraction(e) for e in elements]) @ corners
        return float(x), float(y)

    on_hull = [p for p in phases if p.above_hull == 0.0]
    places = [at(Composition(p.formula)) for p in on_hull]
    parts = []
    for i, j in _ties(on_hull, elements):
        (x, y), (u, v) = places[i], places[j]
        parts.append(f'<path class="tie" d="M{x:.1f},{y:.1f}L{u:.1f},{v:.1f}"/>')
    parts += [_phase(*at(Composition(p.formula)), p) for p in phases]
    names = [
        (place, p.formula)
        for place, p in zip(places, on_hull, strict=True)
        if p.formula not in (*elements, composition.reduced_formula)
    ]
    parts += [_name(x, y, formula) for (x, y), formula in names[:MOST_NAMED]]
    for (x, y), element, anchor, down in zip(
        corners, elements, ("end", "start", "middle"), (18, 18, -7), strict=True
    ):
        parts.append(
            f'<text class="label" x="{x:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{element}</text>'
        )
    parts.append(_own(*at(composition), composition))
    return "".join(parts)


def _many(
    phases: Sequence[SystemPhase],
    elements: Sequence[str],
    composition: Composition,
    competing: Collection[str],
) -> str:
    """Return compositions of many elements as seen from one side, and what the crystal competes with.

    Straight lines between phases stay straight: a reaction of two has the crystal on the line between them.
    """
    wide, high = BOX_WIDTH - EDGE_LEFT - EDGE_RIGHT, BOX_HEIGHT - EDGE_TOP - EDGE_BOTTOM
    corners = _corners(len(elements)) * (wide, high) + (EDGE_LEFT, EDGE_TOP)

    def at(of: Composition) -> tuple[float, float]:
        x, y = np.array([of.get_atomic_fraction(e) for e in elements]) @ corners
        return float(x), float(y)

    own, places = at(composition), {p.formula: at(Composition(p.formula)) for p in phases}
    parts = [
        f'<path class="grid" d="M{a[0]:.1f},{a[1]:.1f}L{b[0]:.1f},{b[1]:.1f}"/>'
        for a, b in combinations(corners, 2)
    ]
    rivals = [p for p in phases if p.formula in competing]
    for phase in rivals:
        x, y = places[phase.formula]
        parts.append(f'<path class="tie" d="M{own[0]:.1f},{own[1]:.1f}L{x:.1f},{y:.1f}"/>')
    parts += [_phase(*places[p.formula], p) for p in phases]
    unnamed = (*elements, composition.reduced_formula)
    parts += [_name(*places[p.formula], p.formula) for p in rivals if p.formula not in unnamed]
    middle = corners.mean(axis=0)
    for (x, y), element in zip(corners, elements, strict=True):
        aside = "end" if x < middle[0] else "start"
        x, y = x + (-7 if aside == "end" else 7), y + (-6 if y < middle[1] else 16)
        parts.append(f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{aside}">{element}</text>')
    return "".join([*parts, _own(*own, composition)])


def _corners(n: int) -> np.ndarray:
    """Return the (N, 2) corners of n elements in the unit square, from the left and down."""
    if n == len(TETRAHEDRON):
        return TETRAHEDRON
    angles = CORNERS_OFF + 2.0 * np.pi * np.arange(n) / n
    return 0.5 + 0.5 * np.column_stack([np.sin(angles), -np.cos(angles)])


def _ties(on_hull: Sequence[SystemPhase], elements: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of phases that coexist: edges of the lower hull of energy over composition."""
    from scipy.spatial import ConvexHull, QhullError

    shares = np.array([[Composition(p.formula).get_atomic_fraction(e) for e in elements] for p in on_hull])
    energies = np.array([p.energy for p in on_hull])
    border = [pair for k in range(3) for pair in _along(shares, k)]
    if len(on_hull) < 4:
        return border
    try:
        hull = ConvexHull(np.column_stack([shares[:, :2], energies]))
    except QhullError:
        return border
    lower = hull.simplices[hull.equations[:, -2] < -1e-9]
    edges = {
        tuple(sorted((int(face[a]), int(face[b])))) for face in lower for a, b in ((0, 1), (1, 2), (0, 2))
    }
    return sorted({(i, j) for i, j in edges} | set(border))


def _along(shares: np.ndarray, k: int) -> list[tuple[int, int]]:
    """Return neighbours among the phases on the side of the triangle that holds none of element k."""
    on_side = [i for i in range(len(shares)) if shares[i, k] < 1e-9]
    on_side.sort(key=lambda i: shares[i, (k + 1) % 3])
    return [(min(i, j), max(i, j)) for i, j in pairwise(on_side)]


def _phase(x: float, y: float, phase: SystemPhase) -> str:
    kind = "stable" if phase.above_hull == 0.0 else "metastable"
    distance = "on the hull" if kind == "stable" else f"{phase.above_hull:.3f} eV/atom above the hull"
    name = escape(display_formula(phase.formula))
    return (
        f'<circle class="phase {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4.2 if kind == "stable" else 2.6}">'
        f"<title>{name}: {distance} ({escape(phase.source)})</title></circle>"
    )


def _name(x: float, y: float, formula: str, below: bool = False) -> str:
    place = (
        f'x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle"' if below else f'x="{x + 7:.1f}" y="{y - 5:.1f}"'
    )
    return f"<text {place}>{escape(display_formula(formula))}</text>"


def _own(x: float, y: float, composition: Composition, above: bool = False) -> str:
    name = escape(display_formula(composition))
    label = (
        f'<text class="own-name" x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{name}</text>'
        if above
        else f'<text class="own-name" x="{x + 9:.1f}" y="{y + 15:.1f}">{name}</text>'
    )
    return f'<path class="own" d="M{x:.1f},{y - 7:.1f}l7,7l-7,7l-7,-7z"><title>{name}</title></path>{label}'
