"""Orderings on tables of a few carbides: every division, its mixed values, who is in, in which order."""

from typing import Any

import pytest

from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import orderings as module
from inverse.proposers.baselines.ordered_cells import Ordering
from inverse.proposers.baselines.orderings import (
    Orderings,
    Survey,
    baseline_record,
    orderings,
    survey,
    unchecked,
)
from inverse.reference import Facts, KnownMaterials
from tests.stand_in_tables import tables

ELEMENTS = dict.fromkeys(["Al", "C", "N", "Nb", "Ta", "Ti", "V"], 0.0)
STIFF = {"bulk_modulus_vrh": {"min": 100}}


def config(targets: dict[str, Any], **constraints: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({"targets": targets, "constraints": constraints})


def rock_salt(formula: str, volume: float) -> tuple[str, str, float]:
    return formula, f"225|4 -3mm {formula[-1]}|4 -3mm {formula[:-1]}", volume


def carbides(
    *moduli: tuple[str, int, float, float], energies: dict[str, float | None] | None = None
) -> tuple[Facts, KnownMaterials]:
    """Return tables of binary carbides and nitrides, all of them rock salt of 10 cubic angstrom per atom."""
    formulas = dict.fromkeys(row[0] for row in moduli)
    known = ELEMENTS | dict.fromkeys(formulas, -0.5) | (energies or {})
    return tables(known, moduli, [rock_salt(formula, 10.0) for formula in formulas])


def test_an_ordering_by_hand() -> None:
    """TiC and VC half and half; masses 47.867, 50.9415 and 12.011, and 1 u / A^3 is 1.66054 g/cm3."""
    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": -0.25, "TiVC2": None},
        [("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0)],
        [rock_salt("TiC", 10.0), rock_salt("VC", 9.0)],
    )
    asked = STIFF | {"formation_energy_per_atom": {"max": -0.3}}
    (found,) = orderings(config(asked, n_atoms={"max": 4}), facts, known)
    bulk, shear = 350.0, 150.0
    mass = (47.867 + 50.9415 + 2 * 12.011) / 4
    assert dict(found.values) == pytest.approx(
        {
            "bulk_modulus_vrh": bulk,
            "shear_modulus_vrh": shear,
            "young_modulus_vrh": 9 * bulk * shear / (3 * bulk + shear),
            "poisson_ratio": (3 * bulk - 2 * shear) / (2 * (3 * bulk + shear)),
            "pugh_ratio": shear / bulk,
            "vickers_hardness_chen": 2 * ((shear / bulk) ** 2 * shear) ** 0.585 - 3,
            "volume_per_atom": 9.5,
            "density": mass / 9.5 * 1.66054,
            "energy_above_hull": 0.0,
            "formation_energy_per_atom": -0.375,
        },
        rel=1e-5,
    )
    assert (found.formula, found.host, found.element) == ("TiVC2", "TiC", "Ti")
    assert found.end_members == {"TiC": 0.5, "VC": 0.5}
    assert (found.n_cells, found.n_atoms, found.is_known) == (2, 4, True)


def test_every_division_of_up_to_four_cells_is_there_once_in_the_smallest_cell() -> None:
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0))
    found = orderings(config(STIFF, n_atoms={"max": 20}), facts, known)
    assert [(o.formula, o.host, o.n_cells, o.n_atoms, o.is_known) for o in found] == [
        ("TiV3C4", "VC", 4, 8, False),
        ("TiV2C3", "VC", 3, 6, False),
        ("TiVC2", "TiC", 2, 4, False),
        ("Ti2VC3", "TiC", 3, 6, False),
        ("Ti3VC4", "TiC", 4, 8, False),
    ]
    assert [o.end_members["VC"] for o in found] == pytest.approx([3 / 4, 2 / 3, 1 / 2, 1 / 3, 1 / 4])
    assert [o.values["bulk_modulus_vrh"] for o in found] == pytest.approx(
        [375.0, 1100 / 3, 350.0, 1000 / 3, 325.0]
    )


