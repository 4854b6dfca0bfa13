import json
from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Composition

from inverse.candidates.types import Candidate, Origin, Target
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.proposers.baselines.baselines import baselines
from inverse.proposers.baselines.known_phases import Lookup
from inverse.proposers.baselines.lookup import lookup
from inverse.proposers.baselines.lookup import unchecked as lookup_unchecked
from inverse.proposers.baselines.ordered_cells import ordered_structures
from inverse.proposers.baselines.orderings import Orderings, orderings
from inverse.proposers.baselines.orderings import unchecked as orderings_unchecked
from inverse.proposers.protocol import Proposer
from inverse.reference import Facts, KnownMaterials
from inverse.reference.skeletons import n_atoms_of
from surrogates.physics.properties import BULK_MODULUS, Property


@pytest.fixture(scope="module")
def quick() -> CampaignConfig:
    return load_config("superhard-quick")


def config(targets: dict, **constraints: object) -> CampaignConfig:
    return CampaignConfig.from_mapping({"targets": targets, "constraints": constraints})


CARBIDES = config(
    {"bulk_modulus_vrh": {"min": 330}, "shear_modulus_vrh": {"min": 200}, "energy_above_hull": {"max": 0.1}},
    elements={"only": ["W", "Mo", "Ta", "C"]},
    n_atoms={"max": 8},
)


def test_every_row_of_the_lookup_keeps_targets_and_constraints(quick):
    rows = lookup(quick)
    assert {"WC", "C", "BN", "MoC"} <= {r.formula for r in rows}
    assert 20 <= len(rows) <= 60
    assert len({r.formula for r in rows}) == len(rows)
    forbidden = {"Os", "Re", "Ir", "Tc"}
    for row in rows:
        assert row.values["bulk_modulus_vrh"] >= 300
        assert row.values["shear_modulus_vrh"] >= 150
        assert row.values["energy_above_hull"] <= 0.1
        assert row.n_atoms <= 8
        assert not forbidden & {e.symbol for e in Composition(row.formula).elements}


def test_lookup_uses_only_facts_that_exist():
    rows = lookup(config({"band_gap": {"min": 5}, "bulk_modulus_vrh": {"min": 200}}))
    assert "BeO" in {r.formula for r in rows}
    assert all(r.values["band_gap"] >= 5 for r in rows)
    light = lookup(config({"density": {"max": 4}, "bulk_modulus_vrh": {"min": 300}}))
    assert "C" in {r.formula for r in light}
    assert "WC" not in {r.formula for r in light}
    hard = lookup(config({"vickers_hardness_chen": {"min": 60}}))
    assert {r.formula for r in hard} >= {"C", "BN"}


def test_lookup_without_moduli_stays_finite():
    rows = lookup(
        config({"formation_energy_per_atom": {"max": -2.9}}, elements={"only": ["Mg", "Al", "O", "Ca"]})
    )
    assert {"CaO", "Al2O3"} <= {r.formula for r in rows}


def test_well_known_insulators_are_looked_into_before_the_limit(monkeypatch):
    """Formulas were looked into by the alphabet: silver's used up the limit, and MgO was never reached."""
    monkeypatch.setattr("inverse.proposers.baselines.lookup.MAX_HULLS", 40)
    some = ["Ag", "Al", "As", "B", "Ca", "Cl", "F", "Mg", "N", "Na", "O", "Si"]
    wanted = config(
        {"band_gap": {"min": 2}, "energy_above_hull": {"max": 0.05}},
        elements={"only": some},
        n_atoms={"max": 6},
    )
    found = [r.formula for r in lookup(wanted)]
    assert {"MgO", "NaCl", "BN"} <= set(found)
    proposals = Lookup(wanted).ask(4, 0, 7)
    assert {p.origin for p in proposals} == {Origin.TEXTBOOK}


def test_orderings_mix_their_end_members_linearly():
    rows = {o.formula: o for o in orderings(CARBIDES)}
    mixed = rows["MoW2C3"]
    facts = Facts.packaged()
    wanted = sum(s * facts.moduli_of(f)[0].bulk_modulus_vrh for f, s in mixed.end_members.items())
    assert mixed.values["bulk_modulus_vrh"] == pytest.approx(wanted)
    assert (mixed.n_cells, mixed.n_atoms, mixed.is_known) == (3, 6, False)
    assert rows["MoWC2"].is_known
    assert all(o.n_atoms <= 8 and o.values["energy_above_hull"] <= 0.1 for o in rows.values())


