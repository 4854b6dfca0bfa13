"""Wherever a person reads a formula of a run it is a chemist's; machine files keep pymatgen's beside it."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from ase.db import connect
from pymatgen.core import Lattice, Structure
from rich.console import Console

from inverse.campaign.ase_database import AseDatabase
from inverse.campaign.candidate_table import write_candidates_csv, write_cifs
from inverse.campaign.run import read_run
from inverse.candidates.types import Candidate
from inverse.decoders.cif_writer import cif_text
from inverse.decoders.sampling import Sample, write_samples
from inverse.report.console import summary_of
from inverse.report.export import export
from inverse.report.page import build_report
from inverse.report.views import shown_formula
from tests.inverse.report.fake_run import candidate, write_fake_run


def crystal(*species: str) -> Structure:
    n = len(species)
    return Structure(Lattice.cubic(4.0 + n), species, [[k / n, k / n, (k * k % n) / n] for k in range(n)])


def with_structure(k: int, structure: Structure) -> Candidate:
    made = candidate(k, "verified")
    assert made.verification is not None
    verdict = replace(made.verification, structure=structure)
    return replace(made, structure=structure, verification=verdict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crystals = [crystal("B", "W"), crystal("Ca", "O", "O", "H", "H"), crystal("In", "F"), crystal("Te", "Pb")]
    made = [with_structure(k, s) for k, s in zip((0, 1, 2, 3), crystals, strict=True)]
    path = write_fake_run(tmp_path_factory.mktemp("runs") / "run", made)
    AseDatabase(path / "candidates.db").write(made)
    write_candidates_csv(made, read_run(path).config, path / "candidates.csv")
    write_cifs(made, path)
    return path


def test_the_table_has_both_spellings(folder: Path) -> None:
    with (folder / "candidates.csv").open(newline="") as file:
        rows = {row["id"]: (row["formula"], row["formula_display"]) for row in csv.DictReader(file)}
    assert rows["c000000"] == ("BW", "WB")
    assert rows["c000001"] == ("Ca(HO)2", "Ca(OH)2")
    assert rows["c000003"] == ("TePb", "PbTe")


def test_the_database_has_a_name_even_where_ase_would_read_a_number(folder: Path) -> None:
    names = {row.candidate: row.name for row in connect(folder / "candidates.db").select()}
    assert names == {"c000000": "WB", "c000001": "Ca(OH)2", "c000002": "In1F1", "c000003": "PbTe"}


def test_cifs_are_named_in_letters_and_digits(folder: Path) -> None:
    text = (folder / "cifs" / "c000001.cif").read_text()
    assert "\ndata_CaO2H2\n" in text
    assert "_chemical_formula_structural   Ca(OH)2\n" in text
    assert Structure.from_file(folder / "cifs" / "c000001.cif").composition.reduced_formula == "Ca(HO)2"
    assert "\ndata_WB\n" in cif_text(crystal("B", "W"))


def test_terminal_and_page_say_what_a_chemist_says(folder: Path) -> None:
    console = Console(width=160, file=io.StringIO())
    console.print(summary_of(read_run(folder)))
    shown = console.file.getvalue()
    page = build_report(folder).read_text()
    for text, plain in ((shown, str), (page, markup)):
        assert plain("WB") in text
        assert plain("Ca(OH)2") in text
        assert "TePb" not in text
        assert "BW" not in text


def markup(formula: str) -> str:
    return formula.replace("2", "<sub>2</sub>")


def test_exported_folders_are_plain(folder: Path, tmp_path: Path) -> None:
    written = export(folder, "cif", folder / "candidates.csv", tmp_path)
    assert {path.name for path in written} >= {"c000000_WB.cif", "c000001_CaO2H2.cif", "c000003_PbTe.cif"}


def test_samples_have_both_spellings(tmp_path: Path) -> None:
    assert write_samples([Sample(crystal("B", "W"), 1, -1.0)], tmp_path / "out") == 1
    with (tmp_path / "out" / "samples.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["formula"], row["formula_display"]) == ("BW", "WB")
    assert "\ndata_WB\n" in (tmp_path / "out" / row["cif"]).read_text()


def test_remarks_in_place_of_a_formula_stay() -> None:
    assert shown_formula("B4MoW3") == "MoW3B4"
    assert shown_formula("unknown (spglib finds no symmetry)") == "unknown (spglib finds no symmetry)"
