"""Every composition that a config allows, ranked before a structure is built; elements by what they do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, permutations
from math import comb

import numpy as np
import torch
from pymatgen.core import Composition
from scipy.special import expit

from inverse.inputs.constraints import MOST_ELEMENTS
from inverse.proposers.building.compositions import (
    CHUNK,
    LOGISTIC_SLOPE,
    N_BEST,
    NEARNESS,
    TYPICAL_ENERGY_ERROR,
    RankedComposition,
)
from inverse.proposers.search_space import SearchSpace
from inverse.reference.structure_types import Stoichiometry
from surrogates.crystals.batch import ELEMENT_SYMBOLS, N_ELEMENTS, element_index
from surrogates.physics.properties import FORMATION_ENERGY, VOLUME
from surrogates.protocol import CompositionBatch, CompositionSurrogate

HULL_SHARE = 2
"""Compositions whose distance to the hull is looked up for every one that is kept."""

LEAST_SHARE = 0.02
"""Share of the compositions kept that each number of elements has, as far as there are such."""


@dataclass(frozen=True)
class _Found:
    """Compositions with what is expected of them.

    Attributes:
        columns: (C, k) places of their elements.
        amounts: (C, k) atoms of each in the reduced formula.
        promise: (C,) probability that the targets are met, at most.
    """

    columns: np.ndarray
    amounts: np.ndarray
    promise: np.ndarray

    def best(self, n: int) -> "_Found":
        """Return the n that promise most, most first."""
        order = np.argsort(-self.promise, kind="stable")[:n]
        return _Found(self.columns[order], self.amounts[order], self.promise[order])


def surveyed_compositions(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    patterns: Sequence[Stoichiometry],
    n: int,
    n_predicted: int,
) -> list[RankedComposition]:
    """Return at most n compositions the config allows, most promising first.

    Pairs say what each element does to the targets. For each number of elements as many of the most promising
    ones as `n_predicted` sets can be made of are put together, each set is looked at once, at equal amounts,
    and the best are looked at in every stoichiometry. Deterministic; memory does not grow with what is
    looked at.

    Args:
        space: wishes and hull.
        surrogate: at composition level.
        patterns: stoichiometries that have a structure type.
        n: how many.
        n_predicted: sets, and then compositions, looked at for each number of elements.
    """
    elements = [e for e in space.allowed_elements if e in surrogate.elements]
    low, high = space.constraints.n_elements
    by_promise = _by_promise(space, surrogate, elements, patterns)
    found = []
    for size in range(low, min(high, MOST_ELEMENTS) + 1):
        own = sorted(p for p in patterns if len(p) == size)
        arrangements = [a for pattern in own for a in sorted(set(permutations(pattern)))]
        if not arrangements:
            continue
        sets = _sets(space, surrogate, by_promise, size, n_predicted)
        columns = list(islice(_allowed(space, sets), max(1, n_predicted // len(arrangements))))
        if columns:
            found.append(_in_every_way(space, surrogate, np.array(columns), arrangements, HULL_SHARE * n))
    return _with_hull(space, surrogate, found, n)


def _by_promise(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    elements: Sequence[str],
    patterns: Sequence[Stoichiometry],
) -> list[str]:
    """Return the elements, those first whose best few pairs promise most."""
    any_of = set(space.constraints.elements.include_any)
    pairs = [p for p in combinations(elements, 2) if not any_of or any_of & set(p)]
    best: dict[str, list[float]] = {e: [] for e in elements}
    columns = _columns(pairs, 2)
    for pattern in sorted(p for p in patterns if len(p) == 2) or [(1, 1)]:
        for amounts in sorted(set(permutations(pattern))):
            promise = _promise(space, surrogate, columns, np.broadcast_to(np.array(amounts), columns.shape))
            for pair, value in zip(pairs, promise.tolist(), strict=True):
                for symbol in pair:
                    best[symbol].append(value)
    worth = {e: float(np.mean(sorted(own, reverse=True)[:N_BEST])) if own else 0.0 for e, own in best.items()}
    return sorted(elements, key=lambda e: (-worth[e], e))


def _sets(
    space: SearchSpace, surrogate: CompositionSurrogate, by_promise: Sequence[str], size: int, most: int
) -> np.ndarray:
    """Return (S, size) sets of so many elements within the listed systems, most promising first."""
    columns = _columns(list(islice(_combined(space, by_promise, size, most), most)), size)
    promise = _promise(space, surrogate, columns, np.ones_like(columns))
    return columns[np.argsort(-promise, kind="stable")]


def _allowed(space: SearchSpace, sets: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the sets that the config allows."""
    for row in sets:
        if not space.composition_reason(Composition({ELEMENT_SYMBOLS[z]: 1 for z in row.tolist()})):
            yield row


