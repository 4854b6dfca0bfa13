"""One judge: a potential that relaxes a crystal and computes its tensor, remembered by the store."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.failures import failure_of
from inverse.candidates.types import Failure
from inverse.inputs.records import failure_from_record, plain, structure_from_record, structure_to_record
from inverse.potentials.inquiry import Inquiry, answered
from inverse.potentials.limits import Deadline
from inverse.potentials.loading import load_potential
from inverse.potentials.relaxation import RelaxationSettings, relaxing
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.potentials.traits import traits_of
from inverse.verification.mechanics.stiffness import (
    StiffnessSettings,
    bulk_only,
    impossibility,
    is_near_unstable,
    stiffness_inquiry,
)
from inverse.verification.store import DAMAGE, VerificationStore, canonical_structure, verification_key
from surrogates.errors import (
    ConfigError,
    DataError,
    EngineError,
    MachineError,
    MissingExtraError,
    UnknownNameError,
    VerificationError,
)

NEARLY_SYMMETRIC = 0.05
"""Å; a relaxed cell this close to a higher symmetry has it: forces of 0.02 eV/Å leave as much."""

WITHOUT_KINK, SHARED_STRAINS = "tensor, without kink", "tensor, shared strains"
"""How tensors of potentials with and without a kink are made; rows made otherwise answer nobody."""

_V = TypeVar("_V")

_TENSORS = ("relaxed", "clamped", "repeated")

_OF_THE_SETTING = (MissingExtraError, UnknownNameError, ConfigError)
"""Errors that say how the judge was set up, not what a crystal is."""

_NOT_REMEMBERED = (Failure.TIME_LIMIT, Failure.MACHINE)
"""Failures that the next attempt may well not meet."""


@dataclass(frozen=True)
class JudgeSettings:
    """How a judge works; the defaults are the settings of record, for which calibrations are fitted.

    Attributes:
        prerelaxation: by the cheap potential, before the judge's own relaxation.
        relaxation: the judge's own.
        tensor: finite differences.
    """

    prerelaxation: RelaxationSettings = field(
        default_factory=lambda: RelaxationSettings(force=0.1, stress=1.0, steps=80)
    )
    relaxation: RelaxationSettings = field(default_factory=RelaxationSettings)
    tensor: StiffnessSettings = field(default_factory=StiffnessSettings)

    @property
    def digest(self) -> str:
        """Short hash of every setting; part of the store's keys."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def method(self) -> str:
        """Short hash of every setting and of how tensors are made; calibrations hold for one of them."""
        return sha256(f"{self.digest} {WITHOUT_KINK} {SHARED_STRAINS}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class RelaxationVerdict:
    """What came of one relaxation.

    Attributes:
        potential: who relaxed.
        structure: relaxed, canonical; None when it failed.
        energy: of that cell, eV; NaN when it failed.
        reason: why it failed, "" otherwise.
        steps: evaluations by the judge itself.
        seconds: wall time when it was computed.
        not_prerelaxed: why the cheap potential could not relax first; the judge began with the cell as given.
        failure: why it failed, by name; None otherwise.
    """

    potential: str
    structure: Structure | None = None
    energy: float = float("nan")
    reason: str = ""
    steps: int = 0
    seconds: float = 0.0
    not_prerelaxed: str = ""
    failure: Failure | None = None

    @property
    def is_stalled(self) -> bool:
        """Whether it did not converge, and nothing else was wrong: energies with a kink do that."""
        return self.failure is Failure.NOT_CONVERGED


@dataclass(frozen=True)
class TensorVerdict:
    """What came of one tensor; fields as in `Stiffness`, tensors as nested tuples.

    Attributes:
        potential: who computed it.
        bulk_modulus: Hill, GPa; NaN when unstable or failed.
        shear_modulus: Hill, GPa; NaN when unstable, failed or not asked for.
        bulk_amplitude: difference at twice the strain, GPa.
        shear_amplitude: difference at twice the strain, GPa.
        lowest_eigenvalue: GPa.
        lowest_mode: eV/Å²; NaN when no mode couples to strain.
        is_stable: None when it failed.
        flags: named warnings.
        relaxed: (6, 6) GPa.
        clamped: (6, 6) GPa.
        repeated: (6, 6) GPa, as `relaxed` but at twice the strain; empty when it was not computed.
        reason: why it failed, "" otherwise.
        seconds: wall time when it was computed.
        failure: why it failed, by name; None otherwise.
    """

    potential: str
    bulk_modulus: float = float("nan")
    shear_modulus: float = float("nan")
    bulk_amplitude: float = float("nan")
    shear_amplitude: float = float("nan")
    lowest_eigenvalue: float = float("nan")
    lowest_mode: float = float("nan")
    is_stable: bool | None = None
    flags: tuple[str, ...] = ()
    relaxed: tuple[tuple[float, ...], ...] = ()
    clamped: tuple[tuple[float, ...], ...] = ()
    repeated: tuple[tuple[float, ...], ...] = ()
    reason: str = ""
    seconds: float = 0.0
    failure: Failure | None = None

    @property
    def is_near_unstable(self) -> bool:
        """Whether its moduli hang on small things, see `stiffness.is_near_unstable`."""
        if not self.clamped:
            return False
        return is_near_unstable(np.array(self.relaxed), np.array(self.clamped), self.lowest_mode)


class Judge:
    """A potential at fixed settings. Never raises for one crystal: failures are verdicts with a reason.

    A machine that fails says nothing of the crystal: that is a `MachineError`, and no verdict.
    """

    def __init__(
        self,
        potential: str,
        settings: JudgeSettings | None = None,
        store: VerificationStore | None = None,
        reuse: bool = True,
        prerelax_by: str = "",
        device: str = "auto",
    ) -> None:
        """Name the judge; its weights are loaded at the first question.

        Args:
            potential: its name, see `load_potential`.
            settings: of relaxation and tensor.
            store: where verdicts are remembered; None remembers nothing.
            reuse: False asks afresh, and still writes.
            prerelax_by: potential that relaxes first, roughly; "" for none.
            device: where the potentials compute, see `load_potential`.
        """
        self.potential, self.device = potential, device
        self.settings = settings or JudgeSettings()
        self.store, self.reuse, self.prerelax_by = store, reuse, prerelax_by

    def relax(self, structure: Structure, deadline: Deadline = float("inf")) -> RelaxationVerdict:
        """Return the structure relaxed by this judge.

        Raises:
            MissingExtraError: the potential's package is not installed.
            MachineError: memory, device or disk failed.
        """
        return answered(self.relaxing(structure, deadline))

    def relaxing(self, structure: Structure, deadline: Deadline = float("inf")) -> Inquiry[RelaxationVerdict]:
        """Return `relax` as an inquiry, for `answered_together`."""
        task = self._relax_task
        try:
            start = canonical_structure(structure)
        except (EngineError, ValueError) as error:
            return RelaxationVerdict(self.potential, reason=str(error), failure=failure_of(error))
        if (known := self._recall(start, task, partial(_relaxation, self.potential, start))) is not None:
            return known
        row = yield from self._timed(lambda: self._relax(start, deadline))
        self._remember(start, task, row)
        return _relaxation(self.potential, start, row)

    def tensor(
        self, structure: Structure, deadline: Deadline = float("inf"), only_bulk: bool = False
    ) -> TensorVerdict:
        """Return the relaxed-ion stiffness of a structure that this judge relaxed.

        Raises:
            MissingExtraError: the potential's package is not installed.
            MachineError: memory, device or disk failed.
        """
        return answered(self.tensor_inquiry(structure, deadline, only_bulk))

    def tensor_inquiry(
        self, structure: Structure, deadline: Deadline = float("inf"), only_bulk: bool = False
    ) -> Inquiry[TensorVerdict]:
        """Return `tensor` as an inquiry, for `answered_together`."""
        task = "bulk modulus" if only_bulk else self._tensor_task
        if (known := self._recall(structure, task, partial(_tensor, self.potential))) is not None:
            return known
        row = yield from self._timed(lambda: self._tensor(structure, deadline, only_bulk))
        self._remember(structure, task, row)
        return _tensor(self.potential, row)

    def remembers(self, structure: Structure) -> bool:
        """Return whether the store holds this judge's relaxation of a structure.

        Raises:
            EngineError: not a crystal that could have been relaxed.
        """
        start = canonical_structure(structure)
        return self._recall(start, self._relax_task, partial(_relaxation, self.potential, start)) is not None

    @property
    def _tensor_task(self) -> str:
        return WITHOUT_KINK if traits_of(self.potential).has_kink else SHARED_STRAINS

    @property
    def _relax_task(self) -> str:
        return f"relax after {self.prerelax_by}" if self.prerelax_by else "relax"

    def _is_old_of_prerelaxer(self, row: dict[str, Any]) -> bool:
        """Return whether an old row holds the cheap potential's failure, which says nothing of this judge.

        No such failure is stored any more; those that were carry no name, and begin with the potential's.
        """
        named = (f"{self.prerelax_by}:", f"{self.prerelax_by} ")
        is_old = "failure" not in row and bool(self.prerelax_by)
        return is_old and str(row.get("reason") or "").startswith(named)

    def _relax(self, start: Structure, deadline: Deadline) -> Inquiry[dict[str, Any]]:
        symbols = {site.specie.symbol for site in start}
        potential = load_potential(self.potential, self.device)
        potential.check_elements(symbols)
        cell = SymmetricCell.from_structure(start)
        cheap = load_potential(self.prerelax_by, self.device) if self.prerelax_by else None
        not_prerelaxed = ""
        if cheap is not None and symbols <= cheap.elements:
            try:
                rough = yield from relaxing(cell, cheap, self.settings.prerelaxation, deadline)
                cell = _resymmetrised(rough.cell)
            except MachineError:
                raise
            except VerificationError as error:
                not_prerelaxed = str(error)
        done = yield from relaxing(cell, potential, self.settings.relaxation, deadline)
        steps, cell = done.steps, _resymmetrised(done.cell)
        if cell is not done.cell:
            done = yield from relaxing(cell, potential, self.settings.relaxation, deadline)
            steps += done.steps
        relaxed = canonical_structure(done.cell.to_structure())
        energy = done.energy * len(relaxed) / done.cell.n_atoms
        row = {"structure": structure_to_record(relaxed), "energy": energy, "steps": steps}
        return row | ({"not_prerelaxed": not_prerelaxed} if not_prerelaxed else {})

    def _tensor(self, structure: Structure, deadline: Deadline, only_bulk: bool) -> Inquiry[dict[str, Any]]:
        settings = bulk_only(self.settings.tensor) if only_bulk else self.settings.tensor
        cell = SymmetricCell.from_structure(structure)
        potential = load_potential(self.potential, self.device)
        row = asdict((yield from stiffness_inquiry(cell, potential, settings, deadline)))
        for name in _TENSORS:
            row[name] = np.round(row[name], 3).tolist()
        del row["n_evaluations"]
        return row

    def _timed(self, compute: Callable[[], Inquiry[dict[str, Any]]]) -> Inquiry[dict[str, Any]]:
        started = time.monotonic()
        try:
            row = yield from compute()
        except MachineError:
            raise
        except _OF_THE_SETTING:
            raise
        except (EngineError, ValueError, np.linalg.LinAlgError) as error:
            row = {"reason": str(error), "failure": failure_of(error)}
        row["seconds"] = round(time.monotonic() - started, 3)
        return dict(plain(row))

    def _recall(self, structure: Structure, task: str, read: Callable[[dict[str, Any]], _V]) -> _V | None:
        """Return what the store holds, as `read` reads it; a row that cannot be read is none."""
        if self.store is None or not self.reuse:
            return None
        key = verification_key(structure, self.potential, task, self.settings.digest)
        row = self.store.get(key)
        try:
            if row is None or failure_from_record(row) is Failure.MACHINE or self._is_old_of_prerelaxer(row):
                return None
            return None if _is_impossible(row) else read(row)
        except DAMAGE as error:
            self.store.skip(key, error)
            return None

    def _remember(self, structure: Structure, task: str, row: dict[str, Any]) -> None:
        if self.store is None or failure_from_record(row) in _NOT_REMEMBERED:
            return
        digest = self.settings.digest
        key = verification_key(structure, self.potential, task, digest)
        formula = structure.composition.reduced_formula
        self.store.put(key, row, formula, self.potential, task, digest)


def _resymmetrised(cell: SymmetricCell) -> SymmetricCell:
    """Return the cell with the symmetry it nearly has, or the cell itself when it has it already."""
    found = SymmetricCell.from_structure(cell.to_structure(), NEARLY_SYMMETRIC)
    has_more = len(found.rotations) > len(cell.rotations) or found.n_atoms < cell.n_atoms
    return found if has_more else cell


def _relaxation(potential: str, start: Structure, row: dict[str, Any]) -> RelaxationVerdict:
    """Return the verdict of a row.

    Raises:
        DataError: it holds neither a reason nor the relaxed crystal with its energy.
    """
    failure, relaxed, energy = failure_from_record(row), row.get("structure"), _number(row.get("energy"))
    structure = None if relaxed is None else structure_from_record(relaxed)
    if failure is None and (structure is None or not math.isfinite(energy)):
        raise DataError("no relaxed structure, or no energy")
    if structure is not None and structure.composition.reduced_formula != start.composition.reduced_formula:
        raise DataError(f"{structure.composition.reduced_formula} is another crystal")
    return RelaxationVerdict(
        potential=potential,
        structure=structure,
        energy=energy,
        reason=str(row.get("reason") or ""),
        steps=int(row.get("steps") or 0),
        seconds=float(row.get("seconds") or 0.0),
        not_prerelaxed=row.get("not_prerelaxed", ""),
        failure=failure,
    )


def _tensor(potential: str, row: dict[str, Any]) -> TensorVerdict:
    """Return the verdict of a row.

    Raises:
        DataError: it holds neither a reason nor a tensor.
    """
    row = dict(row)
    for name in _TENSORS:
        row[name] = tuple(tuple(_number(x) for x in line) for line in row.get(name) or ())
    row["flags"], row["failure"] = tuple(row.get("flags") or ()), failure_from_record(row)
    if row["failure"] is None and (np.shape(row["relaxed"]) != (6, 6) or row.get("is_stable") is None):
        raise DataError("no tensor")
    for name, value in TensorVerdict(potential).__dict__.items():
        if isinstance(value, float):
            row[name] = _number(row.get(name))
    return TensorVerdict(potential, **row)


def _is_impossible(row: dict[str, Any]) -> bool:
    """Return whether a stored tensor is one that no crystal has: older versions stored some."""
    relaxed, clamped, repeated = (row.get(name) for name in _TENSORS)
    if not relaxed or not clamped:
        return False
    return bool(impossibility(_filled(relaxed), _filled(clamped)) or impossibility(_filled(repeated)))


def _filled(rows: Any) -> np.ndarray:
    """Return the (6, 6) tensor of stored rows, NaN where there is nothing."""
    return np.array(rows or np.full((6, 6), np.nan), dtype=float)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
