"""candidates.csv and cifs/: the contract's columns, one row per candidate, files that reopen."""

import csv
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from inverse.campaign.candidate_table import (
    best_structure,
    potentials,
    ranked,
    write_candidates_csv,
    write_cifs,
    write_table,
)
from inverse.candidates.elastic_constants import COLUMNS
from inverse.candidates.types import Candidate, Status
from inverse.inputs.campaign_config import CampaignConfig
from surrogates.errors import RunFolderError
from tests.inverse.report.fake_run import CONFIG, candidates

PROPERTIES = [
    "bulk_modulus_vrh",
    "shear_modulus_vrh",
    "energy_above_hull",
    "density",
    "formation_energy_per_atom",
]
BOOLEANS = {"true": True, "false": False}


@pytest.fixture(scope="module")
def made() -> list[Candidate]:
    return candidates(20, 4, 6)


@pytest.fixture(scope="module")
def rows(made: list[Candidate], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("table") / "candidates.csv"
    write_candidates_csv(made, CampaignConfig.from_mapping(CONFIG), path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_the_contract_in_order(rows: list[dict[str, str]]) -> None:
    first = "rank id formula formula_display chemical_system space_group n_atoms status hit_class score"
    first += " probability_target_met"
    last = (
        "energy_above_hull is_known nearest_known derivative_of duplicate_of parent_prototype reason "
        "flags potential cif"
    )
    middle = [
        f"{prefix}_{name}{suffix}"
        for name in PROPERTIES
        for prefix, suffix in (
            ("predicted", ""),
            ("predicted", "_std"),
            ("verified", ""),
            ("verified", "_std"),
            ("verified", "_raw"),
        )
    ]
    assert list(rows[0]) == [
        *first.split(),
        "probability_after",
        *middle,
        *last.split(),
        *COLUMNS,
        "known_phase",
        "confirmed",
        "structure_type",
        "type_name",
        "order_temperature",
        "order_temperature_std",
        "hull_margin",
        "binding_phase",
        "hull_mf_pbe",
        "hull_mf_r2scan",
        "hull_mf_reason",
    ]
    assert COLUMNS[:3] == (
        "elastic_bulk_modulus_voigt",
        "elastic_bulk_modulus_reuss",
        "elastic_bulk_modulus_hill",
    )
    assert COLUMNS[9:11] == ("elastic_c11", "elastic_c12")
    assert COLUMNS[-2:] == ("elastic_c66", "elastic_potential")


def test_verified_first_with_ranks_then_the_others(rows: list[dict[str, str]], made: list[Candidate]) -> None:
    assert len(rows) == len(made)
    n = sum(c.status in (Status.HIT, Status.VERIFIED) for c in made)
    assert [row["rank"] for row in rows] == [str(k) for k in range(1, n + 1)] + [""] * (len(made) - n)
    assert all(row["status"] in ("hit", "verified") for row in rows[:n])
    scores = [float(row["score"]) for row in rows[:n]]
    assert scores == sorted(scores, reverse=True)
    order = ["failed", "predicted", "screened_out"]
    rest = [order.index(row["status"]) for row in rows[n:]]
    assert rest == sorted(rest)


def test_values_are_those_of_the_candidate(rows: list[dict[str, str]], made: list[Candidate]) -> None:
    by_id = {c.id: c for c in made}
    for row in rows:
        candidate = by_id[row["id"]]
        verification = candidate.verification
        if verification is None or not verification.converged:
            assert row["verified_bulk_modulus_vrh"] == ""
            continue
        value = verification.values["bulk_modulus_vrh"]
        assert float(row["verified_bulk_modulus_vrh"]) == pytest.approx(value.mean, rel=1e-5)
        assert float(row["verified_bulk_modulus_vrh_raw"]) == pytest.approx(value.raw, rel=1e-5)
        hull = verification.values["energy_above_hull"].mean
        assert float(row["energy_above_hull"]) == pytest.approx(hull, rel=1e-5)
        assert row["is_known"] == str(row["hit_class"] == "known").lower()


def parsed(row: dict[str, str]) -> dict[str, object]:
    schema = json.loads(files("inverse.inputs").joinpath("schemas/candidates_row.schema.json").read_text())
    values: dict[str, object] = {}
    for name, text in row.items():
        kind = schema["properties"].get(name, {"type": ["number", "null"]}).get("type", "string")
        if text == "" and name not in ("id", "formula"):
            values[name] = None
        elif text in BOOLEANS:
            values[name] = BOOLEANS[text]
        elif "integer" in kind:
            values[name] = int(text)
        elif "number" in kind:
            values[name] = float(text)
        else:
            values[name] = text
    return values


def test_rows_fit_the_schema(rows: list[dict[str, str]]) -> None:
    schema = json.loads(files("inverse.inputs").joinpath("schemas/candidates_row.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for row in rows:
        validator.validate(parsed(row))


def test_a_row_of_a_damaged_folder_is_named_and_the_table_stays(tmp_path: Path) -> None:
    path = tmp_path / "candidates.csv"
    path.write_text("as it was")
    with pytest.raises(RunFolderError, match=r"campaign\.db is damaged \(a row with column 'predictad_x'\)"):
        write_table([{"id": "c000001", "status": "hit", "predictad_x": "1"}], [], path)
    assert path.read_text() == "as it was"


def test_nan_scores_rank_last_and_leave_the_cell_empty(tmp_path: Path, made: list[Candidate]) -> None:
    verified = [c for c in made if c.status is Status.VERIFIED]
    broken = replace(verified[0], score=float("nan"), probability_after=None, probability_target_met=None)
    order = ranked([broken, *verified[1:]])
    assert order[-1].id == broken.id
    path = write_candidates_csv([broken], CampaignConfig.from_mapping(CONFIG), tmp_path / "c.csv")
    with path.open(newline="") as file:
        assert next(csv.DictReader(file))["score"] == ""


def test_empty_runs_still_have_a_header(tmp_path: Path) -> None:
    path = write_candidates_csv([], CampaignConfig.from_mapping(CONFIG), tmp_path / "c.csv")
    assert path.read_text().startswith("rank,id,formula")


@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF:UserWarning")  # thirds are rounded
def test_cifs_reopen_to_the_same_structure(tmp_path: Path, made: list[Candidate]) -> None:
    written = {path.stem: path for path in write_cifs(made, tmp_path)}
    matcher = StructureMatcher(ltol=1e-4, stol=1e-4, angle_tol=0.01, scale=False, primitive_cell=False)
    for candidate in made:
        if candidate.status is Status.SCREENED_OUT:
            assert candidate.id not in written
            continue
        wanted, read = best_structure(candidate), Structure.from_file(written[candidate.id])
        assert matcher.fit(wanted, read)
        assert read.volume == pytest.approx(wanted.volume, rel=1e-7)


def test_unwritable_places_are_named(tmp_path: Path, made: list[Candidate]) -> None:
    with pytest.raises(RunFolderError, match=r"c\.csv: cannot be written"):
        write_candidates_csv(made, CampaignConfig.from_mapping(CONFIG), tmp_path / "none" / "c.csv")
    (tmp_path / "cifs").write_text("a file where the folder should be")
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_cifs(made, tmp_path)


def test_each_potential_is_named_once() -> None:
    """Derived values name both potentials they come from."""
    one = candidates(1, 0, 0)[0]
    assert one.verification is not None
    values = {
        name: replace(one.verification.values["bulk_modulus_vrh"], potential=potential)
        for name, potential in (("a", "7net-l3i5"), ("b", "diep"), ("c", "7net-l3i5+diep"))
    }
    both = replace(one, verification=replace(one.verification, values=values))
    assert potentials(both) == "7net-l3i5+diep"
