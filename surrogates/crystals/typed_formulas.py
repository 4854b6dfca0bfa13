"""Formulas as people type and paste them: subscripts, hydrates, brackets; what has two readings is refused.

Needs no torch, so that configs are read quickly.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import islice

from pymatgen.core import Composition, Element

from surrogates.errors import FormulaError, UnsupportedElementError, nearest
from surrogates.physics.periodic_table import ELEMENT_SYMBOLS, refuse_isotopes

LONGEST = 300
"""Characters of the longest formula that is looked at."""

MOST_ATOMS = 1e6
"""Of a formula."""

DOTS = "·•⋅∙‧・*×"
"""Between the parts of a hydrate or an adduct: CuSO4·5H2O."""

DASHES = "-‐‑‒–—―−﹣－"

SOLVENTS = frozenset({"H2O", "(H2O)", "NH3", "(NH3)"})
"""What a number behind a full stop counts: CuSO4.5H2O."""

ANIONS = frozenset({"N", "O", "F", "S", "Cl", "Se", "Br", "I"})
"""One of them ends the first part of an adduct that is typed with a full stop: Al2O3.5SiO2."""

_SYMBOLS = frozenset(e.symbol for e in Element) | {"D", "T"}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_PLAIN_DASHES = str.maketrans(DASHES, "-" * len(DASHES))
_NUMBER = r"(?:\d+\.?\d*|\.\d+)"
_SCIENTIFIC = re.compile(r"(\d+\.?\d*|\.\d+)[eE]([-+]\d{1,2})")
_PLAIN = re.compile(r"(?:[A-Z][a-z]?(?:[1-9]\d?)?)+")
_TOKEN = re.compile(rf"([A-Za-z]+?(?=[A-Z]|[^A-Za-z]|$)|[(\[{{]|[)\]}}])({_NUMBER})?")
_COUNT = re.compile(r"(\d+)/(\d+)|\d+\.?\d*|\.\d+")
_GREEK = "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|sigma|omega"
_PHASE = re.compile(rf"(?:{_GREEK}|[a-z]{{1,4}}|[αβγδεζηθκλσω]|\d+[CHRTMO])['′]?\s*-\s*(.+)")
"""What stands before a formula and names a phase: alpha-SiO2, c-BN, 3C-SiC."""


def composition_of(text: str) -> Composition:
    """Return the composition of a formula as it was typed or pasted.

    Subscript digits are digits and `5.9e-05` is an amount; spaces between parts and a full stop at the end do
    not count. `·`, `*` and their like join the parts of a hydrate or an adduct, and the number behind counts
    the second part: `MgCl2*6H2O`. A full stop does the same between a compound and a number of H2O or NH3
    (`CuSO4.5H2O`), and in front of a letter (`MgO.Al2O3`). Every other full stop is a decimal point: behind 0
    and 1 (`Fe0.95O`, `Na1.5CoO2`), behind what is no compound (`Ti41.5Zr41.5Hf5`), in front of what is none
    (`YBa2Cu3O6.9`).

    Raises:
        FormulaError: no formula, or one with two readings (`Al2O3.5SiO2`); a charge, a phase, an open amount.
        UnsupportedElementError: a symbol that is no element's, deuterium or tritium.

    >>> [composition_of(t).reduced_formula for t in ("Al₂O₃", "CaSO4.2H2O", "MgCl2·6H2O", "Li0.5CoO2")]
    ['Al2O3', 'CaH4SO6', 'MgH12(ClO3)2', 'Li0.5Co1O2']
    """
    return _composition_of(text)


@lru_cache(maxsize=16_384)
def _composition_of(text: str) -> Composition:
    if len(text) > LONGEST:
        raise _unreadable(text[:40] + "...", f"longer than {LONGEST} characters")
    if _PLAIN.fullmatch(text) and (found := _plain(text)) is not None:
        return found
    typed = _SCIENTIFIC.sub(_in_decimals, _without_invisible(text.translate(_SUBSCRIPTS)))
    if not typed:
        raise FormulaError("no formula")
    _refuse_strange(typed)
    _refuse_zero_in_water(typed)
    total = Composition()
    for count, part in _parts(typed):
        total += _composition(part, typed) * count
    if not 0 < total.num_atoms < MOST_ATOMS:
        raise _unreadable(typed, "it has no atoms" if total.num_atoms < MOST_ATOMS else "too many atoms")
    refuse_isotopes(total.elements)
    _refuse_zero_for_oxygen(typed, total)
    return total


def with_plain_dashes(text: str) -> str:
    """Return text with every kind of dash as a hyphen: chemical systems are pasted with all of them."""
    return text.translate(_PLAIN_DASHES)


def _plain(text: str) -> Composition | None:
    """Return the composition of symbols and small numbers that need no second look, else None."""
    symbols = re.findall("[A-Z][a-z]?", text)
    return Composition(text) if all(s in _SYMBOLS and s not in "DT" for s in symbols) else None


def _without_invisible(text: str) -> str:
    """Return text without what pasting brings along: zero-width characters, odd spaces, a final full stop."""
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return " ".join(visible.split()).removesuffix(".")


def _in_decimals(number: re.Match[str]) -> str:
    """Return 5.9e-05 as 0.000059: its e is no element and its sign no charge."""
    return f"{Decimal(number[0]):f}"


def _unreadable(typed: str, why: str) -> FormulaError:
    return FormulaError(f"formula {typed!r} cannot be read: {why}")


def _refuse_strange(typed: str) -> None:
    """Raise FormulaError for what is no formula and has a name: a phase, a charge, an open amount."""
    found = _PHASE.fullmatch(with_plain_dashes(typed))
    if found and _is_readable(found[1]):
        raise _unreadable(typed, f"a formula names no phase; write {found[1]}, or give a structure file")
    found = re.fullmatch(r"(\S+?)\s*\(?\b([a-z]{4,}|[αβγδεζηθκλσω])\b\)?", typed)
    if found and _is_readable(found[1]):
        raise _unreadable(typed, f"{found[2]!r}: a formula names no phase; write {found[1]}")
    if re.search(r"[+^⁺⁻⁰¹²³⁴-⁹]", typed) or (typed[-1] in DASHES):
        raise _unreadable(typed, "a charge; write the formula without it")
    if found := re.search(r"\((s|l|g|cr|am|aq)\)$", typed):
        raise _unreadable(typed, f"{found[0]!r}: a formula names no state; leave it out")
    if _has_open_amount(typed):
        raise _unreadable(typed, "an open amount; write a number")
    if any(dash in typed for dash in DASHES):
        symbols = re.split(f"[{re.escape(DASHES)}]", typed)
        is_system = all(symbol.strip() in _SYMBOLS for symbol in symbols)
        raise _unreadable(typed, "a chemical system, not a formula" if is_system else "a dash; write amounts")
    if re.search(r"\d \d|\d \.", typed):
        raise _unreadable(typed, f"two numbers side by side; a hydrate is written with {DOTS[0]} or *")
    allowed = set("()[]{}./ ½" + DOTS)
    for character in typed:
        if not (character.isascii() and character.isalnum()) and character not in allowed:
            name = unicodedata.name(character, f"U+{ord(character):04X}").lower()
            raise _unreadable(typed, f"{character!r} ({name}) has no place in a formula")


def _has_open_amount(typed: str) -> bool:
    """Return whether an x, y, z, n or δ stands for an amount: LixCoO2, La1-xSrxMnO3, YBa2Cu3O7-δ, ·nH2O."""
    if re.search(rf"\d[{re.escape(DASHES)}][xyzδ]|[{re.escape(DOTS)}.]\s*[nx](?=[A-Z])", typed):
        return True
    words = [match[1] for match in _TOKEN.finditer(typed) if match[1][0].isalpha()]
    return any(w not in _SYMBOLS and w[-1] in "xyz" and w[:-1] in _SYMBOLS for w in words)


def _is_readable(text: str) -> bool:
    try:
        return composition_of(text).num_atoms > 0
    except (FormulaError, UnsupportedElementError):
        return False


def _parts(typed: str) -> Iterator[tuple[float, str]]:
    """Yield (count, formula) of the parts of a hydrate or an adduct; the first of a plain formula is all."""
    parts = [part for chunk in re.split(f"[{re.escape(DOTS)}]", typed) for part in _divided(chunk, typed)]
    for part in parts:
        number = _COUNT.match(part.strip().replace("½", "1/2"))
        if number is None:
            yield 1.0, part.strip()
            continue
        if len(parts) == 1:
            raise _unreadable(typed, f"it begins with the number {number[0]}")
        if number[2] is not None and float(number[2]) == 0:
            raise _unreadable(typed, f"{number[0]} is no number")
        count = float(number[0]) if number[2] is None else float(number[1]) / float(number[2])
        yield count, part.strip().replace("½", "1/2")[number.end() :].strip()


def _divided(chunk: str, typed: str) -> Iterator[str]:
    """Yield the parts of a chunk that full stops join, by the rule of `composition_of`."""
    for stop in (match.start() for match in re.finditer(r"\.", chunk)):
        before, after = chunk[:stop].strip(), chunk[stop + 1 :].strip()
        if not before or not after or after[0] == ".":
            raise _unreadable(typed, "a full stop without a formula on both sides")
        if _joins(before, after, typed):
            yield before
            yield from _divided(after, typed)
            return
    yield chunk


def _joins(before: str, after: str, typed: str) -> bool:
    """Return whether a full stop stands between the parts of an adduct, and is no decimal point.

    Raises:
        FormulaError: it may be either.
    """
    if after[0] in "([{½" or after[0].isalpha():
        return True
    if before[0].isdigit() and not _COUNT.fullmatch(before):
        return True  # 3Al2O3.2SiO2
    if _elements(before) < 2:
        return False  # Li.5CoO2, Ti41.5Zr41.5
    number = re.match(r"\d+(?:\.\d+)?|\d+/\d+", after)
    rest = after[number.end() :].strip() if number else ""
    counted = re.split(f"[.{re.escape(DOTS)}]", rest)[0]
    integer = re.search(r"\d+$", before)
    if counted in SOLVENTS:
        return integer is None or int(integer[0]) > 1
    if integer is not None and int(integer[0]) <= 1:
        return False
    if _elements(counted) >= 2 and ANIONS & _symbols(before) and ANIONS & _symbols(counted):
        digits = f"{integer[0] if integer else ''}.{number[0] if number else ''}"
        reason = f"{digits} may be an amount, or {number[0] if number else ''} parts of {counted}"
        raise _unreadable(typed, f"{reason}; write {DOTS[0]} for parts, brackets for an amount")
    return False


def _symbols(text: str) -> set[str]:
    return set(re.findall("[A-Z][a-z]?", text))


def _elements(text: str) -> int:
    return len(_symbols(text))


def _composition(part: str, typed: str) -> Composition:
    """Return the composition of one part, every symbol looked at."""
    text = part.replace(" ", "")
    place = depth = 0
    while place < len(text):
        token = _TOKEN.match(text, place)
        if token is None:
            raise _unreadable(typed, f"{text[place:][:8]!r} stands where an element was expected")
        name, amount = token[1], token[2]
        depth += (name in "([{") - (name in ")]}")
        if depth < 0 or (name in "([{" and amount):
            raise _unreadable(typed, "its brackets do not match")
        if name[0].isalpha():
            _refuse_symbol(name, amount, typed)
        place = token.end()
    if depth or not text:
        raise _unreadable(typed, "its brackets do not match" if depth else "a part without a formula")
    try:
        return Composition(text)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(typed, " ".join(str(error).split())) from None


def _refuse_symbol(name: str, amount: str | None, typed: str) -> None:
    if name not in _SYMBOLS:
        meant = list(islice(_spellings(typed), 3))
        if meant:
            raise _unreadable(typed, f"did you mean {' or '.join(meant)}?")
        hint = nearest(name, ELEMENT_SYMBOLS)
        raise UnsupportedElementError(f"formula {typed!r}: {name!r} is no element; {hint}")
    if amount is not None and re.match(r"0\d", amount):
        raise _unreadable(typed, f"{name}{amount}: is the 0 the letter O?")


def _refuse_zero_for_oxygen(typed: str, total: Composition) -> None:
    """Raise FormulaError for Al203: a hundred atoms of a metal beside few others, and no oxygen, is a slip.

    Where another amount has two digits, too, large ones are meant: Ba20Hg103 is a known phase.
    """
    found = re.search(r"([A-Z][a-z]?)([1-9])0([1-9])(?!\d)", typed)
    if found is None or {"O", "C"} & {e.symbol for e in total.elements}:
        return
    before, after = typed[: found.start()], typed[found.end() :]
    if not re.search(r"\d\d", f"{before} {after}"):
        meant = f"{before}{found[1]}{found[2]}O{found[3]}{after}"
        raise _unreadable(typed, f"did you mean {meant}, with the letter O?")


def _refuse_zero_in_water(typed: str) -> None:
    """Raise FormulaError for NiCl2.6H20: twenty H behind a dot, or alone in brackets, are water mistyped."""
    if found := re.search(rf"(?:[.½{re.escape(DOTS)}]\s*\d*\s*\(?|\()(H20)(?![\d.])", typed):
        meant = f"{typed[: found.start(1)]}H2O{typed[found.end(1) :]}"
        raise _unreadable(typed, f"did you mean {meant}, with the letter O?")


def _spellings(text: str) -> Iterator[str]:
    """Yield the ways to write text with the capitals of element symbols."""

    def continued(place: int) -> Iterator[str]:
        if place == len(text):
            yield ""
            return
        if not text[place].isalpha():
            yield from (text[place] + rest for rest in continued(place + 1))
            return
        for length in (2, 1):
            symbol = text[place : place + length].capitalize()
            if len(symbol) == length and symbol in ELEMENT_SYMBOLS:
                yield from (symbol + rest for rest in continued(place + length))

    return (spelling for spelling in continued(0) if spelling != text)