@pytest.mark.parametrize(
    ("least", "most", "sizes"),
    [(1, 3, []), (4, 4, [4]), (5, 6, [6, 6]), (7, 8, [8, 8, 8]), (8, 8, [8, 8, 8]), (9, 20, [])],
)
def test_cells_of_exactly_the_sizes_allowed_are_divided(least: int, most: int, sizes: list[int]) -> None:
    """Half and half fits four cells too, where two are too few."""
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0))
    found = orderings(config(STIFF, n_atoms={"min": least, "max": most}), facts, known)
    assert [o.n_atoms for o in found] == sizes


@pytest.mark.parametrize("name", ["bulk_modulus_vrh", "shear_modulus_vrh"])
@pytest.mark.parametrize(("bound", "formulas"), [(300.0, ["TiVC2"]), (300.1, [])])
def test_a_bound_that_all_end_members_just_meet_is_met(name: str, bound: float, formulas: list[str]) -> None:
    facts, known = carbides(("TiC", 2, 300.0, 300.0), ("VC", 2, 300.0, 300.0))
    found = orderings(config({name: {"min": bound}}, n_atoms={"max": 4}), facts, known)
    assert [o.formula for o in found] == formulas


def test_a_soft_end_member_counts_where_the_mixture_is_stiff_enough() -> None:
    """K from one, G from the other: 350 and 150 half and half, whatever each of them lacks."""
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0), ("NbC", 2, 100.0, 50.0))
    both = {"bulk_modulus_vrh": {"min": 350}, "shear_modulus_vrh": {"min": 150}}
    assert [o.formula for o in orderings(config(both, n_atoms={"max": 8}), facts, known)] == ["TiVC2"]
    light = {"bulk_modulus_vrh": {"min": 350}, "volume_per_atom": {"max": 10}, "density": {"max": 5.3}}
    assert [o.formula for o in orderings(config(light, n_atoms={"max": 4}), facts, known)] == ["TiVC2"]


def test_phases_are_mixed_that_differ_by_one_alike_element_in_the_same_amount() -> None:
    """Not aluminium for titanium, not one metal for two, not both at once."""
    facts, known = tables(
        ELEMENTS,
        [
            ("TiC", 2, 300.0, 200.0),
            ("AlC", 2, 300.0, 200.0),
            ("V2C", 3, 300.0, 200.0),
            ("VN", 2, 300.0, 200.0),
            ("TiN", 2, 300.0, 200.0),
        ],
        [
            *(rock_salt(name, 10.0) for name in ("TiC", "VN", "TiN", "AlC")),
            ("V2C", "164|1 -.3m C|2 .3m V", 10.0),
        ],
    )
    found = orderings(config(STIFF, n_atoms={"max": 4}), facts, known)
    assert {tuple(o.end_members) for o in found} == {("TiC", "TiN"), ("TiN", "VN")}
    assert {o.formula: o.element for o in found} == {"Ti2CN": "C", "TiVN2": "Ti"}


def test_three_end_members_share_the_sites_but_not_four() -> None:
    facts, known = carbides(*((f"{m}C", 2, 300.0, 200.0) for m in ("Nb", "Ta", "Ti", "V")))
    found = orderings(config(STIFF, n_atoms={"max": 20}), facts, known)
    assert {len(o.end_members) for o in found} == {2, 3}
    of_three = {o.formula: o for o in found if set(o.end_members) == {"NbC", "TiC", "VC"}}
    assert {formula: (o.host, o.n_cells) for formula, o in of_three.items()} == {
        "TiNbVC3": ("NbC", 3),
        "TiNb2VC4": ("NbC", 4),
        "Ti2NbVC4": ("TiC", 4),
        "TiNb(VC2)2": ("VC", 4),
    }
    assert of_three["TiNb(VC2)2"].end_members == {"NbC": 0.25, "TiC": 0.25, "VC": 0.5}
    assert len(found) == 6 * 5 + 4 * 4


def test_the_stiffest_entry_of_a_formula_is_mixed_and_of_equals_the_first() -> None:
    facts, known = carbides(
        ("TiC", 2, 300.0, 200.0),
        ("TiC", 2, 320.0, 150.0),
        ("TiC", 2, 320.0, 250.0),
        ("TiC", 2, 310.0, 300.0),
        ("VC", 2, 400.0, 100.0),
    )
    (found,) = orderings(config(STIFF, n_atoms={"max": 4}), facts, known)
    assert (found.values["bulk_modulus_vrh"], found.values["shear_modulus_vrh"]) == (360.0, 125.0)


