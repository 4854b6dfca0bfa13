"""The 103 elements that every batch has a column for; needs no torch, so that configs are read quickly."""

from collections.abc import Iterable

from pymatgen.core import Element

from surrogates.errors import UnsupportedElementError

N_ELEMENTS = 103
"""Width of every occupancy row: H (column 0) to Lr (column 102)."""

ELEMENT_SYMBOLS: tuple[str, ...] = tuple(Element.from_Z(z).symbol for z in range(1, N_ELEMENTS + 1))

ATOMIC_MASSES: tuple[float, ...] = tuple(float(Element(symbol).atomic_mass) for symbol in ELEMENT_SYMBOLS)
"""Standard atomic masses, amu."""


def refuse_isotopes(species: Iterable[object]) -> None:
    """Raise where pymatgen would take an isotope for its element: D has the symbol H.

    Raises:
        UnsupportedElementError: deuterium or tritium; names the element to write instead.
    """
    for kind in species:
        element = getattr(kind, "element", kind)
        if isinstance(element, Element) and element.name != element.symbol:
            raise UnsupportedElementError(
                f"isotope {element.name!r}: models and potentials know elements only; write {element.symbol}"
            )


def element_index(symbol: str) -> int:
    """Return the occupancy column of an element.

    Raises:
        UnsupportedElementError: not one of the first 103 elements.
    """
    try:
        return ELEMENT_SYMBOLS.index(symbol)
    except ValueError:
        raise UnsupportedElementError(f"element {symbol!r} is not one of H to Lr") from None
