"""A whole campaign on stand-ins: run, stop, kill and resume, damaged folders."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.campaign import Campaign
from inverse.campaign.parts import Parts
from inverse.campaign.run_folder import RunFolder, read_candidates
from inverse.candidates.types import Breach, Candidate, Origin, Rule, Standing, Status, Verification
from inverse.commands.terminal import time_left
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluation
from inverse.proposers.news import tell
from inverse.proposers.protocol import Proposal
from surrogates.errors import RunFolderError, VerificationError
from surrogates.physics.properties import BULK_MODULUS
from tests.fakes import CONFIG, AnalyticVerifier, campaign, parts


def summary(folder: Path) -> list[tuple[object, ...]]:
    return [row(c) for c in read_candidates(folder)]


def row(c: Candidate) -> tuple[object, ...]:
    values = {} if c.verification is None else {k: v.mean for k, v in c.verification.values.items()}
    return c.id, c.structure.composition.reduced_formula, c.status, c.duplicate_of, values, c.score, c.reason


def test_a_whole_campaign(tmp_path: Path) -> None:
    with campaign(tmp_path / "run") as run:
        reason = run.run()
        assert "12 verifications" in reason
        assert run.n_started == 12
        assert run.hits
        assert all(h.structure.composition.reduced_formula == "WC" for h in run.hits)
    folder = tmp_path / "run"
    for name in ("config.yaml", "manifest.json", "candidates.db", "campaign.db", "candidates.csv", "cifs"):
        assert (folder / name).exists(), name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["funnel"]["started"] == 12
    candidates = read_candidates(folder)
    n_verdicts = sum(c.verification is not None for c in candidates)
    assert n_verdicts == 12
    assert {c.status for c in candidates if c.verification} <= {Status.HIT, Status.VERIFIED, Status.FAILED}
    keys = [
        (c.structure.composition.chemical_system, c.parent_prototype)
        for c in candidates
        if c.status is Status.HIT
    ]
    assert len(keys) == len(set(keys))
    from ase.db import connect

    assert connect(folder / "candidates.db").count() == 12


def test_same_seed_same_run_and_other_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        with campaign(tmp_path / name, seed=seed) as run:
            run.run()
    assert summary(tmp_path / "a") == summary(tmp_path / "b")
    assert summary(tmp_path / "a") != summary(tmp_path / "c")


def test_every_cif_that_the_table_names_is_there_after_a_step(tmp_path: Path) -> None:
    with campaign(tmp_path / "run", budget={"verifications": 24}) as run:
        run.step()
        verified = next(c for c in run.all_candidates() if c.status is Status.HIT)
        with (tmp_path / "run" / "candidates.csv").open(newline="") as file:
            named = [row["cif"] for row in csv.DictReader(file) if row["cif"]]
    assert f"cifs/{verified.id}.cif" in named
    assert not [name for name in named if not (tmp_path / "run" / name).is_file()]


def test_stages_of_proposing_are_told_and_the_time_left_follows_the_verdicts(tmp_path: Path) -> None:
    config = CampaignConfig.from_mapping({**CONFIG, "budget": {"verifications": 24}})
    made, told = parts(config), []
    ask = made.proposer.ask

    def chatty(n: int, step: int, seed: int) -> Any:
        tell("building %d structures", n)
        return ask(n, step, seed)

    made.proposer.ask = chatty  # type: ignore[method-assign]
    with Campaign.create(config, tmp_path / "run", made, told.append) as run:
        run.step()
    proposing = [p.message for p in told if p.stage == "propose"]
    assert "building 128 structures" in proposing
    assert proposing[-1].startswith("128 proposals")
    verdicts = [p for p in told if p.stage == "verify"][1:]
    assert [p.seconds_each is None for p in verdicts] == [True] * 4 + [False] * 12
    slow = replace(verdicts[-1], seconds=1e6, seconds_each=30.0, seconds_left=None)
    assert time_left(slow) == "4:00 left", "eight to go, half a minute each, however long proposing took"
    assert time_left(replace(slow, seconds_left=60.0)) == "1:00 left"
    assert time_left(replace(slow, seconds_each=None)) == ""


def test_steps_of_several_and_resume_between(tmp_path: Path) -> None:
    budget = {"verifications": 24}
    with campaign(tmp_path / "whole", budget=budget) as run:
        run.run()
    with campaign(tmp_path / "cut", budget=budget) as run:
        run.step()
    with campaign(tmp_path / "cut", budget=budget) as run:
        run.run()
    assert summary(tmp_path / "whole") == summary(tmp_path / "cut")


TWO_STEPS = {"verifications": 24}


def test_a_resumed_run_learns_what_the_undisturbed_one_learned(tmp_path: Path) -> None:
    """Hits that later steps turn into duplicates are told as they were when they were found."""
    config = CampaignConfig.from_mapping({**CONFIG, "budget": TWO_STEPS})
    told: dict[str, list[list[tuple[object, ...]]]] = {"whole": [], "resumed": []}

    def listening(name: str) -> Parts:
        made = parts(config)
        hear = made.proposer.tell

        def tell(candidates: Sequence[Candidate]) -> None:
            told[name].append([(c.id, c.status, c.duplicate_of, c.score) for c in candidates])
            hear(candidates)

        made.proposer.tell = tell  # type: ignore[method-assign]
        return made

    with Campaign.create(config, tmp_path / "run", listening("whole")) as run:
        run.run()
        later = replace(run.hits[0], status=Status.VERIFIED, duplicate_of="c009999", reason="duplicate")
        run.folder.update_candidates([later])
    with Campaign.resume(tmp_path / "run", listening("resumed"), config):
        pass
    assert len(told["whole"]) > 1
    assert told["resumed"] == told["whole"]


def test_deadline_leaves_a_report_and_resume_ends_the_same(tmp_path: Path) -> None:
    with campaign(tmp_path / "whole", budget=TWO_STEPS) as run:
        run.run()
    with campaign(tmp_path / "cut", budget=TWO_STEPS) as run:
        written = run.folder.write_verification

        def write(identity: str, verdict: Verification) -> None:
            written(identity, verdict)
            run.stop.deadline = time.monotonic() if len(run.folder.verifications()) >= 5 else None

        run.folder.write_verification = write  # type: ignore[method-assign]
        reason = run.run()
        assert reason == "time limit reached"
        assert run.n_started == 5
    manifest = json.loads((tmp_path / "cut" / "manifest.json").read_text())
    assert manifest["status"] == "stopped"
    assert manifest["funnel"]["started"] == sum(
        c.verification is not None for c in read_candidates(tmp_path / "cut")
    )
    with campaign(tmp_path / "cut", budget=TWO_STEPS) as run:
        run.run()
    assert summary(tmp_path / "whole") == summary(tmp_path / "cut")


CHILD = """
import sys, pathlib
from surrogates.physics.properties import BULK_MODULUS
from tests.fakes import CONFIG, AnalyticVerifier, campaign, parts
with campaign(pathlib.Path(sys.argv[1]), seconds=0.03, budget={"verifications": 24}) as run:
    run.run()
