"""Known phases have known energies: a crystal that is one takes the tabulated energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import hypot
from pathlib import Path
from typing import Any

import torch
from pymatgen.core import Structure

from inverse.candidates.types import KnownPhase
from inverse.reference.phases import PACKAGE_DATA
from inverse.reference.signatures import Cell, of_other_hand, signature_text
from surrogates.checkpoints.checkpoint import load_surrogate, weights_digest
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import DataError, EngineError
from surrogates.physics.properties import FORMATION_ENERGY
from surrogates.protocol import Z90, Prediction, Surrogate

NEAR_IN_VOLUME = 0.05
"""Largest relative difference in volume between a crystal and the tabulated cell it is taken for."""

FARTHEST_STRAIN = 0.2
"""Relative difference in volume up to which a crystal counts as a strained known phase: 6 % in length."""

SYMPRECS = (0.01, 0.1)
"""Tolerances, Å, at which a crystal's signature is compared with the tabulated ones."""

TIER = "structure"
"""Packaged surrogate whose energies of the tabulated cells are carried: the accurate tier has the same."""

WEIGHTS_KEY = b"surrogate_weights"
"""Entry of the file's metadata: SHA-256 of the weights with which those energies were computed."""

LEAST_STD, SHARE_OF_DIFFERENCE = 0.012, 1.0
"""Error of a known energy, in squares: eV/atom, and the share of what the surrogate says between both cells.

Of 304 pairs of Materials Project rows of one formula and signature within 5 % in volume, one from the other:
off by 0.008 eV/atom in the median and 0.038 at the 90th percentile, by about as much as the surrogate says
that they differ; these error bars hold 91 % (`python -m experiments.package_data.known_energies`).
"""


@dataclass(frozen=True)
class GivenEnergy:
    """An energy that counts instead of the predicted one.

    Attributes:
        energy: formation energy, eV/atom.
        std: eV/atom.
    """

    energy: float
    std: float


@dataclass(frozen=True)
class KnownEnergy(GivenEnergy):
    """The energy of a crystal that is a known phase.

    `energy` is that of this cell: tabulated, plus the surrogate's difference between this cell and the
    tabulated one.

    Attributes:
        phase: the tabulated one.
    """

    phase: KnownPhase


@dataclass(frozen=True)
class Strain:
    """How far a crystal is from the tabulated phase that it would be.

    Attributes:
        phase: the tabulated one.
        change: of the volume, relative to the tabulated cell.
    """

    phase: KnownPhase
    change: float


@dataclass(frozen=True)
class TabulatedCell:
    """One row of the table: a cell whose energy is known, without its coordinates.

    Attributes:
        signature: text.
        volume_per_atom: Å³.
        energy: formation energy, eV/atom, on the scale of the reference.
        surrogate_energy: what the packaged surrogate says of the tabulated cell, eV/atom.
        database_id: number of the Materials Project entry; 0 without one.
    """

    signature: str
    volume_per_atom: float
    energy: float
    surrogate_energy: float
    database_id: int

    @property
    def phase(self) -> KnownPhase:
        """The phase that it is a cell of."""
        return KnownPhase(f"mp-{self.database_id}" if self.database_id else "")


