"""Formation energies on the reference's scale from a potential's total energies.

Formation energy = energy per atom - sum of coefficient * fraction over the elements, plus terms for
transition metals in oxides and fluorides (DFT+U and anion corrections of the Materials Project) and for
anions. The coefficients were fitted robustly to static energies of DFT cells; cross-validated errors stand
beside them.

The fit sees formulas, and knows an anion as the most electronegative element of a compound. What the scale of
the reference (MP2020) tells apart beyond that is put in afterwards, for potentials that learned uncorrected
energies: oxide, peroxide, superoxide, ozonide, elemental oxygen; elements, which have no correction at all;
anions beside a more electronegative one (TaON), and cations that are anions elsewhere (the Br of a bromate).

References:
    Wang et al., Sci. Rep. 11, 15496 (2021), doi:10.1038/s41598-021-94550-5
"""

import json
import math
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pymatgen.core import Composition, Element, Structure

from inverse.candidates.failures import CrystalFailureError
from inverse.candidates.types import Failure
from inverse.potentials.loading import energy_scale
from surrogates.errors import DataError, UnknownNameError, UnsupportedElementError
from surrogates.protocol import Z90

_FILE = Path(__file__).resolve().parent / "energy_correction.json"
_ANIONS = frozenset(["F", "O", "Cl", "N", "Br", "I", "S", "Se", "Te", "H", "Sb", "Si"])
OXYGEN_CORRECTIONS: Mapping[str, float] = MappingProxyType(
    {"oxide": -0.687, "hydroxide": -0.687, "peroxide": -0.465, "superoxide": -0.161, "ozonide": 0.0}
)
"""eV per O by what pymatgen's `oxide_type` calls it, of MP2020; a test holds them against pymatgen's."""

ANION_CORRECTIONS: Mapping[str, float] = MappingProxyType(
    {"S": -0.503, "F": -0.462, "Cl": -0.614, "Br": -0.534, "I": -0.379, "N": -0.361}
    | {"Se": -0.472, "Si": 0.071, "Sb": -0.192, "Te": -0.422, "H": -0.179}
)
"""eV per atom of the anion, of MP2020."""

_LEARNED_UNCORRECTED = frozenset({"7net-l3i5", "7net-0"})
"""Potentials trained on energies without anion corrections; chgnet's labels carry them."""

_BOND_TOLERANCE = 1.05
"""Of O-O bonds, as MP2020 takes it."""

_MOST_SITES = -20
"""Formulas are scaled to that many atoms before oxidation states are guessed, as MP2020 does."""

_CORRECTED_METALS = frozenset(["V", "Cr", "Mn", "Fe", "Co", "Ni", "Mo", "W", "Ti", "Cu"])


def correction_features(composition: Mapping[str, float]) -> dict[str, float]:
    """Return the features of a composition: name -> atomic fraction.

    An element's own name; "anion X" when X is the most electronegative element of a compound; "M with X"
    for a transition metal in an oxide or fluoride.

    >>> correction_features({"Fe": 2, "O": 3})
    {'Fe': 0.4, 'O': 0.6, 'anion O': 0.6, 'Fe with O': 0.4}
    """
    total = sum(composition.values())
    fractions = {e: n / total for e, n in composition.items()}
    features = dict(fractions)
    anion = max(fractions, key=_electronegativity)
    if len(fractions) > 1 and anion in _ANIONS:
        features[f"anion {anion}"] = fractions[anion]
        if anion in ("O", "F"):
            features |= {f"{e} with {anion}": x for e, x in fractions.items() if e in _CORRECTED_METALS}
    return features


@cache
def _electronegativity(symbol: str) -> float:
    if symbol in ("He", "Ne", "Ar"):
        return 0.0
    value = Element(symbol).X
    return 0.0 if math.isnan(value) else float(value)


@lru_cache(maxsize=1)
def _fits() -> Mapping[str, Any]:
    try:
        return json.loads(_FILE.read_text())["potentials"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"element energies {_FILE.name} cannot be read: {error}") from None


def has_scale(potential: str) -> bool:
    """Return whether a potential's energies give formation energies: fitted here, or as it says itself."""
    return potential in _fits() or energy_scale(potential) is not None


def supported_elements(potential: str) -> frozenset[str]:
    """Return the elements with a fitted energy.

    Raises:
        UnknownNameError: no such potential was fitted.
    """
    return frozenset(n for n in _coefficients(potential) if " " not in n)


def fitted_formulas(potential: str) -> frozenset[str]:
    """Return the reduced formulas that a potential's coefficients were fitted to.

    Raises:
        UnknownNameError: no such potential was fitted.
    """
    _coefficients(potential)
    return frozenset(_fits()[potential]["formulas"].split())


def _coefficients(potential: str) -> Mapping[str, float]:
    if potential not in _fits():
        raise UnknownNameError.among("potential with element energies", potential, _fits())
    coefficients: Mapping[str, float] = _fits()[potential]["coefficients"]
    return coefficients


