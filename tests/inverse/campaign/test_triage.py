"""The triage of a campaign on stand-ins: a surrogate that knows no energies, a potential that does."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from pymatgen.core import Structure

from inverse.campaign.campaign import Campaign
from inverse.campaign.manifest import config_hash
from inverse.campaign.parts import Parts
from inverse.campaign.run import read_run
from inverse.campaign.run_folder import read_candidates
from inverse.candidates.ladder import candidate_ladder
from inverse.candidates.objective import Objective
from inverse.candidates.types import Breach, Candidate, Failure, Rule, Status, Triaged, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.correction import CorrectedSurrogate
from inverse.prediction.evaluation import Evaluator
from inverse.report.page import build_report
from inverse.report.summary import funnel
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import FORMATION_ENERGY, Property
from surrogates.protocol import Prediction
from tests.fakes import CONFIG, AnalyticSurrogate, AnalyticVerifier, parts
from tests.fakes import prediction as predicted

WIDER = {"elements": {"only": ["W", "Ta", "Ti", "Al", "B", "C", "N", "O", "Si", "V"]}, "n_atoms": {"max": 8}}

STABLE_ONLY = {**CONFIG, "targets": {"energy_above_hull": {"max": 0.1}}}


def true_energy(structure: Structure) -> float:
    """A third of the pairs is stable; the others lie far above the hull, which lies at 0."""
    return 0.02 if sum(e.Z for e in structure.composition.elements) % 3 == 0 else 0.45


class KnowsNoEnergies(AnalyticSurrogate):
    def predict(self, crystals: CrystalBatch, properties: Sequence[Property]) -> dict[Property, Prediction]:
        found = super().predict(crystals, properties)
        if FORMATION_ENERGY in found:
            one = predicted(FORMATION_ENERGY, torch.full((crystals.n_crystals,), 0.05))
            found[FORMATION_ENERGY] = replace(one, std=torch.full_like(one.std, 0.2))
        return found


class TrueVerifier(AnalyticVerifier):
    def __init__(self) -> None:
        super().__init__()
        self.started: list[Structure] = []

    def verdict(self, structure: Structure) -> Verification:
        self.started.append(structure)
        found = super().verdict(structure)
        true = true_energy(structure)
        energies = ("energy_above_hull", "formation_energy_per_atom")
        values = {k: replace(v, mean=true) if k in energies else v for k, v in found.values.items()}
        return replace(found, values=MappingProxyType(values))


class KilledError(Exception):
    """Stands for whatever ends a process."""


class KnowsEnergies:
    """Relaxes by taking a tenth off every length; `dies_at` ends the process at that group."""

    potential = "stand-in"

    def __init__(self, dies_at: int = 0) -> None:
        self.looked_at = self.relaxed = self.n_groups = 0
        self.dies_at = dies_at

    def look(self, structures: Sequence[Structure]) -> list[Triaged]:
        self._group()
        self.looked_at += len(structures)
        return [replace(self._one(s), std=0.2, structure=None) for s in structures]

    def relax(self, structures: Sequence[Structure]) -> list[Triaged]:
        self._group()
        self.relaxed += len(structures)
        return [self._one(s) for s in structures]

    def _group(self) -> None:
        self.n_groups += 1
        if self.n_groups == self.dies_at:
            raise KilledError("the power went")

    def _one(self, structure: Structure) -> Triaged:
        relaxed = structure.copy()
        relaxed.scale_lattice(0.9**3 * structure.volume)
        return Triaged(self.potential, true_energy(structure), 0.03, relaxed, steps=3, seconds=0.25)


def made(triage: Any = None, **changes: Any) -> tuple[CampaignConfig, Parts]:
    config = CampaignConfig.from_mapping({**STABLE_ONLY, **changes})
    surrogate = CorrectedSurrogate(KnowsNoEnergies())
    evaluator = Evaluator(surrogate, lambda formula: 0.0, Objective.of(config).properties)
    own = parts(config)
    screening = lambda s: Breach(Rule.VOLUME, "too small") if s.volume / len(s) < 4 else None
    return config, replace(
        own,
        surrogate=surrogate,
        evaluator=evaluator,
        verifier=TrueVerifier(),
        screening=screening,
        triage=triage,
    )


def run(folder: Path, triage: Any = None, **changes: Any) -> tuple[list[Candidate], Parts]:
    config, own = made(triage, **changes)
    is_there = (folder / "campaign.db").exists()
    with Campaign.resume(folder, own, config) if is_there else Campaign.create(config, folder, own) as one:
        one.run()
    return read_candidates(folder), own


def near_the_hull(candidates: Sequence[Candidate]) -> float:
    """Return the share of what was verified that lies near the hull."""
    started = [c for c in candidates if c.verification is not None]
    return sum(true_energy(c.structure) < 0.1 for c in started) / len(started)


def summary(candidates: Sequence[Candidate]) -> list[tuple[object, ...]]:
    return [
        (c.id, c.status, c.reason, c.score, c.triaged and (c.triaged.energy, c.triaged.is_relaxed))
        for c in candidates
    ]


def test_triage_spends_verifications_near_the_hull(tmp_path: Path) -> None:
    without, _ = run(tmp_path / "without")
    mended, own = run(tmp_path / "with", KnowsEnergies())
    assert near_the_hull(without) < 0.6
    assert near_the_hull(mended) == 1.0
    hits = [sum(c.status is Status.HIT for c in found) for found in (without, mended)]
    assert hits[0] > 0
    assert hits[1] >= 1.5 * hits[0]
    assert [sum(c.verification is not None for c in found) for found in (without, mended)] == [12, 12]
    begun_with = {s.volume for s in own.verifier.started}  # type: ignore[attr-defined]
    triaged = {c.triaged.structure.volume for c in mended if c.triaged and c.triaged.structure}
    assert begun_with <= triaged, "the judges begin with the relaxed cell"


def test_at_most_twenty_are_looked_at_and_four_relaxed_for_every_verification(tmp_path: Path) -> None:
    asked = KnowsEnergies()
    found, _ = run(tmp_path / "run", asked, budget={"verifications": 3})
    assert asked.looked_at <= 3 * 20
    assert asked.relaxed == 3 * 4
    notes = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert notes["funnel"]["looked_at"] == asked.looked_at
    assert notes["funnel"]["triaged"] == asked.relaxed
    assert notes["funnel"]["triaged_out"] == sum(c.status is Status.TRIAGED_OUT for c in found) > 0


@pytest.mark.parametrize("group", [1, 2, 3])
def test_a_killed_triage_is_taken_up_where_it_stood(tmp_path: Path, group: int) -> None:
    undisturbed = KnowsEnergies()
    config = {"budget": {"verifications": 18}, "constraints": WIDER}
    whole, _ = run(tmp_path / "whole", undisturbed, **config)
    dying = KnowsEnergies(dies_at=group)
    with pytest.raises(KilledError, match="power"):
        run(tmp_path / "cut", dying, **config)
    later = KnowsEnergies()
    cut, _ = run(tmp_path / "cut", later, **config)
    assert summary(cut) == summary(whole)
    assert dying.looked_at + later.looked_at == undisturbed.looked_at, "nothing is asked twice"
    assert dying.relaxed + later.relaxed == undisturbed.relaxed


def test_a_stop_in_the_middle_of_the_triage_loses_nothing(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole", KnowsEnergies())
    config, own = made(KnowsEnergies())
    with Campaign.create(config, tmp_path / "cut", own) as one:
        ask = own.triage.look  # type: ignore[union-attr]

        def stopping(structures: Sequence[Structure]) -> list[Triaged]:
            one.stop.signal_name = "SIGTERM"
            return ask(structures)

        own.triage.look = stopping  # type: ignore[union-attr, method-assign]
        one.run()
        assert one.n_started == 0
    again, _ = run(tmp_path / "cut", KnowsEnergies())
    assert summary(again) == summary(whole)


def test_switched_off_nothing_is_as_little_as_counted(tmp_path: Path) -> None:
    found, _ = run(tmp_path / "run")
    assert not [c for c in found if c.triaged is not None or c.status is Status.TRIAGED_OUT]
    counts = json.loads((tmp_path / "run" / "manifest.json").read_text())["funnel"]
    assert not counts["triaged"]
    assert "looked_at" not in counts
    names = {stage.name for c in found for stage in candidate_ladder(c)}
    assert "triaged" not in names


def test_those_thrown_out_are_in_table_ladder_and_report(tmp_path: Path) -> None:
    found, _ = run(tmp_path / "run", KnowsEnergies())
    out = next(c for c in found if c.status is Status.TRIAGED_OUT)
    assert out.reason == "energy by triage: 0.450 ± 0.030 eV/atom above the hull relaxed, by stand-in"
    stages = {stage.name: stage for stage in candidate_ladder(out)}
    assert stages["triaged"].passed is False
    assert list(stages)[3] == "triaged"
    hit = next(c for c in found if c.status is Status.HIT)
    assert {stage.name: stage.passed for stage in candidate_ladder(hit)}["triaged"] is True
    assert hit.predictions["energy_above_hull"].mean == pytest.approx(0.02, abs=1e-5)
    with (tmp_path / "run" / "candidates.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows[out.id]["status"] == "triaged_out"
    one = read_run(tmp_path / "run")
    narrowed = funnel(one.candidates, Objective.of(one.config), one.manifest["funnel"])
    started = next(stage for stage in narrowed if stage.name == "verification started")
    n_out = sum(c.status is Status.TRIAGED_OUT for c in found)
    assert started.lost["thrown out by triage"] == n_out
    assert "triaged out" in build_report(tmp_path / "run").read_text()


class Fails(KnowsEnergies):
    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure

    def _one(self, structure: Structure) -> Triaged:
        return Triaged(self.potential, reason="it failed", failure=self.failure)


def test_what_the_potential_cannot_say_leaves_the_surrogates_word(tmp_path: Path) -> None:
    for failure in (Failure.UNKNOWN_ELEMENT, Failure.MACHINE):
        found, _ = run(tmp_path / failure, Fails(failure))
        assert sum(c.verification is not None for c in found) == 12


def test_crystals_that_cannot_be_relaxed_are_thrown_out_and_end_no_run(tmp_path: Path) -> None:
    found, _ = run(tmp_path / "run", Fails(Failure.COLLIDING_ATOMS))
    assert {c.status for c in found} <= {Status.TRIAGED_OUT, Status.PREDICTED, Status.SCREENED_OUT}
    out = next(c for c in found if c.status is Status.TRIAGED_OUT)
    assert (out.rule, out.reason) == (Rule.ENERGY, "energy by triage: it failed")


def test_a_run_older_than_the_triage_goes_on_without_it() -> None:
    old = {k: v for k, v in CONFIG.items() if k != "search"} | {"search": {"method": "hybrid"}}
    stored = CampaignConfig.from_mapping(old, is_stored=True)
    assert not stored.search.triage
    off = CampaignConfig.from_mapping({**CONFIG, "search": {"triage": False}})
    on = CampaignConfig.from_mapping({**CONFIG, "search": {"triage": True}})
    assert config_hash(stored) == config_hash(off) != config_hash(on)
