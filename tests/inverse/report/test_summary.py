"""Summaries against plain references."""

import itertools
import math
from dataclasses import replace
from statistics import median

import pytest

from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.objective import Objective
from inverse.candidates.types import Candidate, Origin, Rule, Status, Target, Verification
from inverse.report import summary, views, wishes, wording
from inverse.report.console import ranked_table
from inverse.report.sections import gaps_view
from surrogates.physics.properties import BULK_MODULUS, DENSITY, ENERGY_ABOVE_HULL, SHEAR_MODULUS
from tests.inverse.report.fake_run import candidate, candidates, predicted, verified

TARGETS = (
    Target(BULK_MODULUS, minimum=300.0),
    Target(SHEAR_MODULUS, minimum=150.0),
    Target(ENERGY_ABOVE_HULL, maximum=0.1),
    Target(DENSITY, minimise=True),
)


def judged(k: int, bulk: float, shear: float, hull: float = 0.0, guess: float = 330.0) -> Candidate:
    values = {
        "bulk_modulus_vrh": verified("bulk_modulus_vrh", bulk, 10.0),
        "shear_modulus_vrh": verified("shear_modulus_vrh", shear, 10.0),
        "energy_above_hull": verified("energy_above_hull", hull, 0.04),
    }
    met = bulk >= 300 and shear >= 150 and hull <= 0.1
    return replace(
        candidate(0, "predicted"),
        id=f"c{k:06d}",
        status=Status.HIT if met else Status.VERIFIED,
        predictions={"bulk_modulus_vrh": predicted(guess, 10.0)},
        verification=Verification("auto", True, values=values, is_stable=True),
    )


def test_a_seed_that_the_config_excludes_has_a_line_of_its_own() -> None:
    """It converged: only a rule that it was verified in spite of keeps it out; others failed by that rule."""
    out = {"status": Status.FAILED, "rule": Rule.EXCLUDED, "reason": "after relaxation: elements.exclude: Os"}
    made = [
        replace(judged(0, 320.0, 160.0), origin=Origin.SEED, **out),
        replace(judged(1, 320.0, 160.0), **out),
        judged(2, 320.0, 160.0),
    ]
    stages = {stage.name: stage for stage in summary.funnel(made, Objective(TARGETS))}
    assert stages["converged"].count == 2
    assert stages["converged"].lost == {"after relaxation: elements.exclude": 1}
    assert stages["hit"].lost == {"a seed that the config excludes: elements.exclude": 1}


def test_hit_rate_counts_failures_in_the_denominator() -> None:
    made = candidates(45, 10, 25)
    rate = summary.hit_rate(made)
    assert rate.started == 45
    assert rate.hits == sum(c.status is Status.HIT for c in made)
    assert sum(summary.hit_rate(made, p).started for p in {c.proposer for c in made}) == 45
    assert summary.hit_rate([]).rate is None


def test_hits_by_class_names_every_class() -> None:
    made = candidates(45, 0, 0)
    counts = summary.hits_by_class(made)
    assert list(counts) == ["known", "derivative", "new"]
    assert sum(counts.values()) == summary.hit_rate(made).hits
    unclassified = [replace(c, hit_class=None) for c in made if c.status is Status.HIT]
    assert summary.hits_by_class(unclassified)["unclassified"] == len(unclassified)


def test_optimism_gap_against_a_plain_loop() -> None:
    made = candidates(45, 5, 5)
    for name in ("bulk_modulus_vrh", "shear_modulus_vrh"):
        ratios, failed = [], 0
        for c in made:
            if c.verification is None:
                continue
            if name not in c.verification.values:
                failed += 1
                continue
            v = c.verification.values[name].mean
            ratios.append((c.predictions[name].mean - v) / v)
        gap = summary.optimism_gap(made, name)
        assert gap.relative == pytest.approx(median(ratios))
        assert (gap.n, gap.n_failed) == (len(ratios), failed)


def test_optimism_gap_by_hand_with_zero_and_nan() -> None:
    made = [judged(0, 300.0, 150.0, guess=330.0), judged(1, 0.0, 10.0, guess=5.0), judged(2, math.nan, 1.0)]
    gap = summary.optimism_gap(made, "bulk_modulus_vrh")
    assert gap.relative == pytest.approx(0.1)
    assert gap.absolute == pytest.approx(17.5)
    assert (gap.n, gap.n_undefined, gap.n_failed) == (2, 1, 1)


