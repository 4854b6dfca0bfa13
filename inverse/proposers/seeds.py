"""Crystals that the user starts from: as they are, with promising elements on their sites, and descended."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import numpy as np
from pymatgen.core import Structure

from inverse.progress import tell
from inverse.proposers.compositions import (
    N_PATTERNS,
    RankedComposition,
    predicted_volumes,
    ranked_compositions,
    stoichiometry,
)
from inverse.proposers.descent import DescentSettings
from inverse.proposers.distinct import distinct
from inverse.proposers.gradient import descended
from inverse.proposers.protocol import Proposal, generator
from inverse.proposers.search_space import SearchSpace
from inverse.types import Candidate, Origin

LOGGER = logging.getLogger(__name__)

MOST_RANKED = 2000
"""Compositions ranked before those of the seed's stoichiometry are picked."""


@dataclass(frozen=True)
class SeedSettings:
    """How far the search goes from its seeds.

    Attributes:
        n_compositions: promising compositions of each seed's stoichiometry put on its sites.
        n_descended: seeds and best substitutions that are descended.
        descent: how; the species are soft, so that elements may change once more.
    """

    n_compositions: int = 120
    n_descended: int = 32
    descent: DescentSettings = field(default_factory=lambda: DescentSettings(steps=20, species_rate=0.15))


class SeedSearch:
    """Hands out the seeds first, then whichever of their substitutions and descents is worth most now.

    The pool rests on (config, seeds, seed) and the shipped surrogate alone, so a resumed run agrees.
    """

    name = "seeds"

    def __init__(
        self,
        space: SearchSpace,
        seeds: Sequence[tuple[str, Structure]],
        settings: SeedSettings | None = None,
    ) -> None:
        """Remember the seeds; nothing is computed before the first ask.

        Args:
            space: models and wishes.
            seeds: (name, ordered primitive cell).
            settings: how far to go.
        """
        self._space, self._seeds, self._settings = space, list(seeds), settings or SeedSettings()
        self._pool: list[Proposal] | None = None
        self._n_first = 0
        self._tried: set[int] = set()

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the seeds not handed out yet, then the best of what was made from them."""
        pool = self._made(seed)
        free = [k for k in range(len(pool)) if k not in self._tried]
        first = [k for k in free if k < self._n_first]
        others = [k for k in free if k >= self._n_first]
        values = self._space.scored([pool[k].structure for k in others])
        ranked = [others[i] for i in np.argsort(-values, kind="stable")]
        numbered = [replace(p, history={**p.history, "seed_pool": k}) for k, p in enumerate(pool)]
        chosen = [numbered[k] for k in first][: max(n, 0)]
        known = {id(p) for p in chosen}
        found = self._space.offered.fresh((*chosen, *(numbered[k] for k in ranked)), n + len(chosen))
        return [*chosen, *[p for p in found if id(p) not in known]][: max(n, 0)]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was proposed from the pool, whatever became of it."""
        self._space.offered.remember(candidates)
        self._tried |= {
            int(c.history["seed_pool"])
            for c in candidates
            if c.proposer == self.name and "seed_pool" in c.history
        }

    def _made(self, seed: int) -> list[Proposal]:
        if self._pool is None:
            first = starts(self._space, self._seeds, self.name, seed)
            substituted = self._substituted(seed)
            self._n_first = len(first)
            made = distinct([*first, *substituted, *self._descended(first, substituted, seed)])
            self._pool = [*first, *[p for p in made if all(p is not own for own in first)]]
            n_made = len(self._pool) - len(first)
            tell("seeds: %d of %d, %d made from them", len(first), len(self._seeds), n_made)
        return self._pool

    def _substituted(self, seed: int) -> list[Proposal]:
        """Return the seeds with other elements on their sites, most worth first; sound ones only."""
        space = self._space
        found: list[Proposal] = []
        for name, parent in self._seeds:
            for structure in [*swapped(space, parent), *self._promising(parent)]:
                history = {"kind": "substitution", "seed": name}
                found.append(Proposal(structure, self.name, seed, history, origin=Origin.CHILD))
        found = [p for p in found if not space.screening(p.structure)]
        values = space.scored([p.structure for p in found], corrected=False)
        return [found[k] for k in np.argsort(-values, kind="stable")]

    def _promising(self, parent: Structure) -> list[Structure]:
        """Return the parent with the compositions on its sites that promise most, whatever their elements."""
        pattern = _pattern(parent)
        if self._space.compositions is None or len(pattern) > max(N_PATTERNS):
            return []
        # pairs tell which elements are promising in larger compositions
        ranked = ranked_compositions(self._space, self._space.compositions, [(1, 1), pattern], MOST_RANKED)
        own = [c for c in ranked if stoichiometry(list(c.amounts.values())) == pattern]
        return [s for c in own[: self._settings.n_compositions] for s in substitutions(parent, c)]

    def _descended(
        self, first: Sequence[Proposal], substituted: Sequence[Proposal], seed: int
    ) -> list[Proposal]:
        """Return what gradient descent makes of the seeds and of their best substitutions."""
        begin = [*first, *substituted][: self._settings.n_descended]
        if not begin:
            return []
        fixed = replace(self._space, corrected=self._space.base)
        rng, descent = generator(seed, 0, 11), self._settings.descent
        found = descended(fixed, begin, len(begin), descent, rng, self.name, begin)
        return [
            replace(
                p,
                history={**p.history, "kind": "descent", "seed": p.history["start_history"]["seed"]},
                origin=Origin.CHILD,
            )
            for p in found
        ]


