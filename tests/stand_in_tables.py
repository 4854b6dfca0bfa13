"""Tables of known materials small enough to work every answer out by hand."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pymatgen.core import Composition

from inverse.reference import Facts, KnownMaterials
from inverse.reference.hull import ReferenceHull
from inverse.reference.phases import NO_ENERGY, PhaseTable

XENON_GAP, XENON = {"Xe": 9.0}, ("Xe", "225|4 -3mm Xe", 60.0)
"""What stands in tables of gaps and of structures that are else empty; xenon is in no other."""


def tables(
    energies: Mapping[str, float | None],
    moduli: Sequence[tuple[str, int, float, float]] = (),
    structures: Sequence[tuple[str, str, float]] = (),
    gaps: Mapping[str, float] = XENON_GAP,
) -> tuple[Facts, KnownMaterials]:
    """Return facts and known materials.

    Args:
        energies: reduced formula -> formation energy, eV/atom; elements with it are the hull's references.
        moduli: formula, atoms of the computed cell, K and G in GPa; the sources alternate.
        structures: formula, signature, volume per atom in Å³.
        gaps: formula -> eV.
    """
    phases = _phases(energies)
    columns = {
        "formula": [row[0] for row in moduli],
        "n_atoms": np.array([row[1] for row in moduli], dtype=int),
        "bulk_modulus_vrh": np.array([row[2] for row in moduli], dtype=float),
        "shear_modulus_vrh": np.array([row[3] for row in moduli], dtype=float),
        "source": np.arange(len(moduli)) % 2,
    }
    ordered = sorted([*structures, XENON], key=lambda row: row[0])
    known = KnownMaterials(
        phases,
        pa.array([row[0] for row in ordered], pa.string()),
        pa.array([row[1] for row in ordered], pa.string()),
        np.array([row[2] for row in ordered], dtype=float),
        np.zeros(len(ordered), dtype=int),
    )
    return Facts(ReferenceHull(phases), columns, dict(gaps)), known


def _phases(energies: Mapping[str, float | None]) -> PhaseTable:
    by_system = sorted((Composition(formula).chemical_system, formula) for formula in energies)
    systems = [system for system, _ in by_system]
    stored = [energies[formula] for _, formula in by_system]
    return PhaseTable(
        pa.array([formula for _, formula in by_system], pa.string()),
        np.array([NO_ENERGY if e is None else round(1000 * e) for e in stored], dtype=np.int16),
        np.full(len(stored), 2),
        {s: (systems.index(s), systems.index(s) + systems.count(s)) for s in systems},
    )
