"""Crystals for tests of the physics: small, well known, made here."""

from pymatgen.core import Lattice, Structure


def fcc(symbol: str = "Cu", a: float = 3.6) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [symbol], [[0, 0, 0]])


def hcp(symbol: str = "Cu", a: float = 2.5, c: float = 4.1) -> Structure:
    return Structure(Lattice.hexagonal(a, c), [symbol] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])


def l1_2(first: str = "Cu", second: str = "Au", a: float = 3.7) -> Structure:
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(a), [second, first], [[0, 0, 0], [0, 0.5, 0.5]])


def diamond(symbol: str = "C", a: float = 3.57) -> Structure:
    return Structure.from_spacegroup("Fd-3m", Lattice.cubic(a), [symbol], [[0, 0, 0]])


def tungsten_carbide() -> Structure:
    return Structure(Lattice.hexagonal(2.91, 2.84), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])


def low_symmetry() -> Structure:
    """An ordering of hexagonal close packing: orthorhombic, with several free coordinates."""
    structure = hcp("Cu", 2.9, 4.7)
    structure.make_supercell([[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    structure.replace(0, "Au")
    return structure
