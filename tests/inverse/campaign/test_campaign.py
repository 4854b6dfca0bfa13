"""A campaign's numbers by hand: sizes of steps, places, seconds, reasons to end, what is told and written."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.campaign import BARREN_STEPS, Campaign, rounded, stored_config, told_of_barren
from inverse.campaign.dynamical_stability import IMAGINARY
from inverse.campaign.parts import Parts, Progress
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.campaign.tables import Tables
from inverse.candidates.types import (
    Breach,
    Candidate,
    Origin,
    Rule,
    Standing,
    Status,
    Verification,
    VerifiedValue,
)
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.protocol import Proposal
from inverse.verification.mechanics.phonons import PhononVerdict
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, AnalyticVerifier, parts

SYSTEMS = [(metal, light) for light in "CN" for metal in ("W", "Ti", "Al")]
"""Each of these six cells is of a chemical system of its own."""

GOOD = {"targets": {"density": {"min": 0.1}, "energy_above_hull": {"max": 5}}}
"""Targets that every cell is predicted to meet."""


class Clock:
    """Stands still but where a stand-in takes its time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of campaign, stop and phonons."""
    made = Clock()
    for module in ("campaign", "stopping", "dynamical_stability"):
        monkeypatch.setattr(f"inverse.campaign.{module}.time", made)
    return made


class Cells:
    """One list of cells a step: how many, and of whom; takes its time, and learns nothing."""

    name = "cells"

    def __init__(self, *batches: tuple[int, Origin], clock: Clock | None = None, seconds: float = 0.0):
        self.batches, self.clock, self.seconds = batches, clock or Clock(), seconds
        self.asked: list[tuple[int, int, int]] = []

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self.asked.append((n, step, seed))
        self.clock.now += self.seconds
        count, origin = self.batches[step] if step < len(self.batches) else (0, Origin.SEARCH)
        return [self.proposal(step, k, origin) for k in range(count)]

    def proposal(self, step: int, k: int, origin: Origin) -> Proposal:
        volume = 10.0 + 0.01 * (k // len(SYSTEMS)) + 0.1 * step
        cell = Lattice.cubic((2 * volume) ** (1 / 3))
        structure = Structure(cell, SYSTEMS[k % len(SYSTEMS)], [[0, 0, 0], [0.5, 0.5, 0.5]])
        return Proposal(structure, self.name, 0, {"step": step}, origin=origin)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        return None


class Timed(AnalyticVerifier):
    """Verdicts one after the other, each after so many seconds; those named do not converge."""

    def __init__(self, clock: Clock, seconds: float = 0.0, failing: Sequence[int] = ()) -> None:
        super().__init__()
        self.clock, self.each, self.failing = clock, seconds, failing
        self.is_closed = False

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        for position, structure in enumerate(structures):
            if should_stop():
                return
            self.clock.now += self.each
            good = self.verdict(structure)
            bad = Verification("analytic", False, "no convergence", seconds=1.0)
            yield position, bad if position in self.failing else good

    def verdict(self, structure: Structure) -> Verification:
        found = super().verdict(structure.copy().scale_lattice(structure.volume + 1e-3))
        return found if found.converged else super().verdict(structure)

    def close(self) -> None:
        self.is_closed = True


def opened(
    folder: Path,
    proposer: Any,
    verifier: Any = None,
    change: Callable[[Parts], Parts] = lambda p: p,
    told: list[Progress] | None = None,
    **changes: Any,
) -> Campaign:
    config = CampaignConfig.from_mapping({**CONFIG, **GOOD, **changes})
    own = replace(
        parts(config, proposer),
        verifier=verifier or Timed(Clock()),
        preview=lambda s: Standing(f"{s.volume:.6f}", True),
        screening=lambda s: None,
    )
    hear = None if told is None else told.append
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, change(own), config, hear)
    return Campaign.create(config, folder, change(own), hear)


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def search(n: int) -> tuple[int, Origin]:
    return n, Origin.SEARCH


@pytest.mark.parametrize(
    ("budget", "size"),
    [
        ({"verifications": 1}, 1),
        ({"verifications": 15}, 15),
        ({"verifications": 339}, 16),
        ({"verifications": 340}, 17),
        ({"verifications": 1279}, 63),
        ({"verifications": 1280}, 64),
        ({"verifications": 100000}, 64),
        ({"time": "1h"}, 16),
    ],
)
def test_a_step_asks_for_eight_proposals_for_each_of_its_verifications(
    tmp_path: Path, budget: dict[str, Any], size: int
) -> None:
    proposer, told = Cells(), list[Progress]()
    with opened(tmp_path / "run", proposer, told=told, budget=budget, seed=5) as run:
        assert run.step() is False, "nobody proposed anything"
        assert (run.n_candidates, list(run.folder.steps())) == (0, [])
    assert (tmp_path / "run" / "candidates.csv").is_file()
    assert proposer.asked == [(8 * size, 0, 5)]
    assert [(p.stage, p.message) for p in told] == [
        ("propose", f"step 0: looking for {size} candidates worth verifying"),
        ("propose", "0 proposals; screening and predicting them"),
    ]


@pytest.mark.parametrize(("budget", "n_verified"), [(1, [1]), (6, [4, 2]), (20, [4, 5])])
def test_all_seeds_of_any_step_are_verified_as_far_as_the_budget_goes(
    tmp_path: Path, budget: int, n_verified: list[int]
) -> None:
    seeds = Cells((4, Origin.SEED), (5, Origin.SEED))
    with opened(tmp_path / "run", seeds, budget={"verifications": budget}) as run:
        for _ in n_verified:
            run.step()
        steps = [notes for _, _, notes in run.folder.steps()]
    assert [notes["started"] for notes in steps] == n_verified


def test_more_seeds_than_a_step_has_places_are_verified_in_it_without_a_stated_budget(tmp_path: Path) -> None:
    with opened(tmp_path / "run", Cells((17, Origin.SEED)), budget={"time": "1h"}) as run:
        run.step()
        assert run.n_started == 17


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        ({"verifications": 8}, 4),
        ({"verifications": 9}, 5),
        ({"verifications": 23}, 12),
        ({"verifications": 24}, 0),
        ({"time": "1h"}, 12),
    ],
)
def test_half_of_a_small_budget_is_kept_for_children_of_seeds_until_they_had_it(
    tmp_path: Path, budget: dict[str, Any], kept: int
) -> None:
    Cells().proposal(0, 0, Origin.SEED).structure.to(str(tmp_path / "seed.cif"))
    seeds = {"seed_structures": [str(tmp_path / "seed.cif")]}
    proposer = Cells((3, Origin.CHILD), (2, Origin.CHILD))
    with opened(tmp_path / "run", proposer, budget=budget, **seeds) as run:
        assert stored_config(run.folder.path).seed_structures != run.config.seed_structures, "its own copy"
        assert run._places(16).children == kept
        assert run._places(2).children == min(kept, 2)
        run.step()
        assert run._places(16).children == max(0, kept - 3)
        run.step()
        assert run._places(16).children == max(0, kept - 5)
    with opened(tmp_path / "none", Cells(), budget=budget) as run:
        assert run._places(16).children == 0


def test_places_of_a_step_are_shares_of_it(tmp_path: Path) -> None:
    with opened(tmp_path / "any", Cells()) as run:
        places = [run._places(n) for n in (16, 9, 1)]
    assert [(p.n, p.new, p.children, p.textbook) for p in places] == [
        (16, 8, 0, 2),
        (9, 4, 0, 2),
        (1, 0, 0, 1),
    ]
    constraints = {**CONFIG["constraints"], "novelty": "new_composition"}
    with opened(tmp_path / "new", Cells(), constraints=constraints) as run:
        places = [run._places(16)]
    assert [(p.n, p.new, p.children, p.textbook) for p in places] == [(16, 0, 0, 0)]


@pytest.mark.parametrize("n", [1, 6])
def test_seconds_belong_to_what_took_them(tmp_path: Path, clock: Clock, n: int) -> None:
    """12 s of proposing, then 3.3125 s for every verdict."""
    told: list[Progress] = []
    proposer, verifier = Cells(search(n), clock=clock, seconds=12.0), Timed(clock, 3.3125)
    with opened(tmp_path / "run", proposer, verifier, told=told, budget={"verifications": n}) as run:
        assert manifest_of(tmp_path / "run")["seconds"] == 0.0
        run.run()
    whole = 12.0 + 3.3125 * n
    assert {c.history["seconds"]["generated"] for c in read_candidates(tmp_path / "run")} == {12.0 / n}
    manifest = manifest_of(tmp_path / "run")
    assert [manifest["seconds"], manifest["steps"][0]["seconds"]] == [round(whole, 1)] * 2
    verdicts = [p for p in told if p.stage == "verify"]
    assert [p.seconds for p in verdicts] == [12.0 + 3.3125 * k for k in range(n + 1)]
    assert [p.seconds_each for p in verdicts] == [None if k < 5 else 3.3125 for k in range(n + 1)]
    assert (told[0].seconds, told[-1].seconds) == (0.0, whole)
    with opened(tmp_path / "run", proposer, verifier, budget={"verifications": n}) as run:
        clock.now += 5.0
        run.run()
    assert manifest_of(tmp_path / "run")["seconds"] == round(round(whole, 1) + 5.0, 1)


def test_the_time_that_earlier_sessions_took_is_taken_off_the_limit(tmp_path: Path, clock: Clock) -> None:
    """100 s in all, of which the first session took 12 for proposing and 3.5 for its verdict."""
    told: list[Progress] = []
    for n, seconds_left in ((1, [100.0, 84.5]), (2, [84.5, 69.0])):
        proposer = Cells(*[search(1)] * n, clock=clock, seconds=12.0)
        budget = {"verifications": n, "time": "100s"}
        with opened(tmp_path / "run", proposer, Timed(clock, 3.5), told=told, budget=budget) as run:
            run.run()
        assert [told[0].seconds_left, told[-1].seconds_left] == seconds_left
        told.clear()


def test_what_is_told_while_a_step_runs(tmp_path: Path) -> None:
    told: list[Progress] = []
    verifier = Timed(Clock(), failing=[1])
    with opened(tmp_path / "run", Cells(search(3)), verifier, told=told, budget={"verifications": 3}) as run:
        run.run()
    assert [(p.stage, p.message, p.n_started, p.budget) for p in told] == [
        ("propose", "step 0: looking for 3 candidates worth verifying", 0, 3),
        ("propose", "3 proposals; screening and predicting them", 0, 3),
        ("verify", "3 verifications ahead", 0, 3),
        *[
            ("verify", message, k, 3)
            for k, message in enumerate(("WC: verified", "TiC: no convergence", "AlC: verified"), 1)
        ],
        ("finish", "budget of 3 verifications spent", 3, 3),
        ("finish", "working out what is known without a search: look-up and orderings", 3, 3),
    ]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "c000000 WC: verified (1 s)" in log
    assert "c000001 TiC: no convergence (1 s)" in log


def stopping_after(n: int, run: Campaign, stop: Callable[[Campaign], None]) -> None:
    written = run.folder.write_verification

    def write(identity: str, verdict: Verification) -> None:
        written(identity, verdict)
        if len(run.folder.verified_ids()) >= n:
            stop(run)

    run.folder.write_verification = write  # type: ignore[method-assign]


def by_signal(run: Campaign) -> None:
    run.stop.signal_name = "SIGTERM"


def by_time(run: Campaign) -> None:
    run.stop.deadline = 0.0


@pytest.mark.parametrize(
    ("stop", "status", "reason"),
    [(by_signal, "interrupted", "stopped by SIGTERM"), (by_time, "stopped", "time limit reached")],
)
def test_a_run_that_is_stopped_says_how_and_what_of_its_step_there_is(
    tmp_path: Path, stop: Callable[[Campaign], None], status: str, reason: str
) -> None:
    with opened(tmp_path / "run", Cells(search(6)), budget={"verifications": 6}) as run:
        stopping_after(2, run, stop)
        assert run.step() is True, "there is something left to do"
        assert run.n_started == 2
        assert run.run(0.0) == reason
        assert [c.id for c in run.all_candidates() if c.verification is not None] == ["c000000", "c000001"]
    manifest = manifest_of(tmp_path / "run")
    assert (manifest["status"], manifest["stop_reason"]) == (status, reason)
    assert [(s["step"], s["proposed"], s["started"], s["seconds"]) for s in manifest["steps"]] == [
        (0, 6, 2, 0)
    ]
    with RunFolder.read(tmp_path / "run") as stored:
        states = [c.status for c in stored.candidates()]
    assert states == [Status.HIT] * 2 + [Status.PREDICTED] * 4


def keeping_trials(done: list[str]) -> Callable[[Parts], Parts]:
    def keeping(own: Parts) -> Parts:
        proposer: Any = own.proposer
        proposer.open_trials = lambda path, before_step: done.append(f"open {path.name} {before_step}")
        proposer.save_trials = lambda: done.append("save")
        return own

    return keeping


def test_trials_of_a_step_that_was_begun_are_opened_with_it(tmp_path: Path) -> None:
    """Whether it was stopped among its verdicts or had none to wait for."""
    done: list[str] = []
    change = keeping_trials(done)
    with opened(tmp_path / "run", Cells(search(6)), change=change) as run:
        stopping_after(2, run, by_time)
        run.step()
    opened(tmp_path / "run", Cells(), change=change).close()
    assert done == ["open trials.db 0", "save", "open trials.db 1"]

    def barren(own: Parts) -> Parts:
        return change(replace(own, screening=lambda s: Breach(Rule.VOLUME, "too small")))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt("killed")

    done.clear()
    with opened(tmp_path / "barren", Cells(search(6)), change=barren) as run:
        run.folder.finish_step = killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt, match="killed"):
            run.step()
    opened(tmp_path / "barren", Cells(), change=barren).close()
    assert done == ["open trials.db 0", "save", "open trials.db 1"]


def test_duplicates_that_a_kill_left_as_hits_are_told_apart_when_the_run_is_opened(tmp_path: Path) -> None:
    """Cells of one system and one relaxed type: the step is in the journal, what it made of others is not."""
    one = {"budget": {"verifications": 9}}

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt("killed")

    with opened(tmp_path / "run", Cells(search(9)), **one) as run:
        run.folder.regroup_candidates = killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt, match="killed"):
            run.step()
    opened(tmp_path / "run", Cells(), **one).close()
    with RunFolder.read(tmp_path / "run") as stored:
        states = [(c.status, bool(c.duplicate_of)) for c in stored.candidates()]
    assert sorted(states) == sorted([(Status.HIT, False)] * 6 + [(Status.VERIFIED, True)] * 3)


def test_crystals_that_sources_look_at_are_counted_in_their_step(tmp_path: Path) -> None:
    """3 and 2 are proposed; while it is asked the source looks at 4 others each time."""
    proposer = Cells(search(3), search(2))
    looked = [proposer.proposal(9, k, Origin.SEARCH).structure for k in range(4)]

    def looking(own: Parts) -> Parts:
        ask = proposer.ask

        def asked(n: int, step: int, seed: int) -> list[Proposal]:
            own.evaluator.evaluate(looked)
            return ask(n, step, seed)

        proposer.ask = asked  # type: ignore[method-assign]
        return own

    with opened(tmp_path / "run", proposer, change=looking) as run:
        assert run.step()
        assert run.step()
        assert [notes["evaluated"] for _, _, notes in run.folder.steps()] == [7, 6]


@pytest.mark.parametrize(("fewest", "n_steps"), [(6, 2), (7, 3)])
def test_a_run_gives_up_after_enough_barren_steps_and_proposals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fewest: int, n_steps: int
) -> None:
    """Three proposals a step, each out: two such steps, or six proposals if that takes longer."""
    monkeypatch.setattr("inverse.campaign.campaign.BARREN_STEPS", 2)
    monkeypatch.setattr("inverse.campaign.campaign.BARREN_PROPOSALS", fewest)
    assert BARREN_STEPS == 3

    def barren(own: Parts) -> Parts:
        return replace(own, screening=lambda s: Breach(Rule.VOLUME, "too small"))

    for session in (1, 2):
        proposer = Cells(*[search(3)] * 9)
        with opened(tmp_path / "run", proposer, change=barren) as run:
            reason = run.run()
        assert len(proposer.asked) == n_steps
        assert [step for _, step, _ in proposer.asked] == [
            (session - 1) * n_steps + k for k in range(n_steps)
        ]
        n = 3 * n_steps
        assert reason == (
            f"gave up; of {n} proposals of the last {n_steps} steps none may be verified: {n} out by volume"
        )
    assert manifest_of(tmp_path / "run")["status"] == "finished"


def test_why_nothing_could_be_verified_is_told_with_all_its_parts() -> None:
    steps = [
        {"proposed": 10, "screened_out_by": {"volume": 2, "n_atoms": 3}, "passed_over": 1, "wait_no_more": 1},
        {"proposed": 5, "screened_out_by": {"volume": 1, "charge": 3}},
    ]
    assert told_of_barren(steps) == (
        "; of 16 proposals of the last 2 steps none may be verified: 3 out by charge, 3 out by n_atoms, "
        "3 out by volume, 1 like one verified, 6 without a chance"
    )
    assert told_of_barren(steps) == told_of_barren(steps[::-1])
    assert told_of_barren([]) == ""
    assert told_of_barren([{"proposed": 2, "screened_out_by": {"volume": 2}}]) == (
        "; of 2 proposals of the last step none may be verified: 2 out by volume"
    )


def test_verdicts_are_told_to_the_digits_that_machines_agree_on() -> None:
    fine = {
        "mean": 1.234567891,
        "std": 0.123456789,
        "lower": 1.111111111,
        "upper": 1.333333333,
        "raw": 9.87654321,
    }
    values = {
        unit: VerifiedValue(**fine, potential="judge", unit=unit)
        for unit in ("GPa", "eV/atom", "eV", "g/cm³")
    }
    told = rounded(Verification("judge", True, values=values, seconds=1.25))
    numbers = {unit: (v.mean, v.std, v.lower, v.upper, v.raw) for unit, v in told.values.items()}
    assert numbers == {
        "GPa": (1.235, 0.123, 1.111, 1.333, 9.877),
        "eV/atom": (1.23457, 0.12346, 1.11111, 1.33333, 9.87654),
        "eV": (1.23457, 0.12346, 1.11111, 1.33333, 9.87654),
        "g/cm³": (1.23457, 0.123457, 1.11111, 1.33333, 9.87654),
    }
    assert replace(told, values=values) == Verification("judge", True, values=values, seconds=1.25)


class Phonons:
    """Each takes 5 s and finds all but the first crystal stable; notes what it is asked."""

    def __init__(self, clock: Clock, at_each: Callable[[], None] = lambda: None) -> None:
        self.clock, self.at_each = clock, at_each
        self.deadlines: list[float] = []

    def __call__(
        self, structure: Structure, deadline: float, should_stop: Callable[[], bool]
    ) -> PhononVerdict:
        self.deadlines.append(deadline)
        assert should_stop() is False
        self.clock.now += 5.0
        self.at_each()
        is_stable = len(self.deadlines) > 1
        return PhononVerdict("fake", is_stable, -0.1, (0.0, 0.0, 0.0), 0 if is_stable else 2, 20.0, 4, 32)


def with_phonons(folder: Path, clock: Clock, ask: Phonons, told: list[Progress], **changes: Any) -> Campaign:
    """Six verdicts, one second each, of which the third does not converge."""
    verifier = Timed(clock, 1.0, failing=[2])
    return opened(
        folder, Cells(search(6)), verifier, lambda p: replace(p, phonons=ask), told,
        **{"budget": {"verifications": 6}, **changes},
    )  # fmt: skip


def asked_of(folder: Path) -> int:
    stages = [s for c in read_candidates(folder) if c.verification for s in c.verification.ladder]
    return sum(s.name == "phonons" and s.passed is not None for s in stages)


def test_phonons_of_those_that_converged_are_counted_down_and_written(tmp_path: Path, clock: Clock) -> None:
    told: list[Progress] = []
    ask = Phonons(clock)
    with with_phonons(tmp_path / "run", clock, ask, told) as run:
        run.run()
    assert len(ask.deadlines) == asked_of(tmp_path / "run") == 5
    ahead = [p.seconds_after for p in told if p.stage == "verify"]
    assert ahead == [0.0] * 5 + [6.0] * 2, "six at most, each taken to last as long as a verdict"
    said = [(p.message.partition(":")[0], p.seconds_after) for p in told if p.stage == "finish"]
    assert said == [
        ("5 phonons ahead, 600 s at most each", 5.0),
        *[(f"phonons {k} of 5", 5.0 * (1.0 if k == 1 else 6 - k)) for k in range(1, 6)],
        ("budget of 6 verifications spent", 0.0),
        ("working out what is known without a search", 0.0),
    ]
    assert (tmp_path / "run" / "candidates.csv").read_text().count(IMAGINARY) == 1
    again = Phonons(clock)
    with with_phonons(tmp_path / "run", clock, again, []) as run:
        run.run()
    assert not again.deadlines, "what stands on a ladder is not asked again"


def test_a_budget_of_time_alone_foresees_the_phonons_of_ten(tmp_path: Path, clock: Clock) -> None:
    told: list[Progress] = []
    with with_phonons(tmp_path / "run", clock, Phonons(clock), told, budget={"time": "1h"}) as run:
        run.step()
    assert told[-1].seconds_after == 10.0


def test_phonons_end_with_the_time_that_is_kept_for_the_report(tmp_path: Path, clock: Clock) -> None:
    """46 s: six verdicts leave 40, thirty are kept: three of 5 s are begun within ten."""
    told: list[Progress] = []
    ask = Phonons(clock)
    with with_phonons(tmp_path / "run", clock, ask, told) as run:
        run.run(clock.now + 46.0)
    assert ask.deadlines == [1016.0] * 3
    assert told[-3].message == "no time left for the phonons of 2 of the best"
    assert manifest_of(tmp_path / "run")["status"] == "finished"


def test_a_stop_ends_the_phonons(tmp_path: Path, clock: Clock) -> None:
    told: list[Progress] = []
    held: list[Campaign] = []
    ask = Phonons(clock, lambda: by_signal(held[0]))
    with with_phonons(tmp_path / "run", clock, ask, told) as run:
        held.append(run)
        run.run()
    assert len(ask.deadlines) == asked_of(tmp_path / "run") == 1
    assert told[-3].message == "no time left for the phonons of 4 of the best"
    assert manifest_of(tmp_path / "run")["status"] == "interrupted"


def test_candidates_csv_is_looked_after_with_every_verdict_and_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    with opened(tmp_path / "run", Cells(search(3))) as run:
        due = Tables.write_if_due

        def noted(tables: Tables) -> None:
            seen.append(len(run.folder.verified_ids()))
            due(tables)

        monkeypatch.setattr(Tables, "write_if_due", noted)
        run.step()
    assert seen == [1, 2, 3, 3]


def test_closing_gives_workers_log_and_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[logging.Handler] = []
    made = RunFolder.log_handler
    monkeypatch.setattr(RunFolder, "log_handler", lambda self: handlers.append(made(self)) or handlers[-1])
    closed: list[logging.Handler] = []
    close = logging.FileHandler.close
    monkeypatch.setattr(logging.FileHandler, "close", lambda self: [closed.append(self), close(self)][1])
    verifier = Timed(Clock())
    with opened(tmp_path / "run", Cells(search(3)), verifier) as run:
        assert isinstance(run, Campaign)
        run.step()
        assert (verifier.is_closed, closed) == (False, [])
    assert verifier.is_closed
    assert closed == handlers

    def refusing(own: Parts) -> Parts:
        def refuse(candidates: Sequence[Candidate]) -> None:
            raise RunFolderError("trials.db is damaged")

        own.proposer.tell = refuse  # type: ignore[method-assign]
        return own

    with pytest.raises(RunFolderError, match=r"trials\.db is damaged"):
        opened(tmp_path / "run", Cells(), change=refusing)
    assert closed == handlers
    assert len(handlers) == 2
    opened(tmp_path / "run", Cells()).close()


def test_a_resume_goes_on_with_the_config_it_is_given_and_without_one_with_that_of_the_folder(
    tmp_path: Path,
) -> None:
    opened(tmp_path / "run", Cells(), budget={"verifications": 4}).close()
    config = CampaignConfig.from_mapping({**CONFIG, **GOOD, "budget": {"verifications": 7}})
    for given, budget in ((config, 7), (None, 4)):
        with Campaign.resume(tmp_path / "run", parts(config), given) as run:
            assert run.config.budget.verifications == budget
            assert run.n_started == 0


def test_a_folder_that_an_older_version_left_half_made_is_taken_up_only_by_a_resume(tmp_path: Path) -> None:
    config = CampaignConfig.from_mapping({**CONFIG, **GOOD})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(config.to_yaml(carried=True), encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"is not empty \(config\.yaml\)"):
        Campaign.create(config, tmp_path / "run", parts(config))
    with Campaign.create(config, tmp_path / "run", parts(config), resume=True) as run:
        assert run.folder.path == tmp_path / "run"
    assert manifest_of(tmp_path / "run")["status"] == "created"
