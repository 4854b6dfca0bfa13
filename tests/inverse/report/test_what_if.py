"""What a page carries for moving bounds, citing and shortlisting."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from inverse.campaign.run import read_run
from inverse.candidates.ranking import has_met
from inverse.candidates.types import FunctionalHull, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.report.cited_works import all_works, works_of
from inverse.report.export import choose, read_shortlist
from inverse.report.page import in_script
from inverse.report.trust import trust_lines
from inverse.report.what_if import what_if_record
from surrogates.errors import ConfigError
from tests.inverse.report.fake_run import candidates, write_fake_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("runs") / "run", candidates(30, 3, 3))


def test_what_the_page_carries_decides_who_met_everything(folder: Path) -> None:
    """The rule of the page's script, in Python: every bound is met by the judges' values."""
    run = read_run(folder)
    record = what_if_record(run)
    names = [target["name"] for target in record["targets"]]
    assert names == ["bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"]
    by_id = {c.id: c for c in run.candidates}
    assert {c.id for c in run.candidates if c.status is Status.HIT} <= {c["id"] for c in record["candidates"]}
    for one in record["candidates"]:
        met = all(
            (t["lower"] is None or one["values"][t["name"]] >= t["lower"])
            and (t["upper"] is None or one["values"][t["name"]] <= t["upper"])
            for t in record["targets"]
        )
        assert met == has_met(by_id[one["id"]])
    assert "K 3" in next(one["shown"] for one in record["candidates"] if one["hit"])


def test_the_config_that_a_page_saves_can_be_read(folder: Path) -> None:
    text = what_if_record(read_run(folder))["config"]
    assert "  bulk_modulus_vrh: {min: 300.0}" in text.splitlines(), "what the script replaces"
    again = CampaignConfig.from_mapping(yaml.safe_load(text.replace("{min: 300.0}", "{min: 320}")))
    assert again.targets[0].minimum == 320


def test_texts_within_a_script_cannot_end_it() -> None:
    text = "</script><script>alert(1)</script>\u2028<!--"
    written = in_script({"name": text})
    assert "<" not in written
    assert json.loads(written)["name"] == text


def test_every_work_has_a_licence_and_an_entry() -> None:
    keys = [work.key for work in all_works()]
    assert len(keys) == len(set(keys))
    for work in all_works():
        assert work.licence
        assert work.url
        assert work.bibtex.startswith("@")
        assert work.bibtex.count("{") == work.bibtex.count("}")
        assert {"author", "title", "year"} <= set(work.entry)


def test_a_run_cites_the_potentials_that_it_used_and_no_others(folder: Path) -> None:
    cited = {work.key for work in works_of(read_run(folder))}
    assert {"park2024", "tawfik2024", "jain2013", "ong2013"} <= cited
    assert not {"deng2023", "mortensen2024", "togo2023", "kim2025"} & cited


def test_a_run_that_asked_other_functionals_cites_their_network(folder: Path) -> None:
    run = read_run(folder)
    asked = replace(run.candidates[0], functionals={"pbe": FunctionalHull("7net-mf-0-pbe", 0.02)})
    cited = {work.key for work in works_of(replace(run, candidates=(asked, *run.candidates[1:])))}
    assert "kim2025" in cited


def test_how_far_to_trust_names_judges_and_what_was_not_asked(folder: Path) -> None:
    said = dict(trust_lines(read_run(folder)))
    assert "K, E_hull by 7net-l3i5; G by diep" in said["judges"]
    assert "was not asked" in said["referee"]
    assert "none of them was computed by DFT" in said["first principles"]
    assert "K +" in said["optimism"]


def test_the_shortlist_of_a_page_chooses_what_is_exported(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "shortlist.json"
    listed = [{"id": "c000003", "formula": "x", "comment": "first"}, {"id": "c000001", "comment": "a, b # c"}]
    path.write_text(json.dumps({"format": "inverse shortlist", "version": 1, "candidates": listed}, indent=2))
    assert read_shortlist(path) == ["c000003", "c000001"]
    assert [c.id for c in choose(read_run(folder), path)] == ["c000003", "c000001"]
    for broken in ('{"candidates": [{}]}', "{", '{"candidates": 3}'):
        path.write_text(broken)
        with pytest.raises(ConfigError, match="is no shortlist as the report exports it"):
            read_shortlist(path)