def starts(
    space: SearchSpace, seeds: Sequence[tuple[str, Structure]], proposer: str, seed: int
) -> list[Proposal]:
    """Return the seeds that hold allowed elements only, as proposals; the log names the others."""
    allowed, found = set(space.allowed_elements), []
    for name, structure in seeds:
        odd = sorted({site.specie.symbol for site in structure} - allowed)
        if odd:
            LOGGER.warning("seed %s: holds %s, which the config or the models exclude", name, ", ".join(odd))
            continue
        history = {"kind": "seed", "seed": name}
        found.append(Proposal(structure, proposer, seed, history, origin=Origin.SEED))
    return found


def swapped(space: SearchSpace, parent: Structure) -> list[Structure]:
    """Return the parent with one element exchanged for each other allowed one.

    The volume follows the ratio of the volumes expected of the two compositions, as far as they are known.
    """
    own = dict(Counter(site.specie.symbol for site in parent))
    changed = [
        (old, new, {new if e == old else e: n for e, n in own.items()})
        for old in sorted(own)
        for new in space.allowed_elements
        if new not in own
    ]
    if not set(own) <= set(space.allowed_elements):
        ratios = np.ones(len(changed))  # nothing is known of the seed's own volume
    else:
        volumes = predicted_volumes(space, [own, *[amounts for _, _, amounts in changed]])
        ratios = np.nan_to_num(volumes[1:] / volumes[0], nan=1.0)
    found = []
    for (old, new, _), ratio in zip(changed, ratios, strict=True):
        structure = parent.copy()
        structure.replace_species({old: new})
        structure.scale_lattice(parent.volume * float(ratio))
        found.append(structure)
    return found


def substitutions(parent: Structure, composition: RankedComposition) -> list[Structure]:
    """Return the parent with the composition's elements on its sites, at the volume expected of them.

    Every way to put elements on the sites that one element held; [] when the amounts do not fit.
    """
    counts = Counter(site.specie.symbol for site in parent)
    if _pattern(parent) != stoichiometry(list(composition.amounts.values())):
        return []
    scale = len(parent) // sum(composition.amounts.values())
    labels, wanted = sorted(counts), {e: a * scale for e, a in composition.amounts.items()}
    volume = composition.volume_per_atom
    found = []
    for order in permutations(sorted(wanted)):
        if any(wanted[e] != counts[label] for e, label in zip(order, labels, strict=True)):
            continue
        if list(order) == labels:
            continue  # the seed itself
        structure = parent.copy()
        structure.replace_species(dict(zip(labels, order, strict=True)))
        if np.isfinite(volume):
            structure.scale_lattice(volume * len(parent))
        found.append(structure)
    return found


def _pattern(structure: Structure) -> tuple[int, ...]:
    return stoichiometry(list(Counter(site.specie.symbol for site in structure).values()))
