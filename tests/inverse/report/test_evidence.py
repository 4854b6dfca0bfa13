"""Who says what of a target, who denies it, and what is said of it in words."""

import re
from dataclasses import replace
from typing import Any

import pytest
from pymatgen.core import Composition, Lattice, Structure

from inverse.campaign.reference_file import SystemPhase
from inverse.candidates.types import (
    Candidate,
    HitClass,
    KnownPhase,
    OrderDisorder,
    Status,
    StructureType,
    Target,
    TypeNovelty,
)
from inverse.report.chemistry import oxidation_text, resource_values
from inverse.report.evidence import Voice, said_of, strip_svg
from inverse.report.evidence_view import evidence_view
from inverse.report.hull_diagram import hull_svg
from inverse.report.story import asked_text, origin_text, why_text
from surrogates.physics.properties import BULK_MODULUS, DENSITY, ENERGY_ABOVE_HULL, SHEAR_MODULUS
from tests.inverse.report.fake_run import candidate, predicted, verified

K, G = BULK_MODULUS.name, SHEAR_MODULUS.name
WISH = (Target(BULK_MODULUS, minimum=300.0), Target(SHEAR_MODULUS, minimum=150.0))


def hit(second: dict[str, tuple[float, float]] | None = None) -> Candidate:
    """K 320 ± 10 and G 180 ± 10 by the judges; what the second opinion says is given."""
    made = candidate(1, "verified")
    assert made.verification is not None
    verdict = replace(
        made.verification,
        values={K: verified(K, 320.0, 10.0), G: verified(G, 180.0, 10.0)},
        second_opinion={name: verified(name, *value) for name, value in (second or {}).items()},
    )
    guess = {K: predicted(330.0, 20.0), G: predicted(190.0, 20.0)}
    return replace(
        made,
        status=Status.HIT,
        hit_class=HitClass.NEW,
        structure_type=StructureType(TypeNovelty.KNOWN, "CrB type"),
        verification=verdict,
        predictions=guess,
    )


def referee(name: str, mean: float, std: float) -> dict[str, Any]:
    value = {"mean": mean, "std": std, "potential": "diep", "unit": "GPa"}
    return {"id": "c000001", "agrees": None, "reason": "", "values": {name: value}}


def test_voices_speak_in_the_order_in_which_they_were_asked() -> None:
    said = said_of(hit({K: (315.0, 10.0)}), K, WISH[0], referee(K, 310.0, 12.0))
    assert [one.voice for one in said] == [Voice.SURROGATE, Voice.JUDGE, Voice.SECOND, Voice.REFEREE]
    assert not any(one.dissents for one in said)
    assert said[3].lower == pytest.approx(310.0 - 1.645 * 12.0, abs=0.05), "an interval, where none was given"


@pytest.mark.parametrize(
    ("mean", "std", "dissents"),
    [
        (290.0, 9.0, True),  # denies the target, within the errors of both
        (290.0, 40.0, False),  # cannot tell
        (299.8, 0.1, False),  # 300 as it is shown
        (420.0, 10.0, True),  # meets the target, contradicts the judge
        (330.0, 10.0, False),
    ],
)
def test_who_denies_a_target_or_contradicts_the_judge_dissents(
    mean: float, std: float, dissents: bool
) -> None:
    said = said_of(hit({K: (mean, std)}), K, WISH[0])
    assert [one.dissents for one in said if one.voice is Voice.SECOND] == [dissents]


def test_the_referee_dissents_where_it_does_not_agree() -> None:
    """Its word is its value, whatever the error."""
    said = said_of(hit(), K, WISH[0], referee(K, 290.0, 40.0))
    assert [one.dissents for one in said if one.voice is Voice.REFEREE] == [True]


def test_a_strip_shades_what_was_asked_and_marks_dissent() -> None:
    said = said_of(hit({K: (250.0, 10.0)}), K, WISH[0])
    drawn = strip_svg(said, WISH[0], "bulk modulus K")
    wanted = re.search(r'class="wanted" x="([\d.]+)"', drawn)
    points = [float(x) for x in re.findall(r'class="point" cx="([\d.]+)"', drawn)]
    assert wanted is not None
    assert all(x > float(wanted[1]) for x in points), "prediction and judge lie within the wish"
    assert drawn.count("dissents") == 1
    assert "second opinion" in drawn
    assert strip_svg((), WISH[0], "K") == ""


def test_one_sentence_says_what_speaks_for_it_and_what_against() -> None:
    said = why_text(hit({G: (90.0, 10.0)}), WISH, referee(K, 318.0, 10.0))
    assert said.startswith(
        "New formula in a known structure type (CrB type): K 320 GPa (≥ 300), G 180 GPa (≥ 150)"
    )
    assert "the second opinion gives G 90" in said
    assert "the referee agrees" in said
    assert why_text(candidate(1, "predicted"), WISH, None) == ""


def test_a_voice_that_reaches_the_bound_within_its_error_alone_cannot_tell() -> None:
    assert "the second opinion cannot tell" in why_text(hit({K: (290.0, 40.0)}), WISH, None)
    assert "the second opinion agrees" in why_text(hit({K: (310.0, 40.0)}), WISH, None)


@pytest.mark.parametrize(
    ("temperature", "said"),
    [
        (-300.0, "expect a solid solution."),
        (0.3, "expect a solid solution."),
        (410.0, "expect a solid solution (order is worth it below 410 K)."),
        (900.0, "order is worth it below 900 K."),
    ],
)
def test_order_is_said_in_words_that_hold_at_any_temperature(temperature: float, said: str) -> None:
    mixed = replace(hit(), order=OrderDisorder(temperature, 60.0, 8, 0.35, ("Mo", "W")))
    assert why_text(mixed, WISH, None).endswith(said)


