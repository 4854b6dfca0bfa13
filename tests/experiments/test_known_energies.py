"""Which carried cells get a tabulated energy: rules of `experiments.package_data.known_energies`."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from experiments.package_data.build_signatures import prototypes
from experiments.package_data.known_energies import (
    Row,
    apart,
    believed,
    energy_of,
    ground_state,
    lowest_phase,
    named,
    row_of,
)
from experiments.package_data.textbook import ground_states
from inverse.reference.known_energies import TabulatedCell
from inverse.reference.phases import SOURCES


def row(surrogate_energy: float, std: float, signature: str = "225|4 -3mm C|4 -3mm Ti") -> Row:
    cell = TabulatedCell(signature, 10.0, np.nan, surrogate_energy, 0)
    return Row("TiC", cell, 1, {}, surrogate_std=std)


def phases(energy: float) -> Any:
    phase = SimpleNamespace(formation_energy_per_atom=energy, source=SOURCES[2])
    return SimpleNamespace(phase=lambda formula: phase)


@pytest.mark.parametrize(
    ("said", "std", "is_taken"),
    [(-0.7, 0.05, True), (-0.7, 0.02, False), (-0.4, 0.2, True), (-0.2, 0.3, False), (-0.7, np.nan, False)],
)
def test_the_one_carried_cell_has_the_lowest_energy_only_where_the_surrogate_allows_it(
    said: float, std: float, is_taken: bool
) -> None:
    found = lowest_phase("TiC", [row(said, std)], [], phases(-0.8))
    assert (found is not None) == is_taken
    if found is not None:
        assert found == replace(row(said, std).cell, energy=-0.8)


def test_the_cell_meant_is_the_lowest_and_no_other_stands_in_for_it() -> None:
    """The lowest cell is refused: the energy does not pass on to the next one, which it happens to fit."""
    rows = [row(-1.4, 0.05), row(-0.8, 0.05, "216|4 -34m C|4 -34m Ti")]
    assert lowest_phase("TiC", rows, [], phases(-0.8)) is None


@pytest.fixture(scope="module")
def textbook() -> dict[str, Row]:
    rows = [row_of(row, 3) for row in ground_states()]
    return {row.formula: row for row in rows if row is not None}


def test_textbook_elements_are_what_the_books_say(textbook: dict[str, Row]) -> None:
    """Chains of selenium and the double hcp lanthanides stood as plain hcp; Mn, S, Cl, Sn, N were missing."""
    signatures = {formula: row.cell.signature for formula, row in textbook.items()}
    assert signatures["C"] == "194|2 -26m C|2 -26m C"
    assert signatures["Se"] == "152|3 ..2 Se"
    assert signatures["Te"] == "152|3 ..2 Te"
    assert signatures["La"] == "194|2 -.3m La|2 -26m La"
    assert signatures["Mn"].startswith("217|2 -34m Mn")
    assert signatures["Cl2"] == "64|8 ..m Cl"
    assert signatures["Br"] == "64|8 ..m Br"
    assert signatures["Sn"] == "227|8 -34m Sn"
    assert textbook["C"].cell.volume_per_atom == pytest.approx(8.80, abs=0.01)
    assert len(textbook) > 80


@pytest.mark.parametrize(("formula", "bond"), [("Cl2", 2.02), ("Br", 2.27), ("Te", 2.84), ("Sn", 2.81)])
def test_cells_entered_by_hand_have_the_bonds_of_the_element(
    textbook: dict[str, Row], formula: str, bond: float
) -> None:
    shape = textbook[formula].structure
    structure = Structure(shape["lattice"], shape["species"], shape["frac_coords"])
    distances = structure.distance_matrix + 10 * np.eye(len(structure))
    assert distances.min() == pytest.approx(bond, abs=0.03)


def cell(signature: str, volume: float, energy: float = np.nan, number: int = 0) -> TabulatedCell:
    return TabulatedCell(signature, volume, energy, 0.0, number)


def test_an_elements_ground_state_is_zero_beside_what_rows_say() -> None:
    """hcp magnesium stands at 0.009 in the tables; fcc indium, at 0.037, is another phase."""
    hcp, other = "194|2 -26m Mg", "139|2 /4mmm Mg"
    rows = [
        Row("Mg", cell(hcp, 22.8, 0.009, 153), 0, {}),
        Row("Mg", cell(other, 22.7, 0.029, 5), 0, {}),
        Row("Mg", cell(hcp, 22.9), 1, {}),
        Row("Mg", cell(hcp, 23.9), 3, {}),
    ]
    found = ground_state(rows, [row.cell for row in rows[:2]])
    assert [(c.signature, c.volume_per_atom, c.energy, c.database_id) for c in found] == [
        (hcp, 22.8, 0.0, 153),
        (other, 22.7, 0.029, 5),
        (hcp, 23.9, 0.0, 153),
    ]
    assert ground_state(rows[:2], [rows[0].cell]) == [rows[0].cell], "no ground state known: rows stand"


def test_a_ground_states_signature_at_another_volume_is_not_zero() -> None:
    """pymatgen's prototype of indium has twice its volume; a cell of the hot phase is its own neighbour."""
    text = "139|2 /4mmm In"
    rows = [
        Row("In", cell(text, 52.3), 2, {}),
        Row("In", cell(text, 28.0), 1, {}),
        Row("In", cell(text, 26.0), 3, {}),
    ]
    assert [c.volume_per_atom for c in ground_state(rows, [])] == [28.0, 26.0]


