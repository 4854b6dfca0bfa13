"""The judge shares no weights with the player, by the files of weights that each opens."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from inverse.potentials.loading import available_potentials
from inverse.verification.panel import OF_RECORD, WITHOUT_EXTRA, Panel

PRERELAXES = "7net-0"
"""The one exception: it labelled the reference set that the player learned from, and relaxes roughly before
the energy judge, whose own relaxation and values follow. It gives the second opinion on a shortlist, too.
"""

RECORDED = """
import json, os, sys
import safetensors
opened = set()

def note(path):
    if isinstance(path, str | bytes | os.PathLike):
        opened.add(os.path.realpath(os.fsdecode(path)))

def opens(path, *given, real=safetensors.safe_open, **settings):
    note(path)
    return real(path, *given, **settings)

safetensors.safe_open = opens  # it reads outside Python, where no audit event tells of it
sys.addaudithook(lambda event, given: note(given[0]) if event == "open" else None)
from pymatgen.core import Lattice, Structure
crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]])
"""

JUDGES = """
from inverse.verification import VerificationPlan, open_verifier
from inverse.verification.panel import {panel}
verdict = open_verifier(VerificationPlan({panel}, store="")).verify_one(crystal)
assert verdict.converged, verdict.reason
"""

PLAYER = """
import inverse
from inverse.decoders import load_decoder
inverse.predict([crystal], ["WC"])
load_decoder("default")
"""

WEIGHTS = (".safetensors", ".pt", ".pth", ".tar")

TABLES = "wyckoff_tables.safetensors"
"""Group theory, which nobody learned."""

PACKAGES = ("surrogates", "inverse", "chgnet", "diep", "sevenn")


def homes(*packages: str) -> list[Path]:
    """Return the folders of those packages that are installed."""
    found = [find_spec(package) for package in packages]
    return [Path(home).resolve() for spec in found if spec for home in spec.submodule_search_locations or ()]


def weights_opened(code: str, folder: Path) -> set[Path]:
    """Return the files of weights that a process of its own opens."""
    told = folder / "opened.json"
    script = f"{RECORDED}{code}\njson.dump(sorted(opened), open({str(told)!r}, 'w'))\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    paths = [Path(path) for path in json.loads(told.read_text())]
    where = homes(*PACKAGES)
    is_weights = [path.name.endswith(WEIGHTS) and path.name != TABLES for path in paths]
    return {
        path
        for path, of_weights in zip(paths, is_weights, strict=True)
        if of_weights and any(path.is_relative_to(home) for home in where)
    }


def of_exception(path: Path) -> bool:
    """Return whether a file is of the potential that pre-relaxes."""
    return path.name == "checkpoint_sevennet_0.pth"


HAS_EXTRA = available_potentials()["7net-l3i5"]


@pytest.mark.parametrize(
    ("name", "panel"),
    [
        pytest.param(
            "OF_RECORD",
            OF_RECORD,
            marks=pytest.mark.skipif(not HAS_EXTRA, reason="the extra sevenn is not installed"),
        ),
        pytest.param(
            "WITHOUT_EXTRA",
            WITHOUT_EXTRA,
            marks=pytest.mark.skipif(HAS_EXTRA, reason="the judges of record are here, and are tested"),
        ),
    ],
)
def test_judge_and_player_open_no_file_of_weights_in_common(name: str, panel: Panel, tmp_path: Path) -> None:
    judge = weights_opened(JUDGES.format(panel=name), tmp_path)
    player = weights_opened(PLAYER, tmp_path)
    decide = {path for path in judge if not of_exception(path)}
    assert not decide & player
    assert bool(judge - decide) is (PRERELAXES in panel.potentials)
    assert PRERELAXES not in {panel.energy, panel.stability, panel.appeal, *panel.judges.values()}
    of_judges = homes("chgnet", "diep", "sevenn")
    assert len(decide) >= len({panel.energy, *panel.judges.values()})
    assert all(any(path.is_relative_to(home) for home in of_judges) for path in decide)
    ours = homes("surrogates", "inverse")
    assert {path.parent.name for path in player} >= {"structure", "composition", "weights"}
    assert all(any(path.is_relative_to(home) for home in ours) for path in player)
