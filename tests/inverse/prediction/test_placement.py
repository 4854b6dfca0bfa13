"""The device that a config names."""

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.prediction.placement import PlacedSurrogate
from surrogates.checkpoints.checkpoint import load_surrogate
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS
from surrogates.platform.devices import device_named


def test_auto_is_always_there() -> None:
    assert device_named("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device: 'cuda:99' is not there .* try 'auto'"):
        device_named("cuda:99")


def test_placed_answers_are_the_surrogates_own_on_the_callers_device() -> None:
    structure = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    crystals = CrystalBatch.from_structures([structure])
    surrogate = load_surrogate("structure")
    wanted = (BULK_MODULUS, SHEAR_MODULUS)
    placed = PlacedSurrogate(surrogate, torch.device("cpu")).predict(crystals, wanted)
    own = surrogate.predict(crystals, wanted)
    for prop in wanted:
        assert torch.allclose(placed[prop].samples, own[prop].samples)
        assert placed[prop].mean.device == crystals.lattice.device
