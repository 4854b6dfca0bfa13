"""Genetic search over the same eight numbers as the outer search: tournament, crossover, mutation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from inverse.proposers.bayesian import NUMBERS, ROUND, OuterSearch
from inverse.proposers.protocol import generator
from inverse.proposers.prototypes import Prototype
from inverse.proposers.search_space import SearchSpace

POPULATION = 64
"""Best trials that breed."""

TOURNAMENT = 3
"""Trials that compete to be a parent."""

MUTATION, MUTATION_WIDTH = 0.25, 0.08
"""Chance that a number changes, and by how much; one change in five is a fresh draw."""


class GeneticSearch(OuterSearch):
    """Breeds the next round from the best trials so far; the first rounds are blind."""

    def __init__(self, space: SearchSpace, known: Callable[[], Sequence[Prototype]]) -> None:
        super().__init__(space, known, "genetic")

    def _drawn(self, seed: int) -> list[dict[str, float]]:
        first = len(self._trials)
        population = sorted(self._trials, key=lambda row: -row["value"])[:POPULATION]
        rngs = [generator(seed, first, k) for k in range(ROUND)]
        if first < 2 * ROUND:
            return [dict(zip(NUMBERS, rng.uniform(size=len(NUMBERS)).tolist())) for rng in rngs]
        return [_child(population, rng) for rng in rngs]


def _child(population: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> dict[str, float]:
    mother, father = _winner(population, rng), _winner(population, rng)
    child = {}
    for name in NUMBERS:
        value = float(mother[name] if rng.random() < 0.5 else father[name])
        if rng.random() < MUTATION:
            value = rng.uniform() if rng.random() < 0.2 else value + MUTATION_WIDTH * rng.normal()
        child[name] = float(np.clip(value, 0.0, 1.0))
    return child


def _winner(population: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Mapping[str, Any]:
    # the population is sorted, so the smallest index wins
    return population[int(rng.integers(len(population), size=TOURNAMENT).min())]
