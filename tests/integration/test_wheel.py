"""The wheel alone is enough: what is tracked is in it, and it searches in an environment with nothing else.

The second test takes about ten minutes and a package index; `make wheel` runs it.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED = "INVERSE_TEST_WHEEL"
CODE = ("inverse", "surrogates")

pytestmark = pytest.mark.skipif(not os.environ.get(ASKED), reason=f"slow: set {ASKED}=1, or `make wheel`")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=True)
    return [name for name in listed.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tracked files alone: what an earlier build left would be packed, too."""
    folder = tmp_path_factory.mktemp("built")
    for name in tracked():
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*pip, str(folder / "source")], check=True, timeout=600)
    (made,) = folder.glob("*.whl")
    return made


def test_every_tracked_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in tracked() if name.split("/")[0] in CODE}


def test_the_wheel_searches_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With torch and the newest of everything else, as `pip install` takes it; no variable of ours is set."""
    venv.create(tmp_path / "env", with_pip=True)
    bin_folder = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    torch = re.findall(r"^torch==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("INVERSE", "PYTHON", "XDG", "VIRTUAL"))}
    bare |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*command: str, seconds: int) -> subprocess.CompletedProcess[str]:
        given = [str(bin_folder / command[0]), *command[1:]]
        done = subprocess.run(given, capture_output=True, text=True, timeout=seconds, cwd=tmp_path, env=bare)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done

    run("pip", "install", "--quiet", *torch, str(wheel), seconds=1800)
    found = run("python", "-c", "import inverse; print(inverse.__file__)", seconds=60).stdout
    assert str(tmp_path / "env") in found
    told = run("inverse", "run", "superhard-quick", "--budget", "2", "--output", "run", seconds=1200).stdout
    assert "out of 2 sent to the judges" in told
    assert (tmp_path / "run" / "report.html").is_file()
    assert "versions" in run("inverse", "doctor", seconds=120).stdout
