"""Real crystals of an ordering: alike elements put on the sites of a known phase's cell or supercell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from pymatgen.core import Composition, Structure

from inverse.reference.construction import Complete, structure_of
from inverse.reference.known import KnownMaterials
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import n_atoms_of

MAX_ORDERED = 3
"""Most distinct arrangements proposed for one formula."""

PERMUTATIONS = 12
"""Random arrangements that are tried in each cell, after the one that keeps alike elements together."""


@dataclass(frozen=True)
class Ordering:
    """One composition between known phases.

    Attributes:
        formula: reduced formula.
        end_members: reduced formula -> share of the sites.
        host: whose structure is taken (the end member with the largest share that has a carried structure).
        element: of the host, whose sites are shared.
        n_cells: primitive host cells needed.
        n_atoms: of the ordered cell.
        values: mixed K, G and what follows from them, energy above hull where asked for; predicted only.
        is_known: formula in a carried table.
    """

    formula: str
    end_members: Mapping[str, float]
    host: str
    element: str
    n_cells: int
    n_atoms: int
    values: Mapping[str, float]
    is_known: bool


def ordered_structures(
    ordering: Ordering,
    known: KnownMaterials,
    complete: Complete | None = None,
    seed: int = 0,
    limit: int = MAX_ORDERED,
) -> list[Structure]:
    """Return distinct ordered crystals of an ordering, layers along c first; [] when the host fails.

    The host's cell takes the mean volume of the end members (Vegard).
    """
    host = _host_structure(ordering, known, complete, seed)
    if host is None:
        return []
    found: dict[str, Structure] = {}
    for matrix in supercells(ordering.n_cells):
        cell = host * matrix
        sites = [i for i, s in enumerate(cell) if s.specie.symbol == ordering.element]
        for decoration in _decorations(ordering, len(sites)):
            ordered = cell.copy()
            for site, element in zip(sites, decoration, strict=True):
                ordered.replace(site, element)
            text = signature_text(Cell.from_structure(ordered))
            if text is not None and n_atoms_of(text) == len(ordered):
                found.setdefault(text, ordered)
            if len(found) >= limit:
                return list(found.values())
    return list(found.values())


def _host_structure(
    ordering: Ordering, known: KnownMaterials, complete: Complete | None, seed: int
) -> Structure | None:
    n_atoms = ordering.n_atoms // ordering.n_cells
    for found in known.signatures_of_reduced(ordering.host):
        if n_atoms_of(found.text) == n_atoms:
            structure = structure_of(found, complete, seed)
            if structure is not None:
                volume = _vegard(ordering, known, found.volume_per_atom)
                return structure.scale_lattice(volume * len(structure))
    return None


def _vegard(ordering: Ordering, known: KnownMaterials, host_volume: float) -> float:
    total = 0.0
    for formula, share in ordering.end_members.items():
        volumes = [s.volume_per_atom for s in known.signatures_of_reduced(formula)]
        near = min(volumes, key=lambda v: abs(v - host_volume)) if volumes else host_volume
        total += share * near
    return total


def supercells(n_cells: int) -> list[list[list[int]]]:
    """Return every lattice of so many cells once, in Hermite normal form, stacking along c first.

    Rows are multiples of the cell's vectors; an entry below the diagonal counts modulo that of its column.
    """
    forms = [
        [[a, 0, 0], [d, b, 0], [e, f, c]]
        for a, b, c in product(range(1, n_cells + 1), repeat=3)
        if a * b * c == n_cells
        for d in range(a)
        for e, f in product(range(a), range(b))
    ]
    return sorted(forms, key=lambda m: (-m[2][2], sum(map(sum, m)), m))


def _decorations(ordering: Ordering, n_sites: int) -> Iterator[tuple[str, ...]]:
    """Yield elements of the shared sites, a few arrangements: grouped first, then rotated permutations."""
    pool: list[str] = []
    host_rest = Composition(ordering.host).get_el_amt_dict()
    host_rest.pop(ordering.element)
    for formula, share in ordering.end_members.items():
        own = Composition(formula).get_el_amt_dict()
        pool += [next(e for e in own if own[e] != host_rest.get(e))] * round(share * n_sites)
    rng = np.random.default_rng([n_sites, len(pool)])
    permuted = [tuple(pool[i] for i in rng.permutation(n_sites)) for _ in range(PERMUTATIONS)]
    yield from dict.fromkeys([tuple(pool), *permuted])
