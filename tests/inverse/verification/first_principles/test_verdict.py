import pytest

from inverse.candidates.types import Outcome, Target, VerifiedValue
from inverse.verification.first_principles.verdict import verdict
from surrogates.physics.properties import PROPERTIES

K, G, H = "bulk_modulus_vrh", "shear_modulus_vrh", "energy_above_hull"
TARGETS = [
    Target(PROPERTIES[K], minimum=300.0),
    Target(PROPERTIES[G], minimum=150.0),
    Target(PROPERTIES[H], maximum=0.1),
    Target(PROPERTIES["density"], minimise=True),
]


def said(**means):
    return {name: VerifiedValue(m, s, m - s, m + s, m, "gpaw", "") for name, (m, s) in means.items()}


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({K: (320, 10), G: (180, 9), H: (0.02, 0.02)}, Outcome.CONFIRMED),
        ({K: (320, 10), H: (0.02, 0.02)}, Outcome.CONFIRMED),
        ({K: (305, 10), G: (180, 9), H: (0.02, 0.02)}, Outcome.UNDECIDED),
        ({K: (285, 10), G: (180, 9), H: (0.02, 0.02)}, Outcome.REFUTED),
        ({K: (305, 10), G: (120, 9), H: (0.02, 0.02)}, Outcome.REFUTED),
        ({K: (320, 10), G: (180, 9), H: (0.11, 0.02)}, Outcome.UNDECIDED),
        ({K: (320, 10), G: (180, 9), H: (0.13, 0.02)}, Outcome.REFUTED),
        ({}, Outcome.UNDECIDED),
    ],
)
def test_beyond_the_error_or_not_at_all(values, outcome):
    assert verdict(TARGETS, said(**values), {K, G, H}).outcome is outcome


def test_it_says_on_what_it_rests():
    found = verdict(TARGETS, said(**{K: (320, 10), H: (0.09, 0.02)}), {K, G, H})
    assert (found.met, found.missed, found.open, found.uncomputed) == ((K,), (), (H,), (G,))
    assert verdict(TARGETS, said(**{K: (320, 10)}), {K}).uncomputed == ()


def test_a_window_is_met_by_both_its_ends():
    window = [Target(PROPERTIES[K], minimum=300.0, maximum=330.0)]
    assert verdict(window, said(**{K: (315, 10)}), {K}).outcome is Outcome.CONFIRMED
    assert verdict(window, said(**{K: (325, 10)}), {K}).outcome is Outcome.UNDECIDED
    assert verdict(window, said(**{K: (345, 10)}), {K}).outcome is Outcome.REFUTED
