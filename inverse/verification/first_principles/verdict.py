"""What a DFT calculation decides about a candidate: confirmed, refuted or undecided."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from inverse.candidates.types import Outcome, Target, VerifiedValue


@dataclass(frozen=True)
class Verdict:
    """An outcome and what it rests on, by property name.

    Attributes:
        outcome: of the three.
        met: hard targets met beyond the error.
        missed: missed beyond the error.
        open: within the error of a bound.
        uncomputed: hard targets that DFT could have computed, and was not asked or failed.
    """

    outcome: Outcome
    met: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    uncomputed: tuple[str, ...] = ()


def verdict(
    targets: Sequence[Target], values: Mapping[str, VerifiedValue], computable: Collection[str]
) -> Verdict:
    """Return what DFT values decide about hard targets.

    A target is met, or missed, beyond the error where the value lies further from the bound than its
    standard deviation, numerical and model error in quadrature.

    Args:
        targets: those that decide a hit.
        values: by property name, on the DFT scale; what is missing was not computed.
        computable: properties that DFT could compute.
    """
    met, missed, undecided, uncomputed = [], [], [], []
    for target in targets:
        name = target.property.name
        if not target.is_hard or name not in computable:
            continue
        if (value := values.get(name)) is None:
            uncomputed.append(name)
        elif target.lower <= value.mean - value.std and value.mean + value.std <= target.upper:
            met.append(name)
        elif value.mean + value.std < target.lower or value.mean - value.std > target.upper:
            missed.append(name)
        else:
            undecided.append(name)
    if missed:
        outcome = Outcome.REFUTED
    elif undecided or not met:
        outcome = Outcome.UNDECIDED
    else:
        outcome = Outcome.CONFIRMED
    return Verdict(outcome, tuple(met), tuple(missed), tuple(undecided), tuple(uncomputed))
