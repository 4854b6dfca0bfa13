"""Formation energies on the reference's scale from a potential's total energies.

Formation energy = energy per atom - sum of coefficient * fraction over the elements, plus terms for
transition metals in oxides and fluorides (DFT+U and anion corrections of the Materials Project) and for
anions. The coefficients were fitted robustly to static energies of DFT cells; cross-validated errors stand
beside them.
"""

import json
import math
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pymatgen.core import Element, Structure

from inverse.failures import CrystalFailureError
from inverse.types import Failure
from surrogates.errors import DataError, UnknownNameError, UnsupportedElementError
from surrogates.protocol import Z90

_FILE = Path(__file__).resolve().parent / "energy_correction.json"
_ANIONS = frozenset(["F", "O", "Cl", "N", "Br", "I", "S", "Se", "Te", "H", "Sb", "Si"])
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


def corrected_potentials() -> tuple[str, ...]:
    """Return the potentials whose energies can be put on the reference's scale."""
    return tuple(_fits())


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

    Raises:
        UnknownNameError: no element energies for this potential; names those that have.
        UnsupportedElementError: an element that was never fitted; names it.
        CrystalFailureError: the energy is not finite.
    """
    if not math.isfinite(energy):
        raise CrystalFailureError(f"{potential} gives the energy {energy}", Failure.POTENTIAL)
    amounts = structure.composition.element_composition.get_el_amt_dict()
    coefficients = _coefficients(potential)
    missing = [e for e in amounts if e not in coefficients]
    if missing:
        raise UnsupportedElementError(
            f"element {', '.join(sorted(missing))} has no reference energy for {potential}; "
            f"{len(supported_elements(potential))} elements have one"
        )
    features = correction_features(amounts)
    return energy / len(structure) - sum(coefficients.get(n, 0.0) * x for n, x in features.items())


def formation_energy_error(potential: str) -> float:
    """Return the cross-validated standard error of a formation energy, eV/atom (90th percentile / 1.645).

    That of the WBM crystals, which the potentials did not learn from, as they have not of a candidate.

    Raises:
        UnknownNameError: no such potential was fitted.
    """
    _coefficients(potential)
    return float(_fits()[potential]["cross_validation"]["p90_abs_wbm"]) / Z90
