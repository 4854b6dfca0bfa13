import contextlib
import errno
import sqlite3
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.types import Failure
from inverse.potentials.loading import potential_version
from inverse.potentials.machine import is_of_machine
from inverse.potentials.relaxation import RelaxationSettings
from inverse.verification.judge import Judge, JudgeSettings
from inverse.verification.ladder import LadderVerifier
from inverse.verification.mechanics.phonons import phonons
from inverse.verification.mechanics.stiffness import StiffnessSettings
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from inverse.verification.store import (
    VerificationStore,
    canonical_structure,
    default_store_path,
    verification_key,
)
from surrogates.errors import DataError, MachineError
from surrogates.platform.factories import source_version
from tests import crystals, stand_in_potential

EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def store(tmp_path):
    opened = VerificationStore(tmp_path / "deep" / "store.db")
    yield opened
    opened.close()


def test_what_is_put_comes_back(store):
    store.put("key", {"energy": -1.25, "nan": float("nan")}, "Cu", EMT, "relax", "abc")
    assert store.get("key") == {"energy": -1.25, "nan": None}
    assert store.get("other") is None
    assert len(store) == 1


def test_the_key_is_the_crystal_not_its_description():
    primitive = crystals.l1_2()
    supercell = primitive * (2, 1, 1)
    shuffled = Structure.from_sites(list(reversed(primitive.sites)))
    keys = {
        verification_key(canonical_structure(s), EMT, "relax", "abc")
        for s in (primitive, supercell, shuffled)
    }
    assert len(keys) == 1
    other = canonical_structure(crystals.l1_2("Au", "Cu"))
    assert verification_key(other, EMT, "relax", "abc") not in keys
    same = canonical_structure(primitive)
    assert verification_key(same, EMT, "tensor", "abc") not in keys
    assert verification_key(same, EMT, "relax", "abd") not in keys
    assert verification_key(same, "diep", "relax", "abc") not in keys


def test_canonical_structures_are_fixed_points():
    once = canonical_structure(crystals.low_symmetry())
    twice = canonical_structure(once)
    np.testing.assert_allclose(once.lattice.matrix, twice.lattice.matrix, atol=2e-5)


def test_nothing_is_computed_twice_unless_asked(store, monkeypatch):
    structure = crystals.hcp()
    first = Judge(EMT, store=store).relax(structure)
    tensor = Judge(EMT, store=store).tensor(first.structure)
    rows = len(store)
    monkeypatch.setattr("inverse.verification.judge.load_potential", lambda *_: pytest.fail("asked again"))
    again = Judge(EMT, store=store).relax(structure)
    assert again.energy == first.energy
    assert again.structure == first.structure
    assert Judge(EMT, store=store).tensor(again.structure) == tensor
    assert len(store) == rows


def test_reuse_false_asks_afresh_and_still_writes(store):
    Judge(EMT, store=store).relax(crystals.fcc())
    key = verification_key(canonical_structure(crystals.fcc()), EMT, "relax", JudgeSettings().digest)
    store.put(key, {"energy": 99.0, "reason": "planted"}, "Cu", EMT, "relax", "")
    assert Judge(EMT, store=store).relax(crystals.fcc()).reason == "planted"
    fresh = Judge(EMT, store=store, reuse=False).relax(crystals.fcc())
    assert fresh.reason == ""
    assert store.get(key)["energy"] == pytest.approx(fresh.energy)


def test_other_settings_are_other_rows(store):
    Judge(EMT, store=store).relax(crystals.fcc())
    loose = JudgeSettings(relaxation=RelaxationSettings(force=0.1))
    assert loose.digest != JudgeSettings().digest
    Judge(EMT, loose, store=store).relax(crystals.fcc())
    assert len(store) == 2


def test_failures_are_remembered_but_not_time_limits(store):
    colliding = Structure(Lattice.cubic(4.0), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0.02, 0]])
    for _ in range(2):
        found = Judge(EMT, store=store).relax(colliding)
        assert "colliding" in found.reason
        assert found.failure is Failure.COLLIDING_ATOMS
    assert len(store) == 1
    late = Judge(EMT, store=store).relax(crystals.fcc(), deadline=0.0)
    assert "time limit" in late.reason
    assert late.failure is Failure.TIME_LIMIT
    assert len(store) == 1


