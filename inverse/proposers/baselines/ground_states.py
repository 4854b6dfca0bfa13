"""Which of a formula's carried structures is lowest in energy: by the tables, else by the surrogate."""

from collections.abc import Sequence

from pymatgen.core import Composition

from inverse.proposers.search_space import SearchSpace
from inverse.reference.construction import structure_of
from inverse.reference.facts import Facts
from inverse.reference.known_structures import AS_LOW, tabulated_phases
from inverse.reference.signatures import Signature
from inverse.reference.skeletons import n_atoms_of
from surrogates.physics.properties import FORMATION_ENERGY

MOST_PREDICTED = 8
"""Structures of a formula that are built and predicted where no table says which is lowest, those of high
symmetry first."""

EQUAL = 1e-4
"""eV/atom; energies as near as this are one energy, and the smaller cell comes first."""


def lowest_first(
    space: SearchSpace, facts: Facts, formula: str, found: Sequence[Signature], seed: int
) -> list[Signature]:
    """Return a formula's carried structures, lowest in energy first; of equal ones the smaller cell.

    Tabulated energies decide where the lowest of them is that of the formula; what none is tabulated of comes
    after. Else the structures are built and predicted, and those that cannot be built come last. A structure
    with a tabulated energy comes at the volume of that cell.

    Args:
        space: its decoder and its surrogate as shipped.
        facts: with the formation energy of the formula's lowest polymorph.
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
    at_cell = [cells[s.text][1] if s.text in cells else s for s in by_symmetry]
    energies = {text: energy for text, (energy, _) in cells.items()}
    lowest = facts.formation_energy_of(Composition(formula))
    if lowest is None or min(energies.values(), default=float("inf")) > lowest + AS_LOW:
        energies = _predicted(space, at_cell[:MOST_PREDICTED], seed)
    rank = {text: round(energy / EQUAL) for text, energy in energies.items()}
    last = max(rank.values(), default=0) + 1
    return sorted(
        at_cell,
        key=lambda s: (rank.get(s.text, last), n_atoms_of(s.text) if s.text in rank else 0),
    )


def _predicted(space: SearchSpace, found: Sequence[Signature], seed: int) -> dict[str, float]:
    """Return what the surrogate says of the structures that can be built, eV/atom by signature."""
    made = [(s.text, structure_of(s, space.complete, seed)) for s in found]
    built = [(text, structure) for text, structure in made if structure is not None]
    sound = [(text, structure) for text, structure in built if space.screening(structure) is None]
    if not sound:
        return {}
    means = space.base.predict([structure for _, structure in sound])[FORMATION_ENERGY].mean.tolist()
    return dict(zip((text for text, _ in sound), means, strict=True))
