"""Types of many elements divided from one known shape, by hand, and doubled cells."""

from collections.abc import Iterator

import pytest
from pymatgen.core import Lattice, Structure

from inverse.proposers.baselines.divided_cells import STAND_INS, divided
from inverse.reference import divided_types as module
from inverse.reference.divided_types import MOST_SHAPES, divided_geometries, divided_types
from inverse.reference.geometries import Geometry

SITE = "|1 mmm "
HEAD = "47" + SITE


def shape(labels: str, count: int = 5) -> Geometry:
    """One atom each on the first corners, edges and faces of an orthorhombic cell."""
    letters = tuple("abcdefgh"[: len(labels)])
    text = HEAD + SITE.join(sorted(labels))
    return Geometry(text, letters, tuple(labels), (0.1, 0.2, -0.3, 0.0, 0.0, 0.0), ((0.0,) * 3,), count)


def known(monkeypatch: pytest.MonkeyPatch, *shapes: Geometry) -> None:
    by_type: dict[str, tuple[Geometry, ...]] = {}
    for own in shapes:
        by_type[own.text] = (*by_type.get(own.text, ()), own)
    monkeypatch.setattr(module, "packaged_geometries", lambda: by_type)


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    divided_geometries.cache_clear()
    yield
    divided_geometries.cache_clear()


def test_the_orbits_of_one_element_are_divided_in_every_way_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three orbits of A: the second, the third or both become the new element; labels follow the amounts."""
    parent = shape("AAABCD", count=7)
    known(monkeypatch, parent)
    (found,) = divided_geometries(5).items()
    text, shapes = found
    assert text == HEAD + SITE.join("AABCDE")
    assert [g.labels for g in shapes] == [tuple("AEABCD"), tuple("AAEBCD"), tuple("BAACDE")]
    for own in shapes:
        assert (own.text, own.letters, own.lattice, own.coords, own.count) == (
            text,
            parent.letters,
            parent.lattice,
            parent.coords,
            7,
        )
    (prototype,) = divided_types(5, 6)
    assert (prototype.text, prototype.counts, prototype.total) == (text, (2, 1, 1, 1, 1), 0)
    assert divided_types(5, 5) == []


def test_divided_types_are_divided_once_more_and_small_numbers_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of five elements two shapes have a pair of A left to divide, a third is left out; AAABCDE has three."""
    known(monkeypatch, shape("AAABCD"), shape("AAABC"), shape("AAABCDE"))
    six = divided_geometries(6)
    assert {text: len(own) for text, own in six.items()} == {
        HEAD + SITE.join("AABCDEF"): 3,
        HEAD + SITE.join("ABCDEF"): MOST_SHAPES,
    }
    assert divided_types(4, 20) == []
    assert divided_types(1, 20) == []


def test_types_of_the_most_frequent_shapes_come_first_and_their_number_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rare, common = shape("AABCD", count=3), shape("AABBCD", count=9)
    known(monkeypatch, rare, common)
    texts = [HEAD + SITE.join("AABCDE"), HEAD + SITE.join("ABCDE")]
    assert list(divided_geometries(5)) == texts
    assert [len(own) for own in divided_geometries(5).values()] == [2, 1]
    divided_geometries.cache_clear()
    monkeypatch.setattr(module, "MOST_TYPES", 1)
    assert {text: len(own) for text, own in divided_geometries(5).items()} == {texts[0]: 2}


def crystal(*elements: str) -> Structure:
    n = len(elements)
    coords = [[(k * k + k) / (n * n + n), 0.13 * k, k / n] for k in range(n)]
    return Structure(Lattice.orthorhombic(4.0, 5.0, 6.0), elements, coords)


def test_sites_set_apart_hold_the_first_stand_in_that_the_crystal_has_not() -> None:
    assert {s for cell in divided(crystal("Ti", "N")) for s in cell.symbol_set} == {"Ti", "N", STAND_INS[0]}
    holding = divided(crystal("Ti", STAND_INS[0], STAND_INS[1]))
    assert holding
    assert all(STAND_INS[2] in cell.symbol_set for cell in holding)
    assert divided(crystal(*STAND_INS)) == []


def test_half_the_sites_of_one_element_are_set_apart_and_no_other() -> None:
    """Two of four titanium atoms, or one of two of nitrogen, in cells of twelve atoms doubled from six."""
    cells = divided(crystal("Ti", "Ti", "N", "O", "O", "O"))
    found = {tuple(sorted(cell.composition.as_dict().items())) for cell in cells}
    whole = {"N": 2.0, "O": 6.0, "Ti": 4.0}
    wanted = [{**whole, element: n / 2, "Pu": n / 2} for element, n in whole.items()]
    assert found == {tuple(sorted(own.items())) for own in wanted}
