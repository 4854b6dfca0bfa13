"""Candidates that found no place in one step are verified in a later one, under their old ids."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.campaign import Campaign
from inverse.campaign.run import read_run
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.candidates.objective import Objective
from inverse.candidates.types import Candidate, Origin, Rule, Standing, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.protocol import Proposal
from inverse.report.summary import funnel
from tests.fakes import CONFIG, parts

GOOD, FAIR, HOPELESS = 10.0, 11.8, 30.0
"""Å³ per atom of tungsten carbide: near the planted optimum, a little off, and far from it."""

BUDGET = {"verifications": 32}
"""Two steps of sixteen."""


class Batches:
    """Cells of W and C with these volumes per atom, one list a step; it learns nothing."""

    name = "batches"

    def __init__(self, *volumes: Sequence[float], origin: Origin = Origin.SEARCH) -> None:
        self.volumes, self.origin = volumes, origin
        self.told: list[tuple[str, bool]] = []

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        listed = self.volumes[step] if step < len(self.volumes) else ()
        return [self.proposal(step, k, volume) for k, volume in enumerate(listed)]

    def proposal(self, step: int, k: int, volume: float) -> Proposal:
        # each of its own volume: no verdict of the stand-in is another's
        cell = Lattice.cubic((2 * volume + 1e-3 * k) ** (1 / 3))
        structure = Structure(cell, ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        return Proposal(structure, self.name, 0, {"step": step}, origin=self.origin)

    def tell(self, candidates: Sequence[Candidate]) -> None:
        self.told += [(c.id, c.verification is not None) for c in candidates]


def stand_alone(structure: Structure) -> Standing:
    return Standing(f"{structure.volume:.5f}", True)


def by_volume(structure: Structure) -> Standing:
    return Standing("dense" if structure.volume < 22 else "light", True)


def opened(
    folder: Path,
    proposer: Any,
    preview: Callable[[Structure], Standing] = stand_alone,
    budget: Any = BUDGET,
) -> Campaign:
    config = CampaignConfig.from_mapping({**CONFIG, "budget": budget})
    own = replace(parts(config, proposer), preview=preview, screening=lambda s: None)
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, own, config)
    return Campaign.create(config, folder, own)


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def summary(folder: Path) -> list[tuple[Any, ...]]:
    return [
        (c.id, c.status, c.rule, c.reason, c.score, c.probability_target_met, c.duplicate_of)
        for c in read_candidates(folder)
    ]


def test_what_found_no_place_is_verified_before_what_has_no_chance(tmp_path: Path) -> None:
    proposer = Batches([GOOD] * 40, [HOPELESS] * 100)
    with opened(tmp_path / "run", proposer) as run:
        run.run()
        first, second = (run.folder.step_candidates(k) for k in (0, 1))
        recalled = run.folder.recalled(1)
    assert len(first[1]) == len(second[1]) == 16
    assert {int(identity[1:]) for identity in second[1]} <= set(range(40)) - {int(i[1:]) for i in first[1]}
    assert recalled == set(second[1])
    stored = read_candidates(tmp_path / "run")
    assert [c.id for c in stored] == [f"c{k:06d}" for k in range(140)]
    assert {c.history["step"] for c in stored if c.verification is not None} == {0}
    assert sorted(i for i, is_verified in proposer.told if is_verified) == sorted([*first[1], *second[1]])
    in_order = read_run(tmp_path / "run").verified
    assert (set(in_order[:16]), set(in_order[16:])) == (set(first[1]), set(second[1]))


def test_the_funnel_adds_up_and_counts_each_candidate_once(tmp_path: Path) -> None:
    with opened(tmp_path / "run", Batches([GOOD] * 40, [HOPELESS] * 100)) as run:
        run.run()
        stored, objective = run.all_candidates(), Objective.of(run.config)
    manifest = manifest_of(tmp_path / "run")
    totals = manifest["funnel"]
    assert (totals["proposed"], totals["predicted"], totals["started"]) == (140, 140, 32)
    assert [(s["proposed"], s["recalled"], s["started"]) for s in manifest["steps"]] == [
        (40, 0, 16),
        (100, 16, 16),
    ]
    assert [s["proposers"] for s in manifest["steps"]] == [{"batches": 40}, {"batches": 100}]
    stages = {stage.name: stage for stage in funnel(stored, objective, totals)}
    assert (stages["passed the screen"].count, stages["verification started"].count) == (140, 32)
    assert sum(stages["verification started"].lost.values()) == 108


def test_the_table_holds_all_of_earlier_steps_while_some_of_them_are_verified(tmp_path: Path) -> None:
    """A kill within the step leaves a table without holes."""
    holes: list[tuple[str, list[str]]] = []
    with opened(tmp_path / "run", Batches([GOOD] * 40, [HOPELESS] * 100)) as run:
        run._on_progress = lambda p: holes.append((p.stage, run.folder.ids_without_row()))
        run.run()
    within = [ids for stage, ids in holes if stage == "verify"]
    assert len(within) > 32
    assert not any(within)


def test_sources_that_have_nothing_left_leave_the_places_to_those_that_wait(tmp_path: Path) -> None:
    with opened(tmp_path / "run", Batches([GOOD] * 40)) as run:
        assert run.run() == "budget of 32 verifications spent"
    with opened(tmp_path / "run", Batches(), budget={"verifications": 60}) as run:
        assert run.run().startswith("no source has anything left to propose")
        assert run.n_started == 40
        assert [notes["proposed"] for _, _, notes in run.folder.steps()] == [40, 0, 0]


def test_one_that_is_like_what_was_verified_meanwhile_waits_no_more(tmp_path: Path) -> None:
    """Dense ones are verified first; of the others, all of one type, one is, and the rest say why not."""
    proposer = Batches([GOOD, *[FAIR] * 3], [HOPELESS] * 10, [HOPELESS] * 10)
    with opened(tmp_path / "run", proposer, by_volume, {"verifications": 3}) as run:
        step_size = run._step_size
        run._step_size = lambda: min(1, step_size())  # type: ignore[method-assign]
        run.run()
        verified = [run.folder.step_candidates(k)[1] for k in range(3)]
    stored = read_candidates(tmp_path / "run")
    assert verified[0] == ["c000000"]
    assert verified[1:] == [["c000001"], []]
    assert {(c.rule, c.verification) for c in stored[2:4]} == {(Rule.LIKE_VERIFIED, None)}
    steps = manifest_of(tmp_path / "run")["steps"]
    assert sum(s["passed_over"] for s in steps) == sum(c.rule is Rule.LIKE_VERIFIED for c in stored)
    assert [s["wait_no_more"] for s in steps] == [0, 0, 2]
    with (tmp_path / "run" / "candidates.csv").open() as file:
        assert sum(1 for _ in file) == len(stored) + 1


@pytest.mark.parametrize("origin", [Origin.TEXTBOOK, Origin.SEED])
def test_textbook_answers_and_seeds_wait_whatever_they_promise(tmp_path: Path, origin: Origin) -> None:
    """A list moves past what it has proposed: what found no place must not be lost."""
    proposer = Batches([HOPELESS] * 20, [], origin=origin)
    with opened(tmp_path / "run", proposer, budget={"verifications": 16}) as run:
        run.run()
        assert (run.n_started, len(run.folder.waiting())) == (16, 4)
    with opened(tmp_path / "run", Batches([], []), budget={"verifications": 20}) as run:
        run.run()
        assert run.n_started == 20


def test_a_run_that_is_stopped_anywhere_ends_with_the_same_candidates(tmp_path: Path) -> None:
    batches = [[GOOD + 0.2 * (k % 7)] * 30 for k in range(4)]
    budget = {"verifications": 64}
    with opened(tmp_path / "whole", Batches(*batches), budget=budget) as run:
        run.run()
        whole = [(s, run.folder.step_candidates(s)[1], run.folder.recalled(s)) for s in range(4)]
        waiting = [c.id for c in run.folder.waiting()]
    assert any(recalled for *_, recalled in whole), "or this test shows nothing"
    proposer = Batches(*batches)
    for limit in (5, 16, 21, 40, 64):
        proposer = Batches(*batches)
        with opened(tmp_path / "cut", proposer, budget=budget) as run:
            _stop_after(run, limit)
            run.run()
    assert summary(tmp_path / "cut") == summary(tmp_path / "whole")
    with RunFolder.read(tmp_path / "cut") as stored:
        assert [(s, stored.step_candidates(s)[1], stored.recalled(s)) for s in range(4)] == whole
        assert [c.id for c in stored.waiting()] == waiting
    told = [manifest_of(tmp_path / name)["funnel"] for name in ("cut", "whole")]
    assert {**told[0], "evaluated": 0} == {**told[1], "evaluated": 0}


def _stop_after(run: Campaign, n: int) -> None:
    written = run.folder.write_verification

    def write(identity: str, verdict: Verification) -> None:
        written(identity, verdict)
        if len(run.folder.verified_ids()) >= n:
            run.stop.deadline = 0.0

    run.folder.write_verification = write  # type: ignore[method-assign]


def test_what_a_step_was_told_stays_what_it_was(tmp_path: Path) -> None:
    """A resumed run must learn of the first step what that step knew: no verdict of the second."""
    batches = [[GOOD] * 40, [HOPELESS] * 100]
    whole, resumed = Batches(*batches), Batches(*batches)
    with opened(tmp_path / "run", whole) as run:
        run.run()
    with opened(tmp_path / "run", resumed) as run:
        assert run.n_started == 32
        assert run.n_candidates == 140
    assert resumed.told == whole.told


def test_they_are_few_however_many_were_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.campaign.waiting.MOST", 24)
    with opened(tmp_path / "run", Batches(*[[GOOD] * 90] * 2)) as run:
        run.step()
        assert len(run.folder.waiting()) == 24
        run.step()
        assert len(run.folder.waiting()) == 24


def test_a_folder_of_before_is_resumed(tmp_path: Path) -> None:
    with opened(tmp_path / "run", Batches([GOOD] * 40)) as run:
        run.step()
    with closing(sqlite3.connect(tmp_path / "run" / "campaign.db")) as journal:
        journal.executescript("DROP TABLE waiting; DROP TABLE recalled;")
    with opened(tmp_path / "run", Batches([GOOD] * 40, [GOOD] * 40)) as run:
        run.run()
        assert run.n_started == 32
