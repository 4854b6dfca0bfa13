"""Space groups as CIFs name them: listed operations, Hall and Hermann-Mauguin symbols, numbers; 530 settings.

Operations of a setting come from spglib's database. Coordinates are columns: x' = W x + t.

References:
    International Tables for Crystallography, Volume A, table 1.5.4 (symbols of settings).
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import spglib

from inverse.formats.cif_syntax import CifBlock, is_given
from surrogates.errors import StructureError, UnknownNameError

N_SETTINGS = 530

LISTED = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_magn_operation_xyz",
)
CENTRINGS = "_space_group_symop_magn_centering_xyz"
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
HERMANN_MAUGUIN = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_full",
    "_symmetry_space_group_name_h-m_alt",
    "_space_group_name_h-m",
)
NUMBER = ("_space_group_it_number", "_symmetry_int_tables_number")
CODE = "_space_group_it_coordinate_system_code"

METRIC_WITHIN = 0.02
"""Largest change of an entry of the metric tensor, relative, by an operation of the cell's own group."""

MOST_LISTED = 1000
"""More operations than any space group lists in any setting; the largest has 192."""

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


@dataclass(frozen=True, eq=False)
class Setting:
    """A space group in one setting.

    Attributes:
        symbol: full Hermann-Mauguin symbol, with the choice of origin or axes.
        number: 1 to 230.
        choice: origin, axes or cell choice in spglib's words; "" where there is one only.
        rotations: (N, 3, 3) integer.
        translations: (N, 3) fractions of the cell.
    """

    symbol: str
    number: int
    choice: str
    rotations: np.ndarray
    translations: np.ndarray


@dataclass(frozen=True)
class Statements:
    """What a file says of its space group.

    Attributes:
        listed: its own operations; None where it lists none.
        settings: those that everything known agrees with; empty where there is none.
        is_stated: it says anything at all.
        has_symbol: a Hall or Hermann-Mauguin symbol is among what is known: the setting is more than a guess.
        unknown: symbols in no table.
        said: all of it in words, for messages.
        contradiction: two statements that no setting meets, in words; "" where there are none.
    """

    listed: Setting | None
    settings: tuple[Setting, ...]
    is_stated: bool
    has_symbol: bool
    unknown: tuple[str, ...]
    said: str
    contradiction: str = ""


def statements(block: CifBlock) -> Statements:
    """Return what a block says of its space group.

    Raises:
        StructureError: operations that cannot be read or are no group.
    """
    listed = _listed(block)
    possible: set[int] | None = None
    said: list[str] = []
    unknown: list[str] = []
    contradiction = ""
    has_symbol = False
    centred: tuple[Setting, ...] = ()
    for names, find in ((HALL, _by_hall), (HERMANN_MAUGUIN, _by_symbol), (NUMBER, _by_number)):
        for name in names:
            text = block.value(name)
            if text is None:
                continue
            words = text.strip() if names is not NUMBER else f"number {text.strip()}"
            if words in said:
                continue
            found = find(text)
            if names is HERMANN_MAUGUIN and not found and (centred := centred or _centred(text)):
                said.append(words)
                continue
            if not found:
                unknown.append(words)
                continue
            has_symbol = has_symbol or names is not NUMBER
            if possible is not None and not _numbers(possible) & _numbers(found) and not contradiction:
                contradiction = f"{words} is not {said[0]}"
            possible = found if possible is None else (possible & found or possible | found)
            said.append(words)
    code = block.value(CODE)
    if code is not None and possible:
        possible = {h for h in possible if _choice_fits(_type(h).choice, code)} or possible
    settings = centred or tuple(setting(h) for h in sorted(possible or ()))
    if centred and possible and not {one.number for one in centred} & _numbers(possible):
        contradiction = contradiction or f"{said[0]} is not {said[-1]}"
    if contradiction:
        settings = ()
    is_stated = bool(said or unknown)
    return Statements(
        listed,
        settings,
        is_stated,
        has_symbol or bool(centred),
        tuple(unknown),
        ", ".join([*said, *unknown]),
        contradiction,
    )


def _numbers(settings: set[int]) -> set[int]:
    return {_type(h).number for h in settings}


def setting(hall_number: int) -> Setting:
    """Return a setting of spglib's database, by its number there.

    Raises:
        UnknownNameError: not one of its 530.
    """
    kind, operations = _type(hall_number), spglib.get_symmetry_from_database(hall_number)
    if operations is None:
        raise UnknownNameError(f"setting {hall_number} is not one of 1 to {N_SETTINGS}")
    symbol = kind.international_full.replace("_", "") + (f" :{kind.choice}" if kind.choice else "")
    return Setting(symbol, kind.number, kind.choice, operations["rotations"], operations["translations"])


def settings_of(number: int) -> tuple[Setting, ...]:
    """Return all settings of a space-group type."""
    return tuple(setting(h) for h in range(1, N_SETTINGS + 1) if _type(h).number == number)


