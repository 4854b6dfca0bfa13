"""Verdicts -> failed, verified or hit; score and rank; duplicates. Pure functions."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from pymatgen.core import Structure
from scipy.special import ndtr

from inverse.candidates.derived import with_derived
from inverse.candidates.judged import is_predicted_only
from inverse.candidates.objective import OUT_OF_DOMAIN_AT_MOST, Objective
from inverse.candidates.second_opinion import doubt_factor
from inverse.candidates.types import (
    Breach,
    Candidate,
    Confirmation,
    EnergyFlag,
    HitClass,
    KnownPhase,
    PredictedValue,
    Rule,
    Status,
    StructureType,
    Target,
    Verification,
    VerifiedValue,
)
from surrogates.crystals.formulas import display_formula
from surrogates.errors import EngineError
from surrogates.physics.properties import PROPERTIES, Judged, judged_from

LOGGER = logging.getLogger("inverse.campaign")

LEAST_STD = 1e-6
"""Of a value that states no error of its own, in its unit: it is certain, and nothing is divided by zero."""


_OF_ENERGY = frozenset(prop.name for prop in judged_from(Judged.ENERGY))


@dataclass(frozen=True)
class Kinship:
    """Where a relaxed candidate stands among known materials."""

    hit_class: HitClass
    derivative_of: str = ""
    nearest_known: str = ""
    parent_prototype: str = ""
    vacancy_of: str = ""
    known_phase: KnownPhase | None = None


Screening = Callable[[Structure], Breach | None]
"""Structure -> the rule that it breaks, None when it keeps them all."""

Classify = Callable[[Structure], Kinship]
"""Relaxed structure -> its kinship; may raise EngineError."""

TypeOf = Callable[[Sequence[Structure]], StructureType | None]
"""A crystal as proposed and as each judge relaxed it -> its structure type; may raise EngineError."""


def judged(
    candidate: Candidate,
    verification: Verification,
    objective: Objective,
    screening: Screening,
    classify: Classify,
    type_of: TypeOf | None = None,
) -> Candidate:
    """Return the candidate with its verdict: failed, verified or (duplicates aside) hit.

    A hit converged, is Born-stable, still meets the constraints after relaxation, meets every hard target by
    the judges' calibrated means and lies at most 0.1 eV/atom above the hull unless a target says otherwise.
    What cannot be called known, derivative or new is no hit either, and its reason says so.
    """
    verification = followed(verification, objective)
    # a run that was stopped judged it before: nothing of what it was among others then may stay
    candidate = replace(candidate, verification=verification, duplicate_of="", reason="", rule=None)
    candidate = replace(candidate, structure_type=_structure_type(candidate, type_of))
    reason, breach = failure(verification), None
    relaxed = verification.structure
    if relaxed is not None:
        breach = None if reason else screening(relaxed)
        candidate = _with_kinship(candidate, relaxed, classify)
    probability = probability_after(candidate, objective)
    worth = score(candidate, verification, probability, objective)
    candidate = replace(candidate, probability_after=probability, score=worth)
    if breach is not None:
        return _out_after(candidate, breach)
    if reason:
        return replace(candidate, status=Status.FAILED, reason=reason)
    missed = missed_target(candidate, objective)
    if not missed and candidate.hit_class is None:
        why = candidate.unclassified or "no relaxed structure to classify"
        candidate, missed = replace(candidate, unclassified=why), f"hit class: unknown ({why})"
    return replace(candidate, status=Status.VERIFIED if missed else Status.HIT, reason=missed)


def with_confirmation(candidate: Candidate, found: Confirmation, objective: Objective) -> Candidate:
    """Return a verified candidate with what first principles say, its score by their values.

    Its status stays what the judges made of it: a hit that is refuted is a hit that was refuted.
    """
    candidate = replace(candidate, confirmation=found)
    verification = candidate.verification
    if verification is None or candidate.status not in (Status.HIT, Status.VERIFIED):
        return candidate
    probability = probability_after(candidate, objective)
    worth = score(candidate, verification, probability, objective)
    return replace(candidate, probability_after=probability, score=worth)


def followed(verification: Verification, objective: Objective) -> Verification:
    """Return the verdict with the values that follow from the judges': itself where it has them."""
    values = with_derived(verification.values, verification.structure, objective.properties)
    has_them = len(values) == len(verification.values)
    return verification if has_them else replace(verification, values=values)


