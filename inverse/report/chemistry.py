"""What the elements of a crystal mean for whoever makes it: oxidation states, cost, supply, toxicity."""

import math
from collections.abc import Mapping
from functools import lru_cache

from pymatgen.core import Composition, Element, Structure

from inverse.candidates.derived import geometric_value
from inverse.report.wording import label, number
from surrogates.crystals.formulas import NON_METALS
from surrogates.physics.properties import Basis, of_basis

NO_BALANCE = "no whole numbers balance the charge: metallic or covalent bonding"
ALL_METAL = "metals only: none"


@lru_cache(maxsize=4096)
def oxidation_text(formula: str) -> str:
    """Return the usual oxidation states that balance the charge of a formula, metals first.

    Electrons go from the less to the more electronegative, so borides of tungsten have none.

    >>> oxidation_text("TiO2"), oxidation_text("W3B4")
    ('Ti 4+, O 2−', 'no whole numbers balance the charge: metallic or covalent bonding')
    """
    composition = Composition(formula)
    symbols = [element.symbol for element in composition.elements]
    if len(symbols) > 1 and not set(symbols) & NON_METALS:
        return ALL_METAL
    guesses = composition.oxi_state_guesses(max_sites=-1)
    whole = next((dict(g) for g in guesses if _is_likely(g)), None)
    if not whole or len(symbols) == 1:
        return NO_BALANCE if len(symbols) > 1 else "element: 0"
    ordered = sorted(whole, key=lambda symbol: (symbol in NON_METALS, symbol))
    return ", ".join(f"{symbol} {_charge(whole[symbol])}" for symbol in ordered)


def _is_likely(states: Mapping[str, float]) -> bool:
    """Return whether states are whole numbers, and no cation draws electrons more than an anion does."""
    pull = {symbol: float(Element(symbol).X) for symbol in states}
    gives = [pull[symbol] for symbol, state in states.items() if state > 0]
    takes = [pull[symbol] for symbol, state in states.items() if state < 0]
    whole = all(float(state).is_integer() for state in states.values())
    return whole and (not gives or not takes or max(gives) < min(takes))


def _charge(state: float) -> str:
    size = abs(int(state))
    return "0" if not size else f"{size}{'+' if state > 0 else '−'}"


def resource_values(structure: Structure) -> list[tuple[str, str, str]]:
    """Return label, value with unit, and source of every property that the composition alone decides."""
    found = []
    for prop in of_basis(Basis.OF_COMPOSITION):
        value = geometric_value(structure, prop)
        shown = f"{number(value, prop.name)} {prop.unit}".strip() if math.isfinite(value) else "no value"
        found.append((label(prop.name), shown, prop.level_of_theory))
    return found
