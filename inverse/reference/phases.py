"""The table of known formulas: name, formation energy on one scale, source; grouped by chemical system."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np
from pymatgen.core import Composition

from surrogates.crystals.typed_formulas import composition_of
from surrogates.errors import DataError, EngineError, UnsupportedElementError

PACKAGE_DATA = Path(__file__).resolve().parent
"""Folder of the parquet files; DATA.md there names origin and licence of each."""

SOURCES: tuple[str, ...] = ("name only", "Materials Project structures", "Materials Project", "OQMD")
"""Meaning of the column `source`: where the formation energy comes from."""

NO_ENERGY = np.iinfo(np.int16).min
"""Stored in place of an energy that is missing or was dropped as an outlier."""


@dataclass(frozen=True)
class Phase:
    """One known formula.

    Attributes:
        formula: reduced formula as pymatgen writes it.
        formation_energy_per_atom: eV/atom on the reconciled scale; None where no trusted value exists.
        source: one of `SOURCES`.
    """

    formula: str
    formation_energy_per_atom: float | None
    source: str


@dataclass(frozen=True)
class PhaseTable:
    """All known formulas, sorted by chemical system.

    Attributes:
        formulas: arrow string array, N reduced formulas.
        energies: (N,) int16, meV/atom; `NO_ENERGY` where there is none.
        sources: (N,) index into `SOURCES`.
        rows: chemical system ("B-C-W") -> (first row, one past the last).
    """

    formulas: object
    energies: np.ndarray
    sources: np.ndarray
    rows: Mapping[str, tuple[int, int]]

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "PhaseTable":
        """Return the table that ships with the package, read once per process.

        Raises:
            DataError: the file is missing or damaged.
        """
        return cls.read(PACKAGE_DATA / "phases.parquet")

    @classmethod
    def read(cls, path: Path) -> "PhaseTable":
        """Return the table of a parquet file with columns chemical_system, formula, energy, source.

        Raises:
            DataError: the file is missing or damaged.
        """
        import pyarrow.parquet as parquet

        try:
            table = parquet.read_table(path, read_dictionary=["chemical_system"]).combine_chunks()
            systems = table["chemical_system"].combine_chunks()
            codes = systems.indices.to_numpy()
            starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
            stops = np.r_[starts[1:], len(codes)]
            names = systems.dictionary.take(codes[starts]).to_pylist()
            return cls(
                formulas=table["formula"].combine_chunks(),
                energies=table["formation_energy_mev"].to_numpy(),
                sources=table["source"].to_numpy(),
                rows=dict(zip(names, zip(starts.tolist(), stops.tolist(), strict=True), strict=True)),
            )
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"reference table {path.name} cannot be read: {error}") from None

    def __len__(self) -> int:
        """Number of known formulas."""
        return len(self.energies)

    def phases_of(self, system: str) -> list[Phase]:
        """Return the phases of exactly this chemical system ("B-C-W", sorted); [] when none is known."""
        start, stop = self.rows.get(system, (0, 0))
        names = self.formulas[start:stop].to_pylist()  # type: ignore[index]
        return [
            Phase(name, None if energy == NO_ENERGY else energy / 1000.0, SOURCES[source])
            for name, energy, source in zip(
                names, self.energies[start:stop].tolist(), self.sources[start:stop].tolist(), strict=True
            )
        ]

    def phases_within(self, elements: tuple[str, ...]) -> Iterator[Phase]:
        """Yield the phases of every chemical system that these elements span."""
        for size in range(1, len(elements) + 1):
            for subset in combinations(sorted(elements), size):
                yield from self.phases_of("-".join(subset))

    def phase(self, formula: str | Composition) -> Phase | None:
        """Return the phase with this formula (any spelling), None when it is not known.

        Raises:
            UnsupportedElementError: not a chemical formula.
        """
        composition = to_composition(formula)
        reduced = composition.reduced_formula
        return next((p for p in self.phases_of(composition.chemical_system) if p.formula == reduced), None)


def to_composition(formula: str | Composition) -> Composition:
    """Return the composition of a formula as people type it; oxidation states are dropped.

    Raises:
        UnsupportedElementError: not a chemical formula, or an element that does not exist.
    """
    try:
        composition = formula if isinstance(formula, Composition) else composition_of(formula)
    except EngineError as error:
        why = f"{formula!r} is not a chemical formula such as 'WC': {error}"
        raise UnsupportedElementError(why) from None
    elements = composition.get_el_amt_dict()
    if not elements:
        raise UnsupportedElementError("a composition without atoms is not a chemical formula")
    return Composition(elements)
