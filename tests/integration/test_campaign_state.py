"""What a campaign counts, tells, remembers and gives back, on stand-ins and small budgets."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure

from inverse.campaign.campaign import Campaign, stored_config
from inverse.campaign.parts import Parts, Progress
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.candidates.ranking import Kinship
from inverse.candidates.types import Candidate, HitClass, Origin, Standing, Status, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.protocol import Proposal, generator
from surrogates.errors import RunFolderError
from tests.fakes import CONFIG, RandomBinaries, campaign, kinship, parts

SMALL = {"verifications": 4}

ENOUGH = {"verifications": 12}
"""For a hit or two."""


def config_of(**changes: Any) -> CampaignConfig:
    return CampaignConfig.from_mapping({**CONFIG, "budget": SMALL, **changes})


def created(
    folder: Path,
    change: Callable[[Parts], Parts] = lambda p: p,
    told: list[Progress] | None = None,
    **changes: Any,
) -> Campaign:
    config = config_of(**changes)
    return Campaign.create(config, folder, change(parts(config)), None if told is None else told.append)


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def test_a_resume_that_fails_gives_the_lock_back(tmp_path: Path) -> None:
    config = config_of()
    created(tmp_path / "run").close()

    def refusing(candidates: Sequence[Candidate]) -> None:
        raise RunFolderError("trials.db is damaged")

    with campaign(tmp_path / "run", budget=SMALL) as run:
        run.step()
    broken = parts(config)
    broken.proposer.tell = refusing  # type: ignore[method-assign]
    with pytest.raises(RunFolderError, match=r"trials\.db is damaged"):
        Campaign.resume(tmp_path / "run", broken, config)
    with campaign(tmp_path / "run", budget=SMALL) as run:
        assert run.n_started == 4


def test_one_object_goes_on_after_a_stop_and_counts_each_verdict_once(tmp_path: Path) -> None:
    with created(tmp_path / "whole") as run:
        run.run()
    with created(tmp_path / "run") as run:
        written = run.folder.write_verification

        def write(identity: str, verdict: Verification) -> None:
            written(identity, verdict)
            run.stop.deadline = time.monotonic() if run.folder.verified_ids()[1:] else None

        run.folder.write_verification = write  # type: ignore[method-assign]
        assert run.run() == "time limit reached"
        assert run.n_started == 2
        assert [c.verification is not None for c in run.all_candidates()].count(True) == 2
        hits = [c.id for c in run.hits]
        run.folder.write_verification = written  # type: ignore[method-assign]
        assert "4 verifications" in run.run()
        assert run.n_started == 4
        assert {c.id for c in run.hits} >= set(hits)
    whole, again = read_candidates(tmp_path / "whole"), read_candidates(tmp_path / "run")
    assert [(c.id, c.status, c.score) for c in again] == [(c.id, c.status, c.score) for c in whole]
    assert manifest_of(tmp_path / "run")["funnel"] == manifest_of(tmp_path / "whole")["funnel"]


@pytest.mark.parametrize(
    ("budget", "sizes"),
    [({"verifications": 4}, [4]), ({"verifications": 20}, [16, 4]), ({"verifications": 400}, [20])],
)
def test_a_step_is_a_twentieth_of_the_budget_and_never_more_than_is_left(
    tmp_path: Path, budget: dict[str, int], sizes: list[int]
) -> None:
    with created(tmp_path / "run", budget=budget) as run:
        for _ in sizes:
            run.step()
        steps = [notes for _, _, notes in run.folder.steps()]
    assert [notes["started"] for notes in steps] == sizes
    assert [notes["proposed"] for notes in steps] == [8 * size for size in sizes]


def test_a_budget_of_time_alone_has_steps_of_sixteen(tmp_path: Path) -> None:
    with created(tmp_path / "run", budget={"time": "1h"}) as run:
        run.step()
        assert run.n_started == 16
        assert run.n_candidates == 128


def test_progress_counts_verdicts_and_hits_as_they_come(tmp_path: Path) -> None:
    told: list[Progress] = []
    with created(tmp_path / "run", told=told, budget=ENOUGH) as run:
        run.run()
        hits = run.hits
    assert hits
    assert [p.n_started for p in told if p.stage == "verify"] == list(range(13))
    assert told[-1].stage == "finish"
    assert (told[-1].n_started, told[-1].budget, told[-1].n_hits) == (12, 12, len(hits))
    n_hits = [p.n_hits for p in told if p.stage == "verify"]
    assert n_hits[0] == 0
    assert n_hits == sorted(n_hits)
    assert n_hits[-1] == len(hits), "of a run of one step"
    assert (told[0].stage, told[0].message) == (
        "propose",
        "step 0: looking for 12 candidates worth verifying",
    )
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)
    scores = [c.score or 0.0 for c in hits]
    assert scores == sorted(scores, reverse=True)


def test_a_run_that_is_stopped_within_a_step_keeps_the_hits_it_told(tmp_path: Path) -> None:
    told: list[Progress] = []
    with created(tmp_path / "run", told=told, budget=ENOUGH) as run:
        written = run.folder.write_verification

        def write(identity: str, verification: Verification) -> None:
            written(identity, verification)
            if len(run.folder.verified_ids()) == 8:
                run.stop.deadline = 0.0

        run.folder.write_verification = write  # type: ignore[method-assign, assignment]
        run.run()
        hits = run.hits
    assert hits
    assert (told[-1].stage, told[-1].n_started, told[-1].n_hits) == ("finish", 8, len(hits))


def test_trials_are_kept_before_the_step_that_rests_on_them(tmp_path: Path) -> None:
    """A kill within the step must not lose what its proposals were made of."""
    done: list[str] = []

    def keeping(own: Parts) -> Parts:
        proposer: Any = own.proposer
        proposer.open_trials = lambda path, before_step: done.append(f"open {path.name} {before_step}")
        proposer.save_trials = lambda: done.append("save")
        return own

    with created(tmp_path / "run", keeping) as run:
        written = run.folder.write_step
        run.folder.write_step = lambda *a: [done.append("step"), written(*a)][1]  # type: ignore[method-assign]
        run.run()
    assert done[:3] == ["open trials.db 0", "save", "step"]
    assert done.count("save") == done.count("step")


def test_a_verdict_that_cannot_be_judged_is_one_failed_candidate(tmp_path: Path) -> None:
    asked: list[Structure] = []

    def classify(structure: Structure) -> Kinship:
        asked.append(structure)
        if len(asked) == 2:
            raise ZeroDivisionError("no volume")
        return kinship(structure)

    with created(tmp_path / "run", lambda p: replace(p, classify=classify)) as run:
        run.run()
    failed = [c for c in read_candidates(tmp_path / "run") if c.reason.startswith("cannot be judged")]
    assert [c.reason for c in failed] == ["cannot be judged: ZeroDivisionError: no volume"]
    assert failed[0].status is Status.FAILED
    assert failed[0].verification is not None
    assert manifest_of(tmp_path / "run")["funnel"]["started"] == 4


def test_a_hit_that_looks_new_is_asked_about_again(tmp_path: Path) -> None:
    def derives(structure: Structure) -> Kinship:
        return replace(kinship(structure), hit_class=HitClass.DERIVATIVE, derivative_of="WC")

    with created(tmp_path / "run", lambda p: replace(p, confirm=derives), budget=ENOUGH) as run:
        run.run()
        assert run.hits
        assert {c.derivative_of for c in run.hits} == {"WC"}
    out = {"constraints": {**CONFIG["constraints"], "derivatives": False}}
    with created(tmp_path / "none", lambda p: replace(p, confirm=derives), budget=ENOUGH, **out) as run:
        run.run()
        assert not run.hits


def test_baselines_are_worked_out_once_and_their_failure_loses_nothing(tmp_path: Path) -> None:
    asked: list[int] = []

    def baselines() -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            raise ValueError("no table")
        return {"lookup": {"n": 3}}

    config = config_of()
    made = replace(parts(config), baselines=baselines)
    with Campaign.create(config, tmp_path / "run", made) as run:
        run.run()
    assert manifest_of(tmp_path / "run")["baselines"] == {}
    assert manifest_of(tmp_path / "run")["status"] == "finished"
    for _ in range(2):
        with Campaign.resume(tmp_path / "run", replace(parts(config), baselines=baselines), config) as run:
            run.run()
        assert manifest_of(tmp_path / "run")["baselines"] == {"lookup": {"n": 3}}
    assert len(asked) == 2


def test_what_was_found_is_written_before_the_baselines_are_worked_out(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    said: list[str] = []

    def baselines() -> dict[str, Any]:
        seen.update(manifest_of(tmp_path / "run"), rows=(tmp_path / "run" / "candidates.csv").read_text())
        assert "look-up and orderings" in said[-1], "whoever watches knows what it waits for"
        return {"lookup": {"n": 3}}

    config = config_of()
    made = replace(parts(config), baselines=baselines)
    with Campaign.create(config, tmp_path / "run", made, lambda p: said.append(p.message)) as run:
        run.run()
    assert (seen["status"], seen["baselines"]) == ("finished", {})
    after = manifest_of(tmp_path / "run")
    assert after["baselines"] == {"lookup": {"n": 3}}
    assert after["funnel"] == seen["funnel"]
    assert (tmp_path / "run" / "candidates.csv").read_text() == seen["rows"]


def test_the_manifest_says_what_the_run_was(tmp_path: Path) -> None:
    with created(tmp_path / "run") as run:
        first = manifest_of(tmp_path / "run")
        assert (first["status"], first["stop_reason"], first["steps"]) == ("created", "", [])
        run.step()
        assert manifest_of(tmp_path / "run")["status"] == "running"
        run.run()
    last = manifest_of(tmp_path / "run")
    assert (last["status"], last["stop_reason"]) == ("finished", "budget of 4 verifications spent")
    assert [notes["step"] for notes in last["steps"]] == [0]
    assert last["steps"][0]["started"] == 4
    assert 0 <= last["steps"][0]["seconds"] <= last["seconds"] + 0.1
    assert last["judges"] == {"bulk_modulus_vrh": "analytic"}
    assert last["created"]
    with RunFolder.read(tmp_path / "run") as stored:
        assert last["config_hash"] == stored.meta("config_hash")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**last, "seconds": 1000.0}))
    with campaign(tmp_path / "run", budget=SMALL) as run:
        run.run()
    assert 1000.0 <= manifest_of(tmp_path / "run")["seconds"] < 1100.0


def test_the_log_holds_this_run_alone(tmp_path: Path) -> None:
    with created(tmp_path / "run") as run:
        run.run()
        n_handlers = len(logging.getLogger("inverse").handlers)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "ended: budget of 4 verifications spent" in log
    assert len([line for line in log.splitlines() if ": verified" in line or "converge" in line]) == 4
    assert len(logging.getLogger("inverse").handlers) <= n_handlers
    with created(tmp_path / "other") as run:
        run.run()
    assert (tmp_path / "run" / "log.txt").read_text() == log


def test_a_folder_without_a_config_or_with_a_damaged_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"holds no run \(no config\.yaml\)"):
        stored_config(tmp_path)
    (tmp_path / "config.yaml").write_text("targets: {hardnes: {min: 3}}\n")
    with pytest.raises(RunFolderError, match=r"config\.yaml: is damaged \(.*hardnes"):
        stored_config(tmp_path)


def test_novelty_wished_for_keeps_no_places_for_class_new(tmp_path: Path) -> None:
    """Where known ones are allowed half of the places are for new ones; where they are not, none need be."""
    shares = {}
    for novelty in ("any", "new_composition"):
        constraints = {**CONFIG["constraints"], "novelty": novelty}
        with created(tmp_path / novelty, constraints=constraints, budget={"verifications": 16}) as run:
            shares[novelty] = run._places(16)
    assert (shares["any"].n, shares["any"].new, shares["any"].textbook) == (16, 8, 2)
    assert (shares["new_composition"].new, shares["new_composition"].textbook) == (0, 0)


def test_a_step_that_was_cut_short_is_judged_like_one_that_was_not(tmp_path: Path) -> None:
    """All relax into one type; those of a system that meet all targets are one hit, stopped or not."""

    def alike(p: Parts) -> Parts:
        names = iter(range(10**6))
        one = Kinship(HitClass.NEW, parent_prototype="one")
        return replace(
            p,
            preview=lambda s: Standing(f"another {next(names)}", True),
            classify=lambda s: one,
            confirm=lambda s: one,
        )

    def verdicts(folder: Path) -> list[tuple[Any, ...]]:
        told = [c for c in read_candidates(folder) if c.verification is not None]
        return [(c.id, c.status, c.duplicate_of, c.reason, c.score) for c in told]

    wanted = {"targets": {"bulk_modulus_vrh": {"min": 1}}, "budget": ENOUGH}
    with created(tmp_path / "whole", alike, **wanted) as run:
        run.run()
    with created(tmp_path / "run", alike, **wanted) as run:
        written = run.folder.write_verification

        def write(identity: str, verdict: Verification) -> None:
            written(identity, verdict)
            run.stop.deadline = time.monotonic() if len(run.folder.verified_ids()) >= 8 else None

        run.folder.write_verification = write  # type: ignore[method-assign]
        assert run.run() == "time limit reached"
    assert any(duplicate for _, _, duplicate, *_ in verdicts(tmp_path / "run")), "or this test shows nothing"
    config = config_of(**wanted)
    with Campaign.resume(tmp_path / "run", alike(parts(config)), config) as run:
        run.run()
    assert verdicts(tmp_path / "run") == verdicts(tmp_path / "whole")


def test_what_is_unstable_is_not_told_as_verified(tmp_path: Path) -> None:
    def unstable(p: Parts) -> Parts:
        verdict = p.verifier.verdict
        p.verifier.verdict = lambda s: replace(verdict(s), is_stable=False)  # type: ignore[attr-defined]
        return p

    told: list[Progress] = []
    with created(tmp_path / "run", unstable, told) as run:
        run.run()
    said = {p.message.partition(": ")[2] for p in told if p.stage == "verify" and ": " in p.message}
    assert said <= {"mechanically unstable", "relaxation did not converge"}
    assert "mechanically unstable" in said


def test_every_seed_is_verified_however_many_there_are(tmp_path: Path) -> None:
    """Twenty seeds, where a step has sixteen places: what is passed over in it never comes again."""

    def with_seeds(p: Parts) -> Parts:
        ask = p.proposer.ask

        def asked(n: int, step: int, seed: int) -> list[Proposal]:
            found = ask(n, step, seed)
            return [replace(q, origin=Origin.SEED) for q in found[:20]] + found[20:] if step == 0 else found

        p.proposer.ask = asked  # type: ignore[method-assign]
        return replace(p, screening=lambda s: None)

    for budget, n_verified in ((24, 20), (18, 18)):
        with created(tmp_path / str(budget), with_seeds, budget={"verifications": budget}) as run:
            run.step()
            seeds = [c for c in run.all_candidates() if c.origin is Origin.SEED]
            assert sum(c.verification is not None for c in seeds) == n_verified
            assert run.n_started == n_verified


def test_a_time_limit_that_is_far_stops_nothing_and_is_told(tmp_path: Path) -> None:
    told: list[Progress] = []
    with created(tmp_path / "run", told=told, budget={**SMALL, "time": "1h"}) as run:
        assert run.run() == "budget of 4 verifications spent"
    assert all(p.seconds_left is not None and 3000 < p.seconds_left <= 3600 for p in told)
    (tmp_path / "run" / "manifest.json").write_text(
        json.dumps({**manifest_of(tmp_path / "run"), "seconds": 3500.0})
    )
    told.clear()
    config = config_of(budget={"verifications": 8, "time": "1h"})
    with Campaign.resume(tmp_path / "run", parts(config), config, told.append) as run:
        run.step()
        run.run()
    assert told[-1].seconds_left is not None
    assert told[-1].seconds_left <= 100, "earlier calls count"


class Remembering(RandomBinaries):
    """Goes on from where it was: what it proposes follows from no step and no candidate."""

    place = 0

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self.place += 7
        return [self._one(generator(seed, self.place, k), seed, k) for k in range(n)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        self.place = 3 * self.place + sum(c.verification is not None for c in candidates)

    def state(self) -> dict[str, int]:
        return {"place": self.place}

    def restore(self, state: dict[str, int]) -> None:
        self.place = state["place"]


@pytest.mark.parametrize("n_verdicts", [0, 3, 6])
def test_a_proposer_with_a_state_of_its_own_survives_a_kill(
    tmp_path: Path, n_verdicts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it falls: after the first ask, within a step, after the ask of a later one."""
    monkeypatch.setattr("inverse.campaign.campaign.STEP", 3)
    monkeypatch.setattr("inverse.campaign.campaign.PROPOSALS_PER_VERIFICATION", 2)
    config = config_of(budget={"verifications": 8})

    def remembering() -> Parts:
        return parts(config, Remembering(sorted(config.constraints.allowed_elements())))

    def crystals(run: Campaign) -> list[tuple[str, str, float]]:
        return [(c.id, c.structure.formula, round(c.structure.volume, 6)) for c in run.all_candidates()]

    with Campaign.create(config, tmp_path / "whole", remembering()) as run:
        run.run()
        expected = crystals(run)
    with Campaign.create(config, tmp_path / "killed", remembering()) as run:
        write = run.folder.write_verification

        def killed(identity: str, verdict: Verification) -> None:
            if len(run.folder.verifications()) == n_verdicts:
                raise MemoryError("killed")
            write(identity, verdict)

        run.folder.write_verification = killed  # type: ignore[method-assign]
        with pytest.raises(MemoryError, match="killed"):
            run.run()
    with Campaign.resume(tmp_path / "killed", remembering(), config) as run:
        run.run()
        assert crystals(run) == expected
    assert len({formula for _, formula, _ in expected}) > 5
