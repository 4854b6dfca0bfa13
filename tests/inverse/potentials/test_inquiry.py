import numpy as np
import pytest

from inverse.potentials.batches import SinglePoint
from inverse.potentials.inquiry import answered_together
from inverse.potentials.loading import Potential, available_potentials, load_potential
from inverse.potentials.relaxation import RelaxationSettings, relax, relaxing
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.mechanics.stiffness import stiffness, stiffness_inquiry
from surrogates.errors import ConfigError, VerificationError
from tests import crystals

MORSE = "tests.stand_in_potential:pairwise"


def some_cells():
    structures = [crystals.low_symmetry(), crystals.fcc("Al", 3.5), crystals.l1_2("Cu", "Au")]
    return [SymmetricCell.from_structure(structure) for structure in structures]


def test_side_by_side_is_one_after_the_other():
    potential = load_potential(MORSE)
    cells = some_cells()
    together = dict(answered_together((relaxing(cell, potential) for cell in cells), width=2))
    for position, cell in enumerate(cells):
        alone = relax(cell, potential)
        np.testing.assert_allclose(together[position].cell.lattice, alone.cell.lattice, atol=1e-9)
        assert together[position].steps == alone.steps


def test_tensors_side_by_side():
    potential = load_potential(MORSE)
    cells = [relax(cell, potential).cell for cell in some_cells()[:2]]
    together = dict(answered_together(stiffness_inquiry(cell, potential) for cell in cells))
    for position, cell in enumerate(cells):
        np.testing.assert_allclose(together[position].relaxed, stiffness(cell, potential).relaxed, atol=1e-6)


def test_a_crystal_that_does_not_converge_holds_nobody_up():
    potential = load_potential(MORSE)
    good = some_cells()
    never = RelaxationSettings(force=-1.0, steps=60)
    settings = [never, RelaxationSettings(), RelaxationSettings(), RelaxationSettings()]
    cells = [good[0], *good]
    ended = list(answered_together(map(relaxing, cells, [potential] * 4, settings), width=2))
    assert ended[-1][0] == 0
    assert isinstance(ended[-1][1], VerificationError)
    assert "not relaxed within 60 steps" in str(ended[-1][1])
    assert sorted(position for position, _ in ended) == [0, 1, 2, 3]


def counting(limit, sizes):
    """A potential that fails when asked about more than `limit` cells at once, or about a cell of copper."""

    def batch(cells):
        sizes.append(len(cells))
        if len(cells) > limit or any(29 in atoms.numbers for atoms in cells):
            raise RuntimeError("out of memory")
        return [SinglePoint(float(len(a)), np.zeros((len(a), 3)), np.zeros((3, 3))) for a in cells]

    class Refuses(Potential):
        def evaluate(self, numbers, lattice, frac_coords):
            if 29 in numbers:
                raise VerificationError("copper")
            return batch([crystals_atoms(numbers, lattice, frac_coords)])[0]

    return Refuses("counting", None, frozenset(["Al", "Cu"]), batch)


def crystals_atoms(numbers, lattice, frac_coords):
    from ase import Atoms

    return Atoms(numbers=numbers, cell=lattice, scaled_positions=frac_coords, pbc=True)


def test_what_does_not_fit_is_halved_and_one_bad_cell_spoils_no_other():
    sizes: list[int] = []
    cells = [SymmetricCell.from_structure(crystals.fcc(s)) for s in ["Al"] * 5 + ["Cu"] + ["Al"] * 2]
    answers = counting(3, sizes).evaluate_many(cells)
    assert [isinstance(answer, VerificationError) for answer in answers] == [False] * 5 + [True] + [False] * 2
    assert max(sizes) == 8
    assert [answer.energy for answer in answers if isinstance(answer, SinglePoint)] == [1.0] * 7


def test_cells_are_shared_out_by_their_neighbours(monkeypatch):
    sizes: list[int] = []
    monkeypatch.setattr("inverse.potentials.loading.EDGES_ON_CPU", 200.0)
    cells = [SymmetricCell.from_structure(crystals.fcc("Al")) for _ in range(7)]
    counting(100, sizes).evaluate_many(cells)
    assert sum(sizes) == 7
    assert 1 < max(sizes) < 7


@pytest.mark.parametrize("name", ["7net-0", "diep", "chgnet"])
def test_together_a_potential_says_what_it_says_alone(name):
    if not available_potentials()[name]:
        pytest.skip(f"{name} is not installed")
    potential = load_potential(name, "cpu")
    structures = [crystals.diamond(), crystals.l1_2("Cu", "Au"), crystals.hcp("Cu")]
    rng = np.random.default_rng(0)
    cells = []
    for structure in structures:
        structure.perturb(0.05, seed=1)
        cell = SymmetricCell.from_arrays(
            structure.lattice.matrix, structure.frac_coords, np.array(structure.atomic_numbers)
        )
        cells.append(cell.moved(0.01 * (lambda m: m + m.T)(rng.normal(size=(3, 3)))))
    for cell, point in zip(cells, potential.evaluate_many(cells), strict=True):
        alone = potential.evaluate(cell.numbers, cell.lattice, cell.frac_coords)
        assert point.energy == pytest.approx(alone.energy, abs=1e-4)
        np.testing.assert_allclose(point.forces, alone.forces, atol=1e-4)
        np.testing.assert_allclose(point.stress, alone.stress, atol=1e-5)


def test_a_gpu_that_is_not_there_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="cuda"):
        load_potential("diep", "cuda")
