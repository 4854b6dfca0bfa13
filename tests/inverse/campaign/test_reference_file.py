"""reference.json: written from the tables, read without them, refused where damaged."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.reference_file import REFERENCE_FILE, read_reference, reference_of, write_reference
from inverse.candidates.types import Candidate, HitClass, KnownPhase, Status
from inverse.reference.known_entries import entries_of, entry_of
from surrogates.errors import DataError, RunFolderError, UnsupportedElementError
from tests.inverse.report.fake_run import candidate


def tungsten_carbide() -> Candidate:
    structure = Structure(Lattice.hexagonal(2.906, 2.837), ["W", "C"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5]])
    made = candidate(1, "verified")
    assert made.verification is not None
    return replace(
        made,
        status=Status.HIT,
        hit_class=HitClass.KNOWN,
        known_phase=KnownPhase("mp-1894"),
        nearest_known="WC",
        verification=replace(made.verification, structure=structure),
    )


def test_what_is_written_fits_its_schema_and_reads_back(tmp_path: Path) -> None:
    made = [tungsten_carbide(), candidate(3, "predicted"), candidate(0, "screened_out")]
    written = write_reference(tmp_path, made)
    text = files("inverse.inputs").joinpath("schemas/reference.schema.json").read_text(encoding="utf-8")
    record = json.loads((tmp_path / REFERENCE_FILE).read_text())
    jsonschema.Draft202012Validator(json.loads(text)).validate(record)
    assert read_reference(tmp_path) == written
    assert set(written.around) == {made[0].id}, "only what has a verdict is looked up"
    known = written.around[made[0].id].known_as
    assert known is not None
    assert (known.database_id, known.space_group, known.basis) == ("mp-1894", 187, "measured")
    assert "Vickers hardness" in known.measured
    assert known.url.endswith("/mp-1894")


def test_phases_of_a_system_lie_on_their_hull_or_above() -> None:
    """C-W: WC is the one compound on the hull; graphite and tungsten are its ends."""
    phases = {phase.formula: phase for phase in reference_of([tungsten_carbide()]).systems["C-W"]}
    assert {name for name, phase in phases.items() if phase.above_hull == 0.0} >= {"WC", "C", "W"}
    assert all(phase.above_hull <= 0.1 for phase in phases.values())


def test_measured_entries_come_first_and_unknown_formulas_have_none() -> None:
    cubic = entry_of("BN")
    assert cubic is not None
    assert (cubic.basis, cubic.space_group) == ("measured", 216)
    assert entry_of("W17C3N5") is None
    lowest = [entry.energy for entry in entries_of("SiO2") if entry.energy is not None]
    assert lowest == sorted(lowest)
    assert len(lowest) > 3
    with pytest.raises(UnsupportedElementError, match="not a chemical formula"):
        entry_of("Qq2")


@pytest.mark.parametrize(
    ("formula", "basis", "measured"),
    [
        ("TiB2", "measured", "Vickers hardness 26 GPa at 9.8 N"),
        ("Ag2GeS3", "measured", "band gap 1.98 eV"),
        ("B4W", "measured", "Vickers hardness"),  # no crystal of it is carried
        ("BN", "measured", "Vickers hardness"),
        ("W", "measured", ""),  # an element, whichever table its crystal is of
        ("TaRu", "computed", ""),
    ],
)
def test_whose_formula_a_table_of_measurements_holds_was_measured(
    formula: str, basis: str, measured: str
) -> None:
    found = entry_of(formula)
    assert found is not None
    assert found.basis == basis
    assert measured in found.measured
    assert bool(measured) == bool(found.measured)


def test_one_polymorph_known_as_measured_says_nothing_of_the_others() -> None:
    """Cubic BN was measured; that h-BN was, too, no carried table says."""
    bases = {entry.space_group: entry.basis for entry in entries_of("BN")}
    assert bases[216] == "measured"
    assert bases[194] == "computed"


def test_an_older_folder_has_none_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_reference(tmp_path) is None
    path = tmp_path / REFERENCE_FILE
    write_reference(tmp_path, [tungsten_carbide()])
    record = json.loads(path.read_text())
    known = record["candidates"]["c000001"]["known_as"]
    for broken in ("{", json.dumps({**record, "candidates": {"c000001": {}}})):
        path.write_text(broken)
        with pytest.raises(DataError, match="damaged"):
            read_reference(tmp_path)
    known["database_id"] = "javascript:alert(1)"
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="damaged"):
        read_reference(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"reference\.json: cannot be written"):
        write_reference(tmp_path / "gone", [])
