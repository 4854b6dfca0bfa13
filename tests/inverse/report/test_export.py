"""Export: inputs reopen to the structure that was verified, and carry what the reference was made with."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ase.io import read as ase_read
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from inverse.campaign.candidate_table import best_structure
from inverse.campaign.run import read_run
from inverse.candidates.types import Status
from inverse.report.espresso_input import espresso_input, hubbard_card, pseudopotential
from inverse.report.export import export, read_shortlist, write_espresso_files
from surrogates.errors import ConfigError, MissingExtraError, RunFolderError, UnsupportedElementError
from tests.inverse.report.fake_run import candidate, candidates, write_fake_run

MATCHER = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.05, scale=False, primitive_cell=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", candidates(12, 2, 3))


def verified(folder: Path, place: Path) -> Structure:
    by_id = {c.id: c for c in read_run(folder).candidates}
    return best_structure(by_id[place.name.split("_")[0]])


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")  # thirds are rounded
def test_cif_files_reopen_to_the_relaxed_structure(folder: Path, tmp_path: Path) -> None:
    written = export(folder, "cif", output=tmp_path)
    assert written
    for path in written:
        wanted = verified(folder, path)
        read = Structure.from_file(path)
        assert MATCHER.fit(read, wanted)
        assert read.volume == pytest.approx(wanted.volume, rel=1e-6)


def test_vasp_inputs_reopen_and_match_the_reference(folder: Path, tmp_path: Path) -> None:
    from pymatgen.io.vasp import Incar, Kpoints

    written = export(folder, "vasp", output=tmp_path)
    place = written[0].parents[1]
    for step in ("relax", "static", "elastic"):
        assert MATCHER.fit(Structure.from_file(place / step / "POSCAR"), verified(folder, place))
        incar = Incar.from_file(place / step / "INCAR")
        assert incar["ISPIN"] == 2
        assert Kpoints.from_file(place / step / "KPOINTS").kpts
        assert (place / step / "POTCAR.spec").read_text().split()
        assert not (place / step / "POTCAR").exists()
    assert Incar.from_file(place / "elastic" / "INCAR")["IBRION"] == 6
    subprocess.run(["bash", "-n", str(place / "job.sh")], check=True)
    assert os.access(place / "job.sh", os.X_OK)


def test_vasp_job_joins_potcars_in_order(folder: Path, tmp_path: Path) -> None:
    place = export(folder, "vasp", output=tmp_path)[0].parents[1]
    symbols = (place / "relax" / "POTCAR.spec").read_text().split()
    for symbol in symbols:
        (tmp_path / "potcars" / symbol).mkdir(parents=True)
        (tmp_path / "potcars" / symbol / "POTCAR").write_text(f"{symbol}\n")
    fake = tmp_path / "vasp"
    fake.write_text("#!/bin/bash\ncp POSCAR CONTCAR\n")
    fake.chmod(0o755)
    environment = {**os.environ, "POTCARS": str(tmp_path / "potcars"), "VASP": str(fake), "LAUNCH": "env"}
    subprocess.run(["bash", str(place / "job.sh")], check=True, env=environment, cwd=place)
    assert (place / "elastic" / "POTCAR").read_text().split() == symbols


def test_espresso_inputs_reopen(folder: Path, tmp_path: Path) -> None:
    written = export(folder, "qe", output=tmp_path)
    inputs = [path for path in written if path.suffix == ".in"]
    for path in inputs:
        read = AseAtomsAdaptor.get_structure(ase_read(path, format="espresso-in"))
        assert MATCHER.fit(read, verified(folder, path.parent))
    for line in (inputs[0].parent / "pseudopotentials.txt").read_text().split():
        assert line in inputs[0].read_text()


RELAX_OUT = """     Forces acting on atoms

Begin final coordinates
     new unit-cell volume =    124.95 a.u.^3 (    18.51556 Ang^3 )
     density =      6.44318 g/cm^3

CELL_PARAMETERS (angstrom)
   3.300000000   0.000000000   0.000000000
   0.000000000   3.300000000   0.000000000
   0.000000000   0.000000000   1.700000000

