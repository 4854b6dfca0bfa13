"""Who says what of a candidate's targets: surrogate, judges, second opinion, referee, first principles."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from typing import Any

from inverse.candidates.second_opinion import surprise
from inverse.candidates.types import Candidate, Target, VerifiedValue
from inverse.report.figures import nice_ticks
from inverse.report.wording import digits, number
from surrogates.protocol import Z90

WIDTH_OF_STRIP, LANE, NAMES, VALUES, FOOT = 460, 19, 148, 62, 24
"""Of a strip, in its own units: width, height of a voice, room for names and values, foot."""


class Voice(StrEnum):
    """In which role somebody speaks of a value."""

    SURROGATE = "predicted"
    JUDGE = "judge"
    SECOND = "second opinion"
    REFEREE = "referee"
    DFT = "first principles"


@dataclass(frozen=True)
class Said:
    """A value of one property by one voice.

    Attributes:
        voice: in which role.
        who: name of the potential or code; "" of the surrogate.
        mean: natural unit.
        lower: lower end of its 90 % interval.
        upper: upper end of it.
        dissents: whether it denies a target that the value which counts meets, or contradicts that value
            beyond the stated errors.
    """

    voice: Voice
    who: str
    mean: float
    lower: float
    upper: float
    dissents: bool = False


def said_of(
    candidate: Candidate, name: str, target: Target | None, referee: Mapping[str, Any] | None = None
) -> tuple[Said, ...]:
    """Return what each voice says of one property, in the order in which they were asked.

    Args:
        candidate: which.
        name: of the property.
        target: hard target on it; None without one.
        referee: the referee's record of the candidate; None before it was asked.
    """
    found = []
    predicted = candidate.predictions.get(name)
    if predicted is not None and math.isfinite(predicted.mean):
        found.append(Said(Voice.SURROGATE, "", predicted.mean, predicted.lower, predicted.upper))
    verification = candidate.verification
    if verification is None:
        return tuple(found)
    judged = verification.values.get(name)
    others = [
        (Voice.SECOND, verification.second_opinion.get(name)),
        (Voice.REFEREE, referee_value(referee, name)),
        (Voice.DFT, None if candidate.confirmation is None else candidate.confirmation.values.get(name)),
    ]
    if judged is not None and math.isfinite(judged.mean):
        found.append(_said(Voice.JUDGE, judged))
    for voice, value in others:
        if value is not None and math.isfinite(value.mean):
            found.append(_said(voice, value, judged is not None and _dissents(voice, value, judged, target)))
    return tuple(found)


def referee_value(record: Mapping[str, Any] | None, name: str) -> VerifiedValue | None:
    """Return the referee's value of a property; None without any."""
    value = {} if record is None else dict(record["values"]).get(name) or {}
    mean, std = value.get("mean"), value.get("std")
    if mean is None or std is None:
        return None
    lower, upper = value.get("lower"), value.get("upper")
    return VerifiedValue(
        mean,
        std,
        mean - Z90 * std if lower is None else lower,
        mean + Z90 * std if upper is None else upper,
        mean,
        str(value["potential"]),
        str(value["unit"]),
    )


def _said(voice: Voice, value: VerifiedValue, dissents: bool = False) -> Said:
    return Said(voice, value.potential, value.mean, value.lower, value.upper, dissents)


def _dissents(voice: Voice, value: VerifiedValue, judged: VerifiedValue, target: Target | None) -> bool:
    """Return whether a value denies a target that the judge's meets, or lies beyond the errors of both.

    A target is denied by more than the value's standard error, as DFT refutes; by the referee, whose value is
    what it agrees by, with the digits that are shown.
    """
    if target is not None and target.is_met(judged.mean):
        shown = float(digits(target.property.name).text(value.mean))
        error = 0.0 if voice is Voice.REFEREE else value.std
        if value.mean + error < target.lower or target.upper < value.mean - error:
            return not target.is_met(shown)
    return surprise(judged, value) > Z90


def strip_svg(said: Sequence[Said], target: Target, label: str) -> str:
    """Return one axis with what is asked shaded, and on a line each what every voice says, with its interval.

    Args:
        said: by each voice; without any the strip is empty.
        target: hard target on the property.
        label: of the property, read aloud.
    """
    if not said:
        return ""
    name, (low, high) = target.property.name, _range(said, target)
    ticks = nice_ticks(low, high, 4)
    left, right = NAMES, WIDTH_OF_STRIP - VALUES
    bottom = LANE * len(said)

    def at(value: float) -> float:
        share = (min(max(value, ticks[0]), ticks[-1]) - ticks[0]) / (ticks[-1] - ticks[0])
        return left + share * (right - left)

    start, end = at(target.lower), at(target.upper)
    parts = [f'<rect class="wanted" x="{start:.1f}" y="0" width="{end - start:.1f}" height="{bottom}"/>']
    for tick in ticks:
        text = f"{tick:g}".replace("-", "\u2212")
        parts.append(f'<path class="grid" d="M{at(tick):.1f},{bottom}v4"/>')
        parts.append(f'<text x="{at(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    parts.append(f'<path class="axis" d="M{left},{bottom}H{right}"/>')
    for k, one in enumerate(said):
        y = LANE * (k + 0.5)
        who = f"{one.voice} {one.who}".strip()
        parts.append(
            f'<g class="voice {one.voice.name.lower()}{" dissents" if one.dissents else ""}">'
            f"<title>{escape(who)}: {number(one.mean, name)}, 90 % {number(one.lower, name)} to "
            f"{number(one.upper, name)} {escape(target.property.unit)}</title>"
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(_short(who))}</text>'
            f'<path class="interval" d="M{at(one.lower):.1f},{y:.1f}H{at(one.upper):.1f}"/>'
            f"{_mark(one.voice, at(one.mean), y)}"
            f'<text class="value" x="{right + 8}" y="{y + 4:.1f}">{number(one.mean, name)}'
            f"{' ≠' if one.dissents else ''}</text></g>"
        )
    return (
        f'<svg class="strip" viewBox="0 0 {WIDTH_OF_STRIP} {bottom + FOOT}" role="img" '
        f'aria-label="{escape(label)}: {escape(strip_text(said, target))}">{"".join(parts)}</svg>'
    )


def strip_text(said: Sequence[Said], target: Target) -> str:
    """Return in words what a strip shows."""
    name = target.property.name
    return ", ".join(f"{f'{one.voice} {one.who}'.strip()} {number(one.mean, name)}" for one in said)


def _range(said: Sequence[Said], target: Target) -> tuple[float, float]:
    bounds = [bound for bound in (target.lower, target.upper) if math.isfinite(bound)]
    ends = [end for one in said for end in (one.lower, one.upper, one.mean) if math.isfinite(end)]
    low, high = min([*ends, *bounds]), max([*ends, *bounds])
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def _short(who: str) -> str:
    return who if len(who) <= 25 else f"{who[:24]}…"


def _mark(voice: Voice, x: float, y: float) -> str:
    """Return the mark of a voice: they differ in shape, not in colour alone."""
    if voice is Voice.DFT:
        return f'<path class="point" d="M{x:.1f},{y - 6:.1f}l6,6l-6,6l-6,-6z"/>'
    if voice is Voice.REFEREE:
        return f'<path class="point" d="M{x:.1f},{y - 5:.1f}l5,9h-10z"/>'
    if voice is Voice.SECOND:
        return f'<path class="point" d="M{x - 4:.1f},{y - 4:.1f}h8v8h-8z"/>'
    return f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="{4.6 if voice is Voice.JUDGE else 3.4}"/>'
