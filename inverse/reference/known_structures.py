"""The structure of a known phase by its formula: that of the lowest tabulated energy, rebuilt."""

from collections.abc import Mapping
from functools import lru_cache

from pymatgen.core import Structure

from inverse.reference.construction import structure_of
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import Signature, parse_signature
from surrogates.errors import DataError

AS_LOW = 0.02
"""eV/atom above the lowest polymorph within which another stands for it, where only that can be rebuilt."""


@lru_cache(maxsize=256)
def known_structure(formula: str) -> Structure | None:
    """Return the carried phase of lowest tabulated energy (primitive cell, tabulated volume).

    None where no energy of the formula's structures is tabulated, or where neither the lowest nor one within
    `AS_LOW` of it can be rebuilt from its signature.

    Args:
        formula: reduced, as pymatgen writes it.

    Raises:
        DataError: the carried signatures are missing or damaged.
    """
    phases = tabulated_phases().get(formula, ())
    for energy, phase in phases:
        if energy > phases[0][0] + AS_LOW:
            break
        if (structure := structure_of(phase)) is not None:
            return structure
    return None


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
