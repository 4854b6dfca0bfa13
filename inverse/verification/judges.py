"""The panel of judges: energy, hull, bulk modulus, phase, shear modulus and stability, cheapest first."""

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
from inverse.potentials.loading import (
    KINKED,
    available_potentials,
    check_potential,
    is_code_of_others,
    load_potential,
    one_thread,
    potential_version,
)
from inverse.potentials.machine import Patience
from inverse.verification.calibration.moduli import (
    OTHER_VERSION,
    calibrated,
    calibration_of,
    other_versions,
    with_wider_error,
)
from inverse.verification.calibration.readings import ABSURD, Readings, read_shear, readings, sensible
from inverse.verification.judge import Judge, JudgeSettings, RelaxationVerdict, TensorVerdict
from inverse.verification.mechanics.departures import departures
from inverse.verification.mechanics.elastic_summary import elastic_summary
from inverse.verification.mechanics.stiffness import UNSTABLE_FLAGS
from inverse.verification.mechanics.weak_ground import (
    WeakGround,
    grounds_of_bonding,
    is_superhard_light,
    widening,
)
from inverse.verification.own_judges import load_property_judge, own_values
from inverse.verification.protocol import FormationEnergy, HullEnergy
from inverse.verification.store import VerificationStore
from surrogates.errors import (
    DataError,
    EngineError,
    MachineError,
    MissingExtraError,
    UnknownNameError,
    VerificationError,
)
from surrogates.physics.properties import (
    BULK_MODULUS,
    ENERGY_ABOVE_HULL,
    FORMATION_ENERGY,
    SHEAR_MODULUS,
    Judged,
    OfCell,
    OfProperties,
    Property,
)
from surrogates.protocol import Z90

LOGGER = logging.getLogger(__name__)

AUTO = "auto"
REFEREE = "referee"
"""Name of the panel that re-judges hits: K by the judge of G, G by the judge of K."""

LARGEST_VOLUME_MISMATCH = 0.2
"""Relative difference of the judges' volumes beyond which they speak of different phases."""

FAR_BELOW = -0.1
"""eV/atom above the hull; below it the energy is doubted aloud."""

Bounds = Mapping[str, tuple[float, float]]
"""Property name -> (lowest, highest) value; what has no value is not within."""


@dataclass(frozen=True)
class Panel:
    """Who judges what.

    Attributes:
        name: what was asked for.
        energy: energy, relaxed structure and hull.
        bulk: bulk modulus.
        shear: shear modulus and Born stability.
        prerelax_by: relaxes first, roughly; "" for none.
        has_energy: False when this potential's formation energies are not to be used.
        second: gives the second opinion on what is shortlisted; "" for nobody.
        appeal: judges shear modulus and stability where `shear` calls unstable, or cannot judge, what by the
            appeal's own tensor is stable; "" for nobody.
    """

    name: str
    energy: str
    bulk: str
    shear: str
    prerelax_by: str = ""
    has_energy: bool = True
    second: str = ""
    appeal: str = ""

    @property
    def potentials(self) -> tuple[str, ...]:
        """Every potential the panel loads."""
        named = (self.prerelax_by, self.energy, self.bulk, self.shear, self.second, self.appeal)
        return tuple(dict.fromkeys(n for n in named if n))

    def judge_of(self, prop: Property) -> str:
        """Return the potential that judges a property, several joined by ", "; "" when none does."""
        if isinstance(prop.formula, OfProperties):
            inputs = [self.judge_of(other) for other in prop.formula.inputs]
            return ", ".join(dict.fromkeys(inputs)) if all(inputs) else ""
        if isinstance(prop.formula, OfCell):
            return self.energy
        of_energy = self.energy if self.has_energy and prop.judged is Judged.ENERGY else ""
        return {BULK_MODULUS: self.bulk, SHEAR_MODULUS: self.shear}.get(prop, of_energy)


