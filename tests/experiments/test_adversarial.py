"""Adversarial ascents: what counts, and that a climb climbs."""

from pathlib import Path

import pytest
import torch

from experiments.studies.adversarial import MOST_ATOMS, climbed, report, starts, verdicts, verify
from inverse.inputs.records import structure_from_record, structure_to_record
from surrogates.datasets.shared import has_structures
from tests import crystals


def row(claim: float, verdict: float | None, std: float = 10.0, start: float = 50.0) -> dict:
    judged = {"reason": "exploded"} if verdict is None else {"verdict": verdict, "verdict_std": 10.0}
    return {
        "structure": structure_to_record(crystals.diamond()),
        "start": start,
        "claim": claim,
        "std": std,
        "in_domain": True,
        "reason": "",
        **judged,
    }


def test_failures_are_gaps_of_one_and_never_inside() -> None:
    rows = [row(110, 100), row(100, 100), row(90, 100), row(200, None), row(150, 100)]
    found = report(rows)
    assert found["asked"] == 5
    assert found["failed"] == 1
    assert found["median_gap"]["value"] == pytest.approx(0.1)
    assert found["quantile_90_gap"]["value"] == pytest.approx(0.8)
    assert found["interval_holds"]["value"] == pytest.approx(0.6)


def test_only_what_rose_counts_and_what_was_not_asked_is_no_success() -> None:
    waiting = {k: v for k, v in row(100, 100).items() if k not in ("reason", "verdict", "verdict_std")}
    found = report([row(100, 100, start=99), waiting, row(100, 50)])
    assert (found["n"], found["rose"], found["asked"]) == (3, 2, 1)
    assert found["median_gap"]["value"] == pytest.approx(1.0)


@pytest.mark.skipif(not has_structures(), reason="the shared structures are absent")
def test_an_ascent_raises_k_and_ends_on_whole_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.studies.adversarial.STEPS", 24)
    monkeypatch.setattr("experiments.studies.adversarial.SOFT_STEPS", 20)
    monkeypatch.setattr("experiments.studies.adversarial.SPECIES_RATE", 0.5)
    made, logits = starts(4, seed=(1,))
    assert torch.all((logits > -1e8).sum(dim=1) > 1)
    found = climbed(made, logits)
    assert sum(r["claim"] > r["start"] for r in found) >= 3
    for record in found:
        structure = structure_from_record(record["structure"])
        assert len(structure) <= MOST_ATOMS
        assert structure.is_ordered


def test_verdicts_are_kept_line_by_line_and_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crystal that ran out of time keeps its verdict, and so counts as a failure."""
    asked: list[float] = []

    def judged(record: dict, judge: object) -> dict:
        asked.append(record["claim"])
        return (
            {"reason": "time limit"}
            if record["claim"] == 100
            else {"verdict": 90.0, "verdict_std": 9.0, "reason": ""}
        )

    monkeypatch.setattr("experiments.studies.adversarial.verified", judged)
    monkeypatch.setattr("experiments.studies.adversarial.Judge", lambda *a, **k: None)
    monkeypatch.setattr("experiments.studies.adversarial.VerificationStore", lambda: None)
    rows = [
        {**row(claim, None), "structure": structure_to_record(s)}
        for claim, s in (
            (100, crystals.diamond()),
            (95, crystals.tungsten_carbide()),
            (40, crystals.diamond()),
        )
    ]
    ascents = tmp_path / "adversarial-1.json"
    verify(rows, ascents, "1/2", float("inf"))
    verify(rows, ascents, "1/1", float("inf"))
    assert asked == [100, 95]
    assert {v["reason"] for v in verdicts(ascents).values()} == {"time limit", ""}
