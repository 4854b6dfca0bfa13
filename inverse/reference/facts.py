"""DFT facts by reduced formula: elastic moduli, formation energy, energy above the hull, band gap."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Composition

from inverse.reference.hull import ReferenceHull
from inverse.reference.phases import PACKAGE_DATA, to_composition
from surrogates.errors import DataError

MODULI_SOURCES: tuple[str, ...] = ("Materials Project", "AFLOW")
"""Meaning of the column `source` of the moduli."""


DECIMALS = 9
"""Of a distance from the hull, eV/atom: what lies beyond is the rounding of the machine, on a bound too."""


@dataclass(frozen=True)
class Moduli:
    """Elastic moduli of one entry; a formula may have several (polymorphs, sources).

    Attributes:
        formula: reduced formula.
        n_atoms: atoms of the cell that was computed.
        bulk_modulus_vrh: GPa, Voigt-Reuss-Hill.
        shear_modulus_vrh: GPa, Voigt-Reuss-Hill.
        source: one of `MODULI_SOURCES`.
    """

    formula: str
    n_atoms: int
    bulk_modulus_vrh: float
    shear_modulus_vrh: float
    source: str


@dataclass
class Facts:
    """What calculations say about known formulas.

    Attributes:
        hull: formation energies and distances to the hull.
        moduli: columns formula, n_atoms, bulk_modulus_vrh, shear_modulus_vrh, source; rows sorted by formula.
    """

    hull: ReferenceHull
    moduli: Mapping[str, Any]
    _band_gaps: dict[str, float] = field(default_factory=dict, repr=False)
    _moduli_rows: dict[str, list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "Facts":
        """Return the facts that ship with the package, read once per process.

        Raises:
            DataError: a file is missing or damaged.
        """
        table = _read(PACKAGE_DATA / "moduli.parquet")
        columns: dict[str, Any] = {"formula": table["formula"].to_pylist()}
        for name in ("n_atoms", "bulk_modulus_vrh", "shear_modulus_vrh", "source"):
            columns[name] = table[name].to_numpy()
        return cls(ReferenceHull.packaged(), columns)

    @property
    def bulk_modulus_vrh(self) -> np.ndarray:
        """(M,) GPa, of every entry with moduli."""
        return np.asarray(self.moduli["bulk_modulus_vrh"], dtype=float)

    @property
    def shear_modulus_vrh(self) -> np.ndarray:
        """(M,) GPa, of every entry with moduli."""
        return np.asarray(self.moduli["shear_modulus_vrh"], dtype=float)

    def entries(self, rows: Iterable[int]) -> list[Moduli]:
        """Return the entries with moduli at these rows."""
        columns = self.moduli
        return [
            Moduli(
                columns["formula"][i],
                int(columns["n_atoms"][i]),
                float(columns["bulk_modulus_vrh"][i]),
                float(columns["shear_modulus_vrh"][i]),
                MODULI_SOURCES[int(columns["source"][i])],
            )
            for i in rows
        ]

    def moduli_of(self, formula: str | Composition) -> list[Moduli]:
        """Return every entry of a formula, stiffest first; [] when there is none.

        Raises:
            UnsupportedElementError: not a chemical formula.
        """
        if not self._moduli_rows:
            for row, name in enumerate(self.moduli["formula"]):
                self._moduli_rows.setdefault(name, []).append(row)
        rows = self._moduli_rows.get(to_composition(formula).reduced_formula, [])
        return sorted(self.entries(rows), key=lambda m: -m.bulk_modulus_vrh)

    def formation_energy_of(self, formula: str | Composition) -> float | None:
        """Return the formation energy of the lowest known polymorph, eV/atom on the reconciled scale."""
        phase = self.hull.phases.phase(to_composition(formula))
        return None if phase is None else phase.formation_energy_per_atom

    def energy_above_hull_of(self, formula: str | Composition) -> float | None:
        """Return the distance of the lowest known polymorph to the hull, eV/atom; 0 where it is on it."""
        energy = self.formation_energy_of(formula)
        if energy is None:
            return None
        return round(energy - self.hull.below(formula), DECIMALS)

    @property
    def band_gaps(self) -> Mapping[str, float]:
        """Band gap (eV) by reduced formula: the median over the polymorphs of the source."""
        if not self._band_gaps:
            table = _read(PACKAGE_DATA / "band_gaps.parquet")
            values = (table["band_gap_mev"].to_numpy() / 1000.0).tolist()
            self._band_gaps.update(zip(table["formula"].to_pylist(), values, strict=True))
        return self._band_gaps

    def band_gap_of(self, formula: str | Composition) -> float | None:
        """Return the band gap (eV) of a formula; None when unknown."""
        return self.band_gaps.get(to_composition(formula).reduced_formula)

    def values_of(self, formula: str | Composition) -> dict[str, float]:
        """Return every fact of a formula by property name; moduli of its stiffest entry.

        Raises:
            UnsupportedElementError: not a chemical formula.
        """
        found: dict[str, float | None] = {
            "formation_energy_per_atom": self.formation_energy_of(formula),
            "energy_above_hull": self.energy_above_hull_of(formula),
            "band_gap": self.band_gap_of(formula),
        }
        for entry in self.moduli_of(formula)[:1]:
            found["bulk_modulus_vrh"] = entry.bulk_modulus_vrh
            found["shear_modulus_vrh"] = entry.shear_modulus_vrh
        return {name: value for name, value in found.items() if value is not None}


def _read(path: Path) -> Any:
    import pyarrow.parquet as parquet

    try:
        return parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise DataError(f"reference table {path.name} cannot be read: {error}") from None
