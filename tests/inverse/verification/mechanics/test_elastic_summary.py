import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core import Lattice, Structure, SymmOp

from inverse.candidates.elastic_constants import CONSTANTS, SCALARS, elastic_numbers, tensor_of
from inverse.candidates.types import Verification, VerifiedValue
from inverse.verification.judge import Judge, TensorVerdict
from inverse.verification.mechanics.elastic_summary import (
    averages,
    bulk_averages,
    elastic_summary,
    in_ieee_frame,
)
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


SCHEMAS = files("inverse.inputs") / "schemas"
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


def hexagonal():
    """Titanium diboride by DFT, C6 along z, and the cell it belongs to."""
    tensor = np.diag([654.0, 654.0, 458.0, 262.0, 262.0, 298.0])
    for i, j, entry in ((0, 1, 58.0), (0, 2, 102.0), (1, 2, 102.0)):
        tensor[i, j] = tensor[j, i] = entry
    coords = [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
    return tensor, Structure.from_spacegroup("P6/mmm", Lattice.hexagonal(3.03, 3.23), ["Ti", "B"], coords)


def test_the_ieee_frame_does_not_depend_on_how_the_cell_lies():
    """As pymatgen has it, from any orientation of cell and tensor together."""
    tensor, structure = hexagonal()
    turn = SymmOp.from_axis_angle_and_translation([1, 2, 3], 40.0)
    theirs = ElasticTensor.from_voigt(tensor)
    turned = structure.copy()
    turned.apply_operation(turn)
    found = in_ieee_frame(np.array(theirs.rotate(turn.rotation_matrix, tol=1e-6).voigt), turned)
    np.testing.assert_allclose(found, tensor, atol=1e-3)
    np.testing.assert_allclose(
        theirs.convert_to_ieee(structure, initial_fit=False).voigt,
        in_ieee_frame(tensor, structure),
        atol=1e-9,
    )


def test_averages_of_k_are_those_of_pymatgen_and_of_the_potential_itself():
    tensor, _ = hexagonal()
    theirs = ElasticTensor.from_voigt(tensor)
    found = bulk_averages(verdict(rows(tensor)))
    for name in ("voigt", "reuss"):
        assert found[f"bulk_modulus_{name}"] == pytest.approx(getattr(theirs, f"k_{name}"), rel=1e-6)
    assert found["bulk_modulus_hill"] == pytest.approx(theirs.k_vrh, rel=1e-6)


def test_k_alone_has_the_averages_of_the_whole_tensor():
    judge = Judge("tests.stand_in_potential:pairwise")
    for structure in (crystals.low_symmetry(), crystals.hcp("Cu", 2.9, 4.7)):
        cell = judge.relax(structure).structure
        whole, alone = (bulk_averages(judge.tensor(cell, only_bulk=only)) for only in (False, True))
        for name in ("voigt", "reuss", "hill"):
            assert alone[f"bulk_modulus_{name}"] == pytest.approx(whole[f"bulk_modulus_{name}"], rel=0.01)


@pytest.mark.parametrize(
    ("tensor", "structure", "pressures"),
    [
        (np.array(DIAMOND), crystals.diamond(), {"c12_c66": -452.0, "c13_c55": -452.0, "c23_c44": -452.0}),
        (*hexagonal(), {"c12_c66": -240.0, "c13_c55": -160.0, "c23_c44": -160.0}),
    ],
)
def test_cauchy_pressures(tensor, structure, pressures):
    found = elastic_summary(verdict(rows(tensor)), structure, {})
    assert found["cauchy_pressure"] == pytest.approx(pressures, abs=1e-2)


def test_what_goes_out_is_what_the_tensor_says():
    tensor, structure = hexagonal()
    values = {"bulk_modulus_vrh": value(250.0, 10.0), "shear_modulus_vrh": value(260.0, 20.0)}
    of_k = verdict(rows(0.9 * tensor), bulk=226.0)
    summary = elastic_summary(replace(verdict(rows(tensor)), bulk_modulus=np.nan), structure, values, of_k)
    numbers = elastic_numbers(Verification("auto", True, elasticity=summary))
    theirs = ElasticTensor.from_voigt(tensor)
    assert set(numbers) == {*SCALARS, *CONSTANTS}
    assert numbers["elastic_c33"] == 458.0
    assert numbers["elastic_c13"] == 102.0
    assert numbers["elastic_c14"] == 0.0
    assert numbers["elastic_shear_modulus_reuss"] == pytest.approx(theirs.g_reuss, rel=1e-5)
    assert numbers["elastic_shear_modulus_hill"] == pytest.approx(theirs.g_vrh, rel=1e-5)
    assert numbers["elastic_bulk_modulus_voigt"] == pytest.approx(0.9 * theirs.k_voigt, rel=1e-5)
    assert numbers["elastic_universal_anisotropy"] == pytest.approx(theirs.universal_anisotropy, abs=1e-5)
    assert numbers["elastic_pugh_ratio"] == pytest.approx(1.04)
    assert numbers["elastic_cauchy_pressure"] == pytest.approx((-240 - 160 - 160) / 3, abs=1e-2)


def test_without_a_tensor_nothing_goes_out():
    assert elastic_numbers(None) == elastic_numbers(Verification("auto", True)) == {}
    assert tensor_of(Verification("auto", False, "x")) is None
    old = {"potential": "diep", "stiffness": rows(np.eye(6)), "relaxed_ion": {"shear_modulus_hill": 3.0}}
    assert elastic_numbers(Verification("auto", True, elasticity=old)) == {"elastic_shear_modulus_hill": 3.0}
