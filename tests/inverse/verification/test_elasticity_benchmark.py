import numpy as np
import pytest

from inverse.benchmarks.verification import elasticity as verify_elasticity
from inverse.benchmarks.verification import speed as verify_speed
from inverse.benchmarks.verification.elasticity import crystal_system, run_elasticity
from inverse.verification.mechanics.stiffness import is_near_unstable
from tests import crystals
from tests.inverse.verification.test_queue import MORSE, row


@pytest.fixture
def two_rows(monkeypatch, tmp_path):
    rows = [row("low", crystals.low_symmetry()), row("Al", crystals.fcc("Al", 3.5))]
    rows = [{**one, "formula": one["id"], "space_group": 1} for one in rows]
    monkeypatch.setattr(verify_elasticity, "POTENTIAL", MORSE)
    monkeypatch.setattr(verify_elasticity, "crystals", lambda n, seed: rows[:n])
    monkeypatch.setattr(verify_elasticity, "verified", lambda: {"passed": True})
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "store.db"))


def test_both_ways_agree_and_the_second_run_only_looks_up(two_rows, monkeypatch):
    first = run_elasticity(2)
    assert first["n"] == first["within"] == 2
    assert first["passed"]
    monkeypatch.setattr(verify_elasticity, "SECONDS", -1.0)
    assert run_elasticity(2)["crystals"] == first["crystals"]


def test_what_is_not_computed_yet_is_missing_and_does_not_pass(two_rows, monkeypatch):
    monkeypatch.setattr(verify_elasticity, "SECONDS", -1.0)
    found = run_elasticity(2)
    assert found["missing"] == 2
    assert not found["passed"]


@pytest.mark.parametrize(
    ("space_group", "system"), [(1, "triclinic"), (15, "monoclinic"), (16, "orthorhombic"), (225, "cubic")]
)
def test_crystal_systems(space_group, system):
    assert crystal_system(space_group) == system


def test_near_unstable_crystals_are_named():
    clamped = np.diag([300.0, 300, 300, 100, 100, 100])
    assert not is_near_unstable(clamped, clamped, float("inf"))
    assert is_near_unstable(clamped, clamped, 0.3)
    softened = np.diag([300.0, 300, 300, 35, 100, 100])
    assert is_near_unstable(softened, clamped, 5.0)
    soft = np.diag([300.0, 300, 300, 6, 100, 100])
    assert is_near_unstable(soft, soft, 5.0)


def test_a_run_that_matcalc_cannot_end_is_stopped(monkeypatch):
    monkeypatch.setattr(verify_speed, "CPU_LIMIT", 0.02)

    class Slow:
        def calculate(self):
            sum(range(300_000))

    calculator = Slow()

    def forever():
        while True:
            calculator.calculate()

    assert verify_speed._within_limit(calculator, forever) is None
    assert "calculate" not in vars(calculator)
