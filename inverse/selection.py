"""Proposals -> screened and predicted candidates -> those worth a verification."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from pymatgen.core import Structure

from inverse.acquisition import LEAST_TRUST, Choice, Option, Places, Standing, worth
from inverse.evaluation import Evaluator, is_finite, predicted_values
from inverse.ladder import with_seconds
from inverse.objective import OUT_OF_DOMAIN_AT_MOST, Objective
from inverse.proposers.protocol import Proposal
from inverse.ranking import Screening
from inverse.records import structure_from_record, structure_to_record
from inverse.types import Breach, Candidate, Origin, Rule, Status
from surrogates.formulas import display_formula

LOGGER = logging.getLogger("inverse.campaign")


class Selection:
    """Chooses what is verified; what it remembers follows from the finished steps alone."""

    def __init__(
        self,
        objective: Objective,
        evaluator: Evaluator,
        screening: Screening,
        preview: Callable[[Structure], Standing],
        trust: Callable[[Structure], float],
    ) -> None:
        self._objective, self._evaluator = objective, evaluator
        self._screening, self._preview, self._trust = screening, preview, trust
        self._pending: Mapping[str, Candidate] = {}
        self._standings: dict[str, Standing] = {}
        self._keys: set[tuple[str, str]] = set()
        self._systems: Counter[str] = Counter()

    def select(
        self, proposals: Sequence[Proposal], first: int, places: Places
    ) -> tuple[list[Candidate], list[str]]:
        """Return all proposals as candidates, and the ids to verify in order of choice.

        Args:
            proposals: in the order that numbers them.
            first: number of the first.
            places: verifications to spend, and on whom.
        """
        marks = [time.monotonic()]
        candidates = [self._screened(f"c{first + k:06d}", p) for k, p in enumerate(proposals)]
        marks.append(time.monotonic())
        candidates, options = self._predicted(candidates)
        marks.append(time.monotonic())
        screening, predicting = (later - earlier for earlier, later in pairwise(marks))
        each = {
            "screened": screening / max(1, len(proposals)),
            "predicted": predicting / max(1, len(options)),
        }
        self._standings, self._pending = {}, {c.id: c for c in candidates}
        # on copies: what is remembered follows from finished steps, whichever process chose
        choice = Choice(self._standing, set(self._keys), Counter(self._systems))
        chosen = choice.select(options, places)
        candidates = [
            replace(c, rule=Rule.LIKE_VERIFIED) if c.id in choice.passed_over else c for c in candidates
        ]
        return [_timed(self._noted(c), each) for c in candidates], chosen

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
        predictions = self._evaluator.predict([c.structure for c in alive])
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
                probability_target_met=float(met[row]),
                reason=_why_capped(float(met[row]), bool(outside[row])),
            )
            if not is_known[row] and candidate.origin is not Origin.SEED:
                done[candidate.id] = _out(candidate, _unpredicted(candidate))
                continue
            done[candidate.id] = candidate
            worth_here = float(values[row]) * self._trusted(candidate) if is_known[row] else 0.0
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


def _out(candidate: Candidate, breach: Breach) -> Candidate:
    return replace(candidate, status=Status.SCREENED_OUT, reason=str(breach), rule=breach.rule)


def _unpredicted(candidate: Candidate) -> Breach:
    """Return which properties have no finite prediction; without any it is their joint probability."""
    values = candidate.predictions.items()
    names = [name for name, v in values if not (math.isfinite(v.mean) and math.isfinite(v.std))]
    return Breach(Rule.NO_PREDICTION, ", ".join(names) or "the probability that the targets are met")


def _why_capped(met: float, is_outside: bool) -> str:
    if not is_outside or met < OUT_OF_DOMAIN_AT_MOST - 1e-6:  # the cap itself is less in single precision
        return ""
    return f"out of domain: P(targets met) is held at {OUT_OF_DOMAIN_AT_MOST:g}"


def _timed(candidate: Candidate, each: Mapping[str, float]) -> Candidate:
    """Return the candidate with its share of the seconds of screening and, where it was, prediction."""
    candidate = with_seconds(candidate, "screened", each["screened"])
    return with_seconds(candidate, "predicted", each["predicted"]) if candidate.predictions else candidate