def _combined(
    space: SearchSpace, by_promise: Sequence[str], size: int, most: int
) -> Iterator[tuple[str, ...]]:
    """Yield sets of so many elements within the listed systems, each once, with what must occur in them.

    Of the elements left to choose, the most promising of which there are at most so many sets.
    """
    elements = space.constraints.elements
    systems = [frozenset(system.split("-")) for system in space.constraints.chemical_systems]
    any_of, seen = frozenset(elements.include_any), set[tuple[str, ...]]()
    for within in systems or [frozenset(by_promise)]:
        needed = frozenset(elements.include_all)
        if systems and not space.constraints.subsystems:
            needed = within
        if len(needed) > size or not needed <= within.intersection(by_promise):
            continue
        others = [e for e in by_promise if e in within - needed]
        n_free = size - len(needed)
        chosen = others[: _most_elements(len(others), n_free, most)]
        chosen += [e for e in others[len(chosen) :] if e in any_of][: 0 if any_of & {*chosen, *needed} else 1]
        for more in combinations(chosen, n_free):
            own = tuple(sorted({*needed, *more}))
            if own not in seen and (not any_of or any_of & set(own)):
                seen.add(own)
                yield own


def _most_elements(n: int, size: int, most: int) -> int:
    """Return of how many elements, n at most, no more than `most` sets of a size can be made.

    >>> _most_elements(80, 3, 100_000), _most_elements(80, 5, 100_000)
    (80, 28)
    """
    while n > size and comb(n, size) > most:
        n -= 1
    return n


def _in_every_way(
    space: SearchSpace,
    surrogate: CompositionSurrogate,
    columns: np.ndarray,
    arrangements: Sequence[tuple[int, ...]],
    n: int,
) -> _Found:
    """Return the n best of (S, k) sets in all arrangements of amounts."""
    kept = _Found(columns[:0], columns[:0], np.zeros(0))
    for own in arrangements:
        amounts = np.broadcast_to(np.array(own), columns.shape)
        promise = _promise(space, surrogate, columns, amounts)
        both = ((kept.columns, columns), (kept.amounts, amounts), (kept.promise, promise))
        kept = _Found(*(np.concatenate(pair) for pair in both)).best(n)
    return kept


def _promise(
    space: SearchSpace, surrogate: CompositionSurrogate, columns: np.ndarray, amounts: np.ndarray
) -> np.ndarray:
    """Return (C,) the probability that the targets are met, at most: no hull lies above the elements."""
    properties = [p for p in surrogate.properties if p in space.objective.properties]
    objective = space.objective.only(properties)
    has_energy = FORMATION_ENERGY in surrogate.properties
    asked = list(dict.fromkeys([*properties, *([FORMATION_ENERGY] if has_energy else [])]))
    promise = np.ones(len(columns))
    if not asked:
        return promise
    for part in _chunks(len(columns)):
        with torch.no_grad():
            predictions = surrogate.predict(_batch(columns[part], amounts[part]), asked)
        if objective is not None:
            loss = objective.loss(predictions).double()
            promise[part] = objective.probability_met(predictions).double().numpy()
            promise[part] += NEARNESS * torch.sigmoid(-torch.nan_to_num(loss, nan=torch.inf)).numpy()
        if has_energy:
            energy = predictions[FORMATION_ENERGY]
            promise[part] *= _stable(space, energy.mean.double().numpy(), energy.std.double().numpy())
    return np.nan_to_num(promise)


