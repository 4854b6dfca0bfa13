"""Targets, constraints, numbers and reasons as a reader would say them."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from inverse.candidates.decisive_targets import effective_targets
from inverse.candidates.types import Candidate, Confirmation, Outcome, Target
from inverse.inputs.campaign_config import CampaignConfig
from surrogates.physics.properties import PROPERTIES, Digits


def outcome_text(found: Confirmation) -> str:
    """Return what first principles say, and where it rests on part of the targets, on which.

    >>> outcome_text(Confirmation(Outcome.CONFIRMED, met=("bulk_modulus_vrh",), uncomputed=("density",)))
    'confirmed (K)'
    >>> outcome_text(Confirmation(Outcome.REFUTED, met=("density",), missed=("bulk_modulus_vrh",)))
    'refuted (K)'
    """
    named = {
        Outcome.CONFIRMED: found.met if found.uncomputed else (),
        Outcome.REFUTED: found.missed,
        Outcome.UNDECIDED: found.open,
    }[found.outcome]
    which = ", ".join(symbol(name) for name in named)
    return f"{found.outcome} ({which})" if which else str(found.outcome)


def said_by_dft(candidate: Candidate) -> tuple[str, str, str]:
    """Return outcome, values of what was computed, and what was not and why; empty before it was asked."""
    found = candidate.confirmation
    if found is None:
        return "", "", ""
    own = found.code.partition(" ")[0]
    values = [
        f"{symbol(name)} {number(value.mean, name)} ± {number(value.std, name)} {value.unit}".rstrip()
        for name, value in found.values.items()
        if value.potential == own and name in {*found.met, *found.missed, *found.open}
    ]
    return outcome_text(found), ", ".join(values), found.reason


def label(name: str) -> str:
    """Return a property's name as a reader says it.

    >>> label("bulk_modulus_vrh"), label("melting_point")
    ('bulk modulus K', 'melting point')
    """
    return PROPERTIES[name].label if name in PROPERTIES else name.replace("_", " ")


def symbol(name: str) -> str:
    """Return the short symbol of a property for table heads."""
    return PROPERTIES[name].short if name in PROPERTIES else name.replace("_", " ")


def unit(name: str, targets: Sequence[Target] = ()) -> str:
    """Return the unit of a property, "" when it has none or is unknown.

    Targets know the units of properties of the user's own tables.
    """
    if name in PROPERTIES:
        return PROPERTIES[name].unit
    return next((target.property.unit for target in targets if target.property.name == name), "")


def number(value: float | None, name: str = "") -> str:
    """Return a number with the digits that its property deserves; an en dash when there is none.

    >>> number(312.44, "bulk_modulus_vrh"), number(-0.0004, "energy_above_hull"), number(None)
    ('312', '0.000', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return _without_negative_zero(digits(name).text(value)).replace("-", "−")


def digits(name: str) -> Digits:
    """Return how many digits of a property are shown; those of a number without a name are the usual ones."""
    return PROPERTIES[name].digits if name in PROPERTIES else Digits()


def _without_negative_zero(text: str) -> str:
    return text if float(text) else text.removeprefix("-")


def percent(value: float | None, digits: int = 0, signed: bool = False) -> str:
    """Return a fraction in percent.

    >>> percent(0.254), percent(-0.05, 1, signed=True)
    ('25 %', '−5.0 %')
    """
    if value is None or not math.isfinite(value):
        return "–"
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{100 * value:.{digits}f} %".replace("-", "−")


def target_text(target: Target) -> str:
    """Return a target as a clause.

    >>> from surrogates.physics.properties import BULK_MODULUS
    >>> target_text(Target(BULK_MODULUS, minimum=300))
    'bulk modulus K ≥ 300 GPa'
    """
    name, of = label(target.property.name), f" {target.property.unit}".rstrip()
    if target.minimise or target.maximise:
        return f"{name} as {'low' if target.minimise else 'high'} as possible (ranks, does not decide)"
    if target.near is not None:
        return f"{name} within {target.tolerance:g} of {target.near:g}{of}"
    if target.minimum is not None and target.maximum is not None:
        return f"{name} between {target.minimum:g} and {target.maximum:g}{of}"
    if target.minimum is not None:
        return f"{name} ≥ {target.minimum:g}{of}"
    return f"{name} ≤ {target.maximum:g}{of}"


def targets_text(targets: Sequence[Target]) -> list[str]:
    """Return every target as a clause; the default hull limit is named where none was given."""
    clauses = [target_text(target) for target in targets]
    added = [target for target in effective_targets(targets) if target not in targets]
    return clauses + [f"{target_text(target)} (the default)" for target in added]


def constraints_text(config: CampaignConfig) -> list[str]:
    """Return every constraint as a clause, defaults that exclude nothing left out."""
    limits = config.constraints
    elements = limits.elements
    clauses = []
    if elements.only:
        clauses.append(f"only {_listed(elements.only)}")
    if elements.include_all:
        clauses.append(f"all of {_listed(elements.include_all)}")
    if elements.include_any:
        clauses.append(f"at least one of {_listed(elements.include_any)}")
    if elements.exclude:
        clauses.append(f"no {_listed(elements.exclude)}")
    if elements.exclude_groups:
        groups = [name.replace("_", " ") for name in elements.exclude_groups]
        clauses.append(f"no {_listed(groups)} elements")
    if limits.chemical_systems:
        also = " and their subsystems" if limits.subsystems else ""
        clauses.append(f"chemical systems {_listed(limits.chemical_systems)}{also}")
    clauses.append(f"{_range(limits.n_elements)} elements")
    clauses.append(f"{_range(limits.n_atoms)} atoms in the primitive cell")
    clauses.append(
        {
            "any": "known materials welcome",
            "new_composition": "only formulas in no carried table",
            "new_structure": "known formulas only in structures that none of the carried ones matches",
        }.get(limits.novelty, limits.novelty)
    )
    if not limits.derivatives:
        clauses.append("no orderings of known solid solutions (derivatives)")
    return clauses


def reason_text(reason: str) -> str:
    """Return the name of a reason as a reader says it: symbols of properties as in the tables.

    >>> reason_text("misses K_VRH and G_VRH, too unsure of E_hull"), reason_text("time_limit")
    ('misses K and G, too unsure of E_hull', 'time limit')
    """
    own = {record.symbol: record.short for record in PROPERTIES.values()}
    return re.sub(r"[^\s,]+", lambda word: own.get(word[0], word[0].replace("_", " ")), reason)


def seconds_text(seconds: float | None) -> str:
    """Return a duration.

    >>> seconds_text(42), seconds_text(754), seconds_text(9000)
    ('42 s', '12 min 34 s', '2 h 30 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def plain_text(value: Any) -> str:
    """Return a manifest value for a table of settings: nested mappings as `key value` pairs."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain_text(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "–" if value is None else str(value)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _range(limits: tuple[int, int]) -> str:
    low, high = limits
    return str(low) if low == high else (f"at most {high}" if low <= 1 else f"{low} to {high}")
