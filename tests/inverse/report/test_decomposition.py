"""What a crystal competes with is said only on the hull from which its distance was measured."""

from dataclasses import replace

import pytest
from pymatgen.core import Composition

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.reference_file import CompetingPhase, Surroundings, reference_of
from inverse.candidates.types import Status
from inverse.reference.hull import ReferenceHull
from inverse.report.views import competing_text
from surrogates.crystals.formulas import display_formula
from tests.inverse.report.fake_run import candidate, verified


@pytest.mark.parametrize("shift", [0.0, 0.03])
def test_competing_phases_belong_to_the_distance_beside_them(shift: float) -> None:
    made = candidate(1, "verified")
    assert made.verification is not None
    best = (made.verification.structure or made.structure).composition.reduced_composition
    energy = 0.2
    found = ReferenceHull.packaged().energy_above_hull(best, energy)
    values = {
        "formation_energy_per_atom": verified("formation_energy_per_atom", energy, 0.03),
        "energy_above_hull": verified("energy_above_hull", found.energy_above_hull + shift, 0.03),
    }
    verdict = replace(made.verification, values=values)
    shown = replace(made, verification=verdict, status=Status.VERIFIED)
    said = reference_of([shown]).around[made.id].competing
    assert {phase.formula for phase in said} == (set() if shift else set(found.decomposition))
    if not shift:  # as many atoms of each element on both sides
        for element, amount in best.items():
            found_moles = sum(phase.moles * Composition(phase.formula)[element] for phase in said)
            assert found_moles == pytest.approx(amount, abs=1e-3)


@pytest.mark.parametrize(("distance", "arrow"), [(0.05, "{} → 0.5 W2B5 + C"), (-0.02, "0.5 W2B5 + C → {}")])
def test_a_reaction_goes_to_what_is_lower(distance: float, arrow: str) -> None:
    made = candidate(1, "verified")
    assert made.verification is not None
    values = {"energy_above_hull": verified("energy_above_hull", distance, 0.03)}
    shown = replace(made, verification=replace(made.verification, values=values))
    around = Surroundings(competing=(CompetingPhase("W2B5", 0.5, -0.3), CompetingPhase("C", 1.0, 0.0)))
    own = display_formula(best_structure(shown).composition)
    assert competing_text(shown, around) == arrow.format(own)


def test_a_polymorph_above_the_ground_state_of_its_formula_falls_apart_into_nothing() -> None:
    made = candidate(1, "verified")
    own = best_structure(made).composition
    around = Surroundings(competing=(CompetingPhase(own.reduced_formula, 1.0, -0.3),))
    assert competing_text(made, around) == f"{display_formula(own)} in its lowest known polymorph"
    assert made.verification is not None
    values = {"energy_above_hull": verified("energy_above_hull", -0.02, 0.03)}
    lower = replace(made, verification=replace(made.verification, values=values))
    assert competing_text(lower, around) == f"none: below the known {display_formula(own)}"
