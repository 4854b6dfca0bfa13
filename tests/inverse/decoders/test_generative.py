import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inverse.decoders import Condition, load_decoder
from inverse.decoders.generative import GenerativeDecoder, canonical
from inverse.decoders.tokens import free_tokens, with_free_values
from inverse.decoders.weights_io import load_networks, save_networks
from surrogates.crystals.batch import ELEMENT_SYMBOLS
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import CheckpointError

STIFF = frozenset({"W", "Mo", "Re", "Os", "Ta", "Ru", "Ir", "Rh", "Tc", "Nb", "V", "Cr", "B", "C", "N"})


@pytest.fixture(scope="module")
def decoder() -> GenerativeDecoder:
    loaded = load_decoder("default")
    assert isinstance(loaded, GenerativeDecoder)
    return loaded


def uniforms(decoder: GenerativeDecoder, n: int, seed: int) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).random((n, decoder.latent_size)))


def share_of_stiff_elements(crystals: SymmetricCrystals) -> float:
    columns = [ELEMENT_SYMBOLS.index(symbol) for symbol in sorted(STIFF)]
    return float((crystals.amounts[:, columns].sum(dim=1) / crystals.n_atoms).mean())


def test_wanted_stiffness_shifts_the_compositions(decoder: GenerativeDecoder) -> None:
    rows = uniforms(decoder, 60, 1)
    stiff = decoder.decode(rows, Condition(targets={"bulk_modulus_vrh": 350.0}))
    soft = decoder.decode(rows, Condition(targets={"bulk_modulus_vrh": 20.0}))
    assert share_of_stiff_elements(stiff) > share_of_stiff_elements(soft) + 0.4


def test_lattice_and_coordinates_are_continuous_in_the_latent(decoder: GenerativeDecoder) -> None:
    rows = uniforms(decoder, 8, 2)
    moved = rows.clone()
    moved[:, -78:] = (moved[:, -78:] + 1e-5).clamp(max=1.0)
    first, second = decoder.decode(rows, Condition()), decoder.decode(moved, Condition())
    assert first.formulas() == second.formulas()
    assert torch.allclose(first.free_lattice, second.free_lattice, atol=2e-2)


def test_every_crystal_has_the_atoms_of_its_composition(decoder: GenerativeDecoder) -> None:
    condition = Condition(composition="Al2MgO4", n_atoms=(14, 14))
    crystals = decoder.decode(uniforms(decoder, 12, 3), condition)
    assert set(crystals.formulas()) == {"MgAl2O4"}
    assert set(crystals.n_atoms.tolist()) == {14}


def test_tokens_hold_all_free_numbers(decoder: GenerativeDecoder) -> None:
    crystals, _ = canonical(decoder.sample(10, Condition(n_atoms=(2, 12)), seed=4))
    volumes = decoder.structures.atomic_volume
    again = with_free_values(crystals, free_tokens(crystals, volumes), volumes)
    assert torch.allclose(again.free_lattice, crystals.free_lattice, atol=1e-4)
    wanted = crystals.free_coords % 1.0 * crystals.is_coordinate_free
    assert torch.allclose(again.free_coords, wanted, atol=1e-5)


def test_likelihood_prefers_what_exists(decoder: GenerativeDecoder) -> None:
    rock_salt = SymmetricCrystals.from_skeleton(225, ["a", "b"], ["Mg", "O"], 9.4)
    odd = SymmetricCrystals.from_skeleton(225, ["a", "b"], ["Cs", "Lr"], 9.4)
    likely, unlikely = decoder.log_likelihood(SymmetricCrystals.concatenate([rock_salt, odd])).tolist()
    assert likely > unlikely + 1.0


def test_site_order_does_not_matter(decoder: GenerativeDecoder) -> None:
    one = SymmetricCrystals.from_skeleton(194, ["a", "f"], ["W", "B"])
    other = SymmetricCrystals.from_skeleton(194, ["f", "a"], ["B", "W"])
    first, second = decoder.log_likelihood(SymmetricCrystals.concatenate([one, other])).tolist()
    assert first == pytest.approx(second, abs=1e-5)


def test_temperature_brings_rarer_crystals(decoder: GenerativeDecoder) -> None:
    hot, rows = replace(decoder, temperature=1.6), uniforms(decoder, 40, 5)
    usual = decoder.log_likelihood(decoder.decode(rows, Condition(n_atoms=(1, 8)))).mean()
    rare = decoder.log_likelihood(hot.decode(rows, Condition(n_atoms=(1, 8)))).mean()
    assert rare < usual


def test_weights_survive_a_round_trip(decoder: GenerativeDecoder, tmp_path: Path) -> None:
    order = [ELEMENT_SYMBOLS[z] for z in decoder.element_order.tolist()]
    save_networks(decoder.compositions, decoder.structures, order, {}, "copy", tmp_path)
    again = GenerativeDecoder(*load_networks("copy", tmp_path))
    rows = uniforms(decoder, 5, 6)
    assert again.decode(rows, Condition()).formulas() == decoder.decode(rows, Condition()).formulas()


def test_damaged_weights_are_refused(decoder: GenerativeDecoder, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_networks("default", tmp_path)
    order = [ELEMENT_SYMBOLS[z] for z in decoder.element_order.tolist()]
    save_networks(decoder.compositions, decoder.structures, order, {}, "bad", tmp_path)
    content = json.loads((tmp_path / "bad.json").read_text())
    (tmp_path / "bad.json").write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_networks("bad", tmp_path)
    (tmp_path / "bad.json").write_text(json.dumps(content))
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_networks("bad", tmp_path)
