"""Crystals of an ordering: which host, which cells, which elements where, and how large."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from inverse.proposers.baselines.ordered_cells import MAX_ORDERED, Ordering, ordered_structures, supercells
from inverse.reference import KnownMaterials, construction
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import n_atoms_of
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import DataError
from tests.stand_in_tables import tables

NEEDS_A_DECODER = "194|4 .3m C|4 .3m V"
"""Both sites have a free coordinate; eight atoms. Where no shape of the type is known, that is."""


def rock_salt(metal: str, volume: float) -> tuple[str, str, float]:
    return f"{metal}C", f"225|4 -3mm C|4 -3mm {metal}", volume


def known_of(*structures: tuple[str, str, float]) -> KnownMaterials:
    return tables({"C": 0.0, "Ti": 0.0, "V": 0.0}, structures=structures)[1]


KNOWN = known_of(rock_salt("V", 9.0), rock_salt("Ti", 10.0))


def ordering(n_cells: int, titanium: float, host: str = "VC", **changes: Any) -> Ordering:
    formula = {0.25: "TiV3C4", 0.5: "TiVC2", 1 / 3: "TiV2C3"}[titanium]
    fields = {
        "formula": formula,
        "end_members": {"TiC": titanium, "VC": 1.0 - titanium},
        "host": host,
        "element": "V" if host == "VC" else "Ti",
        "n_cells": n_cells,
        "n_atoms": 2 * n_cells,
        "values": {},
        "is_known": False,
    }
    return Ordering(**(fields | changes))


@pytest.mark.parametrize(("n_cells", "n_forms"), [(1, 1), (2, 7), (3, 13), (4, 35)])
def test_every_superlattice_is_listed_once(n_cells: int, n_forms: int) -> None:
    """Their number is known: the sum over d | n of d sigma(d) (OEIS A001001)."""
    forms = supercells(n_cells)
    assert len(forms) == n_forms
    for one, other in combinations(forms, 2):
        change = np.array(one) @ np.linalg.inv(np.array(other))
        assert abs(change - change.round()).max() > 1e-6, f"{one} and {other} are one lattice"
    assert all(round(np.linalg.det(np.array(m))) == n_cells for m in forms)
    assert forms[0] == [[1, 0, 0], [0, 1, 0], [0, 0, n_cells]], "stacking along c first"


def test_doubled_cells_are_stacked_along_c_first_and_the_straight_ones_come_before_the_slanted() -> None:
    assert supercells(2) == [
        [[1, 0, 0], [0, 1, 0], [0, 0, 2]],
        [[1, 0, 0], [0, 2, 0], [0, 0, 1]],
        [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 2, 0], [0, 1, 1]],
        [[2, 0, 0], [0, 1, 0], [1, 0, 1]],
        [[2, 0, 0], [1, 1, 0], [0, 0, 1]],
        [[2, 0, 0], [1, 1, 0], [1, 0, 1]],
    ]


@pytest.mark.parametrize(("n_cells", "titanium"), [(2, 0.5), (3, 1 / 3), (4, 0.25), (4, 0.5)])
def test_every_crystal_has_the_formula_the_size_and_the_mean_volume(n_cells: int, titanium: float) -> None:
    """And is a cell that cannot be made smaller, unlike the others."""
    wanted = ordering(n_cells, titanium)
    found = ordered_structures(wanted, KNOWN)
    assert 2 <= len(found) <= MAX_ORDERED
    texts = [signature_text(Cell.from_structure(crystal)) for crystal in found]
    assert len(set(texts)) == len(texts)
    for crystal, text in zip(found, texts, strict=True):
        assert crystal.composition.reduced_formula == wanted.formula
        assert len(crystal) == n_atoms_of(str(text)) == 2 * n_cells
        assert crystal.volume / len(crystal) == pytest.approx(10.0 * titanium + 9.0 * (1 - titanium))


def test_the_first_crystal_is_stacked_along_c_with_alike_metals_together() -> None:
    (first,) = ordered_structures(ordering(4, 0.5), KNOWN, limit=1)
    a, b, c = first.lattice.abc
    assert (b / a, c / a) == pytest.approx((1.0, 4.0))
    metals = sorted((site.frac_coords[2] % 1.0, site.specie.symbol) for site in first if site.specie.Z > 6)
    symbols = "".join(symbol for _, symbol in metals)
    assert symbols in "TiTiVVTiTiVV"
    assert "TiTi" in symbols + symbols


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_crystals_than_asked_for(limit: int) -> None:
    assert len(ordered_structures(ordering(4, 0.25), KNOWN, limit=limit)) == limit


def test_a_double_cell_of_rock_salt_has_two_arrangements() -> None:
    """Layers along a cube's edge, or along its diagonal: however many cells are tried."""
    found = ordered_structures(ordering(2, 0.5), KNOWN, limit=50)
    assert sorted(crystal.get_space_group_info()[1] for crystal in found) == [123, 166]


