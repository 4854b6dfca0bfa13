"""The ladder that a structure climbs: energy, hull, phase, tensors and stability, cheapest first."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from inverse.candidates.failures import CrystalFailureError, failure_of
from inverse.candidates.second_opinion import SECOND_DIFFERS, differences
from inverse.candidates.types import EnergyFlag, Failure, Stage, Verification, VerifiedValue
from inverse.potentials.limits import Deadline, Limit
from inverse.potentials.loading import one_thread, potential_version
from inverse.potentials.machine import Patience
from inverse.verification.calibration.moduli import (
    OTHER_VERSION,
    calibrated,
    calibration_of,
    other_versions,
    with_wider_error,
)
from inverse.verification.calibration.readings import (
    ABSURD,
    OF_TENSOR,
    Readings,
    is_by_volume,
    reading,
    readings,
    sensible,
    stability,
)
from inverse.verification.judge import Judge, JudgeSettings, RelaxationVerdict, TensorVerdict
from inverse.verification.mechanics.departures import departures
from inverse.verification.mechanics.elastic_summary import summary_of_judges
from inverse.verification.mechanics.stiffness import UNSTABLE_FLAGS
from inverse.verification.mechanics.weak_ground import (
    WeakGround,
    grounds_of_bonding,
    grounds_of_value,
    widening,
)
from inverse.verification.own_judges import load_property_judge, own_values
from inverse.verification.plan import Bounds, VerificationPlan
from inverse.verification.protocol import EnergyAboveHull, FormationEnergy
from inverse.verification.store import VerificationStore
from surrogates.errors import (
    DataError,
    EngineError,
    MachineError,
    MissingExtraError,
    UnknownNameError,
    VerificationError,
)
from surrogates.physics.properties import ENERGY_ABOVE_HULL, FORMATION_ENERGY, Property
from surrogates.protocol import Z90

LOGGER = logging.getLogger(__name__)

LARGEST_VOLUME_MISMATCH = 0.2
"""Relative difference of the judges' volumes beyond which they speak of different phases."""

ENERGY_PER_ATOM = "energy_per_atom"
"""Name of the one value of `relax_one`: the potential's energy, eV/atom, on no common scale."""

FAR_BELOW = -0.1
"""eV/atom above the hull; below it the energy is doubted aloud."""


@dataclass
class _Case:
    """Notes taken while one structure climbs the ladder."""

    started: float = field(default_factory=time.monotonic)
    stages: list[Stage] = field(default_factory=list)
    values: dict[str, VerifiedValue] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    second_opinion: dict[str, VerifiedValue] = field(default_factory=dict)
    structure: Structure | None = None
    other_cells: dict[str, Structure] = field(default_factory=dict)
    is_stable: bool | None = None
    elasticity: dict[str, Any] = field(default_factory=dict)
    mark: float = field(default_factory=time.monotonic)

    def note(self, name: str, passed: bool | None, reason: str = "", *deciders: str) -> None:
        """Add a stage; `deciders` are the potentials that decided it."""
        now = time.monotonic()
        versions = {decider: potential_version(decider) for decider in deciders if decider}
        self.stages.append(Stage(name, passed, reason, round(now - self.mark, 3), versions))
        self.mark = now

    def flag(self, *names: str) -> None:
        self.flags += [name for name in names if name not in self.flags]