def _stable(space: SearchSpace, above: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return (C,) the probability of lying near enough to a hull that energies are `above`, eV/atom."""
    room = space.objective.hull.upper - above
    return np.asarray(expit(LOGISTIC_SLOPE * room / np.maximum(std, TYPICAL_ENERGY_ERROR / 2)))


def _with_hull(
    space: SearchSpace, surrogate: CompositionSurrogate, found: Sequence[_Found], n: int
) -> list[RankedComposition]:
    """Return the n worth most once the hull below them is known; every number of elements has its share."""
    is_new_wanted = space.constraints.novelty == "new_composition"
    ranked: list[list[RankedComposition]] = []
    for one in _fair(found, HULL_SHARE * n):
        own = []
        energies, volumes = _energies_and_volumes(surrogate, one)
        rows = zip(one.columns.tolist(), one.amounts.tolist(), one.promise.tolist(), strict=True)
        for k, (columns, amounts, promise) in enumerate(rows):
            atoms = {ELEMENT_SYMBOLS[z]: int(a) for z, a in zip(columns, amounts, strict=True)}
            formula = Composition(atoms).reduced_formula
            is_known = space.is_known_formula(formula)
            if is_known and is_new_wanted:
                continue
            worth = promise
            if energies is not None:
                hull, (mean, std) = space.base.hull_energy(formula), energies[k]
                near, nearest = (_stable(space, np.array(e), np.array(std)) for e in (mean - hull, mean))
                worth *= float(near / np.maximum(nearest, 1e-300)) if np.isfinite(hull) else 0.0
            own.append(RankedComposition(atoms, worth, float(volumes[k]), is_known))
        ranked.append(sorted(own, key=lambda r: (-r.worth, r.formula)))
    least = max(1, round(LEAST_SHARE * n))
    kept = [one for own in ranked for one in own[:least]]
    rest = sorted((one for own in ranked for one in own[least:]), key=lambda r: (-r.worth, r.formula))
    return sorted([*kept, *rest[: max(0, n - len(kept))]], key=lambda r: (-r.worth, r.formula))[:n]


def _fair(found: Sequence[_Found], n: int) -> list[_Found]:
    """Return the n most promising of all, by number of elements; each has a share, as far as it goes."""
    least = max(1, round(LEAST_SHARE * n))
    promise = np.concatenate([one.promise[least:] for one in found] or [np.zeros(0)])
    owner = np.repeat(np.arange(len(found)), [len(one.promise[least:]) for one in found])
    best = owner[np.argsort(-promise, kind="stable")[:n]]
    return [one.best(least + int((best == k).sum())) for k, one in enumerate(found)]


def _energies_and_volumes(
    surrogate: CompositionSurrogate, found: _Found
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return (C, 2) formation energies with their std, None without any, and (C,) volumes per atom."""
    has = [p for p in (FORMATION_ENERGY, VOLUME) if p in surrogate.properties]
    energies, volumes = np.zeros((len(found.promise), 2)), np.full(len(found.promise), np.nan)
    for part in _chunks(len(volumes) if has else 0):
        with torch.no_grad():
            said = surrogate.predict(_batch(found.columns[part], found.amounts[part]), has)
        if FORMATION_ENERGY in said:
            energy = said[FORMATION_ENERGY]
            energies[part] = torch.stack([energy.mean, energy.std], dim=1).numpy()
        if VOLUME in said:
            volumes[part] = said[VOLUME].mean.numpy()
    return (energies if FORMATION_ENERGY in has else None), volumes


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def _columns(sets: Sequence[tuple[str, ...]], size: int) -> np.ndarray:
    """Return (S, size) places of elements, those of a set as it lists them."""
    place = {symbol: element_index(symbol) for own in sets for symbol in own}
    return np.array([[place[symbol] for symbol in own] for own in sets], dtype=int).reshape(-1, size)


def _batch(columns: np.ndarray, amounts: np.ndarray) -> CompositionBatch:
    fractions = np.zeros((len(columns), N_ELEMENTS), dtype=np.float32)
    fractions[np.arange(len(columns))[:, None], columns] = amounts / amounts.sum(axis=-1, keepdims=True)
    return CompositionBatch(torch.from_numpy(fractions), torch.zeros(len(columns), dtype=torch.long))
