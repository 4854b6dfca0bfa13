"""Verifiers that users bring for properties of their own, asked at the end of the ladder."""

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from pymatgen.core import Structure

from inverse.candidates.judged import is_predicted_only, judged_names
from inverse.candidates.registry import JUDGES
from inverse.candidates.types import VerifiedValue
from inverse.potentials.machine import is_of_machine
from inverse.verification.protocol import PropertyJudge
from surrogates.errors import ConfigError, MachineError, UnknownNameError, VerificationError
from surrogates.physics.properties import PROPERTIES
from surrogates.platform.blame import said_of
from surrogates.platform.factories import made_by


@lru_cache(maxsize=16)
def load_property_judge(name: str) -> PropertyJudge:
    """Return the judge of a name (entry point `inverse.judges`) or module:factory, once per process.

    Raises:
        UnknownNameError: no such name, module or factory.
        ConfigError: the factory fails, or does not return a `PropertyJudge`.
    """
    judge = _made(name)
    if not isinstance(getattr(judge, "name", None), str) or not callable(getattr(judge, "judge", None)):
        reason = f"returned a {type(judge).__name__} without `name` and `judge(structure)`"
        raise ConfigError(f"{name} {reason}") if ":" in name else JUDGES.refusal(name, reason)
    found: PropertyJudge = judge
    return found


def _made(name: str) -> Any:
    """Return what the factory of a name, or module:factory, makes; errors as those of its caller."""
    if ":" not in name:
        if name not in JUDGES:
            none = "" if JUDGES.names() else " (no judge is installed)"
            raise UnknownNameError(f"{JUDGES.unknown(name, 'module:factory')}{none}")
        return JUDGES.make(name)
    return made_by(name, "judge")


def own_values(
    judge: PropertyJudge,
    structure: Structure,
    given: Mapping[str, VerifiedValue] | None = None,
    wanted: Collection[str] = (),
) -> Mapping[str, VerifiedValue]:
    """Return what a user's judge says about a relaxed structure.

    Args:
        judge: to ask.
        structure: relaxed by the energy judge.
        given: values that others gave before; they stand.
        wanted: properties that targets ask for; a name that is nearly one of them is taken for a mistake.

    Raises:
        MachineError: it failed for want of memory, device or disk.
        VerificationError: it failed otherwise, or said something that is not a finite value, or of a
            property that is not its own.
    """
    try:
        values = dict(judge.judge(structure))
    except (Exception, SystemExit) as error:
        kind = MachineError if is_of_machine(error) else VerificationError
        raise kind(f"{judge.name} failed: {said_of(error, judge)}") from error
    for name in values:
        if reason := _refusal(name, given or {}, set(wanted) - judged_names() - set(values)):
            raise VerificationError(f"{judge.name}: {reason}")
    for name, value in values.items():
        if not isinstance(value, VerifiedValue):
            raise VerificationError(f"{judge.name}: {name} is a {type(value).__name__}, not a VerifiedValue")
        numbers = (value.mean, value.std, value.lower, value.upper)
        if not all(math.isfinite(number) for number in numbers):
            raise VerificationError(f"{judge.name}: {name} is not finite")
    return values


def _refusal(name: object, given: Mapping[str, VerifiedValue], missing: Collection[str]) -> str:
    """Return why a judge may not give a property of that name, "" when it may."""
    if not isinstance(name, str):
        return f"{name!r} is not the name of a property"
    if not is_predicted_only(name):
        return f"{name} is what the judges give; name yours otherwise"
    if name in given:
        return f"{name} is given by {given[name].potential} already"
    close = [] if name in PROPERTIES else get_close_matches(name, missing, n=1)
    return f"unknown property {name!r}; did you mean {close[0]!r}?" if close else ""
