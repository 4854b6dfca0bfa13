"""Order or solid solution at the end of a campaign: who is asked, what is kept, when it is left out."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from inverse.campaign.ordering import MOST_HITS, hits_that_may_mix, with_order
from inverse.campaign.run import read_run
from inverse.candidates.types import (
    Candidate,
    HullMargin,
    Origin,
    Status,
    StructureType,
    TypeNovelty,
    Verification,
    VerifiedValue,
)
from inverse.inputs.records import candidate_from_record, candidate_to_record
from inverse.report.page import render
from inverse.report.views import margin_text
from inverse.verification.ladder import ENERGY_PER_ATOM
from inverse.verification.opening import open_pool
from inverse.verification.panel import panel_named
from inverse.verification.plan import VerificationPlan
from tests import crystals
from tests.fakes import CONFIG
from tests.inverse.campaign.test_campaign import Cells, Clock, Timed, opened, search

COORDS = [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.75]]


def crystal(species: Sequence[str] = ("W", "Ti", "C", "C")) -> Structure:
    return Structure(Lattice.hexagonal(2.9, 5.6), list(species), COORDS)


def hit(k: int, structure: Structure, score: float = 0.5) -> Candidate:
    verdict = Verification("judge", True, structure=structure, is_stable=True)
    return Candidate(f"c{k:06d}", structure, "test", k, status=Status.HIT, verification=verdict, score=score)


class Judge:
    """The ordered crystal lies so far below random ones, eV/atom; those at some positions fail."""

    def __init__(self, worth: float, failing: Sequence[int] = (), n_before_stop: int = 100) -> None:
        self.worth, self.failing, self.n_before_stop = worth, failing, n_before_stop
        self.asked: list[int] = []

    def __call__(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        self.asked.append(len(structures))
        for position in reversed(range(len(structures))):  # as a pool may answer
            if should_stop() or len(structures) - position > self.n_before_stop:
                return
            energy = -8.0 if position == 0 else -8.0 + self.worth
            value = VerifiedValue(energy, 0.0, energy, energy, energy, "judge", "eV/atom")
            failed = Verification("judge", False, "stalled")
            done = Verification("judge", True, values={ENERGY_PER_ATOM: value})
            yield position, failed if position in self.failing else done


@pytest.mark.parametrize(("worth", "is_mixed"), [(0.01, True), (0.05, False), (-0.01, True)])
def test_an_order_of_known_worth(worth: float, is_mixed: bool) -> None:
    judge = Judge(worth)
    done = with_order(hit(1, crystal()), judge)
    assert done.order is not None
    # k ln 2 on half of the atoms
    assert done.order.temperature == pytest.approx(worth / (8.617333e-5 * 0.5 * 0.6931472), rel=1e-5)
    assert done.order.is_solid_solution is is_mixed
    assert judge.asked == [9], "at most ten relaxations"
    assert candidate_from_record(json.loads(json.dumps(candidate_to_record(done)))).order == done.order


def test_failures_and_a_stop() -> None:
    done = with_order(hit(1, crystal()), Judge(0.02, failing=(1, 2)))
    assert done.order is not None
    assert done.order.n == 6
    done = with_order(hit(1, crystal()), Judge(0.02, failing=(0,)))
    assert done.order is not None
    assert done.order.reason
    assert not done.order.is_solid_solution
    assert with_order(hit(1, crystal()), Judge(0.02, n_before_stop=4)).order is None


def test_only_hits_with_alike_elements_are_asked_about_best_first() -> None:
    hits = [hit(k, crystal(), 0.01 * k) for k in range(MOST_HITS + 3)]
    alone = hit(50, crystal(("W", "W", "C", "C")), 0.9)
    missed = replace(hit(51, crystal(), 0.95), status=Status.VERIFIED)
    done = with_order(hit(52, crystal(), 0.8), Judge(0.02))
    found = hits_that_may_mix([*hits, alone, missed, done])
    assert [c.score for c in found[:2]] == pytest.approx([0.22, 0.21])
    assert len(found) == MOST_HITS - 2


class Alike(Cells):
    def proposal(self, step: int, k: int, origin: Origin) -> Any:
        found = super().proposal(step, k, origin)
        metals = [("W", "Ti"), ("W", "Mo"), ("Ti", "Nb")][k % 3]
        return replace(found, structure=crystal((*metals, "C", "C")))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_campaign_asks_at_its_end_unless_it_is_switched_off(tmp_path: Path, wanted: bool) -> None:
    judge = Judge(0.01)
    margin = HullMargin("WC", 0.04, {"WC": 0.04, "C": 0.5})

    def change(parts: Any) -> Any:
        named = StructureType(TypeNovelty.KNOWN, "CrB type")
        ask = judge if wanted else None
        return replace(parts, relax_each=ask, margin=lambda c: margin, type_of=lambda cells: named)

    cells = Alike(search(3))
    with opened(tmp_path / "run", cells, Timed(Clock()), change, budget={"verifications": 3}) as run:
        run.run()
    found = read_run(tmp_path / "run")
    hits = [c for c in found.candidates if c.status is Status.HIT]
    assert len(hits) > 0
    assert [c.order is not None for c in hits] == [wanted] * len(hits)
    assert all(c.hull_margin == margin for c in hits)
    assert len(judge.asked) == (len(hits) if wanted else 0)
    page = render(found)
    assert ("expect a solid solution" in page) is wanted
    assert margin_text(margin) == "off the hull once WC 0.040 eV/atom lower, or C 0.500"
    table = (tmp_path / "run" / "candidates.csv").read_text().splitlines()
    row = dict(zip(table[0].split(","), table[1].split(","), strict=False))
    assert bool(row["order_temperature"]) is wanted
    assert (row["hull_margin"], row["binding_phase"]) == ("0.04", "WC")
    assert (row["structure_type"], row["type_name"]) == ("known", "CrB type")
    assert "known type: CrB type" in page


def test_the_switch_leaves_the_hash_of_older_folders() -> None:
    from inverse.campaign.manifest import config_hash
    from inverse.inputs.campaign_config import CampaignConfig

    plain = CampaignConfig.from_mapping(CONFIG)
    off = CampaignConfig.from_mapping({**CONFIG, "verify": {"orderings": False}})
    assert plain.verify.orderings
    assert config_hash(plain) == config_hash(off)


def test_relaxations_come_from_the_store(tmp_path: Path) -> None:
    plan = VerificationPlan(
        panel_named("tests.stand_in_potential:pairwise"), store=str(tmp_path / "store.db")
    )
    structures = [crystals.fcc("Cu"), crystals.fcc("Ni", 3.5)]
    with open_pool(plan, 1) as pool:
        first = dict(pool.relax_each(structures))
        with sqlite3.connect(tmp_path / "store.db") as store:
            for key, text in store.execute("SELECT key, result FROM verification").fetchall():
                told = json.loads(text)
                if "energy" in told:
                    changed = json.dumps(told | {"energy": told["energy"] + 1.0})
                    store.execute("UPDATE verification SET result = ? WHERE key = ?", (changed, key))
        again = dict(pool.relax_each(structures))
    assert all(verdict.converged for verdict in first.values()), [v.reason for v in first.values()]
    assert list(first[0].values) == [ENERGY_PER_ATOM]
    for position in first:
        before, after = (found[position].values[ENERGY_PER_ATOM].mean for found in (first, again))
        assert after == pytest.approx(before + 1.0), "what the store says, not a relaxation made again"
        assert [stage.name for stage in again[position].ladder] == ["relaxed"]
