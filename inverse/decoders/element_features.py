"""Element properties for the decoder's training: features, order, atomic volumes."""

import warnings

import numpy as np
from pymatgen.core import Element

from inverse.decoders.acceptance import covalent_radii
from surrogates.crystals.batch import ELEMENT_SYMBOLS


def element_statistics() -> np.ndarray:
    """Return (103, 12) standardised features; the first 8 go into the structure model."""
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for z, symbol in enumerate(ELEMENT_SYMBOLS):
            e = Element(symbol)
            block = "spdf".index(e.block)
            values = [
                float(e.X),
                float(covalent_radii()[z]),
                float(e.group),
                float(e.row),
                float(block),
                float(e.mendeleev_no or np.nan),
                np.log(float(e.atomic_mass)),
                _number(e, "melting_point"),
                _number(e, "bulk_modulus"),
                _number(e, "boiling_point"),
                _number(e, "molar_volume"),
                _number(e, "atomic_radius"),
            ]
            rows.append(values)
    table = np.array(rows, dtype=float)
    table = np.where(np.isnan(table), np.nanmedian(table, axis=0), table)
    return (table - table.mean(axis=0)) / table.std(axis=0)


def _number(element: Element, name: str) -> float:
    try:
        value = getattr(element, name)
    except (AttributeError, ValueError):
        return float("nan")
    return float("nan") if value is None else float(value)


def element_order() -> list[str]:
    """Return the symbols by falling electronegativity (noble gases without one last): the composition model's
    order.

    Non-metals come first, so that a required one is settled before the model would like to end the formula.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sorted(ELEMENT_SYMBOLS, key=lambda s: (-np.nan_to_num(float(Element(s).X)), s))
