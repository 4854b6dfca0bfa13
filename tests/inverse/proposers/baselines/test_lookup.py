"""The look-up on tables of a few formulas: who is in, with which values, in which order, as what crystals."""

from types import SimpleNamespace
from typing import Any

import pytest

from inverse.candidates.types import Candidate, Origin, Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import lookup as module
from inverse.proposers.baselines.baselines import baselines
from inverse.proposers.baselines.known_phases import Lookup
from inverse.proposers.baselines.lookup import (
    LookupRow,
    Survey,
    baseline_record,
    follows_from_moduli,
    lookup,
    moduli_values,
    survey,
    tabulated_values,
    unchecked,
)
from inverse.reference import construction
from surrogates.crystals.symmetry import SymmetricCrystals
from surrogates.errors import DataError, UnsupportedElementError
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    ENERGY_ABOVE_HULL,
    PROPERTIES,
    SHEAR_MODULUS,
    VOLUME,
)
from tests.stand_in_tables import tables

ELEMENTS = dict.fromkeys(["C", "N", "Nb", "Ta", "Ti", "V", "W"], 0.0)


def config(targets: dict[str, Any], **constraints: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({"targets": targets, "constraints": constraints})


def rock_salt(metal: str, light: str = "C") -> str:
    first, second = sorted([light, metal])
    return f"225|4 -3mm {first}|4 -3mm {second}"


def caesium_chloride(metal: str) -> str:
    return f"221|1 -3mm C|1 -3mm {metal}"


def test_a_row_is_the_stiffest_entry_of_its_formula_that_qualifies() -> None:
    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": -0.5},
        [
            ("TiC", 2, 310.0, 200.0),
            ("TiC", 2, 330.123456, 190.0),
            ("TiC", 8, 500.0, 210.0),
            ("VC", 2, 299.9, 250.0),
        ],
    )
    wanted = config({"bulk_modulus_vrh": {"min": 300}}, n_atoms={"max": 4})
    values = {"bulk_modulus_vrh": 330.1235, "shear_modulus_vrh": 190.0, "energy_above_hull": 0.0}
    assert lookup(wanted, facts, known) == [LookupRow("TiC", values, 2, "AFLOW")]
    soft = config({"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 195}}, n_atoms={"max": 4})
    assert [row.values["bulk_modulus_vrh"] for row in lookup(soft, facts, known)] == [310.0]


def test_cells_of_the_smallest_and_the_largest_size_allowed_are_rows() -> None:
    """The computed cell counts; without one any carried cell does, and without that the formula unit."""
    facts, known = tables(
        ELEMENTS | dict.fromkeys(["TiC", "VC", "NbC", "TaC", "WC", "TiN", "VN", "NbN"], -0.5),
        [
            ("TiC", 1, 390.0, 200.0),
            ("VC", 2, 380.0, 200.0),
            ("NbC", 4, 370.0, 200.0),
            ("TaC", 5, 360.0, 200.0),
            ("WC", 0, 350.0, 200.0),
            ("TiN", 0, 340.0, 200.0),
            ("VN", 0, 330.0, 200.0),
            ("NbN", 5, 320.0, 200.0),
        ],
        [
            ("VN", "221|1 -3mm N|1 -3mm V|3 /4mmm N|3 /4mmm V", 9.0),
            ("TiN", "221|1 -3mm N|1 -3mm Ti|3 /4mmm N|3 /4mmm Ti", 9.0),
            ("TiN", rock_salt("Ti", "N"), 9.0),
            ("NbN", rock_salt("Nb", "N"), 9.0),
        ],
    )
    sizes = config({"bulk_modulus_vrh": {"min": 300}}, n_atoms={"min": 2, "max": 4})
    assert [(r.formula, r.n_atoms) for r in lookup(sizes, facts, known)] == [
        ("VC", 2),
        ("NbC", 4),
        ("WC", 0),
        ("TiN", 0),
    ]


def test_elements_that_are_not_allowed_leave_the_others() -> None:
    energies = ELEMENTS | {"TiC": -0.5, "VC": -0.4, "NbC": -0.3}
    facts, known = tables(energies, [("TiC", 2, 400, 200), ("VC", 2, 390, 200), ("NbC", 2, 380, 200)])
    for targets in ({"bulk_modulus_vrh": {"min": 300}}, {"formation_energy_per_atom": {"max": -0.2}}):
        rows = lookup(config(targets, elements={"only": ["V", "Nb", "C"]}), facts, known)
        assert {row.formula for row in rows} == {"VC", "NbC"}


def test_without_a_target_on_moduli_the_formulas_of_the_hull_are_looked_into() -> None:
    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": -0.25, "NbC": None, "TiN": -0.3, "NbVC2": -0.4, "V2C": -0.1},
        gaps={"TiC": 2.0, "NbC": 2.0, "TiN": 0.5, "NbVC2": 3.0},
    )
    bound = config({"formation_energy_per_atom": {"max": -0.2}})
    found = lookup(bound, facts, known)
    assert [(row.formula, row.values["formation_energy_per_atom"]) for row in found] == [
        ("TiC", -0.5),
        ("TiN", -0.3),
        ("VC", -0.25),
        ("NbVC2", -0.4),
    ], "a gap that nobody knows matters where none is asked for"
    assert {(row.n_atoms, row.source) for row in found} == {(0, "Materials Project")}
    gapped = config({"band_gap": {"min": 1.0}})
    assert [(row.formula, dict(row.values)) for row in lookup(gapped, facts, known)] == [
        ("TiC", {"band_gap": 2.0, "energy_above_hull": 0.0}),
        ("NbVC2", {"band_gap": 3.0, "energy_above_hull": 0.0}),
    ]


def test_only_what_may_qualify_counts_against_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown gap or energy, a value that misses, a foreign element, a cell too large: none of these."""
    monkeypatch.setattr("inverse.proposers.baselines.lookup.MAX_HULLS", 2)
    facts, known = tables(
        ELEMENTS
        | {"NbC": -0.5, "Nb4C5": -0.5, "NbN": None, "TiC": -0.5, "TaC": -0.5, "VC": -0.4, "WC": -0.4},
        gaps={"Nb4C5": 3.0, "NbN": 3.0, "TaC": 0.5, "TiC": 3.0, "VC": 2.5, "WC": 2.0},
    )
    wanted = config(
        {"band_gap": {"min": 1.0}}, elements={"only": ["C", "N", "Nb", "Ta", "V", "W"]}, n_atoms={"max": 8}
    )
    assert [row.formula for row in lookup(wanted, facts, known)] == ["VC", "WC"]
    monkeypatch.setattr("inverse.proposers.baselines.lookup.MAX_HULLS", 1)
    assert [row.formula for row in lookup(wanted, facts, known)] == ["VC"], "simple and early ones first"


def test_the_larger_margin_comes_first_and_far_inside_the_simpler() -> None:
    """Twice the bound is as good as thrice; bounds up to 1 eV/atom above the hull say nothing of it."""
    facts, known = tables(
        ELEMENTS | {"VC": -0.1, "NbC": -0.1, "V2C": -0.07, "TaC": -0.1, "TiC": -0.1, "TiVC2": -0.1, "C": 0.0},
        [
            ("TiVC2", 4, 700.0, 200.0),
            ("TiC", 2, 410.0, 200.0),
            ("V2C", 3, 900.0, 200.0),
            ("NbC", 2, 400.0, 200.0),
            ("VC", 2, 250.0, 200.0),
            ("TaC", 2, 300.0, 200.0),
            ("C", 2, 200.0, 200.0),
        ],
    )
    found = lookup(config({"bulk_modulus_vrh": {"min": 200}}), facts, known)
    assert [row.formula for row in found] == ["NbC", "TiC", "V2C", "TiVC2", "TaC", "VC", "C"]
    below = config({"bulk_modulus_vrh": {"max": 420}, "shear_modulus_vrh": {"min": 100}})
    assert [row.formula for row in lookup(below, facts, known)] == ["C", "VC", "TaC", "NbC", "TiC"]


def test_bounds_of_zero_and_ceilings_of_one_give_no_margin() -> None:
    facts, known = tables(
        ELEMENTS | {"TiC": -0.1, "VC": -0.1, "NbC": -0.1},
        gaps={"TiC": 0.9, "VC": 0.5, "NbC": 0.1},
    )
    for bounds in ({"min": 0.0}, {"max": 1.0}):
        found = lookup(config({"band_gap": bounds}), facts, known)
        assert [row.formula for row in found] == ["NbC", "TiC", "VC"], "as simple as each other"
    found = lookup(config({"band_gap": {"max": 1.5}}), facts, known)
    assert [row.formula for row in found] == ["NbC", "VC", "TiC"]
    found = lookup(config({"band_gap": {"min": 0.5}}), facts, known)
    assert [row.formula for row in found] == ["TiC", "VC"]


def test_the_hull_is_worked_out_last_and_only_for_what_meets_all_else() -> None:
    asked: list[str] = []

    def fact(name: str, value: float | None) -> Any:
        def of(formula: str) -> float | None:
            asked.append(name)
            return value

        return of

    known: Any = SimpleNamespace(signatures_of_reduced=lambda formula: [SimpleNamespace(volume_per_atom=9.0)])
    targets = [
        Target(ENERGY_ABOVE_HULL, maximum=0.1),
        Target(BAND_GAP, minimum=1.0),
        Target(VOLUME, maximum=10.0),
    ]
    for gap, expected in ((0.5, None), (None, None), (2.0, 0.05)):
        asked.clear()
        facts: Any = SimpleNamespace(band_gap_of=fact("gap", gap), energy_above_hull_of=fact("hull", 0.05))
        found = tabulated_values("TiC", {"bulk_modulus_vrh": 1.0}, targets, facts, known)
        if expected is None:
            assert (found, asked) == (None, ["gap"])
        else:
            assert found == {
                "bulk_modulus_vrh": 1.0,
                "band_gap": 2.0,
                "volume_per_atom": 9.0,
                "energy_above_hull": 0.05,
            }
            assert asked == ["gap", "hull"]


def test_volume_and_density_are_those_of_the_densest_carried_structure() -> None:
    """47.867 u and 12.011 u on two atoms of 9.5 A^3 each; what no structure is carried of has neither."""
    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": -0.5},
        [("TiC", 2, 300, 200), ("VC", 2, 310, 200)],
        [("TiC", rock_salt("Ti"), 9.5), ("TiC", caesium_chloride("Ti"), 11.0)],
    )
    density = (47.867 + 12.011) / 2 * 1.66054 / 9.5
    for bound, expected in (({"min": 5.23}, [density]), ({"max": 5.24}, [density]), ({"min": 5.24}, [])):
        found = lookup(config({"density": bound, "bulk_modulus_vrh": {"min": 250}}), facts, known)
        assert [row.values["density"] for row in found] == pytest.approx(expected, abs=1e-3)
    roomy = config({"volume_per_atom": {"max": 10}, "bulk_modulus_vrh": {"min": 250}})
    assert [(row.formula, row.values["volume_per_atom"]) for row in lookup(roomy, facts, known)] == [
        ("TiC", 9.5)
    ]


def test_what_was_found_before_is_not_looked_up_and_what_nobody_asked_is_not_told() -> None:
    nobody: Any = SimpleNamespace()
    moduli = moduli_values(200.0, 100.0)
    found = tabulated_values("TiC", moduli, [Target(SHEAR_MODULUS, minimum=1.0)], nobody, nobody)
    assert found == {"bulk_modulus_vrh": 200.0, "shear_modulus_vrh": 100.0}


def test_what_follows_from_moduli_by_hand() -> None:
    """E = 9KG / (3K + G), nu = (3K - 2G) / (6K + 2G), and Chen's 2 (k^2 G)^0.585 - 3 with k = G / K."""
    assert moduli_values(200.0, 100.0) == pytest.approx(
        {
            "bulk_modulus_vrh": 200.0,
            "shear_modulus_vrh": 100.0,
            "young_modulus_vrh": 1800.0 / 7.0,
            "poisson_ratio": 2.0 / 7.0,
            "pugh_ratio": 0.5,
            "vickers_hardness_chen": 2 * 25**0.585 - 3,
        }
    )
    assert set(moduli_values(1.0, 1.0)) == {p.name for p in PROPERTIES.values() if follows_from_moduli(p)}


def test_nothing_is_looked_up_for_a_wish_that_only_ranks() -> None:
    facts, known = tables(ELEMENTS | {"TiC": -0.5}, [("TiC", 2, 400, 200)])
    assert lookup(config({"bulk_modulus_vrh": {"maximise": True}}), facts, known) == []
    assert unchecked(config({"bulk_modulus_vrh": {"min": 1}})) == ()


def test_a_record_tells_formula_values_and_source_of_a_row() -> None:
    record = baseline_record(Survey((LookupRow("TiC", {"density": 5.0}, 2, "AFLOW"),), 7))
    assert record == {
        "asked": True,
        "n_hits": 1,
        "n_considered": 7,
        "n_started": 0,
        "basis": "dft",
        "best": [{"formula": "TiC", "values": {"density": 5.0}, "note": "AFLOW"}],
        "unchecked": [],
        "note": "",
    }


def test_the_denominator_is_the_table_that_answers() -> None:
    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": None},
        [("TiC", 2, 310.0, 200.0), ("TiC", 8, 300.0, 200.0)],
        gaps={"TiC": 0.0, "VC": 1.0, "C": 4.0},
    )
    asked = {"bulk_modulus_vrh": 2, "band_gap": 3, "elemental_cost": 8}
    for name, n in asked.items():
        assert survey(config({name: {"max": 20}}), facts, known).n_considered == n
    assert survey(config({"elemental_cost": {"maximise": True}}), facts, known).n_considered == 0