def test_no_ordering_misses_a_target_that_can_be_worked_out(quick):
    """Crystals of 13 g/cm3 were listed where 6 +- 1 was asked."""
    moduli = {"bulk_modulus_vrh": {"min": 220}, "shear_modulus_vrh": {"min": 150}}
    targets = moduli | {
        "density": {"near": 6, "tolerance": 1},
        "poisson_ratio": {"near": 0.2, "tolerance": 0.05},
        "vickers_hardness_chen": {"min": 18},
        "formation_energy_per_atom": {"max": -0.3},
        "band_gap": {"max": 1.0},
    }
    limits = {"elements": {"only": ["Ti", "V", "Cr", "Mo", "W", "C", "N"]}, "n_atoms": {"max": 8}}
    wanted, facts = config(targets, **limits), Facts.packaged()
    rows, open_rows = orderings(wanted), orderings(config(moduli, **limits))
    assert 0 < len(rows) < len(open_rows)
    assert max(o.values["density"] for o in open_rows) > 10
    for row in rows:
        assert all(t.is_met(row.values[t.property.name]) for t in wanted.targets[:6])
        mixed = sum(s * facts.formation_energy_of(f) for f, s in row.end_members.items())
        assert row.values["formation_energy_per_atom"] == pytest.approx(mixed, abs=1e-4)
        mass = Composition(row.formula).weight / Composition(row.formula).num_atoms
        assert row.values["density"] == pytest.approx(
            mass / row.values["volume_per_atom"] * 1.66054, rel=1e-4
        )
    record = baselines(wanted)
    assert record["orderings"]["unchecked"] == ["band_gap"]
    assert record["lookup"]["unchecked"] == []
    assert all(5 <= row["values"]["density"] <= 7 for row in record["orderings"]["best"])


def test_what_no_table_knows_is_named_and_decides_no_list():
    kappa = Property("kappa", "kappa", "W/m/K", 0.0, 100.0, "user", is_positive=True)
    wanted = SimpleNamespace(
        targets=(Target(kappa, minimum=5.0),),
        constraints=quick_limits(),
        verify=SimpleNamespace(predicted_enough=0.8),
    )
    assert lookup(wanted) == orderings(wanted) == []
    stiff = SimpleNamespace(
        targets=(*wanted.targets, Target(BULK_MODULUS, minimum=380.0)),
        constraints=wanted.constraints,
        verify=wanted.verify,
    )
    assert "WC" in {r.formula for r in lookup(stiff)}
    assert lookup_unchecked(stiff) == orderings_unchecked(stiff) == ("kappa",)


def quick_limits():
    return config({"density": {"max": 1}}, elements={"only": ["W", "C", "Mo"]}).constraints


def test_ordered_crystals_have_the_formula_and_are_distinct():
    known = KnownMaterials.packaged()
    mixed = next(o for o in orderings(CARBIDES) if o.formula == "MoW2C3")
    crystals = ordered_structures(mixed, known)
    assert len(crystals) >= 2
    for crystal in crystals:
        assert crystal.composition.reduced_formula == "MoW2C3"
        assert len(crystal) == 6
        assert crystal.volume / len(crystal) == pytest.approx(10.6, abs=0.5)
        assert crystal.distance_matrix[~np.eye(6, dtype=bool)].min() > 1.9


def test_no_target_on_moduli_means_no_orderings():
    assert orderings(config({"band_gap": {"min": 3}})) == []


@pytest.mark.parametrize("hull", [{}, {"energy_above_hull": {"minimise": True}}])
def test_baselines_call_a_hit_what_the_judges_would(hull):
    """Without a bound on the hull of its own, a config's hits lie within 0.1 eV/atom of it."""
    moduli = {"bulk_modulus_vrh": {"min": 330}, "shear_modulus_vrh": {"min": 200}}
    limits = {"elements": {"only": ["W", "Mo", "Ta", "C"]}, "n_atoms": {"max": 8}}
    open_hull = config(moduli | hull, **limits)
    assert [r.formula for r in lookup(open_hull)] == [r.formula for r in lookup(CARBIDES)]
    assert {o.formula for o in orderings(open_hull)} == {o.formula for o in orderings(CARBIDES)}


@pytest.mark.parametrize("kind", [Lookup, Orderings])
def test_as_proposers_they_are_deterministic_and_keep_the_elements(kind):
    source = kind(CARBIDES)
    assert isinstance(source, Proposer)
    first, again = source.ask(4, 0, 7), kind(CARBIDES).ask(4, 0, 7)
    assert first
    assert [p.structure for p in first] == [p.structure for p in again]
    for proposal in first:
        assert {e.symbol for e in proposal.structure.composition.elements} <= {"W", "Mo", "Ta", "C"}
        assert len(proposal.structure) <= 8
        json.dumps(dict(proposal.history))
    source.tell([])


@pytest.mark.parametrize("kind", [Lookup, Orderings])
def test_shrinking_asks_neither_skip_nor_repeat(kind):
    """A last step asks for fewer; a run that is resumed hears of the finished steps alone."""
    whole = [p.history for p in kind(CARBIDES).ask(10_000, 0, 7)]
    assert len(whole) > 4
    found, told = [], []
    for step, n in enumerate([3, 1, 10_000, 5]):
        source = kind(CARBIDES)
        source.tell(told)
        proposals = source.ask(n, step, 7)
        assert len(proposals) <= n
        assert [p.structure for p in proposals] == [p.structure for p in source.ask(n, step, 7)]
        first = len(told)
        told += [
            Candidate(f"c{first + k:06d}", p.structure, p.proposer, p.seed, p.history, key=p.key)
            for k, p in enumerate(proposals)
        ]
        found += [p.history for p in proposals]
    assert found == whole


def test_the_records_are_what_the_report_prints(quick):
    record = baselines(quick)
    json.dumps(record)
    assert record["lookup"]["basis"] == "dft"
    assert record["orderings"]["basis"] == "predicted"
    assert record["lookup"]["n_hits"] >= 20
    assert record["orderings"]["n_hits"] >= 100
    assert n_atoms_of("187|1 -26m C|1 -26m W") == 2
