"""What every candidate must satisfy, and whether any crystal can."""

from typing import Literal

from inverse.inputs.element_groups import element_groups
from inverse.inputs.fields import Flag, Groups, Part, Range, Symbols, Systems
from surrogates.crystals.periodic_table import ELEMENT_SYMBOLS

MOST_ELEMENTS = 8
"""Elements of the largest compositions that are searched, as many as the decoder writes."""

Novelty = Literal["any", "new_composition", "new_structure"]


class Elements(Part):
    """Which elements a candidate must, may and must not hold."""

    include_any: Symbols = ()
    include_all: Symbols = ()
    only: Symbols = ()
    exclude: Symbols = ()
    exclude_groups: Groups = ()

    def excluded(self) -> frozenset[str]:
        """Return every excluded element, groups included."""
        return frozenset(self.exclude).union(*(element_groups()[name] for name in self.exclude_groups))


class Constraints(Part):
    """What every candidate must satisfy; `n_atoms` counts the primitive cell."""

    elements: Elements = Elements()
    chemical_systems: Systems = ()
    subsystems: Flag = False
    n_elements: Range = (1, 5)
    n_atoms: Range = (1, 20)
    novelty: Novelty = "any"
    derivatives: Flag = True

    def allowed_elements(self) -> frozenset[str]:
        """Return the elements that a candidate may hold, by every rule together."""
        allowed = frozenset(self.elements.only or ELEMENT_SYMBOLS) - self.elements.excluded()
        allowed -= self.unasked_noble_gases()
        if self.chemical_systems:
            allowed &= frozenset().union(*(system.split("-") for system in self.chemical_systems))
        return allowed

    def unasked_noble_gases(self) -> frozenset[str]:
        """Return the noble gases that no key names: they hardly bind, yet models believe that they do."""
        elements = self.elements
        named = {*elements.only, *elements.include_any, *elements.include_all}
        named.update(*(system.split("-") for system in self.chemical_systems))
        return frozenset(element_groups()["noble_gas"]) - named


def infeasibility(constraints: Constraints) -> str:
    """Return why no crystal can satisfy the constraints, with the key; "" when one may exist."""
    for rule in (_excluded_but_asked_for, _too_few_or_too_many, _too_small_a_cell, _no_listed_system):
        if reason := rule(constraints):
            return f"constraints.{reason}"
    return ""


def _excluded_but_asked_for(constraints: Constraints) -> str:
    """Return which asked-for elements the other rules forbid."""
    elements, allowed = constraints.elements, constraints.allowed_elements()
    usable = frozenset(elements.only or ELEMENT_SYMBOLS) - elements.excluded()
    if out := ", ".join(sorted(set(elements.include_all) - usable)):
        return f"elements.include_all: {out} is excluded by only, exclude or exclude_groups"
    for system in constraints.chemical_systems:
        if out := ", ".join(sorted(set(system.split("-")) - usable)):
            return f"chemical_systems: {system} holds {out}, which only, exclude or exclude_groups exclude"
    if not allowed:
        return "elements: only, exclude and exclude_groups together leave no element"
    if elements.include_any and not allowed & set(elements.include_any):
        return f"elements.include_any: none of {', '.join(elements.include_any)} is allowed"
    return ""


def _too_few_or_too_many(constraints: Constraints) -> str:
    """Return how n_elements contradicts the elements."""
    elements, n_allowed = constraints.elements, len(constraints.allowed_elements())
    least, most = constraints.n_elements
    if least > MOST_ELEMENTS:
        return f"n_elements: at least {least} asked for, but no search goes beyond {MOST_ELEMENTS} elements"
    if least > n_allowed:
        return f"n_elements: at least {least} asked for, but only {n_allowed} elements are allowed"
    if len(set(elements.include_all)) > most:
        return f"elements.include_all: {len(elements.include_all)} elements, but n_elements allows {most}"
    if len(_required(constraints)) > most:
        return f"elements.include_any: no room beside include_all with n_elements at most {most}"
    return ""


def _too_small_a_cell(constraints: Constraints) -> str:
    """Return how n_atoms contradicts the elements."""
    needed = max(constraints.n_elements[0], len(_required(constraints)))
    if needed > constraints.n_atoms[1]:
        return f"n_atoms: at most {constraints.n_atoms[1]} atoms cannot hold {needed} elements"
    return ""


def _no_listed_system(constraints: Constraints) -> str:
    """Return that no listed chemical system agrees with the other rules."""
    systems = constraints.chemical_systems
    if not systems or any(_fits(system, constraints) for system in systems):
        return ""
    return (
        f"chemical_systems: none of {', '.join(systems[:5])} agrees with n_elements"
        f" {list(constraints.n_elements)}, n_atoms {list(constraints.n_atoms)}, include_all and include_any"
    )


def _required(constraints: Constraints, within: frozenset[str] | None = None) -> frozenset[str]:
    """Return a smallest set of elements that include_all and include_any ask for."""
    elements = constraints.elements
    required = frozenset(elements.include_all)
    usable = constraints.allowed_elements() if within is None else within
    any_of = frozenset(elements.include_any) & usable
    return required if not any_of or any_of & required else required | {min(any_of)}


def _fits(system: str, constraints: Constraints) -> bool:
    """Return whether some crystal of a listed system (or its subsystems) can satisfy the other rules."""
    members = frozenset(system.split("-"))
    elements, (least, most) = constraints.elements, constraints.n_elements
    if not members.issuperset(elements.include_all):
        return False
    if elements.include_any and not members & set(elements.include_any):
        return False
    smallest = len(members)
    if constraints.subsystems:
        smallest = max(least, len(_required(constraints, members)))
    return least <= len(members) and smallest <= min(most, constraints.n_atoms[1])
