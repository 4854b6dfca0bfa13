"""Edges that random draws seldom meet: skeletons, volumes, margins, what was offered."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.types import Candidate, Status, Target, Verification
from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.baselines import lookup
from inverse.proposers.building.cells import skeleton
from inverse.proposers.building.compositions import RankedComposition, fractions, predicted_volumes
from inverse.proposers.building.plans import planned
from inverse.proposers.hybrid import Hybrid
from inverse.proposers.search_space import wanted_values
from inverse.proposers.seeds import substitutions
from inverse.proposers.trial_space import TrialSpace
from inverse.reference.structure_types import prototypes
from surrogates.crystals.batch import element_index
from surrogates.errors import DataError
from surrogates.physics.properties import BULK_MODULUS, DENSITY
from tests.fakes import CONFIG, AnalyticCompositions, search_space


def test_a_skeleton_has_the_elements_the_type_and_a_volume_even_if_none_is_expected() -> None:
    (salt,) = prototypes([("TiC", "225|4 -3mm C|4 -3mm Ti")], 8, 4)
    for volume, wanted in ((9.0, 9.0), (float("nan"), 15.0)):
        (made,) = skeleton(salt, ("W", "N"), volume).to_structures()
        assert made.composition.reduced_formula == "WN"
        assert made.volume / len(made) == pytest.approx(wanted, rel=1e-3)
        assert made.get_space_group_info()[1] == 225
    with pytest.raises(DataError, match="has no Wyckoff skeleton"):
        skeleton(SimpleNamespace(skeleton=None, text="1|1 1 A"), ("W",), 9.0)  # type: ignore[arg-type]


def test_volumes_are_expected_of_what_the_surrogate_knows() -> None:
    class Two(AnalyticCompositions):
        elements = frozenset({"W", "C"})

    space = search_space(CampaignConfig.from_mapping(CONFIG))
    space = replace(space, compositions=Two())
    found = predicted_volumes(space, [{"W": 1, "C": 1}, {"Ti": 1, "C": 1}, {"C": 1}])
    assert found[[0, 2]].tolist() == [10.0, 10.0]
    assert np.isnan(found[1])
    assert np.isnan(predicted_volumes(replace(space, compositions=None), [{"C": 1}])).all()
    table = fractions([{"W": 1, "C": 3}])
    assert table[0, element_index("C")] == 0.75
    assert torch.allclose(table.sum(dim=1), torch.ones(1))


@pytest.mark.parametrize(
    ("bulk", "density", "margin"),
    [(330.0, 5.0, 0.1), (300.0, 5.0, 0.0), (900.0, 9.0, 0.1), (900.0, 2.0, 0.8), (9000.0, 0.0, 1.0)],
)
def test_the_margin_is_that_of_the_nearest_bound(bulk: float, density: float, margin: float) -> None:
    """A lower bound of zero has no relative margin."""
    targets = [Target(BULK_MODULUS, minimum=300.0), Target(DENSITY, minimum=0.0, maximum=10.0)]
    values = {"bulk_modulus_vrh": bulk, "density": density}
    assert lookup._margin(values, targets) == pytest.approx(margin)


def verdict_of(proposer: str, status: Status, first: str = "") -> Candidate:
    crystal = Structure(Lattice.cubic(2.7), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    verdict = Verification("test", status is not Status.FAILED)
    return Candidate("c000000", crystal, proposer, 0, status=status, duplicate_of=first, verification=verdict)


def test_shares_follow_hits_and_a_quarter_of_near_misses() -> None:
    """Rates by hand: (successes + six tries at the first share) over (started + six), 8 % kept for each."""

    def source(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, ask=lambda n, step, seed: [], tell=lambda candidates: None)

    made = Hybrid([source("a"), source("b"), source("c")], {"a": 0.5, "b": 0.25})
    rates = {"a": 0.5, "b": 0.25, "c": 0.1}
    assert made.shares(1000) == {k: round(80 + 760 * r / 0.85) for k, r in rates.items()}
    made.tell([verdict_of("a", Status.HIT), verdict_of("a", Status.HIT), verdict_of("a", Status.FAILED)])
    made.tell([verdict_of("b", Status.VERIFIED), verdict_of("c", Status.VERIFIED, "c000009")])
    made.tell([replace(verdict_of("b", Status.HIT), verification=None)])
    rates = {"a": (2 + 3) / 9, "b": (0.25 + 1.5) / 7, "c": 0.6 / 7}
    assert made.shares(1000) == {k: round(80 + 760 * r / sum(rates.values())) for k, r in rates.items()}


def test_a_plan_promises_less_where_its_type_is_less_familiar() -> None:
    """A fifth of the composition's worth for being tried at all, the rest by the root of the type's share."""
    rows = [("TiC", "225|4 -3mm C|4 -3mm Ti")] * 3 + [("CsCl", "221|1 m-3m Cl|1 m-3m Cs")]
    composition = RankedComposition({"Ti": 1, "C": 1}, 0.5, 10.0, False)
    plans = list(planned([composition], prototypes(rows, 8, 4), 9, (1, 8), lambda formula: frozenset()))
    familiarity = [p.prototype.familiarity(p.elements) for p in plans]
    assert familiarity == sorted(familiarity, reverse=True)
    assert len(set(familiarity)) > 1
    wanted = [0.5 * (0.2 + 0.8 * math.sqrt(f / sum(familiarity))) for f in familiarity]
    assert [p.promise for p in plans] == pytest.approx(wanted)
    assert len(list(planned([composition], prototypes(rows, 8, 4), 1, (1, 8), lambda f: frozenset()))) == 1
    assert not list(planned([composition], prototypes(rows, 8, 4), 9, (3, 8), lambda f: frozenset()))


@pytest.mark.parametrize(("most", "counts"), [(1, set()), (2, {(1, 1)}), (3, {(1, 1), (1, 2)})])
def test_trials_know_types_up_to_the_largest_cell_and_no_larger(
    most: int, counts: set[tuple[int, ...]]
) -> None:
    rows = [("TiC", "225|4 -3mm C|4 -3mm Ti"), ("TiB2", "191|1 /6mmm Ti|2 -26m B")]
    constraints = {**CONFIG["constraints"], "n_atoms": {"min": 1, "max": most}}
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))
    found = TrialSpace(space, lambda: prototypes(rows, 8, 4))
    assert {tuple(sorted(own)) for size in found.sizes for own in found.amounts_of(size)} == counts


def test_other_elements_go_on_the_sites_of_a_crystal_at_the_volume_expected_of_them() -> None:
    boride = Structure(
        Lattice.hexagonal(3.03, 3.22), ["Ti", "B", "B"], [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]
    )
    (one,) = substitutions(boride, RankedComposition({"W": 1, "C": 2}, 0.5, 10.0, False))
    assert [site.specie.symbol for site in one] == ["W", "C", "C"]
    assert one.volume == pytest.approx(30.0)
    (kept,) = substitutions(boride, RankedComposition({"W": 1, "C": 2}, 0.5, float("nan"), False))
    assert kept.volume == pytest.approx(boride.volume)
    assert substitutions(boride, RankedComposition({"W": 1, "C": 1}, 0.5, 10.0, False)) == []
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.3), ["Ti", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    both = substitutions(salt, RankedComposition({"W": 1, "N": 1}, 0.5, 10.0, False))
    assert sorted(s[0].specie.symbol for s in both) == ["N", "W"], "each element on each kind of site"
    assert all(s.composition.reduced_formula == "WN" and len(s) == 8 for s in both)


def test_what_is_asked_of_the_decoder_lies_inside_the_bounds() -> None:
    """A tenth above a lower bound, the middle of a window, half of an upper bound."""
    wanted = {
        "bulk_modulus_vrh": {"min": 300},
        "shear_modulus_vrh": {"min": 100, "max": 200},
        "density": {"max": 8},
    }
    found = wanted_values(Objective.of(CampaignConfig.from_mapping({**CONFIG, "targets": wanted})))
    assert found["bulk_modulus_vrh"] == pytest.approx(330.0)
    assert found["shear_modulus_vrh"] == pytest.approx(150.0)
    assert found["density"] == pytest.approx(4.0)


def test_scores_of_nothing_are_none() -> None:
    space = search_space(CampaignConfig.from_mapping(CONFIG))
    assert space.scored([]).shape == (0,)
    best, other = (Structure(Lattice.cubic(2.714), [m, "C"], [[0, 0, 0], [0.5] * 3]) for m in ("W", "Ti"))
    scores = space.scored([best, other])
    assert scores[0] > 0.9
    assert scores[1] < 0.1
