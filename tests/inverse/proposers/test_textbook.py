"""Textbook answers are among the proposals where the wish is not for novelty."""

from typing import Any

from inverse.config import CampaignConfig
from inverse.proposers.prototypes import prototypes
from inverse.proposers.substitution import Substitution, SubstitutionSettings
from inverse.proposers.textbook import textbook_formulas
from inverse.types import Origin
from tests.fakes import CONFIG, search_space


def wanted(targets: dict[str, Any], **constraints: Any) -> list[str]:
    return textbook_formulas(
        CampaignConfig.from_mapping({**CONFIG, "targets": targets, "constraints": constraints})
    )


def test_insulators_and_stiff_phases_of_the_textbook_are_named() -> None:
    insulators = wanted({"band_gap": {"min": 2.0}, "energy_above_hull": {"max": 0.05}})
    assert {"MgO", "Al2O3", "BN", "SiO2"} <= set(insulators)
    stiff = wanted({"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}})
    assert {"C", "WC", "BN"} <= set(stiff)
    assert "MgO" not in stiff


def test_a_wish_for_novelty_names_none() -> None:
    assert wanted({"bulk_modulus_vrh": {"min": 300}}, novelty="new_composition") == []


def test_the_substitution_source_proposes_them_in_their_own_types() -> None:
    from dataclasses import replace

    known = prototypes([("WC", "187|1 -26m C|1 -26m W"), ("TiC", "225|4 -3mm C|4 -3mm Ti")], 8, 4)
    own = {"TiN": frozenset({"225|4 -3mm A|4 -3mm B"})}
    space = replace(search_space(CampaignConfig.from_mapping(CONFIG)), textbook=lambda: ["TiN"])
    small = SubstitutionSettings(n_compositions=40, n_structures=80, fewest=10)
    source = Substitution(space, lambda: known, lambda f: own.get(f, frozenset()), small)
    found = source.ask(6, 0, 5)
    answers = [p for p in found if p.origin is Origin.TEXTBOOK]
    assert [p.structure.composition.reduced_formula for p in answers] == ["TiN"]
    assert answers[0].structure.get_space_group_info()[1] == 225