def formation_energy(structure: Structure, energy: float, potential: str) -> float:
    """Return the formation energy per atom on the scale of the reference hull.

    Args:
        structure: what the energy belongs to.
        energy: the potential's total energy of the whole cell, eV.
        potential: which one ("7net-l3i5").

    A potential of others that says its own element energies is taken by its word: nothing was fitted.

    Raises:
        UnknownNameError: no element energies for this potential; names those that have.
        UnsupportedElementError: an element that was never fitted; names it.
        CrystalFailureError: the energy is not finite.
    """
    if not math.isfinite(energy):
        raise CrystalFailureError(f"{potential} gives the energy {energy}", Failure.POTENTIAL)
    amounts = structure.composition.element_composition.get_el_amt_dict()
    own = None if potential in _fits() else energy_scale(potential)
    coefficients = _coefficients(potential) if own is None else own.element_energies
    missing = [e for e in amounts if e not in coefficients]
    if missing:
        raise UnsupportedElementError(
            f"element {', '.join(sorted(missing))} has no reference energy for {potential}; "
            f"{sum(' ' not in e for e in coefficients)} elements have one"
        )
    features = correction_features(amounts)
    fitted = energy / len(structure) - sum(coefficients.get(n, 0.0) * x for n, x in features.items())
    return fitted + (_beyond_the_fit(structure, coefficients) if potential in _LEARNED_UNCORRECTED else 0.0)


def _beyond_the_fit(structure: Structure, coefficients: Mapping[str, float]) -> float:
    """Return what the reference's scale adds to the fitted formation energy, eV/atom; 0 for most crystals.

    The fit cannot tell an element's own energy from its correction as an anion where it saw the element as
    little else: only their sum is sure. Less the correction of MP2020 it is the element's own.
    """
    amounts = structure.composition.element_composition.get_el_amt_dict()
    total, anion = sum(amounts.values()), max(amounts, key=_electronegativity)
    applied = anion_corrections(structure)
    added = 0.0
    for element, amount in amounts.items():
        usual = OXYGEN_CORRECTIONS["oxide"] if element == "O" else ANION_CORRECTIONS.get(element)
        if usual is None:
            continue
        own = coefficients.get(f"anion {element}", 0.0)
        is_fitted_anion = element == anion and len(amounts) > 1
        added += amount / total * (applied.get(element, 0.0) - usual - (0.0 if is_fitted_anion else own))
    return added


def anion_corrections(structure: Structure) -> dict[str, float]:
    """Return what MP2020 adds to the energy per atom of each anion, eV; {} for an element.

    An anion is what has a negative oxidation state; where none can be guessed, the most electronegative
    element. Oxygen is corrected by its bonds; sulfur always, in sulfates, too, as in rows of the Materials
    Project.

    >>> from pymatgen.core import Lattice
    >>> salt = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> anion_corrections(Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], salt))
    {'O': -0.687}
    """
    from pymatgen.analysis.structure_analyzer import oxide_type

    plain = structure.copy()
    plain.remove_oxidation_states()
    elements = sorted(plain.composition.get_el_amt_dict(), key=_electronegativity)
    if len(elements) == 1:
        return {}
    found = {}
    if "O" in elements:
        kind = str(oxide_type(plain, _BOND_TOLERANCE))
        found["O"] = OXYGEN_CORRECTIONS.get(kind, OXYGEN_CORRECTIONS["oxide"])
    if "S" in elements:
        found["S"] = ANION_CORRECTIONS["S"]
    others = [e for e in elements if e in ANION_CORRECTIONS and e != "S"]
    states: Mapping[str, float] = {}
    if others and others != elements[-1:]:  # guessing takes a while: only where there is a choice
        states = _oxidation_states(plain.composition.reduced_formula)
    for element in others:
        if element == elements[-1] or states.get(element, 0.0) < 0:
            found[element] = ANION_CORRECTIONS[element]
    return found


@lru_cache(maxsize=10_000)
def _oxidation_states(formula: str) -> Mapping[str, float]:
    """Return the likeliest mean oxidation state of each element; {} where none balances."""
    try:
        guesses = Composition(formula).oxi_state_guesses(max_sites=_MOST_SITES)
    except ValueError:
        return {}
    return dict(guesses[0]) if guesses else {}


def formation_energy_error(potential: str) -> float:
    """Return the cross-validated standard error of a formation energy, eV/atom (90th percentile / 1.645).

    That of the WBM crystals, which the potentials did not learn from, as they have not of a candidate.

    Raises:
        UnknownNameError: no such potential was fitted.
    """
    if potential not in _fits() and (own := energy_scale(potential)) is not None:
        return own.formation_energy_error
    _coefficients(potential)
    return float(_fits()[potential]["cross_validation"]["p90_abs_wbm"]) / Z90
