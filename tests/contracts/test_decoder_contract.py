"""What every decoder must do; one that is registered is tested."""

import numpy as np
import pytest
import torch

from inverse.candidates.registry import DECODERS
from inverse.decoders import Condition, Decoder, load_decoder
from inverse.decoders.acceptance import MIN_DISTANCE_RATIO, distance_ratios
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.symmetry import SymmetricCrystals, find_space_groups
from surrogates.errors import DecodingError, UnknownNameError


@pytest.fixture(scope="module", params=DECODERS.names(with_extensions=False))
def decoder(request: pytest.FixtureRequest) -> Decoder:
    return load_decoder(request.param)


def latent(decoder: Decoder, n: int, seed: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).random((n, decoder.latent_size)))


def random_condition(rng: np.random.Generator) -> Condition:
    size = int(rng.integers(8, 60))
    allowed = frozenset(rng.choice(ELEMENT_SYMBOLS[:94], size=size, replace=False).tolist())
    members = sorted(allowed)
    kind = int(rng.integers(0, 4))
    low = int(rng.integers(1, 3))
    return Condition(
        allowed_elements=allowed,
        required_any=frozenset(members[:3]) if kind in (1, 3) else frozenset(),
        required_all=frozenset(members[-1:]) if kind in (2, 3) else frozenset(),
        n_elements=(low, low + int(rng.integers(1, 3))),
        n_atoms=(int(rng.integers(1, 4)), int(rng.integers(6, 20))),
    )


def violations(crystals: SymmetricCrystals, condition: Condition) -> list[int]:
    bad = []
    for i, (row, n) in enumerate(
        zip(crystals.harden().amounts.round().tolist(), crystals.n_atoms.tolist(), strict=True)
    ):
        amounts = {ELEMENT_SYMBOLS[z]: count for z, count in enumerate(row) if count}
        group = int(crystals.space_group[i])
        if not condition.is_met(amounts, n) or condition.space_group not in (None, group):
            bad.append(i)
    return bad


def test_satisfies_the_protocol(decoder: Decoder) -> None:
    assert isinstance(decoder, Decoder)
    assert decoder.latent_size > 0
    assert decoder.name in DECODERS.names()


def test_decode_is_deterministic_and_row_by_row(decoder: Decoder) -> None:
    rows = latent(decoder, 6, 0)
    first, again = (decoder.decode(rows, Condition()) for _ in range(2))
    assert torch.equal(first.free_lattice, again.free_lattice)
    alone = decoder.decode(rows[2:3], Condition())
    assert alone.formulas() == first.formulas()[2:3]
    assert torch.allclose(alone.free_lattice, first.select([2]).free_lattice, atol=1e-4)


def test_hard_constraints_hold_in_every_crystal(decoder: Decoder) -> None:
    rng = np.random.default_rng(7)
    for seed in range(12):
        condition = random_condition(rng)
        assert violations(decoder.decode(latent(decoder, 20, seed), condition), condition) == []


def test_chemical_system_and_space_group_hold(decoder: Decoder) -> None:
    for condition in (
        Condition(chemical_system="C-Ti", n_atoms=(1, 10)),
        Condition(space_group=225, n_atoms=(1, 12)),
        Condition(composition="MgO", n_atoms=(2, 8)),
    ):
        crystals = decoder.decode(latent(decoder, 10, 3), condition)
        assert violations(crystals, condition) == []


def test_samples_are_sound_and_repeatable(decoder: Decoder) -> None:
    condition = Condition(n_atoms=(1, 10))
    crystals = decoder.sample(12, condition, seed=5)
    assert crystals.n_crystals == 12
    assert violations(crystals, condition) == []
    assert find_space_groups(crystals.to_crystals()) == crystals.space_group.tolist()
    assert distance_ratios(crystals.to_crystals()).min() >= MIN_DISTANCE_RATIO
    again = decoder.sample(12, condition, seed=5)
    assert torch.equal(crystals.free_lattice, again.free_lattice)
    assert decoder.sample(12, condition, seed=6).formulas() != crystals.formulas()


def test_complete_keeps_the_skeleton(decoder: Decoder) -> None:
    skeletons = SymmetricCrystals.concatenate(
        [
            SymmetricCrystals.from_skeleton(194, ["f", "a"], ["B", "W"]),
            SymmetricCrystals.from_skeleton(62, ["c", "c"], ["Fe", "C"]),
            SymmetricCrystals.from_skeleton(225, ["a", "b"], ["Ti", "N"]),
        ]
    )
    filled = decoder.complete(skeletons, seed=1)
    assert filled.formulas() == skeletons.formulas()
    for name in ("space_group", "wyckoff", "site_index", "species_logits"):
        assert torch.equal(getattr(filled, name), getattr(skeletons, name))
    assert distance_ratios(filled.to_crystals()).min() > 0.5
    again = decoder.complete(skeletons, seed=1)
    assert torch.equal(filled.free_coords, again.free_coords)


def test_log_likelihood_is_finite_for_any_crystal(decoder: Decoder) -> None:
    strange = SymmetricCrystals.from_skeleton(1, ["a"] * 30, ["He", "Lr", "Cs"] * 10)
    ordinary = SymmetricCrystals.from_skeleton(225, ["a", "b"], ["Na", "Cl"])
    both = SymmetricCrystals.concatenate([strange, ordinary])
    for condition in (None, Condition(targets={"bulk_modulus_vrh": 300.0})):
        values = decoder.log_likelihood(both, condition)
        assert values.shape == (2,)
        assert bool(torch.isfinite(values).all())


def test_impossible_conditions_are_refused(decoder: Decoder) -> None:
    with pytest.raises(DecodingError, match=r"another constraint|no prototype meets"):
        decoder.sample(3, Condition(composition="Fe7Ni5O9", n_atoms=(1, 6)), seed=0)
    with pytest.raises(DecodingError, match=r"at most|no prototype meets"):
        decoder.sample(3, Condition(n_atoms=(200, 210)), seed=0)


def test_unknown_decoder_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'default'"):
        load_decoder("defualt")
