"""Measured values by formula: somebody made a crystal of it. Of which polymorph, the tables do not say."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from inverse.reference.phases import PACKAGE_DATA, to_composition
from surrogates.errors import DataError


class Quantity(IntEnum):
    """What was measured, as the carried file numbers it."""

    VICKERS_HARDNESS = 0
    BAND_GAP = 1


@dataclass(frozen=True)
class Measurement:
    """One measured value of a formula.

    Attributes:
        quantity: which.
        value: GPa or eV.
        load: of the indenter, N; 0 where there is none.
    """

    quantity: Quantity
    value: float
    load: float = 0.0

    def __str__(self) -> str:
        """Return it as a reader says it.

        >>> str(Measurement(Quantity.VICKERS_HARDNESS, 24.0, 4.9))
        'Vickers hardness 24 GPa at 4.9 N'
        """
        if self.quantity is Quantity.BAND_GAP:
            return f"band gap {self.value:.3g} eV"
        return f"Vickers hardness {self.value:.3g} GPa at {self.load:.3g} N"


def measurements_of(formula: str) -> tuple[Measurement, ...]:
    """Return what was measured of a formula, each quantity once; () where the carried tables hold nothing.

    Of hardnesses that of the largest load, which is the lowest.

    Args:
        formula: any spelling.

    Raises:
        DataError: the carried table is missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    return _carried().get(to_composition(formula).reduced_formula, ())


@lru_cache(maxsize=1)
def _carried() -> Mapping[str, tuple[Measurement, ...]]:
    import pyarrow.parquet as parquet

    path = PACKAGE_DATA / "measured.parquet"
    names = ["formula", "quantity", "value", "load"]
    try:
        table = parquet.read_table(path, columns=names)
        rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
        found: dict[str, tuple[Measurement, ...]] = {}
        for formula, quantity, value, load in rows:
            one = Measurement(Quantity(quantity), value, load)
            found[formula] = (*found.get(formula, ()), one)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"measured values {path.name} cannot be read: {error}") from None
    return found
