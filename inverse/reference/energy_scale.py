"""From the scale of older Materials Project calculations to that of the reference, by fitted offsets.

The older corrections (also carried by the WBM set) have none for Br, I, Se, Te and Sb, another one for S, and
other terms for transition metals in oxides and fluorides. The offsets were fitted to 25,536 formulas that
stand on both scales (`experiments/package_data/build_phases.py`), robustly: MAE 0.050 -> 0.013 eV/atom.
"""

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path

from pymatgen.core import Element

from surrogates.errors import DataError

_FILE = Path(__file__).resolve().parent / "energy_scale.json"

ANIONS = ("F", "O", "Cl", "N", "Br", "I", "S", "Se", "Te", "C", "P", "As", "Sb", "Si", "H", "B", "Ge")
"""Elements that count as the anion of a compound when they are its most electronegative one."""


def offset_features(fractions: Mapping[str, float]) -> dict[str, float]:
    """Return the features on which scales may differ, each a fraction of atoms; {} for an element.

    >>> offset_features({"Fe": 0.4, "O": 0.6})
    {'element Fe': 0.4, 'element O': 0.6, 'anion O': 0.6, 'Fe with O': 0.4}
    """
    if len(fractions) < 2:
        return {}
    features = {f"element {e}": x for e, x in fractions.items()}
    anion = max(fractions, key=_electronegativity)
    if anion in ANIONS:
        features[f"anion {anion}"] = fractions[anion]
    if anion in ("O", "F"):
        features |= {f"{e} with {anion}": x for e, x in fractions.items() if Element(e).is_transition_metal}
    return features


@cache
def _electronegativity(symbol: str) -> float:
    if symbol in ("He", "Ne", "Ar"):
        return 0.0
    value = float(Element(symbol).X)
    return value if value == value else 0.0


def on_reference_scale(composition: Mapping[str, float], formation_energy_per_atom: float) -> float:
    """Return a formation energy of the older Materials Project scale on that of the reference, eV/atom.

    Args:
        composition: element -> amount.
        formation_energy_per_atom: eV/atom, with the older corrections.

    Raises:
        DataError: the packaged offsets cannot be read.
    """
    total = sum(composition.values())
    features = offset_features({e: n / total for e, n in composition.items()})
    offsets = _offsets()
    return formation_energy_per_atom + sum(offsets.get(name, 0.0) * x for name, x in features.items())


@lru_cache(maxsize=1)
def _offsets() -> Mapping[str, float]:
    try:
        return {str(k): float(v) for k, v in json.loads(_FILE.read_text())["offsets"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"energy offsets {_FILE.name} cannot be read: {error}") from None
