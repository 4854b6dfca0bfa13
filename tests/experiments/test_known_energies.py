"""Which carried cells get a tabulated energy: rules of `experiments.reference.known_energies`."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments.reference.known_energies import GRAPHITE, Row, lowest_phase, textbook_elements
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


def test_graphite_is_a_textbook_element() -> None:
    (graphite,) = [r for r in textbook_elements() if r.formula == "C" and r.cell.signature == GRAPHITE]
    assert graphite.cell.volume_per_atom == pytest.approx(8.80, abs=0.01)