def panel_named(potential: str = AUTO, referee: bool = False) -> Panel:
    """Return the panel of a name; `auto` depends on what is installed. Code of users is not run.

    Args:
        potential: "auto" or a potential's name.
        referee: with "auto", the roles of K and G exchanged: K by diep, G by 7net-l3i5.

    Raises:
        UnknownNameError: no such potential.
        MissingExtraError: its package is not installed.
    """
    if potential != AUTO:
        check_potential(potential)
        # DIEP's formation energies are 0.13 eV/atom off (experiments/LOG.md): never used
        return Panel(potential, potential, potential, potential, has_energy=potential != "diep")
    has_sevenn = available_potentials()["7net-l3i5"]
    if referee and not has_sevenn:
        raise MissingExtraError("the referee needs 7net-l3i5: pip install 'inverse-crystals[sevenn]'")
    if referee:
        return Panel(REFEREE, "7net-l3i5", "diep", "7net-l3i5", "7net-0")
    if has_sevenn:
        return Panel(AUTO, "7net-l3i5", "7net-l3i5", "diep", "7net-0", second="7net-0", appeal="7net-l3i5")
    return Panel(AUTO, "chgnet", "diep", "diep")


@dataclass
class _Case:
    """Notes taken while one structure climbs the ladder."""

    started: float = field(default_factory=time.monotonic)
    stages: list[Stage] = field(default_factory=list)
    values: dict[str, VerifiedValue] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    second_opinion: dict[str, VerifiedValue] = field(default_factory=dict)
    structure: Structure | None = None
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
        panel: Panel,
        settings: JudgeSettings | None = None,
        store: VerificationStore | None = None,
        reuse: bool = True,
        seconds_limit: float = 300.0,
        stop_above_hull: float | None = None,
        formation_energy: FormationEnergy | None = None,
        hull_energy: HullEnergy | None = None,
        device: str = "auto",
        shortlist: Bounds | None = None,
        also: Sequence[str] = (),
        wanted: Sequence[str] = (),
    ) -> None:
        """Seat the judges; weights are loaded at the first structure.

        Args:
            panel: who judges what.
            settings: of every judge.
            store: shared memory of verdicts; None remembers nothing.
            reuse: False asks afresh, and still writes.
            seconds_limit: of computing allowed for one structure; four times as many by the clock.
            stop_above_hull: eV/atom; a structure further above the hull is not asked about its stiffness.
            formation_energy: None takes the packaged element energies.
            hull_energy: None takes the packaged reference hull.
            device: where the potentials compute: auto, cpu or cuda.
            shortlist: what earns a second opinion ({}: everything that is finished); None asks for none.
            also: judges of users' own properties, as module:factory.
            wanted: properties that targets ask for; misspelt ones of users' judges are named.

        Raises:
            UnknownNameError: no such judge.
            ConfigError: a factory that does not make a `PropertyJudge`.
        """
        self.panel, self.potential, self.shortlist = panel, panel.name, shortlist
        self.wanted = tuple(wanted)
        self.settings = settings or JudgeSettings()
        self.seconds_limit, self.stop_above_hull = seconds_limit, stop_above_hull
        self._formation_energy, self._hull_energy = formation_energy, hull_energy
        self._energy_judge = Judge(panel.energy, self.settings, store, reuse, panel.prerelax_by, device)
        self._judges = {
            name: Judge(name, self.settings, store, reuse, device=device) for name in panel.potentials
        }
        self._judges[panel.energy] = self._energy_judge
        self._own = [load_property_judge(name) for name in also]
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

    def load_reference(self) -> tuple[FormationEnergy, HullEnergy]:
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
        case, reason, failure = _Case(), "", None
        try:
            with one_thread():
                self._climb(structure, case, Limit.of(self.seconds_limit))
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
        for name in dict.fromkeys((self.panel.bulk, self.panel.shear)):
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
            may_appeal = name == self.panel.shear and tensors[name].failure is Failure.IMPOSSIBLE_TENSOR
            if tensors[name].failure is not None and not (may_appeal and self.panel.appeal):
                raise failed(tensors[name])
        case.flag(*grounds_of_bonding(relaxed.structure))
        shear = tensors[self.panel.shear]
        appeal = None if read_shear(shear).is_stable else self._appeal(relaxed.structure, case, deadline)
        if appeal is None and shear.failure is not None:
            raise failed(shear)
        self._moduli(tensors, cells, case, appeal)
        cell = cells[self.panel.shear] if appeal is None else relaxed.structure
        case.elasticity = self._summary(appeal or shear, cell, case, tensors[self.panel.bulk])
        self._ask_second(case, deadline)
        self._ask_own(case)

    def _appeal(self, structure: Structure, case: _Case, deadline: Deadline) -> TensorVerdict | None:
        """Return the other judge's tensor where it is stable, None where nobody is asked or it is not.

        Of stable crystals (by DFT) that the judge of G calls unstable, most are stable by the other judge; of
        unstable ones next to none (experiments/LOG.md).
        """
        name = self.panel.appeal
        if not name:
            return None
        verdict = self._judges[name].tensor(structure, deadline)
        read = read_shear(verdict)
        case.note("appeal", read.is_stable, verdict.reason or ", ".join([name, *read.flags]), name)
        if not read.is_stable:
            return None
        case.flag(WeakGround.DISPUTED)
        case.is_stable = True
        return verdict

    def _summary(
        self, tensor: TensorVerdict, cell: Structure, case: _Case, bulk: TensorVerdict
    ) -> dict[str, Any]:
        """Return what the tensor says, its K not averaged where another judges K: that is the referee's.

        The tensor itself, which implies it, stands in the record and decides nothing. The averages of K are
        those of the judge of K.
        """
        shown = replace(tensor, is_stable=case.is_stable)
        if tensor.potential == self.panel.bulk:
            return elastic_summary(shown, cell, case.values)
        summary = elastic_summary(replace(shown, bulk_modulus=math.nan), cell, case.values, bulk)
        for part in ("relaxed_ion", "clamped_ion"):
            summary[part] = {n: v for n, v in summary[part].items() if not n.startswith("bulk_modulus")}
        return summary

    def _own_cell(self, name: str, structure: Structure, case: _Case, deadline: Deadline) -> Structure:
        """Return the cell relaxed by a judge, or the energy judge's own where its energy is not smooth.

        Raises:
            CrystalFailureError: the judge failed at it otherwise: atoms collide, the cell runs away, no time.
        """
        own = self._relaxed(self._judges[name], structure, case, deadline)
        if own.structure is not None:
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
        hopeless = self.stop_above_hull is not None and hull > self.stop_above_hull
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
        # K of a potential with a kink is calibrated as its whole tensor has it
        only_bulk = name != self.panel.shear and name not in KINKED
        verdict = self._judges[name].tensor(structure, deadline, only_bulk)
        read = read_shear(verdict)
        flags, is_stable = read.flags, read.is_stable
        if only_bulk:
            flags, is_stable = verdict.flags, bool(verdict.is_stable)
        has_failed = verdict.failure is not None
        if has_failed:
            is_stable, flags = False, ()
        if not only_bulk and not has_failed and verdict.is_near_unstable:
            flags = (*flags, WeakGround.NEAR_UNSTABLE)
        case.flag(*flags)
        stage = "bulk modulus" if only_bulk else "tensor"
        remark = ", ".join(flags)
        remark = f"{name}: {remark}" if remark else name
        case.note(stage, is_stable, verdict.reason or remark, name)
        if not has_failed and (not only_bulk or not is_stable) and case.is_stable is not False:
            case.is_stable = is_stable
        return verdict

    def _moduli(
        self,
        tensors: Mapping[str, TensorVerdict],
        cells: Mapping[str, Structure],
        case: _Case,
        appeal: TensorVerdict | None = None,
    ) -> None:
        """Add K and G on the DFT scale; G by the judge of appeal where it was heard."""
        bulk, shear = self.panel.bulk, self.panel.shear
        read = readings(tensors[bulk], tensors[shear], cells[bulk], cells[shear])
        if appeal is not None:
            other = read_shear(appeal)
            read = replace(read, shear=other.shear, shear_by=appeal.potential, shear_change=other.change)
        read, absurd = sensible(read)
        if absurd:
            case.flag(ABSURD)
            case.note("moduli", False, "; ".join(absurd), *dict.fromkeys((bulk, shear)))
        case.flag(*read.doubts)
        for prop, value, known in _calibrated_moduli(read, self.settings.method):
            case.values[prop.name] = value
            if prop == SHEAR_MODULUS:
                if is_superhard_light(cells[shear], value.mean):
                    case.flag(WeakGround.SUPERHARD_LIGHT)
                case.values[prop.name] = with_wider_error(value, widening(case.flags))
            if not known:
                case.flag("uncalibrated")
            elif (fit := calibration_of(prop, read)) is not None and other_versions(fit):
                case.flag(OTHER_VERSION)

    def _ask_second(self, case: _Case, deadline: Deadline) -> None:
        """Add the second opinion on what is shortlisted; it changes no value, a difference is flagged."""
        name = self.panel.second
        if not name or case.structure is None or not _is_within(case.values, self.shortlist):
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
        shear = read_shear(tensor)
        if not shear.is_stable:
            return [f"mechanically unstable: {', '.join(f for f in shear.flags if f in UNSTABLE_FLAGS)}"]
        read, absurd = sensible(readings(tensor, tensor, own.structure, own.structure))
        if absurd:
            raise VerificationError("; ".join(absurd))
        for prop, value, known in _calibrated_moduli(read, self.settings.method):
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
                found = own_values(judge, case.structure, case.values, self.wanted)
            except MachineError:
                raise
            except VerificationError as error:
                case.note(judge.name, False, str(error))
                continue
            case.values.update(found)
            case.note(judge.name, True, ", ".join(found))


