"""Other functionals at the end of a campaign: who is asked, what is kept, when it is left out."""

import csv
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Structure

from inverse.campaign.functionals import hits_without_functionals, with_functionals
from inverse.campaign.manifest import config_hash
from inverse.campaign.run import read_run
from inverse.candidates.types import FunctionalHull, Status
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.records import candidate_from_record, candidate_to_record
from tests.fakes import CONFIG
from tests.inverse.campaign.test_campaign import Cells, Clock, Timed, opened, search
from tests.inverse.campaign.test_ordering import crystal, hit

FOUND = {
    "pbe": FunctionalHull("7net-mf-0-pbe", 0.031),
    "r2scan": FunctionalHull(
        "7net-mf-0-r2scan", reason="TiC, which it competes with, is not relaxed: stalled"
    ),
}


class Asked:
    def __init__(self, n_before_stop: int = 100) -> None:
        self.structures: list[Structure] = []
        self.left = n_before_stop

    def __call__(
        self, structure: Structure, should_stop: Callable[[], bool]
    ) -> Mapping[str, FunctionalHull] | None:
        if should_stop() or not self.left:
            return None
        self.left -= 1
        self.structures.append(structure)
        return FOUND


def run(folder: Path, ask: Asked | None) -> list[dict[str, str]]:
    cells = Cells(search(3))
    change = lambda parts: replace(parts, functionals=ask)
    with opened(folder, cells, Timed(Clock()), change, budget={"verifications": 3}) as campaign:
        campaign.run()
    with (folder / "candidates.csv").open() as file:
        return list(csv.DictReader(file))


def test_hits_get_their_columns_and_nobody_else(tmp_path: Path) -> None:
    ask = Asked()
    rows = run(tmp_path / "run", ask)
    hits = [row for row in rows if row["status"] == "hit"]
    assert len(ask.structures) == len(hits) > 0
    for row in rows:
        shown = tuple(row[f"hull_mf_{name}"] for name in ("pbe", "r2scan", "reason"))
        because = "7net-mf-0-r2scan: TiC, which it competes with, is not relaxed: stalled"
        assert shown == (("0.031", "", because) if row in hits else ("", "", ""))
    again = Asked()
    assert run(tmp_path / "run", again) == rows
    assert again.structures == []


def test_without_the_wish_or_the_time_nobody_is_asked(tmp_path: Path) -> None:
    assert {row["hull_mf_pbe"] for row in run(tmp_path / "off", None)} == {""}
    rows = run(tmp_path / "late", Asked(n_before_stop=1))
    assert [row["hull_mf_pbe"] for row in rows].count("0.031") == 1
    more = Asked()
    assert [row["hull_mf_pbe"] for row in run(tmp_path / "late", more)].count("0.031") > 1
    assert (
        len(more.structures)
        == sum(c.status is Status.HIT for c in read_run(tmp_path / "late").candidates) - 1
    )


def test_who_is_asked_and_what_is_kept() -> None:
    first, second = hit(0, crystal(), 0.2), hit(1, crystal(), 0.8)
    done = with_functionals(first, Asked())
    assert done.functionals == FOUND
    assert hits_without_functionals([done, first, replace(second, status=Status.VERIFIED)]) == [first]
    assert [c.id for c in hits_without_functionals([first, second])] == [second.id, first.id]
    assert with_functionals(first, Asked(0)) is first
    kept = candidate_from_record(candidate_to_record(done)).functionals
    assert kept["pbe"] == FOUND["pbe"]
    assert (math.isnan(kept["r2scan"].above_hull), kept["r2scan"].reason) == (True, FOUND["r2scan"].reason)
    assert not candidate_from_record(candidate_to_record(first)).functionals


@pytest.mark.parametrize("wish", [{"functionals": True}, {"second_opinion": "none"}])
def test_what_is_asked_last_leaves_the_hash_of_older_folders(wish: dict[str, Any]) -> None:
    plain, asked = (CampaignConfig.from_mapping({**CONFIG, "verify": verify}) for verify in ({}, wish))
    assert not plain.verify.functionals
    assert config_hash(plain) == config_hash(asked)
