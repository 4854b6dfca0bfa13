"""Known formulas without a carried structure: which type is believed, and their places among the answers."""

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines.assigned_types import (
    AS_LOW,
    FARTHEST,
    N_TYPES,
    TypedCell,
    assigned_types,
    believed,
    decorated,
    typed_cells,
)
from inverse.proposers.baselines.known_phases import MOST_TYPES, ONE_UNSEEN_IN, Lookup, assignment
from inverse.proposers.building.compositions import RankedComposition
from inverse.proposers.building.plans import Plan
from inverse.reference.signatures import signature
from inverse.reference.structure_types import Prototype
from surrogates.physics.properties import FORMATION_ENERGY
from tests.fakes import CONFIG, search_space
from tests.stand_in_tables import tables

SALT = "225|4 -3mm A|4 -3mm B"
WURTZITE = "186|2 .3m A|2 .3m B"
ROCK_SALT = Structure.from_spacegroup(225, Lattice.cubic(4.3), ["Ti", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def plan(text: str = SALT, elements: tuple[str, ...] = ("N", "Ti")) -> Plan:
    composition = RankedComposition({"Ti": 1, "N": 1}, 1.0, 10.0, True)
    return Plan(composition, Prototype(text, (1, 1)), elements, 1.0)


def cell(energy: float, text: str = SALT) -> TypedCell:
    return TypedCell(plan(text), ROCK_SALT, energy)


def test_the_lowest_types_are_believed_where_they_have_the_tabulated_energy_the_most_familiar_first() -> None:
    familiar, lowest, high = cell(-1.0 + 0.9 * AS_LOW), cell(-1.0, WURTZITE), cell(-0.5)
    cells = [high, familiar, lowest]
    assert believed(cells, -1.0) == [familiar, lowest]
    assert believed([cell(-1.0 + 1.1 * AS_LOW), lowest], -1.0) == [lowest]
    assert believed([familiar, cell(-1.0)], -1.0) == [familiar], "another shape of the same type"
    for side in (-1, 1):
        assert believed(cells, -1.0 + side * 0.9 * FARTHEST) == [familiar, lowest]
        assert believed(cells, -1.0 + side * 1.1 * FARTHEST) == []
    assert believed([], -1.0) == []


def test_a_plan_decorated_is_the_signature_whatever_the_names_of_equal_orbits() -> None:
    assert decorated(plan()) == "225|4 -3mm N|4 -3mm Ti" == decorated(plan(elements=("Ti", "N")))
    boride = Plan(plan().composition, Prototype("191|1 /6mmm A|2 -26m B", (1, 2)), ("Ti", "B"), 1.0)
    assert decorated(boride) == "191|1 /6mmm Ti|2 -26m B"


def test_a_formula_is_put_into_the_types_of_its_kin_each_once() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    found = typed_cells(space, "TiN", (1, 4))
    texts = [decorated(c.plan) for c in found]
    assert 1 < len(dict.fromkeys(texts)) <= N_TYPES
    assert texts[0] == "225|4 -3mm N|4 -3mm Ti", "rock salt is what most nitrides of such metals have"
    for own in found:
        assert own.structure.composition.reduced_formula == "TiN"
        assert len(own.structure) <= 4
    assert signature(found[0].structure).text == texts[0]
    said = space.base.predict([c.structure for c in found])[FORMATION_ENERGY].mean.tolist()
    assert [c.energy for c in found] == pytest.approx(said)
    assert assigned_types(space, "TiN", min(said), (1, 4))
    assert not assigned_types(space, "TiN", min(said) + 1.0, (1, 4))
    assert typed_cells(space, "TiBr", (1, 4)) == [], "bromine is not among the elements of this search"


def test_known_phases_are_no_find_where_novelty_is_asked_for() -> None:
    wish = {**CONFIG, "constraints": {**CONFIG["constraints"], "novelty": "new_structure"}}
    assert assignment(search_space(CampaignConfig.from_mapping(wish))) is None
    assert assignment(search_space(CampaignConfig.from_mapping(CONFIG))) is not None


FACTS = tables(
    {
        "C": 0.0,
        "N": 0.0,
        "Ti": 0.0,
        "V": 0.0,
        "Nb": 0.0,
        "Ta": 0.0,
        "TiC": -0.8,
        "VC": -0.5,
        "NbC": -0.7,
        "TaC": -0.6,
    },
    [("TiC", 2, 400, 200), ("VC", 0, 390, 200), ("NbC", 2, 380, 200), ("TaC", 2, 370, 200)],
    [("TiC", "225|4 -3mm C|4 -3mm Ti", 9.5), ("NbC", "225|4 -3mm C|4 -3mm Nb", 11.0)],
)


def source(**changes: Any) -> tuple[Lookup, list[tuple[str, float, tuple[int, int]]]]:
    asked: list[tuple[str, float, tuple[int, int]]] = []

    def assign(formula: str, energy: float, n_atoms: tuple[int, int]) -> list[TypedCell]:
        asked.append((formula, energy, n_atoms))
        return [] if formula == "TaC" else [cell(energy)]

    facts, known = FACTS
    wish = CampaignConfig.from_mapping(
        {"targets": {"bulk_modulus_vrh": {"min": 300}}, "constraints": {"n_atoms": {"min": 1, "max": 8}}}
    )
    return Lookup(wish, known=known, facts=facts, **{"assign": assign, **changes}), asked


def test_a_formula_without_a_carried_structure_is_asked_for_with_its_energy_and_size() -> None:
    """VC's entry does not say how large its cell is; nothing fits TaC."""
    made, asked = source()
    found = made.ask(9, 0, 3)
    assert [p.history["formula"] for p in found] == ["TiC", "VC", "NbC"]
    assert asked == [("VC", -0.5, (1, 8)), ("TaC", -0.6, (2, 2))]
    assert {p.origin for p in found} == {Origin.TEXTBOOK}
    assert found[1].history["assigned_type"] == SALT
    assert "signature" not in found[1].history
    made.ask(9, 0, 3)
    assert len(asked) == 2, "what was built stands until it is told"
    assert [p.history["formula"] for p in source(assign=None)[0].ask(9, 0, 3)] == ["TiC", "NbC"]


def test_one_place_in_so_many_is_for_them_where_the_best_known_come_first() -> None:
    names = ["Al", "Cr", "Hf", "Mo", "Nb", "Ta", "Ti", "V", "W", "Zr"]
    formulas = [f"{m}C" for m in names]
    facts, known = tables(
        dict.fromkeys([*names, "C"], 0.0) | dict.fromkeys(formulas, -0.5),
        [(f, 2, 400, 200) for f in formulas],
        [(f"{m}C", f"225|4 -3mm C|4 -3mm {m}", 10.0) for m in names if m > "M"],
    )
    made, _ = source()
    made.known, made.facts, made.best_known_first = known, facts, True
    unseen = ["_" if "signature" in p.history else "x" for p in made.ask(20, 0, 3)]
    assert ONE_UNSEEN_IN == 4
    assert "".join(unseen) == "___x___x_x"


def test_a_formula_of_several_likely_types_is_proposed_in_two_of_them_side_by_side() -> None:
    def assign(formula: str, energy: float, n_atoms: tuple[int, int]) -> list[TypedCell]:
        return [cell(energy), cell(energy, WURTZITE), cell(energy, "221|1 -3mm A|1 -3mm B")]

    made, _ = source(assign=assign, best_known_first=True)
    found = [(p.history["formula"], p.history.get("assigned_type")) for p in made.ask(9, 0, 3)]
    assert MOST_TYPES == 2
    assert found[2:] == [("TaC", SALT), ("TaC", WURTZITE), ("VC", SALT), ("VC", WURTZITE)]
    assert {formula for formula, _ in found[:2]} == {"NbC", "TiC"}