ATOMIC_POSITIONS (angstrom)
Fe               0.0000000000        0.0000000000        0.0000000000
O                1.6500000000        1.6500000000        0.8500000000
End final coordinates
"""


def test_espresso_static_run_starts_from_the_relaxed_cell(tmp_path: Path) -> None:
    """The job script runs with a stand-in for pw.x; what its static step is given holds the relaxed cell."""
    oxide = Structure(Lattice.cubic(4.0), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    write_espresso_files(oxide, tmp_path, "FeO")
    stand_in = "#!/bin/bash\n[ $2 = relax.in ] && cat final || echo ran $2\n"
    (tmp_path / "pw.sh").write_text(stand_in)
    (tmp_path / "pw.sh").chmod(0o755)
    environment = {**os.environ, "LAUNCH": "env", "PW": "./pw.sh"}
    (tmp_path / "final").write_text("not converged")
    failed = subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "not converged" in failed.stderr
    (tmp_path / "final").write_text(RELAX_OUT)
    subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "static.out").read_text() == "ran static-relaxed.in\n"
    text = (tmp_path / "static-relaxed.in").read_text()
    assert text.count("CELL_PARAMETERS") == text.count("ATOMIC_POSITIONS") == 1
    assert "U Fe-3d 5.3" in text
    read = AseAtomsAdaptor.get_structure(ase_read(tmp_path / "static-relaxed.in", format="espresso-in"))
    assert read.lattice.abc == pytest.approx((3.3, 3.3, 1.7))
    assert read.frac_coords[1] == pytest.approx([0.5, 0.5, 0.5])


def test_espresso_has_spin_hubbard_and_the_largest_cutoff() -> None:
    oxide = Structure(Lattice.cubic(4.3), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    text = espresso_input(oxide, "scf", "FeO")
    assert "U Fe-3d 5.3" in text
    starts = [float(line.split("=")[1]) for line in text.splitlines() if "starting_magnetization" in line]
    assert starts == [0.5, 0.1]
    assert float(text.split("ecutwfc")[1].split("=")[1].split()[0]) == pseudopotential("Fe").wave_cutoff
    assert hubbard_card(["Fe", "C"]) == ""


def test_shortlists(folder: Path, tmp_path: Path) -> None:
    lines = tmp_path / "list.txt"
    lines.write_text("c000002\n# a comment\nc000000, the best\n")
    assert read_shortlist(lines) == ["c000002", "c000000"]
    table = tmp_path / "list.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["rank", "id"], ["1", "c000001"]])
    assert [p.name[:7] for p in export(folder, "cif", table, tmp_path / "out")] == ["c000001"]


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vasp'"):
        export(folder, "vas")
    lines = tmp_path / "list.txt"
    lines.write_text("c999999\n")
    with pytest.raises(ConfigError, match="no candidate 'c999999'"):
        export(folder, "cif", lines)
    lines.write_text("\n")
    with pytest.raises(ConfigError, match="names no candidate"):
        export(folder, "cif", lines)
    with pytest.raises(ConfigError, match="cannot be read"):
        export(folder, "cif", tmp_path / "none.txt")
    with pytest.raises(UnsupportedElementError, match="element Fm"):
        pseudopotential("Fm")
    empty = write_fake_run(tmp_path / "empty", [candidate(0, "screened_out")])
    with pytest.raises(RunFolderError, match="nothing was verified"):
        export(empty, "cif")


def test_a_chemiscope_file_holds_structures_and_properties_of_every_hit(folder: Path, tmp_path: Path) -> None:
    chemiscope = pytest.importorskip("chemiscope", reason="the extra chemiscope is not installed")
    (path,) = export(folder, "chemiscope", output=tmp_path)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        read = json.load(file)
    hits = [c for c in read_run(folder).candidates if c.status is Status.HIT]
    assert [s["size"] for s in read["structures"]] == [len(best_structure(c)) for c in hits]
    assert read["properties"]["id"]["values"] == [c.id for c in hits]
    values = read["properties"]["bulk modulus K, verified"]
    assert values["units"] == "GPa"
    assert values["values"] == [
        c.verification.values["bulk_modulus_vrh"].mean for c in hits if c.verification
    ]
    assert read["settings"]["map"]["x"]["property"] in read["properties"]
    assert chemiscope.__version__


def test_chemiscope_without_its_package_names_the_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chemiscope", None)
    with pytest.raises(MissingExtraError, match=r"inverse-crystals\[chemiscope\]"):
        export(folder, "chemiscope", output=tmp_path)
