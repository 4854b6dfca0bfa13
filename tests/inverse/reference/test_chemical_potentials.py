"""The hull below mixtures: energies and slopes against pymatgen, the reference hull, finite differences."""

import random

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element

from inverse.reference import ReferenceHull
from inverse.reference.chemical_potentials import ChemicalPotentials, _amounts
from surrogates.crystals.batch import N_ELEMENTS, element_index


@pytest.fixture(scope="module")
def potentials() -> ChemicalPotentials:
    return ChemicalPotentials.packaged()


def mixture(**amounts: float) -> np.ndarray:
    row = np.zeros(N_ELEMENTS)
    for symbol, amount in amounts.items():
        row[element_index(symbol)] = amount
    return row / row.sum()


def energy(potentials: ChemicalPotentials, row: np.ndarray) -> float:
    return float(potentials.under(row[None])[0] @ row)


def test_energies_and_slopes_are_those_of_pymatgen(potentials: ChemicalPotentials) -> None:
    system = ("Al", "C", "Ti", "W")
    entries = []
    for phase in ReferenceHull.packaged().phases.phases_within(system):
        composition, value = Composition(phase.formula), phase.formation_energy_per_atom
        if value is not None and (value < 0 or len(composition) == 1):
            entries.append(PDEntry(composition, value * composition.num_atoms))
    diagram = PhaseDiagram(entries, [Element(e) for e in system])
    for amounts in ({"Ti": 3, "W": 1, "C": 2, "Al": 0.7}, {"Ti": 1, "W": 4, "C": 1.1, "Al": 2.3}):
        row = mixture(**amounts)
        assert energy(potentials, row) == pytest.approx(
            diagram.get_hull_energy_per_atom(Composition(amounts)), abs=1e-6
        )
        found = potentials.under(row[None])[0]
        for element, own in diagram.get_composition_chempots(Composition(amounts)).items():
            assert found[element_index(element.symbol)] == pytest.approx(own, abs=1e-6)


@pytest.mark.parametrize("formula", ["W2B5", "Ti3W7", "LiFePO4", "TaW2B4", "SrTiO3", "Xe", "WC"])
def test_formulas_have_the_energy_of_the_reference_hull(potentials: ChemicalPotentials, formula: str) -> None:
    row = mixture(**Composition(formula).get_el_amt_dict())
    assert energy(potentials, row) == pytest.approx(ReferenceHull.packaged().below(formula), abs=1e-6)


@pytest.mark.parametrize(("n_elements", "repeats"), [(5, 4), (40, 1)])
def test_slopes_are_those_of_finite_differences(
    potentials: ChemicalPotentials, n_elements: int, repeats: int
) -> None:
    rng = np.random.default_rng(n_elements)
    known = sorted(potentials._referenced)
    for _ in range(repeats):
        chosen = rng.choice(known, n_elements, replace=False)
        row = np.zeros(N_ELEMENTS)
        row[chosen] = rng.dirichlet(np.full(n_elements, 1.0)) * 0.5 + 0.5 / n_elements
        slopes, here = potentials.under(row[None])[0], energy(potentials, row)
        for source, target in rng.permutation(chosen)[:4].reshape(2, 2):
            step = np.zeros(N_ELEMENTS)
            step[source] -= 1e-4
            step[target] += 1e-4
            # convex, and an edge may lie between: the slope is between those of both sides, which are close
            left, right = here - energy(potentials, row - step), energy(potentials, row + step) - here
            along = slopes @ step
            assert left - 1e-8 <= along <= right + 1e-8
            assert right - left < 2e-5


def test_an_absent_element_and_a_trace_enter_with_the_slope_of_the_enlarged_system(
    potentials: ChemicalPotentials,
) -> None:
    amounts = {"W": 0.4, "C": 0.35, "Ti": 0.25}
    row = mixture(**amounts)
    below = ReferenceHull.packaged().below
    for symbol in ("Hf", "O", "Al", "N", "Re"):
        # the reference hull, of the four elements together
        enlarged = Composition({e: 0.999 * x for e, x in amounts.items()} | {symbol: 1e-3})
        expected = (below(enlarged) - below(Composition(amounts))) / 1e-3
        inward = mixture(**{symbol: 1.0}) - row
        for mixed in (row, row + 2e-3 * inward):
            slopes = potentials.under(mixed[None])[0]
            assert float(slopes @ inward) == pytest.approx(expected, abs=1e-4), symbol


def test_traces_do_not_react_with_each_other(potentials: ChemicalPotentials) -> None:
    """Potassium and fluorine at 0.3 % each say nothing of a crystal of tungsten, carbon and one of them."""
    row = mixture(W=0.5, C=0.494, K=0.003, F=0.003)
    slopes = potentials.under(row[None])[0]
    alone = potentials.under(mixture(W=0.5, C=0.494, F=0.006)[None])[0]
    fluorine = element_index("F")
    assert slopes[fluorine] == pytest.approx(alone[fluorine], abs=1e-6)


def test_elements_without_a_reference_are_unknown_where_present_and_never_wanted_where_absent(
    potentials: ChemicalPotentials,
) -> None:
    absent = element_index("No")
    assert np.isnan(potentials.under(mixture(W=1, No=1)[None])).all()
    assert potentials.under(mixture(W=1, C=1)[None])[0, absent] == 0.0
    assert potentials.under(np.zeros((0, N_ELEMENTS))).shape == (0, N_ELEMENTS)


def test_formulas_of_the_table_are_read_as_pymatgen_reads_them() -> None:
    formulas = ReferenceHull.packaged().phases.formulas.to_pylist()  # type: ignore[attr-defined]
    grouped = [f for f in formulas if "(" in f]
    for formula in [*random.Random(0).sample(formulas, 300), *random.Random(1).sample(grouped, 300)]:
        amounts: dict[str, float] = {}
        for symbol, amount in _amounts(formula):
            amounts[symbol] = amounts.get(symbol, 0.0) + amount
        assert amounts == pytest.approx(Composition(formula).get_el_amt_dict()), formula
