import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inverse.types import Failure
from inverse.verification import workers
from inverse.verification.judges import load_verifier
from inverse.verification.machine import Patience
from inverse.verification.workers import default_workers
from surrogates.errors import ConfigError, MachineError, VerificationError
from tests import crystals

HANGS = "tests.stand_in_potential:hangs_on_gold"
MOODY = "tests.stand_in_potential:moody"
SLOW = "tests.stand_in_potential:unhurried"
MEMORY = "tests.stand_in_potential:out_of_memory"

COPPER, NICKEL, GOLD = crystals.fcc("Cu"), crystals.fcc("Ni", 3.5), crystals.fcc("Au", 4.0)


def pid_of(pool):
    return pool._workers[0].process.pid


def reasons(pool, structures):
    return [verdict.reason for verdict in pool.verify(structures)]


def test_stops_order_and_what_code_of_users_does_to_one_crystal(monkeypatch):
    monkeypatch.setattr(workers, "MOST_DEATHS", 1)
    with load_verifier(MOODY, store="", workers=1) as pool:
        seen = []
        for position, verdict in pool.verify_each([COPPER] * 5, lambda: len(seen) >= 2):
            seen.append((position, verdict.converged))
        assert 2 <= len(seen) <= 3
        assert [position for position, _ in seen] == list(range(len(seen)))
        first = pid_of(pool)
        silver, platinum = crystals.fcc("Ag", 4.1), crystals.fcc("Pt", 3.9)
        said = reasons(pool, [silver, *[platinum] * 6, NICKEL])
        assert pid_of(pool) == first, "no failure of worker or machine"
        assert said[0] == f"{MOODY} failed: SystemExit: no licence left"
        assert all("FileNotFoundError" in reason for reason in said[1:-1])
        assert said[-1] == ""
        verdicts = pool.verify([COPPER, GOLD, NICKEL])
        assert pid_of(pool) != first
    assert [v.reason for v in verdicts] == ["", "the worker ended (exit code 3), as did 0 before it", ""]
    assert verdicts[1].failure is Failure.WORKER


@pytest.fixture(scope="module")
def slow():
    with load_verifier(SLOW, store="", workers=1) as pool:
        pool.check()
        yield pool


def test_what_asks_a_worker_to_end_passes_it(slow):
    first, verdicts = pid_of(slow), slow.verify_each([COPPER] * 4)
    for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"):
        sender = threading.Timer(0.1, os.kill, (first, getattr(signal, name)))
        sender.start()
        assert next(verdicts)[1].reason == "", name
        sender.join()
    assert pid_of(slow) == first


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_that_a_signal_ended_says_nothing_of_its_crystal(slow, is_busy):
    first = pid_of(slow)
    if is_busy:
        threading.Timer(0.1, os.kill, (first, signal.SIGQUIT)).start()
    else:
        os.kill(first, signal.SIGKILL)
    assert reasons(slow, [COPPER]) == [""]
    assert pid_of(slow) != first


def test_signals_from_outside_do_not_count_and_deaths_do():
    pool = workers.VerifierPool(workers.WorkerPlan(SLOW, store=""), 1)

    class Gone:
        is_ready, position, since = True, 0, 0.0

        def stop(self):
            return None

    def lost(exit_code):
        pool._workers.append(gone := Gone())
        return [verdict.reason for _, verdict in pool._gone(gone, exit_code)]

    assert [lost(-signal.SIGTERM) for _ in range(5)] == [[]] * 5
    assert [lost(code) for code in (-signal.SIGSEGV, 1)] == [[], []]
    assert lost(-signal.SIGSEGV) == ["the worker ended (signal 11), as did 2 before it"]
    with pytest.raises(MachineError, match=r"failed 20 times in a row: the worker ended \(signal 15\)"):
        [lost(-signal.SIGTERM) for _ in range(20)]