"""


class Heeding(AnalyticVerifier):
    """Its third verification takes until somebody asks it to stop, and is given all the same."""

    def __init__(self, begun: Path) -> None:
        super().__init__()
        self.begun = begun

    def verify_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        for n, found in enumerate(super().verify_each(structures, should_stop), 1):
            if n == 3:
                self.begun.touch()
            while n == 3 and not should_stop():
                time.sleep(0.01)
            yield found


HEEDING = """
import sys, pathlib
from dataclasses import replace
from inverse.campaign.campaign import Campaign
from inverse.inputs.campaign_config import CampaignConfig
from tests.fakes import CONFIG, parts
from tests.integration.test_campaign import Heeding
config, folder = CampaignConfig.from_mapping(CONFIG), pathlib.Path(sys.argv[1])
made = replace(parts(config), verifier=Heeding(folder.with_name("begun")))
with Campaign.create(config, folder, made) as run:
    run.run()
"""


def start(folder: Path, code: str = CHILD) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=root, env=environment)


def test_killed_and_resumed_ends_the_same(tmp_path: Path) -> None:
    with campaign(tmp_path / "whole", budget={"verifications": 24}) as run:
        run.run()
    folder = tmp_path / "killed"
    rng = np.random.default_rng(11)
    written = 0
    for _ in range(3):
        child = start(folder)
        limit = time.time() + 30
        wanted = written + int(rng.integers(2, 6))
        while child.poll() is None and time.time() < limit and n_written(folder) < wanted:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert n_written(folder) >= written
        written = n_written(folder)
    with campaign(folder, budget={"verifications": 24}) as run:
        run.run()
    assert summary(tmp_path / "whole") == summary(folder)


def n_written(folder: Path) -> int:
    try:
        with RunFolder.read(folder) as stored:
            return len(stored.verifications())
    except RunFolderError:
        return 0


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_signals_end_cleanly(tmp_path: Path, name: str) -> None:
    """The verification that is going on is kept, and no other begun."""
    child = start(tmp_path / "run", HEEDING)
    while not (tmp_path / "begun").exists() and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(getattr(signal, name))
    assert child.wait(timeout=300) == 0
    assert n_written(tmp_path / "run") == 3
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == "interrupted"
    assert manifest["stop_reason"] == f"stopped by {name}"


def test_a_time_limit_of_the_call_counts_afresh_and_the_configs_own_does_not(tmp_path: Path) -> None:
    limited = {"verifications": 12, "time": "20s"}
    with campaign(tmp_path / "run", budget=limited) as run:
        run.run(time.monotonic())  # no time at all
        assert run.n_started == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "seconds": 30.0}))
    with campaign(tmp_path / "run", budget=limited) as run:
        assert run.run() == "time limit reached"
        assert run.n_started == 0
    with campaign(tmp_path / "run", budget=limited) as run:
        assert "12 verifications" in run.run(time.monotonic() + 60)


def test_a_pool_that_gives_up_leaves_tables_and_a_run_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with campaign(tmp_path / "whole") as run:
        run.run()
    config = CampaignConfig.from_mapping(CONFIG)
    broken = parts(config)
    verify = broken.verifier.verify_each

    def giving_up(structures: Sequence[Structure], should_stop: Any) -> Any:
        for k, found in enumerate(verify(structures, should_stop)):
            if k == 3:
                raise VerificationError("verification workers do not start: no memory")
            yield found

    monkeypatch.setattr(broken.verifier, "verify_each", giving_up)
    with (
        Campaign.create(config, tmp_path / "run", broken) as run,
        pytest.raises(VerificationError, match="no memory"),
    ):
        run.run()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == "stopped"
    assert "no memory" in manifest["stop_reason"]
    assert manifest["funnel"]["started"] == 3
    with campaign(tmp_path / "run") as run:
        run.run()
    assert summary(tmp_path / "run") == summary(tmp_path / "whole")


class Pool:
    """Hands out a fixed list in order, crossing out what it was told; the first `n_bad` fail the screen."""

    name = "pool"

    def __init__(self, size: int, n_bad: int) -> None:
        self.size, self.n_bad, self.n_asks = size, n_bad, 0
        self.tried: set[int] = set()

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        self.n_asks += 1
        free = [k for k in range(self.size) if k not in self.tried]
        return [self.proposal(k) for k in free[:n]]

    def proposal(self, k: int) -> Proposal:
        a = 1.5 if k < self.n_bad else 2.4 + 1e-4 * k
        metals = ["Ti", "Al", "W"][k % 3], "CN"[k % 2]
        structure = Structure(Lattice.cubic(a), metals, [[0, 0, 0], [0.5, 0.5, 0.5]])
        return Proposal(structure, self.name, 0, {"index": k})

    def tell(self, candidates: Sequence[Candidate]) -> None:
        self.tried |= {int(c.history["index"]) for c in candidates}


def pooled(folder: Path, pool: Pool, **changes: Any) -> Campaign:
    config = CampaignConfig.from_mapping({**CONFIG, **changes})
    if (folder / "campaign.db").exists():
        return Campaign.resume(folder, parts(config, pool), config)
    return Campaign.create(config, folder, parts(config, pool))


def test_a_barren_step_ends_no_run_that_has_something_left_to_propose(tmp_path: Path) -> None:
    pool = Pool(4000, 300)
    with pooled(tmp_path / "run", pool, budget={"verifications": 5}) as run:
        reason = run.run()
        assert reason == "budget of 5 verifications spent"
        assert run.n_started == 5
    stored = read_candidates(tmp_path / "run")
    assert min(int(c.history["index"]) for c in stored if c.verification is not None) >= 300
    assert sum(c.status is Status.SCREENED_OUT for c in stored) == 300


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inverse.campaign.campaign.BARREN_PROPOSALS", 300)


@pytest.mark.usefixtures("impatient")
def test_a_run_without_a_chance_gives_up_for_a_stated_reason_and_a_resume_goes_on(tmp_path: Path) -> None:
    pool = Pool(600, 500)
    with pooled(tmp_path / "run", pool, budget={"verifications": 16}) as run:
        reason = run.run()
    assert pool.n_asks == 3
    assert reason == "gave up; of 384 proposals of the last 3 steps none may be verified: 384 out by volume"
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["status"], manifest["stop_reason"]) == ("finished", reason)
    assert manifest["funnel"]["screened_out"] == {"volume": 384}
    with pooled(tmp_path / "run", Pool(600, 500), budget={"verifications": 16}) as run:
        run.run()
        assert run.n_started == 6, "the pool has six chemical systems"


@pytest.mark.usefixtures("impatient")
def test_a_run_killed_among_barren_steps_gives_up_where_the_undisturbed_one_does(tmp_path: Path) -> None:
    for name, n_before in (("whole", 0), ("cut", 2)):
        with pooled(tmp_path / name, Pool(600, 500), budget={"verifications": 16}) as run:
            for _ in range(n_before):
                run.step()
        with pooled(tmp_path / name, Pool(600, 500), budget={"verifications": 16}) as run:
            run.run()
    assert summary(tmp_path / "cut") == summary(tmp_path / "whole")


@pytest.mark.parametrize("verifications", [40, 60])
def test_a_run_that_ended_for_want_of_proposals_resumes(tmp_path: Path, verifications: int) -> None:
    with pooled(tmp_path / "run", Pool(20, 0), budget={"verifications": 40}) as run:
        reason = run.run()
        n_started = run.n_started
    assert reason.startswith("no source has anything left to propose")
    before = summary(tmp_path / "run")
    assert len(before) == 20
    with pooled(tmp_path / "run", Pool(20, 0), budget={"verifications": verifications}) as run:
        assert run.run() == reason
        assert run.n_started == n_started
    assert summary(tmp_path / "run") == before


def test_a_step_without_candidates_that_an_older_run_wrote_is_begun_again(tmp_path: Path) -> None:
    with pooled(tmp_path / "run", Pool(20, 0), budget={"verifications": 40}) as run:
        run.step()
        run.folder.write_step(1, [], [], {"evaluated": 0})
    with pooled(tmp_path / "run", Pool(40, 0), budget={"verifications": 40}) as run:
        run.run()
    assert len(summary(tmp_path / "run")) == 40


@pytest.mark.parametrize("field", ["mean", "samples"])
def test_a_candidate_without_a_finite_prediction_is_recorded_and_counted(tmp_path: Path, field: str) -> None:
    config = CampaignConfig.from_mapping({**CONFIG, "budget": {"verifications": 4}})
    made = parts(config, Pool(30, 0))
    evaluate = made.evaluator.evaluate

    def odd(structures: Sequence[Structure], energies: Any = None) -> Evaluation:
        evaluation = evaluate(structures, energies)
        found = dict(evaluation.predictions)
        bulk = found[BULK_MODULUS]
        value = getattr(bulk, field).clone()
        value[..., [k for k, s in enumerate(structures) if "Al" in s.composition]] = float("nan")
        return replace(evaluation, predictions=found | {BULK_MODULUS: replace(bulk, **{field: value})})

    made.evaluator.evaluate = odd  # type: ignore[method-assign]
    with Campaign.create(config, tmp_path / "run", made) as run:
        run.run()
    out = [c for c in read_candidates(tmp_path / "run") if "Al" in c.structure.composition]
    assert len(out) == 10
    assert {(c.status, c.rule) for c in out} == {(Status.SCREENED_OUT, Rule.NO_PREDICTION)}
    said = "bulk_modulus_vrh" if field == "mean" else "the probability that the targets are met"
    assert {c.reason for c in out} == {f"no finite prediction: {said}"}
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["funnel"]["screened_out"] == {"no finite prediction": 10}


class Seeded(Pool):
    """A pool whose first proposal is the user's crystal, out by novelty, and every other one its child."""

    def proposal(self, k: int) -> Proposal:
        origin = Origin.SEED if k == 0 else Origin.CHILD if k % 2 else Origin.SEARCH
        return replace(super().proposal(k), origin=origin)


