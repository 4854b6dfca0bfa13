import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from inverse.potentials.dft import PROTOCOL, DftCalculator, DftProtocol, Limits, code_named, mesh_of
from inverse.potentials.dft import code as codes
from inverse.potentials.dft.process import CalculationError, Trouble
from inverse.potentials.inquiry import Question
from inverse.potentials.loading import Potential
from inverse.potentials.symmetric_cell import SymmetricCell
from inverse.verification.first_principles.pool import CalculationPool
from inverse.verification.store import VerificationStore
from surrogates.errors import MachineError, MissingExtraError, UnknownNameError, VerificationError

CU = SymmetricCell.from_structure(Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.6), ["Cu"], [[0, 0, 0]]))


def stand_in(name):
    return code_named(f"tests.stand_in_dft:{name}", sys.executable)


def asked(name, limits=None, memory=None):
    code = stand_in(name)
    calculator, process = DftCalculator(code, memory=memory), code.process(limits)
    try:
        return calculator.computed(calculator.request(CU), process)
    finally:
        process.close()


def test_equal_vectors_get_equal_divisions():
    hexagonal = Lattice.hexagonal(2.92, 2.85).matrix
    mesh = mesh_of(hexagonal, 0.25)
    assert mesh[0] == mesh[1]
    assert mesh_of(Lattice.cubic(3.0).matrix, 0.25) == (9, 9, 9)
    assert mesh_of(Lattice.cubic(300.0).matrix, 0.25) == (1, 1, 1)
    reciprocal = 2 * np.pi * np.linalg.norm(np.linalg.inv(hexagonal).T, axis=1)
    assert all(length / n <= 0.25 + 1e-6 for length, n in zip(reciprocal, mesh, strict=True))


def test_how_it_was_reached_is_no_part_of_a_value():
    assert PROTOCOL.gentler().fingerprint == PROTOCOL.fingerprint
    assert DftProtocol(cutoff=PROTOCOL.cutoff + 100).fingerprint != PROTOCOL.fingerprint
    assert PROTOCOL.gentler().mixing < PROTOCOL.mixing


def test_another_interpreter_says_the_same_as_this_one():
    found = asked("emt")
    from ase.calculators.emt import EMT

    own = Potential("emt", EMT(), frozenset(["Cu"])).evaluate(CU.numbers, CU.lattice, CU.frac_coords)
    assert found["energy"] == pytest.approx(own.energy, abs=1e-9)
    assert np.allclose(found["stress"], own.stress, atol=1e-9)
    assert stand_in("emt").version == "7"


def test_what_a_code_prints_is_no_answer():
    assert asked("noisy")["energy"] == asked("pairwise")["energy"]


def test_what_does_not_converge_is_tried_once_more_gently():
    assert asked("gently")["energy"] == asked("pairwise")["energy"]
    with pytest.raises(CalculationError, match="did not converge") as error:
        asked("never")
    assert error.value.trouble is Trouble.NOT_CONVERGED


def test_time_and_memory_of_a_calculation_end():
    with pytest.raises(CalculationError, match="2 s of computing") as error:
        asked("busy", Limits(seconds=2.0))
    assert error.value.trouble is Trouble.TIME_LIMIT
    with pytest.raises(MachineError, match="more than 6 GB"):
        asked("greedy", Limits(gigabytes=6.0))


def test_a_process_that_dies_is_replaced():
    code = stand_in("dies")
    calculator, process = DftCalculator(code), code.process()
    for _ in range(2):
        with pytest.raises(CalculationError, match="ended by SIGKILL"):
            process.calculate(calculator.request(CU))
    process.close()


def test_nothing_is_calculated_twice(tmp_path, monkeypatch):
    counted = tmp_path / "count"
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(counted))
    store = VerificationStore(tmp_path / "store.db")
    assert asked("pairwise", memory=store) == asked("pairwise", memory=store)
    assert len(counted.read_text().splitlines()) == 1


def test_it_is_an_ase_calculator():
    potential = Potential("dft", DftCalculator(stand_in("emt")), frozenset(["Cu"]))
    point = potential.evaluate(CU.numbers, CU.lattice, CU.frac_coords)
    assert np.allclose(point.stress, np.array(asked("emt")["stress"]), atol=1e-9)
    potential.calculator._own.close()


