"""Genetic search over the same eight numbers as the outer search: tournament, crossover, mutation."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pymatgen.core import Structure

from inverse.proposers.bayesian import ROUND, OuterSearch
from inverse.proposers.protocol import generator
from inverse.proposers.prototypes import Prototype
from inverse.proposers.search_space import SearchSpace
from inverse.reference.signatures import Cell, signature_text
from inverse.reference.skeletons import anonymous

LOGGER = logging.getLogger(__name__)

FOUNDER_SYMPREC = 0.1
"""Å, at which a founder is compared with known structure types."""

POPULATION = 64
"""Best trials that breed."""

TOURNAMENT = 3
"""Trials that compete to be a parent."""

MUTATION, MUTATION_WIDTH = 0.25, 0.08
"""Chance that a number changes, and by how much; one change in five is a fresh draw."""


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

    def _drawn(self, seed: int) -> list[dict[str, float]]:
        first = len(self._trials)
        population = sorted(self._trials, key=lambda row: -row["value"])[:POPULATION]
        rngs = [generator(seed, first, k) for k in range(ROUND)]
        if first < 2 * ROUND:
            names = self._numbers
            blind = [dict(zip(names, rng.uniform(size=len(names)).tolist(), strict=True)) for rng in rngs]
            return self._founded(blind, rngs) if first == 0 else blind
        return [_child(population, rng, self._numbers) for rng in rngs]

    def _founded(
        self, blind: Sequence[dict[str, float]], rngs: Sequence[np.random.Generator]
    ) -> list[dict[str, float]]:
        """Return the first round: the founders, children of theirs in every other place, the rest blind."""
        founders = [n for s in self._founders if (n := self._numbers_of(s)) is not None][:ROUND]
        if not founders:
            return list(blind)
        names = self._numbers
        rest = [
            _child(founders, rngs[k], names) if k % 2 else blind[k] for k in range(len(founders), len(blind))
        ]
        return [*founders, *rest]

    def _numbers_of(self, structure: Structure) -> dict[str, float] | None:
        """Return the numbers of a trial that makes this crystal; None when its type is not a known one."""
        text = signature_text(Cell.from_structure(structure), FOUNDER_SYMPREC)
        label, elements = anonymous(text) if text is not None else ("", ())
        low, high = self._space.constraints.n_elements
        sizes = [size for size in sorted(self._grouped()) if low <= size <= high]
        groups = self._grouped().get(len(elements), []) if len(elements) in sizes else []
        for place, (_, listed) in enumerate(groups):
            for rank, prototype in enumerate(listed):
                if prototype.text == label and set(elements) <= set(self._elements):
                    expected = float(self._volumes([(elements, prototype)])[0])
                    volume = structure.volume / len(structure) / expected
                    numbers = {
                        "n_elements": (sizes.index(len(elements)) + 0.5) / len(sizes),
                        "stoichiometry": ((place + 0.5) / len(groups)) ** 0.5,
                        "type": ((rank + 0.5) / len(listed)) ** 0.5,
                        "density": float(np.clip((volume - 0.85) / 0.3, 0.0, 1.0)),
                    }
                    return {name: {**numbers, **self._places(elements)}[name] for name in self._numbers}
        LOGGER.info("founder %s: its structure type is not among the known ones", structure.formula)
        return None

    def _places(self, elements: Sequence[str]) -> dict[str, float]:
        """Return the numbers that pick these elements one after the other; the middle for those unused."""
        left, numbers = list(self._elements), {}
        for k in range(1, len(self._numbers) - 3):
            numbers[f"element_{k}"] = 0.5
            if k <= len(elements):
                numbers[f"element_{k}"] = (left.index(elements[k - 1]) + 0.5) / len(left)
                left.remove(elements[k - 1])
        return numbers


def _child(
    population: Sequence[Mapping[str, Any]], rng: np.random.Generator, names: Sequence[str]
) -> dict[str, float]:
    mother, father = _winner(population, rng), _winner(population, rng)
    child = {}
    for name in names:
        value = float((mother if rng.random() < 0.5 else father).get(name, 0.5))
        if rng.random() < MUTATION:
            value = rng.uniform() if rng.random() < 0.2 else value + MUTATION_WIDTH * rng.normal()
        child[name] = float(np.clip(value, 0.0, 1.0))
    return child


def _winner(population: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Mapping[str, Any]:
    # the population is sorted, so the smallest index wins
    return population[int(rng.integers(len(population), size=TOURNAMENT).min())]
