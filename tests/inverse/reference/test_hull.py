import time

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from inverse.reference import HullEnergy, PhaseTable, ReferenceHull
from surrogates.errors import DataError, UnsupportedElementError


@pytest.fixture(scope="module")
def hull() -> ReferenceHull:
    return ReferenceHull.packaged()


def phase_diagram(hull: ReferenceHull, elements: tuple[str, ...], without: str = "") -> PhaseDiagram:
    entries = []
    for phase in hull.phases.phases_within(elements):
        if phase.formation_energy_per_atom is not None and phase.formula != without:
            composition = Composition(phase.formula)
            energy = phase.formation_energy_per_atom * composition.num_atoms
            entries.append(PDEntry(composition, energy))
    return PhaseDiagram(entries)


@pytest.mark.parametrize(
    ("formula", "energy"), [("Mo2BC", -0.25), ("W2CN", -0.1), ("TiAl3", -0.4), ("MgO", -2.9)]
)
def test_distance_and_products_agree_with_pymatgen(hull, formula, energy):
    composition = Composition(formula)
    elements = tuple(sorted(e.symbol for e in composition.elements))
    diagram = phase_diagram(hull, elements, without=composition.reduced_formula)
    found = hull.energy_above_hull(formula, energy, exclude_itself=True)
    reference = diagram.get_hull_energy_per_atom(composition)
    assert found.energy_above_hull == pytest.approx(energy - reference, abs=1e-6)
    products = {e.composition.reduced_formula for e in diagram.get_decomposition(composition)}
    assert set(found.decomposition) == products
    assert sum(found.decomposition.values()) == pytest.approx(1.0)


def test_the_candidate_itself_is_left_out_whatever_its_spelling(hull):
    phase = hull.phases.phase("TiB2")
    assert phase is not None
    energy = phase.formation_energy_per_atom
    outside = hull.energy_above_hull("B4Ti2", energy, exclude_itself=True)
    assert outside.energy_above_hull < -0.05
    assert "TiB2" not in outside.decomposition
    itself = hull.energy_above_hull("TiB2", energy)
    assert itself == HullEnergy(pytest.approx(0.0, abs=1e-9), {"TiB2": pytest.approx(1.0)})


def test_a_bad_polymorph_of_a_known_compound_is_not_stable(hull):
    for formula in ("BN", "AlN", "TiC", "WC"):
        known = hull.phases.phase(formula).formation_energy_per_atom
        assert hull(formula, known + 0.2) == pytest.approx(0.2, abs=0.05)
        assert hull.below(formula) == pytest.approx(known, abs=0.05)
        assert hull.below(formula, exclude_itself=True) > hull.below(formula) + 0.1


def test_elements_stand_at_zero(hull):
    assert hull.energy_above_hull("W", 0.02).energy_above_hull == pytest.approx(0.02)
    assert hull("Fe", 0.0) == pytest.approx(0.0)
    assert len(hull.supported_elements) >= 85


def test_shifting_the_energy_shifts_the_distance(hull):
    low, high = hull("W2TaC3", -0.3), hull("W2TaC3", 0.2)
    assert high - low == pytest.approx(0.5)


def test_elements_without_reference_are_refused_by_name(hull):
    with pytest.raises(UnsupportedElementError, match="Rn has no reference phase, so Rn-W has no hull"):
        hull("WRn", 0.0)
    with pytest.raises(UnsupportedElementError, match="not a chemical formula"):
        hull("not a formula", 0.0)


def test_a_query_in_a_known_system_is_fast(hull):
    hull("W2TaC3", 0.0)
    began = time.process_time()
    for energy in np.linspace(-1, 1, 20):
        hull("W2TaC3", float(energy))
    assert (time.process_time() - began) / 20 < 0.02


def test_known_stable_carbides_and_borides_are_stable(hull):
    for formula in ("TiC", "TiB2", "WC", "HfC", "AlN", "BN", "MgO", "Al2O3", "SiC"):
        energy = hull.phases.phase(formula).formation_energy_per_atom
        assert hull(formula, energy) < 0.01, formula


def test_all_known_formulas_are_there_and_found():
    phases = PhaseTable.packaged()
    assert len(phases) >= 403_719
    assert phases.phase("C2W2").formula == "WC"
    assert phases.phase("W7Ta3C9N2") is None
    assert all(p.formation_energy_per_atom == 0 for p in phases.phases_of("W"))


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "phases.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"phases\.parquet cannot be read"):
        PhaseTable.read(tmp_path / "phases.parquet")