@pytest.mark.parametrize("rule", [Rule.NOVELTY, Rule.COMPOSITION_TARGET])
def test_the_users_crystal_is_verified_first_and_its_children_get_half_of_a_small_budget(
    tmp_path: Path, rule: Rule
) -> None:
    anything = {"bulk_modulus_vrh": {"min": 10}, "energy_above_hull": {"max": 2}}
    seed = Pool(1, 0).proposal(0).structure
    seed.to(str(tmp_path / "seed.cif"))
    config = CampaignConfig.from_mapping(
        {
            **CONFIG,
            "targets": anything,
            "seed_structures": [str(tmp_path / "seed.cif")],
            "budget": {"verifications": 8},
        }
    )
    made = parts(config, Seeded(300, 0))
    standings = iter(range(10_000))
    made = replace(
        made,
        preview=lambda s: Standing(str(next(standings)), True),
        screening=lambda s: Breach(rule, "of the config") if s == seed else None,
    )
    with Campaign.create(config, tmp_path / "run", made) as run:
        run.run()
        chosen = run.folder.step_candidates(0)[1]
        verified = list(run.folder.named(chosen))
    assert [c.origin for c in verified[:1]] == [Origin.SEED]
    assert verified[0].verification is not None
    assert sum(c.origin is Origin.CHILD for c in verified) >= 4
    assert len(verified) == 8


