"""Structures of known phases by formula: the lowest where an energy says which, else all that may be it."""

import pytest

from inverse.reference import known_structures as module
from inverse.reference.known import KnownMaterials
from inverse.reference.known_structures import (
    known_structures,
    lowest_tabulated,
    why_no_structure,
)
from inverse.reference.phases import PhaseTable
from inverse.reference.signatures import signature


def test_a_tabulated_energy_says_which_polymorph_it_is():
    (boride,) = known_structures("TiB2")
    assert boride.get_space_group_info()[1] == 191
    assert lowest_tabulated("TiB2") == boride


@pytest.mark.parametrize(("formula", "group"), [("TiN", 225), ("WB2", 191)])
def test_without_one_every_polymorph_that_can_be_rebuilt_may_be_the_lowest(formula, group):
    assert lowest_tabulated(formula) is None
    found = known_structures(formula)
    assert group in {one.get_space_group_info()[1] for one in found}
    carried = {s.text for s in KnownMaterials.packaged().signatures_of(formula)}
    assert {signature(one).text for one in found} <= carried
    assert len(found) <= len(carried)
    assert [len(one) for one in found] == sorted(len(one) for one in found)


def test_a_polymorph_known_to_lie_higher_is_none_of_them(monkeypatch):
    """Where the formula's energy is lower than that of every tabulated cell, these are not its lowest."""
    found = known_structures.__wrapped__
    formula, high = "TiN", KnownMaterials.packaged().signatures_of("TiN")[2]
    energy = PhaseTable.packaged().phase(formula).formation_energy_per_atom
    monkeypatch.setattr(module, "tabulated_phases", lambda: {formula: ((energy + 0.5, high),)})
    lowest_tabulated.cache_clear()
    texts = {signature(one).text for one in found(formula)}
    assert texts
    assert high.text not in texts
    monkeypatch.setattr(module, "tabulated_phases", lambda: {formula: ((energy, high),)})
    lowest_tabulated.cache_clear()
    assert [signature(one).text for one in found(formula)] == [high.text]
    lowest_tabulated.cache_clear()


def test_a_formula_is_found_in_any_spelling():
    (boride,) = known_structures("W2B")
    assert boride.get_space_group_info()[1] == 140
    assert known_structures("BW2") == (boride,)


def test_what_is_missing_is_named():
    assert known_structures("W2N3") == (), (
        "the one that is carried lies 0.34 eV/atom above the tabulated energy"
    )
    assert "none of its 1 carried structures can be rebuilt, or may be its lowest" in why_no_structure("W2N3")
    assert known_structures("WB4") == ()
    assert why_no_structure("WB4") == "its formula is known, no structure of it is carried"
    assert known_structures("B4C") == ()
    assert "no shape of its lowest structure's type is known (space group" in why_no_structure("B4C")