def confirmed(candidate: Candidate, confirm: Classify, derivatives: bool) -> Candidate:
    """Return a hit of class new after asking whether it derives from something known by formula only.

    Where `derivatives` are not wanted and it does, it has failed as one that was known for it at once.
    """
    relaxed = candidate.verification.structure if candidate.verification is not None else None
    if candidate.status is not Status.HIT or candidate.hit_class is not HitClass.NEW or relaxed is None:
        return candidate
    found = _with_kinship(candidate, relaxed, confirm)
    if derivatives or found.hit_class is not HitClass.DERIVATIVE:
        return found
    return _out_after(
        found, Breach(Rule.DERIVATIVES, f"an ordering of {display_formula(found.derivative_of)}")
    )


def _out_after(candidate: Candidate, breach: Breach) -> Candidate:
    """Return the candidate as failed by a rule that its relaxed structure breaks."""
    return replace(candidate, status=Status.FAILED, reason=f"after relaxation: {breach}", rule=breach.rule)


@dataclass(frozen=True)
class Miss:
    """A target that keeps a verified candidate from being a hit.

    Attributes:
        target: which.
        value: the judges' mean that misses it; None when no judge gave one.
        probability: that a property which no judge computes meets it; None where a judge should have.
        needed: probability from which on the prediction alone would have been enough.
        is_capped: the probability is that of something outside the surrogate's domain.
        unknown: why this composition has no value of a property that the composition decides.
    """

    target: Target
    value: float | None = None
    probability: float | None = None
    needed: float = 0.0
    is_capped: bool = False
    unknown: str = ""

    def __str__(self) -> str:
        """Return the reason in one line."""
        name, bounds = self.target.property.name, f"[{self.target.lower:g}, {self.target.upper:g}]"
        if self.value is not None:
            return f"{name}: {self.value:.4g} {self.target.property.unit} misses {bounds}"
        if self.unknown:
            return f"{name}: {self.unknown}"
        if self.probability is None:
            return f"{name}: no judge gave a value and nobody predicts it"
        said = f"{name}: no judge computes it and P({name} in {bounds}) = {self.probability:.2f}"
        if self.is_capped:
            said += ", the most that is believed outside the surrogate's domain,"
        return f"{said} is under {self.needed:g}"


def misses(candidate: Candidate, objective: Objective) -> list[Miss]:
    """Return the deciding targets that the verdict does not meet, [] when all are met.

    A property that no judge computes, such as the hull with a potential whose energies stand on no scale, is
    predicted only: met when the prediction says so with at least `objective.predicted_enough`.
    """
    found = []
    for target in objective.deciding:
        name = target.property.name
        verified = _verified(candidate, name)
        if verified is not None:
            if not target.is_met(verified.mean):
                found.append(Miss(target, value=verified.mean))
            continue
        predicted = candidate.predictions.get(name)
        if predicted is None or not nobody_judges(candidate, name):
            found.append(Miss(target, unknown=target.property.why_unknown(_elements(candidate))))
            continue
        probability, is_capped = _predicted_to_meet(predicted, target)
        if probability < objective.predicted_enough:
            found.append(Miss(target, None, probability, objective.predicted_enough, is_capped))
    return found


def is_promising(candidate: Candidate, objective: Objective) -> bool:
    """Return whether nothing but the certainty of a prediction keeps a verified candidate from being a hit.

    Every target that judges compute is met, and the others rather are than not.
    """
    if candidate.status is not Status.VERIFIED or candidate.hit_class is None or candidate.duplicate_of:
        return False
    missed = misses(candidate, objective)
    return bool(missed) and all((miss.probability or 0.0) >= 0.5 for miss in missed)


def missed_target(candidate: Candidate, objective: Objective) -> str:
    """Return in words the first deciding target that the verdict does not meet, "" when all are met."""
    return next((str(miss) for miss in misses(candidate, objective)), "")


