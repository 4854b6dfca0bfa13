"""Crystals that the user starts from: as they are, with promising elements on their sites, and descended."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, zip_longest

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.types import Candidate, Origin
from inverse.inputs.constraints import MOST_ELEMENTS
from inverse.proposers.baselines.divided_cells import divided
from inverse.proposers.building.compositions import RankedComposition, predicted_volumes, ranked_compositions
from inverse.proposers.building.descent import DescentSettings
from inverse.proposers.distinct import Offered
from inverse.proposers.given import NAME, GivenSeeds, starts
from inverse.proposers.gradient import descended
from inverse.proposers.news import tell
from inverse.proposers.pool import WIDTHS, Entry, Pool
from inverse.proposers.protocol import Proposal, Proposer, generator
from inverse.proposers.search_space import SearchSpace
from inverse.reference.structure_types import Stoichiometry, stoichiometry

LOGGER = logging.getLogger(__name__)

MOST_RANKED = 2000
"""Compositions ranked before those of the seed's stoichiometry are picked, to begin with."""

MOST_DIVISIONS = 3
"""Times that a seed's cell is doubled when compositions on its own sites are used up."""

MOST_CELLS = 24
"""Divided cells of each doubling; the first ones of every seed's come first."""

DESCENT = DescentSettings(steps=20, species_rate=0.15)
"""How seeds and substitutions descend: the species are soft, so that elements may change once more."""

N_COMPOSITIONS, N_DESCENDED, FEWEST, MOST_IN_BATCH = 120, 32, 256, 2000
"""How far the search goes from its seeds where nothing else is asked for: see `SeedSettings`."""

DESCENTS = 10
"""Generators of step 0 from which on those of the descents begin, one for each batch."""


@dataclass(frozen=True)
class SeedSettings:
    """How far the search goes from its seeds.

    Attributes:
        n_compositions: promising compositions of each seed's stoichiometry put on its sites, to begin with.
        n_descended: seeds and best substitutions of a batch that are descended.
        descent: how.
        fewest: crystals left below which the next batch is made.
        most_cells: cells with other elements on their sites in a batch, in turn one of every parent's.
    """

    n_compositions: int = N_COMPOSITIONS
    n_descended: int = N_DESCENDED
    descent: DescentSettings = DESCENT
    fewest: int = FEWEST
    most_cells: int = MOST_IN_BATCH