def test_what_is_not_allowed_not_carried_or_too_large_is_no_end_member_and_spoils_no_other() -> None:
    facts, known = tables(
        ELEMENTS,
        [("AlN", 2, 1.0, 1.0), *((f"{m}C", 2, 300.0, 200.0) for m in ("Nb", "Mo", "Ta", "Ti", "V"))],
        [
            *(rock_salt(f"{m}C", 10.0) for m in ("Nb", "Ti", "V")),
            ("TaC", "194|4 .3m C|4 .3m Ta", 10.0),
        ],
    )
    allowed = config(STIFF, elements={"only": ["C", "Mo", "Ta", "Ti", "V", "N"]}, n_atoms={"max": 7})
    found = orderings(allowed, facts, known)
    assert {tuple(o.end_members) for o in found} == {("TiC", "VC")}
    larger = config(STIFF, elements={"only": ["C", "Ta", "Ti"]}, n_atoms={"max": 8})
    found = orderings(larger, facts, known)
    assert {(o.formula, o.host) for o in found} == {
        ("TaTiC2", "TaC"),
        ("Ta3TiC4", "TaC"),
        ("TaTi2C3", "TiC"),
        ("TaTi3C4", "TiC"),
    }


def test_formula_units_as_large_as_the_largest_cell_are_end_members() -> None:
    two = [("TiV2C3", 6, 300.0, 200.0), ("TaV2C3", 6, 300.0, 200.0)]
    facts, known = tables(ELEMENTS, two, [(row[0], "221|6 m C", 10.0) for row in two])
    assert not orderings(config(STIFF, n_atoms={"max": 11}), facts, known)
    (found,) = orderings(config(STIFF, n_atoms={"max": 12}), facts, known)
    assert (found.formula, found.n_cells, found.n_atoms) == ("TaTi(V2C3)2", 2, 12)


TWO_WAYS = ("TiVC2", "TiVN2", "Ti2CN", "V2CN")
"""Half of each of the first two is TiVCN, and so is half of each of the last two."""


@pytest.mark.parametrize(
    ("bulk", "sizes", "members", "n_atoms"),
    [
        ((300, 300, 400, 400), (4, 4), ("Ti2CN", "V2CN"), 4),
        ((400, 400, 300, 300), (4, 4), ("TiVC2", "TiVN2"), 4),
        ((300, 300, 300, 300), (4, 4), ("TiVC2", "TiVN2"), 4),
        ((300, 300, 400, 400), (4, 8), ("TiVC2", "TiVN2"), 4),
        ((400, 400, 300, 300), (8, 4), ("Ti2CN", "V2CN"), 4),
    ],
)
def test_a_formula_with_two_ways_to_it_takes_the_smaller_cell_then_the_larger_margin(
    bulk: tuple[float, ...], sizes: tuple[int, int], members: tuple[str, str], n_atoms: int
) -> None:
    rows = list(zip(TWO_WAYS, (sizes[0], sizes[0], sizes[1], sizes[1]), bulk, strict=True))
    facts, known = tables(
        ELEMENTS,
        [(formula, size, k, 200.0) for formula, size, k in rows],
        [(formula, f"221|{size} m C", 10.0) for formula, size, _ in rows],
    )
    found = {o.formula: o for o in orderings(config(STIFF, n_atoms={"max": 8}), facts, known)}
    assert tuple(found["TiVCN"].end_members) == members
    assert found["TiVCN"].n_atoms == n_atoms


def test_rules_on_the_mixture_leave_the_others() -> None:
    """Four elements are too many; the three of carbide and nitride are not."""
    facts, known = carbides(*((f"{m}C", 2, 300.0, 200.0) for m in ("Nb", "Ti", "V")))
    found = orderings(config(STIFF, n_atoms={"max": 8}, n_elements={"max": 3}), facts, known)
    assert {len(o.end_members) for o in found} == {2}
    assert len(found) == 3 * 5
    asked = config(STIFF, n_atoms={"max": 4}, elements={"include_all": ["V"]})
    assert {o.formula for o in orderings(asked, facts, known)} == {"NbVC2", "TiVC2"}


