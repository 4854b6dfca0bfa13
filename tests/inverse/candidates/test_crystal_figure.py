"""A crystal in 3D: what is drawn is the conventional cell with its faces complete."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.crystal_figure import RINGS, SECTORS, crystal_figure
from tests import crystals

BALL = (RINGS + 1) * SECTORS
"""Vertices of the mesh of an atom."""

ROCK_SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.24), ["Ti", "N"], [[0] * 3, [0.5] * 3])


@pytest.mark.parametrize("cell", [ROCK_SALT, ROCK_SALT.get_primitive_structure()])
def test_any_cell_of_a_crystal_shows_the_conventional_one_with_atoms_on_all_faces(cell: Structure) -> None:
    figure = crystal_figure(cell)
    balls = {trace.name: trace for trace in figure.data if trace.type == "mesh3d"}
    # 8 corners and 6 faces; 12 edges and the middle
    assert {name: len(ball.x) // BALL for name, ball in balls.items()} == {"Ti": 14, "N": 13}
    assert figure.layout.title.text == "TiN, Fm-3m (225)"
    bonds = next(trace for trace in figure.data if trace.type == "scatter3d" and trace.line.width == 5)
    assert len(bonds.x) // 3 == 54  # of a cube of 3 x 3 x 3 sites, each with its neighbours inside


def test_balls_are_spheres_around_their_atoms_and_every_triangle_has_its_corners() -> None:
    (ball,) = (trace for trace in crystal_figure(crystals.fcc()).data if trace.type == "mesh3d")
    points = np.stack([ball.x, ball.y, ball.z], axis=-1).reshape(14, BALL, 3)
    centres = points.mean(axis=1, keepdims=True)
    radii = np.linalg.norm(points - centres, axis=-1)
    assert np.ptp(radii) < 1e-4
    assert max(ball.i.max(), ball.j.max(), ball.k.max()) == 14 * BALL - 1


def test_metals_alone_have_no_bonds_and_a_cell_without_symmetry_is_drawn_as_it_is() -> None:
    assert [trace.type for trace in crystal_figure(crystals.fcc()).data] == ["scatter3d", "mesh3d"]
    close = Structure(Lattice.cubic(1e-3), ["Cu"], [[0.3] * 3])  # spglib gives up
    assert crystal_figure(close).layout.title.text in ("Cu", "Cu, Pm-3m (221)")
