import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inverse.candidates.types import Failure
from inverse.potentials.machine import Patience
from inverse.verification import workers
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from inverse.verification.workers import default_workers
from surrogates.errors import ConfigError, MachineError, VerificationError
from tests import crystals

HANGS = "tests.stand_in_potential:hangs_on_gold"
MOODY = "tests.stand_in_potential:moody"
HELD = "tests.stand_in_potential:held"
MEMORY = "tests.stand_in_potential:out_of_memory"

COPPER, NICKEL, GOLD = crystals.fcc("Cu"), crystals.fcc("Ni", 3.5), crystals.fcc("Au", 4.0)


def plan_of(potential):
    return VerificationPlan(panel_named(potential), store="")


def pid_of(pool):
    return pool._workers[0].process.pid


def reasons(pool, structures):
    return [verdict.reason for verdict in pool.verify(structures)]


def test_stops_order_and_what_code_of_users_does_to_one_crystal(monkeypatch):
    monkeypatch.setattr(workers, "MOST_DEATHS", 1)
    with open_pool(plan_of(MOODY), 1) as pool:
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
def hold(tmp_path_factory):
    """Return the file that keeps the worker of `held` in the middle of a calculation while it stands."""
    path = tmp_path_factory.mktemp("held") / "held"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELD", str(path))
        yield path


@pytest.fixture(scope="module")
def held(hold):
    with open_pool(plan_of(HELD), 1) as pool:
        pool.check()
        yield pool


def amid_a_calculation(hold, pid, name):
    """Let a signal reach a worker in the middle of its next calculation, which goes on then."""

    def send():
        begun = Path(f"{hold}.begun")
        while not begun.exists():
            time.sleep(0.01)
        os.kill(pid, getattr(signal, name))
        begun.unlink()
        hold.unlink()

    hold.touch()
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    return sender


def test_what_asks_a_worker_to_end_passes_it(hold, held):
    first, verdicts = pid_of(held), held.verify_each([COPPER] * 4)
    for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP"):
        sender = amid_a_calculation(hold, first, name)
        assert next(verdicts)[1].reason == "", name
        sender.join()
    assert pid_of(held) == first


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_worker_that_a_signal_ended_says_nothing_of_its_crystal(hold, held, is_busy):
    first = pid_of(held)
    if is_busy:
        amid_a_calculation(hold, first, "SIGKILL")
    else:
        os.kill(first, signal.SIGKILL)
    assert reasons(held, [COPPER]) == [""]
    assert pid_of(held) != first


def test_signals_from_outside_do_not_count_and_deaths_do():
    pool = workers.VerifierPool(plan_of(HELD), 1)

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


def test_phonons_are_computed_by_a_worker_and_end_when_asked(hold, held):
    first = pid_of(held)
    assert held.phonons(COPPER, 0.0).reason == f"time limit during phonons by {HELD}"
    assert held.phonons(COPPER, 600.0).is_stable is not None
    assert pid_of(held) == first
    hold.touch()
    stopped = held.phonons(COPPER, 600.0, lambda: True)
    hold.unlink()
    assert stopped.is_stable is None
    assert "stopped during phonons" in stopped.reason


def test_where_a_device_is_lost_the_crystal_is_asked_again_in_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVICE_LOST_ONCE", str(tmp_path / "lost"))
    with open_pool(plan_of("tests.stand_in_potential:loses_its_device_once"), 1) as pool:
        pool.start()
        first = pid_of(pool)
        assert reasons(pool, [COPPER, GOLD, NICKEL]) == ["", "", ""]
        assert pid_of(pool) != first


def test_a_machine_that_goes_on_failing_ends_the_work():
    told, pool = [], workers.VerifierPool(plan_of(MEMORY), 1)
    pool._patience = Patience(2)
    try:
        with pytest.raises(MachineError, match=r"failed 2 times in a row: .*out of memory"):
            told.extend(position for position, _ in pool.verify_each([COPPER] * 20))
    finally:
        pool.close()
    assert told == [0]  # each asked twice; the second ends it


def test_a_candidate_beyond_its_time_is_killed_and_recorded(monkeypatch):
    """The first has all the time of the world, the second, which would never end, a second of it."""
    monkeypatch.setattr(workers, "GRACE", 0.0)
    with open_pool(VerificationPlan(panel_named(HANGS), store="", seconds_limit=1000.0), 1) as pool:
        verdicts = pool.verify_each([COPPER, GOLD])
        position, verdict = next(verdicts)
        assert position == 0
        assert verdict.converged, verdict.reason
        monkeypatch.setattr(workers, "GUARD", 0.001)
        ((position, verdict),) = verdicts
    assert position == 1
    assert verdict.reason == "time limit of 1 s by the clock"
    assert verdict.failure is Failure.TIME_LIMIT
    assert not verdict.converged


def test_workers_that_cannot_start_end_the_run_with_the_reason():
    pool = workers.VerifierPool(plan_of("no.such:potential"), 1)
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
    with (
        open_pool(plan_of(code), 1) as pool,
        pytest.raises(error, match=message),
    ):
        pool.check()


OWN = "from ase.calculators.emt import EMT\n\n\ndef own():\n    return EMT()\n"

SCRIPT = """
print('begun', flush=True)
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from pymatgen.core import Lattice, Structure
pool = open_pool(VerificationPlan(panel_named('beside:own'), store=''), 1)
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


def test_a_slow_start_says_once_what_is_waited_for(monkeypatch, caplog):
    """A factory that never returned was waited for 1,200 s without a word."""
    monkeypatch.setattr(workers, "SILENT_START", 0.0)
    with open_pool(plan_of(MOODY), 1) as pool:
        pool.check()
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("loading ")]
    limit = "a verification worker that is not ready after 1200 s is given up"
    assert said == [f"loading {MOODY} takes more than 0 s; {limit}"]


def test_there_is_always_a_worker():
    assert default_workers() >= 1
