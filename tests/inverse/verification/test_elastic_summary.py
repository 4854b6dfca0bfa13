import json
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.analysis.elasticity import ElasticTensor

from inverse.types import VerifiedValue
from inverse.verification.elastic_summary import averages, elastic_summary
from inverse.verification.judge import TensorVerdict
from tests import crystals


def cubic(c11, c12, c44):
    tensor = np.diag([c11] * 3 + [c44] * 3).astype(float)
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    return tuple(map(tuple, tensor))


def rows(tensor):
    return tuple(map(tuple, tensor))


def verdict(tensor, is_stable=True, bulk=442.0, shear=527.0):
    return TensorVerdict("diep", bulk, shear, is_stable=is_stable, relaxed=tensor, clamped=tensor)


def value(mean, std):
    return VerifiedValue(mean, std, mean - 1.645 * std, mean + 1.645 * std, mean, "diep", "GPa")


SCHEMAS = files("inverse") / "schemas"
DIAMOND = cubic(1076.0, 125.0, 577.0)


def test_averages_agree_with_pymatgen():
    theirs = ElasticTensor.from_voigt(np.array(DIAMOND))
    ours = averages(DIAMOND)
    for name, attribute in (
        ("bulk_modulus_voigt", "k_voigt"),
        ("bulk_modulus_hill", "k_vrh"),
        ("shear_modulus_reuss", "g_reuss"),
        ("shear_modulus_hill", "g_vrh"),
        ("universal_anisotropy", "universal_anisotropy"),
    ):
        assert ours[name] == pytest.approx(getattr(theirs, attribute), rel=1e-4, abs=1e-5)


def test_diamond_is_hard_by_all_three_and_their_errors_come_from_k_and_g():
    values = {"bulk_modulus_vrh": value(442.0, 20.0), "shear_modulus_vrh": value(527.0, 30.0)}
    found = elastic_summary(verdict(DIAMOND), crystals.diamond(), values)
    hardness = found["hardness"]
    assert hardness["chen"]["mean"] == pytest.approx(93.1, abs=0.1)
    assert hardness["teter"]["std"] == pytest.approx(0.151 * 30.0, rel=1e-6)
    # by hand: H + 3 goes as G^1.755 K^-1.17
    relative = np.hypot(1.755 * 30 / 527, 1.17 * 20 / 442)
    assert hardness["chen"]["std"] == pytest.approx(96.1 * relative, rel=0.02)
    assert all(one["in_domain"] for one in hardness.values())
    assert found["debye_temperature"]["mean"] == pytest.approx(2230, rel=0.03)
    assert found["young_modulus"]["mean"] == pytest.approx(9 * 442 * 527 / (3 * 442 + 527), rel=1e-6)
    json.dumps(found, allow_nan=False)


def test_a_ductile_metal_is_outside_what_the_hardness_formulas_know():
    lead = cubic(49.5, 42.3, 14.9)
    found = elastic_summary(verdict(lead, bulk=44.7, shear=8.6), crystals.fcc("Pb", 4.95), {})
    assert not any(one["in_domain"] for one in found["hardness"].values())


def test_nothing_follows_from_an_absurd_tensor():
    found = elastic_summary(verdict(cubic(6000.0, 4000.0, 1500.0), bulk=4667.0), crystals.fcc(), {})
    assert "hardness" not in found


def test_an_unstable_tensor_has_no_reuss_average_and_nothing_follows():
    unstable = cubic(100.0, 150.0, 50.0)
    found = elastic_summary(
        verdict(unstable, is_stable=False, bulk=float("nan"), shear=float("nan")), crystals.fcc(), {}
    )
    assert "bulk_modulus_reuss" not in found["relaxed_ion"]
    assert "hardness" not in found
    json.dumps(found, allow_nan=False)
