"""The screen's reasons one by one, and against a second implementation of the rules."""

import random
from types import SimpleNamespace

import pytest
from pymatgen.core import Lattice, Structure

from inverse.benchmarks.constraints import run_constraints
from inverse.benchmarks.rule_referee import broken_rules
from inverse.candidates.types import Breach, HitClass, Rule
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.screening import Screen, primitive_size
from inverse.reference import HitClassifier, KnownMaterials


class Known:
    """WC is known with a structure, TiC by formula only."""

    def is_known_formula(self, formula: str) -> bool:
        return formula in ("WC", "TiC")

    def has_structure(self, structure: Structure) -> bool:
        return structure.composition.reduced_formula == "WC" and len(structure) == 2

    def signatures_of(self, formula: str) -> list[str]:
        return ["187 ..."] if formula == "WC" else []


def screen(known: Known | None = None, classifier: object = None, **rules: object) -> Screen:
    data = {"targets": {"bulk_modulus_vrh": {"min": 100}}, "constraints": rules}
    return Screen(CampaignConfig.from_mapping(data).constraints, known, classifier)  # type: ignore[arg-type]


def said(breach: Breach | None) -> str:
    return "" if breach is None else str(breach)


def rocksalt(metal: str = "Ti", anion: str = "C", a: float = 4.33) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


WC = Structure(Lattice.hexagonal(2.92, 2.85), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({}, ""),
        ({"elements": {"exclude": ["Ti"]}}, "elements.exclude: Ti is excluded"),
        ({"elements": {"exclude_groups": ["earth_abundant"]}}, "elements.exclude: C, Ti is excluded"),
        ({"elements": {"only": ["Ti", "N"]}}, "elements.only: C is not among N, Ti"),
        ({"elements": {"include_all": ["Ti", "N"]}}, "elements.include_all: N is missing"),
        ({"elements": {"include_any": ["B", "N"]}}, "elements.include_any: none of B, N"),
        ({"chemical_systems": ["Ti-C-N"]}, "chemical_systems: C-Ti is not asked for"),
        ({"chemical_systems": ["Ti-C-N"], "subsystems": True}, ""),
        ({"n_elements": [3, 4]}, "n_elements: 2 is not within 3 to 4"),
        ({"n_atoms": {"min": 3}}, "n_atoms: 2 in the primitive cell is not within 3 to 200"),
        ({"n_atoms": {"max": 2}}, ""),
    ],
)
def test_rules_of_the_config(rules: dict[str, object], reason: str) -> None:
    assert said(screen(**rules).breach(rocksalt())) == reason


def test_novelty() -> None:
    known = Known()
    assert "known composition" in said(screen(known, novelty="new_composition").breach(rocksalt()))
    assert "no structure of it is carried" in said(screen(known, novelty="new_structure").breach(rocksalt()))
    assert "this structure of WC is known" in said(screen(known, novelty="new_structure").breach(WC))
    assert screen(known, novelty="new_composition").breach(rocksalt("Zr", a=4.7)) is None


def test_derivatives() -> None:
    """A known formula is no derivative of anything, whatever it looks like."""
    classifier = SimpleNamespace(derivative_of=lambda structure: ("TiN", False))
    unwanted = screen(classifier=classifier, derivatives=False).breach(WC)
    assert unwanted == Breach(Rule.DERIVATIVES, "an ordering of TiN")
    assert screen(classifier=classifier).breach(WC) is None
    assert screen(Known(), classifier, derivatives=False).breach(WC) is None
    none = SimpleNamespace(derivative_of=lambda structure: ("", False))
    assert screen(classifier=none, derivatives=False).breach(WC) is None


def test_the_screen_and_the_classes_agree_on_what_a_derivative_is() -> None:
    """An ordering of rock salt of four elements, one of three that is tabulated, and what is none."""
    packaged = KnownMaterials.packaged()
    classifier = HitClassifier(packaged)
    own = screen(packaged, classifier, derivatives=False)
    cell, sites = Lattice.tetragonal(3.18, 4.5), [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0, 0, 0.5]]
    layered = Structure(cell, ["Ti", "Nb", "C", "N"], sites)
    carbide = Structure(cell, ["Ti", "Zr", "C", "C"], sites)
    others = [WC, rocksalt("Zr", a=4.7), rocksalt("U", a=5.0)]
    found = [own.breach(s) for s in (layered, carbide, *others)]
    is_out = [b is not None and b.rule is Rule.DERIVATIVES for b in found]
    assert is_out == [
        classifier.classify(s).hit_class is HitClass.DERIVATIVE for s in (layered, carbide, *others)
    ]
    assert is_out[:2] == [True, False]
    assert classifier.derivative_of(carbide)[0] == "TiC"


