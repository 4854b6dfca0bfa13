"""Space groups in their 530 settings: operations from spglib's database, and which cells they fit.

Coordinates are columns: x' = W x + t.

References:
    International Tables for Crystallography, Volume A, table 1.5.4 (symbols of settings).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import spglib

from surrogates.errors import StructureError, UnknownNameError

N_SETTINGS = 530

METRIC_WITHIN = 0.02
"""Largest change of an entry of the metric tensor, relative, by an operation of the cell's own group."""


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


@cache
def setting_type(hall_number: int):  # type: ignore[no-untyped-def]
    """Return what spglib's database says of a setting: number, symbols, choice; None beyond its 530."""
    return spglib.get_spacegroup_type(hall_number)


def setting(hall_number: int) -> Setting:
    """Return a setting of spglib's database, by its number there.

    Raises:
        UnknownNameError: not one of its 530.
    """
    kind, operations = setting_type(hall_number), spglib.get_symmetry_from_database(hall_number)
    if operations is None:
        raise UnknownNameError(f"setting {hall_number} is not one of 1 to {N_SETTINGS}")
    symbol = kind.international_full.replace("_", "") + (f" :{kind.choice}" if kind.choice else "")
    return Setting(symbol, kind.number, kind.choice, operations["rotations"], operations["translations"])


def settings_of(number: int) -> tuple[Setting, ...]:
    """Return all settings of a space-group type."""
    return tuple(setting(h) for h in range(1, N_SETTINGS + 1) if setting_type(h).number == number)


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


def codes(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Return (N,) an integer for each operation; those equal up to lattice translations have the same.

    Args:
        rotations: (N, 3, 3) integers from -3 to 3.
        translations: (N, 3) fractions of the cell, compared to a thousandth.
    """
    digits = (rotations.reshape(-1, 9) + 3).astype(np.int64) @ (7 ** np.arange(9, dtype=np.int64))
    steps = np.rint(np.mod(translations, 1.0) * 1000).astype(np.int64) % 1000
    return digits * 10**9 + steps @ np.array([10**6, 10**3, 1], dtype=np.int64)


def require_group(rotations: np.ndarray, translations: np.ndarray) -> None:
    """Refuse operations that are not closed under multiplication.

    Raises:
        StructureError: they are not.
    """
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 3, 3)
    moved = np.einsum("aij,bj->abi", rotations, translations) + translations[:, None, :]
    is_large = np.abs(products).max() > 3
    if is_large or not np.isin(codes(products, moved.reshape(-1, 3)), codes(rotations, translations)).all():
        raise StructureError(
            f"the {len(rotations)} symmetry operations listed are no group; some are missing or misprinted"
        )


def symbols_of(settings: Sequence[Setting]) -> str:
    """Return settings in words."""
    shown = [one.symbol for one in settings[:4]]
    return " or ".join(shown) + (f" or {len(settings) - 4} others" if len(settings) > 4 else "")
