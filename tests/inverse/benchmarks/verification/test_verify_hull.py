import pytest
from pymatgen.core import Lattice, Structure

from inverse.benchmarks.verification.hull import figures
from inverse.verification.mechanics.departures import has_same_signature


def cubic(shift=0.0):
    return Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5 + shift]])


def row(formula, true_above, error=None, kept=True):
    reason = "" if error is not None else "element Pu has no reference energy"
    found = {"formula": formula, "n_atoms": 4, "true": -0.5, "true_above": true_above, "reason": reason}
    return (
        found if error is None else found | {"error": error, "above": true_above + error, "kept_phase": kept}
    )


def test_a_cell_that_left_its_symmetry_is_another_phase():
    assert has_same_signature(cubic(), cubic(shift=0.0005))
    assert not has_same_signature(cubic(), cubic(shift=0.15))


def test_a_refused_row_counts_as_a_wrong_decision_and_stands_apart():
    rows = [row("A", 0.0, 0.0), row("B", 0.3, 0.01), row("PuC", 0.0), row("C", 0.2, -0.2, kept=False)]
    record = figures(rows)
    assert record["failed"] == 1
    assert record["f1"]["value"] == pytest.approx(2 / 4)
    assert record["beside"]["answered"]["f1"]["value"] == pytest.approx(2 / 3, abs=1e-3)
    assert record["beside"]["kept_phase"]["f1"]["value"] == 1.0
    assert record["beside"]["another_phase"]["n"] == 1