@pytest.mark.parametrize(
    ("name", "python", "said"),
    [
        ("gpow", "", "gpaw"),
        ("tests.stand_in_dft:pairwise", "/no/such/python", "no such interpreter"),
    ],
)
def test_names_that_are_none_are_refused(name, python, said):
    with pytest.raises(UnknownNameError, match=said):
        code_named(name, python)


def test_a_module_that_is_none_ends_in_one_line():
    with pytest.raises(VerificationError, match="No module named 'nowhere'") as error:
        code_named("nowhere:factory", sys.executable)
    assert "\n" not in str(error.value)


def test_without_gpaw_one_line_says_how_to_get_it(monkeypatch):
    codes._found.cache_clear()
    monkeypatch.setattr(codes, "SYSTEM_PYTHON", "/no/python3")
    monkeypatch.setattr(codes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="apt-get install gpaw gpaw-data"):
        code_named("gpaw")
    codes._found.cache_clear()


def one(potential, n):
    """Ask about n strained cells at once; return their energies."""
    cells = [CU.moved(0.01 * k * np.eye(3)) for k in range(n)]
    points = yield Question(potential, cells)
    return [point.energy for point in points]


def test_the_pool_keeps_order_and_one_failure_spoils_no_other(tmp_path):
    good = Potential("dft", DftCalculator(stand_in("pairwise")), frozenset())
    bad = Potential("dft", DftCalculator(stand_in("never")), frozenset())
    pool = CalculationPool(stand_in("pairwise"), 2)
    found = dict(pool.answered([one(good, 3), one(good, 1)]))
    pool.close()
    assert found[0][0] == found[1][0]
    assert len(set(found[0])) == 3
    broken = CalculationPool(stand_in("never"), 1)
    assert isinstance(dict(broken.answered([one(bad, 1)]))[0], CalculationError)
    broken.close()


def test_a_stop_gives_up_what_is_under_way_and_yields_what_is_remembered(tmp_path):
    store = VerificationStore(tmp_path / "store.db")
    quick = Potential("dft", DftCalculator(stand_in("pairwise"), memory=store), frozenset())
    slow = Potential("dft", DftCalculator(stand_in("busy")), frozenset())
    pool = CalculationPool(stand_in("pairwise"), 1)
    before = dict(pool.answered([one(quick, 2)]))
    pool.close()
    pool, began = CalculationPool(stand_in("busy"), 1), time.monotonic()
    stopped = threading.Event()
    threading.Timer(2.0, stopped.set).start()
    found = dict(pool.answered([one(slow, 1), one(quick, 2)], should_stop=stopped.is_set))
    pool.close()
    assert time.monotonic() - began < 20.0
    assert found == {1: before[0]}


def wait_until(is_true):
    until = time.monotonic() + 60.0
    while not is_true() and time.monotonic() < until:
        time.sleep(0.05)
    assert is_true()


def test_a_process_that_calculates_is_ended_by_closing_it(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(tmp_path / "begun"))
    code = stand_in("busy")
    process = code.process()
    thread = threading.Thread(target=lambda: _ignoring(process, DftCalculator(code).request(CU)))
    thread.start()
    wait_until((tmp_path / "begun").exists)
    pid = process.pid
    assert pid is not None
    process.close()
    thread.join(20.0)
    assert not Path(f"/proc/{pid}").exists()


def test_processes_end_with_whoever_started_them(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNT_CALCULATIONS_IN", str(tmp_path / "begun"))
    script = (
        "import sys, threading, time\n"
        "from tests.inverse.potentials.test_dft import CU, DftCalculator, stand_in\n"
        "code = stand_in('busy'); process = code.process()\n"
        "request = DftCalculator(code).request(CU)\n"
        "threading.Thread(target=process.calculate, args=(request,), daemon=True).start()\n"
        "while process.pid is None: time.sleep(0.05)\n"
        "print(process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        wait_until((tmp_path / "begun").exists)
        assert is_running(pid)
        parent.kill()
    until = time.monotonic() + 20.0
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid):
    """One that ended may lie unburied where nobody buries orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _ignoring(process, request):
    try:
        process.calculate(request)
    except (VerificationError, ValueError, OSError, AssertionError):
        return
