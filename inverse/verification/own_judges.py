"""Verifiers that users bring for properties of their own, asked at the end of the ladder."""

import math
from collections.abc import Mapping
from functools import lru_cache

from pymatgen.core import Structure

from inverse.types import VerifiedValue
from inverse.verification.factories import factory_named
from inverse.verification.protocol import PropertyJudge
from surrogates.errors import ConfigError, VerificationError


@lru_cache(maxsize=16)
def load_property_judge(name: str) -> PropertyJudge:
    """Return the judge that `module:factory` makes, once per process.

    Raises:
        UnknownNameError: no such module or factory.
        ConfigError: the factory does not return a `PropertyJudge`.
    """
    judge = factory_named(name, "judge")()
    if not isinstance(judge, PropertyJudge):
        raise ConfigError(f"{name} returned a {type(judge).__name__} without `name` and `judge(structure)`")
    return judge


def own_values(judge: PropertyJudge, structure: Structure) -> Mapping[str, VerifiedValue]:
    """Return what a user's judge says about a relaxed structure.

    Raises:
        VerificationError: it failed, or said something that is not a finite value.
    """
    try:
        values = dict(judge.judge(structure))
    except Exception as error:
        text = str(error).strip().splitlines()
        raise VerificationError(
            f"{judge.name} failed: {type(error).__name__}: {text[0] if text else ''}"
        ) from error
    for name, value in values.items():
        if not isinstance(value, VerifiedValue):
            raise VerificationError(f"{judge.name}: {name} is a {type(value).__name__}, not a VerifiedValue")
        numbers = (value.mean, value.std, value.lower, value.upper)
        if not all(math.isfinite(number) for number in numbers):
            raise VerificationError(f"{judge.name}: {name} is not finite")
    return values
