"""Exported job scripts: they find their inputs wherever they are run, and nothing reaches the shell."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from monty.serialization import loadfn
from pymatgen.core import Lattice, Structure
from pymatgen.io.vasp import Incar
from pymatgen.io.vasp.inputs import POTCAR_STATS_PATH
from pymatgen.io.vasp.sets import MPRelaxSet

from inverse.candidates.types import Candidate
from inverse.report.export import export, write_espresso_files, write_vasp_files
from inverse.report.job_scripts import REPLACED_POTCARS, checked_name, write_job, write_submission
from surrogates.errors import ConfigError, RunFolderError
from tests.inverse.report.fake_run import candidate, candidates, write_fake_run

ODD = "an 'odd' $(touch PWNED) folder"


def environment(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "PBS"))}
    return {**kept, "LAUNCH": "env", **more}


def write_name(folder: Path, name: str) -> Path:
    """Write a candidate's folder whose job leaves `done` in it."""
    folder.mkdir(parents=True)
    write_job(folder, name, "touch done\n")
    return folder


def run(script: Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script)], cwd=cwd, env=environment(**more), capture_output=True, text=True
    )


def spooled(script: Path, spool: Path) -> Path:
    """Return the copy of a script that Slurm runs."""
    spool.mkdir(exist_ok=True)
    return Path(shutil.copy(script, spool / "slurm_script"))


def test_a_job_runs_where_it_lies_from_anywhere(tmp_path: Path) -> None:
    place = write_name(tmp_path / ODD / "c000001_WB", "c000001_WB")
    assert run(place / "job.sh", tmp_path).returncode == 0
    assert (place / "done").exists()
    assert not list(tmp_path.glob("**/PWNED"))


def test_a_job_is_not_led_elsewhere_by_cdpath(tmp_path: Path) -> None:
    place = write_name(tmp_path / "c000001_WB", "c000001_WB")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / place.name).mkdir(parents=True)
    script = Path(place.name) / "job.sh"
    assert run(script, tmp_path, CDPATH=str(elsewhere)).returncode == 0
    assert (place / "done").exists()


def test_a_spooled_copy_finds_the_folder_where_it_was_written(tmp_path: Path) -> None:
    place = write_name(tmp_path / ODD / "c000001_WB", "c000001_WB")
    other = write_name(tmp_path / "c000002_WC", "c000002_WC")
    script = spooled(place / "job.sh", tmp_path / "spool")
    assert run(script, other, SLURM_SUBMIT_DIR=str(other), SLURM_JOB_ID="1").returncode == 0
    assert (place / "done").exists()
    assert not (other / "done").exists()
    assert not list(tmp_path.glob("**/PWNED"))


