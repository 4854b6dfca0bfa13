"""The speed benchmark on a tiny surrogate; CHGNet is stood in for by a way that takes a planted time."""

import time

import numpy as np
import pytest
import torch

from inverse.benchmarks import speed
from inverse.benchmarks.speed_scaling import repeated, scaling
from inverse.benchmarks.verification.speed import Seconds
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS
from tests.surrogates.tiny import crystals, tiny_surrogate


def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def bench(monkeypatch):
    def run(chgnet_seconds):
        tiny = tiny_surrogate(dtype=torch.float32)
        monkeypatch.setattr(speed, "load_surrogate", lambda name: tiny)
        monkeypatch.setattr(speed, "chgnet_way", lambda structures: (lambda: busy(chgnet_seconds), 8))
        monkeypatch.setattr(speed, "crystals_of", lambda n, seed: (crystals(), "four crystals"))
        monkeypatch.setattr(speed, "TURNS", 2)
        return speed.run_speed(4)

    return run


def test_a_slow_judge_is_outrun_and_a_fast_one_is_not(bench):
    slow = bench(1.5)
    assert all(slow["ratios"][name]["cpu"]["value"] >= least for name, least in speed.ASKED.items())
    fast = bench(0.001)
    assert not fast["passed"]
    assert set(fast["structures_per_second"]) == {"chgnet", *fast["ratios"]}


def test_ratios_are_of_sums_over_turns():
    seconds = {
        "chgnet": [Seconds(2.0, 3.0), Seconds(4.0, 9.0)],
        "one_member": [Seconds(0.1, 0.2), Seconds(0.2, 0.2)],
    }
    rates, ratios = speed.compared(seconds, 30, 0)
    assert rates["chgnet"]["cpu"]["value"] == 10.0
    assert ratios["one_member"]["cpu"]["value"] == 20.0
    assert ratios["one_member"]["wall"]["value"] == 30.0


def test_crystals_are_repeated_in_turn():
    batch = CrystalBatch.from_structures(crystals())
    many = repeated(batch, 10)
    assert many.n_crystals == 10
    assert many.n_atoms.tolist() == (batch.n_atoms.tolist() * 3)[:10]
    assert torch.equal(many.lattice[4:8], batch.lattice)
    assert repeated(batch, 2).n_crystals == 2


def test_time_grows_linearly_and_memory_is_bounded():
    batch = CrystalBatch.from_structures(crystals())
    found = scaling(tiny_surrogate(1, torch.float32), batch, (BULK_MODULUS,), 1_000)
    assert [row["n"] for row in found["sizes"]] == [100, 1_000]
    assert found["exponent"] < 1.3
    assert all(row["working_mb"] < 500 for row in found["sizes"])


def test_memory_that_was_given_back_before_is_not_counted():
    held = np.ones(100_000_000)  # 800 MB, more than a prediction may take
    del held
    batch = CrystalBatch.from_structures(crystals())
    found = scaling(tiny_surrogate(1, torch.float32), batch, (BULK_MODULUS,), 100)
    assert found["sizes"][0]["working_mb"] < 500


def test_prototypes_stand_in_for_missing_rows(monkeypatch):
    def missing(name):
        raise DataError("the structures are missing")

    monkeypatch.setattr(speed, "crystal_rows", missing)
    structures, origin = speed.crystals_of(3, 0)
    assert len(structures) == 3
    assert origin == "decorated prototypes"
