"""What a config asks of the decoder, which elements are searched, and what nobody can tell."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pymatgen.core import Lattice, Structure

from inverse.candidates.objective import Objective
from inverse.candidates.types import Target
from inverse.inputs.campaign_config import CampaignConfig
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.search_space import SearchSpace, wanted_values
from surrogates.crystals.batch import CrystalBatch
from surrogates.physics.properties import BULK_MODULUS, DENSITY, FORMATION_ENERGY, SHEAR_MODULUS, Property
from tests.fakes import CONFIG, AnalyticSurrogate, prediction, search_space

OWN = Property("own_number", "x", "", 0.0, 9.0, "a table")


def space_of(**constraints: Any) -> SearchSpace:
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))


def test_elements_are_searched_as_far_as_the_models_know_them_in_alphabetical_order() -> None:
    class Narrow(AnalyticSurrogate):
        elements = frozenset({"W", "C", "Al", "O"})

    space = space_of(elements={"only": ["W", "Ti", "C", "Al"]})
    narrow = Evaluator(Narrow(), lambda formula: 0.0, space.objective.properties)
    assert space.allowed_elements == ("Al", "C", "Ti", "W")
    assert replace(space, base=narrow).allowed_elements == ("Al", "C", "W")


def test_the_condition_of_a_decoder_holds_every_rule_of_the_config_but_what_is_changed() -> None:
    elements = {"only": ["W", "Ti", "C", "N"], "include_any": ["C", "N", "O"], "include_all": ["W"]}
    space = space_of(elements=elements, n_elements=[2, 3], n_atoms={"min": 2, "max": 6})
    found = space.wanted_condition()
    assert found.allowed_elements == {"W", "Ti", "C", "N"}
    assert found.required_any == {"C", "N"}, "O is not allowed"
    assert found.required_all == {"W"}
    assert (found.n_elements, found.n_atoms) == ((2, 3), (2, 6))
    assert found.targets == wanted_values(space.objective)
    changed = space.wanted_condition(n_atoms=(4, 4), space_group=225)
    assert (changed.n_atoms, changed.space_group) == ((4, 4), 225)
    assert changed.required_any == {"C", "N"}


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (Target(BULK_MODULUS, minimum=300.0), 330.0),
        (Target(FORMATION_ENERGY, minimum=-2.0), -1.8),
        (Target(BULK_MODULUS, minimum=950.0), 1000.0),
        (Target(DENSITY, maximum=8.0), 4.0),
        (Target(FORMATION_ENERGY, maximum=-2.0), -3.0),
        (Target(DENSITY, maximum=0.012), 0.01),
        (Target(SHEAR_MODULUS, minimum=100.0, maximum=180.0), 140.0),
        (Target(SHEAR_MODULUS, near=120.0, tolerance=5.0), 120.0),
    ],
)
def test_a_value_to_ask_for_lies_inside_the_bounds_and_within_what_is_physical(
    target: Target, value: float
) -> None:
    """A tenth of its size above a lower bound, half of it below an upper one, the middle of a window."""
    found = wanted_values(Objective([target]))
    assert found[target.property.name] == pytest.approx(value)


def test_numbers_of_the_users_tables_are_not_asked_of_a_decoder_and_all_others_are() -> None:
    targets = [Target(OWN, minimum=1.0), Target(BULK_MODULUS, minimum=300.0), Target(DENSITY, maximum=8.0)]
    assert set(wanted_values(Objective(targets, deciding=targets))) == {"bulk_modulus_vrh", "density"}


def test_no_crystal_counts_as_new_where_nobody_can_tell() -> None:
    crystal = Structure(Lattice.cubic(2.714), ["W", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert not space_of().is_new(crystal)


def test_worth_is_by_the_corrected_models_unless_the_shipped_ones_are_asked_for() -> None:
    """To the shipped one titanium carbide is soft, to the corrected one every crystal is stiff and stable."""

    class Stiff(AnalyticSurrogate):
        def predict(self, crystals: CrystalBatch, properties: Any) -> Any:
            values = {BULK_MODULUS: 380.0, SHEAR_MODULUS: 230.0, FORMATION_ENERGY: -0.2}
            return {p: prediction(p, torch.full_like(crystals.volume, values[p])) for p in properties}

    space = space_of()
    evaluator = Evaluator(Stiff(), lambda formula: 0.0, space.objective.properties)
    learned = replace(space, corrected=evaluator)
    carbides = [Structure(Lattice.cubic(2.714), [m, "C"], [[0, 0, 0], [0.5] * 3]) for m in ("W", "Ti")]
    now, shipped = learned.scored(carbides), learned.scored(carbides, corrected=False)
    assert now[1] == pytest.approx(now[0])
    assert now[0] > 0.9
    assert shipped[0] == pytest.approx(now[0])
    assert shipped[1] < 0.1
    assert learned.scored([]).tolist() == []
