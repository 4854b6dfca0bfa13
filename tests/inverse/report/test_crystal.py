"""The crystal of a card: cell, symmetry, neighbours, powder pattern and files of crystals known well."""

import re

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.decoders.cif_writer import symmetrised_cif
from inverse.report.crystal import crystal_of
from inverse.report.crystal_view import crystal_view
from inverse.report.diffraction import powder_lines
from inverse.report.drawing import drawing_of, svg_of


def rock_salt() -> Structure:
    """Primitive cell of TiC."""
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.328), ["Ti", "C"], places
    ).get_primitive_structure()


def wc() -> Structure:
    return Structure(Lattice.hexagonal(2.906, 2.837), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


def test_a_primitive_cell_is_shown_as_the_conventional_one() -> None:
    found = crystal_of(rock_salt())
    assert (found.symbol, found.number, len(found.cell)) == ("Fm-3m", 225, 8)
    assert found.in_words == "face-centred cubic, point group m-3m"
    assert found.lattice_text == "a = 4.328 Å"
    assert {(site.element, site.wyckoff) for site in found.sites} == {("Ti", "4a"), ("C", "4b")}


@pytest.mark.parametrize(
    ("group", "lattice", "text"),
    [
        ("P4/mmm", Lattice.tetragonal(3.0, 4.0), "a = 3.000, c = 4.000 Å"),
        ("Pmmm", Lattice.orthorhombic(3.0, 4.0, 5.0), "a = 3.000, b = 4.000, c = 5.000 Å"),
        ("P2/m", Lattice.monoclinic(3.0, 4.0, 5.0, 100.0), "a = 3.000, b = 4.000, c = 5.000 Å, β = 100.00°"),
    ],
)
def test_a_cell_is_named_by_what_symmetry_leaves_free(group: str, lattice: Lattice, text: str) -> None:
    assert crystal_of(Structure.from_spacegroup(group, lattice, ["W"], [[0, 0, 0]])).lattice_text == text


def test_neighbours_of_tungsten_carbide() -> None:
    """Textbook: W has six C at 2.20 Å; W-W at a and, within the same shell, c."""
    bonds = {bond.elements: bond for bond in crystal_of(wc()).bonds}
    assert bonds["W", "C"].shortest == pytest.approx(2.197, abs=0.002)
    assert bonds["W", "C"].neighbours == 6
    assert (bonds["W", "W"].shortest, bonds["W", "W"].longest) == (pytest.approx(2.837), pytest.approx(2.906))
    assert bonds["W", "W"].neighbours == 8
    assert ("C", "C") not in bonds, "2.8 Å apart is no bond of carbon"


def test_the_powder_pattern_of_tungsten_carbide() -> None:
    """ICDD 51-0939: 001, 100, 101 at 31.51, 35.64, 48.30 degrees, 100 and 101 the strongest."""
    lines = {line.indices: line for line in powder_lines(crystal_of(wc()).cell)}
    for indices, angle in (("001", 31.51), ("100", 35.64), ("101", 48.30)):
        assert lines[indices].two_theta == pytest.approx(angle, abs=0.05)
    strongest = sorted(lines.values(), key=lambda line: -line.intensity)[:2]
    assert {line.indices for line in strongest} == {"100", "101"}
    assert {"110", "111", "201"} <= set(lines), "hexagonal planes by their indices without a minus sign"
    assert not any("\u2212" in indices for indices in lines)


def test_atoms_on_faces_are_drawn_on_both_sides() -> None:
    drawn = drawing_of(crystal_of(rock_salt()).cell)
    assert sum(ball.element == "Ti" for ball in drawn.balls) == 14, "8 corners and 6 faces"
    assert sum(ball.element == "C" for ball in drawn.balls) == 13, "12 edges and the centre"
    lengths = [np.linalg.norm(drawn.balls[i].place - drawn.balls[j].place) for i, j in drawn.sticks]
    assert lengths == pytest.approx([2.164] * len(lengths), abs=1e-3)
    assert {frozenset(drawn.balls[k].element for k in pair) for pair in drawn.sticks} == {
        frozenset({"Ti", "C"})
    }
    assert len(drawn.edges) == 12


def test_a_picture_stays_within_its_frame() -> None:
    for structure in (rock_salt(), wc()):
        picture = svg_of(drawing_of(crystal_of(structure).cell), "TiC")
        circles = re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)" r="([\d.]+)"', picture)
        for x, y, r in (map(float, found) for found in circles):
            assert r <= x <= 240 - r
            assert r <= y <= 240 - r


def test_what_the_viewer_is_told_keeps_all_distances() -> None:
    drawn = drawing_of(crystal_of(wc()).cell)
    told = np.array([atom[1:] for atom in drawn.record()["atoms"]])
    own = np.array([ball.place for ball in drawn.balls])
    for places in (told, own):
        places -= places[0]
    assert np.linalg.norm(told, axis=1) == pytest.approx(np.linalg.norm(own, axis=1), abs=0.02)
    assert np.linalg.det(np.linalg.lstsq(own, told, rcond=None)[0]) == pytest.approx(1.0, abs=0.02), (
        "no mirror"
    )


def test_files_hold_the_symmetry_and_the_inputs_the_right_elements() -> None:
    view = crystal_view(wc(), "c000001_WC", with_inputs=True)
    assert set(view.files) == {"c000001_WC.cif", "POSCAR", "INCAR", "KPOINTS", "c000001_WC.relax.in"}
    cif = view.files["c000001_WC.cif"]
    assert cif == symmetrised_cif(wc())
    assert re.search(r"_symmetry_Int_Tables_number\s+187", cif)
    assert "W.pbe" in view.files["c000001_WC.relax.in"] or "W_pbe" in view.files["c000001_WC.relax.in"]
    assert Structure.from_str(view.files["POSCAR"], fmt="poscar").composition.reduced_formula == "WC"
    assert set(crystal_view(wc(), "c000001_WC").files) == {"c000001_WC.cif"}


def test_a_crystal_without_symmetry_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from inverse.report import crystal

    def finds_nothing(structure: Structure, symprec: float) -> None:
        raise TypeError("no dataset")

    monkeypatch.setattr(crystal, "SpacegroupAnalyzer", finds_nothing)
    found = crystal_of(wc())
    assert (found.symbol, found.number, found.cell) == ("", 0, wc())
    assert found.bonds
    assert crystal_view(wc(), "x").sites == ()
