import math

import pytest

from inverse.benchmarks.verification import carried_readings
from inverse.benchmarks.verification.carried_readings import (
    carried_row,
    joined_rows,
    judged_rows,
    rows_with,
    write_readings,
)
from inverse.benchmarks.verification.stored_verdicts import FAILED, StoredRow
from tests.readings import read


def told(found):
    """Return what can be compared: NaN is not equal to itself."""
    return {who: repr(read) for who, read in found.items()}


READ = read(301.5, 120.25, "7net-l3i5", "diep", 1.0, math.nan, "boride", ("magnetic_collapse",))
SECOND = read(280.0, 90.0, "7net-0", "7net-0")
ROWS = [{"id": name} for name in ("a", "b", "c")]


@pytest.fixture
def carried(tmp_path, monkeypatch):
    monkeypatch.setattr(carried_readings, "PATH", tmp_path / "readings.parquet")
    carried_readings._by_id.cache_clear()
    judged = StoredRow(ROWS[0], judges=READ, alone={"7net-0": SECOND})
    failed = StoredRow(ROWS[1], catastrophe=FAILED, reason="exploded")
    n = write_readings([judged, failed, StoredRow(ROWS[2], missing=True)], carried_readings.PATH)
    yield n
    carried_readings._by_id.cache_clear()


def test_readings_come_back_as_they_were(carried):
    assert carried == 2
    found = carried_row(ROWS[0])
    assert repr(found.judges) == repr(READ)
    assert told(found.alone) == told({"7net-0": SECOND})
    assert found.referee is None
    failed = carried_row(ROWS[1])
    assert (failed.catastrophe, failed.reason, failed.judges) == (FAILED, "exploded", None)
    assert carried_row(ROWS[2]) is None


def test_the_store_is_asked_for_what_is_not_carried_alone(carried, monkeypatch):
    asked = []
    monkeypatch.setattr(carried_readings, "stored_row", lambda _, row: asked.append(row) or StoredRow(row))
    assert [found.row for found in judged_rows(None, ROWS)] == ROWS
    assert asked == ROWS[2:]


def test_what_is_stored_counts_and_what_only_the_carried_row_has_stays(carried, monkeypatch):
    def joined(stored):
        monkeypatch.setattr(carried_readings, "stored_row", lambda *_: stored)
        return next(joined_rows(None, ROWS))

    both = joined(StoredRow(ROWS[0], judges=SECOND, referee=SECOND))
    assert (both.judges, both.referee) == (SECOND, SECOND)
    assert told(both.alone) == told({"7net-0": SECOND})
    kept = joined(StoredRow(ROWS[0], missing=True, alone={"chgnet": SECOND}))
    assert set(kept.alone) == {"7net-0", "chgnet"}
    assert not kept.missing


def test_one_potential_is_asked_for_without_the_others(carried, monkeypatch):
    asked = []

    def stored(row, store, potentials):
        asked.append(potentials)
        return {"chgnet": SECOND} if row is ROWS[0] else {}

    monkeypatch.setattr(carried_readings, "stored_row", lambda *_: pytest.fail("all were asked for"))
    monkeypatch.setattr(carried_readings, "alone", stored)
    found = list(rows_with(None, ROWS, "chgnet"))
    assert asked == [("chgnet",)] * len(ROWS)
    assert set(found[0].alone) == {"7net-0", "chgnet"}
    assert repr(found[0].judges) == repr(READ)
    assert [row.missing for row in found] == [False, False, *[True] * (len(ROWS) - 2)]


def test_readings_at_other_settings_do_not_count(carried, monkeypatch):
    class Other:
        method = "another"

    monkeypatch.setattr(carried_readings, "JudgeSettings", Other)
    assert carried_row(ROWS[0]) is None


def test_calibrations_of_judges_without_rows_are_kept_at_the_same_settings():
    """Fitting K and G anew must not lose the referee's; other settings are another instrument."""
    from dataclasses import replace

    from experiments.package_data.fit_calibrations import with_others
    from inverse.verification.calibration.moduli import load_calibrations

    old = list(load_calibrations().values())
    fitted = [replace(old[0], n=7)]
    foreign = replace(old[1], judges="somebody", settings="other")
    joined = with_others(fitted, [*old, foreign])
    assert joined[0].n == 7
    assert len(joined) == len(old)
    assert foreign not in joined