class SeedSearch(Proposer):
    """Hands out the seeds first, then whichever of their substitutions and descents is worth most now.

    The pool rests on (config, seeds, seed) and the shipped surrogate alone, so a resumed run agrees. It is
    refilled with less promising compositions as it empties.
    """

    name = NAME

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
        self._given = GivenSeeds(space, seeds)
        self._pool = Pool(space, self._batches, self._settings.fewest)

    @property
    def n_first(self) -> int:
        """How many seeds were not handed out yet."""
        return self._given.n_first

    @property
    def is_finished(self) -> bool:
        """Never known: what is made of the seeds shows its end in an ask only."""
        return False

    def ask(self, n: int, step: int, seed: int) -> list[Proposal]:
        """Return the seeds not handed out yet, then the best of what was made from them."""
        return [entry.proposal for entry in self._pool.ranked(n, seed)[: max(n, 0)]]

    def tell(self, candidates: Sequence[Candidate]) -> None:
        """Cross out what was proposed from the pool, whatever became of it."""
        self._given.tell(candidates)
        self._pool.cross_out(self.name, candidates)

    def _batches(self, seed: int) -> Iterator[list[Entry]]:
        """Yield the seeds with what is made of them first, then what less promising compositions make."""
        first = self._given.listed(seed)
        listed = [Entry(p, float(-k), is_first=True) for k, p in enumerate(first)]
        begin = starts(self._space, self._seeds, self.name, seed)
        for number, substituted in self._rounds(seed):
            descents = self._descended([*begin, *substituted], seed, number)
            n_made = len(substituted) + len(descents)
            tell("seeds: %d of %d, %d made from them", len(first), len(self._seeds), n_made)
            yield [*listed, *self._valued([*substituted, *descents])]
            listed, begin = [], []

    def _rounds(self, seed: int) -> Iterator[tuple[int, list[Proposal]]]:
        """Yield (number, substitutions) of every batch; those of the first may be none, those of others not.

        A number tells what a batch was made from: width, 100 for every doubling, 1,000 for every batch before
        it of the same parents and width.
        """
        parents = [_Parent(name, structure) for name, structure in self._seeds]
        made: set[tuple[str, str]] = set()
        for division in range(MOST_DIVISIONS + 1):
            if division:
                parents = self._divided(parents)
            for width in WIDTHS:
                n_batches = 0
                for substituted in self._substituted(parents, seed, width, made):
                    yield width + 100 * division + 1000 * n_batches, substituted
                    n_batches += 1
                if not n_batches:
                    if (division, width) == (0, WIDTHS[0]):
                        yield width, []
                    break

    def _valued(self, proposals: Sequence[Proposal]) -> list[Entry]:
        values = self._space.scored([p.structure for p in proposals], corrected=False)
        return [Entry(p, float(value)) for p, value in zip(proposals, values, strict=True)]

    def _substituted(
        self, parents: Sequence["_Parent"], seed: int, width: int, made: set[tuple[str, str]]
    ) -> Iterator[list[Proposal]]:
        """Yield batches of cells with other elements on their sites, most worth first; sound ones only.

        Args:
            parents: the seeds, or divided cells of them.
            seed: of the run.
            width: how many times as many compositions as usual are tried.
            made: (name of the cell, elements on its sites) that were made before; what is made now is added.
        """
        space, cells = self._space, self._cells(parents, seed, width, made)
        while batch := list(islice(cells, self._settings.most_cells)):
            sound = [p for p in batch if not space.screening(p.structure)]
            if sound:
                values = space.scored([p.structure for p in sound], corrected=False)
                yield [sound[k] for k in np.argsort(-values, kind="stable")]

    def _cells(
        self, parents: Sequence["_Parent"], seed: int, width: int, made: set[tuple[str, str]]
    ) -> Iterator[Proposal]:
        """Yield cells that were not made before, in turn one of every parent's."""
        ranked = {p: self._promising(p, width) for p in sorted({_pattern(p.structure) for p in parents})}
        columns = [self._filled(p, ranked[_pattern(p.structure)], width) for p in parents]
        for row in zip_longest(*columns):
            for parent, structure in zip(parents, row, strict=True):
                if structure is None:
                    continue  # this parent has no more
                sites = " ".join(site.specie.symbol for site in structure)
                if (parent.name, sites) in made:
                    continue
                made.add((parent.name, sites))
                history = {"kind": "substitution", "seed": parent.seed, "cell": parent.division}
                key = f"{parent.name}: {sites}"
                yield Proposal(structure, self.name, seed, history, origin=Origin.CHILD, key=key)

    def _filled(
        self, parent: "_Parent", promising: Sequence[RankedComposition], width: int
    ) -> Iterator[Structure]:
        """Yield the parent with one element exchanged, then with promising compositions on its sites."""
        if width == WIDTHS[0] and not parent.division:
            yield from swapped(self._space, parent.structure)
        for composition in promising:
            yield from substitutions(parent.structure, composition)

    def _promising(self, pattern: Stoichiometry, width: int) -> list[RankedComposition]:
        """Return the compositions of a stoichiometry that promise most, whatever their elements."""
        low, high = self._space.constraints.n_elements
        if self._space.compositions is None or not low <= len(pattern) <= min(high, MOST_ELEMENTS):
            return []
        ranked = ranked_compositions(
            self._space, self._space.compositions, [(1, 1), pattern], width * MOST_RANKED, width
        )
        own = [c for c in ranked if stoichiometry(list(c.amounts.values())) == pattern]
        return own[: width * self._settings.n_compositions]

    def _divided(self, parents: Sequence["_Parent"]) -> list["_Parent"]:
        """Return divided cells within the config's atoms and elements, the first of every parent's first.

        Each doubling brings one element more, so what has the most elements allowed is not doubled.
        """
        most_atoms, most_elements = self._space.constraints.n_atoms[1], self._space.constraints.n_elements[1]
        small = [
            parent
            for parent in parents
            if 2 * len(parent.structure) <= most_atoms and len(parent.structure.symbol_set) < most_elements
        ]
        columns = [
            [
                _Parent(parent.seed, cell, f"{parent.division}/{k}")
                for k, cell in enumerate(divided(parent.structure))
            ]
            for parent in small
        ]
        in_turn = [parent for row in zip_longest(*columns) for parent in row if parent is not None]
        return in_turn[:MOST_CELLS]

    def _descended(self, begin: Sequence[Proposal], seed: int, number: int) -> list[Proposal]:
        """Return what gradient descent makes of the best crystals of a batch: others than it began with."""
        begin = begin[: self._settings.n_descended]
        fixed = replace(self._space, corrected=self._space.base, offered=Offered())
        rng, descent = generator(seed, 0, DESCENTS + number), self._settings.descent
        found = descended(fixed, begin, len(begin), descent, rng, self.name, begin)
        return [
            replace(
                p,
                history={**p.history, "kind": "descent", "seed": p.history["start_history"]["seed"]},
                origin=Origin.CHILD,
                key=f"descent {number} {k}",
            )
            for k, p in enumerate(found)
        ]


@dataclass(frozen=True)
class _Parent:
    """A cell whose sites other elements are put on.

    Attributes:
        seed: name of the seed.
        structure: its cell, or a divided one, where a stand-in marks the sites set apart.
        division: which divided cell of the seed, "" for its own.
    """

    seed: str
    structure: Structure
    division: str = ""

    @property
    def name(self) -> str:
        """Name of this cell among all."""
        return f"{self.seed} {self.division}".strip()


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
    if set(own) - set(space.allowed_elements):
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
        is_fitting = [wanted[e] for e in order] == [counts[label] for label in labels]
        if not is_fitting or list(order) == labels:
            continue  # other amounts, or the seed itself
        structure = parent.copy()
        structure.replace_species(dict(zip(labels, order, strict=True)))
        if np.isfinite(volume):
            structure.scale_lattice(volume * len(parent))
        found.append(structure)
    return found


def _pattern(structure: Structure) -> tuple[int, ...]:
    return stoichiometry(list(Counter(site.specie.symbol for site in structure).values()))
