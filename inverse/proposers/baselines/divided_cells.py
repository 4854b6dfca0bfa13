"""Doubled cells, half the sites of one element set apart for another: orderings of a known cell."""

from collections.abc import Iterator

from pymatgen.core import Structure

from inverse.proposers.baselines.ordered_cells import supercells
from inverse.reference.deduplication import distinct

STAND_INS = ("Pu", "Np", "Pa", "Ac", "Am")
"""Mark the sites set apart; no seed holds all of them."""


def divided(parent: Structure) -> list[Structure]:
    """Return the distinct doubled cells of a crystal, in each half the sites of one element set apart.

    Sites of an element are set apart together where a lattice vector of the crystal maps them on the others.
    Those sites hold an element that the crystal has not, one of `STAND_INS`; [] when it has all of them.
    """
    free = [symbol for symbol in STAND_INS if symbol not in parent.symbol_set]
    if not free:
        return []
    found = list(_marked(parent, free[0]))
    return [found[k] for k in distinct(found).kept]


def _marked(parent: Structure, stand_in: str) -> Iterator[Structure]:
    for matrix in supercells(2):
        for element in sorted(parent.symbol_set):
            cell = parent * matrix  # the two images of a site stand side by side
            for site in range(len(cell))[::2]:
                if cell[site].specie.symbol == element:
                    cell.replace(site, stand_in)
            yield cell
