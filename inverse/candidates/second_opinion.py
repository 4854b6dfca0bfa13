"""What another potential says beside the judges: it decides no hit, a difference lowers the rank."""

import math
from collections.abc import Collection, Mapping

from inverse.candidates.types import VerifiedValue
from surrogates.protocol import Z90

SECOND_DIFFERS = "second_opinion_differs"
"""Flag of a verification whose second opinion is beyond the stated errors, "unstable" or "another phase"."""

REFUSED = 0.5
"""What a score is multiplied by when the second opinion is that the crystal gives way or becomes another."""


def surprise(value: VerifiedValue, second: VerifiedValue) -> float:
    """Return the distance of two values in units of their common error; of logarithms where positive.

    Beyond 1.645 they contradict each other: nine of ten pairs of such errors lie closer.
    """
    if value.mean > 0 and second.mean > 0:
        distance = abs(math.log(value.mean / second.mean))
        error = math.hypot(value.std / value.mean, second.std / second.mean)
    else:
        distance, error = abs(value.mean - second.mean), math.hypot(value.std, second.std)
    return distance / error if error > 0 else 0.0


def differences(values: Mapping[str, VerifiedValue], second: Mapping[str, VerifiedValue]) -> list[str]:
    """Return in words where a second opinion lies beyond the stated errors."""
    return [
        f"{name}: {values[name].mean:.0f} against {other.mean:.0f} {other.unit}"
        for name, other in second.items()
        if name in values and surprise(values[name], other) > Z90
    ]


def doubt_factor(
    values: Mapping[str, VerifiedValue], second: Mapping[str, VerifiedValue], flags: Collection[str] = ()
) -> float:
    """Return in (0, 1] what a score is multiplied by: 1 while the second opinion agrees within the errors.

    One that differs without a value of its own calls the crystal unstable or another phase: `REFUSED`.
    """
    if SECOND_DIFFERS in flags and not second:
        return REFUSED
    worst = max((surprise(values[n], other) for n, other in second.items() if n in values), default=0.0)
    return min(1.0, Z90 / worst) if worst > 0 else 1.0
