"""Textbook answers are among the proposals where the wish is not for novelty."""

from dataclasses import replace
from typing import Any

import pytest

from inverse.candidates.types import Origin
from inverse.inputs.campaign_config import CampaignConfig
from inverse.inputs.named_surrogate import surrogate_named
from inverse.prediction.evaluation import Evaluator
from inverse.proposers.baselines import ground_states
from inverse.proposers.baselines.ground_states import lowest_first
from inverse.proposers.baselines.known_phases import textbook_answers
from inverse.proposers.protocol import Proposal
from inverse.proposers.search_space import SearchSpace
from inverse.reference import ReferenceHull
from inverse.reference.signatures import Signature
from surrogates.physics.properties import FORMATION_ENERGY
from tests.fakes import CONFIG, search_space


def shipped_space(config: CampaignConfig) -> SearchSpace:
    """Return a space with the packaged surrogates and no decoder."""
    base = Evaluator(surrogate_named("structure"), ReferenceHull.packaged().below, [FORMATION_ENERGY])
    space = search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": {"n_atoms": {"max": 10}}}))
    return replace(
        space,
        config=config,
        constraints=config.constraints,
        base=base,
        compositions=surrogate_named("composition"),
    )


def answers(n: int, targets: dict[str, Any]) -> list[Proposal]:
    wish = {**CONFIG, "targets": targets, "constraints": {"n_atoms": {"max": 10}}}
    found = textbook_answers(shipped_space(CampaignConfig.from_mapping(wish))).ask(n, 0, 5)
    assert {p.origin for p in found} <= {Origin.TEXTBOOK}
    return found


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        # the median gap of MgO over its polymorphs is 3.3 eV; no structure of AlN is carried; the layers of
        # BN are lower than the cubic crystal, and the shapes learned of their type are not theirs
        ({"band_gap": {"min": 3.5}}, {("MgO", 225), ("Al2O3", 167), ("BN", 216), ("AlN", 186)}),
        ({"bulk_modulus_vrh": {"min": 300}, "shear_modulus_vrh": {"min": 150}}, {("WC", 187), ("C", 227)}),
    ],
)
def test_what_everybody_knows_comes_first_in_its_ground_state(
    targets: dict[str, Any], expected: set[tuple[str, int]]
) -> None:
    found = answers(30, targets)
    groups = [p.structure.get_space_group_info()[1] for p in found]
    formulas = [p.structure.composition.reduced_formula for p in found]
    assert expected <= {*zip(formulas, groups, strict=True)}
    carried = [f for f, p in zip(formulas, found, strict=True) if "signature" in p.history]
    n = len(set(carried))
    assert len(set(carried[:n])) == n, "no second polymorph before every formula had its turn"


def signed(text: str, volume: float = 10.0) -> Signature:
    return Signature(text, int(text.split("|")[0]), volume)


SALT, BLENDE, LAYERS = "225|4 -3mm N|4 -3mm Ti", "216|4 -34m N|4 -34m Ti", "194|2 -26m N|2 -.3m Ti"


def order(monkeypatch: pytest.MonkeyPatch, tabulated: dict[str, float], built: dict[str, float]) -> list[str]:
    """Return three structures of TiN in the order in which they are proposed, with their volumes.

    Args:
        monkeypatch: of the test.
        tabulated: energies by signature.
        built: what is predicted of those that can be built.
    """
    cells = sorted(((energy, signed(text, 9.0)) for text, energy in tabulated.items()), key=lambda c: c[0])
    monkeypatch.setattr(ground_states, "tabulated_phases", lambda: {"TiN": cells})
    monkeypatch.setattr(
        ground_states,
        "_predicted",
        lambda space, found, seed: {s.text: built[s.text] for s in found if s.text in built},
    )
    space: Any = None
    found = [signed(LAYERS), signed(BLENDE), signed(SALT)]
    return [f"{s.space_group} {s.volume_per_atom:g}" for s in lowest_first(space, "TiN", found, 0)]


def test_the_lowest_as_built_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the volumes of the tabulated cells; of equal ones the smaller cell; no layers on a wrong shape."""
    tabulated = {LAYERS: -1.7, BLENDE: -1.5}
    assert order(monkeypatch, tabulated, {LAYERS: -1.7, BLENDE: -1.5}) == ["194 9", "216 9", "225 10"]
    assert order(monkeypatch, tabulated, {LAYERS: 0.3, BLENDE: -1.5}) == ["216 9", "194 9", "225 10"]
    assert order(monkeypatch, {}, {LAYERS: -1.50001, BLENDE: -1.5}) == ["216 10", "194 10", "225 10"]


def test_what_is_not_predicted_comes_last_the_lowest_of_the_tables_sooner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert order(monkeypatch, {LAYERS: -1.7}, {}) == ["194 9", "225 10", "216 10"]
    monkeypatch.setattr(ground_states, "MOST_PREDICTED", 1)
    everything = {LAYERS: -1.7, BLENDE: -2.0, SALT: 1.8}
    assert order(monkeypatch, {SALT: -1.7}, everything) == ["225 9", "216 10", "194 10"]
