"""The one mutable object: propose, decode, screen, predict, acquire, verify, record, tell, rank."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from inverse.campaign.choice import EXPLORE_SHARE, TEXTBOOK_SHARE, Places
from inverse.campaign.cost import CostMeter, Spending
from inverse.campaign.dynamical_stability import (
    ANNOUNCED,
    N_BEST,
    SECONDS_EACH,
    PhononsAhead,
    best_candidates,
    confirmed_and_best,
    is_asked,
    phonon_stage,
    with_phonons,
)
from inverse.campaign.functionals import hits_without_functionals, with_functionals
from inverse.campaign.manifest import config_hash, manifest, now, step_notes
from inverse.campaign.ordering import hits_that_may_mix, with_order
from inverse.campaign.parts import Parts, Progress
from inverse.campaign.run_folder import RunFolder
from inverse.campaign.run_log import RunLog, recorded
from inverse.campaign.selection import Selection
from inverse.campaign.stopping import StopFlag
from inverse.campaign.tables import Tables
from inverse.campaign.triage import LOOKED_AT, AsksCheaply, StoppedError, TriageStage
from inverse.campaign.waiting import Waiting
from inverse.candidates.hit_counts import HitRates, hit_counts
from inverse.candidates.ladder import with_seconds
from inverse.candidates.objective import Objective
from inverse.candidates.ranking import (
    HitGroups,
    as_duplicate,
    as_judged,
    confirmed,
    failure,
    followed,
    judged,
    with_duplicates,
)
from inverse.candidates.types import Candidate, Origin, Rule, Status, Verification
from inverse.inputs.campaign_config import CampaignConfig, load_config
from inverse.inputs.records import (
    significant,
    verification_received,
    verification_to_record,
)
from inverse.proposers.news import Pace, listening
from inverse.proposers.protocol import Proposal, completed
from surrogates.crystals.formulas import display_formula
from surrogates.errors import EngineError, RunFolderError, VerificationError

LOGGER = logging.getLogger("inverse.campaign")

STEP, LARGEST_STEP, N_STEPS = 16, 64, 20
"""Verifications of one step, at least and at most; between them a step is that part of the budget."""

DECIMALS = {"GPa": 3, "eV/atom": 5, "eV": 5}
"""Of verified values as they are told back, by unit; the values of other units keep six digits."""

SMALL_BUDGET = 24
"""Verifications in all under which half of them go to what was made from the user's own crystals."""

SECONDS_TO_FINISH = 30.0
"""Kept of the time limit for tables and report when the best are asked for their phonons."""

PROPOSALS_PER_VERIFICATION = 8
"""Candidates asked for, predicted and stored, for every verification of a step."""

GAVE_UP = "gave up before step"
"""Key in the journal: the number of the step that came after the last barren ones."""

COST = "cost"
"""Key in the journal: CPU seconds of all sessions up to the last verdict."""

_UNDER_WAY = ("created", "running")
"""Statuses of a manifest that is written after a step, and must not cost more the longer the run is."""

BARREN_STEPS, BARREN_PROPOSALS = 3, 1000
"""Steps in a row, and their proposals, none of which may be verified: then a run gives up."""


