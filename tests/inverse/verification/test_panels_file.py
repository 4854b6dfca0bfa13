"""The panels of record as data: each role held once, every calibration there; what is wrong is said."""

import re
from typing import Any

import pytest

from inverse.benchmarks.verification.scale import OFFSET_CLASSES, PLANS
from inverse.verification.calibration.moduli import load_calibrations
from inverse.verification.calibration.moduli_fit import FitPlan
from inverse.verification.panel import AUTO, OF_RECORD, OF_REFEREE, WITHOUT_EXTRA, panel_of, seats, seats_of
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, SHEAR_MODULUS

WHOLE: dict[str, Any] = {
    "chgnet": {"roles": ["energy"]},
    "diep": {"roles": ["stability"], "judges": {"bulk_modulus_vrh": {}}},
}


def test_the_judges_of_record_are_those_that_the_calibrations_were_fitted_for() -> None:
    assert (
        FitPlan(BULK_MODULUS, "7net-l3i5", (BULK_MODULUS,), is_doubted=True),
        FitPlan(SHEAR_MODULUS, "diep+7net-l3i5", (SHEAR_MODULUS, BULK_MODULUS), OFFSET_CLASSES),
    ) == PLANS
    fits = load_calibrations()
    for plan in PLANS:
        fit = fits[plan.property.name, plan.judges]
        assert set(fit.slopes) == {term.name for term in plan.terms}
        assert set(fit.offsets) == set(plan.anions)
    for panel in (OF_RECORD, WITHOUT_EXTRA, OF_REFEREE):
        for name, judge in panel.of_tensor.items():
            assert (name, judge) in fits or any(judges.startswith(f"{judge}+") for _, judges in fits)


def test_the_panels_seat_who_they_sat_before_they_were_data() -> None:
    assert OF_RECORD.of_tensor == {"bulk_modulus_vrh": "7net-l3i5", "shear_modulus_vrh": "diep"}
    assert OF_REFEREE.of_tensor == {"bulk_modulus_vrh": "diep", "shear_modulus_vrh": "7net-l3i5"}
    assert WITHOUT_EXTRA.of_tensor == {"bulk_modulus_vrh": "diep", "shear_modulus_vrh": "diep"}
    held = [(p.energy, p.stability, p.prerelax_by, p.second, p.appeal) for p in (OF_RECORD, OF_REFEREE)]
    assert held == [
        ("7net-l3i5", "diep", "7net-0", "chgnet", "7net-l3i5"),
        ("7net-l3i5", "7net-l3i5", "7net-0", "", ""),
    ]
    assert panel_of(AUTO, seats("without_extra")) == WITHOUT_EXTRA


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chgnet": {}}, "here: energy is held by nobody"),
        ({"7net-0": {"roles": ["energy"]}}, "here: energy is held by chgnet and 7net-0"),
        ({"7net-0": {"roles": ["secnd"]}}, "here: 7net-0: 'secnd' is no role"),
        ({"7net-0": {"judgs": {}}}, "here: 7net-0: 'judgs' is no role"),
        ({"7net-0": {"judges": {"band_gap": {}}}}, "here: 7net-0: 'band_gap' is not read from a tensor"),
        ({"7net-0": {"judges": {"bulk_modulus_vrh": {}}}}, "here: bulk_modulus_vrh has two judges"),
    ],
)
def test_a_panel_that_cannot_judge_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        seats_of({**WHOLE, **changes}, "here")
