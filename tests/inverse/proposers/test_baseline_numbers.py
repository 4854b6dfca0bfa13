"""Look-up and orderings by numbers worked out by hand: facts, mixtures, margins, order, limits."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from inverse.candidates.types import Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import lookup, orderings
from inverse.proposers.baselines.known_phases import Lookup
from inverse.proposers.baselines.lookup import LookupRow
from inverse.proposers.baselines.ordered_cells import Ordering
from inverse.reference import Facts, KnownMaterials
from inverse.reference.signatures import Signature
from surrogates.physics.properties import (
    BAND_GAP,
    BULK_MODULUS,
    DENSITY,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    HARDNESS,
    PROPERTIES,
    SHEAR_MODULUS,
    VOLUME,
)


def config(targets: dict[str, Any], **constraints: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({"targets": targets, "constraints": constraints})


def mixture(**values: float) -> Ordering:
    return Ordering("TiVC2", {"TiC": 0.25, "VC": 0.75}, "VC", "V", 2, 4, values, False)


@pytest.mark.parametrize(
    ("target", "value", "margin"),
    [
        (Target(BULK_MODULUS, minimum=200.0), 300.0, 0.5),
        (Target(BULK_MODULUS, maximum=400.0), 300.0, 0.25),
        (Target(BULK_MODULUS, minimum=200.0, maximum=400.0), 220.0, 0.1),
        (Target(BULK_MODULUS, near=300.0, tolerance=50.0), 310.0, 0.8),
        (Target(BULK_MODULUS, minimum=0.0), 0.0, -1.0),
    ],
)
def test_the_margin_of_an_ordering(target: Target, value: float, margin: float) -> None:
    assert orderings._margin(mixture(bulk_modulus_vrh=value), [target]) == pytest.approx(margin)


@pytest.mark.parametrize(("total", "n_parts", "n_ways"), [(5, 1, 1), (5, 2, 4), (6, 3, 10), (2, 3, 0)])
def test_every_division_of_sites_is_tried_once(total: int, n_parts: int, n_ways: int) -> None:
    ways = list(orderings._compositions(total, n_parts))
    assert len(ways) == len(set(ways)) == n_ways
    assert all(sum(way) == total and min(way) > 0 and len(way) == n_parts for way in ways)


def test_the_host_is_the_computed_cell_else_the_densest() -> None:
    small, large, dense = (
        Signature("225|4 -3mm C|4 -3mm Ti", 225, 10.0),
        Signature("225|4 -3mm C|4 -3mm Ti|8 -43m H", 225, 8.0),
        Signature("221|1 m-3m C|1 m-3m Ti", 221, 9.0),
    )
    assert orderings._smallest([large, small, dense], 2) == dense
    assert orderings._smallest([large, small], 2) == small
    assert orderings._smallest([small, dense], 7) == dense
    assert orderings._smallest([], 2) is None


def test_energies_of_mixtures_are_means_and_what_is_unknown_is_said() -> None:
    formation = {"TiC": -0.8, "VC": -0.4}
    above = {"TiC": 0.08, "VC": -0.5, "NbC": None}
    facts: Any = SimpleNamespace(
        formation_energy_of=lambda c: formation.get(c.reduced_formula),
        energy_above_hull_of=lambda c: above.get(c.reduced_formula),
    )
    mixer = orderings._EnergyMixer(facts)
    assert mixer.mixed({"TiC": 0.25, "VC": 0.75}, "formation_energy_per_atom") == pytest.approx(-0.5)
    assert mixer.mixed({"TiC": 0.5, "NbC": 0.5}, "formation_energy_per_atom") is None
    assert mixer.mixed({"TiC": 0.25, "VC": 0.75}, "energy_above_hull") == pytest.approx(0.02)
    assert mixer.mixed({"TiC": 0.5, "NbC": 0.5}, "energy_above_hull") == pytest.approx(0.04)
    hull = Target(ENERGY_ABOVE_HULL, minimum=0.05, maximum=0.1)
    judged = orderings._with_energies(mixture(), [hull], mixer)
    assert judged is not None, "mixed below, it may lie above all the same"
    assert judged.values == {"energy_above_hull": 0.02}
    assert orderings._with_energies(mixture(), [Target(ENERGY_ABOVE_HULL, maximum=0.01)], mixer) is None
    low = Target(FORMATION_ENERGY, minimum=-0.3)
    assert orderings._with_energies(mixture(), [low], mixer) is None


def test_facts_are_those_of_the_tables() -> None:
    facts, known = Facts.packaged(), KnownMaterials.packaged()
    assert lookup._fact("WC", FORMATION_ENERGY, facts, known) == facts.formation_energy_of("WC")
    assert lookup._fact("WC", ENERGY_ABOVE_HULL, facts, known) == facts.energy_above_hull_of("WC")
    assert lookup._fact("BeO", BAND_GAP, facts, known) == facts.band_gap_of("BeO")
    assert facts.formation_energy_of("WC") is not None
    volume = lookup._fact("WC", VOLUME, facts, known)
    assert volume == min(s.volume_per_atom for s in known.signatures_of("WC"))
    density = lookup._fact("WC", DENSITY, facts, known)
    assert volume is not None
    assert density == pytest.approx((183.84 + 12.011) / 2 * 1.66054 / volume, rel=1e-4)
    assert lookup._fact("WC", HARDNESS, facts, known) is None
    cost, risk = PROPERTIES["elemental_cost"], PROPERTIES["supply_risk"]
    assert lookup._fact("WC", cost, facts, known) == pytest.approx(33.14, abs=0.01)
    assert lookup._fact("TiH2", risk, facts, known) is None, "hydrogen has no reserve index"
    assert lookup._fact("Xe7W5", DENSITY, facts, known) is None


def test_values_of_a_row_are_complete_or_there_is_no_row() -> None:
    facts, known = Facts.packaged(), KnownMaterials.packaged()
    moduli = lookup.moduli_values(400.0, 280.0)
    heavy = [Target(DENSITY, minimum=10.0), Target(BULK_MODULUS, minimum=300.0)]
    found = lookup.tabulated_values("WC", moduli, heavy, facts, known)
    assert found is not None
    assert {"bulk_modulus_vrh", "shear_modulus_vrh", "density"} <= set(found)
    assert found["density"] > 10
    assert found["bulk_modulus_vrh"] == 400.0
    light = [Target(DENSITY, maximum=10.0)]
    assert lookup.tabulated_values("WC", moduli, light, facts, known) is None


def test_records_name_the_best_twenty() -> None:
    rows = [LookupRow(f"W{k}C", {"density": float(k)}, 2, "test") for k in range(1, 26)]
    record = lookup.baseline_record(lookup.Survey(tuple(rows), 99), ["toughness"])
    assert (record["n_hits"], record["n_considered"], record["n_started"]) == (25, 99, 0)
    assert [entry["formula"] for entry in record["best"]] == [row.formula for row in rows[:20]]
    assert record["unchecked"] == ["toughness"]
    mixed = orderings.baseline_record(orderings.Survey((mixture(bulk_modulus_vrh=321.98765),) * 25))
    assert (mixed["n_hits"], len(mixed["best"]), mixed["n_started"]) == (25, 20, 0)
    assert mixed["best"][0]["values"] == {"bulk_modulus_vrh": 322.0}
    assert mixed["best"][0]["note"] == "TiC + VC"


CARBIDES = {"only": ["Ti", "V", "Nb", "Ta", "W", "C"]}


@pytest.mark.parametrize("n_atoms", [4, 6])
def test_cells_of_exactly_the_size_allowed_are_ordered(n_atoms: int) -> None:
    wanted = {"bulk_modulus_vrh": {"min": 200}, "shear_modulus_vrh": {"min": 100}}
    rows = orderings.orderings(config(wanted, elements=CARBIDES, n_atoms={"min": n_atoms, "max": n_atoms}))
    assert rows
    assert {row.n_atoms for row in rows} == {n_atoms}


def test_mixed_values_are_between_those_of_the_end_members_and_the_host_has_most() -> None:
    facts = Facts.packaged()
    wanted = {"bulk_modulus_vrh": {"min": 250}, "volume_per_atom": {"max": 12}}
    rows = orderings.orderings(config(wanted, elements=CARBIDES, n_atoms={"max": 8}), facts)
    assert len(rows) > 3
    margins = []
    for row in rows:
        assert sum(row.end_members.values()) == pytest.approx(1.0)
        assert row.end_members[row.host] == max(row.end_members.values())
        assert row.values["bulk_modulus_vrh"] >= 250
        assert row.values["volume_per_atom"] <= 12
        targets = [Target(BULK_MODULUS, minimum=250.0), Target(VOLUME, maximum=12.0)]
        margins.append(orderings._margin(row, targets))
    assert margins == sorted(margins, reverse=True)
    assert len({row.formula for row in rows}) == len(rows)
    assert not orderings.orderings(config({"density": {"min": 5}}, elements=CARBIDES), facts), (
        "no moduli asked"
    )


def test_textbook_answers_come_as_the_textbook_has_them() -> None:
    """Those with most carried structures first, not those with the best margin."""
    hard = {"bulk_modulus_vrh": {"min": 300}}
    made = Lookup(config(hard, n_atoms={"max": 8}), best_known_first=True)
    counts = [len(made.known.signatures_of(row.formula)) for row in made._rows()]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    plain = Lookup(config(hard, n_atoms={"max": 8}))
    assert [r.formula for r in plain._rows()] == [r.formula for r in lookup.lookup(plain.config)]
    assert {r.formula for r in plain._rows()} == {r.formula for r in made._rows()}


def test_the_best_margin_is_looked_up_first() -> None:
    rows = lookup.lookup(config({"bulk_modulus_vrh": {"min": 300}}, n_atoms={"max": 8}))
    over = [row.values["bulk_modulus_vrh"] for row in rows]
    assert over == sorted(over, reverse=True)
    assert over[0] > over[-1] >= 300


def test_without_moduli_few_are_looked_into_and_the_simple_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MAX_HULLS", 12)
    asked: list[str] = []
    values = lookup.tabulated_values

    def counted(formula: str, *rest: Any) -> Any:
        asked.append(formula)
        return values(formula, *rest)

    monkeypatch.setattr(lookup, "tabulated_values", counted)
    rows = lookup.lookup(config({"band_gap": {"min": 3}}, n_atoms={"max": 8}))
    assert len(asked) == 12
    assert {row.formula for row in rows} <= set(asked)
    asked.clear()
    lookup.lookup(config({"bulk_modulus_vrh": {"min": 350}}, n_atoms={"max": 8}))
    assert len(asked) > 12, "moduli are facts that cost nothing"


def test_moduli_are_asked_for_by_what_follows_from_them_too() -> None:
    assert lookup.asks_for_moduli([Target(SHEAR_MODULUS, minimum=1.0)])
    assert not lookup.asks_for_moduli([Target(DENSITY, minimum=1.0)])
    assert lookup.asks_for_moduli([Target(HARDNESS, minimum=1.0)])


def test_parts_that_cannot_meet_a_target_leave_the_others_of_their_family() -> None:
    """Two of three members are too soft together; each of them is stiff enough with the third."""

    def member(element: str, bulk: float) -> Any:
        moduli: Any = SimpleNamespace(
            formula=f"{element}C", bulk_modulus_vrh=bulk, shear_modulus_vrh=bulk / 2
        )
        return orderings._Member(element, moduli, Signature(f"225|4 -3mm C|4 -3mm {element}", 225, 10.0), 1)

    known: Any = SimpleNamespace(is_known_formula=lambda formula: False)
    members = {e: member(e, bulk) for e, bulk in (("Nb", 250.0), ("Ta", 260.0), ("V", 400.0))}
    wanted = [Target(BULK_MODULUS, minimum=300.0)]
    cells = config({"bulk_modulus_vrh": {"min": 300}}, n_atoms={"max": 4})
    found = list(orderings._mixtures(members, cells, wanted, known))
    assert {tuple(sorted(o.end_members)) for o in found} == {("NbC", "VC"), ("TaC", "VC")}
    assert all(o.values["bulk_modulus_vrh"] >= 300 for o in found)
    larger = config({"bulk_modulus_vrh": {"min": 300}}, n_atoms={"max": 6})
    found = list(orderings._mixtures(members, larger, wanted, known))
    assert ("NbC", "TaC", "VC") in {tuple(sorted(o.end_members)) for o in found}


def test_orderings_meet_what_their_composition_decides() -> None:
    cost = PROPERTIES["elemental_cost"]
    rows = [
        replace(mixture(bulk_modulus_vrh=300.0), formula=formula) for formula in ("TiVC2", "TiWC2", "PaWC2")
    ]
    kept = orderings._with_exact(rows, [Target(cost, maximum=30.0)])
    assert [row.formula for row in kept] == ["TiWC2"], "vanadium is dear, protactinium has no price"
    masses = {"Ti": 47.867, "W": 183.84, "C": 24.0214}
    by_hand = (47.867 * 11.1 + 183.84 * 35.3 + 24.0214 * 0.122) / sum(masses.values())
    assert kept[0].values["elemental_cost"] == pytest.approx(by_hand, rel=1e-4)
    assert kept[0].values["bulk_modulus_vrh"] == 300.0
    stiff = {"bulk_modulus_vrh": {"min": 300}, "elemental_cost": {"max": 50}, "band_gap": {"max": 1}}
    assert orderings.unchecked(config(stiff)) == ("band_gap",)
