"""Crystals by first principles with the phases that they compete with; the verdict on a candidate."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.derived import with_derived
from inverse.candidates.objective import Objective
from inverse.candidates.types import Confirmation, Outcome, Verification, VerifiedValue
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.reference import ReferenceHull
from inverse.verification.first_principles.accuracy import valued
from inverse.verification.first_principles.crystal import Crystal, Wanted, check_elements, crystal
from inverse.verification.first_principles.pool import Calculated, CalculationPool
from inverse.verification.first_principles.reaction import Phase, check_functional, energy_above
from inverse.verification.first_principles.setting import Setting
from inverse.verification.first_principles.verdict import verdict
from surrogates.errors import EngineError, UnknownNameError, VerificationError
from surrogates.physics.properties import BULK_MODULUS, ENERGY_ABOVE_HULL, SHEAR_MODULUS, Property

COMPUTED: tuple[Property, ...] = (BULK_MODULUS, ENERGY_ABOVE_HULL, SHEAR_MODULUS)
"""What DFT can be asked for; everything else follows from these and from the relaxed cell."""

BY_DEFAULT = COMPUTED[:2]
"""What DFT is asked for unless the caller says: a tensor takes many strained cells of low symmetry."""

StructuresOf = Callable[[str], Sequence[Structure]]
"""Reduced formula -> polymorphs of which one is its lowest; an EngineError says why there are none."""


def computed_properties(names: Sequence[str]) -> list[Property]:
    """Return the properties of names, those `BY_DEFAULT` without any.

    Raises:
        UnknownNameError: one that DFT is not asked for; names the nearest.
    """
    known = {prop.name: prop for prop in COMPUTED}
    for name in names:
        if name not in known:
            raise UnknownNameError.among("property for DFT", name, list(known), name)
    return [known[name] for name in dict.fromkeys(names)] or list(BY_DEFAULT)


@dataclass
class Asked:
    """One crystal that is taken to DFT.

    Attributes:
        identity: of the candidate, or what else tells it from others.
        structure: relaxed by the judge of energies.
        setting: of its calculations and of those of its competitors.
        shares: reduced formula of each competing phase -> fraction of the atoms; empty without a hull.
        phases: polymorphs of each competing phase, the lowest of which counts.
        why_no_hull: why its distance from the hull cannot be computed.
        softening: K_V - K_R by the tensor of its judge, GPa, for want of DFT's; nan without a tensor.
    """

    identity: str
    structure: Structure
    setting: Setting
    shares: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, Sequence[Structure]] = field(default_factory=dict)
    why_no_hull: str = ""
    softening: float = math.nan

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return self.structure.composition.reduced_formula

    def named(self, phase: str) -> list[str]:
        """Return what tells a competitor's polymorphs at this candidate's cutoff from all others."""
        return self._names[phase]

    @cached_property
    def _names(self) -> Mapping[str, list[str]]:
        at = f"at {self.setting.protocol.cutoff:g} eV"
        found = {}
        for phase, polymorphs in self.phases.items():
            found[phase] = [f"{phase} {at}"]
            if len(polymorphs) > 1:
                groups = [one.get_space_group_info()[1] for one in polymorphs]
                found[phase] = [
                    f"{phase} (polymorph {k}, space group {group}) {at}" for k, group in enumerate(groups, 1)
                ]
        return found


@dataclass(frozen=True)
class Found:
    """What DFT says of one crystal, before anybody judges it.

    Attributes:
        asked: what was asked.
        crystal: its own calculations; why it has none where they failed.
        values: by property name, without what follows from them.
        why_no_hull: why its distance from the hull is missing where it was asked for; "" else.
        shares: of the phases that it was compared with.
        computing: core-seconds of its own calculations, whenever they were made.
    """

    asked: Asked
    crystal: Crystal | VerificationError
    values: Mapping[str, VerifiedValue]
    why_no_hull: str
    shares: Mapping[str, float]
    computing: float

    @property
    def code(self) -> str:
        """Name and version of what computed."""
        code = self.asked.setting.code
        return f"{code.name} {code.version}".strip()

    @property
    def instability(self) -> str:
        """How the crystal is mechanically unstable; "" where it is not, or where no tensor says."""
        own = self.crystal
        if isinstance(own, VerificationError) or own.stiffness is None or own.stiffness.is_stable:
            return ""
        return f"mechanically unstable: {', '.join(own.stiffness.flags)}"

    @property
    def why_no_bulk(self) -> str:
        """Why there is K_V alone, which may lie far above K; "" where K is known or was not asked for."""
        own = self.crystal
        if isinstance(own, VerificationError) or own.bulk is None or BULK_MODULUS.name in self.values:
            return ""
        fixed = f"{own.bulk.voigt:.0f} GPa at fixed shape"
        return f"{fixed}, and no judge's tensor says how far the crystal softens: {own.bulk.why_no_reuss}"


def asked(identity: str, structure: Structure, setting: Setting, structures_of: StructuresOf | None) -> Asked:
    """Return a crystal with the phases that it would fall apart into, or why they cannot be computed.

    Without `structures_of` nobody asks for its distance from the hull, and no phase is looked for.
    """
    setting = setting.beside({element.symbol for element in structure.composition.elements})
    if structures_of is None:
        return Asked(identity, structure, setting)
    try:
        check_functional(structure.composition)
        formula = structure.composition.reduced_formula
        shares = ReferenceHull.current().energy_above_hull(formula, 0.0).decomposition
        phases = {name: tuple(structures_of(name)) for name in shares}
        for name, polymorphs in phases.items():
            for one in polymorphs:
                check_elements(SymmetricCell.from_structure(one), setting)
            if not polymorphs:
                raise VerificationError(f"{name}, which it competes with: no structure is carried")
    except EngineError as error:
        return Asked(identity, structure, setting, why_no_hull=str(error))
    return Asked(identity, structure, setting, dict(shares), phases)


def with_judge(one: Asked, verdict: Verification | None) -> Asked:
    """Return what is asked with what the judge's tensor says for want of DFT's."""
    tensor = {} if verdict is None else verdict.elasticity
    voigt, reuss = (tensor.get(f"bulk_modulus_{name}") for name in ("voigt", "reuss"))
    return one if voigt is None or reuss is None else replace(one, softening=float(voigt) - float(reuss))


def findings(
    candidates: Sequence[Asked],
    properties: Sequence[Property],
    pool: CalculationPool,
    told: Callable[[str, Calculated], None] = lambda name, one: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Found]:
    """Yield what first principles say of each crystal, as soon as it and its competitors are computed.

    Args:
        candidates: in the order in which they are begun; each is followed by its competitors.
        properties: of `COMPUTED`.
        pool: that calculates.
        told: name of a crystal and each of its calculations.
        should_stop: asked twice a second.
    """
    wanted = Wanted.of(properties)
    has_hull = ENERGY_ABOVE_HULL in properties
    names, inquiries = [], []
    for one in candidates:
        names.append(one.identity)
        inquiries.append(crystal(SymmetricCell.from_structure(one.structure), one.setting, wanted))
        for name in one.shares if has_hull else ():
            for label, phase in zip(one.named(name), one.phases[name], strict=True):
                if label not in names:
                    names.append(label)
                    inquiries.append(crystal(SymmetricCell.from_structure(phase), one.setting, Wanted()))
    found: dict[str, Crystal | VerificationError] = {}
    computing = dict.fromkeys(names, 0.0)
    waiting = list(candidates)

    def note(one: Calculated) -> None:
        computing[names[one.position]] += float(one.found.get("computing", 0.0))
        told(names[one.position], one)

    for position, result in pool.answered(inquiries, note, should_stop):
        found[names[position]] = result
        for one in [c for c in waiting if _is_ready(c, found, has_hull)]:
            waiting.remove(one)
            yield _found(one, found, has_hull, computing[one.identity])


def _is_ready(one: Asked, found: Mapping[str, Any], has_hull: bool) -> bool:
    own = found.get(one.identity)
    if own is None or isinstance(own, VerificationError):
        return own is not None
    return not has_hull or all(label in found for name in one.shares for label in one.named(name))


def _found(
    one: Asked, found: Mapping[str, Crystal | VerificationError], has_hull: bool, computing: float
) -> Found:
    own = found[one.identity]
    if isinstance(own, VerificationError):
        return Found(one, own, {}, "", {}, computing)
    values, why_no_hull = _of_crystal(own, one.setting.code.name, one.softening), ""
    if has_hull:
        try:
            distance = _distance(one, own, found)
            values[ENERGY_ABOVE_HULL.name] = valued(ENERGY_ABOVE_HULL, distance, one.setting.code.name)
        except VerificationError as error:
            why_no_hull = str(error)
    return Found(one, own, values, why_no_hull, one.shares if has_hull else {}, computing)


def confirmation(found: Found, objective: Objective) -> Confirmation:
    """Return what DFT values decide about a candidate.

    Args:
        found: of the candidate.
        objective: whose deciding targets are judged.
    """
    own, protocol = found.crystal, str(found.asked.setting.protocol)
    computing = round(found.computing, 1)
    if isinstance(own, VerificationError):
        return Confirmation(
            Outcome.UNDECIDED, reason=str(own), code=found.code, protocol=protocol, computing=computing
        )
    structure = own.cell.to_structure()
    values = with_derived(found.values, structure, objective.properties)
    decided = verdict(objective.deciding, values, _computable(structure, objective))
    no_hull = f"no distance from the hull: {found.why_no_hull}" if found.why_no_hull else ""
    no_bulk = f"no bulk modulus: {found.why_no_bulk}" if found.why_no_bulk else ""
    return Confirmation(
        outcome=Outcome.REFUTED if found.instability else decided.outcome,
        values=values,
        met=decided.met,
        missed=decided.missed,
        open=decided.open,
        uncomputed=decided.uncomputed,
        reason="; ".join(part for part in (no_bulk, no_hull, found.instability) if part),
        code=found.code,
        protocol=protocol,
        details=details(own, found.shares),
        computing=computing,
        structure=structure,
    )


def _of_crystal(own: Crystal, code: str, softening: float) -> dict[str, VerifiedValue]:
    values = {}
    if own.bulk is not None and math.isfinite(bulk := own.bulk.hill(softening)):
        values[BULK_MODULUS.name] = valued(BULK_MODULUS, bulk, code, own.bulk.error(softening))
    if own.stiffness is not None and own.stiffness.is_stable:
        values[SHEAR_MODULUS.name] = valued(SHEAR_MODULUS, own.stiffness.shear_modulus, code)
    return values


def _distance(one: Asked, own: Crystal, found: Mapping[str, Crystal | VerificationError]) -> float:
    """Return the energy above the hull's competing phases, eV/atom.

    Raises:
        VerificationError: one of them failed, or none can be computed.
    """
    if one.why_no_hull:
        raise VerificationError(one.why_no_hull)
    phases = {}
    for name in one.shares:
        polymorphs = []
        for label in one.named(name):
            phase = found[label]
            if isinstance(phase, VerificationError):
                raise VerificationError(f"{label}: {phase}")
            polymorphs.append(Phase(phase.cell.to_structure(), phase.energy))
        phases[name] = min(polymorphs, key=lambda phase: phase.energy)
    return energy_above(Phase(own.cell.to_structure(), own.energy), phases, one.shares)


def details(own: Crystal, shares: Mapping[str, float]) -> dict[str, Any]:
    """Return how a crystal was computed and what no property holds, JSON-ready: energies, K_V and K_R."""
    out: dict[str, Any] = {
        "magnetic_order": own.state.order,
        "moment_per_atom": round(own.state.moment, 3),
        "mesh": list(own.mesh),
        "energy_per_atom": round(own.energy, 5),
        "competing_phases": {name: round(share, 4) for name, share in shares.items()},
    }
    if own.state.untried:
        out["untried"] = own.state.untried
    if own.bulk is not None:
        out["bulk_modulus"] = {
            "voigt": round(own.bulk.voigt, 2),
            "reuss": None if own.bulk.reuss is None else round(own.bulk.reuss, 2),
            "by_energy": round(own.bulk.by_energy, 2),
            "by_stress": round(own.bulk.by_stress, 2),
            "fit_error": round(own.bulk.fit_error, 2),
        }
    if own.stiffness is not None:
        out["stiffness"] = [[round(float(c), 1) for c in row] for row in own.stiffness.relaxed]
    return out


def _computable(structure: Structure, objective: Objective) -> set[str]:
    """Return the names of what DFT could say of a crystal if it were asked for everything."""
    all_of_it = {prop.name: valued(prop, 100.0, "") for prop in COMPUTED}
    return set(with_derived(all_of_it, structure, objective.properties))
