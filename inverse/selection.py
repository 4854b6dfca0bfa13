"""Proposals -> screened and predicted candidates -> those worth a verification."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from pymatgen.core import Structure

from inverse.acquisition import LEAST_TRUST, Choice, Option, Standing, worth
from inverse.evaluation import Evaluator, predicted_values
from inverse.ladder import with_seconds
from inverse.objective import Objective
from inverse.proposers.protocol import Proposal
from inverse.ranking import Screening
from inverse.records import structure_from_record, structure_to_record
from inverse.types import Candidate, Status
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
        self, proposals: Sequence[Proposal], first: int, n: int, n_new: int
    ) -> tuple[list[Candidate], list[str]]:
        """Return all proposals as candidates, and the ids to verify in order of choice.

        Args:
            proposals: in the order that numbers them.
            first: number of the first.
            n: verifications to spend.
            n_new: of these kept for class new.
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
        chosen = choice.select(options, n, n_new)
        return [_timed(self._noted(c), each) for c in candidates], chosen

    def remember(self, verified: Sequence[Candidate]) -> None:
        """Remember verified candidates: what they were expected to be, and what they became."""
        for candidate in verified:
            system = candidate.structure.composition.chemical_system
            self._systems[system] += 1
            self._keys.add((system, candidate.history["expected_prototype"]))
            self._keys.add((system, candidate.parent_prototype))

    def reason_out(self, structure: Structure) -> str:
        """Return why a structure is screened out; one that breaks the screen is out, too."""
        try:
            return self._screening(structure)
        except Exception as error:  # an odd crystal must not end the run
            LOGGER.warning("%s: cannot be screened (%s)", display_formula(structure.composition), error)
            return f"unscreenable: {error}"

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
        )
        reason = self.reason_out(structure)
        return replace(candidate, status=Status.SCREENED_OUT, reason=reason) if reason else candidate

    def _predicted(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Option]]:
        alive = [c for c in candidates if c.status is Status.PROPOSED]
        if not alive:
            return list(candidates), []
        predictions = self._evaluator.predict([c.structure for c in alive])
        met = self._objective.probability_met(predictions)
        values = worth(predictions, met, self._objective.loss(predictions))
        done: dict[str, Candidate] = {}
        options = []
        for row, candidate in enumerate(alive):
            done[candidate.id] = replace(
                candidate,
                status=Status.PREDICTED,
                predictions=predicted_values(predictions, row),
                probability_target_met=float(met[row]),
            )
            trust = self._trusted(candidate)
            system = candidate.structure.composition.chemical_system
            options.append(Option(candidate.id, float(values[row]) * trust, system))
        return [done.get(c.id, c) for c in candidates], options

    def _trusted(self, candidate: Candidate) -> float:
        if "trust" in candidate.history:
            return float(candidate.history["trust"])
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
        expected = {"expected_new": standing.is_new, "expected_prototype": standing.parent_prototype}
        history = {**candidate.history, **expected}
        return replace(candidate, history=history, parent_prototype=standing.parent_prototype)


def _timed(candidate: Candidate, each: Mapping[str, float]) -> Candidate:
    """Return the candidate with its share of the seconds of screening and, where it was, prediction."""
    candidate = with_seconds(candidate, "screened", each["screened"])
    return with_seconds(candidate, "predicted", each["predicted"]) if candidate.predictions else candidate
