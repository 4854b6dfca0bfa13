"""What the store holds about the DFT rows, as the judges' readings; computes nothing."""

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import structure_of
from inverse.potentials.inquiry import Inquiry
from inverse.verification.calibration.readings import Readings, read_shear, readings
from inverse.verification.judge import Judge, TensorVerdict
from inverse.verification.judges import phase_disagreement
from inverse.verification.store import VerificationStore

FAILED, PHASE, UNSTABLE = "not_relaxed", "another_phase", "unstable"
"""Named catastrophes beside `Readings.doubts`."""


@dataclass(frozen=True)
class StoredRow:
    """A DFT row and what is stored of it.

    Attributes:
        row: as in the shared file.
        missing: the judges of `auto` have not all been asked yet.
        catastrophe: FAILED (no K), PHASE or UNSTABLE (no G), "" when the judges finished and agree.
        reason: in words.
        judges: K by 7net-l3i5, G by diep (NaN after a catastrophe).
        referee: K by diep, G by 7net-l3i5; None where it has not been asked.
        alone: readings of potentials that judge everything themselves, by name.
    """

    row: dict[str, Any]
    missing: bool = False
    catastrophe: str = ""
    reason: str = ""
    judges: Readings | None = None
    referee: Readings | None = None
    alone: dict[str, Readings] = field(default_factory=dict)


class _MissingError(Exception):
    """The store does not hold it."""


class _Remembering(Judge):
    """A judge that only remembers; raises `_MissingError` where it would have to compute."""

    def _timed(self, *_: object) -> Inquiry[dict[str, Any]]:
        yield from ()
        raise _MissingError

    def _remember(self, *_: object) -> None:
        return


def stored_row(store: VerificationStore, row: dict[str, Any]) -> StoredRow:
    """Return a DFT row with what the store holds of it."""
    try:
        return _stored(row, store)
    except _MissingError:
        return StoredRow(row, missing=True, alone=_alone(row, store))


def _stored(row: dict[str, Any], store: VerificationStore) -> StoredRow:
    first = _Remembering("7net-l3i5", store=store, prerelax_by="7net-0")
    relaxed = first.relax(structure_of(row))
    if relaxed.structure is None:
        return StoredRow(row, catastrophe=FAILED, reason=relaxed.reason, alone=_alone(row, store))
    bulk = first.tensor(relaxed.structure, only_bulk=True)
    shear_judge = _Remembering("diep", store=store)
    own = shear_judge.relax(relaxed.structure)
    if own.structure is None and not own.is_stalled:
        return StoredRow(row, catastrophe=FAILED, reason=own.reason, alone=_alone(row, store))
    cell = own.structure
    disagreement = "" if cell is None else phase_disagreement(relaxed.structure, cell)
    cell = relaxed.structure if cell is None else cell
    shear = shear_judge.tensor(cell)
    judges = readings(bulk, shear, relaxed.structure, cell)
    alone = _alone(row, store)
    if disagreement:
        unread = replace(judges, shear=math.nan)
        return StoredRow(row, False, PHASE, disagreement, unread, alone=alone)
    alone["diep"] = readings(shear, shear, cell, cell)
    full, referee = _remembered_tensor(first, relaxed.structure), None
    if full is not None and full.failure is None:
        alone["7net-l3i5"] = readings(full, full, relaxed.structure, relaxed.structure)
        referee = readings(shear, full, cell, relaxed.structure)
    catastrophe = "" if math.isfinite(judges.shear) else UNSTABLE
    reason = ", ".join(read_shear(shear).flags) if catastrophe else ""
    return StoredRow(row, False, catastrophe, shear.reason or reason, judges, referee, alone)


def _alone(row: dict[str, Any], store: VerificationStore) -> dict[str, Readings]:
    """Return the readings of the potentials that were asked about the row itself, as a second opinion."""
    found = {}
    for name in ("7net-0", "chgnet"):
        judge = _Remembering(name, store=store)
        with suppress(_MissingError):
            cell = judge.relax(structure_of(row)).structure
            tensor = None if cell is None else judge.tensor(cell)
            if tensor is not None and cell is not None and tensor.failure is None:
                found[name] = readings(tensor, tensor, cell, cell)
    return found


def _remembered_tensor(judge: Judge, structure: Structure) -> TensorVerdict | None:
    try:
        return judge.tensor(structure)
    except _MissingError:
        return None
