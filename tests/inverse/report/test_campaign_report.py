"""What a real campaign (on stand-in judges) leaves behind is what the report and the schemas expect."""

import csv
import json
from importlib.resources import files
from pathlib import Path

import jsonschema

from inverse.campaign.candidate_table import columns, shown_properties
from inverse.campaign.run import read_run
from inverse.report.export import export
from inverse.report.page import build_report
from tests.fakes import campaign


def test_report_of_a_campaign(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with campaign(folder, budget={"verifications": 4}) as run:
        run.run()
    schema = json.loads(files("inverse.inputs").joinpath("schemas/manifest.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads((folder / "manifest.json").read_text()))
    done = read_run(folder)
    assert build_report(folder).stat().st_size > 20_000
    with (folder / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [c.id for c in done.candidates]
    assert list(rows[0]) == columns(shown_properties(done.candidates, done.config))
    for row in rows:
        assert not row["cif"] or (folder / row["cif"]).is_file()
    assert export(folder, "cif")