def test_a_table_that_is_not_read_to_its_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    facts, known = tables(ELEMENTS | {"TiC": -0.5})
    wanted = config({"elemental_cost": {"max": 1000}})
    assert not survey(wanted, facts, known).is_cut
    monkeypatch.setattr(module, "MAX_HULLS", 3)
    found = survey(wanted, facts, known)
    assert found.is_cut
    assert "only the first 3 that may qualify" in baseline_record(found)["note"]


def test_intermetallics_with_many_atoms_are_looked_up() -> None:
    """Ba20Hg103 looks like an oxide mistyped, and is a known phase: a carried row is read, never guessed."""
    facts, known = tables({"Ba": 0.0, "Hg": 0.0, "Ba20Hg103": -0.2})
    wanted = config({"elemental_cost": {"max": 100}}, n_atoms={"max": 200})
    assert "Ba20Hg103" in [row.formula for row in lookup(wanted, facts, known)]


def test_an_odd_row_loses_itself_alone(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    facts, known = tables(ELEMENTS | {"TiC": -0.5, "VC": -0.5})
    known_values = module.tabulated_values

    def odd(formula: str, *rest: Any) -> Any:
        if formula == "TiC":
            raise UnsupportedElementError("unreadable")
        return known_values(formula, *rest)

    monkeypatch.setattr(module, "tabulated_values", odd)
    found = lookup(config({"elemental_cost": {"max": 1000}}, n_elements={"min": 2}), facts, known)
    assert [row.formula for row in found] == ["VC"]
    assert "TiC is left out: unreadable" in caplog.text


def test_one_baseline_that_fails_leaves_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("unreadable")

    monkeypatch.setattr(module, "survey", broken)
    assert list(baselines(config({"elemental_cost": {"max": 50}}))) == ["orderings"]


STIFF = {"bulk_modulus_vrh": {"min": 300}}
CARBIDES = tables(
    ELEMENTS | dict.fromkeys(["TiC", "VC", "NbC", "TaC"], -0.5),
    [("TiC", 2, 400, 200), ("VC", 8, 390, 200), ("NbC", 0, 380, 200), ("TaC", 2, 370, 200)],
    [
        ("TiC", rock_salt("Ti"), 9.5),
        ("VC", rock_salt("V"), 8.5),
        ("NbC", caesium_chloride("Nb"), 10.0),
        ("NbC", rock_salt("Nb"), 11.0),
        ("NbC", "216|4 -34m C|4 -34m Nb", 13.0),
        ("TaC", "194|4 .3m C|4 .3m Ta", 12.0),
        ("TaC", rock_salt("Ta"), 11.5),
    ],
)


def source(n_atoms: tuple[int, int] = (1, 8), **changes: Any) -> Lookup:
    facts, known = CARBIDES
    least, most = n_atoms
    return Lookup(config(STIFF, n_atoms={"min": least, "max": most}), known=known, facts=facts, **changes)


def told(asked: list[Any]) -> list[Candidate]:
    return [Candidate(f"c{k:06d}", p.structure, p.proposer, 0, key=p.key) for k, p in enumerate(asked)]


def test_every_carried_structure_of_the_entries_cell_is_proposed_once() -> None:
    """VC was computed in a larger cell than is carried; TaC's second structure has a free coordinate."""
    found = source().ask(10, 0, 7)
    assert [p.history["formula"] for p in found] == ["TiC", "NbC", "NbC", "NbC", "TaC"]
    assert [round(p.structure.volume / 2, 3) for p in found] == [9.5, 10.0, 11.0, 13.0, 11.5]
    assert [p.key for p in found] == ["0", "1", "2", "3", "4"]
    assert {(p.proposer, p.seed, p.origin, len(p.structure)) for p in found} == {
        ("lookup", 7, Origin.TEXTBOOK, 2)
    }
    assert found[0].history["signature"] == rock_salt("Ti")
    assert found[0].history["values"]["bulk_modulus_vrh"] == 400.0
    assert [p.key for p in source().ask(2, 0, 7)] == ["0", "1"]


def test_an_ask_goes_on_behind_what_was_told_and_never_back() -> None:
    made = source()
    first = made.ask(3, 0, 7)
    made.tell(told(first))
    assert [p.key for p in made.ask(3, 1, 7)] == ["3", "4"]
    made.tell(told(first[:1]))
    assert [p.key for p in made.ask(1, 2, 7)] == ["3"]
    made.tell([Candidate("c000009", first[0].structure, "pool", 0, key="17")])
    assert [p.key for p in made.ask(1, 2, 7)] == ["3"], "places of another's list"


def test_best_known_formulas_come_first_where_asked() -> None:
    found = source(best_known_first=True).ask(10, 0, 7)
    formulas = [p.history["formula"] for p in found]
    assert formulas == ["NbC", "TaC", "TiC", "NbC", "NbC"], "each formula once before any polymorph"


@pytest.mark.parametrize(("sizes", "n_found"), [((1, 2), 5), ((2, 2), 5), ((3, 8), 0), ((1, 1), 0)])
def test_crystals_of_exactly_the_size_allowed_are_proposed(sizes: tuple[int, int], n_found: int) -> None:
    assert len(source(sizes).ask(10, 0, 7)) == n_found


def test_what_a_decoder_cannot_complete_leaves_its_place_and_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(construction, "geometries_of", lambda text: ())
    asked: list[int] = []

    def complete(crystals: SymmetricCrystals, seed: int) -> SymmetricCrystals:
        asked.append(seed)
        raise DataError("no idea")

    facts, known = tables(
        ELEMENTS | {"TiC": -0.5, "VC": -0.5},
        [("TiC", 8, 400, 200), ("VC", 2, 390, 200)],
        [("TiC", "194|4 .3m C|4 .3m Ti", 9.5), ("VC", rock_salt("V"), 8.5)],
    )
    made = Lookup(config(STIFF), complete, known, facts)
    found = made.ask(5, 0, 11)
    assert [(p.history["formula"], p.key) for p in found] == [("VC", "1")]
    assert asked
    assert set(asked) == {11}


def test_targets_of_the_config_decide_and_not_the_hulls_bound_alone() -> None:
    facts, known = tables(ELEMENTS | {"TiC": 0.05, "VC": 0.2}, [("TiC", 2, 400, 1), ("VC", 2, 400, 1)])
    assert [r.formula for r in lookup(config(STIFF), facts, known)] == ["TiC"]
    wide = STIFF | {"energy_above_hull": {"max": 0.3}}
    assert [r.formula for r in lookup(config(wide), facts, known)] == ["TiC", "VC"]
    hull_only = lookup(config({"energy_above_hull": {"max": 0.1}}, n_elements={"min": 2}), facts, known)
    assert [r.formula for r in hull_only] == ["TiC"]
    assert Target(BULK_MODULUS, minimum=300.0) in config(STIFF).targets
