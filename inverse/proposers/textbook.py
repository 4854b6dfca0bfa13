"""Textbook answers: known phases whose tabulated values meet what decides a hit, the best known first."""

from collections import Counter

from pymatgen.core import Composition

from inverse.config import CampaignConfig
from inverse.objective import Objective
from inverse.proposers.lookup import TABULATED, moduli_values, tabulated_values
from inverse.reference.facts import Facts
from inverse.reference.known import ORIGINS, KnownMaterials
from inverse.screening import Screen

MOST_LOOKED_INTO = 2000
"""Formulas whose facts are looked up, those with most carried structures first."""

MOST_ANSWERS = 64
"""Formulas named."""


def textbook_formulas(
    config: CampaignConfig, facts: Facts | None = None, known: KnownMaterials | None = None
) -> list[str]:
    """Return known formulas that the config allows and whose DFT facts meet what decides a hit.

    How well known a formula is, is told by the number of carried structures: polymorphs, and sources that
    have it. Empty where the wish is for novelty, or where no table knows of any target.
    """
    deciding = [t for t in Objective.of(config).deciding if t.property.name in TABULATED]
    if config.constraints.novelty != "any" or not any(t in config.targets for t in deciding):
        return []
    facts, known = facts or Facts.packaged(), known or KnownMaterials.packaged()
    screen, allowed = Screen(config.constraints), config.constraints.allowed_elements()
    found: list[str] = []
    n_looked_into = 0
    for formula in _best_known(known):
        if len(found) == MOST_ANSWERS or n_looked_into == MOST_LOOKED_INTO:
            break
        composition = Composition(formula)
        if not {e.symbol for e in composition.elements} <= allowed or screen.composition_breach(composition):
            continue
        n_looked_into += 1
        entries = facts.moduli_of(formula)
        values = [moduli_values(e.bulk_modulus_vrh, e.shear_modulus_vrh) for e in entries]
        if any(
            all(t.is_met(own[t.property.name]) for t in deciding if t.property.name in own)
            and tabulated_values(formula, own, deciding, facts, known) is not None
            for own in values or [{}]
        ):
            found.append(formula)
    return found


def _best_known(known: KnownMaterials) -> list[str]:
    computed = ORIGINS.index("WBM (computed, by substitution)")
    formulas = zip(known.formulas.to_pylist(), known.origins.tolist(), strict=True)  # type: ignore[attr-defined]
    counts = Counter(formula for formula, origin in formulas if origin != computed)
    return sorted(counts, key=lambda formula: (-counts[formula], formula))
