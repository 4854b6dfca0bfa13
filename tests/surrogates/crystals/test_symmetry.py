from functools import cache

import numpy as np
import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from surrogates.crystals.batch import N_ELEMENTS
from surrogates.crystals.symmetry import HARD_LOGIT, SymmetricCrystals, find_space_groups, wyckoff_positions
from surrogates.errors import ShapeError, StructureError


@cache
def known_structures() -> list[Structure]:
    make = Structure.from_spacegroup
    cubic, hexagonal = Lattice.cubic, Lattice.hexagonal
    return [
        make("Fm-3m", cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        make("Fd-3m", cubic(3.57), ["C"], [[0, 0, 0]]),
        make("P6_3mc", hexagonal(3.25, 5.2), ["Zn", "O"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]),
        make("P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]),
        make("Pa-3", cubic(5.42), ["Fe", "S"], [[0, 0, 0], [0.385, 0.385, 0.385]]),
        make("R-3c", hexagonal(4.99, 17.06), ["Ca", "C", "O"], [[0, 0, 0], [0, 0, 0.25], [0.257, 0, 0.25]]),
        make("I4_1/amd", Lattice.tetragonal(3.78, 9.51), ["Ti", "O"], [[0, 0.75, 0.125], [0, 0.25, 0.0816]]),
        make(
            "Pnma",
            Lattice.orthorhombic(5.09, 6.74, 4.52),
            ["Fe", "C"],
            [[0.186, 0.063, 0.328], [0.89, 0.25, 0.45]],
        ),
        make(
            "P2_1/c",
            Lattice.monoclinic(5.15, 5.2, 5.32, 99.2),
            ["Zr", "O", "O"],
            [[0.275, 0.04, 0.208], [0.07, 0.332, 0.345], [0.449, 0.757, 0.479]],
        ),
        Structure(
            Lattice.from_parameters(3.1, 4.3, 5.2, 81, 95, 104),
            ["W", "B", "C"],
            [[0, 0, 0], [0.3, 0.4, 0.6], [0.7, 0.1, 0.35]],
        ),
        make("Im-3m", cubic(3.16), ["W"], [[0, 0, 0]]),
    ]


def random_crystals(group: int, seed: int) -> SymmetricCrystals:
    """One crystal with two general orbits and one on a random Wyckoff position."""
    rng = np.random.default_rng([group, seed])
    general = len(wyckoff_positions(group)) - 1
    letters = [int(rng.integers(0, general + 1)), general, general]
    logits = torch.zeros(3, N_ELEMENTS, dtype=torch.float64)
    logits[torch.arange(3), torch.tensor([5, 7, 73])] = HARD_LOGIT
    lattice = torch.tensor([[2.0, 2.31, 2.57, 0.11, -0.23, 0.17]], dtype=torch.float64)
    crystal = SymmetricCrystals(
        space_group=torch.tensor([group]),
        wyckoff=torch.tensor(letters),
        site_index=torch.zeros(3, dtype=torch.long),
        species_logits=logits,
        free_coords=torch.as_tensor(rng.uniform(0.05, 0.95, (3, 3))),
        free_lattice=lattice,
        scale=torch.zeros(1, dtype=torch.long),
    )
    return crystal.replace(free_lattice=lattice * crystal.is_lattice_free)


def test_round_trip_gives_the_same_structures() -> None:
    structures = known_structures()
    crystals = SymmetricCrystals.from_structures(structures)
    matcher = StructureMatcher()
    for primitive in (True, False):
        back = crystals.to_structures(primitive)
        assert all(matcher.fit(a, b) for a, b in zip(structures, back, strict=True))
    volumes = [s.volume / len(s) for s in structures]
    per_atom = (crystals.to_crystals().volume / crystals.n_atoms).tolist()
    assert per_atom == pytest.approx(volumes, rel=1e-4)
    assert crystals.formulas() == [s.composition.reduced_formula for s in structures]


@pytest.mark.parametrize(("primitive", "step"), [(True, 1), (False, 9)])
def test_spglib_finds_every_space_group(primitive: bool, step: int) -> None:
    groups = list(range(1, 231, step))
    crystals = SymmetricCrystals.concatenate([random_crystals(group, 0) for group in groups])
    atoms = crystals.to_crystals(primitive)
    assert find_space_groups(atoms, 1e-3) == groups
    wanted = crystals.n_atoms if primitive else crystals.multiplicity.reshape(-1, 3).sum(dim=1)
    assert atoms.n_atoms.tolist() == wanted.tolist()


def test_from_structures_recovers_free_numbers() -> None:
    crystals = SymmetricCrystals.concatenate([random_crystals(group, 1) for group in range(1, 231, 7)])
    again = SymmetricCrystals.from_structures(crystals.to_structures(), dtype=torch.float64)
    assert again.space_group.tolist() == crystals.space_group.tolist()
    assert again.to_crystals().volume.tolist() == pytest.approx(
        crystals.to_crystals().volume.tolist(), rel=1e-4
    )
    assert sorted(again.site_symmetry) == sorted(crystals.site_symmetry)


def smooth_energy(crystals: SymmetricCrystals) -> torch.Tensor:
    atoms = crystals.to_crystals()
    charge = atoms.occupancy @ torch.linspace(-1.0, 2.0, N_ELEMENTS, dtype=torch.float64)
    phase = 2 * torch.pi * atoms.frac_coords
    waves = (charge.unsqueeze(1) * torch.sin(phase + torch.tensor([0.3, 0.7, 1.1]))).sum()
    metric = (atoms.lattice @ atoms.lattice.transpose(1, 2)).square().sum().sqrt()
    return waves + 0.01 * metric + atoms.volume.log().sum()


@pytest.mark.parametrize("group", [1, 2, 12, 63, 122, 166, 194, 227])
def test_gradients_match_finite_differences(group: int) -> None:
    crystal = random_crystals(group, 2)
    generator = torch.Generator().manual_seed(group)
    logits = torch.randn(3, N_ELEMENTS, generator=generator, dtype=torch.float64)

    def energy(
        free_lattice: torch.Tensor, free_coords: torch.Tensor, amplitude: torch.Tensor
    ) -> torch.Tensor:
        soft = logits * amplitude
        changed = crystal.replace(free_lattice=free_lattice, free_coords=free_coords, species_logits=soft)
        return smooth_energy(changed)

    inputs = (
        crystal.free_lattice.clone().requires_grad_(),
        crystal.free_coords.clone().requires_grad_(),
        torch.tensor(0.7, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(energy, inputs, eps=1e-6, atol=1e-6)


def test_a_step_along_any_free_number_keeps_the_space_group() -> None:
    crystals = SymmetricCrystals.concatenate([random_crystals(group, 3) for group in (14, 62, 148, 186, 205)])
    generator = torch.Generator().manual_seed(0)
    moved = crystals.replace(
        free_lattice=crystals.free_lattice + 0.03 * torch.randn(5, 6, generator=generator),
        free_coords=crystals.free_coords + 0.01 * torch.randn(15, 3, generator=generator),
    )
    assert find_space_groups(moved.to_crystals(), 1e-3) == [14, 62, 148, 186, 205]


def test_any_real_numbers_are_a_lattice() -> None:
    free = 2.0 * torch.randn(200, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    crystals = random_crystals(1, 0).select([0] * 200).replace(free_lattice=free)
    volume = torch.linalg.det(crystals.lattice())
    assert bool((volume > 0).all())
    lengths = crystals.lattice().norm(dim=2).log()
    assert torch.allclose(lengths, free[:, :3], atol=1e-8)


def test_select_concatenate_and_harden() -> None:
    crystals = SymmetricCrystals.from_structures(known_structures())
    picked = crystals.select([2, 0, 2])
    assert picked.formulas() == ["ZnO", "NaCl", "ZnO"]
    mask = torch.arange(crystals.n_crystals) == 1
    joined = SymmetricCrystals.concatenate([crystals.select(mask), picked])
    assert joined.formulas() == ["C", "ZnO", "NaCl", "ZnO"]
    assert joined.n_atoms.tolist() == [2, 4, 2, 4]
    soft = picked.replace(species_logits=picked.species_logits / 10)
    assert float(soft.to_crystals().occupancy.max()) < 0.9
    assert float(soft.harden().to_crystals().occupancy.max(dim=1).values.min()) == 1.0
    assert SymmetricCrystals.concatenate([]).to_structures() == []


def test_free_numbers_are_counted() -> None:
    crystals = SymmetricCrystals.from_structures(known_structures())
    counted = dict(zip(crystals.formulas(), crystals.n_free.tolist(), strict=True))
    wanted = {"NaCl": 1, "C": 1, "ZnO": 4, "FeS2": 2, "CaCO3": 3, "ZrO2": 13, "BWC": 15, "W": 1}
    assert {formula: counted[formula] for formula in wanted} == wanted


def test_wyckoff_positions_carry_symbols() -> None:
    first = wyckoff_positions(225)[0]
    assert (first.letter, first.multiplicity, first.primitive_multiplicity) == ("a", 4, 1)
    assert (first.site_symmetry, first.n_free) == ("m-3m", 0)
    assert len(wyckoff_positions(47)) == 27
    with pytest.raises(StructureError, match="space group 231"):
        wyckoff_positions(231)


def test_skeleton_has_the_volume_asked_for() -> None:
    crystal = SymmetricCrystals.from_skeleton(194, ["a", "c"], ["W", "C"], volume_per_atom=10.0)
    assert crystal.formulas() == ["WC"]
    assert float(crystal.to_crystals().volume / crystal.n_atoms) == pytest.approx(10.0, rel=1e-4)
    with pytest.raises(StructureError, match="no Wyckoff position 'z'"):
        SymmetricCrystals.from_skeleton(194, ["z"], ["W"])


def test_misfits_are_refused() -> None:
    crystals = SymmetricCrystals.from_structures(known_structures()[:2])
    with pytest.raises(StructureError, match="Wyckoff letter"):
        crystals.replace(wyckoff=crystals.wyckoff + 30)
    with pytest.raises(ShapeError, match="free_lattice"):
        crystals.replace(free_lattice=torch.zeros(3, 6))
    with pytest.raises(ShapeError, match="site_index"):
        crystals.replace(site_index=crystals.site_index.flip(0) + 5)
    disordered = Structure(Lattice.cubic(4.0), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    with pytest.raises(StructureError, match="partially occupied"):
        SymmetricCrystals.from_structures([disordered])
