import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from inverse.types import Failure
from inverse.verification import workers
from inverse.verification.judges import load_verifier
from inverse.verification.workers import default_workers
from surrogates.errors import MachineError, VerificationError
from tests import crystals

HANGS = "tests.stand_in_potential:hangs_on_gold"
DIES = "tests.stand_in_potential:dies_on_gold"
MEMORY = "tests.stand_in_potential:out_of_memory"


def test_crashes_stops_and_order():
    with load_verifier(DIES, store="", workers=1) as pool:
        seen = []
        for position, verdict in pool.verify_each([crystals.fcc()] * 5, lambda: len(seen) >= 2):
            seen.append((position, verdict.converged))
        assert 2 <= len(seen) <= 3
        assert [position for position, _ in seen] == list(range(len(seen)))
        verdicts = pool.verify([crystals.fcc("Cu"), crystals.fcc("Au", 4.0), crystals.fcc("Ni", 3.5)])
    assert [v.converged for v in verdicts] == [True, False, True]
    assert "the worker ended" in verdicts[1].reason
    assert [v.failure for v in verdicts] == [None, Failure.WORKER, None]
    assert not multiprocessing.active_children()


def test_where_a_device_is_lost_the_crystal_is_asked_again_in_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICE_LOST_ONCE", str(tmp_path / "lost"))
    with load_verifier("tests.stand_in_potential:loses_its_device_once", store="", workers=1) as pool:
        pool.start()
        first = pool._workers[0].process.pid
        verdicts = pool.verify([crystals.fcc("Cu"), crystals.fcc("Au", 4.0), crystals.fcc("Ni", 3.5)])
        assert pool._workers[0].process.pid != first
    assert [v.reason for v in verdicts] == ["", "", ""]


def test_a_worker_that_dies_while_it_is_idle_costs_no_structure():
    with load_verifier("ase.calculators.emt:EMT", store="", workers=1) as pool:
        assert pool.verify([crystals.fcc()])[0].converged
        worker = pool._workers[0].process
        worker.kill()
        worker.join()
        assert [v.reason for v in pool.verify([crystals.fcc(), crystals.fcc("Ni", 3.5)])] == ["", ""]


def test_a_machine_that_goes_on_failing_ends_the_work():
    told, pool = [], workers.VerifierPool(workers.WorkerPlan(MEMORY, store=""), 1)
    try:
        with pytest.raises(MachineError, match=r"failed 5 times in a row: .*out of memory"):
            told.extend(position for position, _ in pool.verify_each([crystals.fcc()] * 20))
    finally:
        pool.close()
    assert told == [0, 1, 2, 3]  # each asked twice; the fifth ends it


def test_a_candidate_beyond_its_time_is_killed_and_recorded(monkeypatch):
    monkeypatch.setattr(workers, "GRACE", 0.0)
    monkeypatch.setattr(workers, "GUARD", 1.0)
    with load_verifier(HANGS, store="", workers=1, seconds_limit=8.0) as pool:
        pool.start()
        verdicts = pool.verify([crystals.fcc("Cu"), crystals.fcc("Au", 4.0)])
    assert verdicts[0].converged, verdicts[0].reason
    assert verdicts[1].reason == "time limit of 8 s by the clock"
    assert verdicts[1].failure is Failure.TIME_LIMIT
    assert not verdicts[1].converged


def test_workers_that_cannot_start_end_the_run_with_the_reason(monkeypatch):
    pool = workers.VerifierPool(workers.WorkerPlan("no.such:potential", store=""), 1)
    with pytest.raises(VerificationError, match=r"workers do not start: .*no\.such"):
        pool.verify([crystals.fcc()])
    pool.close()


def test_workers_end_with_their_parent(tmp_path):
    script = (
        "from inverse.verification.judges import load_verifier\n"
        "if __name__ == '__main__':\n"
        "    pool = load_verifier('ase.calculators.emt:EMT', store='', workers=1)\n"
        "    pool.start()\n"
        "    print(pool._workers[0].process.pid, flush=True)\n"
        "    import time; time.sleep(600)\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.5)
    pytest.fail("the worker outlived its parent")


def test_there_is_always_a_worker():
    assert default_workers() >= 1
