"""What the store holds about the DFT rows, as the judges' readings; computes nothing."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from pymatgen.core import Structure

from inverse.benchmarks.dft_rows import structure_of
from inverse.potentials.inquiry import Inquiry
from inverse.verification.calibration.readings import (
    OF_TENSOR,
    Readings,
    is_by_volume,
    readings,
    stability,
)
from inverse.verification.judge import Judge, TensorVerdict
from inverse.verification.ladder import phase_disagreement
from inverse.verification.panel import OF_RECORD, OF_REFEREE, Panel
from inverse.verification.store import VerificationStore

FAILED, PHASE, UNSTABLE = "not_relaxed", "another_phase", "unstable"
"""Named catastrophes beside `Readings.doubts`."""


ALONE = ("7net-0", "chgnet")
"""Potentials that give, or gave, second opinions: asked about the row itself, and not after the judges."""


@dataclass(frozen=True)
class StoredRow:
    """A DFT row and what is stored of it.

    Attributes:
        row: as in the shared file.
        missing: the judges of `auto` have not all been asked yet.
        catastrophe: FAILED (no K), PHASE or UNSTABLE (no G), "" when the judges finished and agree.
        reason: in words.
        judges: of the panel of record; what its judge of stability reads is NaN after a catastrophe.
        referee: of the referee's panel; None where it has not been asked.
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
        return StoredRow(row, missing=True, alone=alone(row, store))


def _stored(row: dict[str, Any], store: VerificationStore) -> StoredRow:
    panel = OF_RECORD
    judges = {name: _Remembering(name, store=store) for name in panel.potentials}
    judges[panel.energy].prerelax_by = panel.prerelax_by
    relaxed = judges[panel.energy].relax(structure_of(row))
    if relaxed.structure is None:
        return StoredRow(row, catastrophe=FAILED, reason=relaxed.reason, alone=alone(row, store))
    cells = {panel.energy: relaxed.structure}
    tensors: dict[str, TensorVerdict] = {}
    disagreement = ""
    for name in dict.fromkeys((*panel.of_tensor.values(), panel.stability)):
        if name not in cells:
            own = judges[name].relax(relaxed.structure)
            if own.structure is None and not own.is_stalled:
                return StoredRow(row, catastrophe=FAILED, reason=own.reason, alone=alone(row, store))
            cells[name] = relaxed.structure if own.structure is None else own.structure
            disagreement = disagreement or phase_disagreement(relaxed.structure, cells[name])
        asked = [prop for prop, judge in panel.of_tensor.items() if judge == name]
        only_volume = name != panel.stability and is_by_volume(name, asked)
        tensors[name] = judges[name].tensor(cells[name], only_bulk=only_volume)
    read = _read(panel, tensors, cells)
    by_itself = alone(row, store)
    of_stability = [p for p, name in panel.of_tensor.items() if name == panel.stability]
    if disagreement:
        unread = read.replaced({p: replace(read[p], value=math.nan) for p in of_stability})
        return StoredRow(row, False, PHASE, disagreement, unread, alone=by_itself)
    whole = {panel.stability: tensors[panel.stability]}
    full, referee = _remembered_tensor(judges[panel.energy], relaxed.structure), None
    if full is not None and full.failure is None:
        whole[panel.energy] = full
        referee = _read(OF_REFEREE, whole, cells)
    by_itself |= {name: readings(dict.fromkeys(OF_TENSOR, (whole[name], cells[name]))) for name in whole}
    catastrophe = "" if all(math.isfinite(read[p].value) for p in of_stability) else UNSTABLE
    deciding = tensors[panel.stability]
    reason = ", ".join(stability(deciding).flags) if catastrophe else ""
    return StoredRow(row, False, catastrophe, deciding.reason or reason, read, referee, by_itself)


def _read(panel: Panel, tensors: Mapping[str, TensorVerdict], cells: Mapping[str, Structure]) -> Readings:
    return readings({p: (tensors[name], cells[name]) for p, name in panel.of_tensor.items()})


def alone(
    row: dict[str, Any], store: VerificationStore, potentials: Sequence[str] = ALONE
) -> dict[str, Readings]:
    """Return the readings of the potentials that were asked about the row itself, as a second opinion."""
    found = {}
    for name in potentials:
        judge = _Remembering(name, store=store)
        with suppress(_MissingError):
            cell = judge.relax(structure_of(row)).structure
            tensor = None if cell is None else judge.tensor(cell)
            if tensor is not None and cell is not None and tensor.failure is None:
                found[name] = readings(dict.fromkeys(OF_TENSOR, (tensor, cell)))
    return found


def _remembered_tensor(judge: Judge, structure: Structure) -> TensorVerdict | None:
    try:
        return judge.tensor(structure)
    except _MissingError:
        return None
