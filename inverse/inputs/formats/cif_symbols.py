"""Space groups as CIFs name them: Hall and Hermann-Mauguin symbols of every age, numbers, centred cells."""

import re
import unicodedata
from functools import cache

import numpy as np
import spglib

from inverse.inputs.formats.space_groups import (
    N_SETTINGS,
    Setting,
    codes,
    require_group,
    setting,
    setting_type,
)
from surrogates.errors import StructureError

_OLD_GLIDES = {
    (39, ""): "abm2", (39, "ba-c"): "bma2", (39, "cab"): "b2cm", (39, "-cba"): "c2mb",
    (39, "bca"): "cm2a", (39, "a-cb"): "ac2m", (41, ""): "aba2", (41, "ba-c"): "bba2",
    (41, "cab"): "b2cb", (41, "-cba"): "c2cb", (41, "bca"): "cc2a", (41, "a-cb"): "ac2a",
    (64, ""): "cmca", (64, "ba-c"): "ccmb", (64, "cab"): "abma", (64, "-cba"): "acam abam",
    (64, "bca"): "bbcm", (64, "a-cb"): "bmab", (67, ""): "cmma", (67, "ba-c"): "cmmb",
    (67, "cab"): "abmm", (67, "-cba"): "acmm", (67, "bca"): "bmcm", (67, "a-cb"): "bmam",
    (68, ""): "ccca", (68, "ba-c"): "cccb", (68, "cab"): "abaa", (68, "-cba"): "acaa",
    (68, "bca"): "bbcb", (68, "a-cb"): "bbab",
}  # fmt: skip
"""Symbols of before 1992 where the double glide e stands now; by number and axes."""

