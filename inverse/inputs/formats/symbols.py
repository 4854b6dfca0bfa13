"""Elements out of the symbols and labels that programs write for atoms."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from surrogates.crystals.periodic_table import ELEMENT_SYMBOLS, element_index
from surrogates.errors import StructureError, UnsupportedElementError

HEAVY_HYDROGEN = {"D": "deuterium", "T": "tritium"}

NOT_ATOMS = {
    "vac": "a vacancy",
    "va": "a vacancy",
    "x": "a dummy atom or a vacancy",
    "xx": "a dummy atom",
    "du": "a dummy atom",
    "q": "a peak of a difference map",
    "wat": "a water molecule without its hydrogens",
    "hoh": "a water molecule without its hydrogens",
    "m": "a metal that is not named",
    "a": "a cation that is not named",
}
"""Symbols that stand for no element, lower case, and what they mean."""

SCATTERING_NAMES = {"cval": "C", "siva": "Si"}
"""Names of scattering factors of valence states in the International Tables."""

AMBIGUOUS_IN_CAPITALS = frozenset({"Ho", "Hf", "Hg", "He", "Os", "No"})
"""Elements whose symbol in capitals is as often the label of another atom (HO: a hydrogen on an oxygen)."""

_SYMBOL = re.compile(
    r"""(?P<mass>\d{1,3})?                       # 2H, 11B
        (?P<name>[A-Za-z]{1,4})
        (?P<charge>[+-]\d*(?:\.\d+)?             # Fe+2, O-2
          |\d*(?:\.\d+)?[+-]                     # Fe2+, O2-
          |\(?[+-]?\d+(?:\.\d+)?[+-]?\)          # Fe(2+), not Fe2
          |\(?[IVX]+\))?                         # Fe(III)
        (?:,?spin=-?\d+(?:\.\d+)?)?              # pymatgen's Fe2+,spin=5
        $""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Symbol:
    """An element as written.

    Attributes:
        element: H to Lr.
        isotope: what the file names instead of the element; "" where it names the element.
    """

    element: str
    isotope: str = ""


def read_symbol(text: str) -> Symbol:
    """Return the element of a symbol, with or without mass number and oxidation state.

    >>> read_symbol("Fe3+"), read_symbol("o2-"), read_symbol("D")
    (Symbol(element='Fe', isotope=''), Symbol(element='O', isotope=''), Symbol(element='H', isotope='D'))

    Raises:
        UnsupportedElementError: no element from H to Lr; says what the symbol stands for where that is known.
    """
    written = text.strip()
    found = _SYMBOL.match(written.rstrip("*'"))
    name = (found["name"] if found else written).lower()
    if found is None or name in NOT_ATOMS:
        raise _no_element(written)
    if name in SCATTERING_NAMES:
        return Symbol(SCATTERING_NAMES[name])
    element = name.capitalize()
    if element in HEAVY_HYDROGEN:
        return Symbol("H", element)
    if element not in ELEMENT_SYMBOLS:
        raise _no_element(written)
    return Symbol(element, f"{found['mass']}{element}" if found["mass"] else "")


def _no_element(written: str) -> UnsupportedElementError:
    name = re.match(r"[A-Za-z]*", written)
    meaning = NOT_ATOMS.get(name[0].lower(), "") if name else ""
    shown = written if len(written) <= 20 else written[:17] + "..."
    return UnsupportedElementError(
        f"{shown!r} is {meaning}, not an element" if meaning else f"element {shown!r} is not one of H to Lr"
    )


def read_label(label: str, among: Iterable[str] = ()) -> Symbol:
    """Return the element of a site's label (Fe1, O2A, Ow3), where the file has no column of symbols.

    Args:
        label: as written.
        among: elements of the formula that the file states, if it states one; they decide between CA as
            calcium and CA as a carbon.

    Raises:
        UnsupportedElementError: no element, or a letter that is as often a mixed site (T1).
        StructureError: two elements fit and nothing decides between them.
    """
    letters = re.match(r"[A-Za-z]*", label.strip())
    run = letters[0] if letters else ""
    known = frozenset(among)
    if not run or run.lower() in NOT_ATOMS or (run == "T" and "H" not in known):
        raise _no_element(label)
    if run in HEAVY_HYDROGEN:
        return Symbol("H", run)
    longer, shorter = run[:2].capitalize(), run[0].upper()
    rest_is_lower = run[1:2].islower()
    fits = [
        name
        for name, is_possible in (
            (longer, len(run) == 2 or run[2:].isupper()),
            (shorter, len(run) == 1 or not rest_is_lower or shorter == "O"),
        )
        if is_possible and name in ELEMENT_SYMBOLS
    ]
    if len(run) == 1 or longer == shorter:
        fits = fits[-1:]
    if known and len(fits) == 2:
        fits = [name for name in fits if name in known] or fits
    if not fits:
        raise _no_element(label)
    if len(fits) == 2 and not rest_is_lower and fits[0] in AMBIGUOUS_IN_CAPITALS and not known:
        raise StructureError(
            f"site {label!r}: {fits[0]} or {fits[1]}? The file has no _atom_site_type_symbol to tell"
        )
    element_index(fits[0])
    return Symbol(fits[0])