@pytest.mark.parametrize(("budget", "kept"), [({"time": "1h"}, 12), ({"verifications": 24}, 0)])
def test_a_budget_of_time_alone_keeps_places_for_the_children_of_a_seed(
    tmp_path: Path, budget: dict[str, Any], kept: int
) -> None:
    """It may turn out small; a stated number of verifications says whether it is."""
    Pool(1, 0).proposal(0).structure.to(str(tmp_path / "seed.cif"))
    seeds = {"seed_structures": [str(tmp_path / "seed.cif")]}
    with pooled(tmp_path / "run", Seeded(300, 0), budget=budget, **seeds) as run:
        assert run._places(16).children == kept


def test_two_processes_cannot_write_one_folder(tmp_path: Path) -> None:
    with campaign(tmp_path / "run"), pytest.raises(RunFolderError, match="another process"):
        campaign(tmp_path / "run")


def test_other_config_is_refused(tmp_path: Path) -> None:
    campaign(tmp_path / "run").close()
    with pytest.raises(RunFolderError, match="another config"):
        campaign(tmp_path / "run", seed=99)


def test_damaged_journal_is_named_and_untouched(tmp_path: Path) -> None:
    with campaign(tmp_path / "run") as run:
        run.run()
    path = tmp_path / "run" / "campaign.db"
    (tmp_path / "run" / "campaign.db-wal").unlink(missing_ok=True)
    path.write_bytes(b"not a database" * 100)
    before = (tmp_path / "run" / "candidates.csv").read_bytes()
    with pytest.raises(RunFolderError, match="damaged"):
        campaign(tmp_path / "run")
    assert path.read_bytes().startswith(b"not a database")
    assert (tmp_path / "run" / "candidates.csv").read_bytes() == before


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(RunFolderError, match=r"thesis\.tex"):
        campaign(tmp_path / "run")