@pytest.mark.parametrize("named", [True, False])
def test_stored_failures_are_known_by_name_and_old_ones_by_their_words(store, named):
    judge, cell = Judge(EMT, store=store), crystals.fcc()
    row = {"reason": "no words of ours", "failure": "not_converged"}
    if not named:  # rows of stores that older versions wrote
        row = {"reason": f"{EMT}: not relaxed within 150 steps"}
    for task, structure in (("relax", canonical_structure(cell)), (judge._tensor_task, cell)):
        key = verification_key(structure, EMT, task, judge.settings.digest)
        store.put(key, row, "Cu", EMT, task, judge.settings.digest)
    relaxed = judge.relax(cell)
    assert relaxed.is_stalled
    assert relaxed.failure is Failure.NOT_CONVERGED
    assert judge.tensor(cell).failure is Failure.NOT_CONVERGED


@pytest.mark.parametrize("planted", [False, True])
def test_a_machine_that_failed_once_is_asked_again(store, monkeypatch, planted):
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    judge, cell = Judge("tests.stand_in_potential:out_of_memory", store=store), crystals.fcc("Al", 3.5)
    if planted:  # rows of stores that older versions wrote
        reason = "x failed: RuntimeError: CUDA error: out of memory"
        key = verification_key(canonical_structure(cell), judge.potential, "relax", judge.settings.digest)
        store.put(key, {"reason": reason}, "Al", judge.potential, "relax", judge.settings.digest)
    else:
        with pytest.raises(MachineError, match=r"out_of_memory failed: OutOfMemoryError: CUDA error: out"):
            judge.relax(cell)
        assert len(store) == 0
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", True)
    relaxed = judge.relax(cell)
    assert relaxed.reason == ""
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    with pytest.raises(MachineError, match="out of memory"):
        judge.tensor(relaxed.structure)


def test_the_ladder_records_a_machine_that_failed_and_goes_on(store, monkeypatch):
    monkeypatch.setattr(stand_in_potential.OutOfMemory, "is_healthy", False)
    plan = VerificationPlan(panel_named("tests.stand_in_potential:out_of_memory"))
    verifier = LadderVerifier(plan, store)
    (verdict,) = verifier.verify([crystals.fcc("Al", 3.5)])
    assert not verdict.converged
    assert "CUDA error: out of memory" in verdict.reason
    assert len(store) == 0


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOSPC, "disk"), torch.AcceleratorError("no device")]
)
def test_memory_device_and_disk_are_the_machines(error):
    assert is_of_machine(error)
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = error
    assert is_of_machine(wrapped)
    assert is_of_machine(torch.OutOfMemoryError("no room"))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no OUTCAR"),
        OSError("a format that nobody reads"),
        PermissionError(errno.EACCES, "not yours"),
        RuntimeError("CUDA error is all that it says"),
        ValueError("out of memory"),
    ],
)
def test_a_missing_file_and_mere_words_are_not_the_machine(error):
    assert not is_of_machine(error)


MINE = "from ase.calculators.emt import EMT as Base\n\n\ndef make():\n    return Base()\n"