@pytest.mark.parametrize("variable", ["SLURM_SUBMIT_DIR", "PBS_O_WORKDIR"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_copied_folder_is_found_where_the_job_was_submitted(
    inside: bool, variable: str, tmp_path: Path
) -> None:
    place = write_name(tmp_path / "here" / "c000001_WB", "c000001_WB")
    moved = Path(shutil.move(place, tmp_path / "cluster" / "c000001_WB"))
    script = spooled(moved / "job.sh", tmp_path / "spool")
    submitted = moved if inside else moved.parent
    assert run(script, tmp_path / "spool", **{variable: str(submitted)}).returncode == 0
    assert (moved / "done").exists()


def test_a_job_never_runs_in_the_folder_of_another(tmp_path: Path) -> None:
    place = write_name(tmp_path / "c000001_WB", "c000001_WB")
    other = write_name(tmp_path / "c000002_WC", "c000002_WC")
    script = spooled(place / "job.sh", tmp_path / "spool")
    shutil.rmtree(place)
    done = run(script, other, SLURM_SUBMIT_DIR=str(other))
    assert done.returncode == 1
    assert "c000001_WB: no inputs in" in done.stderr
    assert not (other / "done").exists()


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    names = ["c000001_WB", "c000002_WC", "c000003_CaO2H2"]
    for name in names:
        write_name(tmp_path / "batch" / name, name)
    write_submission(tmp_path / "batch", names, "vasp")
    return tmp_path / "batch"


def done(batch: Path) -> list[str]:
    return sorted(path.parent.name for path in batch.glob("*/done"))


def test_one_array_job_runs_each_candidate_once(batch: Path, tmp_path: Path) -> None:
    script = spooled(batch / "submit_all.sh", tmp_path / "spool")
    assert "#SBATCH --array=0-2\n" in script.read_text()
    assert run(script, tmp_path, SLURM_ARRAY_TASK_ID="1", SLURM_JOB_ID="7").returncode == 0
    assert done(batch) == ["c000002_WC"]


def test_the_script_submits_itself_where_there_is_slurm(batch: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "sbatch"
    stub.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    stub.chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    assert run(batch / "submit_all.sh", tmp_path, PATH=path).returncode == 0
    assert (tmp_path / "asked").read_text().split() == ["--", str(batch / "submit_all.sh")]
    assert done(batch) == []


def test_without_slurm_they_run_in_turn_and_one_failure_stops_none(batch: Path, tmp_path: Path) -> None:
    (batch / "c000002_WC" / "job.sh").write_text("exit 3\n")
    finished = run(batch / "submit_all.sh", tmp_path)
    assert finished.returncode == 1
    assert "c000002_WC failed" in finished.stderr
    assert done(batch) == ["c000001_WB", "c000003_CaO2H2"]


BAD_NAMES = ["", "a b", "a;b", "a\nb", "$(id)", "`id`", "../a", "-rf", "a'b", "é", "a" * 99]
BAD_IDS = ["../../outside", "a\ntouch PWNED\n#", "c1;id", "c", "c١", "c1`id`", "c1/../../x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_a_shell_could_read_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="letters, digits, _ and - only"):
        checked_name(name)
    for writer in (write_vasp_files, write_espresso_files):
        with pytest.raises(ConfigError, match="letters, digits, _ and - only"):
            writer(tungsten("W"), tmp_path, name)
    assert not (tmp_path / "job.sh").exists()


def test_a_path_with_a_line_break_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a\ntouch PWNED"
    folder.mkdir()
    with pytest.raises(ConfigError, match="cannot stand in a job script"):
        write_job(folder, "c000001_WB", "")


@pytest.mark.parametrize("identity", BAD_IDS)
@pytest.mark.parametrize("kind", ["cif", "vasp", "qe"])
def test_ids_that_are_none_are_refused_before_anything_is_written(
    kind: str, identity: str, tmp_path: Path
) -> None:
    made = [replace(candidate(0, "verified"), id=identity)]
    folder = written_run(tmp_path / "runs" / "run", made)
    before = files_of(tmp_path)
    with pytest.raises(RunFolderError, match=r"\bid\b"):
        export(folder, kind)
    assert files_of(tmp_path) == before


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.name.startswith("campaign.db-"))


def written_run(path: Path, made: list[Candidate]) -> Path:
    path.parent.mkdir()
    return write_fake_run(path, made)


@pytest.mark.parametrize("target", ["export_vasp", "export_vasp/c000000", "export_vasp/README.txt"])
def test_links_in_the_way_are_not_followed(target: str, tmp_path: Path) -> None:
    folder = written_run(tmp_path / "runs" / "run", [candidate(0, "verified")])
    victim = tmp_path / "victim"
    victim.mkdir()
    (folder / target).parent.mkdir(exist_ok=True)
    (folder / target).symlink_to(victim)
    with pytest.raises(RunFolderError, match="is a link"):
        export(folder, "vasp")
    assert not list(victim.iterdir())


def tungsten(other: str) -> Structure:
    return Structure(Lattice.cubic(3.2), ["W", other], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_missing_potcars_are_named_with_what_replaces_them_before_anything_runs(tmp_path: Path) -> None:
    place = tmp_path / "c000001_WC"
    place.mkdir()
    write_vasp_files(tungsten("C"), place, "c000001_WC")
    (tmp_path / "potcars" / "C").mkdir(parents=True)
    (tmp_path / "potcars" / "C" / "POTCAR").write_text("C\n")
    (tmp_path / "vasp").write_text("#!/bin/bash\ntouch ran\n")
    (tmp_path / "vasp").chmod(0o755)
    more = {"POTCARS": str(tmp_path / "potcars"), "VASP": str(tmp_path / "vasp")}
    failed = run(place / "job.sh", tmp_path, **more)
    assert failed.returncode == 1
    assert "of: W_pv." in failed.stderr
    assert ".54 and later have W_sv in place of W_pv" in failed.stderr
    assert not list(place.glob("*/ran"))
    assert not list(place.glob("*/POTCAR"))
    assert "W_sv" in (place / "job.sh").read_text()


def test_the_replacements_are_all_that_later_releases_need() -> None:
    """pymatgen carries which POTCARs a release of VASP has."""
    carried = {
        release: {entry["symbol"] for entries in titles.values() for entry in entries}
        for release, titles in loadfn(POTCAR_STATS_PATH).items()
    }
    wanted = set(MPRelaxSet.CONFIG["POTCAR"].values())
    assert wanted <= carried["PBE"]
    for release in ("PBE_54", "PBE_64"):
        assert wanted - carried[release] == set(REPLACED_POTCARS)
        assert set(REPLACED_POTCARS.values()) <= carried[release]


def test_the_elastic_step_starts_from_a_cell_that_was_relaxed_at_its_own_settings(tmp_path: Path) -> None:
    place = tmp_path / "c000001_WC"
    place.mkdir()
    write_vasp_files(tungsten("C"), place, "c000001_WC")
    tight, elastic = (Incar.from_file(place / step / "INCAR") for step in ("tight", "elastic"))
    for incar in (tight, elastic):
        assert incar["EDIFF"] <= 1e-7
        assert -0.005 <= incar["EDIFFG"] < 0
        assert incar["ENCUT"] == 700
    assert (tight["ISIF"], tight["IBRION"], elastic["IBRION"]) == (3, 2, 6)
    (tmp_path / "potcars" / "W_pv").mkdir(parents=True)
    (tmp_path / "potcars" / "C").mkdir(parents=True)
    for symbol in ("W_pv", "C"):
        (tmp_path / "potcars" / symbol / "POTCAR").write_text(f"{symbol}\n")
    (tmp_path / "vasp").write_text('#!/bin/bash\necho "$(cat POSCAR) after $(basename "$PWD")" > CONTCAR\n')
    (tmp_path / "vasp").chmod(0o755)
    for step in ("relax", "static", "tight", "elastic"):
        (place / step / "POSCAR").write_text("cell")
    more = {"POTCARS": str(tmp_path / "potcars"), "VASP": str(tmp_path / "vasp")}
    assert run(place / "job.sh", tmp_path, **more).returncode == 0
    assert (place / "static" / "POSCAR").read_text().strip() == "cell after relax"
    assert (place / "elastic" / "POSCAR").read_text().strip() == "cell after relax after tight"


def test_espresso_says_that_its_hubbard_energies_are_on_another_scale(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    oxide = Structure(Lattice.cubic(4.2), ["Co", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    verdict = candidate(0, "verified").verification
    assert verdict is not None
    made = replace(candidate(0, "verified"), structure=oxide, verification=replace(verdict, structure=oxide))
    written = export(written_run(tmp_path / "runs" / "run", [made]), "qe")
    manual = next(path for path in written if path.name == "README.txt").read_text()
    for text in (manual, caplog.text):
        assert "CoO: the HUBBARD card has the Materials Project's U" in text
        assert "not comparable" in text
    inputs = next(path for path in written if path.name == "static.in").read_text()
    assert "U Co-3d 3.32" in inputs


def test_espresso_looks_for_every_pseudopotential_first(tmp_path: Path) -> None:
    place = tmp_path / "c000001_WC"
    place.mkdir()
    write_espresso_files(tungsten("C"), place, "c000001_WC")
    needed = (place / "pseudopotentials.txt").read_text().split()
    (tmp_path / "pseudo").mkdir()
    (tmp_path / "pseudo" / needed[0]).write_text("")
    failed = run(place / "job.sh", tmp_path, PSEUDO="pseudo", PW="false")
    assert failed.returncode == 1
    assert f"no {needed[1]} in {tmp_path}/pseudo" in failed.stderr


def test_whole_export_of_both_kinds_is_readable_bash(tmp_path: Path) -> None:
    folder = written_run(tmp_path / "runs" / "run", candidates(4, 0, 0))
    for kind in ("vasp", "qe"):
        written = export(folder, kind)
        scripts = [path for path in written if path.suffix == ".sh"]
        assert {path.name for path in scripts} == {"job.sh", "submit_all.sh"}
        for script in scripts:
            subprocess.run(["bash", "-n", str(script)], check=True)
        assert "submit_all.sh" in (folder / f"export_{kind}" / "README.txt").read_text()