def probability_after(candidate: Candidate, objective: Objective) -> float:
    """Return P(all that decides a hit is met), prediction and verdict weighted by their errors."""
    if candidate.verification is None or not candidate.verification.converged:
        return 0.0
    probability = 1.0
    for target in objective.deciding:
        name = target.property.name
        mean, std = _combined(candidate, name)
        met = _inside(mean, std, target.lower, target.upper)
        if target.property.is_exact:
            met = float(target.is_met(mean))
        predicted = candidate.predictions.get(name)
        if _verified(candidate, name) is None and predicted is not None and not predicted.in_domain:
            met = min(met, OUT_OF_DOMAIN_AT_MOST)
        probability *= met
    return probability


def score(
    candidate: Candidate, verification: Verification, probability: float, objective: Objective
) -> float:
    """Return what decides the rank, higher is better: the probability times the soft targets' worth.

    A second opinion beyond the stated errors, or of "unstable" or "another phase", lowers it.

    Args:
        candidate: with its verdict.
        verification: that verdict.
        probability: `probability_after` of the candidate.
        objective: of the campaign.
    """
    means = {p.name: _combined(candidate, p.name)[0] for p in objective.properties}
    doubt = doubt_factor(verification.values, verification.second_opinion, verification.flags)
    return doubt * objective.score(probability, means)


