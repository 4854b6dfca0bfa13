"""Targets that the composition alone decides: whether the constraints leave a composition that meets them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pymatgen.core import Composition

from inverse.candidates.types import Target
from inverse.inputs.constraints import Constraints, infeasibility
from surrogates.crystals.formulas import display_formula
from surrogates.physics.properties import OfComposition, Property

SLACK = 1e-6
"""Relative; values are of single precision."""


def unreachable(targets: Sequence[Target], constraints: Constraints) -> str:
    """Return which target no allowed composition meets, with its key and the nearest value; "" when one may.

    Elements without a value are out. Bounds are compared where the formula is a mean over the elements, with
    the ends of what the allowed numbers of atoms make of it.
    """
    asked = [t for t in targets if isinstance(t.property.formula, OfComposition)]
    for target in asked:
        missing = _missing(target.property, constraints)
        if missing and _is_empty(constraints, missing):
            why = target.property.why_unknown(_named(constraints) & missing or missing)
            return f"targets.{target.property.name}: {why}, and the constraints leave nothing without"
    for target in asked:
        if target.is_hard and (reason := _out_of_reach(target, constraints)):
            return reason
    return ""


def left_out(targets: Sequence[Target], constraints: Constraints) -> str:
    """Return which elements that the constraints name have no value of a target; "" without any.

    Nothing is proposed of them.
    """
    found = []
    for target in targets:
        if missing := _missing(target.property, constraints) & _named(constraints):
            found.append(f"targets.{target.property.name}: {target.property.why_unknown(missing)}")
    return f"{'; '.join(found)}: nothing with it is proposed" if found else ""


def _missing(prop: Property, constraints: Constraints) -> frozenset[str]:
    """Return the allowed elements for which the property has no value."""
    if not isinstance(prop.formula, OfComposition):
        return frozenset()
    return frozenset(prop.formula.missing(constraints.allowed_elements()))


def _named(constraints: Constraints) -> frozenset[str]:
    """Return the elements that the constraints ask for by name."""
    elements = constraints.elements
    of_systems = [system.split("-") for system in constraints.chemical_systems]
    return frozenset((*elements.only, *elements.include_all, *elements.include_any)).union(*of_systems)


def _is_empty(constraints: Constraints, without: frozenset[str]) -> bool:
    """Return whether nothing is left of the constraints once some elements are excluded."""
    elements, systems = constraints.elements, constraints.chemical_systems
    if constraints.subsystems:
        rests = ([e for e in system.split("-") if e not in without] for system in systems)
        left = tuple("-".join(rest) for rest in rests if rest)
    else:
        left = tuple(system for system in systems if not without & set(system.split("-")))
    only = tuple(e for e in elements.only if e not in without)
    if (systems and not left) or (elements.only and not only):
        return True
    fewer = elements.model_copy(update={"only": only, "exclude": (*elements.exclude, *sorted(without))})
    return bool(infeasibility(constraints.model_copy(update={"elements": fewer, "chemical_systems": left})))


def _out_of_reach(target: Target, constraints: Constraints) -> str:
    """Return that the bounds of a target lie beyond every allowed composition, "" where they may be met."""
    prop = target.property
    if not isinstance(prop.formula, OfComposition) or not prop.formula.is_mean:
        return ""
    from surrogates.derived import exact  # torch is loaded by configs with such a target alone
    from surrogates.protocol import CompositionBatch

    nearest: list[tuple[float, float, str]] = []
    for required, allowed in _families(prop.formula, constraints):
        ends = _ends(required, allowed, constraints.n_atoms[1])
        values = exact(prop, CompositionBatch.from_compositions(ends).fractions, 1).mean.tolist()
        least, most = min(values), max(values)
        if least * (1 - SLACK) <= target.upper and most * (1 + SLACK) >= target.lower:
            return ""
        value = least if least > target.upper else most
        distance = max(least - target.upper, target.lower - most)
        nearest.append((distance, value, display_formula(ends[values.index(value)])))
    if not nearest:
        return ""
    _, value, formula = min(nearest)
    unit = f" {prop.unit}".rstrip()
    bound = f"at most {target.upper:g}" if value > target.upper else f"at least {target.lower:g}"
    said = f"{float(f'{value:.3g}'):,g}{unit}"
    return (
        f"targets.{prop.name}: {bound}{unit} is met by no composition that the constraints allow; "
        f"the nearest is {said} ({formula})"
    )


def _families(
    formula: OfComposition, constraints: Constraints
) -> Iterator[tuple[frozenset[str], frozenset[str]]]:
    """Yield (elements that are needed, those that may be there) of allowed compositions with a value."""
    elements = constraints.elements
    usable = constraints.allowed_elements()
    usable -= frozenset(formula.missing(usable))
    systems = [frozenset(system.split("-")) for system in constraints.chemical_systems]
    pools = [system & usable if constraints.subsystems else system for system in systems] or [usable]
    for pool in pools:
        needed = frozenset(elements.include_all)
        if systems and not constraints.subsystems:
            needed |= pool
        if not pool or not needed <= pool <= usable:
            continue
        either = frozenset(elements.include_any)
        if not either or needed & either:
            yield needed, pool
        else:
            yield from ((needed | {symbol}, pool) for symbol in sorted(either & pool))


def _ends(required: frozenset[str], allowed: frozenset[str], n_atoms: int) -> list[Composition]:
    """Return where a mean is least or largest: one atom of each element, the rest of one."""
    base = Counter(sorted(required))
    rest = max(1, n_atoms - len(base))
    return [Composition(base + Counter({symbol: rest})) for symbol in sorted(allowed)]