@pytest.mark.parametrize("place", ["mine_alone", "mine_package.part"])
def test_an_edited_calculator_has_keys_of_its_own(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine_package").mkdir()
    (tmp_path / "mine_package" / "__init__.py").touch()
    beside = tmp_path / "mine_package" / "beside.py"
    file = tmp_path / f"{place.replace('.', '/')}.py"
    file.write_text(MINE)
    cell, name = canonical_structure(crystals.fcc()), f"{place}:make"

    def key():
        source_version.cache_clear()
        return verification_key(cell, name, "relax", "abc")

    assert potential_version(name).startswith("source ")
    before = key()
    assert key() == before
    beside.write_text("a = 1\n")
    assert (key() != before) is place.startswith("mine_package")
    file.write_text(MINE.replace("Base()", "Base(asap_cutoff=True)"))
    assert key() != before


def test_an_installed_calculator_has_the_version_of_its_distribution():
    assert potential_version(EMT) == f"ase {version('ase')}"
    assert potential_version("no.such.module:make") == "no.such.module:make"
    assert potential_version("math:pi").startswith(("math:pi", "source"))


DAMAGED = (
    "{",
    "",
    "{}",
    "[]",
    "null",
    "7",
    '{"energy": -1.0}',
    '{"structure": {"lattice": 3}, "energy": -1.0}',
)


@pytest.mark.parametrize("text", [*DAMAGED, "another crystal"])
def test_a_damaged_row_is_a_miss_and_is_mended(store, caplog, text):
    judge, copper = Judge(EMT, store=store), crystals.fcc()
    if text == "another crystal":
        judge.relax(crystals.fcc("Ni", 3.5))
        ((text,),) = store._connection.execute("SELECT result FROM verification").fetchall()
    first = judge.relax(copper)
    store._connection.execute("UPDATE verification SET result = ?", (text,))
    again = judge.relax(copper)
    assert (again.reason, again.energy) == ("", pytest.approx(first.energy))
    assert caplog.text.count("asked afresh") == 1
    assert judge.remembers(copper)


@pytest.mark.parametrize("text", ["{", "{}", '{"is_stable": true, "relaxed": [[1.0]]}', '{"what": 1}'])
def test_a_damaged_row_of_a_tensor_or_of_phonons_is_a_miss(store, caplog, text):
    judge = Judge(EMT, store=store)
    cell = judge.relax(crystals.fcc()).structure
    tensor, found = judge.tensor(cell), phonons(cell, EMT, store=store)
    store._connection.execute("UPDATE verification SET result = ? WHERE task != 'relax'", (text,))
    assert judge.tensor(cell).bulk_modulus == pytest.approx(tensor.bulk_modulus)
    assert phonons(cell, EMT, store=store).lowest == pytest.approx(found.lowest, abs=1e-3)
    assert caplog.text.count("asked afresh") == 2


def test_a_file_that_is_only_read_answers_and_takes_nothing(tmp_path, caplog, monkeypatch):
    path = tmp_path / "store.db"
    with contextlib.closing(VerificationStore(path)) as store:
        store.put("key", {"energy": 1.0}, "Cu", EMT, "relax", "abc")
    connect = sqlite3.connect

    def read_only(name, **options):
        return connect(name if options.get("uri") else tmp_path / "no" / "folder.db", **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with contextlib.closing(VerificationStore(path)) as store:
        assert store.get("key") == {"energy": 1.0}
        store.put("other", {"energy": 2.0}, "Cu", EMT, "relax", "abc")
        assert store.get("other") is None
    assert "is only read" in caplog.text
    with pytest.raises(DataError, match="cannot be opened"):
        VerificationStore(tmp_path / "none.db")


def test_a_full_disk_costs_rows_and_is_said_once(store, caplog):
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    for key in "abc":
        store.put(key, {"text": "x" * 100_000}, "Cu", EMT, "relax", "abc")
    assert len(store) == 0
    assert caplog.text.count("was not written") == 1
    assert "full" in caplog.text


def test_a_database_of_something_else_is_named(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("CREATE TABLE verification (name TEXT)")
    with pytest.raises(DataError, match=r"cannot be opened .*no such column"):
        VerificationStore(tmp_path / "store.db")
    with pytest.raises(DataError, match=r"cannot be opened .*not a file"):
        VerificationStore(tmp_path)


def test_a_damaged_store_is_named(tmp_path):
    path = tmp_path / "store.db"
    path.write_bytes(b"this is no database, and long enough to be read as one" * 40)
    with pytest.raises(DataError, match=r"store\.db cannot be opened .*INVERSE_STORE"):
        VerificationStore(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be opened"):
        VerificationStore(tmp_path / "file" / "store.db")


def test_a_row_that_cannot_be_written_is_not_the_end(store, caplog):
    store._connection.execute("PRAGMA query_only = ON")
    store.put("key", {}, "Cu", EMT, "relax", "abc")
    assert "was not written" in caplog.text


def test_several_processes_may_hold_it(store):
    other = sqlite3.connect(store.path)
    assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    other.close()


def test_the_environment_names_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("INVERSE_STORE", str(tmp_path / "mine.db"))
    assert default_store_path() == tmp_path / "mine.db"
    monkeypatch.delenv("INVERSE_STORE")
    assert default_store_path().name == "verifications.db"


def test_a_stored_tensor_that_no_crystal_has_is_asked_for_again(store):
    """Older versions stored what forces out of their mind made of calcite: C44 = -151,613 GPa."""
    cell, judge = canonical_structure(crystals.fcc()), Judge(EMT, store=store)
    sound = judge.tensor(cell)
    key = verification_key(cell, EMT, judge._tensor_task, judge.settings.digest)
    row = store.get(key)
    row["relaxed"][3][3] = -151613.3
    store.put(key, row, "Cu", EMT, judge._tensor_task, judge.settings.digest)
    again = Judge(EMT, store=store).tensor(cell)
    assert again.relaxed == sound.relaxed
    assert store.get(key)["relaxed"][3][3] == sound.relaxed[3][3]


def test_a_tensor_without_repetition_is_remembered(store):
    once = JudgeSettings(tensor=StiffnessSettings(repeat_factor=0.0))
    cell = canonical_structure(crystals.fcc())
    first = Judge(EMT, once, store=store).tensor(cell)
    assert Judge(EMT, once, store=store).tensor(cell).seconds == first.seconds
    assert np.isnan(first.repeated).all()
