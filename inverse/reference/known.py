"""What is known: formulas, signatures of known structures, the nearest known material."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Element, Structure

from inverse.reference.phases import PACKAGE_DATA, PhaseTable, to_composition
from inverse.reference.signatures import SYMPRECS, Cell, Signature, are_alike, signature_text
from inverse.reference.skeletons import Template, templates
from surrogates.errors import DataError

ORIGINS: tuple[str, ...] = (
    "AFLOW prototype",
    "Materials Project",
    "AFLOW",
    "JARVIS",
    "Alexandria",
    "WBM (computed, by substitution)",
    "textbook (an element in its ground state, cubic BN)",
)
"""Meaning of the column `origin` of the carried signatures."""


@dataclass(frozen=True)
class KnownMaterials:
    """Formulas of the tables and signatures of known structures.

    Attributes:
        phases: every known formula, by chemical system.
        formulas: arrow string array (N,), sorted; of each carried signature.
        texts: arrow string array (N,), the signatures.
        volumes: (N,) Å³ per atom.
        origins: (N,) index into `ORIGINS`.
    """

    phases: PhaseTable
    formulas: object
    texts: object
    volumes: np.ndarray
    origins: np.ndarray

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "KnownMaterials":
        """Return what ships with the package, read once per process.

        Raises:
            DataError: a file is missing or damaged.
        """
        return cls.read(PhaseTable.packaged(), PACKAGE_DATA / "signatures.parquet")

    @classmethod
    def read(cls, phases: PhaseTable, path: Path) -> "KnownMaterials":
        """Return the signatures of a parquet file with columns formula, signature, volume_per_atom, origin.

        Raises:
            DataError: the file is missing or damaged.
        """
        import pyarrow.parquet as parquet

        try:
            table = parquet.read_table(path).combine_chunks()
            return cls(
                phases,
                formulas=table["formula"].combine_chunks(),
                texts=table["signature"].combine_chunks(),
                volumes=table["volume_per_atom"].to_numpy(),
                origins=table["origin"].to_numpy(),
            )
        except (OSError, KeyError, ValueError) as error:
            raise DataError(f"reference signatures {path.name} cannot be read: {error}") from None

    @cached_property
    def _rows(self) -> Mapping[object, tuple[int, int]]:
        codes = self.formulas.dictionary_encode()  # type: ignore[attr-defined]
        indices = codes.indices.to_numpy()
        starts = np.flatnonzero(np.r_[True, indices[1:] != indices[:-1]])
        stops = np.r_[starts[1:], len(indices)]
        return dict(
            zip(codes.dictionary.to_pylist(), zip(starts.tolist(), stops.tolist(), strict=True), strict=True)
        )

    def is_known_formula(self, formula: str | Composition) -> bool:
        """Return whether the formula stands in a carried table or among the carried signatures.

        Raises:
            UnsupportedElementError: not a chemical formula.
        """
        if formula in self._rows:
            return True
        composition = to_composition(formula)
        return composition.reduced_formula in self._rows or self.phases.phase(composition) is not None

    def signatures_of(self, formula: str | Composition) -> list[Signature]:
        """Return the carried signatures of a formula; [] when none is carried.

        Raises:
            UnsupportedElementError: not a chemical formula.
        """
        return self.signatures_of_reduced(to_composition(formula).reduced_formula)

    def signatures_of_reduced(self, formula: str) -> list[Signature]:
        """Return the same for a formula that is written as pymatgen writes it; no parsing, hence fast."""
        start, stop = self._rows.get(formula, (0, 0))
        texts = self.texts[start:stop].to_pylist()  # type: ignore[index]
        volumes = self.volumes[start:stop].tolist()
        return [Signature(t, int(t.split("|", 1)[0]), v) for t, v in zip(texts, volumes, strict=True)]

    def has_structure(self, crystal: Structure | Cell) -> bool:
        """Return whether one of the crystal's signatures (four tolerances) is carried for its formula.

        False too where no signature is carried for the formula: `signatures_of` tells the two apart.

        Raises:
            StructureError: not an ordered crystal.
        """
        cell = Cell.of(crystal)
        carried = {s.text for s in self.signatures_of(cell.reduced_formula)}
        return bool(carried) and any(signature_text(cell, symprec) in carried for symprec in SYMPRECS)

    def templates(self, max_atoms: int = 8, max_elements: int = 4) -> Iterator[Template]:
        """Yield the structure types of carried signatures, most frequent first, without WBM and elements."""
        rows = zip(
            self.formulas.to_pylist(),  # type: ignore[attr-defined]
            self.texts.to_pylist(),  # type: ignore[attr-defined]
            self.volumes.tolist(),
            self.origins.tolist(),
            strict=True,
        )
        first_left_out = ORIGINS.index("WBM (computed, by substitution)")
        return templates(((f, t, v) for f, t, v, o in rows if o < first_left_out), max_atoms, max_elements)

    def nearest(self, crystal: Structure | Cell) -> str:
        """Return the formula of the nearest known material, "" when its elements occur in none.

        Known formula: itself. Otherwise the known formula of the same elements, or with one element exchanged
        for an alike one or left out, whose composition is closest (alike elements count half).

        Raises:
            StructureError: not an ordered crystal.
        """
        composition = Composition(Cell.of(crystal).reduced_formula)
        if self.is_known_formula(composition):
            return str(composition.reduced_formula)
        best, distance = "", float("inf")
        for system in self._neighbouring_systems(composition):
            for phase in self.phases.phases_of(system):
                found = composition_distance(composition, Composition(phase.formula))
                if (found, phase.formula) < (distance, best):
                    best, distance = phase.formula, found
        return best

    def _neighbouring_systems(self, composition: Composition) -> list[str]:
        elements = sorted(e.symbol for e in composition.elements)
        systems = {"-".join(elements)}
        for symbol in elements:
            others = [e for e in elements if e != symbol]
            if others:
                systems.add("-".join(others))
            for z in range(1, 95):
                other = Element.from_Z(z).symbol
                if other not in elements and are_alike(symbol, other):
                    systems.add("-".join(sorted([*others, other])))
        return sorted(s for s in systems if s in self.phases.rows)


def composition_distance(one: Composition, other: Composition) -> float:
    """Return half the summed difference of atomic fractions; what alike elements make up counts half.

    >>> composition_distance(Composition("WC"), Composition("MoC"))
    0.25
    """
    elements = {e.symbol for e in (*one.elements, *other.elements)}
    excess = {e: one.get_atomic_fraction(e) - other.get_atomic_fraction(e) for e in elements}
    total = sum(x for x in excess.values() if x > 0)
    shared = 0.0
    missing = {e: -x for e, x in excess.items() if x < 0}
    for symbol in sorted(e for e, x in excess.items() if x > 0):
        for candidate in sorted(missing):
            if are_alike(symbol, candidate):
                moved = min(excess[symbol], missing[candidate])
                excess[symbol] -= moved
                missing[candidate] -= moved
                shared += moved
    return round(total - 0.5 * shared, 6)
