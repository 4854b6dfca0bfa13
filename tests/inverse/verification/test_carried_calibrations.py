"""What is carried of readings and calibrations is read, and would be written, bit for bit as it stands."""

import math

import pyarrow.parquet as pq
import pytest

from inverse.benchmarks.verification import carried_readings
from inverse.verification.calibration import moduli, readings
from inverse.verification.calibration.moduli import CALIBRATION_FILE, calibrated, load_calibrations
from inverse.verification.judge import JudgeSettings
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS, Judged, judged_from
from tests.readings import read


def test_everything_that_judges_read_from_a_tensor_says_how_it_is_read():
    assert {prop.name for prop in judged_from(Judged.TENSOR)} == set(readings.OF_TENSOR)


def test_the_calibrations_would_be_written_as_they_are(tmp_path):
    path = tmp_path / "moduli.json"
    moduli.write_calibrations(list(load_calibrations().values()), path)
    assert path.read_bytes() == CALIBRATION_FILE.read_bytes()


def test_every_carried_line_is_read_and_would_be_written_as_it_is():
    table = pq.read_table(carried_readings.PATH)
    lines = table.to_pylist()
    columns = set(table.column_names) - {"id", "settings", "catastrophe", "reason", "who"}
    assert len(lines) > 1000
    for line in lines:
        again = carried_readings._line(carried_readings._readings(line))
        assert repr(again) == repr({name: line[name] for name in again})
        assert set(again) == columns


GOLDEN = {
    "record": (388.033, 20.166, 275.232, 47.614),
    "record, doubted": (388.033, 98.532, 275.232, 47.614),
    "without K": (268.525, 47.773),
    "referee": (363.458, 32.248, 389.878, 105.462),
}
"""K, its std, G, its std in GPa of readings like those of WC; by the code in which K and G were fields."""

READ = {
    "record": read(389.6, 281.1, "7net-l3i5", "diep", 4.2, 21.0, "carbide"),
    "record, doubted": read(389.6, 281.1, "7net-l3i5", "diep", 4.2, 21.0, "carbide", ("magnetic_collapse",)),
    "without K": read(shear=281.1, bulk_by="7net-l3i5", shear_by="diep", shear_change=21.0),
    "referee": read(389.6, 281.1, "diep", "7net-l3i5", 4.2, 21.0, "carbide"),
}


@pytest.mark.parametrize("case", READ)
def test_values_on_the_dft_scale_are_what_they_were(case):
    found = []
    for prop in (BULK_MODULUS, SHEAR_MODULUS):
        if math.isfinite(READ[case][prop.name].value):
            value, known = calibrated(prop, READ[case], JudgeSettings().method)
            assert known
            found += [value.mean, value.std]
    assert tuple(found) == GOLDEN[case]
