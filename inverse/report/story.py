"""A candidate in words: why this one, and where it comes from, made from what is recorded of it alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from inverse.campaign.dynamical_stability import phonon_stage
from inverse.candidates.hit_counts import magnetic_elements
from inverse.candidates.types import Candidate, HitClass, Status, Target, TypeNovelty
from inverse.report.evidence import Said, Voice, said_of
from inverse.report.wishes import verified_value
from inverse.report.wording import number, percent, symbol
from surrogates.crystals.formulas import display_formula
from surrogates.crystals.typed_formulas import composition_of
from surrogates.errors import EngineError

SOURCES_IN_WORDS: Mapping[str, str] = {
    "substitution": "Other elements were put on the sites of a known structure type",
    "gradient": "Reached by following the gradient of the predictions",
    "tpe": "Chosen by Bayesian optimisation (TPE)",
    "decoder": "Drawn from the generative model",
    "genetic": "Bred from earlier candidates (genetic search)",
    "random": "Drawn at random",
    "lookup": "A known phase whose tabulated values meet the targets",
    "seeds": "Made from a crystal of yours",
}
"""How each proposer of the program finds what it proposes."""


def why_text(candidate: Candidate, targets: Sequence[Target], referee: Mapping[str, Any] | None) -> str:
    """Return one sentence on what speaks for a verified candidate and what against it; "" without a verdict.

    Args:
        candidate: which.
        targets: hard ones.
        referee: the referee's record of it; None before it was asked.
    """
    if candidate.status not in (Status.HIT, Status.VERIFIED):
        return ""
    met = [text for t in targets if (text := _value_text(candidate, t, True))]
    missed = [text for t in targets if (text := _value_text(candidate, t, False))]
    parts = [f"{_kind(candidate)}: {', '.join(met)}" if met else _kind(candidate)]
    if missed:
        parts.append(f"misses {', '.join(missed)}")
    parts += [*_doubts(candidate, targets, referee), *_remarks(candidate)]
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _kind(candidate: Candidate) -> str:
    found, named = candidate.structure_type, ""
    if found is not None:
        novelty = "a new structure type" if found.novelty is TypeNovelty.NEW else "a known structure type"
        named = f" in {novelty}{f' ({found.name})' if found.name else ''}"
    if candidate.hit_class is HitClass.KNOWN:
        what = "material" if candidate.known_phase is not None else "formula"
        return f"known {what}{f' ({found.name})' if found is not None and found.name else ''}"
    if candidate.hit_class is HitClass.DERIVATIVE:
        of = f" of {display_formula(candidate.derivative_of)}" if candidate.derivative_of else ""
        return f"ordered derivative{of}"
    return f"new formula{named}" if candidate.hit_class is HitClass.NEW else "verified"


def _value_text(candidate: Candidate, target: Target, is_met: bool) -> str:
    """Return the verified value of a target with what was asked, where it is met (missed); else ""."""
    name, unit = target.property.name, target.property.unit
    value = verified_value(candidate, name)
    if value is None or target.is_met(value) is not is_met:
        return ""
    return f"{symbol(name)} {number(value, name)} {unit} ({asked_text(target)})".replace("  ", " ")


def asked_text(target: Target) -> str:
    """Return the bounds of a hard target.

    >>> from surrogates.physics.properties import BULK_MODULUS
    >>> asked_text(Target(BULK_MODULUS, minimum=300))
    '≥ 300'
    """
    if target.near is not None:
        return f"{target.near:g} ± {target.tolerance:g}"
    if target.minimum is not None and target.maximum is not None:
        return f"{target.minimum:g} to {target.maximum:g}"
    return f"≥ {target.minimum:g}" if target.minimum is not None else f"≤ {target.maximum:g}"


def _doubts(candidate: Candidate, targets: Sequence[Target], referee: Mapping[str, Any] | None) -> list[str]:
    """Return who denies or contradicts a value, or that those who were asked agree."""
    others: list[tuple[Target, Said]] = []
    for target in targets:
        said = said_of(candidate, target.property.name, target, referee)
        others += [(target, one) for one in said if one.voice in (Voice.SECOND, Voice.REFEREE, Voice.DFT)]
    by_voice: dict[Voice, list[str]] = {}
    for target, one in others:
        if one.dissents:
            name = target.property.name
            by_voice.setdefault(one.voice, []).append(f"{symbol(name)} {number(one.mean, name)}")
    found = [f"but the {voice} gives {' and '.join(values)}" for voice, values in by_voice.items()]
    for voice in dict.fromkeys(one.voice for _, one in others if one.voice not in by_voice):
        meets = all(target.is_met(one.mean) for target, one in others if one.voice is voice)
        found.append(f"the {voice} {'agrees' if meets else 'cannot tell'}")
    return found


def _remarks(candidate: Candidate) -> list[str]:
    """Return what else counts for whoever wants to make it."""
    found = []
    if candidate.order is not None and not candidate.order.reason:
        at = f"order is worth it below {candidate.order.temperature:.0f} K"
        if not candidate.order.is_solid_solution:
            found.append(at)
        elif round(candidate.order.temperature) > 0:
            found.append(f"expect a solid solution ({at})")
        else:
            found.append("expect a solid solution")
    phonons = phonon_stage(candidate).passed
    if phonons is not None:
        found.append("no imaginary phonon" if phonons else "imaginary phonons")
    if magnetic := magnetic_elements(candidate):
        found.append(f"magnetic order of {', '.join(magnetic)} was not asked about")
    return found


def origin_text(candidate: Candidate) -> str:
    """Return in a sentence or two where a candidate comes from and what became of it."""
    history = candidate.history
    how = SOURCES_IN_WORDS.get(candidate.proposer, f"Proposed by {candidate.proposer.replace('_', ' ')}")
    details = []
    if isinstance(elements := history.get("elements"), list | tuple) and elements:
        details.append(f"elements {', '.join(map(str, elements))}")
    count = history.get("template_count")
    if isinstance(count, int):
        details.append(f"a type that {count} known formula{'s have' if count != 1 else ' has'}")
    start = _formula(history.get("start"))
    if start:
        steps = history.get("steps")
        details.append(f"from {start}{f' in {steps} steps' if isinstance(steps, int) else ''}")
    said = f" ({'; '.join(details)})" if details else ""
    sentences = [f"{how}{said}."]
    before, after = candidate.probability_target_met, candidate.probability_after
    if before is not None:
        met = f"It was given {percent(before)} to meet all targets before it was verified"
        sentences.append(f"{met}, {percent(after)} after." if after is not None else f"{met}.")
    return " ".join(sentences)


def _formula(text: object) -> str:
    try:
        return display_formula(composition_of(text)) if isinstance(text, str) and text else ""
    except EngineError:
        return ""