def test_the_volume_of_an_end_member_is_that_of_its_structure_nearest_to_the_host() -> None:
    """0.75 x 9 + 0.25 x 12 = 9.75; without any carried structure it counts as large as the host."""
    many = known_of(rock_salt("V", 9.0), ("TiC", "221|1 -3mm C|1 -3mm Ti", 5.0), rock_salt("Ti", 12.0))
    for known, volume in ((many, 9.75), (known_of(rock_salt("V", 9.0)), 9.0)):
        (found,) = ordered_structures(ordering(4, 0.25), known, limit=1)
        assert found.volume / len(found) == pytest.approx(volume)


def test_the_host_is_the_first_carried_cell_of_the_size_that_can_be_built() -> None:
    """Two atoms: neither the large cell that comes first nor what only a decoder could complete."""
    large = ("VC", "221|1 -3mm C|1 -3mm V|3 /4mmm C|3 /4mmm V", 7.0)
    polar = ("VC", "194|1 .3m C|1 .3m V", 8.0)
    known = known_of(large, polar, rock_salt("V", 9.0), ("VC", "221|1 -3mm C|1 -3mm V", 11.0))
    (found,) = ordered_structures(ordering(2, 0.5), known, limit=1)
    assert found.volume / len(found) == pytest.approx(9.0)
    host = ordered_structures(ordering(1, 0.5, end_members={"VC": 1.0}), known, limit=1)
    assert [crystal.get_space_group_info()[1] for crystal in host] == [225]


def test_only_the_shared_sites_change_hands_whatever_else_the_phases_hold() -> None:
    diboride = "191|1 /6mmm {}|2 -26m B"
    known = tables({}, structures=[(f"{m}B2", diboride.format(m), v) for m, v in (("Ti", 8.0), ("V", 7.0))])[
        1
    ]
    wanted = Ordering("TiVB4", {"VB2": 0.5, "TiB2": 0.5}, "TiB2", "Ti", 2, 6, {}, False)
    (found,) = ordered_structures(wanted, known, limit=1)
    assert found.composition.get_el_amt_dict() == {"Ti": 1, "V": 1, "B": 4}
    assert found.volume / len(found) == pytest.approx(7.5)


@pytest.mark.parametrize(("asked", "seed"), [({}, 0), ({"seed": 5}, 5)])
def test_a_decoder_is_asked_with_the_seed_and_its_failure_gives_no_crystal(
    asked: dict[str, int], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(construction, "geometries_of", lambda text: ())
    seeds: list[int] = []

    def complete(crystals: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        seeds.append(seed)
        raise DataError("no idea")

    known = known_of(("VC", NEEDS_A_DECODER, 9.0))
    assert ordered_structures(ordering(1, 0.5, n_atoms=8), known, complete, **asked) == []
    assert set(seeds) == {seed}
    seeds.clear()
    assert ordered_structures(ordering(1, 0.5, n_atoms=2), known, complete, **asked) == []
    assert not seeds, "no cell of that size is carried"
    assert ordered_structures(ordering(2, 0.5, host="TiC"), known) == []
