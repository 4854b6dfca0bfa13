import math
from dataclasses import fields, replace

import numpy as np
import pytest

from inverse.verification.calibration.readings import (
    MAGNETIC_COLLAPSE,
    OF_TENSOR,
    VOLUME_AMPLITUDE,
    anion_class,
    reading,
    readings,
    stability,
)
from inverse.verification.judge import TensorVerdict
from surrogates.physics.properties import Judged, judged_from
from tests import crystals
from tests.readings import G, K


def test_what_is_read_from_tensors_is_what_the_records_of_properties_say_and_a_verdict_has() -> None:
    assert list(OF_TENSOR) == [prop.name for prop in judged_from(Judged.TENSOR)]
    for known in OF_TENSOR.values():
        assert {known.value, known.amplitude} <= {field.name for field in fields(TensorVerdict)}
        assert known.sensible[0] < known.stiff_from < known.threshold < known.sensible[1]
    assert OF_TENSOR[K].doubt == VOLUME_AMPLITUDE
    assert (OF_TENSOR[K].by_volume, OF_TENSOR[G].by_volume) == (True, False)


def of_two(bulk, shear, bulk_cell, shear_cell):
    return readings({K: (bulk, bulk_cell), G: (shear, shear_cell)})


def cubic(c11, c12, c44):
    tensor = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    tensor[:3, :3] += c12
    return tensor


def verdict(potential, once, twice=None, **fields):
    as_tuple = lambda t: tuple(map(tuple, t))
    stable = bool(np.linalg.eigvalsh(once)[0] > 0)
    return TensorVerdict(
        potential,
        relaxed=as_tuple(once),
        repeated=as_tuple(once if twice is None else twice),
        is_stable=stable,
        **fields,
    )


def test_a_smooth_potential_is_taken_at_its_word():
    tensor = verdict("7net-0", cubic(300, 100, 80), shear_modulus=77.0, shear_amplitude=1.0)
    assert (reading(G, tensor).value, reading(G, tensor).change) == (77.0, 1.0)
    assert stability(tensor).flags == ()


def test_a_tensor_is_unstable_or_not_whatever_its_potential():
    tensor = cubic(300, 100, 80)
    for name in ("diep", "7net-0"):
        flags = ("unstable_mode",)
        said = TensorVerdict(name, relaxed=tensor, is_stable=False, flags=flags, lowest_mode=-0.1)
        assert math.isnan(reading(G, said).value)
        assert not stability(said).is_stable
        assert stability(said).flags == flags


def test_a_modulus_whose_repetition_is_unstable_is_unsure():
    tensor = verdict("diep", cubic(300, 100, 80), shear_modulus=80.0, shear_amplitude=math.nan)
    assert reading(G, tensor).change == pytest.approx(24.0)
    assert stability(tensor).flags == ("amplitude_dependent",)


def test_flags_of_g_say_nothing_of_k():
    flags = ("amplitude_dependent",)
    steady = {"shear_modulus": 80.0, "shear_amplitude": 1.0, "bulk_amplitude": 90.0, "flags": flags}
    assert stability(verdict("diep", cubic(300, 100, 80), **steady)).flags == ()


def test_nothing_of_the_shear_judges_bulk_modulus_is_read():
    bulk = verdict("a", cubic(300, 100, 80), bulk_modulus=170.0, bulk_amplitude=1.0, shear_modulus=85.0)
    shear = verdict("diep", cubic(300, 100, 80), shear_modulus=87.0, shear_amplitude=1.0)
    cell = crystals.fcc()
    seen = [
        of_two(bulk, replace(shear, bulk_modulus=k, bulk_amplitude=change), cell, cell)
        for k, change in ((166.7, 0.5), (999.0, 400.0))
    ]
    assert seen[0] == seen[1]
    assert (seen[0][K].value, seen[0][K].by, seen[0][G].by) == (170.0, "a", "diep")


def test_open_shells_that_the_judges_place_differently_are_doubted():
    small, large = crystals.fcc("Fe", 3.45), crystals.fcc("Fe", 3.6)
    bulk, shear = verdict("a", cubic(300, 100, 80)), verdict("diep", cubic(300, 100, 80))
    assert of_two(bulk, shear, small, large).doubts == (MAGNETIC_COLLAPSE,)
    assert of_two(bulk, shear, large, small).doubts == ()
    assert of_two(bulk, shear, crystals.fcc("Cu", 3.45), crystals.fcc("Cu", 3.6)).doubts == ()


def test_a_bulk_modulus_that_depends_on_the_strain_is_doubted():
    cell, shear = crystals.fcc(), verdict("diep", cubic(300, 100, 80))
    bulk = verdict("a", cubic(300, 100, 80), bulk_modulus=170.0, bulk_amplitude=9.0)
    assert of_two(bulk, shear, cell, cell).doubts == (VOLUME_AMPLITUDE,)


def test_anion_classes():
    assert anion_class(crystals.l1_2()) == "none"
