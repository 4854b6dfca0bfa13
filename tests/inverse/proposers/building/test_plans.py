"""Which structure types a composition is tried in, worked out for a handful of types."""

from math import sqrt

import pytest

from inverse.proposers.building.cells import has_shape
from inverse.proposers.building.compositions import RankedComposition
from inverse.proposers.building.plans import MOST_ASSIGNMENTS, Plan, assignments, planned
from inverse.reference.divided_types import KNOWN_ELEMENTS, divided_types
from inverse.reference.structure_types import Prototype, alike_class

SALT, CARBIDE = "225|4 -3mm A|4 -3mm B", "187|1 -26m A|1 -26m B"
METALS = ("Al", "Cr", "Hf", "Mo", "Nb", "Ta")


def composition(amounts: dict[str, int], worth: float = 0.5, is_known: bool = False) -> RankedComposition:
    return RankedComposition(amounts, worth, 10.0, is_known)


def plans_of(
    own: RankedComposition,
    types: list[Prototype],
    most: int = 99,
    n_atoms: tuple[int, int] = (1, 20),
    own_types: frozenset[str] = frozenset(),
) -> list[Plan]:
    return list(planned([own], types, most, n_atoms, lambda formula: own_types))


def test_the_type_that_a_known_formula_has_comes_before_all_that_are_merely_familiar() -> None:
    """200 for its own type, one for each formula of the kind, 0.02 for each of the type: 411.44 in all."""
    kind = (alike_class("C"), alike_class("Ti"))
    types = [Prototype(SALT, (1, 1)), Prototype(CARBIDE, (1, 1), {kind: 11})]
    found = plans_of(composition({"Ti": 1, "C": 1}, is_known=True), types, own_types=frozenset({SALT}))
    assert [(p.prototype.text, p.elements) for p in found] == [
        (SALT, ("C", "Ti")),
        (SALT, ("Ti", "C")),
        (CARBIDE, ("C", "Ti")),
        (CARBIDE, ("Ti", "C")),
    ]
    familiar = [200.0, 200.0, 11.22, 0.22]
    wanted = [0.5 * (0.2 + 0.8 * sqrt(f / 411.44)) for f in familiar]
    assert [p.promise for p in found] == pytest.approx(wanted)
    unknown = plans_of(composition({"Ti": 1, "C": 1}), types, own_types=frozenset({SALT}))
    assert unknown[0].prototype.text == CARBIDE, "tables tell nothing of a formula that stands in none"


def test_types_that_nobody_knows_promise_a_fifth_in_the_order_of_their_texts_and_elements() -> None:
    types = [Prototype(SALT, (1, 1)), Prototype(CARBIDE, (1, 1))]
    found = plans_of(composition({"Ti": 1, "C": 1}), types)
    assert [(p.prototype.text, p.elements) for p in found] == [
        (CARBIDE, ("C", "Ti")),
        (CARBIDE, ("Ti", "C")),
        (SALT, ("C", "Ti")),
        (SALT, ("Ti", "C")),
    ]
    assert {p.promise for p in found} == {0.1}
    assert [p.key for p in found][::3] == [f"{CARBIDE} C Ti", f"{SALT} Ti C"]
    assert len({p.key for p in found}) == 4
    assert [p.elements for p in plans_of(composition({"Ti": 1, "C": 1}), types, most=1)] == [("C", "Ti")]


@pytest.mark.parametrize(
    ("n_atoms", "counts"),
    [((1, 1), []), ((1, 2), [(1, 1)]), ((2, 4), [(1, 1), (2, 2)]), ((3, 4), [(2, 2)]), ((5, 9), [])],
)
def test_cells_are_as_large_as_allowed(n_atoms: tuple[int, int], counts: list[tuple[int, ...]]) -> None:
    types = [Prototype(SALT, (1, 1)), Prototype("63|4 2mm A|4 2mm B", (2, 2)), Prototype("191|x", (1, 2))]
    found = plans_of(composition({"Ti": 1, "C": 1}), types, n_atoms=n_atoms)
    assert sorted({p.prototype.counts for p in found}) == counts


def test_of_many_elements_types_that_can_be_built_come_first_however_unfamiliar() -> None:
    """Up to four elements familiarity alone decides."""
    many = divided_types(KNOWN_ELEMENTS + 1, 12)[0]
    four = Prototype("107|2 4mm A|2 4mm B|2 4mm C|4 .2mm D", (1, 1, 1, 2))
    assert has_shape(many)
    assert has_shape(four)
    for shaped, first in ((many, many.text), (four, "1|bare")):
        elements = METALS[: len(shaped.counts)]
        kind = tuple(alike_class(e) for e in elements)
        bare = Prototype("1|bare", shaped.counts, {kind: 50})
        assert not has_shape(bare)
        least = min(shaped.counts)
        amounts = {e: n // least for e, n in zip(elements, shaped.counts, strict=True)}
        assert plans_of(composition(amounts), [bare, shaped])[0].prototype.text == first


def test_of_many_ways_to_put_elements_on_one_type_the_first_two_dozen_are_looked_at() -> None:
    """Of 120 ways of five elements all begin with the first: four others have 24 orders."""
    found = plans_of(composition(dict.fromkeys(METALS[:5], 1)), [Prototype("1|bare", (1,) * 5)], most=999)
    assert len(found) == MOST_ASSIGNMENTS == 24
    assert {p.elements[0] for p in found} == {"Al"}
    assert [p.elements for p in found] == sorted(p.elements for p in found)


@pytest.mark.parametrize(
    ("amounts", "counts", "wanted"),
    [
        ({"W": 1, "C": 1}, (2, 2), [("C", "W"), ("W", "C")]),
        ({"W": 1, "B": 2}, (2, 4), [("W", "B")]),
        ({"W": 1, "B": 2}, (4, 2), [("B", "W")]),
        ({"W": 1, "Ti": 1, "B": 2}, (1, 2, 1), [("Ti", "B", "W"), ("W", "B", "Ti")]),
        ({"W": 1, "C": 1}, (1, 2), []),
        ({"W": 1, "B": 2}, (1, 1), []),
        ({"W": 1, "B": 2}, (2, 2), []),
        ({"W": 1, "C": 1, "N": 1}, (1, 1), []),
        ({"W": 1, "C": 1}, (1, 1, 1), []),
        ({"W": 2, "C": 2}, (1, 1), []),
        ({"W": 1}, (2, 2), []),
    ],
)
def test_elements_go_on_labels_of_as_many_atoms(
    amounts: dict[str, int], counts: tuple[int, ...], wanted: list[tuple[str, ...]]
) -> None:
    assert list(assignments(amounts, Prototype("1|any", counts))) == wanted