_CENTRED = {
    "a": [(0, 0.5, 0.5)],
    "b": [(0.5, 0, 0.5)],
    "c": [(0.5, 0.5, 0)],
    "i": [(0.5, 0.5, 0.5)],
    "f": [(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
}
"""Translations of cells that are centred where no table of settings has them (feldspars: C -1)."""


def by_hall(text: str) -> set[int]:
    """Return the settings, by their numbers in spglib, that a Hall symbol names."""
    return set(_tables()[0].get(_spaced(text), ()))


_CHOICE = re.compile(
    r"[:,;(\[]*(?:originchoice|originat|origin|choice|setting|cellchoice|axes)?[:=]?"
    r"(?P<choice>o?[12]|[hrsz]|hexagonal|rhombohedral|hex|rhomb?|-?[abc][123]|[12]?(?:abc|ba-c|cab|-cba|bca|a-cb))"
    r"(?:axes|setting)?[)\]]*$"
)
_MEANING = {"s": "1", "z": "2", "o1": "1", "o2": "2", "hexagonal": "h", "hex": "h", "rhombohedral": "r",
            "rhom": "r", "rhomb": "r"}  # fmt: skip


def by_symbol(text: str) -> set[int]:
    """Return the settings that a Hermann-Mauguin symbol names."""
    _, table = _tables()
    symbol = _plain_symbol(text)
    if symbol in table:
        return set(table[symbol])
    for found in _CHOICE.finditer(symbol):
        base = symbol[: found.start()]
        if base in table:
            choice = _MEANING.get(found["choice"], found["choice"])
            named = {h for h in table[base] if choice_fits(setting_type(h).choice, choice)}
            if named:
                return named
            if all(not setting_type(h).choice for h in table[base]):  # there is one origin only
                return set(table[base])
    # `finditer` finds the longest tail only; a bare last letter or digit is the shortest
    base, last = symbol[:-1], _MEANING.get(symbol[-1:], symbol[-1:])
    if base in table and last in ("1", "2", "h", "r"):
        return {h for h in table[base] if choice_fits(setting_type(h).choice, last)}
    return set()


def by_number(text: str) -> set[int]:
    """Return the settings of the space-group type of a number; none where the text is no number."""
    digits = re.fullmatch(r"\s*(\d{1,3})(?:\.0*)?\s*", text)
    number = int(digits[1]) if digits else 0
    return {h for h in range(1, N_SETTINGS + 1) if setting_type(h).number == number}


def choice_fits(choice: str, asked: str) -> bool:
    """Return whether a choice of spglib is the one asked for; 1 and 2 are origins whatever the axes."""
    own, wanted = choice.lower(), asked.strip().lower().removesuffix("abc")
    if wanted in ("1", "2"):
        return own == wanted or (own[:1] == wanted and len(own) > 1)
    return own == wanted or own.lstrip("12") == wanted


def centred_settings(text: str) -> tuple[Setting, ...]:
    """Return settings in no table, with a centred cell (C -1, F 4/m m m): those of the same symbol with P."""
    symbol = _plain_symbol(text)
    halls = _tables()[1].get("p" + symbol[1:], frozenset())
    if symbol[:1] not in _CENTRED or not halls:
        return ()
    shifts = np.concatenate([np.zeros((1, 3)), np.array(_CENTRED[symbol[0]])])
    found = []
    for hall in sorted(halls):
        base = setting(hall)
        rotations = np.repeat(base.rotations, len(shifts), axis=0)
        translations = np.mod(base.translations[:, None, :] + shifts, 1.0).reshape(-1, 3)
        own = spglib.get_spacegroup_type_from_symmetry(rotations, translations, np.eye(3))
        try:
            require_group(rotations, translations)
        except StructureError:  # the centring is not the same along axes that the rotations exchange
            continue
        if own is not None and len(set(codes(rotations, translations).tolist())) == len(rotations):
            name = symbol[0].upper() + base.symbol[1:]
            found.append(Setting(name, int(own.number), base.choice, rotations, translations))
    return tuple(found)


@cache
def _tables() -> tuple[dict[str, frozenset[int]], dict[str, frozenset[int]]]:
    """Return numbers of spglib's database by Hall symbol, and by Hermann-Mauguin symbol without spaces."""
    halls: dict[str, set[int]] = {}
    symbols: dict[str, set[int]] = {}
    for hall in range(1, N_SETTINGS + 1):
        kind = setting_type(hall)
        halls.setdefault(_spaced(kind.hall_symbol), set()).add(hall)
        full = kind.international_full
        names = {full, *kind.international.split("=")[1:]}
        if 3 <= kind.number <= 15:  # its short symbol is that of the standard setting
            names |= {" ".join(word for word in full.split() if word != "1")}
        else:
            names |= {kind.international_short, kind.international.split("=")[0]}
        axes = kind.choice.lstrip("12")
        if (kind.number, axes) in _OLD_GLIDES:
            names |= set(_OLD_GLIDES[kind.number, axes].split())
        if kind.number >= 200:  # m3m of before 1995
            names |= {name.replace("-3", "3") for name in names}
        for name in names:
            symbols.setdefault(_compact(name), set()).add(hall)
    return (
        {name: frozenset(found) for name, found in halls.items()},
        {name: frozenset(found) for name, found in symbols.items()},
    )


def _compact(text: str) -> str:
    return re.sub(r"[\s_]", "", text).lower()


def _spaced(text: str) -> str:
    """Return a Hall symbol in lower case with single spaces, which tell P 32 from P 3 2."""
    return " ".join(text.replace("_", " ").lower().split())


def _plain_symbol(text: str) -> str:
    """Return a symbol without typography: bars before their digit, subscripts on the line, no spaces."""
    text = re.sub(r"(\d)[\u0304\u0305\u00af\u203e]", r"-\1", text)
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2013", "-")
    text = re.sub(r"\(?(?:no\.?|#)\s*\d+\)?\s*$|\(\d{2,3}\)\s*$", "", text.strip(), flags=re.IGNORECASE)
    text = re.sub(r"\((\d)\)", r"\1", text)  # P2(1)/c
    text = re.sub(r"(?i)<su[bp]>|</su[bp]>|[~'\"]", "", text)
    text = re.sub(r"([1346])-(?=[\s/a-z]|$)", r"-\1", text.lower())  # F m 3- m
    return _compact(text)
