"""Known formulas of which no structure is carried, in the structure type that explains their energy.

The tables know the energy of such a formula's ground state and not its structure. Formulas of alike elements
share structure types, and of the types that a formula's kin have the right one has that energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pymatgen.core import Composition, Structure

from inverse.proposers.building.cells import has_shape, shapes_of
from inverse.proposers.building.compositions import RankedComposition, predicted_volumes
from inverse.proposers.building.plans import Plan, planned
from inverse.proposers.search_space import SearchSpace
from inverse.reference.geometries import built
from inverse.reference.signatures import format_signature, parse_signature
from inverse.reference.skeletons import LABELS
from surrogates.physics.properties import FORMATION_ENERGY

N_TYPES, SHAPES = 6, 2
"""Structure types tried for a formula, the most familiar first, and learned shapes of each."""

MOST_PLANS = 24
"""Types with elements on their labels among which these are found: those that differ by the names of equal
orbits are one."""

AS_LOW = 0.05
"""eV/atom above the lowest type within which another may be the ground state, the more familiar one sooner:
what differs in stacking alone differs by less, and the surrogate cannot tell."""

FARTHEST = 0.1
"""eV/atom by which the predicted energy may differ from the tabulated one."""


@dataclass(frozen=True)
class TypedCell:
    """A formula in a structure type.

    Attributes:
        plan: formula, type and which element sits where.
        structure: primitive cell at the volume that the composition surrogate expects.
        energy: predicted formation energy, eV/atom.
    """

    plan: Plan
    structure: Structure
    energy: float


def assigned_types(
    space: SearchSpace, formula: str, energy: float, n_atoms: tuple[int, int]
) -> list[TypedCell]:
    """Return a known formula in the types that explain its tabulated energy, the most familiar first.

    Args:
        space: its structure types, surrogates and screen.
        formula: reduced.
        energy: tabulated formation energy, eV/atom.
        n_atoms: least and most atoms of the primitive cell.
    """
    return believed(typed_cells(space, formula, n_atoms), energy)


def typed_cells(space: SearchSpace, formula: str, n_atoms: tuple[int, int]) -> list[TypedCell]:
    """Return a formula in the types that formulas of such elements have, the most familiar first."""
    amounts = {e.symbol: round(n) for e, n in Composition(formula).items()}
    if not set(amounts) <= set(space.allowed_elements):
        return []
    volume = float(predicted_volumes(space, [amounts])[0])
    composition = RankedComposition(amounts, 1.0, volume, is_known=True)
    plans = planned([composition], space.structure_types(), MOST_PLANS, n_atoms, lambda own: frozenset())
    distinct: dict[str, Plan] = {}
    for plan in plans:
        if has_shape(plan.prototype):
            distinct.setdefault(decorated(plan), plan)
    tried = list(distinct.values())[:N_TYPES]
    shaped = [(plan, shape) for plan in tried for shape in shapes_of(plan.prototype, plan.elements, SHAPES)]
    if not shaped:
        return []
    crystals = built(
        [shape for _, shape in shaped],
        [plan.elements for plan, _ in shaped],
        [plan.volume_per_atom for plan, _ in shaped],
    )
    found = zip(shaped, crystals.to_structures(), strict=True)
    sound = [(plan, structure) for (plan, _), structure in found if not space.screening(structure)]
    if not sound:
        return []
    energies = space.base.predict([structure for _, structure in sound])[FORMATION_ENERGY].mean.tolist()
    return [TypedCell(plan, s, energy) for (plan, s), energy in zip(sound, energies, strict=True)]


def decorated(plan: Plan) -> str:
    """Return the signature of a plan: the type's with elements for labels."""
    number, orbits = parse_signature(plan.prototype.text)
    name = dict(zip(LABELS, plan.elements, strict=False))
    return format_signature(number, [replace(orbit, element=name[orbit.element]) for orbit in orbits])


def believed(cells: Sequence[TypedCell], energy: float) -> list[TypedCell]:
    """Return the cells as low as the lowest, one a type; none where that is not the tabulated energy."""
    lowest = min((cell.energy for cell in cells), default=float("inf"))
    if abs(lowest - energy) > FARTHEST:
        return []
    found: dict[str, TypedCell] = {}
    for cell in cells:
        if cell.energy <= lowest + AS_LOW:
            found.setdefault(decorated(cell.plan), cell)
    return list(found.values())