@pytest.mark.parametrize(
    ("bound", "is_in"),
    [
        ({"formation_energy_per_atom": {"max": -0.375}}, True),
        ({"formation_energy_per_atom": {"max": -0.376}}, False),
        ({"formation_energy_per_atom": {"min": -0.375}}, True),
        ({"formation_energy_per_atom": {"min": -0.374}}, False),
    ],
)
def test_mixed_energies_are_judged_with_their_bounds(bound: dict[str, Any], is_in: bool) -> None:
    facts, known = carbides(
        ("NbC", 2, 300.0, 200.0),
        ("TiC", 2, 300.0, 200.0),
        ("VC", 2, 300.0, 200.0),
        energies={"NbC": None, "TiC": -0.5, "VC": -0.25},
    )
    found = orderings(config(STIFF | bound, n_atoms={"max": 4}), facts, known)
    assert [o.formula for o in found] == (["TiVC2"] if is_in else []), "the energy of NbC is unknown"


@pytest.mark.parametrize(("most", "formulas"), [(0.375, ["TiVC2"]), (0.374, [])])
def test_mixed_distances_from_the_hull_are_judged_by_their_upper_bound(
    most: float, formulas: list[str]
) -> None:
    facts, known = carbides(
        ("NbC", 2, 300.0, 200.0),
        ("TiC", 2, 300.0, 200.0),
        ("VC", 2, 300.0, 200.0),
        energies={"NbC": 2.0, "TiC": 0.5, "VC": 0.25},
    )
    found = orderings(config(STIFF | {"energy_above_hull": {"max": most}}, n_atoms={"max": 4}), facts, known)
    assert [o.formula for o in found] == formulas
    assert [o.values["energy_above_hull"] for o in found] == [0.375] * len(formulas)


def test_the_larger_margin_comes_first_then_the_alphabet() -> None:
    facts, known = carbides(
        ("NbC", 2, 300.0, 200.0), ("TaC", 2, 300.0, 200.0), ("TiC", 2, 400.0, 200.0), ("VC", 2, 400.0, 200.0)
    )
    sizes = {"n_atoms": {"max": 4}}
    for bound, expected in (
        ({"min": 200}, ["TiVC2", "NbVC2", "TaTiC2", "TaVC2", "TiNbC2", "TaNbC2"]),
        ({"max": 800}, ["TaNbC2", "NbVC2", "TaTiC2", "TaVC2", "TiNbC2", "TiVC2"]),
        ({"near": 310, "tolerance": 100}, ["TaNbC2", "NbVC2", "TaTiC2", "TaVC2", "TiNbC2", "TiVC2"]),
        ({"near": 390, "tolerance": 100}, ["TiVC2", "NbVC2", "TaTiC2", "TaVC2", "TiNbC2", "TaNbC2"]),
    ):
        found = orderings(config({"bulk_modulus_vrh": bound}, **sizes), facts, known)
        assert [o.formula for o in found] == expected, bound


def test_the_margin_is_relative_to_the_bound_and_that_of_the_nearest() -> None:
    """K of 220 is 10 % over its bound; K of 400 and G of 30 are 50 % over the nearer one."""
    facts, known = carbides(
        ("TiC", 2, 220.0, 60.0), ("VC", 2, 220.0, 60.0), ("TiN", 2, 400.0, 30.0), ("VN", 2, 400.0, 30.0)
    )
    wanted = config(
        {"bulk_modulus_vrh": {"min": 200}, "shear_modulus_vrh": {"min": 20}},
        n_atoms={"max": 4},
        n_elements={"max": 3},
    )
    found = [o.formula for o in orderings(wanted, facts, known)]
    assert [formula for formula in found if formula in ("TiVC2", "TiVN2")] == ["TiVN2", "TiVC2"]
    below = config({"bulk_modulus_vrh": {"max": 440}, "shear_modulus_vrh": {"max": 600}}, n_atoms={"max": 4})
    found = [o.formula for o in orderings(below, facts, known)]
    assert [formula for formula in found if formula in ("TiVC2", "TiVN2")] == ["TiVC2", "TiVN2"]


