"""Which proposals are one crystal: polytypes and orderings are several, other cells of a crystal are one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Candidate, Status
from inverse.proposers.distinct import Offered, distinct
from inverse.proposers.protocol import Proposal
from inverse.reference.deduplication import CrystalsMet

LAYERS = {"A": (0.0, 0.0), "B": (1 / 3, 2 / 3), "C": (2 / 3, 1 / 3)}


def proposals(structures: Sequence[Structure]) -> list[Proposal]:
    return [Proposal(s, "test", 0) for s in structures]


def stacked(layers: str, metal: str = "Si", other: str = "C") -> Structure:
    """Tetrahedral double layers; AB is wurtzite, ABC zincblende, ABCB 4H, ABCACB 6H."""
    sites = [(metal, (*LAYERS[name], k / len(layers))) for k, name in enumerate(layers)]
    sites += [(other, (*LAYERS[name], (k + 0.75) / len(layers))) for k, name in enumerate(layers)]
    lattice = Lattice.hexagonal(3.08, 2.515 * len(layers))
    return Structure(lattice, [s for s, _ in sites], [c for _, c in sites])


def layered_rock_salt(metals: str) -> Structure:
    """Rock salt with metals T (titanium) and Z (zirconium) in layers along [111], one letter a layer."""
    shift = np.array([2 / 3, 1 / 3, 0.0])
    species, coords = [], []
    for k in range(6):
        inside = k * shift + [0.0, 0.0, k / 6]
        species += [{"T": "Ti", "Z": "Zr"}[metals[k % len(metals)]], "C"]
        coords += [inside, np.add(inside, [1 / 3, 2 / 3, 1 / 12])]
    return Structure(Lattice.hexagonal(3.18, 15.59), species, coords)


TETRAGONAL_ROCK_SALT = Structure(
    Lattice.tetragonal(3.18, 4.5),
    ["Ti", "Zr", "C", "C"],
    [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]],
)
DIAMOND = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
LONSDALEITE = Structure.from_spacegroup(
    "P6_3/mmc", Lattice.hexagonal(2.52, 4.12), ["C"], [[1 / 3, 2 / 3, 0.0625]]
)


def pairs(*metals: str) -> list[Proposal]:
    return proposals([Structure(Lattice.cubic(2.7), [m, "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]) for m in metals])


def formulas(found: Sequence[Proposal]) -> list[str]:
    return [p.structure.composition.reduced_formula for p in found]


def test_what_was_offered_is_counted_once_and_not_what_was_screened_out() -> None:
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = Structure(Lattice.cubic(2.7), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    first = Candidate("c000000", salt, "test", 0, status=Status.PREDICTED)
    offered = Offered()
    assert (offered.count("TiC"), offered.holds(salt)) == (0, False)
    offered.remember([first])
    offered.remember([first])
    assert (offered.count("TiC"), offered.holds(salt.get_primitive_structure())) == (1, True)
    offered.remember([replace(first, id="c000001", structure=other, status=Status.SCREENED_OUT)])
    assert (offered.count("TiC"), offered.holds(other)) == (1, False)
    offered.remember([replace(first, id="c000002", structure=other)])
    assert (offered.count("TiC"), offered.holds(other)) == (2, True)


def test_as_many_new_crystals_are_taken_as_wanted_and_no_more_are_looked_at() -> None:
    """Neither one that was offered nor a repeat counts among them, and the first ones are taken."""
    offered = Offered()
    offered.remember([Candidate("c0", pairs("Zr")[0].structure, "test", 0)])
    looked_at: list[Proposal] = []

    def handed() -> Iterator[Proposal]:
        for proposal in pairs("Ti", "Zr", "Ti", "V", "Nb", "Ta"):
            looked_at.append(proposal)
            yield proposal

    for most, taken, looked in ((-1, 0, 0), (0, 0, 0), (1, 1, 1), (2, 2, 4), (3, 3, 5), (9, 4, 6)):
        looked_at.clear()
        found = offered.fresh(handed(), most)
        assert formulas(found) == ["TiC", "VC", "NbC", "TaC"][:taken]
        assert len(looked_at) == looked


@pytest.mark.parametrize(
    "several",
    [
        [stacked("AB"), stacked("ABCB"), stacked("ABCACB"), stacked("ABC")],
        [stacked("AB", "Zn", "S"), stacked("ABC", "Zn", "S")],
        [TETRAGONAL_ROCK_SALT, layered_rock_salt("TZ")],
        [DIAMOND, LONSDALEITE],
    ],
    ids=["polytypes", "zincblende and wurtzite", "orderings of rock salt", "diamond and lonsdaleite"],
)
def test_different_crystals_of_one_formula_are_kept(several: list[Structure]) -> None:
    several = [s.get_primitive_structure() for s in several]
    assert len(distinct(proposals(several))) == len(several)
    offered = Offered()
    offered.remember([Candidate("c0", several[0], "test", 0)])
    assert len(offered.fresh(proposals(several), 9)) == len(several) - 1


def rewritten(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in a larger cell on another origin, permuted, turned and of another volume."""
    copy = structure.copy()
    copy.make_supercell([[1, int(rng.integers(2)), 0], [0, 1, 1], [0, 0, int(rng.integers(1, 3))]])
    copy.translate_sites(range(len(copy)), rng.uniform(size=3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(copy))
    matrix = copy.lattice.matrix @ turn * rng.uniform(0.9, 1.1)
    return Structure(matrix, [copy[k].specie for k in order], copy.frac_coords[order])


@pytest.mark.parametrize(
    "structure",
    [stacked("ABCACB"), TETRAGONAL_ROCK_SALT, layered_rock_salt("TZ"), DIAMOND, LONSDALEITE],
    ids=["6H", "P4/mmm", "R-3m", "diamond", "lonsdaleite"],
)
def test_one_crystal_in_many_cells_is_one(structure: Structure) -> None:
    rng = np.random.default_rng(3)
    cells = [structure, structure.get_primitive_structure(), *[rewritten(structure, rng) for _ in range(4)]]
    assert distinct(proposals(cells)) == proposals(cells[:1])


def test_volume_in_small_steps_and_axes_within_symmetry_do_not_count() -> None:
    """Six cells of one crystal, as a descent leaves them."""
    cells = []
    for k in range(6):
        cell = TETRAGONAL_ROCK_SALT.copy()
        cell.lattice = Lattice.tetragonal(3.18 * (1 - 0.02 * k), 4.5 * (1 - 0.01 * k))
        cells.append(cell)
    assert len(distinct(proposals(cells))) == 1


def test_what_was_screened_out_may_come_again_at_another_volume() -> None:
    offered = Offered()
    tiny = DIAMOND.copy()
    tiny.scale_lattice(DIAMOND.volume * 0.1)
    offered.remember([Candidate("c0", tiny, "test", 0, status=Status.SCREENED_OUT)])
    assert len(offered.fresh(proposals([DIAMOND]), 1)) == 1
    offered.remember([Candidate("c1", DIAMOND, "test", 0)])
    assert offered.fresh(proposals([tiny]), 1) == []


def test_a_question_costs_a_few_milliseconds_however_many_were_offered() -> None:
    """All have another formula or another structure: nothing is answered by an equal cell."""
    met = CrystalsMet()
    metals = ("Ti", "Zr", "Hf", "V", "Nb", "Ta", "Cr", "Mo", "W", "Mn", "Fe", "Co", "Ni", "Al", "Sc", "Y")
    cells = [
        stacked(layers, metal, other)
        for metal in metals
        for other in ("C", "N", "O", "S")
        for layers in ("AB", "ABC", "ABCB", "ABCACB", "ABAC", "ABCAB")
    ]
    began = time.process_time()
    for cell in cells:
        met.add(cell)
    assert (time.process_time() - began) / len(cells) < 0.02
