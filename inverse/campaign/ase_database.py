"""candidates.db: the verified candidates as an ASE database, which `ase db` and `ase gui` open."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.elastic_constants import elastic_numbers, tensor_of
from inverse.candidates.types import Candidate, Status
from inverse.inputs.records import candidate_to_record
from surrogates.crystals.formulas import display_formula

KEPT = (Status.HIT, Status.VERIFIED, Status.FAILED)
"""Statuses of the candidates that are written."""


class AseDatabase:
    """One row a candidate, replaced when the candidate changes; a write costs the same however many it holds.

    Every write is one transaction: a kill leaves all of it or nothing. Whoever writes holds the run folder's
    lock, so ASE's own lock file, which outlives a kill, is not used.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file, and read which candidates it holds.

        Raises:
            OSError: the file cannot be read or made.
        """
        self._path = path
        with self._connected() as database:
            rows = database.select(columns=["id", "key_value_pairs"], include_data=False)
            self._rows = {row.candidate: row.id for row in rows}

    @property
    def ids(self) -> frozenset[str]:
        """Of the candidates in the file."""
        return frozenset(self._rows)

    def write(self, candidates: Iterable[Candidate]) -> None:
        """Write the verified ones among the candidates, in place of what the file says of them."""
        written = {}
        with self._connected() as database:
            for candidate in candidates:
                if candidate.status in KEPT:
                    atoms, pairs, data = _row(candidate)
                    row = self._rows.get(candidate.id)
                    written[candidate.id] = database.write(atoms, key_value_pairs=pairs, data=data, id=row)
        self._rows.update(written)

    def _connected(self) -> Any:
        from ase.db import connect

        return connect(str(self._path), type="db", use_lock_file=False)


def _name(structure: Structure) -> str:
    """Return the display formula; ASE refuses text that float() reads, which NaN and InF are."""
    name = display_formula(structure.composition)
    try:
        float(name)
    except ValueError:
        return name
    return str(structure.composition.reduced_composition.formula.replace(" ", ""))


def _row(candidate: Candidate) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    from pymatgen.io.ase import AseAtomsAdaptor

    verification = candidate.verification
    relaxed = verification.structure if verification is not None else None
    structure = (candidate.structure if relaxed is None else relaxed).copy()
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    pairs: dict[str, Any] = {"candidate": candidate.id, "status": candidate.status.value}
    pairs["name"] = _name(structure)
    pairs |= {
        "proposer": candidate.proposer,
        "hit_class": candidate.hit_class.value if candidate.hit_class else "",
    }
    if candidate.known_phase is not None:
        pairs["known_phase"] = str(candidate.known_phase)
    if candidate.score is not None:
        pairs["score"] = float(candidate.score)
    for name, value in (verification.values if verification is not None else {}).items():
        pairs[f"verified_{name}"] = float(value.mean)
    for name, predicted in candidate.predictions.items():
        pairs[f"predicted_{name}"] = float(predicted.mean)
    pairs |= elastic_numbers(verification)
    record = candidate_to_record(replace(candidate, verification=None))
    del record["verification"]  # the journal has it
    data: dict[str, Any] = {"record": record}
    if (tensor := tensor_of(verification)) is not None:
        data["elastic_tensor"] = tensor
    return atoms, pairs, data
