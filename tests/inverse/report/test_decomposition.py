"""What a crystal would fall apart into is said only on the hull from which its distance was measured."""

from dataclasses import replace

import pytest

from inverse.reference.hull import ReferenceHull
from inverse.report.page import decompositions
from tests.inverse.report.fake_run import candidate, verified


@pytest.mark.parametrize("shift", [0.0, 0.03])
def test_a_decomposition_belongs_to_the_distance_beside_it(shift: float) -> None:
    made = candidate(1, "verified")
    assert made.verification is not None
    best = made.verification.structure or made.structure
    formula, energy = best.composition.reduced_formula, 0.2
    found = ReferenceHull.packaged().energy_above_hull(formula, energy)
    values = {
        "formation_energy_per_atom": verified("formation_energy_per_atom", energy, 0.03),
        "energy_above_hull": verified("energy_above_hull", found.energy_above_hull + shift, 0.03),
    }
    shown = replace(made, verification=replace(made.verification, values=values))
    said = decompositions([shown])
    assert said == ({} if shift else {made.id: dict(found.decomposition)})
