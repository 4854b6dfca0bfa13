"""Crystals whose hit class is settled: orderings of known phases, and compounds that derive from nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pymatgen.core import Lattice, Structure


@dataclass(frozen=True)
class Named:
    """A crystal and what must be said about it.

    Attributes:
        name: its formula as usually written, with the ordering where there are several.
        structure: ideal, with lattice constants of its end members.
        hit_class: wanted; "" leaves it open.
        derivative_of: wanted end members, any of them; ("",) wants none.
    """

    name: str
    structure: Structure
    hit_class: str
    derivative_of: tuple[str, ...]


def named_crystals() -> list[Named]:
    """Return the crystals, orderings first."""
    cases: list[tuple[str, Structure, str, tuple[str, ...]]] = [
        ("W2MoC3", stacked_carbide(["W", "W", "Mo"]), "derivative", ("WC",)),
        ("W2TaC3", stacked_carbide(["W", "W", "Ta"]), "derivative", ("WC",)),
        ("W3NbC4", stacked_carbide(["W", "W", "W", "Nb"]), "derivative", ("WC",)),
        ("Mo2WTaC4", stacked_carbide(["Mo", "W", "Mo", "Ta"]), "derivative", ("WC", "MoC", "TaC")),
        ("W2CN", stacked_carbide(["W", "W"], ["C", "N"]), "derivative", ("WC", "WN")),
        ("TiWB4 stacked", stacked_diboride(["Ti", "W"]), "derivative", ("TiB2", "WB2")),
        ("TiWB4 in plane", diboride_in_plane("Ti", "W"), "derivative", ("TiB2", "WB2")),
        ("WMoC2", stacked_carbide(["W", "Mo"]), "known", ("WC",)),
        ("WTaC2", stacked_carbide(["W", "Ta"]), "known", ("WC",)),
        # pymatgen writes Mo2BC as BMo2C
        ("MoWBC", mo2bc("Mo", "W"), "", ("BMo2C", "Mo2BC")),
        ("BC2N on diamond", diamond({0: "B", 1: "N"}, (1, 1, 2)), "", ("C",)),
        ("Ti3AlC", _ti3alc(), "known", ("",)),
        ("MgAl2O4", _spinel(), "known", ("",)),
        ("TiNiSn", _half_heusler(), "known", ("",)),
        ("Mo2BC", mo2bc("Mo", "Mo"), "known", ("",)),
    ]
    return [Named(*case) for case in cases]


def stacked_carbide(metals: Sequence[str], light: Sequence[str] = ()) -> Structure:
    """Return layers of the WC type, one metal and one light element (carbon) each."""
    n = len(metals)
    coords: list[list[float]] = [[0, 0, i / n] for i in range(n)] + [
        [1 / 3, 2 / 3, (i + 0.5) / n] for i in range(n)
    ]
    return Structure(Lattice.hexagonal(2.92, n * 2.85), [*metals, *(light or ["C"] * n)], coords)


def stacked_diboride(metals: Sequence[str]) -> Structure:
    """Return layers of the AlB2 type, one metal each."""
    n = len(metals)
    coords: list[list[float]] = [[0, 0, i / n] for i in range(n)]
    coords += [[x, y, (i + 0.5) / n] for i in range(n) for x, y in ((1 / 3, 2 / 3), (2 / 3, 1 / 3))]
    return Structure(Lattice.hexagonal(3.03, n * 3.15), [*metals, *["B"] * (2 * n)], coords)


def diboride_in_plane(one: str, other: str) -> Structure:
    """Return the AlB2 type with rows of two metals in each layer."""
    coords: list[list[float]] = [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    cell = Structure(Lattice.hexagonal(3.03, 3.15), [one, "B", "B"], coords) * (2, 1, 1)
    second = [i for i, site in enumerate(cell) if site.specie.symbol == one][1]
    cell.replace(second, other)
    return cell


def diamond(species: Mapping[int, str], size: tuple[int, int, int]) -> Structure:
    """Return a supercell of diamond's primitive cell with other elements at some of its sites."""
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.6), ["C"], [[0, 0, 0]])
    cell = cell.get_primitive_structure() * size
    for site, element in species.items():
        cell.replace(site, element)
    return cell


def mo2bc(one: str, other: str) -> Structure:
    """Return Mo2BC (Cmcm; a 3.086, b 17.35, c 3.047 Å), or an ordering of two metals on its sites."""
    cell = Structure.from_spacegroup(
        "Cmcm",
        Lattice.orthorhombic(3.086, 17.35, 3.047),
        ["Mo", "Mo", "B", "C"],
        [[0, 0.0721, 0.25], [0, 0.3139, 0.25], [0, 0.473, 0.25], [0, 0.192, 0.25]],
    )
    for i in range(4):
        cell.replace(i, one)
        cell.replace(4 + i, other)
    return cell.get_primitive_structure()


def _ti3alc() -> Structure:
    sites: list[list[float]] = [[0.5, 0.5, 0], [0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Pm-3m", Lattice.cubic(4.16), ["Ti", "Al", "C"], sites)


def _spinel() -> Structure:
    sites: list[list[float]] = [[0, 0, 0], [5 / 8] * 3, [0.3874] * 3]
    cell = Structure.from_spacegroup("Fd-3m", Lattice.cubic(8.08), ["Mg", "Al", "O"], sites)
    return cell.get_primitive_structure()


def _half_heusler() -> Structure:
    sites: list[list[float]] = [[0, 0, 0], [0.25] * 3, [0.5] * 3]
    cell = Structure.from_spacegroup("F-43m", Lattice.cubic(5.93), ["Ti", "Ni", "Sn"], sites)
    return cell.get_primitive_structure()
