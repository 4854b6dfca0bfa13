"""The interval of a rate, by Wilson's own formula."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inverse.candidates.statistics import wilson_interval


@settings(deadline=None)  # the first call imports scipy.stats
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_the_formula_of_wilson(pair: tuple[int, int]) -> None:
    hits, n = pair
    rate, z2 = hits / n, 1.959963984540054**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2) / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    assert wilson_interval(hits, n) == pytest.approx((centre - half, centre + half), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_what_is_no_rate_is_refused(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="no rate"):
        wilson_interval(hits, n)