@pytest.mark.parametrize(
    ("structure", "word"),
    [
        (rocksalt(a=2.6), "volume"),
        (Structure(Lattice.cubic(3.5), ["Ti", "C"], [[0, 0, 0], [0.35, 0, 0]]), "distance"),
        (rocksalt(a=40.0), "volume"),
        (Structure(Lattice.cubic(2.1), ["Os"], [[0, 0, 0]]), "density"),
        (Structure(Lattice.cubic(4), ["W", "C"], [[0, 0, 0], [0, 0, float("nan")]]), "not a number"),
        (Structure(Lattice.cubic(4), [{"W": 0.5, "Ta": 0.5}], [[0, 0, 0]]), "partial occupancy"),
        (
            Structure(Lattice.tetragonal(2.2, 9.0), ["W", "W"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
            "distance|isolated",
        ),
        (Structure(Lattice.orthorhombic(0.2, 0.2, 900), ["W"], [[0, 0, 0]]), "lattice"),
    ],
)
def test_unphysical_structures(structure: Structure, word: str) -> None:
    reason = said(screen().breach(structure))
    assert any(option in reason for option in word.split("|")), reason


def test_relaxed_structures_answer_to_the_config_only() -> None:
    squeezed = rocksalt(a=3.2)
    assert screen().relaxed_breach(squeezed) is None
    broken = screen(n_elements=3).relaxed_breach(squeezed)
    assert broken is not None
    assert broken.rule is Rule.N_ELEMENTS


def test_primitive_size_sees_through_supercells() -> None:
    random.seed(1)
    assert primitive_size(rocksalt()) == 2
    assert primitive_size(rocksalt() * [2, 1, 1]) == 2
    for scaling in ([[1, 1, 0], [0, 1, 0], [0, 0, 3]], [[2, 0, 0], [1, 1, 0], [0, 0, 1]]):
        assert primitive_size(WC.copy().make_supercell(scaling, in_place=False)) == 2
    shaken = (WC * [2, 1, 1]).perturb(0.2, min_distance=None, seed=1)
    assert primitive_size(shaken) == 4


def test_the_referee_sees_a_violation_of_each_rule() -> None:
    cases = {
        "exclude": {"elements": {"exclude_groups": ["earth_abundant"]}},
        "only": {"elements": {"only": ["Ti", "N"]}},
        "include_all": {"elements": {"include_all": ["W"]}},
        "include_any": {"elements": {"include_any": ["W", "B"]}},
        "chemical_systems": {"chemical_systems": ["C-N-Ti"]},
        "n_elements": {"n_elements": [3, 4]},
        "n_atoms": {"n_atoms": {"min": 3}},
        "novelty": {"novelty": "new_composition"},
    }
    for name, rules in cases.items():
        assert broken_rules(rocksalt(), rules, Known()) == [name]
    assert broken_rules(rocksalt(a=3.2), {}) == ["distance"]


def test_nothing_that_passes_breaks_a_rule() -> None:
    result = run_constraints(60, n_sets=15, seed=3, known=Known())
    assert result["violations_by_rule"] == {}
    assert result["screened"] >= 60
    assert len(result["rejected_by"]) >= 5
    assert sum(result["rejected_although_referee_would_not"].values()) <= 2


@pytest.mark.parametrize(
    ("targets", "metal", "reason"),
    [
        ({"elemental_cost": {"max": 5}}, "Ti", "target on the composition: elemental_cost 8.898 is above 5"),
        (
            {"elemental_cost": {"min": 50}},
            "Ti",
            "target on the composition: elemental_cost 8.898 is below 50",
        ),
        ({"elemental_cost": {"max": 50}}, "Ti", ""),
        ({"elemental_cost": {"minimise": True}}, "Ti", ""),
        (
            {"elemental_cost": {"minimise": True}},
            "Pa",
            "target on the composition: elemental_cost: Pa has no",
        ),
        ({"toxic_fraction": {"max": 0.0}}, "Ti", ""),
        ({"bulk_modulus_vrh": {"min": 1}}, "Ti", ""),
    ],
)
def test_what_the_composition_decides_is_screened(targets: dict, metal: str, reason: str) -> None:
    config = CampaignConfig.from_mapping({"targets": targets})
    rules = Screen(config.constraints, targets=config.targets)
    found = said(rules.breach(rocksalt(metal)))
    assert found.startswith(reason) if reason else found == ""
    assert rules.relaxed_breach(rocksalt(metal)) is None, "then the verdict says what it misses"