def _calibrated_moduli(read: Readings, settings: str) -> Iterator[tuple[Property, VerifiedValue, bool]]:
    """Yield K and G on the DFT scale, and whether a calibration said so, where the raw value is positive."""
    for prop, raw in ((BULK_MODULUS, read.bulk), (SHEAR_MODULUS, read.shear)):
        if math.isfinite(raw) and raw > 0:
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


def load_verifier(
    potential: str = AUTO,
    *,
    reuse: bool = True,
    store: VerificationStore | str | None = None,
    workers: int = 1,
    seconds_limit: float = 300.0,
    stop_above_hull: float | None = None,
    referee: bool = False,
    device: str = "auto",
    shortlist: Bounds | None = None,
    also: Sequence[str] = (),
    wanted: Sequence[str] = (),
) -> Any:
    """Return a StreamingVerifier: this process for `workers=0`, else a pool of that many processes.

    Args:
        potential: "auto" (the judges of record), a built-in potential, or module:factory.
        reuse: False asks the judges afresh, whatever the store holds.
        store: None is the user's store, "" none at all, else a path (or, without workers, an open store).
        workers: processes beside this one.
        seconds_limit: of computing allowed for one structure; four times as many by the clock.
        stop_above_hull: eV/atom; a structure further above the hull is not asked about its stiffness.
        referee: the referee instead: K by diep, G by 7net-l3i5.
        device: where the potentials compute: auto (a GPU where there is one), cpu or cuda.
        shortlist: what earns a second opinion ({}: everything that is finished); None asks for none.
        also: judges of users' own properties, as module:factory, asked last.
        wanted: properties that targets ask for; misspelt ones of users' judges are named.

    Raises:
        UnknownNameError: no such potential, module or factory; names the nearest.
        ConfigError: a factory that makes no ASE calculator, or no judge.
        MissingExtraError: its package is not installed; names the extra.
        DataError: the store cannot be opened.
    """
    panel = panel_named(potential, referee)
    if workers > 0:  # code of users runs in workers only; `VerifierPool.check` says what it refuses
        from inverse.verification.plan import WorkerPlan
        from inverse.verification.workers import VerifierPool

        path = str(store.path) if isinstance(store, VerificationStore) else store
        if path != "":
            VerificationStore(path).close()
        plan = WorkerPlan(
            potential,
            reuse,
            path,
            seconds_limit,
            stop_above_hull,
            referee,
            device,
            shortlist,
            tuple(also),
            tuple(wanted),
        )
        return VerifierPool(plan, workers)
    if potential != AUTO and is_code_of_others(potential):
        load_potential(potential, device)  # what is no potential is said now, not once for every crystal
    opened = store if isinstance(store, VerificationStore) else None
    if opened is None and store != "":
        opened = VerificationStore(store)  # type: ignore[arg-type]
    return LadderVerifier(
        panel,
        store=opened,
        reuse=reuse,
        seconds_limit=seconds_limit,
        stop_above_hull=stop_above_hull,
        device=device,
        shortlist=shortlist,
        also=also,
        wanted=wanted,
    )


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