def test_mixing_says_nothing_of_a_gap_and_all_of_the_rest() -> None:
    everything = STIFF | {
        "band_gap": {"max": 1},
        "density": {"max": 9},
        "volume_per_atom": {"max": 9},
        "poisson_ratio": {"max": 0.3},
        "formation_energy_per_atom": {"max": 0},
    }
    assert unchecked(config(everything)) == ("band_gap",)
    assert unchecked(config(STIFF)) == ()


def test_a_record_tells_the_end_members_and_whether_the_formula_is_known() -> None:
    def row(is_known: bool) -> Ordering:
        values = {"bulk_modulus_vrh": 321.98765}
        return Ordering("TiVC2", {"TiC": 0.5, "VC": 0.5}, "VC", "V", 2, 4, values, is_known)

    record = baseline_record(Survey((row(True), row(False))), ["band_gap"])
    notes = [entry.pop("note") for entry in record["best"]]
    assert notes == ["TiC + VC, known formula", "TiC + VC"]
    assert record == {
        "asked": True,
        "n_hits": 2,
        "n_started": 0,
        "basis": "predicted",
        "best": [{"formula": "TiVC2", "values": {"bulk_modulus_vrh": 322.0}}] * 2,
        "unchecked": ["band_gap"],
        "note": "",
    }


def test_a_record_tells_that_mixing_was_not_asked() -> None:
    """A gap alone mixes from nothing: that is not the same as none found."""
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0))
    assert baseline_record(survey(config({"band_gap": {"min": 1}}), facts, known))["asked"] is False
    none = baseline_record(survey(config({"bulk_modulus_vrh": {"min": 900}}), facts, known))
    assert (none["asked"], none["n_hits"]) == (True, 0)


@pytest.mark.parametrize(("limit", "most"), [("MOST_MET", 2), ("MOST_TRIED", 2), ("MOST_MET", 5)])
def test_what_loose_targets_leave_is_cut_short_and_said(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0))
    wanted = config(STIFF, n_atoms={"max": 20})
    everything = survey(wanted, facts, known)
    assert (len(everything.rows), everything.is_cut) == (5, False)
    monkeypatch.setattr(module, limit, most)
    found = survey(wanted, facts, known)
    assert found.is_cut == (most < 5)
    assert len(found.rows) <= most
    assert ("there are more" in baseline_record(found)["note"]) == found.is_cut


def source() -> Orderings:
    facts, known = carbides(("TiC", 2, 300.0, 200.0), ("VC", 2, 400.0, 100.0))
    return Orderings(config(STIFF, n_atoms={"max": 8}), known=known, facts=facts)


def test_one_crystal_of_each_ordering_is_proposed_best_first() -> None:
    found = source().ask(10, 0, 7)
    formulas = ["TiV3C4", "TiV2C3", "TiVC2", "Ti2VC3", "Ti3VC4"]
    assert [p.structure.composition.reduced_formula for p in found] == formulas
    assert [p.key for p in found] == ["0", "1", "2", "3", "4"]
    assert {(p.proposer, p.seed) for p in found} == {("orderings", 7)}
    assert found[2].history["end_members"] == {"TiC": 0.5, "VC": 0.5}
    assert found[2].history["mixed"]["bulk_modulus_vrh"] == 350.0
    assert [p.key for p in source().ask(2, 0, 7)] == ["0", "1"]


def test_an_ask_for_orderings_goes_on_behind_what_was_told_and_never_back() -> None:
    made = source()
    first = made.ask(3, 0, 7)
    told = [Candidate(f"c{k:06d}", p.structure, p.proposer, 7, key=p.key) for k, p in enumerate(first)]
    made.tell(told)
    assert [p.key for p in made.ask(5, 1, 7)] == ["3", "4"]
    made.tell(told[:1])
    assert [p.key for p in made.ask(1, 1, 7)] == ["3"]