class Campaign:
    """One run: all of its state is in its folder after every step; candidates are kept nowhere else.

    Attributes:
        config: as it was written to the folder.
        folder: the run folder, locked.
        log: its log.txt.
        n_candidates: those of finished steps.
    """

    def __init__(
        self,
        config: CampaignConfig,
        folder: RunFolder,
        parts: Parts,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.config, self.folder, self._parts = config, folder, parts
        self._proposer = completed(parts.proposer)
        self.log = RunLog(folder.log_handler())
        self._on_progress = on_progress or (lambda progress: None)
        self.objective = Objective.of(config)
        self.n_candidates = 0
        self._groups = HitGroups()
        self.stop = StopFlag()
        self._triage = None if parts.triage is None else self._triage_stage(parts.triage)
        self._selection = Selection(
            self.objective, parts.evaluator, parts.screening, parts.preview, parts.trust, self._triage
        )
        self._waiting = Waiting(folder.waiting())
        self._half_done: list[Candidate] = []
        self._n_started = self._n_children = 0
        self._steps: list[dict[str, Any]] = []
        self._baselines: Mapping[str, Any] = folder.meta("baselines", {})
        self._pace = Pace()
        most = min(N_BEST, config.budget.verifications or N_BEST)
        self._phonons = PhononsAhead(0 if parts.phonons is None else most)
        self._next_step = 0
        self._began = time.monotonic()
        self._seconds_before = float(folder.manifest().get("seconds") or 0.0)
        try:
            self._cost = CostMeter(parts.spent, folder.meta(COST))
            # steps of a version that did not count: what they cost is unknown for good
            self._is_cost_known = folder.meta(COST) is not None or not folder.steps()
            self._replay()
            self._tables = Tables(folder, config)
            is_half_done = bool(folder.step_candidates(self._next_step)[0])
            self._proposer.open_trials(folder.path / "trials.db", self._next_step + is_half_done)
            if is_half_done:
                self._restore_proposer(self._next_step)
            self._cost.enter(Spending.SEARCH)
        except BaseException:
            self.log.close()
            raise

    # -- making one ------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        config: CampaignConfig,
        output: Path,
        parts: Parts,
        on_progress: Callable[[Progress], None] | None = None,
        resume: bool = False,
    ) -> "Campaign":
        """Return a new campaign in a new folder; `resume` takes up one that older versions left half-made.

        Raises:
            RunFolderError: the folder holds something already or cannot be written.
        """
        folder = RunFolder.create(
            output, config.to_yaml(carried=True), config_hash(config), config.inputs, resume
        )
        folder.set_meta("created", now())
        campaign = cls(config, folder, parts, on_progress)
        campaign._tables.write()
        campaign._write_manifest("created", "")
        return campaign

    @classmethod
    def resume(
        cls,
        output: Path,
        parts: Parts,
        config: CampaignConfig | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> "Campaign":
        """Return the campaign of a folder as it stood after its last finished step.

        Args:
            output: the run folder.
            parts: made from the same config.
            config: what to go on with (budget and device may differ); None reads the folder's.
            on_progress: told about every stage.

        Raises:
            RunFolderError: no run there, damaged, locked, or of another config.
        """
        config = config or stored_config(output)
        folder = RunFolder.open(output, config_hash(config))
        try:
            return cls(config, folder, parts, on_progress)
        except BaseException:
            folder.close()
            raise

    # -- the loop --------------------------------------------------------------------------------------------

    @recorded
    def run(self, deadline: float | None = None) -> str:
        """Run until the budget is spent, time is up or somebody stops it; return why it ended.

        Args:
            deadline: `time.monotonic()` after which nothing new is begun; None takes the config's own limit,
                from which the time of earlier calls is taken off.

        Raises:
            VerificationError: nobody can verify any more; what there is was written, a resume goes on.
        """
        if deadline is None and self.config.budget.seconds is not None:
            deadline = time.monotonic() + self.config.budget.seconds - self._seconds_before
        self.stop.deadline = deadline
        self._spend_on(Spending.SEARCH)
        reason = ""
        if self._parts.phonons is not None:
            self._say("propose", ANNOUNCED)
        with self.stop.listening():
            while not reason:
                reason = self._why_end()
                try:
                    if not reason and not self.step() and not self.stop.is_set():
                        reason = "no source has anything left to propose" + told_of_barren(self._barren())
                except VerificationError as error:
                    self._half_done = self._judged_so_far()
                    self.finish("stopped", str(error))
                    raise
            self._spend_on(Spending.AFTERWARDS)
            self._add_orderings()
            self._add_functionals()
            self._add_phonons()
            self._add_first_principles()
        status = "interrupted" if self.stop.signal_name else "stopped" if self.stop.is_set() else "finished"
        self.finish(status, reason)
        return reason

    @recorded
    def step(self) -> bool:
        """Run one step, or the rest of a half-done one; return False when nobody proposed anything.

        A step that a stop cuts short stays half-done: its verdicts are on disk and a resume ends it. One of
        whose candidates none may be verified is a step all the same: the sources learn of it and go on.
        """
        began = time.monotonic()
        number = self._next_step
        candidates, chosen = self.folder.step_candidates(number)
        if not candidates:
            candidates, chosen = self._propose(number)
        if not candidates:
            return False
        judged_now = self._verify({c.id: c for c in candidates}, chosen) if chosen else {}
        candidates = [judged_now.get(c.id, c) for c in candidates]
        if len(judged_now) < len(chosen):
            self._half_done = candidates
            return True
        self._half_done = []
        notes = self._notes(candidates, time.monotonic() - began)
        self.folder.finish_step(number, candidates, notes)
        self._take_in(candidates, notes)
        self._tabulate(candidates)
        self._tables.write_if_due()
        self._write_manifest("running", "")
        return True

    @recorded
    def finish(self, status: str, reason: str) -> None:
        """Write tables, CIFs and manifest of what there is; the folder stays open.

        The baselines come last, and the manifest again with them: they may take a minute.
        """
        self._say("finish", reason)
        self._spend_on(Spending.AFTERWARDS)
        if self._half_done:
            self.folder.update_candidates([c for c in self._half_done if c.verification is not None])
            self._groups.take_in(self._half_done)
            self._tabulate(self._half_done)
        self._tables.write()
        self._write_manifest(status, reason)
        LOGGER.info("ended: %s", reason)
        if not self._baselines:
            self._say("finish", "working out what is known without a search: look-up and orderings")
            self._baselines = self._with_baselines()
            self._write_manifest(status, reason)

    def close(self) -> None:
        """Give up workers, files and lock."""
        self._parts.verifier.close()
        self.log.close()
        self.folder.close()

    def __enter__(self) -> "Campaign":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def n_started(self) -> int:
        """Verifications started, the denominator of the hit rate."""
        return self._n_started + sum(c.verification is not None for c in self._half_done)

    @property
    def hits(self) -> list[Candidate]:
        """Hits, best first."""
        half_done = {c.id: c for c in self._half_done}
        verified = self.folder.named(self.folder.verified_ids())
        met = with_duplicates([half_done.get(c.id, c) for c in verified])
        found = [c for c in met if c.status is Status.HIT]
        return sorted(found, key=lambda c: (-(c.score or 0.0), c.id))

    def all_candidates(self) -> list[Candidate]:
        """Return every candidate in proposal order, those of a step cut short included; reads the journal."""
        half_done = {c.id: c for c in self._half_done}
        return with_duplicates([half_done.get(c.id, c) for c in self.folder.candidates()])

    def _triage_stage(self, asked: AsksCheaply) -> TriageStage:
        return TriageStage(
            asked,
            self.folder,
            self._parts.evaluator.hull_energy,
            self.objective.hull,
            self._parts.rescreening,
            self.stop.is_set,
            self._note_cost,
        )

    # -- propose ---------------------------------------------------------------------------------------------

    def _propose(self, number: int) -> tuple[list[Candidate], list[str]]:
        n = self._step_size()
        self._say("propose", f"step {number}: looking for {n} candidates worth verifying")
        before, began = self._parts.evaluator.n_evaluated, time.monotonic()
        with listening(lambda message: self._say("propose", message)):
            proposals = self._proposer.ask(n * self._per_verification, number, self.config.seed)
        what = "screening and predicting them"
        if self._triage is not None:
            self._triage.begin(number)
            what = f"screening, predicting and triaging them by {self._triage.potential}"
        self._say("propose", f"{len(proposals)} proposals; {what}")
        first = self.n_candidates
        each = (time.monotonic() - began) / max(1, len(proposals))
        places = self._places(self._with_room(n, proposals))
        try:
            candidates, chosen = self._selection.select(proposals, first, places, self._waiting)
        except StoppedError:
            return [], []
        if not candidates:
            return [], []
        recalled = [c for c in candidates if c.id in self._waiting]
        new = [with_seconds(c, "generated", each) for c in candidates if c.id not in self._waiting]
        notes: dict[str, float] = {"evaluated": self._parts.evaluator.n_evaluated - before}
        if self._triage is not None:
            notes |= self._triage.tally.record()
        self._proposer.save_trials()
        state = self._proposer.state()
        self.folder.write_step(number, new, chosen, notes, recalled, self._selection.left, state)
        self._note_cost()
        self._waiting = self._waiting.after(self._selection.left, new)
        self._tables.take(recalled)
        return [*recalled, *new], chosen

    # -- verify ----------------------------------------------------------------------------------------------

    def _verify(self, candidates: Mapping[str, Candidate], chosen: Sequence[str]) -> dict[str, Candidate]:
        """Return the chosen as judged, by id: verdicts on disk are reused, new ones written at once."""
        stored = self.folder.step_verifications(self._next_step)
        found = {i: self._judged(candidates[i], stored[i]) for i in chosen if i in stored}
        waiting = [identity for identity in chosen if identity not in found]
        self._say("verify", f"{len(waiting)} verifications ahead", found.values())
        began = time.monotonic()
        structures = [candidates[identity].start for identity in waiting]
        for position, verification in self._parts.verifier.verify_each(structures, self.stop.is_set):
            identity = waiting[position]
            verdict = rounded(verification)
            if verdict is not verification or verdict.record is None:
                # through the record, so that a resumed run judges the very same numbers
                verdict = verification_received(verification_to_record(verdict))
            verdict = self._followed(verdict)
            self._pace = self._pace.after(time.monotonic() - began)
            began = time.monotonic()
            self.folder.write_verification(identity, verdict)
            self._note_cost()
            found[identity] = self._judged(candidates[identity], verdict)
            formula = display_formula(candidates[identity].structure.composition)
            note = failure(verification) or verification.reason or "verified"
            LOGGER.info("%s %s: %s (%.0f s)", identity, formula, note, verification.seconds)
            self._say("verify", f"{formula}: {note}", found.values())
            self._tables.write_if_due()
        return found

    def _followed(self, verdict: Verification) -> Verification:
        """Return the verdict as it is stored: with what follows from it, so that it is written once."""
        try:
            return followed(verdict, self.objective)
        except Exception:  # as it is told when it is judged
            return verdict

    def _spend_on(self, what: Spending) -> None:
        """Count what is spent from now on as something else; what was spent is on disk."""
        self._cost.enter(what)
        self._note_cost()

    def _note_cost(self) -> None:
        """Write what the run has cost up to now; a kill loses what was spent since the last answer."""
        self._cost.read()
        if self._is_cost_known:
            self.folder.set_meta(COST, self._cost.record)

    def _judged_so_far(self) -> list[Candidate]:
        """Return the candidates of the step that was begun last, judged as far as verdicts are on disk."""
        candidates, _ = self.folder.step_candidates(self._next_step)
        stored = self.folder.step_verifications(self._next_step)
        return [self._judged(c, stored[c.id]) if c.id in stored else c for c in candidates]

    def _judged(self, candidate: Candidate, verification: Verification) -> Candidate:
        try:
            parts = self._parts
            found = judged(
                candidate, verification, self.objective, parts.rescreening, parts.classify, parts.type_of
            )
            return self._with_margin(confirmed(found, parts.confirm, self.config.constraints.derivatives))
        except Exception as error:  # one verdict that cannot be read must not end the run
            LOGGER.exception("%s: cannot be judged", candidate.id)
            reason = f"cannot be judged: {type(error).__name__}: {error}"
            return replace(candidate, status=Status.FAILED, verification=verification, reason=reason)

    def _with_margin(self, candidate: Candidate) -> Candidate:
        """Return a hit with its margin on the hull; what cannot be told decides nothing."""
        if self._parts.margin is None or candidate.status is not Status.HIT:
            return candidate
        try:
            return replace(candidate, hull_margin=self._parts.margin(candidate))
        except Exception:
            LOGGER.exception("%s: its margin on the hull cannot be told", candidate.id)
            return candidate

    def _add_orderings(self) -> None:
        """Say of the hits whether they order or are solid solutions, as far as time allows."""
        ask, left = self._parts.relax_each, self.stop.seconds_left
        if ask is None:
            return
        deadline = time.monotonic() + (float("inf") if left is None else left - SECONDS_TO_FINISH)

        def should_stop() -> bool:
            return self.stop.is_set() or time.monotonic() > deadline

        asked = hits_that_may_mix(self.folder.named(self.folder.verified_ids()))
        for number, candidate in enumerate(asked, 1):
            formula = display_formula(candidate.structure.composition)
            self._say("finish", f"order or solid solution {number} of {len(asked)}: {formula}")
            try:
                done = with_order(candidate, ask, should_stop)
            except EngineError as error:  # what is asked last must not lose a finished run
                LOGGER.exception("order or solid solution")
                self._say("finish", f"order or solid solution: {error}")
                return
            if done.order is None:
                n_left = len(asked) - number + 1
                self._say("finish", f"no time left to ask {n_left} hits: order or solid solution?")
                return
            self.folder.update_candidates([done])
            self._tables.take([done])

    def _add_functionals(self) -> None:
        """Say of the hits how far they lie above the hull by other functionals, as far as time allows."""
        ask, left = self._parts.functionals, self.stop.seconds_left
        if ask is None:
            return
        deadline = time.monotonic() + (float("inf") if left is None else left - SECONDS_TO_FINISH)

        def should_stop() -> bool:
            return self.stop.is_set() or time.monotonic() > deadline

        asked = hits_without_functionals(self.folder.named(self.folder.verified_ids()))
        for number, candidate in enumerate(asked, 1):
            formula = display_formula(candidate.structure.composition)
            self._say("finish", f"other functionals {number} of {len(asked)}: {formula}")
            try:
                done = with_functionals(candidate, ask, should_stop)
            except EngineError as error:  # what is asked last must not lose a finished run
                LOGGER.exception("other functionals")
                self._say("finish", f"other functionals: {error}")
                return
            if not done.functionals:
                n_left = len(asked) - number + 1
                self._say("finish", f"no time left to ask {n_left} hits about other functionals")
                return
            self.folder.update_candidates([done])
            self._tables.take([done])

    def _add_phonons(self) -> None:
        """Put the phonons of the best on their ladders, as far as time allows; those asked before stand."""
        ask, left = self._parts.phonons, self.stop.seconds_left
        if ask is None:
            return
        deadline = time.monotonic() + (float("inf") if left is None else left - SECONDS_TO_FINISH)
        best = best_candidates(self.folder.named(self.folder.verified_ids()))
        best = [c for c in best if not is_asked(c)]
        self._phonons = replace(self._phonons, ahead=len(best))
        self._say("finish", f"{len(best)} phonons ahead, {SECONDS_EACH:g} s at most each")
        for number, candidate in enumerate(best, 1):
            if self.stop.is_set() or time.monotonic() > deadline:
                self._say("finish", f"no time left for the phonons of {len(best) - number + 1} of the best")
                return
            formula, began = display_formula(candidate.structure.composition), time.monotonic()
            self._say("finish", f"phonons {number} of {len(best)}: {formula}")
            done = with_phonons(candidate, ask, deadline, self.stop.is_set)
            self._phonons = self._phonons.after(time.monotonic() - began)
            LOGGER.info("%s %s: phonons: %s", candidate.id, formula, phonon_stage(done).reason)
            self.folder.update_candidates([done])
            self._tables.take([done])

    def _add_first_principles(self) -> None:
        """Take the best to density functional theory, as far as time allows; what fails ends no run."""
        ask, left = self._parts.first_principles, self.stop.seconds_left
        if ask is None:
            return
        deadline = time.monotonic() + (float("inf") if left is None else left - SECONDS_TO_FINISH)
        verified = self.folder.named(self.folder.verified_ids())
        best = confirmed_and_best(verified, self.config.verify.confirm)
        best = [c for c in best if c.confirmation is None]
        self._say("finish", f"{len(best)} candidates ahead of first principles")

        def should_stop() -> bool:
            return self.stop.is_set() or time.monotonic() > deadline

        try:
            for done in ask(best, lambda message: self._say("finish", message), should_stop):
                outcome = "" if done.confirmation is None else done.confirmation.outcome
                LOGGER.info("%s: first principles: %s", done.id, outcome)
                self.folder.update_candidates([done])
                self._groups.take_in([done])
                self._tabulate([done])
        except EngineError as error:
            LOGGER.exception("first principles")
            self._say("finish", f"first principles: {error}")

    # -- state -----------------------------------------------------------------------------------------------

    @recorded
    def _replay(self) -> None:
        for number, done, notes in self.folder.steps():
            if done:
                candidates, _ = self.folder.step_candidates(number)
                self._restore_proposer(number)
                self._take_in(candidates, notes)
        self._regroup()

    def _restore_proposer(self, step: int) -> None:
        """Give the proposer the state that it had after it was asked for a step, where it has any."""
        if state := self.folder.proposer_state(step):
            self._proposer.restore(state)

    def _take_in(self, candidates: Sequence[Candidate], notes: Mapping[str, Any]) -> None:
        """Let one finished step reach rank, correction, choice and proposer, in proposal order."""
        told = [as_judged(c) for c in candidates]
        verified = [c for c in told if c.verification is not None]
        self.n_candidates += int(notes["proposed"])
        self._n_started += len(verified)
        self._n_children += sum(c.origin is Origin.CHILD for c in verified)
        self._groups.take_in(candidates)
        self._steps.append(dict(notes))
        self._next_step = int(notes["step"]) + 1
        self._selection.remember(verified)
        self._parts.surrogate.tell(verified)
        self._proposer.tell(told)

    def _regroup(self) -> list[Candidate]:
        """Let the journal say which hits are duplicates now; return those of which it said otherwise."""
        first = self._groups.changes()
        changed = [as_duplicate(c, first[c.id]) for c in self.folder.named(first)]
        self.folder.regroup_candidates(changed)
        return changed

    def _tabulate(self, candidates: Sequence[Candidate]) -> None:
        """Bring what is written for others up to date with these candidates, just taken in."""
        changed = {c.id: c for c in self._regroup()}
        self._tables.take({**{c.id: c for c in candidates}, **changed}.values())

    def _notes(self, candidates: Sequence[Candidate], seconds: float) -> dict[str, Any]:
        """Return the notes of the step that was begun last."""
        number = self._next_step
        asked = self.folder.step_notes(number)
        return step_notes(number, candidates, asked, seconds, self.folder.recalled(number))

    @property
    def _per_verification(self) -> int:
        """Candidates asked for, for every verification of a step."""
        return PROPOSALS_PER_VERIFICATION if self._triage is None else LOOKED_AT

    def _step_size(self) -> int:
        budget = self.config.budget.verifications
        if budget is None:
            return STEP
        share = max(STEP, min(LARGEST_STEP, budget // N_STEPS))
        return max(1, min(share, budget - self.n_started))

    def _with_room(self, n: int, proposals: Sequence[Proposal]) -> int:
        """Return n, or more where more seeds were proposed: all of them are verified first."""
        budget = self.config.budget.verifications
        n = max(n, sum(p.origin is Origin.SEED for p in proposals))
        return n if budget is None else min(n, max(1, budget - self.n_started))

    def _places(self, n: int) -> Places:
        """Return for whom n places are kept; a wish for novelty is the screen's affair."""
        if self.config.constraints.novelty != "any":
            return Places(n, children=self._n_for_children(n))
        n_textbook = math.ceil(TEXTBOOK_SHARE * n)
        return Places(n, round(EXPLORE_SHARE * n), self._n_for_children(n), n_textbook)

    def _n_for_children(self, n: int) -> int:
        """Return how many of n places what was made from the seeds is given: half of a small budget.

        A budget of time alone may turn out small, and is treated so.
        """
        budget = self.config.budget.verifications
        if not self.config.seed_structures or (budget is not None and budget >= SMALL_BUDGET):
            return 0
        return min(n, max(0, math.ceil((budget or SMALL_BUDGET) / 2) - self._n_children))

    def _why_end(self) -> str:
        if self.stop.is_set():
            return self.stop.reason
        budget = self.config.budget.verifications
        if budget is not None and self.n_started >= budget:
            return f"budget of {budget} verifications spent"
        barren = self._barren()
        n_proposed = sum(notes["proposed"] for notes in barren)
        if len(barren) < BARREN_STEPS or n_proposed < BARREN_PROPOSALS:
            return ""
        self.folder.set_meta(GAVE_UP, self._next_step)
        return "gave up" + told_of_barren(barren)

    def _barren(self) -> list[dict[str, Any]]:
        """Return the notes of the last steps of which nothing could be verified, the last first.

        Those before the run gave up last do not count: a resume of a run that gave up goes on.
        """
        since = int(self.folder.meta(GAVE_UP, 0))
        return list(takewhile(lambda n: not n["started"] and n["step"] >= since, reversed(self._steps)))

    # -- written for others ----------------------------------------------------------------------------------

    def _with_baselines(self) -> Mapping[str, Any]:
        """Return look-up and orderings, kept for a resume; without them the report still stands."""
        try:
            found = dict(self._parts.baselines())
        except Exception:  # a baseline that cannot be told must not lose a finished run
            LOGGER.exception("the baselines cannot be worked out")
            return {}
        self.folder.set_meta("baselines", found)
        return found

    def _write_manifest(self, status: str, reason: str) -> None:
        steps = list(self._steps)
        if self._half_done:
            steps.append(self._notes(self._half_done, 0.0))
        run = {
            "created": self.folder.meta("created", ""),
            "status": status,
            "stop_reason": reason,
            "seconds": round(self._seconds_before + time.monotonic() - self._began, 1),
            "config_hash": self.folder.meta("config_hash"),
            "cost": self._cost_record(),
        }
        found = manifest(self.config, steps, self._parts.description, self._baselines, run)
        if status not in _UNDER_WAY:
            hits = self.hits
            counted = HitRates(len(hits), self.n_started, found["funnel"]["triaged"], self._search_cost())
            found["hits"] = {**hit_counts(hits).to_record(), **counted.to_record()}
        self.folder.write_manifest(found)

    def _cost_record(self) -> dict[str, float] | None:
        """Return what the run has cost up to now; None where an earlier session did not count."""
        self._note_cost()
        return self._cost.record if self._is_cost_known else None

    def _search_cost(self) -> float | None:
        return self._cost.cost.search if self._is_cost_known else None

    def _say(self, stage: str, message: str, judged_now: Collection[Candidate] = ()) -> None:
        self._on_progress(
            Progress(
                stage,
                self.n_started + len(judged_now),
                self.config.budget.verifications,
                self._groups.n_with([*self._half_done, *judged_now]),
                time.monotonic() - self._began,
                self.stop.seconds_left,
                message,
                self._pace.seconds_each,
                self._phonons.seconds_left(self._pace.seconds_each),
            )
        )


def told_of_barren(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return a clause about steps of which nothing could be verified; "" without any.

    >>> told_of_barren([{"proposed": 128, "screened_out_by": {"n_atoms": 120}, "passed_over": 8}])
    '; of 128 proposals of the last step none may be verified: 120 out by n_atoms, 8 like one verified'
    """
    if not steps:
        return ""
    n_proposed = sum(notes["proposed"] + notes.get("wait_no_more", 0) for notes in steps)
    n_triaged_out = sum(notes.get("triaged_out", 0) for notes in steps)
    out: Counter[str] = Counter()
    for notes in steps:
        out.update(notes["screened_out_by"])
    said = [f"{n} out by {rule}" for rule, n in sorted(out.items(), key=lambda item: (-item[1], item[0]))]
    n_alike = sum(notes.get("passed_over", 0) for notes in steps)
    n_rest = n_proposed - out.total() - n_alike - n_triaged_out
    said += [f"{n_alike} {Rule.LIKE_VERIFIED}"] if n_alike else []
    said += [f"{n_triaged_out} by triage"] if n_triaged_out else []
    said += [f"{n_rest} without a chance"] if n_rest else []
    last = "the last step" if len(steps) == 1 else f"the last {len(steps)} steps"
    return f"; of {n_proposed} proposals of {last} none may be verified: {', '.join(said)}"


def rounded(verification: Verification) -> Verification:
    """Return the verdict as it is told back: moduli to 1e-3 GPa, energies to 1e-5 eV, others to six digits.

    Batch and machine change the last digits; what the campaign learns from does not. One that is rounded
    already is returned itself.
    """
    values = {}
    for name, value in verification.values.items():
        decimals = DECIMALS.get(value.unit)
        values[name] = replace(
            value,
            mean=_rounded(value.mean, decimals),
            std=_rounded(value.std, decimals),
            lower=_rounded(value.lower, decimals),
            upper=_rounded(value.upper, decimals),
            raw=_rounded(value.raw, decimals),
        )
    return verification if values == verification.values else replace(verification, values=values)


def _rounded(value: float, decimals: int | None) -> float:
    return significant(value) if decimals is None else round(value, decimals)


def stored_config(output: Path) -> CampaignConfig:
    """Return the config of a run folder.

    Raises:
        RunFolderError: no run there, or its config.yaml is gone or damaged.
    """
    path = Path(output) / "config.yaml"
    if not path.is_file():
        raise RunFolderError(f"{output}: holds no run (no config.yaml); start one with `inverse run`")
    try:
        return load_config(path, is_stored=True)
    except EngineError as error:
        raise RunFolderError(f"{path}: is damaged ({error})") from None