class LadderVerifier:
    """Verifies in this process, one structure after the other; `verification.workers` runs several."""

    def __init__(
        self,
        plan: VerificationPlan,
        store: VerificationStore | None = None,
        settings: JudgeSettings | None = None,
        formation_energy: FormationEnergy | None = None,
        hull_energy: EnergyAboveHull | None = None,
    ) -> None:
        """Seat the judges; weights are loaded at the first structure.

        Args:
            plan: who judges what, and how; its store is opened by whoever opens the verifier.
            store: shared memory of verdicts; None remembers nothing.
            settings: of every judge.
            formation_energy: None takes the packaged element energies.
            hull_energy: None takes the packaged reference hull.

        Raises:
            UnknownNameError: no such judge.
            ConfigError: a factory that does not make a `PropertyJudge`.
        """
        self.plan, self.panel, self.potential = plan, plan.panel, plan.panel.name
        self.settings = settings or JudgeSettings()
        self._formation_energy, self._hull_energy = formation_energy, hull_energy
        self._judges = {
            name: Judge(
                name,
                self.settings,
                store,
                plan.reuse,
                self.panel.prerelax_by if name == self.panel.energy else "",
                plan.device,
            )
            for name in self.panel.potentials
        }
        self._energy_judge = self._judges[self.panel.energy]
        self._own = [load_property_judge(name) for name in plan.also]
        self._patience = Patience()

    def verify(self, structures: Sequence[Structure]) -> list[Verification]:
        """Return one Verification per structure, in order; see `Verifier`."""
        return [self._answered(structure) for structure in structures]

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, Verification]]:
        """Yield (position, Verification) one after the other; see `StreamingVerifier`."""
        for position, structure in enumerate(structures):
            if should_stop():
                return
            yield position, self._answered(structure)

    def close(self) -> None:
        """Nothing runs beside this process."""

    def load_reference(self) -> tuple[FormationEnergy, EnergyAboveHull]:
        """Return what turns energies into formation energies and hull distances; read once."""
        if self._formation_energy is None:
            from inverse.verification.calibration.energy_correction import formation_energy

            self._formation_energy = formation_energy
        if self._hull_energy is None:
            from inverse.reference import ReferenceHull

            self._hull_energy = ReferenceHull.current()
        return self._formation_energy, self._hull_energy

    def _answered(self, structure: Structure) -> Verification:
        """Return `verify_one`, asked a second time where the machine failed; a second failure is recorded.

        Raises:
            MachineError: that happened too often in a row.
        """
        for _ in range(2):
            try:
                verdict = self.verify_one(structure)
            except MachineError as error:
                reason = str(error)
            else:
                self._patience.worked()
                return verdict
        self._patience.failed(reason)
        return Verification(self.panel.name, False, reason, failure=Failure.MACHINE)

    def verify_one(self, structure: Structure) -> Verification:
        """Return what the judges say about one structure; never raises for a bad one.

        Raises:
            MachineError: memory, device or disk failed, which says nothing of the structure.
        """
        return self._verdict(structure, self._climb)

    def relax_one(self, structure: Structure) -> Verification:
        """Return the structure relaxed by the energy judge, with its energy; never raises for a bad one.

        The one value is `ENERGY_PER_ATOM`, on the potential's own scale.

        Raises:
            MachineError: memory, device or disk failed, which says nothing of the structure.
        """

        def relax(structure: Structure, case: _Case, deadline: Deadline) -> None:
            relaxed = self._relaxed(self._energy_judge, structure, case, deadline)
            if relaxed.structure is None:
                raise failed(relaxed)
            energy = relaxed.energy / len(relaxed.structure)
            case.structure = relaxed.structure
            case.values[ENERGY_PER_ATOM] = VerifiedValue(
                energy, 0.0, energy, energy, energy, self.panel.energy, "eV/atom"
            )

        return self._verdict(structure, relax)

    def _verdict(
        self, structure: Structure, climb: Callable[[Structure, _Case, Deadline], None]
    ) -> Verification:
        """Return what came of a climb, or of a part of it.

        Raises:
            MachineError: memory, device or disk failed, which says nothing of the structure.
        """
        case, reason, failure = _Case(), "", None
        try:
            with one_thread():
                climb(structure, case, Limit.of(self.plan.seconds_limit))
        except (MissingExtraError, MachineError, KeyboardInterrupt):
            raise
        except EngineError as error:
            reason, failure = str(error), failure_of(error)
        except Exception as error:  # one crystal never ends a run
            LOGGER.exception("verification failed")
            reason, failure = f"{type(error).__name__}: {error}", Failure.OTHER
        return Verification(
            potential=self.panel.name,
            converged=failure is None,
            reason=reason,
            failure=failure,
            values=dict(case.values),
            flags=tuple(case.flags),
            second_opinion=dict(case.second_opinion),
            is_stable=case.is_stable,
            structure=case.structure,
            ladder=tuple(case.stages),
            seconds=round(time.monotonic() - case.started, 3),
            elasticity=case.elasticity,
            other_cells=dict(case.other_cells),
        )

    def _climb(self, structure: Structure, case: _Case, deadline: Deadline) -> None:
        """Fill the case stage by stage.

        Raises:
            CrystalFailureError: it could not be finished, and why; the stages until then are in the case.
        """
        relaxed = self._relaxed(self._energy_judge, structure, case, deadline)
        if relaxed.structure is None:
            raise failed(relaxed)
        case.structure = relaxed.structure
        case.flag(*departures(structure, relaxed.structure))
        self._hull(relaxed, case)
        cells = {self.panel.energy: relaxed.structure}
        tensors: dict[str, TensorVerdict] = {}
        for name in dict.fromkeys((*self.panel.of_tensor.values(), self.panel.stability)):
            if name not in cells:
                cells[name] = self._own_cell(name, relaxed.structure, case, deadline)
                disagreement = phase_disagreement(relaxed.structure, cells[name])
                case.note("phase", not disagreement, disagreement)
                if disagreement:
                    case.flag("another_phase")
                    raise CrystalFailureError(
                        f"judges disagree on the phase: {disagreement}", Failure.ANOTHER_PHASE
                    )
            tensors[name] = self._tensor(name, cells[name], case, deadline)
            is_impossible = tensors[name].failure is Failure.IMPOSSIBLE_TENSOR
            may_appeal = name == self.panel.stability and is_impossible and self.panel.appeal
            if tensors[name].failure is not None and not may_appeal:
                raise failed(tensors[name])
        case.flag(*grounds_of_bonding(relaxed.structure))
        deciding = tensors[self.panel.stability]
        appeal = None if stability(deciding).is_stable else self._appeal(relaxed.structure, case, deadline)
        if appeal is None and deciding.failure is not None:
            raise failed(deciding)
        self._values_of_tensors(tensors, cells, case, appeal)
        cell = cells[self.panel.stability] if appeal is None else relaxed.structure
        shown = replace(appeal or deciding, is_stable=case.is_stable)
        judged = {prop: tensors[name] for prop, name in self.panel.of_tensor.items()}
        case.elasticity = summary_of_judges(shown, cell, case.values, judged)
        self._ask_second(case, deadline)
        self._ask_own(case)

    def _appeal(self, structure: Structure, case: _Case, deadline: Deadline) -> TensorVerdict | None:
        """Return the other judge's tensor where it is stable, None where nobody is asked or it is not.

        Of stable crystals (by DFT) that the judge of stability calls unstable, most are stable by the other
        judge; of unstable ones next to none (experiments/log).
        """
        name = self.panel.appeal
        if not name:
            return None
        verdict = self._judges[name].tensor(structure, deadline)
        read = stability(verdict)
        case.note("appeal", read.is_stable, verdict.reason or ", ".join([name, *read.flags]), name)
        if not read.is_stable:
            return None
        case.flag(WeakGround.DISPUTED)
        case.is_stable = True
        return verdict

    def _own_cell(self, name: str, structure: Structure, case: _Case, deadline: Deadline) -> Structure:
        """Return the cell relaxed by a judge, or the energy judge's own where its energy is not smooth.

        Raises:
            CrystalFailureError: the judge failed at it otherwise: atoms collide, the cell runs away, no time.
        """
        own = self._relaxed(self._judges[name], structure, case, deadline)
        if own.structure is not None:
            case.other_cells[name] = own.structure
            return own.structure
        if not own.is_stalled:
            raise failed(own)
        case.flag(f"not_relaxed_by_{name}")
        return structure

    def _relaxed(
        self, judge: Judge, structure: Structure, case: _Case, deadline: Deadline
    ) -> RelaxationVerdict:
        verdict = judge.relax(structure, deadline)
        name = "relaxed" if judge is self._energy_judge else f"relaxed by {judge.potential}"
        deciders = (judge.potential, judge.prerelax_by)
        remark = verdict.reason or judge.potential
        if verdict.not_prerelaxed:
            case.flag("not_prerelaxed")
            remark = f"{remark}, from the cell as given: {verdict.not_prerelaxed}"
        case.note(name, verdict.structure is not None, remark, *deciders)
        return verdict

    def _hull(self, relaxed: RelaxationVerdict, case: _Case) -> None:
        """Add formation energy and hull distance.

        Raises:
            CrystalFailureError: too far above the hull to ask for more.
        """
        if not self.panel.has_energy or relaxed.structure is None:
            case.flag(EnergyFlag.NO_ENERGY)
            return
        structure, potential = relaxed.structure, self.panel.energy
        try:
            formation = self.load_reference()[0](structure, relaxed.energy, potential)
            error = _energy_error(potential)
            case.values[FORMATION_ENERGY.name] = _energy_value(
                FORMATION_ENERGY, formation, error, relaxed.energy / len(structure), potential
            )
            hull, remark = self._above_hull(structure.composition.reduced_formula, formation, case)
        except EngineError as refused:
            # a potential without element energies never has any; an element without reference is this one's
            case.flag(EnergyFlag.NO_ENERGY if isinstance(refused, UnknownNameError) else EnergyFlag.NO_HULL)
            case.note("hull", False, str(refused), potential)
            return
        case.values[ENERGY_ABOVE_HULL.name] = _energy_value(ENERGY_ABOVE_HULL, hull, error, hull, potential)
        if hull < FAR_BELOW:
            case.flag(EnergyFlag.BELOW_HULL)
            remark = f"{remark}: nothing lies that far below a hull that it is part of"
        hopeless = self.plan.stop_above_hull is not None and hull > self.plan.stop_above_hull
        reason = f"energy above hull {hull:.2f} eV/atom: the ladder stops" if hopeless else ""
        case.note("hull", not hopeless, reason or remark, potential)
        if hopeless:
            raise CrystalFailureError(reason, Failure.ABOVE_HULL)

    def _above_hull(self, formula: str, formation: float, case: _Case) -> tuple[float, str]:
        """Return eV/atom above the hull, and in words above which: live entries fall back to the packaged."""
        hull_energy = self.load_reference()[1]
        try:
            hull, of_which = hull_energy(formula, formation), "the hull"
        except DataError as no_entries:
            from inverse.reference import ReferenceHull

            hull, of_which = ReferenceHull.packaged()(formula, formation), f"the packaged hull: {no_entries}"
            case.flag(EnergyFlag.PACKAGED_HULL)
        return hull, f"{hull:.3f} eV/atom above {of_which}"

    def _tensor(self, name: str, structure: Structure, case: _Case, deadline: Deadline) -> TensorVerdict:
        asked = [prop for prop, judge in self.panel.of_tensor.items() if judge == name]
        only_volume = name != self.panel.stability and is_by_volume(name, asked)
        verdict = self._judges[name].tensor(structure, deadline, only_volume)
        read = stability(verdict)
        flags, is_stable = read.flags, read.is_stable
        if only_volume:
            flags, is_stable = verdict.flags, bool(verdict.is_stable)
        has_failed = verdict.failure is not None
        if has_failed:
            is_stable, flags = False, ()
        if not only_volume and not has_failed and verdict.is_near_unstable:
            flags = (*flags, WeakGround.NEAR_UNSTABLE)
        case.flag(*flags)
        stage = "bulk modulus" if only_volume else "tensor"
        remark = ", ".join(flags)
        remark = f"{name}: {remark}" if remark else name
        case.note(stage, is_stable, verdict.reason or remark, name)
        if not has_failed and (not only_volume or not is_stable) and case.is_stable is not False:
            case.is_stable = is_stable
        return verdict

    def _values_of_tensors(
        self,
        tensors: Mapping[str, TensorVerdict],
        cells: Mapping[str, Structure],
        case: _Case,
        appeal: TensorVerdict | None = None,
    ) -> None:
        """Add what the tensors say on the DFT scale; the judge of appeal's, where it was heard."""
        of_tensor = self.panel.of_tensor
        read = readings({p: (tensors[name], cells[name]) for p, name in of_tensor.items()})
        if appeal is not None:
            disputed = [p for p, name in of_tensor.items() if name == self.panel.stability]
            read = read.replaced({p: reading(p, appeal) for p in disputed})
        read, absurd = sensible(read)
        if absurd:
            case.flag(ABSURD)
            case.note("moduli", False, "; ".join(absurd), *dict.fromkeys(of_tensor.values()))
        case.flag(*read.doubts)
        for prop, value, known in _calibrated(read, self.settings.method):
            case.flag(*grounds_of_value(prop, cells[of_tensor[prop.name]], value.mean))
            case.values[prop.name] = with_wider_error(value, widening(prop, case.flags))
            if not known:
                case.flag("uncalibrated")
            elif (fit := calibration_of(prop, read)) is not None and other_versions(fit):
                case.flag(OTHER_VERSION)

    def _ask_second(self, case: _Case, deadline: Deadline) -> None:
        """Add the second opinion on what is shortlisted; it changes no value, a difference is flagged."""
        name = self.panel.second
        if not name or case.structure is None or not _is_within(case.values, self.plan.shortlist):
            return
        try:
            found = self._contradictions(name, case.structure, case, deadline)
        except MachineError:
            raise
        except VerificationError as error:
            case.note("second_opinion", None, str(error), name)
            return
        if found:
            case.flag(SECOND_DIFFERS)
        case.note("second_opinion", not found, "; ".join([name, *found]), name)

    def _contradictions(self, name: str, structure: Structure, case: _Case, deadline: Deadline) -> list[str]:
        """Return where the second opinion contradicts the judges; its values, if any, go into the case.

        Raises:
            VerificationError: it has no opinion, and why.
        """
        own = self._judges[name].relax(structure, deadline)
        if own.structure is None:
            raise failed(own)
        if disagreement := phase_disagreement(structure, own.structure):
            return [f"another phase: {disagreement}"]
        tensor = self._judges[name].tensor(own.structure, deadline)
        if tensor.failure is not None:
            raise failed(tensor)
        found = stability(tensor)
        if not found.is_stable:
            return [f"mechanically unstable: {', '.join(f for f in found.flags if f in UNSTABLE_FLAGS)}"]
        read, absurd = sensible(readings(dict.fromkeys(OF_TENSOR, (tensor, own.structure))))
        if absurd:
            raise VerificationError("; ".join(absurd))
        for prop, value, known in _calibrated(read, self.settings.method):
            if known or "uncalibrated" in case.flags:  # raw beside calibrated would always differ
                case.second_opinion[prop.name] = value
        if not case.second_opinion:
            raise VerificationError(f"{name}: not compared with DFT")
        return differences(case.values, case.second_opinion)

    def _ask_own(self, case: _Case) -> None:
        """Add what the users' own judges say; a failure is noted and costs no other value."""
        for judge in self._own:
            if case.structure is None:
                return
            try:
                found = own_values(judge, case.structure, case.values, self.plan.wanted)
            except MachineError:
                raise
            except VerificationError as error:
                case.note(judge.name, False, str(error))
                continue
            case.values.update(found)
            case.note(judge.name, True, ", ".join(found))


