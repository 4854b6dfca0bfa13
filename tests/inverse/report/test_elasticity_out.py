"""Tensor and averages of what was verified, in the table and in the ASE database."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.db import connect
from pymatgen.analysis.elasticity import ElasticTensor

from inverse.campaign.ase_database import AseDatabase
from inverse.campaign.candidate_table import write_candidates_csv
from inverse.candidates.elastic_constants import COLUMNS, CONSTANTS
from inverse.candidates.types import Candidate
from inverse.inputs.campaign_config import CampaignConfig
from inverse.verification.judge import TensorVerdict
from inverse.verification.mechanics.elastic_summary import elastic_summary
from tests.inverse.report.fake_run import CONFIG, candidate

TENSOR = np.diag([500.0, 500.0, 500.0, 180.0, 180.0, 180.0])
TENSOR[:3, :3] += 120.0 * (1 - np.eye(3))


@pytest.fixture(scope="module")
def made() -> list[Candidate]:
    plain = candidate(0, "verified")
    verification = plain.verification
    assert verification is not None
    assert verification.structure is not None
    rows = tuple(map(tuple, TENSOR))
    verdict = TensorVerdict("diep", 246.7, 184.0, is_stable=True, relaxed=rows, clamped=rows)
    summary = elastic_summary(verdict, verification.structure, verification.values)
    flags = ("amplitude_dependent", "weak_ground: layered")
    with_tensor = replace(plain, verification=replace(verification, elasticity=summary, flags=flags))
    return [with_tensor, replace(candidate(1, "verified"), id="c000099"), candidate(2, "predicted")]


def test_the_table_has_every_number_of_the_tensor(made: list[Candidate], tmp_path: Path) -> None:
    path = write_candidates_csv(made, CampaignConfig.from_mapping(CONFIG), tmp_path / "candidates.csv")
    with path.open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    row = rows[made[0].id]
    theirs = ElasticTensor.from_voigt(TENSOR)
    assert float(row["elastic_c11"]) == 500.0
    assert float(row["elastic_c12"]) == 120.0
    assert float(row["elastic_shear_modulus_voigt"]) == pytest.approx(theirs.g_voigt, rel=1e-5)
    assert float(row["elastic_bulk_modulus_reuss"]) == pytest.approx(theirs.k_reuss, rel=1e-5)
    assert float(row["elastic_cauchy_pressure"]) == pytest.approx(-60.0)
    assert row["elastic_potential"] == "diep"
    assert row["flags"] == "amplitude_dependent; weak_ground: layered"
    for other in ("c000099", made[2].id):
        assert not any(rows[other][name] for name in COLUMNS)


def test_the_ase_database_has_them_too(made: list[Candidate], tmp_path: Path) -> None:
    AseDatabase(tmp_path / "candidates.db").write(made)
    database = connect(tmp_path / "candidates.db")
    row = database.get(candidate=made[0].id)
    assert row.elastic_c44 == 180.0
    assert row.elastic_universal_anisotropy >= 0.0
    np.testing.assert_allclose(row.data["elastic_tensor"], TENSOR, atol=1e-6)
    assert [r.candidate for r in database.select("elastic_c44>100")] == [made[0].id]
    other = database.get(candidate="c000099")
    assert not set(CONSTANTS) & set(other.key_value_pairs)
    assert "elastic_tensor" not in other.data
