import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.package_data.queue import (
    Job,
    drain,
    drain_together,
    merge,
    read_rows,
    share,
)
from experiments.studies.parity import parity
from inverse.potentials.machine import FAILURES_IN_A_ROW
from inverse.verification.judge import Judge
from inverse.verification.store import VerificationStore
from surrogates.errors import MachineError
from tests import crystals, stand_in_potential

MORSE = "tests.stand_in_potential:pairwise"
ROOT = Path(__file__).parents[3]


def row(name, structure):
    return {
        "id": name,
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }


ROWS = [
    row("a", crystals.fcc("Al", 3.5)),
    row("collides", crystals.fcc("Cu", 0.7)),
    row("b", crystals.l1_2("Cu", "Au")),
]


def test_parts_are_everything_once():
    parts = [share(list(range(7)), f"{k}/3") for k in (1, 2, 3)]
    assert sorted(k for part in parts for k in part) == list(range(7))


def test_a_job_that_fails_is_passed_over_and_none_begins_after_the_seconds(tmp_path):
    store = VerificationStore(tmp_path / "s.db")
    begun = []
    jobs = [Job(str(k), lambda _, k=k: begun.append(k) or 1 / k) for k in range(3)]
    assert drain(jobs, store, seconds=60.0) == 3
    assert begun == [0, 1, 2]
    assert drain(jobs, store, seconds=-1.0) == 0


def test_side_by_side_the_store_gets_what_one_by_one_it_would(tmp_path):
    together, alone = VerificationStore(tmp_path / "a.db"), VerificationStore(tmp_path / "b.db")
    assert drain_together(ROWS, together, 60.0, ask=MORSE, device="cpu", width=3) == 3
    for k in ("1/2", "2/2"):
        drain_together(ROWS, alone, 60.0, ask=MORSE, part=k, device="cpu", width=1)
    assert len(together) == len(alone) == 4
    for structure in (crystals.fcc("Al", 3.5), crystals.l1_2("Cu", "Au")):
        verdicts = []
        for store in (together, alone):
            judge = Judge(MORSE, store=store)
            assert judge.remembers(structure)
            verdicts.append(judge.tensor(judge.relax(structure).structure))
        assert verdicts[0].bulk_modulus == pytest.approx(verdicts[1].bulk_modulus, rel=1e-4)


def test_a_queue_stops_when_the_machine_fails_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    store, broken = VerificationStore(tmp_path / "s.db"), "tests.stand_in_potential:out_of_memory"
    with pytest.raises(MachineError, match="out of memory"):
        drain_together(ROWS[:1] * 20, store, 60.0, ask=broken, device="cpu")
    asked = []

    def work(opened):
        asked.append(1)
        Judge(broken, store=opened).relax(crystals.fcc("Al", 3.5))

    with pytest.raises(MachineError, match="out of memory"):
        drain([Job("a", work)] * 20, store, 60.0)
    assert len(asked) == FAILURES_IN_A_ROW
    assert len(store) == 0


def test_a_machine_that_fails_now_and_then_stops_no_queue(tmp_path):
    turns = iter([False, True] * FAILURES_IN_A_ROW)

    def work(_):
        if not next(turns):
            raise MachineError("out of memory")

    n = 2 * FAILURES_IN_A_ROW
    assert drain([Job("a", work)] * n, VerificationStore(tmp_path / "s.db"), 60.0) == n


def test_answers_of_another_machine_are_taken_in_once(tmp_path):
    here, there = VerificationStore(tmp_path / "a.db"), VerificationStore(tmp_path / "b.db")
    drain_together(ROWS[:1], there, 60.0, ask=MORSE, device="cpu")
    assert merge(tmp_path / "b.db", here) == len(there) == 2
    assert merge(tmp_path / "b.db", here) == 0
    assert Judge(MORSE, store=here).remembers(crystals.fcc("Al", 3.5))


def test_a_device_agrees_with_itself():
    found = parity(ROWS[::2], MORSE, ("cpu", "cpu"))
    assert found["passed"]
    assert found["cells"] == 4


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_the_gpu_queue_runs_dry_on_a_cpu(tmp_path):
    carried, out = tmp_path / "carried", tmp_path / "out"
    carried.mkdir()
    lines = "".join(json.dumps(r) + "\n" for r in ROWS)
    (carried / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert read_rows(carried / "rows.jsonl.gz") == ROWS
    done = subprocess.run(
        ["bash", str(ROOT / "experiments" / "gpu_queue.sh"), "--dry-run"],
        env={
            **{k: v for k, v in os.environ.items() if k != "INVERSE_STORE"},
            "DEVICE": "cpu",
            "CARRIED": str(carried),
            "OUT": str(out),
            "PYTHON": sys.executable,
            "POTENTIAL": MORSE,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "parity.jsonl").read_text())["passed"]
    store = VerificationStore(out / "verifications.db")
    assert Judge(MORSE, store=store).remembers(crystals.fcc("Al", 3.5))
    assert len(store) == 2
