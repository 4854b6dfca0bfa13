"""What a CIF says of its symmetry: operations that it lists, and the settings that its symbols leave open."""

import re
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from inverse.inputs.formats.cif_symbols import by_hall, by_number, by_symbol, centred_settings, choice_fits
from inverse.inputs.formats.cif_syntax import CifBlock, is_given
from inverse.inputs.formats.space_groups import Setting, codes, require_group, setting, setting_type
from surrogates.errors import StructureError

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

MOST_LISTED = 1000
"""More operations than any space group lists in any setting; the largest has 192."""


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
    for names, find in ((HALL, by_hall), (HERMANN_MAUGUIN, by_symbol), (NUMBER, by_number)):
        for name in names:
            text = block.value(name)
            if text is None:
                continue
            words = text.strip() if names is not NUMBER else f"number {text.strip()}"
            if words in said:
                continue
            found = find(text)
            if names is HERMANN_MAUGUIN and not found and (centred := centred or centred_settings(text)):
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
        possible = {h for h in possible if choice_fits(setting_type(h).choice, code)} or possible
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
    return {setting_type(h).number for h in settings}


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
    require_group(rotations, translations)
    return Setting("the listed operations", 0, "", rotations, translations)


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
