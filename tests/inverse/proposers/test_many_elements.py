"""Five and more elements: every source searches them, in types divided from known ones, or says why not."""

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inverse.inputs.campaign_config import CampaignConfig
from inverse.proposers.bayesian import OuterSearch
from inverse.proposers.building.cells import shapes_of
from inverse.proposers.building.compositions import ranked_compositions
from inverse.proposers.genetic import GeneticSearch
from inverse.proposers.protocol import Proposer
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.substitution import Substitution, SubstitutionSettings
from inverse.reference.divided_types import divided_types
from inverse.reference.geometries import built
from inverse.reference.signatures import Orbit, format_signature, signature
from inverse.reference.skeletons import LABELS, anonymous
from surrogates.errors import ConfigError
from tests.fakes import CONFIG, AnalyticCompositions, search_space

METALS = ("W", "Ti", "Al", "V", "Nb", "Ta", "Mo", "Cr", "Zr", "Hf")


def space_of(n_elements: int, **more: object) -> SearchSpace:
    constraints = {
        "elements": {"only": [*METALS, "C", "N", "O"]},
        "n_elements": [n_elements, n_elements],
        "n_atoms": {"max": 12},
        **more,
    }
    return search_space(CampaignConfig.from_mapping({**CONFIG, "constraints": constraints}))


@pytest.mark.parametrize("n", [5, 7])
@pytest.mark.parametrize("name", ["substitution", "tpe", "genetic"])
def test_so_many_elements_are_proposed(name: str, n: int) -> None:
    space = replace(space_of(n), screening=lambda structure: "")  # the stand-in knows one volume only
    small = SubstitutionSettings(n_compositions=60, n_structures=100, fewest=20)
    made: Proposer = {
        "substitution": lambda: Substitution(space, lambda: divided_types(n, 12), settings=small),
        "tpe": lambda: OuterSearch(space, lambda: divided_types(n, 12)),
        "genetic": lambda: GeneticSearch(space, lambda: divided_types(n, 12)),
    }[name]()
    found = made.ask(4, 0, 5)
    assert found
    assert {len(p.structure.composition) for p in found} == {n}


@pytest.mark.parametrize("n", [5, 7])
def test_a_divided_type_has_the_symmetry_that_it_claims(n: int) -> None:
    elements = METALS[:n]
    for prototype in divided_types(n, 12)[:12]:
        (shape,) = shapes_of(prototype, elements, 1)
        (structure,) = built([shape], [elements], [14.0]).to_structures()
        text, order = anonymous(signature(structure).text)
        assert text == prototype.text
        amounts = structure.composition.get_el_amt_dict()
        assert [amounts[e] for e in order] == list(prototype.counts)


def test_more_elements_than_any_search_handles_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="n_elements: at least 9 asked for, but no search goes beyond 8"):
        CampaignConfig.from_mapping({**CONFIG, "constraints": {"n_elements": [9, 12]}})


def test_elements_that_must_occur_are_among_the_promising_ones() -> None:
    """No pair of three required elements is allowed by itself, and none of them is promising."""
    space = space_of(5, elements={"only": [*METALS, "C", "N", "O"], "include_all": ["Zr", "N", "O"]})
    ranked = ranked_compositions(space, AnalyticCompositions(), [(1, 1, 1, 1, 1), (1, 1, 1, 1, 2)], 20)
    assert len(ranked) == 20
    assert all({"Zr", "N", "O"} < set(c.amounts) for c in ranked)
    assert {"W", "C"} < set(ranked[0].amounts)


def test_every_listed_system_is_searched_however_many_there_are() -> None:
    """Thirteen elements in ten systems of three: more elements than ternaries are otherwise built from."""
    systems = [f"{metal}-C-N" for metal in METALS] + [f"{metal}-C-O" for metal in METALS]
    space = space_of(3, elements={}, chemical_systems=systems)
    ranked = ranked_compositions(space, AnalyticCompositions(), [(1, 1, 1)], 100)
    assert {"-".join(sorted(c.amounts)) for c in ranked} == {"-".join(sorted(s.split("-"))) for s in systems}


orbits = st.lists(
    st.builds(Orbit, st.sampled_from([1, 2, 12]), st.sampled_from(["m", "-3m"]), st.sampled_from("VWXYZ")),
    min_size=1,
    max_size=7,
)


@given(orbits)
def test_the_anonymous_text_is_the_smallest_of_all_labellings(found: list[Orbit]) -> None:
    elements = sorted({o.element for o in found})
    texts = [
        (
            format_signature(
                1, [Orbit(o.multiplicity, o.site_symmetry, LABELS[order.index(o.element)]) for o in found]
            ),
            order,
        )
        for order in permutations(elements)
    ]
    assert anonymous(format_signature(1, found)) == min(texts)
