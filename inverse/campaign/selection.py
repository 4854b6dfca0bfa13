"""Proposals -> screened and predicted candidates -> those worth a verification."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from pymatgen.core import Structure

from inverse.campaign.choice import Choice, Option, Places
from inverse.campaign.triage import LOOKED_AT, RELAXED, TriageStage, needs_none
from inverse.campaign.waiting import to_wait, unpredicted
from inverse.candidates.ladder import with_seconds
from inverse.candidates.objective import OUT_OF_DOMAIN_AT_MOST, Objective
from inverse.candidates.ranking import Screening
from inverse.candidates.types import Breach, Candidate, Origin, Rule, Standing, Status, Triaged
from inverse.inputs.records import structure_from_record, structure_to_record
from inverse.prediction.evaluation import Evaluator, is_finite, predicted_values
from inverse.prediction.worth import worth
from inverse.proposers.protocol import Proposal
from inverse.reference.familiarity import LEAST_TRUST
from inverse.reference.known_energies import GivenEnergy
from surrogates.crystals.formulas import display_formula
from surrogates.physics.properties import Property

LOGGER = logging.getLogger("inverse.campaign")

SINGLE_PRECISION = 1e-6
"""By how much a probability in single precision may miss the number that it was held at."""


class Selection:
    """Chooses what is verified; what it remembers follows from the finished steps alone.

    Attributes:
        left: ids of those that the last choice left waiting for the next one, in their order.
    """

    def __init__(
        self,
        objective: Objective,
        evaluator: Evaluator,
        screening: Screening,
        preview: Callable[[Structure], Standing],
        trust: Callable[[Structure], float],
        triage: TriageStage | None = None,
    ) -> None:
        self._triage = triage
        self._objective, self._evaluator = objective, evaluator
        self._screening, self._preview, self._trust = screening, preview, trust
        self.left: list[str] = []
        self._pending: Mapping[str, Candidate] = {}
        self._standings: dict[str, Standing] = {}
        self._keys: set[tuple[str, str]] = set()
        self._systems: Counter[str] = Counter()

    def select(
        self, proposals: Sequence[Proposal], first: int, places: Places, waiting: Iterable[Candidate] = ()
    ) -> tuple[list[Candidate], list[str]]:
        """Return candidates in the order of their ids, and the ids to verify in order of choice.

        The candidates are all proposals, and those that waited and wait no more: they are chosen now, are
        like one that was, or are thrown out by the triage.

        Args:
            proposals: in the order that numbers them.
            first: number of the first.
            places: verifications to spend, and on whom.
            waiting: candidates of earlier steps, which are predicted anew.

        Raises:
            StoppedError: the run is to stop before all is triaged.
        """
        marks = [time.monotonic()]
        new = [self._screened(f"c{first + k:06d}", p) for k, p in enumerate(proposals)]
        marks.append(time.monotonic())
        earlier = [unpredicted(c) for c in waiting]
        if self._triage is not None:
            earlier = self._triage.recalled(earlier)
        candidates, options = self._predicted([*earlier, *new])
        marks.append(time.monotonic())
        screening, predicting = (later - former for former, later in pairwise(marks))
        each = {
            "screened": screening / max(1, len(proposals)),
            "predicted": predicting / max(1, len(options)),
        }
        self._standings, self._pending = {}, {c.id: c for c in candidates}
        eligible, like_verified = options, set[str]()
        if self._triage is not None:
            candidates, options, eligible, like_verified = self._triaged(
                candidates, options, places, self._triage
            )
        choice = self._choice()
        choice.passed_over |= like_verified
        chosen = choice.select(eligible, places)
        thrown_out = {c.id for c in candidates if c.status is Status.TRIAGED_OUT}
        gone = choice.passed_over.union(chosen, thrown_out)
        self.left = to_wait(options, gone, choice.discounted)
        still = {c.id for c in earlier} - gone
        found = sorted((c for c in candidates if c.id not in still), key=lambda c: (len(c.id), c.id))
        found = [replace(c, rule=Rule.LIKE_VERIFIED) if c.id in choice.passed_over else c for c in found]
        is_new = {c.id for c in new}
        return [_timed(self._noted(c), each if c.id in is_new else {}) for c in found], chosen

    def _choice(self) -> Choice:
        # on copies: what is remembered follows from finished steps, whichever process chose
        return Choice(self._standing, set(self._keys), Counter(self._systems))

    def _triaged(
        self,
        candidates: Sequence[Candidate],
        options: Sequence[Option],
        places: Places,
        triage: TriageStage,
    ) -> tuple[list[Candidate], list[Option], list[Option], set[str]]:
        """Return the candidates after the triage, the options that are left, and those that may be chosen.

        The choice's own order says who is looked at, and with what that tells, who is relaxed. Last come the
        ids of those that are like what an earlier step verified; who is like another of this step may still
        be needed, since that one may be thrown out.
        """
        like_verified: set[str] = set()
        known, left = {c.id: c for c in candidates}, {o.id: o for o in options}
        rounds = ((triage.look, LOOKED_AT, _lacks_look), (triage.relax, RELAXED, _lacks_relaxation))
        for ask, share, is_asked in rounds:
            pool = [o for o in left.values() if is_asked(known[o.id])]
            n = share * places.n
            choice = self._choice()
            named = choice.select(pool, Places(n, share * places.new, share * places.children))
            like_verified |= {o.id for o in pool if o.id in choice.passed_over and self._is_like_verified(o)}
            told = ask([known[identity] for identity in named])
            kept = [unpredicted(c) for c in told if c.status is not Status.TRIAGED_OUT]
            again, fresh = self._predicted(kept)
            known |= {c.id: c for c in (*told, *again)}
            for identity in named:
                del left[identity]
            left |= {o.id: o for o in fresh}
        order = [c.id for c in candidates]
        may = [o for o in left.values() if needs_none(c := known[o.id]) or _is_relaxed(c)]
        return [known[identity] for identity in order], list(left.values()), may, like_verified

    def _is_like_verified(self, option: Option) -> bool:
        return (option.chemical_system, self._standing(option.id).parent_prototype) in self._keys

    def remember(self, verified: Sequence[Candidate]) -> None:
        """Remember verified candidates: what they were expected to be, and what they became."""
        for candidate in verified:
            system = candidate.structure.composition.chemical_system
            self._systems[system] += 1
            self._keys.add((system, candidate.expected_prototype))
            self._keys.add((system, candidate.parent_prototype))

    def breach(self, structure: Structure) -> Breach | None:
        """Return the rule that screens a structure out; one that breaks the screen is out, too."""
        try:
            return self._screening(structure)
        except Exception as error:  # an odd crystal must not end the run
            LOGGER.warning("%s: cannot be screened (%s)", display_formula(structure.composition), error)
            return Breach(Rule.UNREADABLE, " ".join(str(error).split()))

    def _screened(self, identity: str, proposal: Proposal) -> Candidate:
        # through the record, so that a resumed run verifies the very same numbers
        structure = structure_from_record(structure_to_record(proposal.structure))
        candidate = Candidate(
            id=identity,
            structure=structure,
            proposer=proposal.proposer,
            seed=proposal.seed,
            history=proposal.history,
            log_likelihood=proposal.log_likelihood,
            origin=proposal.origin,
            key=proposal.key,
            trust=proposal.trust,
            remarks=proposal.remarks,
        )
        breach = self.breach(structure)
        # a seed is what the others are compared with, wanted or not
        if breach is None or (candidate.origin is Origin.SEED and breach.rule.is_of_config):
            return candidate
        return _out(candidate, breach)

    def _predicted(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Option]]:
        alive = [c for c in candidates if c.status is Status.PROPOSED]
        if not alive:
            return list(candidates), []
        evaluation = self._evaluator.evaluate(
            [c.start for c in alive], [_energy_of(c.triaged) for c in alive]
        )
        predictions = evaluation.predictions
        met = self._objective.probability_met(predictions)
        values = worth(predictions, met, self._objective.loss(predictions))
        outside = self._objective.outside(predictions)
        is_known = is_finite(predictions) & torch.isfinite(met) & torch.isfinite(values)
        done: dict[str, Candidate] = {}
        options = []
        for row, proposed in enumerate(alive):
            candidate = replace(
                proposed,
                status=Status.PREDICTED,
                predictions=predicted_values(predictions, row),
                known_phase=evaluation.phases[row],
                probability_target_met=float(met[row]),
                reason=_why_capped(float(met[row]), bool(outside[row])),
            )
            if not is_known[row] and candidate.origin is not Origin.SEED:
                done[candidate.id] = _out(candidate, _unpredicted(candidate, tuple(predictions)))
                continue
            candidate = replace(candidate, trust=self._trusted(candidate)) if is_known[row] else candidate
            done[candidate.id] = candidate
            worth_here = float(values[row]) * (candidate.trust or 0.0) if is_known[row] else 0.0
            system = candidate.structure.composition.chemical_system
            options.append(Option(candidate.id, worth_here, system, float(met[row]), candidate.origin))
        return [done.get(c.id, c) for c in candidates], options

    def _trusted(self, candidate: Candidate) -> float:
        if candidate.trust is not None:
            return candidate.trust
        try:
            return self._trust(candidate.structure)
        except Exception as error:  # an odd crystal must not end the run
            LOGGER.warning("%s: familiarity unknown (%s)", candidate.id, error)
            return LEAST_TRUST

    def _standing(self, identity: str) -> Standing:
        if identity not in self._standings:
            try:
                standing = self._preview(self._pending[identity].structure)
            except Exception as error:  # an odd crystal must not end the run; it stands alone
                LOGGER.warning("%s: no standing (%s)", identity, error)
                standing = Standing(f"unknown {identity}", is_new=False)
            self._standings[identity] = standing
        return self._standings[identity]

    def _noted(self, candidate: Candidate) -> Candidate:
        standing = self._standings.get(candidate.id)
        if standing is None:
            return candidate
        return replace(
            candidate,
            history={**candidate.history, "expected_new": standing.is_new},
            expected_prototype=standing.parent_prototype,
            parent_prototype=standing.parent_prototype,
        )


def _energy_of(said: Triaged | None) -> GivenEnergy | None:
    """Return the energy that counts instead of the surrogate's."""
    if said is None or not (math.isfinite(said.energy) and math.isfinite(said.std)):
        return None
    return GivenEnergy(said.energy, said.std)


