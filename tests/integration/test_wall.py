"""The judge shares no weights with the player, by the files of weights that each opens.

Files are held against each other by what is in them: a copy under another name would be shared as well.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from inverse.potentials.loading import available_potentials
from inverse.prediction.triage import POTENTIAL
from inverse.verification.panel import OF_RECORD, WITHOUT_EXTRA, Panel

PRERELAXES = "7net-0"
"""The one exception: it labelled the reference set that the player learned from, triages for the player, and
relaxes roughly before the energy judge, whose own relaxation and values follow. It gives the second opinion
on a shortlist, too.
"""

RECORDED = """
import json, os, sys
import safetensors, torch
opened = set()

def note(path):
    if isinstance(path, str | bytes | os.PathLike):
        opened.add(os.path.realpath(os.fsdecode(path)))

def noting(real):
    def opens(path, *given, **settings):
        note(path)
        return real(path, *given, **settings)
    return opens

# these read outside Python, where no audit event tells of it
safetensors.safe_open = noting(safetensors.safe_open)
torch.jit.load = noting(torch.jit.load)
torch.UntypedStorage.from_file = noting(torch.UntypedStorage.from_file)
sys.addaudithook(lambda event, given: note(given[0]) if event == "open" else None)
from pymatgen.core import Lattice, Structure
crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]])
"""

NO_EXTRA = """
import sys
sys.modules["sevenn"] = None  # as where the extra is not installed
"""

JUDGES = """
from inverse.verification import VerificationPlan, open_verifier, panel_named
verdict = open_verifier(VerificationPlan(panel_named(), store="")).verify_one(crystal)
assert verdict.converged, verdict.reason
"""

PLAYER = """
import inverse
from inverse.decoders import load_decoder
inverse.predict([crystal], ["WC"])
load_decoder("default")
"""

TRIAGE = """
from inverse.prediction.triage import Triage
Triage(lambda structure, energy: energy / len(structure)).look([crystal])
"""

WEIGHTS = (".safetensors", ".pt", ".pth", ".tar", ".ckpt", ".bin", ".npz", ".npy")

TABLES = "wyckoff_tables.safetensors"
"""Group theory, which nobody learned."""


def homes(*packages: str) -> list[Path]:
    """Return the folders of those packages that are installed."""
    found = [find_spec(package) for package in packages]
    return [Path(home).resolve() for spec in found if spec for home in spec.submodule_search_locations or ()]


OURS, OF_POTENTIALS = homes("surrogates", "inverse"), homes("chgnet", "diep", "sevenn")


def is_in(path: Path, folders: list[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def weights_opened(code: str, folder: Path, before: str = "") -> set[Path]:
    """Return the files of weights that a process of its own opens, wherever they lie.

    Args:
        code: what the process does, once openings are noted.
        folder: where it writes what it opened.
        before: what it does first.
    """
    told = folder / "opened.json"
    script = f"{before}{RECORDED}{code}\njson.dump(sorted(opened), open({str(told)!r}, 'w'))\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    paths = [Path(path) for path in json.loads(told.read_text())]
    return {path for path in paths if path.name.endswith(WEIGHTS) and path.name != TABLES}


def shared(judge: set[Path], player: set[Path]) -> set[Path]:
    """Return the judge's files that the player opens too, or copies of which it opens."""
    contents = {digest(path) for path in player}
    return {path for path in judge if digest(path) in contents}


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def of_exception(path: Path) -> bool:
    """Return whether a file is of the potential that pre-relaxes."""
    return path.name == "checkpoint_sevennet_0.pth"


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> set[Path]:
    code = PLAYER + (TRIAGE if HAS_EXTRA else "")
    return weights_opened(code, tmp_path_factory.mktemp("player"))


HAS_EXTRA = available_potentials()["7net-l3i5"]

needs_extra = pytest.mark.skipif(not HAS_EXTRA, reason="the extra sevenn is not installed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "panel"),
    [
        pytest.param("", OF_RECORD, marks=needs_extra, id="judges of record"),
        pytest.param(NO_EXTRA, WITHOUT_EXTRA, id="without the extra"),
    ],
)
def test_judge_and_player_open_no_weights_in_common(
    before: str, panel: Panel, player: set[Path], tmp_path: Path
) -> None:
    judge = weights_opened(JUDGES, tmp_path, before)
    decide = {path for path in judge if not of_exception(path)}
    assert shared(decide, player) == set()
    assert bool(judge - decide) is (PRERELAXES in panel.potentials)
    assert PRERELAXES not in {panel.energy, panel.stability, panel.appeal, *panel.judges.values()}
    deciding = {panel.energy, *panel.judges.values()}
    own = {path for path in decide if is_in(path, OF_POTENTIALS)}
    assert len(own) >= len(deciding)
    assert {package_of(path) for path in own} == {name.replace("7net-l3i5", "sevenn") for name in deciding}
    assert not {path for path in decide if is_in(path, OURS)}
    assert {path.parent.name for path in player} >= {"structure", "composition", "weights"}
    own_and_triage = [is_in(path, OURS) or of_exception(path) for path in player]
    assert all(own_and_triage)
    assert any(map(of_exception, player)) is HAS_EXTRA, "the triage is a player"
    assert POTENTIAL == PRERELAXES


def package_of(path: Path) -> str:
    """Return which potential's package a file lies in."""
    return next(home.name for home in OF_POTENTIALS if path.is_relative_to(home))


OPENINGS = (
    "open(planted, 'rb').read(8)",
    "from pathlib import Path; Path(planted).read_bytes()",
    "from safetensors import safe_open; safe_open(planted, framework='pt').keys()",
    "from safetensors.torch import load_file; load_file(planted)",
    "torch.UntypedStorage.from_file(planted, False, 8)",
    "import numpy; numpy.memmap(planted, mode='r')",
)
"""Ways to read a file of weights; `planted` is its path."""


def test_a_file_that_both_open_is_found_however_it_is_opened(player: set[Path], tmp_path: Path) -> None:
    """The check can fail: one of the player's files among the judge's, copies of it, and no other."""
    smallest = min((path for path in player if is_in(path, OURS)), key=lambda path: path.stat().st_size)
    copies = [
        Path(shutil.copy(smallest, tmp_path / f"judge{k}.safetensors")).resolve()
        for k in range(len(OPENINGS))
    ]
    other = tmp_path.resolve() / "other.pt"
    other.write_bytes(b"weights of nobody else")
    lines = [f"open({str(path)!r}, 'rb')" for path in (smallest, other)]
    for copy, opening in zip(copies, OPENINGS, strict=True):
        lines += [f"planted = {str(copy)!r}", opening]
    judge = weights_opened("\n".join(lines), tmp_path)
    assert judge == {smallest, other, *copies}
    assert shared(judge, player) == {smallest, *copies}