def _calibrated(read: Readings, settings: str) -> Iterator[tuple[Property, VerifiedValue, bool]]:
    """Yield what was read on the DFT scale, and whether a calibration said so, where it is positive."""
    for name, one in read.of.items():
        if math.isfinite(one.value) and one.value > 0:
            prop = OF_TENSOR[name].property
            yield prop, *calibrated(prop, read, settings)


def _is_within(values: Mapping[str, VerifiedValue], bounds: Bounds | None) -> bool:
    if bounds is None:
        return False
    return all(name in values and low <= values[name].mean <= high for name, (low, high) in bounds.items())


def failed(verdict: RelaxationVerdict | TensorVerdict) -> CrystalFailureError:
    """Return the error of a verdict that failed."""
    return CrystalFailureError(verdict.reason, verdict.failure or Failure.OTHER)


def phase_disagreement(first: Structure, second: Structure) -> str:
    """Return why two judges' relaxed cells are different phases, "" when they are the same."""
    volumes = [s.volume / len(s) for s in (first, second)]
    mismatch = abs(volumes[0] - volumes[1]) / min(volumes)
    if mismatch > LARGEST_VOLUME_MISMATCH:
        return f"volumes per atom {volumes[0]:.2f} and {volumes[1]:.2f} Å³"
    if not StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5).fit(first, second):
        return "relaxed cells do not match"
    return ""


def _energy_error(potential: str) -> float:
    """Return the standard error of a formation energy, eV/atom; 0.1 where nobody measured it."""
    from inverse.verification.calibration import energy_correction

    known = energy_correction.has_scale(potential)
    return energy_correction.formation_energy_error(potential) if known else 0.1


def _energy_value(prop: Property, mean: float, error: float, raw: float, potential: str) -> VerifiedValue:
    half = Z90 * error
    return VerifiedValue(
        mean=round(mean, 5),
        std=round(error, 5),
        lower=round(mean - half, 5),
        upper=round(mean + half, 5),
        raw=round(raw, 5),
        potential=potential,
        unit=prop.unit,
    )
