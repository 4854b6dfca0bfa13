"""A crystal in 3D as a plotly figure, which notebooks show, turn and zoom without anything else installed."""

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Element, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from surrogates.crystals.formulas import display_formula

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Mesh3d, Scatter3d

SIZE = 0.45
"""Radius of an atom as drawn, in covalent radii: bonds stay visible."""

BONDED = 1.15
"""Distance in sums of covalent radii up to which a bond is drawn."""

ON_FACE = 1e-3
"""Fractional coordinate within which an atom lies on a face of the cell, and is drawn on the other, too."""

RINGS, SECTORS = 9, 14
"""Of the mesh of an atom."""


def crystal_figure(structure: Structure, symprec: float = 0.01) -> "Figure":
    """Return atoms, bonds and edges of a crystal's conventional cell, with formula and space group above.

    Bonds join atoms of which one is no metal; between metals the eye sees the packing better without.

    Args:
        structure: any cell of the crystal.
        symprec: Å, of the symmetry; a crystal in which none is found is drawn in its own cell.
    """
    from plotly.graph_objects import Figure

    cell, title = _conventional(structure, symprec)
    symbols, places = _drawn_atoms(cell)
    traces = [_edges(cell.lattice.matrix), *_bonds(symbols, places)]
    traces += [_balls(name, places[symbols == name]) for name in dict.fromkeys(symbols.tolist())]
    hidden = {"visible": False}
    return Figure(
        data=traces,
        layout={
            "title": {"text": title, "x": 0.5},
            "height": 440,
            "margin": {"l": 0, "r": 0, "t": 40, "b": 0},
            "scene": {
                **dict.fromkeys(("xaxis", "yaxis", "zaxis"), hidden),
                "aspectmode": "data",
                "camera": {
                    "projection": {"type": "orthographic"},
                    "eye": {"x": 1.5, "y": 0.9, "z": 0.5},
                },
            },
        },
    )


def _conventional(structure: Structure, symprec: float) -> tuple[Structure, str]:
    """Return the conventional cell, and formula and space group in a line."""
    formula = display_formula(structure.composition)
    try:
        analyzer = SpacegroupAnalyzer(structure, symprec=symprec)
        group = f"{analyzer.get_space_group_symbol()} ({analyzer.get_space_group_number()})"
        return analyzer.get_conventional_standard_structure(), f"{formula}, {group}"
    except Exception:  # spglib's own errors differ between versions; the cell as it is can be drawn
        return structure, formula


def _drawn_atoms(cell: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return symbols and Cartesian coordinates (Å), those on a face also on the opposite one."""
    symbols, coords = [], []
    for site in cell:
        inside = np.mod(site.frac_coords, 1.0)
        inside[inside > 1.0 - ON_FACE] = 0.0
        ends = [(0.0, 1.0) if x < ON_FACE else (0.0,) for x in inside]
        for shift in itertools.product(*ends):
            symbols.append(site.species.elements[0].symbol)
            coords.append(cell.lattice.get_cartesian_coords(inside + np.array(shift)))
    return np.array(symbols), np.array(coords)


def _balls(symbol: str, places: np.ndarray) -> "Mesh3d":
    """Return the atoms of one element as one mesh."""
    from ase.data import atomic_numbers, covalent_radii
    from ase.data.colors import jmol_colors
    from plotly.graph_objects import Mesh3d

    number = atomic_numbers[symbol]
    vertices, faces = _sphere()
    x, y, z = (places[:, None, :] + SIZE * covalent_radii[number] * vertices).reshape(-1, 3).T
    i, j, k = (faces[None] + len(vertices) * np.arange(len(places))[:, None, None]).reshape(-1, 3).T
    red, green, blue = (round(255 * part) for part in jmol_colors[number])
    return Mesh3d(
        **{name: part.astype(np.float32) for name, part in zip("xyz", (x, y, z), strict=True)},
        **{name: part.astype(np.int32) for name, part in zip("ijk", (i, j, k), strict=True)},
        color=f"rgb({red},{green},{blue})",
        name=symbol,
        showlegend=True,
        hovertemplate=f"{symbol}<extra></extra>",
        lighting={"ambient": 0.55, "diffuse": 0.7, "specular": 0.25, "roughness": 0.5},
    )


def _sphere() -> tuple[np.ndarray, np.ndarray]:
    """Return vertices and triangles of a unit sphere."""
    tilts = np.linspace(0, math.pi, RINGS + 1)
    turns = np.linspace(0, 2 * math.pi, SECTORS, endpoint=False)
    tilt, turn = np.meshgrid(tilts, turns, indexing="ij")
    around = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], axis=-1)
    faces = []
    for ring, sector in itertools.product(range(RINGS), range(SECTORS)):
        here, right = ring * SECTORS + sector, ring * SECTORS + (sector + 1) % SECTORS
        faces += [(here, here + SECTORS, right), (right, here + SECTORS, right + SECTORS)]
    return around.reshape(-1, 3), np.array(faces)


def _bonds(symbols: np.ndarray, places: np.ndarray) -> "list[Scatter3d]":
    """Return the bonds as one trace; none where there are none."""
    from ase.data import atomic_numbers, covalent_radii

    radii = covalent_radii[[atomic_numbers[name] for name in symbols]]
    metal = np.array([Element(name).is_metal for name in symbols])
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    near = (distances < BONDED * (radii[:, None] + radii[None])) & ~(metal[:, None] & metal[None])
    pairs = np.argwhere(np.triu(near, k=1))
    return [_lines([(places[i], places[j]) for i, j in pairs], "#9a9a9a", 5)] if len(pairs) else []


def _edges(matrix: np.ndarray) -> "Scatter3d":
    corners = [np.array(corner) for corner in itertools.product((0.0, 1.0), repeat=3)]
    joined = [(a, b) for a, b in itertools.combinations(corners, 2) if np.abs(a - b).sum() == 1.0]
    return _lines([(a @ matrix, b @ matrix) for a, b in joined], "#555555", 2)


def _lines(pairs: list[tuple[np.ndarray, np.ndarray]], color: str, width: int) -> "Scatter3d":
    from plotly.graph_objects import Scatter3d

    apart = np.full(3, np.nan)  # between two lines of one trace
    x, y, z = np.array([point for a, b in pairs for point in (a, b, apart)]).astype(np.float32).T
    line = {"color": color, "width": width}
    return Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False)