def test_energies_have_no_relative_gap() -> None:
    """A verified 0.001 eV/atom predicted as 0.051 read as a gap of 5000 %."""
    made = [
        replace(judged(k, 310.0, 160.0, hull), predictions={"energy_above_hull": predicted(0.051, 0.04)})
        for k, hull in enumerate((0.001, 0.03))
    ]
    gap = summary.optimism_gap(made, "energy_above_hull")
    assert (gap.relative, gap.n, gap.n_undefined) == (None, 2, 2)
    assert gap.absolute == pytest.approx(0.0355)
    (shown,) = gaps_view(made, ["energy_above_hull"])
    assert (shown["relative"], shown["absolute"]) == ("–", "+0.035 eV/atom")


def test_funnel_loses_nobody() -> None:
    made = candidates(45, 10, 25)
    stages = summary.funnel(made, Objective(TARGETS))
    counts = [stage.count for stage in stages]
    assert counts[0] == len(made)
    assert counts == sorted(counts, reverse=True)
    for before, after in itertools.pairwise(stages):
        assert before.count - after.count == sum(after.lost.values()), after.name


def test_funnel_takes_the_manifests_totals_where_they_are_larger() -> None:
    made = candidates(10, 0, 4)
    stages = summary.funnel(made, Objective(TARGETS), {"proposed": 500, "screened_out": {"distances": 400}})
    assert stages[0].count == 500
    assert stages[1].lost["distances"] == 400
    assert stages[1].count == 500 - sum(stages[1].lost.values())


def test_the_binding_target_is_the_one_missed_alone() -> None:
    made = [
        judged(0, 320, 100),
        judged(1, 320, 120),
        judged(2, 250, 160),
        judged(3, 200, 90),
        judged(4, 310, 155),
    ]
    binding = wishes.binding_target(made, TARGETS)
    assert binding is not None
    assert binding.target.property == SHEAR_MODULUS
    assert (binding.missed, binding.missed_alone) == (3, 2)
    assert wishes.binding_target([judged(0, 320, 160)], TARGETS) is None


def test_nearest_wish_is_the_smallest_violation() -> None:
    made = [judged(0, 320, 100), judged(1, 285, 160), judged(2, 320, 160, hull=0.4)]
    wish = wishes.nearest_wish(made, TARGETS)
    assert wish is not None
    assert wish.candidate.id == "c000001"
    assert wish.bounds == {"bulk_modulus_vrh": (300.0, math.inf, 285.0)}
    assert wish.distance == pytest.approx(0.05)
    assert wish.basis == "verified"


def test_nearest_wish_falls_back_on_predictions() -> None:
    guess = {"bulk_modulus_vrh": predicted(270.0, 10.0), "shear_modulus_vrh": predicted(160.0, 10.0)}
    waiting = replace(candidate(0, "predicted"), predictions=guess)
    wish = wishes.nearest_wish([waiting], TARGETS)
    assert wish is not None
    assert wish.basis == "predicted"
    assert list(wish.bounds) == ["bulk_modulus_vrh"]
    assert wishes.nearest_wish([], TARGETS) is None


def test_a_default_hull_limit_holds_where_none_is_named() -> None:
    hard = effective_targets(TARGETS[:2])
    assert hard[-1] == Target(ENERGY_ABOVE_HULL, maximum=0.1)
    assert effective_targets(TARGETS)[-1].maximum == 0.1
    soft = [*TARGETS[:2], Target(ENERGY_ABOVE_HULL, minimise=True)]
    assert effective_targets(soft) == hard
    assert wording.targets_text(soft)[-2:] == [
        "energy above hull as low as possible (ranks, does not decide)",
        "energy above hull ≤ 0.1 eV/atom (the default)",
    ]
    loose = effective_targets([Target(ENERGY_ABOVE_HULL, maximum=0.3)])
    assert [target.maximum for target in loose] == [0.3]


def test_what_misses_the_default_hull_limit_is_marked_so_in_page_and_terminal() -> None:
    soft = [*TARGETS[:2], Target(ENERGY_ABOVE_HULL, minimise=True)]
    far = judged(1, 400.0, 200.0, hull=0.3)
    view = views.candidate_view(far, 1, ["bulk_modulus_vrh", "energy_above_hull"], soft)
    assert [value.is_met for value in view.values] == [True, False]
    column = next(
        c for c in ranked_table([far], Objective(soft)).columns if str(c.header).startswith("E_hull")
    )
    assert [str(cell) for cell in column.cells] == ["✗ 0.300±0.040"]