def is_standard(chosen: Setting) -> bool:
    """Return whether a setting is what the bare number means: unique axis b, cell choice 1, axes abc."""
    return chosen.choice in ("", "b", "b1")


def fits_cell(chosen: Setting, matrix: np.ndarray) -> bool:
    """Return whether the operations map the lattice (rows are vectors, Å) onto itself."""
    metric = matrix @ matrix.T
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    images = np.einsum("nji,jk,nkl->nil", chosen.rotations, metric, chosen.rotations)
    return bool((np.abs(images - metric) <= METRIC_WITHIN * scale).all())


def symmetry_number(chosen: Setting, matrix: np.ndarray) -> int | None:
    """Return the number of the group that operations are, None where spglib finds none."""
    found = spglib.get_spacegroup_type_from_symmetry(chosen.rotations, chosen.translations, matrix)
    return None if found is None else int(found.number)


# -- listed operations --


def _listed(block: CifBlock) -> Setting | None:
    column = next((c for c in (block.column(name) for name in LISTED) if c), None)
    if column is None or not any(is_given(text) for text in column):
        return None
    centrings = block.column(CENTRINGS) or []
    if len(column) * max(len(centrings), 1) > MOST_LISTED:
        raise StructureError(f"{len(column)} symmetry operations listed; no space group has so many")
    operations = [read_operation(text) for text in column]
    shifts = [read_operation(text)[1] for text in centrings] or [np.zeros(3)]
    rotations = np.array([rotation for rotation, _ in operations for _ in shifts])
    translations = np.array([np.mod(t + shift, 1.0) for _, t in operations for shift in shifts])
    _, first = np.unique(codes(rotations, translations), return_index=True)
    rotations, translations = rotations[np.sort(first)], translations[np.sort(first)]
    _require_group(rotations, translations)
    return Setting("the listed operations", 0, "", rotations, translations)


