"""`inverse bench proposals` with stand-ins: planted errors are found, and a call goes on where one ended."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Structure

from inverse.benchmarks import proposals
from inverse.benchmarks.arguments import Arguments
from inverse.benchmarks.proposals import Distance, area_under_roc, errors, run_proposals
from inverse.campaign.parts import Parts
from inverse.candidates.types import Failure, Triaged, Verification, VerifiedValue
from inverse.inputs.campaign_config import CampaignConfig
from inverse.verification.calibration.energy_correction import formation_energy
from inverse.verification.ladder import ENERGY_PER_ATOM
from surrogates.crystals.batch import CrystalBatch
from surrogates.errors import ConfigError
from surrogates.physics.properties import FORMATION_ENERGY
from tests.fakes import AnalyticSurrogate, RandomBinaries, parts

TRIAGE_OFF = 0.01
"""eV/atom by which the stand-in for the triage is too high."""


def predicted(structure: Structure) -> float:
    """Return what the stand-in surrogate says, eV/atom; the hull lies at 0."""
    found = AnalyticSurrogate().predict(CrystalBatch.from_structures([structure]), [FORMATION_ENERGY])
    return float(found[FORMATION_ENERGY].mean[0])


class Judge:
    """Finds every crystal so many eV/atom above what is predicted; the first fails, and some stay open."""

    potential = "chgnet"

    def __init__(self, above: float = 0.04, n_answers: int = 10**6) -> None:
        self.above, self.left, self.n_asked = above, n_answers, 0
        self.is_closed = False

    def relax_each(
        self, structures: Sequence[Structure], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Verification]]:
        for position, structure in enumerate(structures):
            if should_stop() or not self.left:
                return
            self.left -= 1
            self.n_asked += 1
            yield (
                position,
                self._relaxed(structure)
                if position
                else Verification(self.potential, False, "stalled", failure=Failure.NOT_CONVERGED),
            )

    def _relaxed(self, structure: Structure) -> Verification:
        raw = predicted(structure) + self.above - formation_energy(structure, 0.0, self.potential)
        value = VerifiedValue(raw, 0.0, raw, raw, raw, self.potential, "eV/atom")
        values = MappingProxyType({ENERGY_PER_ATOM: value})
        return Verification(self.potential, True, values=values, structure=structure)

    def close(self) -> None:
        self.is_closed = True


class Cheap:
    """The judge's energies, a little too high; has none of a fifth crystal."""

    potential = "cheap"

    def __init__(self) -> None:
        self.n_relaxed = 0

    def look(self, structures: Sequence[Structure]) -> list[Triaged]:
        raise AssertionError("a single point is not asked for")

    def relax(self, structures: Sequence[Structure]) -> list[Triaged]:
        self.n_relaxed += len(structures)
        said = [Triaged("cheap", predicted(s) + 0.04 + TRIAGE_OFF, 0.05, s) for s in structures]
        lost = Triaged("cheap", reason="atoms collide", failure=Failure.COLLIDING_ATOMS)
        return [lost if k == 4 else one for k, one in enumerate(said)]


def assembled(config: CampaignConfig) -> Parts:
    """Only K, G and energies are predicted here, and only pairs of a few elements proposed."""
    return parts(config, RandomBinaries(["W", "Ti", "Al", "C", "N", "O"]))


def measured(
    folder: Path, judge: Judge | None, triage: Cheap | None = None, n: int = 10, **given: Any
) -> dict[str, Any]:
    arguments = Arguments(lambda config: pytest.fail("nobody judges"), assembled, judge=judge, triage=triage)
    return run_proposals(n, 3, given=replace(arguments, **given), folder=folder)


def test_planted_errors_are_found_by_source_and_by_whose_energies(tmp_path: Path) -> None:
    judge = Judge()
    found = measured(tmp_path, judge, Cheap())
    assert tuple(found["sources"]) == proposals.SOURCES
    assert found["open"] == 0
    assert judge.is_closed
    for part in found["sources"].values():
        assert part["drawn"] == 10
        assert part["without_energy"] == 1
        assert (part["surrogate"]["n"], part["triage"]["n"]) == (9, 8)
        assert part["surrogate"]["median_absolute"]["value"] == pytest.approx(0.04, abs=1e-3)
        assert part["surrogate"]["median_bias"]["value"] == pytest.approx(-0.04, abs=1e-3)
        assert part["triage"]["median_bias"]["value"] == pytest.approx(TRIAGE_OFF, abs=1e-3)
        assert part["surrogate"]["passes"]["median_absolute"]
        assert not part["surrogate"]["passes"]["median_bias"]
        assert part["triage"]["passes"]["median_bias"]
    assert not found["passed"]
    assert len(found["table"]) == 2 * len(proposals.SOURCES)
    json.dumps(found, allow_nan=False)


def test_a_call_goes_on_where_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = Cheap()
    first = measured(tmp_path, Judge(n_answers=14), cheap)
    assert first["open"] == 10 * len(proposals.SOURCES) - 14
    n_relaxed = cheap.n_relaxed
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(made) == len(proposals.SOURCES)
    never = lambda config: pytest.fail("proposed twice")
    second = measured(tmp_path, Judge(), cheap, assembled=never)
    assert second["open"] == 0
    assert cheap.n_relaxed == n_relaxed
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == made
    one_go = measured(tmp_path / "other", Judge(), Cheap())
    assert one_go["sources"] == second["sources"]


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    judge = Judge()
    found = measured(tmp_path, judge, Cheap(), seconds=-1.0)
    assert found["open"] == 10 * len(proposals.SOURCES)
    assert judge.n_asked == 0
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="nobody relaxes"):
        measured(tmp_path, None)


def test_a_larger_draw_begins_with_the_smaller_one(tmp_path: Path) -> None:
    few, many = measured(tmp_path, Judge(), n=3), measured(tmp_path, Judge(), n=12)
    source = few["sources"]["random"], many["sources"]["random"]
    assert [part["surrogate"]["n"] for part in source] == [2, 11]
    assert source[1]["triage"]["n"] == 0


def test_a_source_that_proposes_few_is_measured_on_few(tmp_path: Path) -> None:
    found = measured(tmp_path, Judge(), n=500)
    assert found["open"] == 0
    assert all(10 < part["drawn"] <= proposals.ASKED for part in found["sources"].values())


def test_intervals_that_hold_too_much_and_errors_by_order_alone() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 0.4, 200)
    off = rng.normal(0, 0.03, 200)
    pairs = [(Distance(t + e, 0.03), float(t)) for t, e in zip(true, off, strict=True)]
    found = errors(pairs, 0.06)
    assert found["passes"] == dict.fromkeys(found["passes"], True)
    low, high = found["area_under_roc"]["interval"]
    assert 0.9 < low < found["area_under_roc"]["value"] < high <= 1.0
    wide = errors([(replace(said, std=0.3), t) for said, t in pairs], 0.06)
    assert not wide["passes"]["coverage_90"]
    flipped = errors([(replace(said, mean=0.4 - said.mean), t) for said, t in pairs], 0.06)
    assert flipped["area_under_roc"]["value"] < 0.2
    assert area_under_roc(np.array([0.1, 0.2]), np.array([True, True])) is None