def test_a_known_formula_is_a_known_material_only_as_a_tabulated_crystal() -> None:
    known = replace(hit(), hit_class=HitClass.KNOWN, known_phase=None)
    assert why_text(known, WISH, None).startswith("Known formula (CrB type): K 320")
    tabulated = replace(known, known_phase=KnownPhase("mp-1894"))
    assert why_text(tabulated, WISH, None).startswith("Known material (CrB type): K 320")


def test_a_miss_is_said_with_its_bound() -> None:
    missing = replace(hit(), status=Status.VERIFIED)
    wish = (WISH[0], Target(SHEAR_MODULUS, minimum=200.0))
    assert "misses G 180 GPa (≥ 200)" in why_text(missing, wish, None)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target(DENSITY, maximum=6.0), "≤ 6"),
        (Target(DENSITY, minimum=4.0, maximum=6.0), "4 to 6"),
        (Target(DENSITY, near=5.0, tolerance=1.0), "5 ± 1"),
    ],
)
def test_bounds_in_words(target: Target, text: str) -> None:
    assert asked_text(target) == text


def test_where_it_comes_from_in_words() -> None:
    made = replace(
        hit(),
        proposer="gradient",
        history={"start": "B4Ru", "steps": 24, "worth_soft": 0.2},
        probability_target_met=0.5,
        probability_after=0.7,
    )
    said = origin_text(made)
    assert "from RuB4 in 24 steps" in said
    assert "50 %" in said
    assert "worth" not in said
    strange = replace(made, proposer="my_<own>", history={"start": 3, "elements": "W"})
    assert origin_text(strange).startswith("Proposed by my <own>.")


def test_a_binary_hull_lies_below_a_crystal_above_it() -> None:
    phases = (
        SystemPhase("W", 0.0, 0.0, "Materials Project"),
        SystemPhase("C", 0.0, 0.0, "Materials Project"),
        SystemPhase("WC", -0.2, 0.0, "Materials Project"),
        SystemPhase("W2C", -0.05, 0.08, "OQMD"),
    )
    drawn = hull_svg(phases, Composition("WC2"), 0.1, "known phases")
    assert drawn.count('class="phase stable"') == 3
    assert drawn.count('class="phase metastable"') == 1
    own = re.search(r'class="own" d="M[\d.]+,([\d.]+)', drawn)
    way = re.search(r'class="tie" d="M([\d.,L]+)"', drawn)
    assert own is not None
    assert way is not None
    lowest = max(float(point.split(",")[1]) for point in way[1].split("L"))
    assert float(own[1]) < lowest, "up the page is up in energy"
    polymorph = hull_svg(phases, Composition("WC"), -0.1, "known phases")
    assert len(re.findall(r"<text[^>]*>WC</text>", polymorph)) == 1, "its own name stands there once"


def test_a_ternary_hull_joins_those_that_coexist() -> None:
    names = {"Ti": 0.0, "W": 0.0, "C": 0.0, "TiC": -0.8, "WC": -0.1}
    phases = tuple(SystemPhase(name, energy, 0.0, "Materials Project") for name, energy in names.items())
    drawn = hull_svg(phases, Composition("TiWC2"), -0.4, "known phases")
    # the outline has five pieces (two sides are halved); TiC coexists with W and with WC
    assert drawn.count('class="tie"') == 7


@pytest.mark.parametrize("formula", ["TiWCN", "TiWMoCN"])
def test_more_elements_are_seen_from_one_side(formula: str) -> None:
    """Every composition lies inside the frame, and lines lead to what the crystal competes with."""
    elements = [e.symbol for e in Composition(formula).elements]
    names = (*elements, "TiC", "WN", "TiN")
    phases = tuple(SystemPhase(name, -0.1, 0.0, "Materials Project") for name in names)
    drawn = hull_svg(phases, Composition(formula), -0.4, "known phases", ("TiC", "WN", "C"))
    ties = re.findall(r'class="tie" d="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"', drawn)
    assert len(ties) == 3
    assert len({(x, y) for x, y, _, _ in ties}) == 1, "all begin at the crystal"
    assert drawn.count('class="grid"') == len(elements) * (len(elements) - 1) // 2
    places = re.findall(r'class="phase stable" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    assert len(set(places)) == len(names), "no two phases lie on each other"
    assert all(0 < float(x) < 460 and 0 < float(y) < 330 for x, y in places)


def test_an_element_has_no_hull_diagram() -> None:
    assert hull_svg((), Composition("W"), 0.0, "known phases") == ""


def test_charges_and_resources() -> None:
    assert oxidation_text("Al2O3") == "Al 3+, O 2−"
    assert "metals only" in oxidation_text("Ni3Al")
    rows = {
        name: value for name, value, _ in resource_values(Structure(Lattice.cubic(3), ["W"], [[0, 0, 0]]))
    }
    assert rows["mass fraction of toxic elements"] == "0.000"
    assert rows["cost of the elements"].endswith("USD/kg")


def test_a_card_has_a_strip_for_every_hard_target() -> None:
    wish = (*WISH, Target(ENERGY_ABOVE_HULL, maximum=0.1))
    view = evidence_view(hit(), wish)
    assert [bool(strip) for _, strip in view.strips] == [True, True, False]
    assert "not computed" in view.phonons
    assert view.tensor == ()