class KnownEnergies:
    """Looks crystals up among the phases whose energy is tabulated.

    Deterministic. Not differentiable: between cells of one phase the tabulated energy is a constant, so the
    gradients of a descent are the surrogate's own, and descents do without.
    """

    def __init__(self, cells: Mapping[str, Sequence[TabulatedCell]], surrogate: Surrogate) -> None:
        """Take the tabulated cells by reduced formula, and the surrogate that their energies are of."""
        self._cells, self._surrogate = cells, surrogate

    @classmethod
    @lru_cache(maxsize=1)
    def packaged(cls) -> "KnownEnergies":
        """Return those that ship with the package, read once per process.

        Raises:
            DataError: the file is missing or damaged, or was built with other weights than the packaged ones.
        """
        return cls(
            read_cells(PACKAGE_DATA / "signatures.parquet", weights_digest(TIER)), load_surrogate(TIER)
        )

    def of(self, structures: Sequence[Structure | None]) -> list[KnownEnergy | None]:
        """Return the known energy of each crystal, None where it is no known phase or not asked for.

        A crystal is one where formula and signature agree and the volume is within 5 %; of several tabulated
        cells the nearest in volume counts, of equally near ones the lowest. About 2 ms for a crystal whose
        formula and volume are tabulated, next to nothing for any other.
        """
        found = [self._cell_of(structure) for structure in structures]
        rows = [row for row, cell in enumerate(found) if cell is not None]
        asked = [structure for structure, cell in zip(structures, found, strict=True) if cell is not None]
        answers: list[KnownEnergy | None] = [None] * len(structures)
        if not rows:
            return answers
        crystals = CrystalBatch.from_structures([structure for structure in asked if structure is not None])
        with torch.no_grad():
            said = self._surrogate.predict(crystals, [FORMATION_ENERGY])[FORMATION_ENERGY].mean.tolist()
        for row, energy in zip(rows, said, strict=True):
            cell = found[row]
            if cell is not None:
                difference = energy - cell.surrogate_energy
                std = hypot(LEAST_STD, SHARE_OF_DIFFERENCE * difference)
                answers[row] = KnownEnergy(cell.energy + difference, std, cell.phase)
        return answers

    def phase_of(self, crystal: Structure | Cell) -> KnownPhase | None:
        """Return the tabulated phase that a crystal is, None when it is none; the surrogate is not asked."""
        cell = self._cell_of(crystal)
        return None if cell is None else cell.phase

    def strain_of(self, structure: Structure) -> Strain | None:
        """Return how far a crystal is strained from the tabulated phase whose formula and signature it has.

        None within 5 % in volume, where its energy is known, and beyond FARTHEST_STRAIN, where another phase
        may as well be meant.
        """
        cell = self._cell_of(structure, FARTHEST_STRAIN)
        if cell is None:
            return None
        change = structure.volume / len(structure) / cell.volume_per_atom - 1.0
        return Strain(cell.phase, change) if abs(change) > NEAR_IN_VOLUME else None

    def _cell_of(
        self, crystal: Structure | Cell | None, within: float = NEAR_IN_VOLUME
    ) -> TabulatedCell | None:
        """Return the tabulated cell of a crystal's formula and signature, or of its mirror image's."""
        if crystal is None:
            return None
        try:
            cell = Cell.of(crystal)
        except EngineError:
            return None  # not ordered: no phase of the table
        near = [
            (change, known.energy, known)
            for known in self._cells.get(cell.reduced_formula, ())
            if (change := abs(cell.volume_per_atom / known.volume_per_atom - 1.0)) <= within
        ]
        for symprec in SYMPRECS if near else ():
            text = signature_text(cell, symprec)
            texts = () if text is None else (text, of_other_hand(text))
            same = [entry for entry in near if entry[2].signature in texts]
            if same:
                return min(same, key=lambda entry: (round(entry[0], 3), entry[1]))[2]
        return None


def with_known(prediction: Prediction, energies: Sequence[GivenEnergy | None]) -> Prediction:
    """Return a prediction of formation energies with the known ones in their places, in domain.

    Args:
        prediction: of C crystals; their draws keep their order, so that joint probabilities stand.
        energies: C, None where the prediction stays.
    """
    if all(known is None for known in energies):
        return prediction
    is_known = torch.tensor([known is not None for known in energies], device=prediction.mean.device)
    mean, std = prediction.mean.clone(), prediction.std.clone()
    for row, known in enumerate(energies):
        if known is not None:
            mean[row], std[row] = known.energy, known.std
    draws = (prediction.samples - prediction.mean) / prediction.std.clamp(min=1e-9)
    return replace(
        prediction,
        mean=mean,
        std=std,
        lower=torch.where(is_known, mean - Z90 * std, prediction.lower),
        upper=torch.where(is_known, mean + Z90 * std, prediction.upper),
        samples=torch.where(is_known, mean + std * draws, prediction.samples),
        in_domain=prediction.in_domain | is_known,
    )


def read_cells(path: Path, weights: str) -> dict[str, list[TabulatedCell]]:
    """Return the tabulated cells of a parquet file of signatures, by reduced formula.

    Args:
        path: of the file that `experiments.package_data.build_signatures` writes.
        weights: SHA-256 of the weights whose energies are wanted.

    Raises:
        DataError: the file is missing, damaged, or holds energies of other weights: differences to them would
            be wrong without a word.
    """
    import pyarrow.parquet as parquet

    names = ["formula", "signature", *COLUMNS]
    try:
        table = parquet.read_table(path, columns=names)
        made_with = (table.schema.metadata or {}).get(WEIGHTS_KEY, b"").decode()
        columns: list[list[Any]] = [table[name].to_pylist() for name in names]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"reference signatures {path.name} cannot be read: {error}") from None
    if made_with != weights:
        raise DataError(
            f"the energies in {path.name} are of other weights ({made_with[:8]}) than the packaged surrogate "
            f"({weights[:8]}); build them again: python -m experiments.package_data.build_signatures"
        )
    cells: dict[str, list[TabulatedCell]] = {}
    for formula, text, *lists in zip(*columns, strict=True):
        for values in zip(*lists, strict=True) if lists[0] else ():
            cells.setdefault(formula, []).append(TabulatedCell(text, *values))
    return cells


COLUMNS = ("cell_volume", "cell_energy", "cell_surrogate_energy", "cell_database_id")
"""Lists of a signature's row, one entry for each tabulated cell of it, in the order of `TabulatedCell`."""
