"""Rates and their intervals."""


def wilson_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate.

    Raises:
        ValueError: n < 1 or hits outside 0..n.

    References:
        Wilson, J. Am. Stat. Assoc. 22, 209 (1927), doi:10.1080/01621459.1927.10502953

    >>> low, high = wilson_interval(10, 40)
    >>> f"{low:.3f} {high:.3f}"
    '0.142 0.402'
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n}: no rate")
    from scipy.stats import binomtest

    low, high = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return float(low), float(high)
