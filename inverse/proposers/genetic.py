"""Genetic search over the same numbers as the outer search: tournament, crossover, mutation.

Each number of elements is a population of its own, of distinct crystals: one crystal at many densities, or a
single ternary with its kin, would otherwise crowd out all others.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
from pymatgen.core import Structure

from inverse.candidates.registry import PROPOSERS
from inverse.proposers.bayesian import GIVEN_UP, ROUND, OuterSearch
from inverse.proposers.protocol import generator, happens
from inverse.proposers.search_space import SearchSpace
from inverse.proposers.trial_space import Chosen, Numbers, bounded, density_at
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous
from inverse.reference.structure_types import Prototype

LOGGER = logging.getLogger(__name__)

FOUNDER_SYMPREC = 0.1
"""Å, at which a founder is compared with known structure types."""

POPULATION = 32
"""Best crystals of each number of elements that breed."""

TOURNAMENT = 2
"""Trials that compete to be a parent."""

MUTATION, MUTATION_WIDTH = 0.25, 0.08
"""Chance that a number changes, and by how much; one change in three is a fresh draw."""

FRESH_SHARE = 1 / 3
"""Share of the changes that are a fresh draw; of the amounts, which have no order, all are."""


FOUNDING = (0, 99)
"""Step and index of the generator of the founders' children; no other draws of a campaign have them."""


class GeneticSearch(OuterSearch):
    """Breeds the next round from the best trials so far; the first rounds are blind but for the founders."""

    def __init__(
        self,
        space: SearchSpace,
        known: Callable[[], Sequence[Prototype]],
        founders: Sequence[Structure] = (),
    ) -> None:
        """Found the population.

        Args:
            space: models and wishes.
            known: structure types of known materials.
            founders: crystals that the first round holds and breeds from, as far as their type is known.
        """
        super().__init__(space, known, "genetic")
        self._founders = list(founders)

    def _drawn(self, seed: int, step: int, turn: int) -> list[dict[str, float]]:
        drawn = super()._drawn(seed, step, turn)
        return drawn if self._trials else self._founded(drawn, seed)

    def _draws(self, size: int, rng: np.random.Generator) -> Iterator[Numbers]:
        population = [trial.numbers for trial in self._memory(size).parents()[:POPULATION]]
        names = tuple(dict.fromkeys(name for part in self._trial_space.parts_of(size) for name in part))
        while True:
            yield _child(population, rng, names)

    def _founded(self, blind: Sequence[dict[str, float]], seed: int) -> list[dict[str, float]]:
        """Return the first round: the founders, children of theirs in every other place, the rest blind."""
        given = (n for s in self._founders if (n := self._numbers_of(s)) is not None)
        founders = self._new(given, ROUND)
        if not founders:
            return list(blind)
        names, rng = self._trial_space.names, generator(seed, *FOUNDING)
        draws = (_child([founders[k % len(founders)]], rng, names) for k in range(GIVEN_UP * len(blind)))
        # a child like a founder is none
        children = self._new(chain(founders, draws), len(founders) + len(blind))[len(founders) :]
        rest = zip(children, blind[len(founders) + 1 :: 2], strict=False)
        return self._new(chain(founders, *rest, children, blind), max(len(founders), len(blind)))

    def _numbers_of(self, structure: Structure) -> dict[str, float] | None:
        """Return the numbers of a trial that makes this crystal; None when its type is not a known one."""
        text = signature_text(Cell.from_structure(structure), FOUNDER_SYMPREC)
        numbers = self._trial_space.numbers_of(*anonymous(text)) if text is not None else None
        if numbers is None:
            LOGGER.info("founder %s: its structure type is not among the known ones", structure.formula)
            return None
        chosen: Chosen = self._trial_space.chosen(numbers)
        (expected,) = self._volumes([chosen])
        return {**numbers, "density": density_at(structure.volume / len(structure) / expected)}


@PROPOSERS.register("genetic")
def genetic(space: SearchSpace) -> GeneticSearch:
    """Return the population that the user's seeds found."""
    return GeneticSearch(space, space.structure_types, [structure for _, structure in space.seeds])


def _child(population: Sequence[Numbers], rng: np.random.Generator, names: Sequence[str]) -> dict[str, float]:
    mother, father = _winner(population, rng), _winner(population, rng)
    child = dict(mother)
    for name in names:
        value = float((mother if happens(rng, 0.5) else father)[name])
        if happens(rng, MUTATION):
            is_fresh = name == "stoichiometry" or happens(rng, FRESH_SHARE)
            value = rng.uniform() if is_fresh else rng.normal(value, MUTATION_WIDTH)
        child[name] = bounded(value)
    return child


def _winner(population: Sequence[Numbers], rng: np.random.Generator) -> Numbers:
    # the population is sorted, so the smallest index wins
    return population[int(rng.integers(len(population), size=TOURNAMENT).min())]