def with_duplicates(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, one hit per (chemical system, parent prototype): the best-ranked.

    The others become verified with `duplicate_of`. Repeating it changes nothing; what stays as it was is the
    same object.
    """
    groups = HitGroups()
    groups.take_in(candidates)
    changed = groups.changes()
    return [as_duplicate(c, changed[c.id]) if c.id in changed else c for c in candidates]


def has_met(candidate: Candidate) -> bool:
    """Return whether a candidate met all that decides a hit: it is one, or the duplicate of a better one."""
    is_duplicate = candidate.status is Status.VERIFIED and bool(candidate.duplicate_of)
    return candidate.status is Status.HIT or is_duplicate


class HitGroups:
    """Hits by (chemical system, parent prototype), the best of each known; grows by what is taken in.

    What a step costs does not depend on how many there are: a group is looked at when it gains a member.
    """

    def __init__(self) -> None:
        self._members: dict[tuple[str, str], dict[str, float]] = {}
        self._first: dict[str, str] = {}
        self._touched: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        """Return the number of groups, which is that of the hits."""
        return len(self._members)

    def n_with(self, candidates: Iterable[Candidate]) -> int:
        """Return how many groups there would be with these candidates, which are not taken in."""
        groups = {_group(c) for c in candidates if has_met(c)}
        return len(self) + sum(group not in self._members for group in groups)

    def take_in(self, candidates: Iterable[Candidate]) -> None:
        """Take in those that met every target, hits and duplicates of hits, as they are stored."""
        for candidate in candidates:
            if has_met(candidate):
                group = _group(candidate)
                self._members.setdefault(group, {})[candidate.id] = -(candidate.score or 0.0)
                self._first[candidate.id] = candidate.duplicate_of
                self._touched.add(group)

    def changes(self) -> dict[str, str]:
        """Return, by id, what `duplicate_of` has become ("" for the best) where it is stored otherwise."""
        changed: dict[str, str] = {}
        while self._touched:
            members = self._members[self._touched.pop()]
            best = min(members, key=lambda identity: (members[identity], identity))
            found = {identity: "" if identity == best else best for identity in members}
            changed.update((k, first) for k, first in found.items() if self._first[k] != first)
        self._first.update(changed)
        return changed


def as_duplicate(candidate: Candidate, first: str) -> Candidate:
    """Return one that met every target as a duplicate of the first of its group; "" makes it a hit."""
    reason = f"duplicate of {first}: same chemical system and parent prototype" if first else ""
    status = Status.VERIFIED if first else Status.HIT
    return replace(candidate, status=status, duplicate_of=first, reason=reason)


def as_judged(candidate: Candidate) -> Candidate:
    """Return the candidate as it stood before others of its kind were looked at.

    What a run learns from a step must not depend on later steps, or a resumed run would learn something else.
    """
    if has_met(candidate) and candidate.duplicate_of:
        return replace(candidate, status=Status.HIT, duplicate_of="", reason="")
    return candidate


def failure(verification: Verification) -> str:
    """Return why a verdict is a failure whatever was asked for, "" for a stable, converged crystal."""
    if not verification.converged:
        return verification.reason or "not converged"
    if verification.is_stable is False:
        return verification.reason or "mechanically unstable"
    return ""


def _with_kinship(candidate: Candidate, relaxed: Structure, classify: Classify) -> Candidate:
    try:
        kin = classify(relaxed)
    except EngineError as error:
        return replace(candidate, unclassified=" ".join(str(error).split()))
    return replace(
        candidate,
        unclassified="",
        hit_class=kin.hit_class,
        derivative_of=kin.derivative_of,
        nearest_known=kin.nearest_known,
        vacancy_of=kin.vacancy_of,
        known_phase=kin.known_phase,
        parent_prototype=kin.parent_prototype,
    )


def _structure_type(candidate: Candidate, type_of: TypeOf | None) -> StructureType | None:
    """Return the type of a crystal that the energy judge relaxed; None where nobody can say."""
    verification = candidate.verification
    if type_of is None or verification is None or verification.structure is None:
        return None
    try:
        return type_of([candidate.structure, *verification.other_cells.values(), verification.structure])
    except Exception:  # what it is called decides nothing
        LOGGER.exception("%s: its structure type cannot be told", candidate.id)
        return None


def _group(candidate: Candidate) -> tuple[str, str]:
    return candidate.structure.composition.chemical_system, candidate.parent_prototype


def _predicted_to_meet(predicted: PredictedValue, target: Target) -> tuple[float, bool]:
    """Return the probability that a prediction alone gives, and whether the domain's cap cut it."""
    probability = _inside(predicted.mean, predicted.std, target.lower, target.upper)
    if predicted.in_domain or probability <= OUT_OF_DOMAIN_AT_MOST:
        return probability, False
    return OUT_OF_DOMAIN_AT_MOST, True


def nobody_judges(candidate: Candidate, name: str) -> bool:
    """Return whether a property is predicted only: for ever, or because this potential gives no energy."""
    if is_predicted_only(name):
        return True
    flags = candidate.verification.flags if candidate.verification is not None else ()
    return PROPERTIES[name].judged is Judged.ENERGY and EnergyFlag.NO_ENERGY in flags


def _elements(candidate: Candidate) -> frozenset[str]:
    return frozenset(element.symbol for element in candidate.structure.composition.elements)


def _verified(candidate: Candidate, name: str) -> VerifiedValue | None:
    """Return what first principles say of a property, else the judges; None without a finite number."""
    value = candidate.values.get(name)
    return value if value is not None and math.isfinite(value.mean) else None


def _combined(candidate: Candidate, name: str) -> tuple[float, float]:
    """Return mean and std by prediction and verdict, NaN where nobody who may say it does.

    Of energies the verdict alone, where there is one: predictions by which crystals were chosen are too low
    for these, and lie ten times further from DFT than the judge's (experiments/log/dft.md).
    """
    pairs = []
    verified = _verified(candidate, name)
    predicted = candidate.predictions.get(name)
    if verified is not None and name in _OF_ENERGY:
        predicted = None
    for value in (predicted, verified):
        if value is not None and math.isfinite(value.mean) and math.isfinite(value.std):
            is_sure = value.std <= 0.0  # says no error of its own, so it has no say beside a verdict
            if not is_sure or value is verified or verified is None:
                pairs.append((value.mean, max(value.std, LEAST_STD)))
    if not pairs or (verified is None and not nobody_judges(candidate, name)):
        return math.nan, math.nan
    weight = sum(std**-2 for _, std in pairs)
    return sum(mean * std**-2 for mean, std in pairs) / weight, weight**-0.5


def _inside(mean: float, std: float, lower: float, upper: float) -> float:
    if not (math.isfinite(mean) and math.isfinite(std)):
        return 0.0
    std = max(std, LEAST_STD)
    return float(ndtr((upper - mean) / std) - ndtr((lower - mean) / std))