def codes(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Return (N,) an integer for each operation; those equal up to lattice translations have the same.

    Args:
        rotations: (N, 3, 3) integers from -3 to 3.
        translations: (N, 3) fractions of the cell, compared to a thousandth.
    """
    digits = (rotations.reshape(-1, 9) + 3).astype(np.int64) @ (7 ** np.arange(9, dtype=np.int64))
    steps = np.rint(np.mod(translations, 1.0) * 1000).astype(np.int64) % 1000
    return digits * 10**9 + steps @ np.array([10**6, 10**3, 1], dtype=np.int64)


def _require_group(rotations: np.ndarray, translations: np.ndarray) -> None:
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 3, 3)
    moved = np.einsum("aij,bj->abi", rotations, translations) + translations[:, None, :]
    is_large = np.abs(products).max() > 3
    if is_large or not np.isin(codes(products, moved.reshape(-1, 3)), codes(rotations, translations)).all():
        raise StructureError(
            f"the {len(rotations)} symmetry operations listed are no group; some are missing or misprinted"
        )


def read_operation(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rotation (3, 3, integer) and translation (3, in [0, 1)) of an operation like `1/2-x, y+z, -z`.

    A time reversal behind it (magnetic operations: `x,y,z,-1`) is passed over.

    Raises:
        StructureError: it cannot be read.
    """
    problem = StructureError(f"symmetry operation {text.strip()[:40]!r} cannot be read")
    parts = text.lower().replace(" ", "").replace("\t", "").strip("'\"").split(",")
    if len(parts) == 4 and parts[3] in ("+1", "-1", "1", "m", "-m"):
        parts = parts[:3]
    if len(parts) != 3:
        raise problem
    rotation, translation = np.zeros((3, 3), dtype=int), np.zeros(3)
    for row, part in enumerate(parts):
        position = 0
        for term in re.finditer(r"([+-]?)(?:([xyz])|(\d+)/(\d+)|(\d+\.?\d*|\.\d+))", part):
            sign = -1 if term[1] == "-" else 1
            if term.start() != position or (position and not term[1]):
                raise problem
            position = term.end()
            if term[2]:
                rotation[row, "xyz".index(term[2])] += sign
            elif term[3]:
                if int(term[4]) == 0:
                    raise problem
                translation[row] += sign * int(term[3]) / int(term[4])
            else:
                translation[row] += sign * float(term[5])
        if not part or position != len(part):
            raise problem
    if abs(round(float(np.linalg.det(rotation)))) != 1 or np.abs(rotation).max() > 3:
        raise problem
    return rotation, np.mod([_fraction(value) for value in translation], 1.0)


def _fraction(value: float) -> float:
    """Return the fraction of a cell that a rounded translation stands for: 0.3333 is a third."""
    near = float(Fraction(round(value * 24), 24))
    return near if abs(near - value) < 1e-3 else value


# -- symbols --


@cache
def _type(hall_number: int):  # type: ignore[no-untyped-def]
    return spglib.get_spacegroup_type(hall_number)


@cache
def _tables() -> tuple[dict[str, frozenset[int]], dict[str, frozenset[int]]]:
    """Return numbers of spglib's database by Hall symbol, and by Hermann-Mauguin symbol without spaces."""
    by_hall: dict[str, set[int]] = {}
    by_symbol: dict[str, set[int]] = {}
    for hall in range(1, N_SETTINGS + 1):
        kind = _type(hall)
        by_hall.setdefault(_spaced(kind.hall_symbol), set()).add(hall)
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
            by_symbol.setdefault(_compact(name), set()).add(hall)
    return (
        {name: frozenset(found) for name, found in by_hall.items()},
        {name: frozenset(found) for name, found in by_symbol.items()},
    )


def _compact(text: str) -> str:
    return re.sub(r"[\s_]", "", text).lower()


def _plain_symbol(text: str) -> str:
    """Return a symbol without typography: bars before their digit, subscripts on the line, no spaces."""
    text = re.sub(r"(\d)[\u0304\u0305\u00af\u203e]", r"-\1", text)
    text = unicodedata.normalize("NFKC", text).replace("\u2212", "-").replace("\u2013", "-")
    text = re.sub(r"\(?(?:no\.?|#)\s*\d+\)?\s*$|\(\d{2,3}\)\s*$", "", text.strip(), flags=re.IGNORECASE)
    text = re.sub(r"\((\d)\)", r"\1", text)  # P2(1)/c
    text = re.sub(r"(?i)<su[bp]>|</su[bp]>|[~'\"]", "", text)
    text = re.sub(r"([1346])-(?=[\s/a-z]|$)", r"-\1", text.lower())  # F m 3- m
    return _compact(text)


_CHOICE = re.compile(
    r"[:,;(\[]*(?:originchoice|originat|origin|choice|setting|cellchoice|axes)?[:=]?"
    r"(?P<choice>o?[12]|[hrsz]|hexagonal|rhombohedral|hex|rhomb?|-?[abc][123]|[12]?(?:abc|ba-c|cab|-cba|bca|a-cb))"
    r"(?:axes|setting)?[)\]]*$"
)
_MEANING = {"s": "1", "z": "2", "o1": "1", "o2": "2", "hexagonal": "h", "hex": "h", "rhombohedral": "r",
            "rhom": "r", "rhomb": "r"}  # fmt: skip


def _by_symbol(text: str) -> set[int]:
    """Return the settings that a Hermann-Mauguin symbol names."""
    _, table = _tables()
    symbol = _plain_symbol(text)
    if symbol in table:
        return set(table[symbol])
    for found in _CHOICE.finditer(symbol):
        base = symbol[: found.start()]
        if base in table:
            choice = _MEANING.get(found["choice"], found["choice"])
            named = {h for h in table[base] if _choice_fits(_type(h).choice, choice)}
            if named:
                return named
            if all(not _type(h).choice for h in table[base]):  # there is one origin only
                return set(table[base])
    # `finditer` finds the longest tail only; a bare last letter or digit is the shortest
    base, last = symbol[:-1], _MEANING.get(symbol[-1:], symbol[-1:])
    if base in table and last in ("1", "2", "h", "r"):
        return {h for h in table[base] if _choice_fits(_type(h).choice, last)}
    return set()


def _choice_fits(choice: str, asked: str) -> bool:
    """Return whether a choice of spglib is the one asked for; 1 and 2 are origins whatever the axes."""
    own, wanted = choice.lower(), asked.strip().lower().removesuffix("abc")
    if wanted in ("1", "2"):
        return own == wanted or (own[:1] == wanted and len(own) > 1)
    return own == wanted or own.lstrip("12") == wanted


def _by_hall(text: str) -> set[int]:
    return set(_tables()[0].get(_spaced(text), ()))


def _spaced(text: str) -> str:
    """Return a Hall symbol in lower case with single spaces, which tell P 32 from P 3 2."""
    return " ".join(text.replace("_", " ").lower().split())


def _by_number(text: str) -> set[int]:
    digits = re.fullmatch(r"\s*(\d{1,3})(?:\.0*)?\s*", text)
    number = int(digits[1]) if digits else 0
    return {h for h in range(1, N_SETTINGS + 1) if _type(h).number == number}


def _centred(text: str) -> tuple[Setting, ...]:
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
            _require_group(rotations, translations)
        except StructureError:  # the centring is not the same along axes that the rotations exchange
            continue
        if own is not None and len(set(codes(rotations, translations).tolist())) == len(rotations):
            name = symbol[0].upper() + base.symbol[1:]
            found.append(Setting(name, int(own.number), base.choice, rotations, translations))
    return tuple(found)


def symbols_of(settings: Sequence[Setting]) -> str:
    """Return settings in words."""
    shown = [one.symbol for one in settings[:4]]
    return " or ".join(shown) + (f" or {len(settings) - 4} others" if len(settings) > 4 else "")
