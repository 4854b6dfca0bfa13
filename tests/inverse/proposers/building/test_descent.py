"""Descents step by step, against Adam worked out for one number, and what they may not touch."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from torch import Tensor

from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.building.descent import (
    HULL_EVERY,
    LEAST_HINT,
    DescentSettings,
    allowed_mask,
    improved,
    keep_finite,
    overlap,
    relaxed,
    softened,
)
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, CrystalBatch, element_index
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY, Property
from surrogates.protocol import Level, Prediction
from tests.fakes import CONFIG, AnalyticSurrogate, prediction, search_space


class Energy:
    """A surrogate of the formation energy alone, any function of the crystals."""

    name = "energy"
    level = Level.STRUCTURE
    elements = frozenset(ELEMENT_SYMBOLS)
    properties: tuple[Property, ...] = (FORMATION_ENERGY,)

    def __init__(self, of: Callable[[CrystalBatch], Tensor]) -> None:
        self._of = of

    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        return {FORMATION_ENERGY: prediction(FORMATION_ENERGY, self._of(crystals))}


def evaluator(of: Callable[[CrystalBatch], Tensor]) -> Evaluator:
    return Evaluator(Energy(of), lambda formula: 0.0, [FORMATION_ENERGY])


def adam(loss: Callable[[list[float]], float], n: int, steps: int, rate: float) -> tuple[list[float], int]:
    """Return the best of so many steps from n zeros, and which it is; slopes by central differences."""
    x, m, v = [0.0] * n, [0.0] * n, [0.0] * n
    path = [x]
    for t in range(1, steps + 1):
        slopes = []
        for k in range(n):
            sides = [[y + h * (j == k) for j, y in enumerate(x)] for h in (1e-6, -1e-6)]
            slopes.append((loss(sides[0]) - loss(sides[1])) / 2e-6)
        m = [0.9 * a + 0.1 * g for a, g in zip(m, slopes, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, slopes, strict=True)]
        sizes = [a / (1 - 0.9**t) / (math.sqrt(b / (1 - 0.999**t)) + 1e-8) for a, b in zip(m, v, strict=True)]
        x = [y - rate * size for y, size in zip(x, sizes, strict=True)]
        path.append(x)
    best = min(range(steps + 1), key=lambda step: loss(path[step]))
    return path[best], best


def held(x: float, limit: float) -> float:
    return limit * math.tanh(x / limit)


def rock_salt(volume: float, metal: str = "W", light: str = "C") -> SymmetricCrystals:
    return SymmetricCrystals.from_skeleton(225, ["a", "b"], [metal, light], volume)


def stack(*heights: float, volume: float = 30.0) -> SymmetricCrystals:
    """P4mm, where atoms on the axis may have any height; loose enough that nothing overlaps."""
    made = SymmetricCrystals.from_skeleton(99, ["a"] * len(heights), ["W", "C"][: len(heights)], volume)
    return made.replace(free_coords=torch.tensor([[0.0, 0.0, z] for z in heights]))


def volumes(crystals: SymmetricCrystals | CrystalBatch) -> Tensor:
    batch = crystals.to_crystals() if isinstance(crystals, SymmetricCrystals) else crystals
    return batch.volume / batch.n_atoms


def spring(volume: float) -> Callable[[CrystalBatch], Tensor]:
    return lambda crystals: 0.5 * torch.log(volumes(crystals) / volume).square()


@pytest.mark.parametrize(
    ("settings", "steps", "rate", "prior", "best"),
    [
        (DescentSettings(), 30, 0.012, 0.5, 9),
        (DescentSettings(steps=1), 1, 0.012, 0.5, 1),
        (DescentSettings(steps=5, learning_rate=0.1, prior=3.0), 5, 0.1, 3.0, 4),
    ],
    ids=["as usual", "one step", "far and held back"],
)
def test_a_cell_goes_where_adam_takes_its_length_and_stays_at_the_best(
    settings: DescentSettings, steps: int, rate: float, prior: float, best: int
) -> None:
    """Rock salt from 11 Å³ per atom towards 8: the only freedom is the logarithm of the length.

    Its change is at most 0.15, and costs the prior in these units; 0.05 eV per atom are one unit of loss.
    """

    def loss(x: list[float]) -> float:
        strain = held(x[0], 0.15)
        return 0.5 * (math.log(11 / 8) + 3 * strain) ** 2 / 0.05 + prior * (strain / 0.15) ** 2

    x, step = adam(loss, 1, steps, rate)
    asked = evaluator(spring(8.0))
    end = relaxed(asked, rock_salt(11.0), settings)
    assert step == best
    assert float(volumes(end)[0]) == pytest.approx(11.0 * math.exp(3 * held(x[0], 0.15)), rel=2e-4)
    assert asked.n_evaluated == steps + 1


def test_atoms_too_close_are_pushed_apart_by_twenty_times_the_squared_overlap() -> None:
    """Squeezed rock salt, where nothing else counts: 12 pairs W-C and 12 pairs W-W, seen from each atom.

    Radii of 1.62 and 0.76 Å: three quarters of the sums are 1.785 and 2.43 Å.
    """
    a = (8 * 4.1) ** (1 / 3)

    def loss(x: list[float]) -> float:
        strain = held(x[0], 0.15)
        length = a * math.exp(strain)
        unlike, alike = max(1.785 - length / 2, 0.0), max(2.43 - length / math.sqrt(2), 0.0)
        return 20.0 * 12 * (unlike**2 + alike**2) + 0.5 * (strain / 0.15) ** 2

    (x,), _ = adam(loss, 1, 4, 0.012)
    end = relaxed(
        evaluator(lambda crystals: 0.0 * volumes(crystals)), rock_salt(4.1), DescentSettings(steps=4)
    )
    assert float(volumes(end)[0]) == pytest.approx(4.1 * math.exp(3 * held(x, 0.15)), rel=2e-4)
    assert float(volumes(end)[0]) > 4.5


def apart(crystals: CrystalBatch) -> Tensor:
    """Return eV/atom: how far two atoms on an axis are from 0.38 of its length."""
    heights = crystals.frac_coords[:, 2].reshape(-1, 2)
    return 2.0 * (heights[:, 1] - heights[:, 0] - 0.38).square()


@pytest.mark.parametrize("steps", [1, 6, 20])
def test_atoms_move_along_what_symmetry_leaves_free_and_each_move_costs_the_prior(steps: int) -> None:
    def loss(x: list[float]) -> float:
        low, high = held(x[0], 0.08), held(x[1], 0.08)
        prior = 0.7 * ((low / 0.08) ** 2 + (high / 0.08) ** 2)
        return 2.0 * (0.3 + high - low - 0.38) ** 2 / 0.05 + prior

    x, _ = adam(loss, 2, steps, 0.012)
    start = stack(0.2, 0.5)
    end = relaxed(evaluator(apart), start, DescentSettings(steps=steps, prior=0.7, overlap=0.0))
    wanted = [0.2 + held(x[0], 0.08), 0.5 + held(x[1], 0.08)]
    assert end.free_coords[:, 2].tolist() == pytest.approx(wanted, abs=2e-5)
    assert torch.equal(end.free_coords[:, :2], start.free_coords[:, :2])
    assert volumes(end).tolist() == pytest.approx([30.0])


def test_no_atom_leaves_the_trust_region_however_strong_the_pull() -> None:
    pull = evaluator(lambda crystals: 50.0 * apart(crystals) + 50.0 * torch.log(volumes(crystals)))
    start = stack(0.2, 0.3)
    end = relaxed(pull, start, DescentSettings(steps=25, learning_rate=0.1, prior=0.0, overlap=0.0))
    moved = (end.free_coords - start.free_coords)[:, 2].tolist()
    assert moved == pytest.approx([-0.08, 0.08], rel=0.01)
    strain = (end.free_lattice - start.free_lattice)[0].tolist()
    assert strain == pytest.approx([-0.15, 0.0, -0.15, 0.0, 0.0, 0.0], rel=0.01), "a and c, nothing else"


def test_each_crystal_of_a_batch_descends_as_it_does_alone_beside_one_without_a_number_too() -> None:
    """The overshooting one keeps an early step, the other a late one; the last has no energy at all."""

    def energy(crystals: CrystalBatch) -> Tensor:
        return (torch.log(volumes(crystals) / 9.0).square() + 0.01).sqrt() - (volumes(crystals) - 12.0).sqrt()

    settings = DescentSettings(steps=6, learning_rate=0.05, overlap=0.0)
    parts = [stack(0.1, 0.5, volume=14.0), rock_salt(11.0), stack(0.2, volume=16.0)]
    together = relaxed(evaluator(energy), SymmetricCrystals.concatenate(parts), settings)
    for k, part in enumerate(parts):
        alone, own = relaxed(evaluator(energy), part, settings), together.select([k])
        assert own.free_lattice[0].tolist() == pytest.approx(alone.free_lattice[0].tolist(), abs=1e-6)
        assert own.free_coords[:, 2].tolist() == pytest.approx(alone.free_coords[:, 2].tolist(), abs=1e-6)
    assert float(volumes(together)[1]) == pytest.approx(11.0), "no number, no move"


def test_a_step_that_gains_nothing_is_not_taken() -> None:
    """A slope in the lattice whose value never changes."""

    def level(crystals: CrystalBatch) -> Tensor:
        return volumes(crystals) - volumes(crystals).detach()

    end = relaxed(evaluator(level), rock_salt(11.0), DescentSettings(steps=3, prior=0.0, overlap=0.0))
    assert torch.equal(end.free_lattice, rock_salt(11.0).free_lattice)


def test_no_crystals_descend_to_none() -> None:
    none = SymmetricCrystals.from_structures([])
    assert relaxed(evaluator(volumes), none, DescentSettings()).n_crystals == 0


def test_the_first_step_moves_every_logit_by_the_species_rate_and_lengths_by_the_other() -> None:
    """Towards tungsten and carbon, the best pair; to elements that are not allowed never."""
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    allowed = allowed_mask(frozenset({"W", "Ti", "C", "N"}))
    start = softened(rock_salt(12.0, "Ti", "N"), allowed, 0.4)
    settings = DescentSettings(steps=1, learning_rate=0.02, species_rate=0.1, prior=0.0)
    end = improved(space.base, space.objective, start, settings, allowed)
    moved = (end.species_logits - start.species_logits)[:, allowed]
    assert sorted(e for e, is_in in zip(ELEMENT_SYMBOLS, allowed.tolist(), strict=True) if is_in) == [
        "C",
        "N",
        "Ti",
        "W",
    ]
    up = [element_index(e) for e in ("W", "C")]
    assert (end.species_logits - start.species_logits)[:, up].flatten().tolist() == pytest.approx(
        [0.1] * 4, rel=1e-3
    )
    assert moved.abs().flatten().tolist() == pytest.approx([0.1] * 8, rel=1e-3)
    assert float(end.species_logits[:, ~allowed].max()) == -30.0
    lengths = (end.free_lattice - start.free_lattice)[0, 0]
    assert float(lengths) == pytest.approx(-held(0.02, 0.15), rel=1e-3)


def test_without_a_species_rate_even_an_element_that_is_not_allowed_is_kept() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    start, allowed = rock_salt(12.0, "Os", "C"), allowed_mask(frozenset({"W", "C"}))
    end = improved(space.base, space.objective, start, DescentSettings(steps=3), allowed)
    assert end.formulas() == ["OsC"]
    assert torch.equal(end.species_logits, start.species_logits)


@pytest.mark.parametrize(
    ("rate", "steps", "n_asked"), [(0.1, HULL_EVERY, 2), (0.1, HULL_EVERY - 1, 1), (0.0, 25, 0)]
)
def test_the_hull_below_mixtures_is_looked_up_every_few_steps_and_below_formulas_once(
    rate: float, steps: int, n_asked: int
) -> None:
    mixtures: list[np.ndarray] = []
    formulas: list[str] = []

    def potentials(fractions: np.ndarray) -> np.ndarray:
        mixtures.append(fractions)
        return np.zeros((len(fractions), N_ELEMENTS))

    def below(formula: str) -> float:
        formulas.append(formula)
        return 0.0

    wanted = Objective([Target(ENERGY_ABOVE_HULL, maximum=0.0)])
    asked = Evaluator(AnalyticSurrogate(), below, [ENERGY_ABOVE_HULL], potentials=potentials)
    allowed = allowed_mask(frozenset({"W", "C", "N"}))
    start = softened(rock_salt(11.0, "W", "N"), allowed, 0.7)
    improved(asked, wanted, start, DescentSettings(steps=steps, species_rate=rate), allowed)
    assert len(mixtures) == n_asked
    assert formulas == ["WN"]


def test_a_softened_site_keeps_its_weight_and_shares_the_rest_as_hinted() -> None:
    """0.6 on its own element; 0.4 in equal parts of 0.1, or 3 to 1 between tungsten and carbon."""
    allowed = allowed_mask(frozenset({"W", "Ti", "C", "N"}))

    def weights(hint: Tensor | None = None, among: Tensor = allowed) -> dict[str, float]:
        soft = softened(rock_salt(11.0, "W", "N"), among, 0.6, hint)
        row = soft.species_logits.softmax(dim=1)[0].tolist()
        return {e: w for e, w in zip(ELEMENT_SYMBOLS, row, strict=True) if w > 1e-9}

    assert weights() == pytest.approx({"W": 0.7, "Ti": 0.1, "C": 0.1, "N": 0.1})
    hint = torch.zeros(N_ELEMENTS)
    for symbol, emphasis in (("W", 3.0), ("C", 1.0), ("Os", 9.0)):
        hint[element_index(symbol)] = emphasis
    trace = 0.4 * LEAST_HINT / 4
    wanted = {"W": 0.9, "C": 0.1, "Ti": trace, "N": trace}
    assert weights(hint) == pytest.approx(wanted, rel=1e-4), "an element of no promise keeps a trace"
    assert weights(among=torch.zeros(N_ELEMENTS).bool()) == pytest.approx({"W": 1.0})


def test_overlap_is_the_sum_of_squares_over_both_atoms_of_each_pair_that_is_too_close() -> None:
    """Radii W 1.62, C 0.76 and H 0.31 Å: W-C at 1.5 Å lack 0.285 Å, H-H at 0.4 Å lack 0.065 Å."""
    cube = Lattice.cubic(8.0)
    structures = [
        Structure(cube, ["W", "C"], [[0, 0, 0], [1.5 / 8, 0, 0]]),
        Structure(cube, ["W", "C"], [[0, 0, 0], [1.8 / 8, 0, 0]]),
        Structure(cube, ["H", "H"], [[0, 0, 0], [0, 0.4 / 8, 0]]),
    ]
    found = overlap(CrystalBatch.from_structures(structures)).tolist()
    assert found == pytest.approx([2 * 0.285**2, 0.0, 2 * 0.065**2], rel=1e-3)


def test_slopes_that_are_no_numbers_count_as_none() -> None:
    odd, none = torch.zeros(4, requires_grad=True), torch.zeros(2, requires_grad=True)
    odd.grad = torch.tensor([float("nan"), float("inf"), -float("inf"), 2.0])
    keep_finite(odd, none)
    assert odd.grad.tolist() == [0.0, 0.0, 0.0, 2.0]
    assert none.grad is None
