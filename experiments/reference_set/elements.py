"""Which elements enter the reference set, and what kind of bonding a set of them makes."""

from collections.abc import Collection
from functools import lru_cache

from inverse.inputs.element_groups import element_groups
from inverse.reference import ReferenceHull
from inverse.verification.calibration.energy_correction import supported_elements

POTENTIAL = "7net-0"
"""The one potential that labels; it is never a judge."""

FEW = frozenset({"U", "Th"})
"""Radioactive elements of which a few crystals are taken."""


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(text.split())


STIFF_METALS = _symbols("Ti Zr Hf V Nb Ta Cr Mo W Mn Re Fe Ru Os Co Rh Ir Ni Pt Al Sc")
STIFF_LIGHTS = _symbols("B C N O Si Be Al P Ge")
"""Elements of most crystals with K > 200 or G > 100 GPa."""

LANTHANIDES = frozenset(_symbols("Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu"))

_BY_ANION = {
    **dict.fromkeys(_symbols("F Cl Br I"), "halide"),
    "O": "oxide",
    "N": "nitride",
    **dict.fromkeys(_symbols("S Se Te"), "chalcogenide"),
    "H": "hydride",
    "C": "carbide",
    **dict.fromkeys(_symbols("P As Sb"), "pnictide"),
    "B": "boride",
    **dict.fromkeys(_symbols("Si Ge"), "silicide"),
}
_ORDER = _symbols("F O Cl N Br I S Se Te H C P As Sb B Si Ge")

_COVALENT = frozenset(_symbols("C P As Sb B Si Ge N"))


def chemistry(symbols: Collection[str]) -> str:
    """Return the kind of bonding: by the most electronegative non-metal; covalent where all are non-metals.

    >>> chemistry(["Ti", "C"]), chemistry(["Si", "C"]), chemistry(["Ni", "Al"]), chemistry(["W"])
    ('carbide', 'covalent', 'intermetallic', 'element')
    """
    if len(symbols) == 1:
        return "element"
    if set(symbols) <= _COVALENT:
        return "covalent"
    anion = next((s for s in _ORDER if s in symbols), "")
    return _BY_ANION.get(anion, "intermetallic")


@lru_cache(maxsize=1)
def allowed_elements() -> tuple[str, ...]:
    """Return the elements with an energy of the potential and a reference phase; no radioactive but a few."""
    known = supported_elements(POTENTIAL) & ReferenceHull.packaged().supported_elements
    groups = element_groups()
    refused = (frozenset(groups["radioactive"]) - FEW) | frozenset(groups["noble_gas"])
    return tuple(sorted(known - refused))
