"""Formulas as chemists write them, for whatever a person reads; needs no torch.

Machine files keep pymatgen's reduced formula (`B2W`, `TePb`, `Ca(HO)2`): it is the key of every table.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from pymatgen.core import Composition, Element

NON_METALS = frozenset(
    {"H", "He", "B", "C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl", "Ar", "Ge", "As", "Se", "Br", "Kr"}
    | {"Sb", "Te", "I", "Xe", "At", "Rn"}
)
"""Elements that stand behind the metals: non-metals and the metalloids that form their compounds likewise."""

OXOANIONS: Mapping[str, tuple[str, int]] = {
    "C": ("CO3", 3),
    "N": ("NO3", 3),
    "P": ("PO4", 4),
    "S": ("SO4", 4),
}
"""Central atom -> the polyanion written for it, and its oxygen atoms."""

HYDROXIDE, AMMONIUM = "OH", "NH4"

_HALOGENS = frozenset({"F", "Cl", "Br", "I"})
_EXACT = 1e-6
"""Amounts that differ less are equal."""

_LAST = 9.0
"""Above every electronegativity: where the hydrogen of an acid stands among the cations."""


@dataclass(frozen=True)
class _Unit:
    """An element or a group of atoms with its place in the formula."""

    text: str
    amount: float
    is_anion: bool
    electronegativity: float

    @property
    def place(self) -> tuple[bool, float, str]:
        return self.is_anion, self.electronegativity, self.text


def display_formula(formula: str | Composition) -> str:
    """Return the reduced formula as a chemist writes it.

    Elements are sorted by (is a non-metal or B, C, Si, Ge, P, As, Sb, Te; Pauling electronegativity; symbol).
    Hydrogen stands behind carbon or nitrogen where these two are the only non-metals (CH4, NaNH2). NH4, OH,
    SO4, NO3, CO3 and PO4 are kept together where they account for all oxygen, sulphur, nitrogen, carbon and
    phosphorus; what hydrogen is left belongs to an acid (KH2PO4) and stands behind the metals. No other
    polyanion is looked for: a formula does not say which atoms are bonded.

    Args:
        formula: a composition, or text that pymatgen reads.

    >>> [display_formula(text) for text in ("B2W", "TePb", "CaH2O2", "B4MoW3", "N2H8SO4", "MgAl2O4")]
    ['WB2', 'PbTe', 'Ca(OH)2', 'MoW3B4', '(NH4)2SO4', 'MgAl2O4']
    """
    return _written(_reduced(formula))


def plain_formula(formula: str | Composition) -> str:
    """Return the display formula in letters and digits only, for names of files, folders and blocks.

    Brackets are multiplied out; a decimal point becomes `p`.

    >>> [plain_formula(text) for text in ("CaH2O2", "Al2S3O12", "B2W", "Fe0.95O")]
    ['CaO2H2', 'Al2S3O12', 'WB2', 'Fe0p95O']
    """
    return _written_plainly(_reduced(formula))


def _reduced(formula: str | Composition) -> str:
    composition = formula if isinstance(formula, Composition) else Composition(formula)
    return str(composition.reduced_formula)


@lru_cache(maxsize=65_536)
def _written(reduced: str) -> str:
    return "".join(_bracketed(unit) for unit in _units(reduced))


@lru_cache(maxsize=65_536)
def _written_plainly(reduced: str) -> str:
    text = "".join(_multiplied(unit) for unit in _units(reduced))
    return "".join(c for c in text.replace(".", "p") if c.isalnum())


def _units(reduced: str) -> list[_Unit]:
    """Return elements and groups in the order in which they are written."""
    amounts = Composition(reduced).get_el_amt_dict() if reduced else {}
    units = _grouped(amounts) or [_element(symbol, amount) for symbol, amount in amounts.items()]
    units.sort(key=lambda unit: unit.place)
    non_metals = {unit.text for unit in units if unit.is_anion}
    if non_metals in ({"C", "H"}, {"N", "H"}):
        units.sort(key=lambda unit: unit.text == "H")
    return units


def _element(symbol: str, amount: float) -> _Unit:
    # pymatgen warns where an element has no electronegativity; noble gases then stand first of the non-metals
    known = Element(symbol).data.get("X") if Element.is_valid_symbol(symbol) else None
    return _Unit(symbol, amount, symbol in NON_METALS, float(known or 0.0))


def _grouped(amounts: Mapping[str, float]) -> list[_Unit]:
    """Return the units with polyanions kept together; [] where those of the list do not account for it."""
    oxygen, nitrogen, hydrogen = (amounts.get(symbol, 0.0) for symbol in ("O", "N", "H"))
    others = [symbol for symbol in OXOANIONS if symbol in amounts and symbol != "N"]
    bound = sum(OXOANIONS[symbol][1] * amounts[symbol] for symbol in others) if oxygen else 0.0
    for ammonium, nitrate in _shares(nitrogen, hydrogen):
        spare_oxygen = oxygen - bound - OXOANIONS["N"][1] * nitrate
        spare_hydrogen = hydrogen - 4 * ammonium
        hydroxide = spare_oxygen if abs(spare_oxygen - spare_hydrogen) < _EXACT else 0.0
        oxoanions = {symbol: amounts[symbol] for symbol in others if oxygen}
        oxoanions |= {"N": nitrate} if nitrate else {}
        if abs(spare_oxygen - hydroxide) > _EXACT or (hydroxide and not _has_cation(amounts, ammonium)):
            continue
        if ammonium and not (oxoanions or hydroxide or _HALOGENS & set(amounts)):
            continue
        if ammonium and "C" in amounts and "C" not in oxoanions:
            continue  # the nitrogen may well be an amine's: CH3NH3PbI3
        if ammonium or oxoanions or hydroxide:
            return list(_units_of(amounts, ammonium, oxoanions, hydroxide, spare_hydrogen - hydroxide))
    return []


def _shares(nitrogen: float, hydrogen: float) -> Iterator[tuple[float, float]]:
    """Yield (NH4, NO3) that use all nitrogen and no more hydrogen than there is, most NH4 first."""
    most = min(int(nitrogen + _EXACT), int((hydrogen + _EXACT) / 4))
    for ammonium in range(most, -1, -1):
        yield float(ammonium), nitrogen - ammonium


def _has_cation(amounts: Mapping[str, float], ammonium: float) -> bool:
    """Return whether something can hold a hydroxide: a metal or metalloid, or ammonium."""
    return bool(ammonium) or any(s not in NON_METALS or s in ("B", "Si", "Ge", "As", "Te") for s in amounts)


def _units_of(
    amounts: Mapping[str, float],
    ammonium: float,
    oxoanions: Mapping[str, float],
    hydroxide: float,
    acid: float,
) -> Iterator[_Unit]:
    for symbol, amount in amounts.items():
        if symbol not in {"H", "O", "N", *oxoanions}:
            yield _element(symbol, amount)
    for symbol, amount in oxoanions.items():
        yield _Unit(OXOANIONS[symbol][0], amount, True, _element(symbol, 1.0).electronegativity)
    if hydroxide:
        yield _Unit(HYDROXIDE, hydroxide, True, _element("O", 1.0).electronegativity)
    if ammonium:
        yield _Unit(AMMONIUM, ammonium, False, _element("K", 1.0).electronegativity)
    if acid > _EXACT:
        yield _Unit("H", acid, False, _LAST)


def _bracketed(unit: _Unit) -> str:
    number = _number(unit.amount)
    return (
        f"({unit.text}){number}" if number and not Element.is_valid_symbol(unit.text) else unit.text + number
    )


def _multiplied(unit: _Unit) -> str:
    number = _number(unit.amount)
    if not number or Element.is_valid_symbol(unit.text):
        return unit.text + number
    atoms = Composition(unit.text).get_el_amt_dict()
    return "".join(f"{symbol}{_number(n * unit.amount)}" for symbol, n in atoms.items())


def _number(amount: float) -> str:
    """Return an amount as it is written: nothing for 1, six digits at most, no exponent."""
    return "" if abs(amount - 1.0) < _EXACT else f"{Decimal(f'{amount:.6g}'):f}"
