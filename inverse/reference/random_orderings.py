"""Order or solid solution: alike elements at random on the sites that they share, and what order is worth.

The sites that a class of alike elements holds in a crystal are taken as one sublattice, whatever their
orbits. Random arrangements at fixed composition in a small cell: pairs are a little less alike than in an
infinite solution, by 1 / (sites - 1).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.types import OrderDisorder
from inverse.reference.structure_types import alike_class

BOLTZMANN = 8.617333262e-5
"""eV/K; CODATA 2018."""

N_ORDERINGS = 8
"""Random arrangements that are relaxed beside the ordered crystal: at most ten relaxations a crystal."""

LEAST_ENERGIES = 3
"""Random arrangements that must have an energy for their mean to be one."""

LEAST_SITES, MOST_ATOMS = 6, 24
"""The cell is multiplied until each shared sublattice has so many sites, and not beyond so many atoms."""


@dataclass(frozen=True)
class Sublattice:
    """Sites that alike elements share.

    Attributes:
        sites: indices into the structure.
        species: element of each of them.
    """

    sites: tuple[int, ...]
    species: tuple[str, ...]


def shared_sublattices(structure: Structure) -> list[Sublattice]:
    """Return the sublattices on which at least two alike elements sit; [] for most crystals."""
    groups: dict[str, list[int]] = {}
    for index, site in enumerate(structure):
        groups.setdefault(alike_class(site.specie.symbol), []).append(index)
    found = [
        Sublattice(tuple(own), tuple(structure[i].specie.symbol for i in own)) for own in groups.values()
    ]
    return [sublattice for sublattice in found if len(set(sublattice.species)) > 1]


def has_room(structure: Structure) -> bool:
    """Return whether each shared sublattice of the enlarged cell has enough sites to be disordered on."""
    return min(len(s.sites) for s in shared_sublattices(enlarged(structure))) >= LEAST_SITES


def mixing_entropy(structure: Structure) -> float:
    """Return the ideal entropy of mixing on the shared sublattices, in k per atom of the crystal."""
    total = 0.0
    for sublattice in shared_sublattices(structure):
        n = len(sublattice.species)
        shares = [count / n for count in Counter(sublattice.species).values()]
        total -= n * sum(x * math.log(x) for x in shares)
    return total / len(structure)


def enlarged(structure: Structure) -> Structure:
    """Return the smallest, then most compact supercell in which the sublattices have room for disorder."""
    n_sites = min(len(s.sites) for s in shared_sublattices(structure))
    most = max(1, MOST_ATOMS // len(structure))
    wanted = min(most, math.ceil(LEAST_SITES / n_sites))
    sizes = [m for m in product(range(1, wanted + 1), repeat=3) if wanted <= math.prod(m) <= most]
    lengths = np.array(structure.lattice.abc)
    best = min(sizes, key=lambda m: (math.prod(m), float(np.ptp(lengths * np.array(m))), m))
    return structure * best


def random_orderings(structure: Structure, seed: int, n: int = N_ORDERINGS) -> list[Structure]:
    """Return n random arrangements of the alike elements on the sites that they share, composition kept.

    Arrangements may repeat: the mean over them is then that of the random solution.

    Args:
        structure: with a shared sublattice.
        seed: of a generator of this crystal's own.
        n: how many.
    """
    cell, rng = enlarged(structure), np.random.default_rng(seed)
    found = []
    for _ in range(n):
        mixed = cell.copy()
        for sublattice in shared_sublattices(cell):
            for site, species in zip(sublattice.sites, rng.permutation(sublattice.species), strict=True):
                mixed.replace(site, str(species))
        found.append(mixed)
    return found


def order_disorder(structure: Structure, ordered: float, random: Sequence[float]) -> OrderDisorder:
    """Return the temperature at which the ideal entropy of mixing pays for the loss of order.

    T = (mean energy of random arrangements - energy of the ordered crystal) / (k x entropy of mixing per
    atom); negative where random ones are lower. Vibrations and short-range order are left out.

    Args:
        structure: the ordered crystal, with a shared sublattice.
        ordered: its energy, eV/atom.
        random: those of random arrangements, eV/atom; fewer than `LEAST_ENERGIES` leave it open, as does a
            crystal without room for disorder.
    """
    entropy = mixing_entropy(structure)
    elements = sorted({e for s in shared_sublattices(structure) for e in s.species})
    known = [energy for energy in random if math.isfinite(energy)]
    if not has_room(structure):
        reason = f"{MOST_ATOMS} atoms have too few of the sites that they share"
        return OrderDisorder(math.nan, math.nan, len(known), entropy, tuple(elements), reason)
    if len(known) < LEAST_ENERGIES or not math.isfinite(ordered):
        reason = f"{len(known)} of {len(random)} random arrangements have an energy"
        return OrderDisorder(math.nan, math.nan, len(known), entropy, tuple(elements), reason)
    unit = BOLTZMANN * entropy
    spread = float(np.std(known, ddof=1)) / math.sqrt(len(known))
    temperature = (float(np.mean(known)) - ordered) / unit
    return OrderDisorder(temperature, spread / unit, len(known), entropy, tuple(elements))