def test_a_measured_cell_is_not_zero_where_the_surrogate_finds_it_far_from_the_computed_one() -> None:
    """Alpha-plutonium: 16.7 and 20.0 Å³/atom, 0.23 eV/atom apart, both had 0."""
    text = "11|2 m Pu"
    entry = replace(cell(text, 16.7, 0.008, 613989), surrogate_energy=0.51)
    for said, volumes in ((0.28, [16.7]), (0.40, [16.7, 20.0])):
        measured = replace(cell(text, 20.0), surrogate_energy=said)
        rows = [Row("Pu", entry, 0, {}), Row("Pu", measured, 3, {})]
        assert [c.volume_per_atom for c in ground_state(rows, [entry])] == volumes


def test_a_computed_entry_without_an_energy_lends_its_number() -> None:
    text = "64|8 ..m Br"
    rows = [Row("Br", cell(text, 33.2, number=1525121), 0, {}), Row("Br", cell(text, 32.0), 3, {})]
    assert [c.database_id for c in ground_state(rows, [])] == [1525121, 1525121]


def test_no_prototype_of_an_element_is_twice_its_ground_state(textbook: dict[str, Row]) -> None:
    """Of one signature: alpha-cerium's is a sixth denser than gamma's, which share theirs."""
    made = [row for row in (row_of(r, 2) for r in prototypes()) if row is not None]
    own = [row for row in made if row.formula in textbook]
    same = [row for row in own if row.cell.signature == textbook[row.formula].cell.signature]
    assert len(same) > 20
    for row in same:
        assert row.cell.volume_per_atom == pytest.approx(textbook[row.formula].cell.volume_per_atom, rel=0.2)


def test_further_cells_are_carried_where_their_volume_is_another() -> None:
    kept = apart([cell("a", 10.1), cell("a", 11.0), cell("a", 11.1), cell("b", 10.0)], [cell("a", 10.0)])
    assert kept == [cell("a", 11.0), cell("b", 10.0)]


def test_a_distance_above_the_hull_stands_for_an_energy() -> None:
    hull: Any = SimpleNamespace(below=lambda formula: -1.0)
    assert energy_of({"formation_energy_per_atom": -0.7, "energy_above_hull": 0.1}, "TiC", hull) == -0.7
    assert energy_of({"energy_above_hull": 0.1}, "TiC", hull) == pytest.approx(-0.9)
    assert np.isnan(energy_of({}, "TiC", hull))


@pytest.mark.parametrize(("said", "is_taken"), [(-0.85, True), (-0.6, False)])
def test_a_distance_counts_where_the_surrogate_does_not_deny_it(said: float, is_taken: bool) -> None:
    structure = {"species": ["Ti", "C"], "energy_above_hull": 0.1}
    made = Row("TiC", replace(cell("a", 10.0, -0.9), surrogate_energy=said), 0, structure, 0.05)
    assert np.isfinite(believed(made).cell.energy) == is_taken
    direct = replace(made, structure={**structure, "formation_energy_per_atom": -0.9})
    assert believed(direct) == direct


def test_a_named_phase_is_told_from_another_of_its_signature_by_volume() -> None:
    """Wurtzite BN and its buckled layers, which pymatgen has among its prototypes, have one signature."""
    text = "186|2 .3m B|2 .3m N"
    rows = [Row("BN", cell(text, 5.97), 0, {}), Row("BN", cell(text, 9.14), 2, {})]
    known: Any = SimpleNamespace(
        phase=lambda formula: SimpleNamespace(formation_energy_per_atom=-1.461, source=SOURCES[1])
    )
    assert named(rows, [], known) == [replace(rows[0].cell, energy=-1.461 + 0.0935, database_id=2653)]