def test_phonons_are_computed_by_a_worker_and_end_when_asked(slow):
    first = pid_of(slow)
    assert slow.phonons(COPPER, 0.0).reason == f"time limit during phonons by {SLOW}"
    assert slow.phonons(COPPER, 60.0).is_stable is not None
    assert pid_of(slow) == first
    stopped = slow.phonons(crystals.low_symmetry(), 60.0, lambda: True)
    assert stopped.is_stable is None
    assert "stopped during phonons" in stopped.reason


def test_where_a_device_is_lost_the_crystal_is_asked_again_in_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICE_LOST_ONCE", str(tmp_path / "lost"))
    with load_verifier("tests.stand_in_potential:loses_its_device_once", store="", workers=1) as pool:
        pool.start()
        first = pid_of(pool)
        assert reasons(pool, [COPPER, GOLD, NICKEL]) == ["", "", ""]
        assert pid_of(pool) != first


def test_a_machine_that_goes_on_failing_ends_the_work():
    told, pool = [], workers.VerifierPool(workers.WorkerPlan(MEMORY, store=""), 1)
    pool._patience = Patience(2)
    try:
        with pytest.raises(MachineError, match=r"failed 2 times in a row: .*out of memory"):
            told.extend(position for position, _ in pool.verify_each([COPPER] * 20))
    finally:
        pool.close()
    assert told == [0]  # each asked twice; the second ends it


def test_a_candidate_beyond_its_time_is_killed_and_recorded(monkeypatch):
    monkeypatch.setattr(workers, "GRACE", 0.0)
    monkeypatch.setattr(workers, "GUARD", 1.0)
    with load_verifier(HANGS, store="", workers=1, seconds_limit=8.0) as pool:
        pool.start()
        verdicts = pool.verify([COPPER, GOLD])
    assert verdicts[0].converged, verdicts[0].reason
    assert verdicts[1].reason == "time limit of 8 s by the clock"
    assert verdicts[1].failure is Failure.TIME_LIMIT
    assert not verdicts[1].converged


def test_workers_that_cannot_start_end_the_run_with_the_reason():
    pool = workers.VerifierPool(workers.WorkerPlan("no.such:potential", store=""), 1)
    with pytest.raises(VerificationError, match=r"workers do not start: .*no\.such"):
        pool.verify([COPPER])
    pool.close()


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("sys:exit", ConfigError, r"'sys:exit' cannot be made: SystemExit"),
        ("os:abort", VerificationError, r"workers do not start: the worker ended \(signal 6\)"),
    ],
)
def test_code_of_users_runs_in_workers_only_and_what_it_refuses_is_said_once(code, error, message):
    with load_verifier(code, store="", workers=1) as pool, pytest.raises(error, match=message):
        pool.check()


OWN = "from ase.calculators.emt import EMT\n\n\ndef own():\n    return EMT()\n"

SCRIPT = """
print('begun', flush=True)
from inverse.verification.judges import load_verifier
from pymatgen.core import Lattice, Structure
pool = load_verifier('beside:own', store='', workers=1)
print(pool.verify([Structure(Lattice.cubic(2.9), ['Cu'], [[0, 0, 0]])])[0].ladder[0].name)
print(pool._workers[0].process.pid, flush=True)
import time
time.sleep(600)
"""


@pytest.mark.parametrize("is_file", [True, False])
def test_workers_never_see_the_users_script_know_its_path_and_end_with_it(tmp_path, is_file):
    """A plain script without a guard, or one from standard input, killed in the end."""
    (tmp_path / "beside.py").write_text(OWN)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py" if is_file else "-"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    )
    if not is_file:
        process.stdin.write(SCRIPT)
    process.stdin.close()
    assert [process.stdout.readline().strip() for _ in range(2)] == ["begun", "relaxed"]
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    pytest.fail("the worker outlived its parent")


def test_there_is_always_a_worker():
    assert default_workers() >= 1
