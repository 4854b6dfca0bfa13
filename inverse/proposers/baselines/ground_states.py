"""Which of a formula's carried structures, as they can be built, is lowest in energy."""

import math
from collections.abc import Sequence

from inverse.proposers.search_space import SearchSpace
from inverse.reference.construction import structure_of
from inverse.reference.known_structures import tabulated_phases
from inverse.reference.signatures import Signature
from inverse.reference.skeletons import n_atoms_of
from surrogates.physics.properties import FORMATION_ENERGY

MOST_PREDICTED = 6
"""Structures of a formula that are built and predicted: those of lowest tabulated energy, then those of high
symmetry."""

AS_TABULATED = 0.05
"""eV/atom; the lowest of the tables is taken where it is predicted, as it is built, to lie no higher."""

EQUAL = 1e-4
"""eV/atom; energies as near as this are one energy, and the smaller cell comes first."""


def lowest_first(space: SearchSpace, formula: str, found: Sequence[Signature], seed: int) -> list[Signature]:
    """Return a formula's carried structures, lowest in energy first; of equal ones the smaller cell.

    The lowest of the tables is built and predicted. The prediction of a known phase is its tabulated energy
    and what the surrogate says that the built cell differs by, so one on the wrong shape of its type (layers
    of BN squeezed together) is seen. Where it is wrong or not known, more are predicted, and they decide;
    those not predicted come last. A structure with a tabulated energy comes at the volume of that cell.

    Args:
        space: its decoder and its surrogate as shipped.
        formula: reduced.
        found: its structures.
        seed: of the decoder.
    """
    by_symmetry = sorted(found, key=lambda s: (-s.space_group, s.text))
    if len(found) < 2:
        return by_symmetry
    cells: dict[str, tuple[float, Signature]] = {}
    for energy, cell in tabulated_phases().get(formula, ()):  # lowest first
        cells.setdefault(cell.text, (energy, cell))
    order = {text: place for place, text in enumerate(cells)}
    at_cell = [cells[s.text][1] if s.text in cells else s for s in by_symmetry]
    at_cell.sort(key=lambda s: order.get(s.text, len(order)))
    first = at_cell[0].text
    energies = _predicted(space, at_cell[:1], seed) if first in cells else {}
    if first in energies and energies[first] <= cells[first][0] + AS_TABULATED:
        return at_cell
    energies |= _predicted(space, at_cell[len(energies) : MOST_PREDICTED], seed)
    rank = {text: round(energy / EQUAL) for text, energy in energies.items()}
    last = max(rank.values(), default=0) + 1
    return sorted(
        at_cell, key=lambda s: (rank.get(s.text, last), n_atoms_of(s.text) if s.text in rank else 0)
    )


def _predicted(space: SearchSpace, found: Sequence[Signature], seed: int) -> dict[str, float]:
    """Return what the surrogate says of the structures that can be built, eV/atom by signature."""
    made = [(s.text, structure_of(s, space.complete, seed)) for s in found]
    built = [(text, structure) for text, structure in made if structure is not None]
    sound = [(text, structure) for text, structure in built if space.screening(structure) is None]
    if not sound:
        return {}
    means = space.base.predict([structure for _, structure in sound])[FORMATION_ENERGY].mean.tolist()
    pairs = zip((text for text, _ in sound), means, strict=True)
    return {text: mean for text, mean in pairs if math.isfinite(mean)}
