"""Somebody's package with one thing of each group, found in a folder on the path and used by its names."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.extension import crystal_kit

ENTRY_POINTS = """
[inverse.proposers]
wanderer = crystal_kit:Wanderer
[inverse.decoders]
cubic = crystal_kit:cubic
[inverse.surrogates]
spheres = crystal_kit:Spheres
[inverse.potentials]
effective-medium = crystal_kit:effective_medium
[inverse.judges]
packing = crystal_kit:Packing
"""

CONFIG = """
name: extended
targets:
  bulk_modulus_vrh: {min: 50}
  packing_fraction: {min: 0.4}
constraints: {elements: {only: [Al, Cu, Ag, Au, Ni, Pd, Pt]}, n_atoms: {max: 4}}
search: {method: wanderer, surrogate: spheres, decoder: cubic}
verify: {potential: effective-medium, also: [packing], phonons: false}
budget: {verifications: 9}
seed: 5
"""


def installed(folder: Path, entry_points: str, *modules: str | None) -> None:
    """Install the package, with further modules, beside a working folder."""
    site = folder / "site"
    info = site / "crystal_kit-1.2.dist-info"
    info.mkdir(parents=True)
    for module in (crystal_kit.__file__, *modules):
        shutil.copy(str(module), site / Path(str(module)).name)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crystal-kit\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a working folder beside which the package is installed."""
    installed(tmp_path, ENTRY_POINTS)
    (tmp_path / "wish.yaml").write_text(CONFIG)
    return tmp_path


def started(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    paths = [str(folder / "site"), str(root), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment |= {"INVERSE_STORE": str(folder / "store.db"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "inverse", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def done(folder: Path, *arguments: str) -> str:
    process = started(folder, arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def n_verdicts(journal: Path) -> int:
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5) as connection:
            return int(connection.execute("SELECT count(*) FROM verifications").fetchone()[0])
    except sqlite3.Error:
        return 0


def kill_after(process: subprocess.Popen[str], journal: Path, count: int) -> None:
    deadline = time.monotonic() + 240
    while n_verdicts(journal) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_package_brings_one_of_each_and_a_config_names_them(folder: Path) -> None:
    """A run on all five is killed without warning and resumed: the proposer goes on where it was."""
    run = folder / "run"
    kill_after(started(folder, ["run", "wish.yaml", "-o", "run"]), run / "campaign.db", 2)
    done(folder, "run", "wish.yaml", "-o", "run", "--resume")
    with (run / "candidates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    judged = [row for row in rows if row["verified_packing_fraction"]]
    assert len(judged) > 4
    for row in judged:
        assert row["potential"] == "effective-medium+packing"
        assert 0.3 < float(row["verified_packing_fraction"]) < 0.8
        assert 0.2 < float(row["predicted_packing_fraction"]) < 0.99
        assert -0.5 < float(row["energy_above_hull"]) < 0.5  # the potential said its element energies
    with sqlite3.connect(run / "campaign.db") as connection:
        found = connection.execute("SELECT step, record FROM candidates ORDER BY id").fetchall()
    asks: dict[int, set[tuple[int, int]]] = {}
    for step, record in found:
        history = json.loads(record)["history"]
        assert history["decoder"] == "cubic"
        asks.setdefault(step, set()).add((history["ask"], history["process"]))
    assert len(asks) >= 2
    assert [sorted(ask for ask, _ in asks[step]) for step in sorted(asks)] == [[k + 1] for k in sorted(asks)]
    assert len({process for of_step in asks.values() for _, process in of_step}) == 2
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    for what in ("search method wanderer", "surrogate spheres", "decoder cubic"):
        assert manifest["weights"][what] == "package crystal-kit 1.2"
    assert "spheres" in manifest["weights"]["structure"]


def test_its_decoder_is_drawn_from_and_its_names_are_told(folder: Path) -> None:
    done(folder, "sample", "-n", "3", "--decoder", "cubic", "--elements", "Cu,Au,Al", "-o", "drawn")
    with (folder / "drawn" / "samples.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    assert all(int(row["space_group"]) >= 195 for row in rows)
    told = " ".join(done(folder, "verify", "--help").split())
    assert "effective-medium" in told
    assert "Names: packing." in told
