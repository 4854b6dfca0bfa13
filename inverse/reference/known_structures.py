"""The structures of a known phase by its formula, rebuilt: that of lowest energy, or all that may be it."""

from collections.abc import Mapping
from functools import lru_cache

from pymatgen.core import Structure

from inverse.reference.construction import structure_of
from inverse.reference.known import KnownMaterials
from inverse.reference.phases import PACKAGE_DATA, PhaseTable, to_composition
from inverse.reference.signatures import Signature, parse_signature
from inverse.reference.skeletons import n_atoms_of
from surrogates.errors import DataError

AS_LOW = 0.02
"""eV/atom above the lowest polymorph within which another stands for it, where only that can be rebuilt."""

LARGEST_CELL = 40
"""Atoms of the largest primitive cell that is rebuilt where no energy says which polymorph is the lowest."""


@lru_cache(maxsize=256)
def lowest_tabulated(formula: str) -> Structure | None:
    """Return the structure of lowest tabulated energy, or one within `AS_LOW` of it that can be rebuilt.

    None where no energy of the formula's structures is tabulated, or none of these can be rebuilt.

    Args:
        formula: any spelling.

    Raises:
        DataError: the carried signatures are missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    formula = to_composition(formula).reduced_formula
    tabulated = tabulated_phases().get(formula, ())
    low = [phase for energy, phase in tabulated if energy <= tabulated[0][0] + AS_LOW]
    return next((s for s in map(structure_of, low) if s is not None), None)


@lru_cache(maxsize=256)
def known_structures(formula: str) -> tuple[Structure, ...]:
    """Return the carried phases of a formula that may be its lowest (primitive cells, carried volumes).

    One, where an energy says which: that of lowest tabulated energy, or within `AS_LOW` of it where only that
    can be rebuilt from its signature. Where no structure's energy is tabulated, or the formula's tabulated
    energy is lower than all of these, each that can be rebuilt and is not known to lie higher, smallest
    first: whoever computes energies finds the lowest.

    Args:
        formula: any spelling.

    Raises:
        DataError: the carried signatures are missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    formula = to_composition(formula).reduced_formula
    tabulated = tabulated_phases().get(formula, ())
    if _has_lowest(formula, tabulated):
        lowest = lowest_tabulated(formula)
        return () if lowest is None else (lowest,)
    higher = {phase.text for _, phase in tabulated}
    carried = KnownMaterials.packaged().signatures_of_reduced(formula)
    may_be = [s for s in carried if s.text not in higher and n_atoms_of(s.text) <= LARGEST_CELL]
    built = map(structure_of, sorted(may_be, key=lambda s: n_atoms_of(s.text)))
    return tuple(structure for structure in built if structure is not None)


def why_no_structure(formula: str) -> str:
    """Return in words what is missing of a formula of which `known_structures` gives none.

    Raises:
        DataError: the carried signatures are missing or damaged.
        UnsupportedElementError: not a chemical formula.
    """
    formula = to_composition(formula).reduced_formula
    tabulated = tabulated_phases().get(formula, ())
    if _has_lowest(formula, tabulated):
        return f"no shape of its lowest structure's type is known ({_shown(tabulated[0][1])})"
    carried = KnownMaterials.packaged().signatures_of_reduced(formula)
    if not carried:
        return "its formula is known, no structure of it is carried"
    named = ", ".join(_shown(one) for one in carried[:2]) + (", ..." if len(carried) > 2 else "")
    return f"none of its {len(carried)} carried structures can be rebuilt, or may be its lowest ({named})"


def _has_lowest(formula: str, tabulated: tuple[tuple[float, Signature], ...]) -> bool:
    """Return whether a structure is tabulated whose energy is about that of the formula."""
    if not tabulated:
        return False
    phase = PhaseTable.packaged().phase(formula)
    of_formula = None if phase is None else phase.formation_energy_per_atom
    return of_formula is None or tabulated[0][0] <= of_formula + AS_LOW


def _shown(found: Signature) -> str:
    return f"space group {found.space_group}, {n_atoms_of(found.text)} atoms"


@lru_cache(maxsize=1)
def tabulated_phases() -> Mapping[str, tuple[tuple[float, Signature], ...]]:
    """Return, by formula, the tabulated energies (eV/atom) and signatures, lowest first.

    Raises:
        DataError: the carried signatures are missing or damaged.
    """
    import pyarrow.parquet as parquet

    path = PACKAGE_DATA / "signatures.parquet"
    try:
        table = parquet.read_table(path, columns=["formula", "signature", "cell_volume", "cell_energy"])
        rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"reference signatures {path.name} cannot be read: {error}") from None
    found: dict[str, list[tuple[float, Signature]]] = {}
    for formula, text, volumes, energies in rows:
        for volume, energy in zip(volumes or (), energies or (), strict=True):
            found.setdefault(formula, []).append((energy, Signature(text, parse_signature(text)[0], volume)))
    return {name: tuple(sorted(own, key=lambda one: one[0])) for name, own in found.items()}