def _lacks_look(candidate: Candidate) -> bool:
    return candidate.triaged is None and not needs_none(candidate)


def _lacks_relaxation(candidate: Candidate) -> bool:
    is_looked_at = candidate.triaged is not None and not candidate.triaged.is_relaxed
    return is_looked_at and not needs_none(candidate)


def _is_relaxed(candidate: Candidate) -> bool:
    return candidate.triaged is not None and candidate.triaged.is_relaxed


def _out(candidate: Candidate, breach: Breach) -> Candidate:
    return replace(candidate, status=Status.SCREENED_OUT, reason=str(breach), rule=breach.rule)


def _unpredicted(candidate: Candidate, asked: Sequence[Property]) -> Breach:
    """Return which properties have no finite prediction; without any it is their joint probability."""
    values = candidate.predictions.items()
    names = [name for name, v in values if not (math.isfinite(v.mean) and math.isfinite(v.std))]
    symbols = {element.symbol for element in candidate.structure.composition.elements}
    names += [f"{prop.name} ({why})" for prop in asked if (why := prop.why_unknown(symbols))]
    return Breach(Rule.NO_PREDICTION, ", ".join(names) or "the probability that the targets are met")


def _why_capped(met: float, is_outside: bool) -> str:
    if not is_outside or met < OUT_OF_DOMAIN_AT_MOST - SINGLE_PRECISION:
        return ""
    return f"out of domain: P(targets met) is held at {OUT_OF_DOMAIN_AT_MOST:g}"


def _timed(candidate: Candidate, each: Mapping[str, float]) -> Candidate:
    """Return the candidate with its share of the seconds of screening and, where it was, prediction."""
    for stage, seconds in each.items():
        if stage != "predicted" or candidate.predictions:
            candidate = with_seconds(candidate, stage, seconds)
    return candidate
